//! The gateway's REST interface, as a program outside it would use it.

use std::sync::OnceLock;
use std::time::Duration;

use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

use crate::limits::HTTP_ERROR_BYTES;
use crate::{Error, Result, until};

/// Longest wait for one answer.
const REQUEST_S: u64 = 30;

/// One client for all: connections are pooled. `None` if TLS could not be set up.
///
/// # Errors
/// [`Error::Http`] when the client can't be built.
pub fn client() -> Result<Client> {
    static CLIENT: OnceLock<std::result::Result<Client, String>> = OnceLock::new();
    let built = CLIENT.get_or_init(|| {
        // A provider that is already installed is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = Client::builder().timeout(Duration::from_secs(REQUEST_S)).no_proxy();
        // Tests run in runtimes of their own; a pooled connection dies with its runtime.
        builder.pool_max_idle_per_host(0).build().map_err(|e| e.to_string())
    });
    built.clone().map_err(|body| Error::Http { request: "client".into(), status: 0, body })
}

/// The interface at one address, with or without a sign-in.
#[derive(Clone, Debug)]
pub struct Api {
    base: String,
    token: Option<String>,
}

impl Api {
    /// Without a sign-in; `base` like `http://127.0.0.1:8080`.
    #[must_use]
    pub fn new(base: String) -> Self {
        Self { base, token: None }
    }

    /// Signs in.
    ///
    /// # Errors
    /// [`Error::Http`] with status 401 for a wrong password.
    pub async fn sign_in(&self, login: &str, password: &str) -> Result<Self> {
        let body = json!({"login": login, "password": password});
        let answer = self.post("/api/v1/session", &body).await?;
        let token = answer["token"].as_str().map(str::to_owned);
        if token.is_none() {
            let request = "POST /api/v1/session".into();
            return Err(Error::Http { request, status: 200, body: format!("no token: {answer}") });
        }
        Ok(Self { base: self.base.clone(), token })
    }

    /// The bearer token of the sign-in.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// True when `/healthz` answers 2xx.
    pub async fn is_healthy(&self) -> bool {
        self.get_raw("/healthz").await.is_ok_and(|r| r.status().is_success())
    }

    /// GET with JSON back.
    ///
    /// # Errors
    /// [`Error::Http`] unless the status is 2xx.
    pub async fn get(&self, path: &str) -> Result<Value> {
        self.json(Method::GET, path, None).await
    }

    /// POST of JSON with JSON back (`null` for an empty answer).
    ///
    /// # Errors
    /// As [`Api::get`].
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.json(Method::POST, path, Some(body)).await
    }

    /// Any method.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub async fn json(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let response = self.send(method.clone(), path, body, &[]).await?;
        let request = format!("{method} {path}");
        let status = response.status().as_u16();
        let text = text_of(&request, response).await?;
        if !(200..300).contains(&status) {
            let body = crate::process::tail(&text, HTTP_ERROR_BYTES);
            return Err(Error::Http { request, status, body });
        }
        if text.trim().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).map_err(|e| Error::Http {
            request,
            status,
            body: format!("{e}: {}", crate::process::tail(&text, HTTP_ERROR_BYTES)),
        })
    }

    /// GET without a judgement.
    ///
    /// # Errors
    /// [`Error::Http`] with status 0 when no answer came.
    pub async fn get_raw(&self, path: &str) -> Result<Response> {
        self.send(Method::GET, path, None, &[]).await
    }

    /// Any request with more headers, without a judgement.
    ///
    /// # Errors
    /// [`Error::Http`] with status 0 when no answer came.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> Result<Response> {
        let mut request = client()?.request(method.clone(), format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let what = format!("{method} {path}");
        request.send().await.map_err(|e| no_answer(what, &e))
    }

    /// The text of `/metrics`.
    ///
    /// # Errors
    /// As [`Api::get_raw`].
    pub async fn metrics(&self) -> Result<String> {
        text_of("GET /metrics", self.get_raw("/metrics").await?).await
    }

    /// Sets the operator's own state: `ready`, `break`, `off`.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub async fn set_state(&self, state: &str) -> Result<Value> {
        let body = json!({"state": state, "reason": "test"});
        self.post("/api/v1/operators/me/state", &body).await
    }

    /// The operator's "结束": the citizen goes on to the survey.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub async fn end_call(&self, call: &str, reason: Option<&str>) -> Result<Value> {
        let body = reason.map_or(json!({}), |reason| json!({"reason": reason}));
        self.post(&format!("/api/v1/calls/{call}/end"), &body).await
    }

    /// Moves a case of the embedded ledger to a stage.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub async fn set_stage(&self, case_no: &str, stage: &str, note: &str) -> Result<Value> {
        let body = json!({"stage": stage, "note": note});
        self.post(&format!("/api/v1/ledger/cases/{case_no}/stage"), &body).await
    }

    /// The bytes of a recording, with the reason that is audited.
    ///
    /// # Errors
    /// [`Error::Http`] unless the status is 2xx.
    pub async fn audio(&self, recording: &str, reason: &str) -> Result<Vec<u8>> {
        let path = format!("/api/v1/recordings/{recording}/audio?reason={}", encode(reason));
        let response = self.get_raw(&path).await?;
        let status = response.status().as_u16();
        if !response.status().is_success() {
            let body = text_of(&path, response).await?;
            return Err(Error::Http { request: format!("GET {path}"), status, body });
        }
        let bytes = response.bytes().await.map_err(|e| no_answer(path, &e))?;
        Ok(bytes.to_vec())
    }

    /// Looks at `path` every 20 ms until `wanted` finds something in the answer.
    ///
    /// # Errors
    /// [`Error::Timeout`] with the last answer.
    pub async fn wait_for<T>(&self, path: &str, timeout_ms: u64, wanted: impl Fn(&Value) -> Option<T>) -> Result<T> {
        let last = std::sync::Mutex::new(String::new());
        let found = until(path, timeout_ms, || async {
            let answer = self.get(path).await;
            let found = answer.as_ref().ok().and_then(&wanted);
            let text = answer.map_or_else(|e| e.to_string(), |v| v.to_string());
            *last.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = text;
            found
        });
        found.await.map_err(|_| {
            let text = last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let what = format!("{path}, last {}", crate::process::tail(&text, HTTP_ERROR_BYTES));
            Error::Timeout { what, after_ms: timeout_ms }
        })
    }
}

/// The rows of a list answer: the array itself, or the one in `items`, `calls`, `rows` …
#[must_use]
pub fn rows(answer: &Value) -> Vec<Value> {
    let array = match answer {
        Value::Array(rows) => Some(rows),
        Value::Object(fields) => fields.values().find_map(Value::as_array),
        _ => None,
    };
    array.cloned().unwrap_or_default()
}

async fn text_of(request: &str, response: Response) -> Result<String> {
    response.text().await.map_err(|e| no_answer(request.to_owned(), &e))
}

fn no_answer(request: String, error: &reqwest::Error) -> Error {
    use std::error::Error as _;
    let cause = error.source().map_or(String::new(), |source| format!(": {source}"));
    Error::Http { request, status: 0, body: format!("{error}{cause}") }
}

/// Percent-encodes everything but unreserved characters (RFC 3986 §2.3).
fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
        out
    })
}

/// The status with which a request was refused.
///
/// # Panics
/// Where it wasn't.
#[must_use]
pub fn status(answer: Result<Value>) -> u16 {
    match answer {
        Err(Error::Http { status, .. }) => status,
        #[allow(clippy::panic, reason = "a test may fail loudly")]
        other => panic!("{other:?}"),
    }
}

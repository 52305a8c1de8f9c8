//! A case core as a service over HTTP that keeps its cases and fails on request.
//!
//! The contract, JSON over HTTP:
//! - `POST /cases` with `Idempotency-Key`: 201 `{"case_no": …}`; the same key again
//!   gives 200 and the same number;
//! - `GET /cases?idempotency_key=K`: 200 `{"case_no": …}` or 404: what a client asks
//!   after an unknown outcome;
//! - `POST /cases/{case_no}/{command}` (`close`, `reopen`, `remind`, `stage`) with
//!   `Idempotency-Key`: 200, once per key;
//! - `GET /events?after=N&limit=M`: `{"events": [{"seq", "event_id", "case_no",
//!   "stage", "at_ms", "note"}], "cursor": N}`;
//! - webhooks are POSTed with `X-Signature: sha256=<hex HMAC-SHA-256 of the body>`.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::limits::CASECORE_ROWS_MAX;
use crate::net::GATEWAY_IP;
use crate::{Error, Result, until};

/// What happens to one write request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 503 with `Retry-After: 1`; nothing is kept.
    Refuse,
    /// 422: a refusal that a retry doesn't change.
    Reject,
    /// Kept, but answered only after so long: the client has given up.
    AcceptThenTimeout {
        /// Milliseconds.
        ms: u64,
    },
    /// Kept, then the connection is cut without an answer.
    AcceptThenDrop,
    /// The connection is cut and nothing is kept.
    Drop,
    /// Kept and answered, and the events of this case come twice.
    AnswerTwice,
    /// Kept and answered after so long, within the client's patience.
    Slow {
        /// Milliseconds.
        ms: u64,
    },
    /// Kept, but answered 200 with a body that is no JSON.
    Garbage,
}

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its number here.
    pub case_no: String,
    /// The key it was created with.
    pub key: String,
    /// What was handed over.
    pub payload: Value,
    /// `create` requests with its key, faults included.
    pub requests: u32,
    repeat_events: bool,
}

/// One command on a case, kept once per idempotency key.
#[derive(Clone, Debug)]
pub struct Command {
    /// The case.
    pub case_no: String,
    /// `close`, `reopen`, `remind`, `stage`.
    pub command: String,
    /// Its idempotency key.
    pub key: String,
    /// What came with it.
    pub payload: Value,
}

/// One request, in order of arrival.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Path.
    pub path: String,
    /// Idempotency key, empty for reads.
    pub key: String,
    /// All headers, names in lower case.
    pub headers: HashMap<String, String>,
    /// The fault it met.
    pub fault: Option<Fault>,
}

#[derive(Default)]
struct Core {
    cases: BTreeMap<String, Case>,
    commands: Vec<Command>,
    events: Vec<Value>,
    faults: VecDeque<Fault>,
    seen: Vec<Seen>,
}

type Shared = Arc<Mutex<Core>>;

/// A running case core; dropping it closes its listener.
#[derive(Clone)]
pub struct CaseCore {
    address: SocketAddr,
    core: Shared,
    _server: Arc<Server>,
}

struct Server(AbortHandle);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn lock(core: &Shared) -> MutexGuard<'_, Core> {
    core.lock().unwrap_or_else(PoisonError::into_inner)
}

impl CaseCore {
    /// Starts on a free port.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn start() -> Result<Self> {
        Self::start_on(SocketAddr::new(GATEWAY_IP, 0)).await
    }

    /// Starts on a given address, as one that comes back after an outage.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn start_on(address: SocketAddr) -> Result<Self> {
        let what = format!("case core on {address}");
        let listener = TcpListener::bind(address).await.map_err(Error::io(&what))?;
        let address = listener.local_addr().map_err(Error::io(&what))?;
        let core = Shared::default();
        let router = Router::new()
            .route("/cases", post(create).get(find))
            .route("/cases/{case_no}", get(read))
            .route("/cases/{case_no}/{command}", post(command))
            .route("/events", get(events))
            .with_state(core.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        let server = Arc::new(Server(server.abort_handle()));
        Ok(Self {
            address,
            core,
            _server: server,
        })
    }

    /// Base address for the gateway's configuration.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its socket.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next `times` write requests meet `fault`, after those already planned.
    pub fn plan(&self, fault: Fault, times: usize) {
        lock(&self.core)
            .faults
            .extend(std::iter::repeat_n(fault, times));
    }

    /// Faults planned and not met yet.
    #[must_use]
    pub fn planned(&self) -> usize {
        lock(&self.core).faults.len()
    }

    /// All cases.
    #[must_use]
    pub fn cases(&self) -> Vec<Case> {
        lock(&self.core).cases.values().cloned().collect()
    }

    /// All commands, in order.
    #[must_use]
    pub fn commands(&self) -> Vec<Command> {
        lock(&self.core).commands.clone()
    }

    /// All requests, in order.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.core).seen.clone()
    }

    /// Waits for `count` cases.
    ///
    /// # Errors
    /// [`Error::Timeout`].
    pub async fn wait_cases(&self, count: usize, timeout_ms: u64) -> Result<Vec<Case>> {
        let look = || async { Some(self.cases()).filter(|cases| cases.len() >= count) };
        until(&format!("{count} cases"), timeout_ms, look).await
    }

    /// Waits for a command on a case.
    ///
    /// # Errors
    /// [`Error::Timeout`].
    pub async fn wait_command(
        &self,
        case_no: &str,
        command: &str,
        timeout_ms: u64,
    ) -> Result<Command> {
        let wanted = |c: &Command| c.case_no == case_no && c.command == command;
        let look = || async { self.commands().into_iter().find(wanted) };
        until(&format!("{command} of {case_no}"), timeout_ms, look).await
    }

    /// Moves a case to a stage (`已处置`, `已结案` …): an event for those who poll.
    /// Returns the event; it appears twice if the case answers twice.
    pub fn advance(&self, case_no: &str, stage: &str, note: &str) -> Value {
        let mut core = lock(&self.core);
        let twice = core
            .cases
            .get(case_no)
            .is_some_and(|case| case.repeat_events);
        let seq = core.events.len() + 1;
        let mut event = json!({
            "seq": seq,
            "event_id": format!("{case_no}-{seq}"),
            "case_no": case_no,
            "stage": stage,
            "at_ms": now_ms(),
            "note": note,
        });
        core.events.push(event.clone());
        if twice {
            // The same event under a later sequence number: only its id tells.
            event["seq"] = (seq + 1).into();
            core.events.push(event.clone());
        }
        event
    }

    /// Sends an event to a webhook, signed with `secret`; returns the status.
    ///
    /// # Errors
    /// [`Error::Http`] when no answer came.
    pub async fn deliver(&self, event: &Value, webhook: &str, secret: &str) -> Result<u16> {
        let body = event.to_string();
        let signature = sign(&body, secret)?;
        let request = crate::api::client()?.post(webhook);
        let request = request.header("content-type", "application/json");
        let answer = request
            .header("x-signature", signature)
            .body(body)
            .send()
            .await;
        let fail = |e: reqwest::Error| {
            let request = format!("POST {webhook}");
            Error::Http {
                request,
                status: 0,
                body: e.to_string(),
            }
        };
        Ok(answer.map_err(fail)?.status().as_u16())
    }
}

/// The value of `X-Signature`.
///
/// # Errors
/// [`Error::Sip`] never in practice: HMAC takes keys of any length.
pub fn sign(body: &str, secret: &str) -> Result<String> {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes());
    let mut mac = mac.map_err(|e| Error::Sip(format!("HMAC: {e}")))?;
    mac.update(body.as_bytes());
    let bytes = mac.finalize().into_bytes();
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    Ok(format!("sha256={hex}"))
}

fn now_ms() -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

fn key_of(headers: &HeaderMap) -> String {
    let value = headers.get("idempotency-key").and_then(|v| v.to_str().ok());
    value.unwrap_or("").to_owned()
}

impl Core {
    /// Notes a request and takes the fault planned for it.
    fn see(&mut self, path: &str, headers: &HeaderMap, is_write: bool) -> Option<Fault> {
        let fault = if is_write {
            self.faults.pop_front()
        } else {
            None
        };
        let text = |v: &axum::http::HeaderValue| v.to_str().unwrap_or("").to_owned();
        let headers_text = headers
            .iter()
            .map(|(n, v)| (n.as_str().to_owned(), text(v)));
        let seen = Seen {
            path: path.into(),
            key: key_of(headers),
            headers: headers_text.collect(),
            fault,
        };
        self.seen.push(seen);
        fault
    }

    fn is_full(&self) -> bool {
        self.seen.len() >= CASECORE_ROWS_MAX
    }

    fn find_key(&mut self, key: &str) -> Option<&mut Case> {
        self.cases.values_mut().find(|case| case.key == key)
    }

    /// The case of this key, created if there is none.
    fn keep(&mut self, key: &str, payload: Value, fault: Option<Fault>) -> (String, bool) {
        if let Some(case) = self.find_key(key) {
            case.requests += 1;
            return (case.case_no.clone(), false);
        }
        let case_no = format!("C{:08}", self.cases.len() + 1);
        let case = Case {
            case_no: case_no.clone(),
            key: key.into(),
            payload,
            requests: 1,
            repeat_events: fault == Some(Fault::AnswerTwice),
        };
        self.cases.insert(case_no.clone(), case);
        (case_no, true)
    }
}

/// Faults that keep nothing.
fn refuse(fault: Option<Fault>) -> Option<Response> {
    match fault? {
        Fault::Refuse => {
            let body = Json(json!({"error": "busy"}));
            Some(
                (
                    StatusCode::SERVICE_UNAVAILABLE,
                    [("retry-after", "1")],
                    body,
                )
                    .into_response(),
            )
        }
        Fault::Reject => {
            let body = Json(json!({"error": "refused"}));
            Some((StatusCode::UNPROCESSABLE_ENTITY, body).into_response())
        }
        Fault::Drop => cut(),
        _ => None,
    }
}

/// Faults after everything was kept.
async fn spoil(fault: Option<Fault>, answer: Response) -> Response {
    match fault {
        Some(Fault::AcceptThenTimeout { ms } | Fault::Slow { ms }) => {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            answer
        }
        Some(Fault::AcceptThenDrop) => cut(),
        Some(Fault::Garbage) => (StatusCode::OK, "<html>gateway error</html>").into_response(),
        _ => answer,
    }
}

/// Ends the connection's task: its socket closes without an answer. Unwinding this
/// way runs no panic hook, so the test's output stays clean.
fn cut<T>() -> T {
    std::panic::resume_unwind(Box::new("connection cut on purpose"))
}

async fn create(
    State(core): State<Shared>,
    headers: HeaderMap,
    Json(payload): Json<Value>,
) -> Response {
    let key = key_of(&headers);
    let fault = lock(&core).see("/cases", &headers, true);
    if lock(&core).is_full() {
        return StatusCode::INSUFFICIENT_STORAGE.into_response();
    }
    if key.is_empty() {
        let body = Json(json!({"error": "Idempotency-Key is missing"}));
        return (StatusCode::BAD_REQUEST, body).into_response();
    }
    if let Some(refusal) = refuse(fault) {
        return refusal;
    }
    let (case_no, created) = lock(&core).keep(&key, payload, fault);
    let status = if created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let body = Json(json!({"case_no": case_no, "created": created}));
    spoil(fault, (status, body).into_response()).await
}

async fn find(
    State(core): State<Shared>,
    headers: HeaderMap,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let mut core = lock(&core);
    core.see("/cases?", &headers, false);
    let key = query.get("idempotency_key").map_or("", String::as_str);
    match core.find_key(key) {
        Some(case) => Json(json!({"case_no": case.case_no})).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn read(State(core): State<Shared>, Path(case_no): Path<String>) -> Response {
    match lock(&core).cases.get(&case_no) {
        Some(case) => Json(json!({"case_no": case_no, "payload": case.payload})).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn command(
    State(core): State<Shared>,
    Path((case_no, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let key = key_of(&headers);
    let path = format!("/cases/{case_no}/{name}");
    let fault = lock(&core).see(&path, &headers, true);
    if let Some(refusal) = refuse(fault) {
        return refusal;
    }
    let payload = serde_json::from_str(&body).unwrap_or(Value::Null);
    {
        let mut core = lock(&core);
        if !core.cases.contains_key(&case_no) {
            return StatusCode::NOT_FOUND.into_response();
        }
        if !core.commands.iter().any(|c| c.key == key) {
            let case_no = case_no.clone();
            core.commands.push(Command {
                case_no,
                command: name,
                key,
                payload,
            });
        }
    }
    spoil(fault, Json(json!({"case_no": case_no})).into_response()).await
}

async fn events(
    State(core): State<Shared>,
    headers: HeaderMap,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let number = |name: &str| query.get(name).and_then(|v| v.parse::<usize>().ok());
    let mut core = lock(&core);
    // Polls are many: only the first is kept for the headers' sake.
    if !core.seen.iter().any(|seen| seen.path == "/events") {
        core.see("/events", &headers, false);
    }
    let after = number("after").unwrap_or(0).min(core.events.len());
    let limit = number("limit").unwrap_or(100);
    let page: Vec<Value> = core.events[after..].iter().take(limit).cloned().collect();
    let cursor = after + page.len();
    Json(json!({"events": page, "cursor": cursor})).into_response()
}

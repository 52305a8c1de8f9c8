//! The platform's API: JSON over HTTPS with an access token in the address, errors as `errcode`.

use std::time::Duration;

use reqwest::Response;
use serde_json::{Value, json};

use super::limits;
use super::token::{Granted, Tokens};
use crate::clock::now_ms;

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// It never left: safe to repeat.
    #[error("微信平台无法连接 / the platform can't be reached: {0}")]
    Connect(String),
    /// It may have arrived: nobody knows.
    #[error("微信平台没有答复 / no answer: {0}")]
    NoAnswer(String),
    /// The platform's own refusal.
    #[error("errcode {code}: {message}")]
    Code {
        /// `errcode`.
        code: i64,
        /// `errmsg`, cut.
        message: String,
    },
    /// No JSON where JSON belongs.
    #[error("微信平台的答复无法识别 / unreadable answer: {0}")]
    Unreadable(String),
    /// Longer than the limit.
    #[error("文件过大 / larger than the limit")]
    TooLarge,
    /// An address media don't come from.
    #[error("媒体地址不属于平台 / the address of the media isn't the platform's")]
    Elsewhere,
}

/// What a refusal means for the one who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Try again later.
    Later,
    /// The citizen's 48 hours are over (45015), or the messages they allow are used up (45047, 95001).
    Closed,
    /// Nobody there: unfollowed, unknown, blocked.
    Gone,
    /// Asked wrongly or not allowed: the same request fails again.
    Never,
}

/// Codes for a token that isn't valid any more.
const TOKEN_CODES: [i64; 4] = [40_001, 40_014, 42_001, 41_001];

impl ApiError {
    /// What to do about it.
    #[must_use]
    pub fn meaning(&self) -> Meaning {
        match self {
            Self::Code { code, .. } => match code {
                45_015 | 45_047 | 95_001 | 95_018 => Meaning::Closed,
                40_003 | 43_004 | 43_019 | 95_000 => Meaning::Gone,
                // Busy, rates, and tokens that a later try may get right.
                -1 | 45_009 | 45_011 | 45_033 | 45_065 | 50_002 | 40_001 | 40_014 | 42_001 | 41_001 => Meaning::Later,
                _ => Meaning::Never,
            },
            Self::TooLarge | Self::Elsewhere => Meaning::Never,
            Self::Connect(_) | Self::NoAnswer(_) | Self::Unreadable(_) => Meaning::Later,
        }
    }
}

/// Whose token is asked for, and how.
#[derive(Clone)]
pub enum Account {
    /// `stable_token` of an Official Account.
    Official {
        /// AppID.
        app_id: String,
        /// AppSecret.
        secret: String,
    },
    /// `gettoken` of 企业微信.
    Corp {
        /// 企业 ID.
        corp_id: String,
        /// The application's secret.
        secret: String,
    },
}

/// The API of one account.
pub struct Client {
    http: reqwest::Client,
    base: String,
    account: Account,
    tokens: Tokens,
}

impl Client {
    /// A TLS provider must be installed in the process.
    ///
    /// # Errors
    /// reqwest's.
    pub fn new(base: &str, timeout_ms: u64, account: Account) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .timeout(Duration::from_millis(timeout_ms))
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { http, base: base.trim_end_matches('/').into(), account, tokens: Tokens::default() })
    }

    /// `POST path?access_token=…`: the answer's JSON once `errcode` is 0 or missing.
    ///
    /// # Errors
    /// [`ApiError`]; a token refused is replaced and the request made again, once.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, ApiError> {
        let ask = |token: String| {
            let url = self.address(path, &[("access_token", &token)]);
            let body = body.to_string();
            async move {
                let request = self.http.post(url?).header("content-type", "application/json; charset=utf-8").body(body);
                answer(read(request.send().await.map_err(lost)?, limits::ANSWER_BYTES_MAX).await?.1)
            }
        };
        self.with_token(ask).await
    }

    /// A media file's bytes and the type the platform gives it.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn media(&self, media_id: &str) -> Result<(String, Vec<u8>), ApiError> {
        let ask = |token: String| {
            let url = self.address("/cgi-bin/media/get", &[("access_token", &token), ("media_id", media_id)]);
            async move {
                let response = self.http.get(url?).send().await.map_err(lost)?;
                let (kind, bytes) = read(response, limits::MEDIA_BYTES_MAX).await?;
                let is_json = kind.contains("json") || kind.starts_with("text/");
                // Errors, and the addresses of videos, come as JSON.
                if is_json { answer(bytes).map(|v| Found::Json(Box::new(v))) } else { Ok(Found::Bytes(kind, bytes)) }
            }
        };
        match self.with_token(ask).await? {
            Found::Bytes(kind, bytes) => Ok((kind, bytes)),
            Found::Json(value) => match value["video_url"].as_str() {
                Some(url) => self.video(url).await,
                None => Err(ApiError::Unreadable("neither a file nor an address".into())),
            },
        }
    }

    /// Videos of Official Accounts lie elsewhere on the platform.
    async fn video(&self, url: &str) -> Result<(String, Vec<u8>), ApiError> {
        let url = reqwest::Url::parse(url).map_err(|_| ApiError::Elsewhere)?;
        let own = reqwest::Url::parse(&self.base).ok();
        let same = own.is_some_and(|own| own.host_str() == url.host_str() && own.port() == url.port());
        let platform = url.host_str().is_some_and(|host| host.ends_with(".qq.com"));
        if !same && !platform {
            return Err(ApiError::Elsewhere);
        }
        read(self.http.get(url).send().await.map_err(lost)?, limits::MEDIA_BYTES_MAX).await
    }

    fn address(&self, path: &str, params: &[(&str, &str)]) -> Result<reqwest::Url, ApiError> {
        let text = format!("{}{path}", self.base);
        reqwest::Url::parse_with_params(&text, params).map_err(|e| ApiError::Connect(format!("base_url: {e}")))
    }

    async fn with_token<T, F>(&self, ask: impl Fn(String) -> F) -> Result<T, ApiError>
    where
        F: Future<Output = Result<T, ApiError>>,
    {
        let token = self.token().await?;
        match ask(token.clone()).await {
            Err(ApiError::Code { code, message }) if TOKEN_CODES.contains(&code) => {
                if !self.tokens.refuse(&token, now_ms()).await {
                    return Err(ApiError::Code { code, message });
                }
                ask(self.token().await?).await
            }
            other => other,
        }
    }

    async fn token(&self) -> Result<String, ApiError> {
        self.tokens.get(now_ms(), |force| self.grant(force)).await
    }

    async fn grant(&self, force: bool) -> Result<Granted, ApiError> {
        let request = match &self.account {
            Account::Official { app_id, secret } => {
                let body = json!({"grant_type": "client_credential", "appid": app_id, "secret": secret, "force_refresh": force});
                self.http.post(self.address("/cgi-bin/stable_token", &[])?).json(&body)
            }
            Account::Corp { corp_id, secret } => {
                self.http.get(self.address("/cgi-bin/gettoken", &[("corpid", corp_id), ("corpsecret", secret)])?)
            }
        };
        let value = answer(read(request.send().await.map_err(lost)?, limits::ANSWER_BYTES_MAX).await?.1)?;
        let token = value["access_token"].as_str().filter(|t| !t.is_empty());
        let token = token.ok_or_else(|| ApiError::Unreadable("no access_token".into()))?;
        Ok(Granted { value: token.into(), expires_s: value["expires_in"].as_i64().unwrap_or(7_200) })
    }
}

enum Found {
    Bytes(String, Vec<u8>),
    Json(Box<Value>),
}

/// Addresses hold tokens and secrets: they stay out of every error.
fn lost(e: reqwest::Error) -> ApiError {
    let connect = e.is_connect();
    let text = cause(&e.without_url());
    if connect { ApiError::Connect(text) } else { ApiError::NoAnswer(text) }
}

fn cause(e: &reqwest::Error) -> String {
    use std::error::Error as _;
    e.source().map_or_else(|| e.to_string(), |s| format!("{e}: {s}"))
}

async fn read(mut response: Response, bytes_max: usize) -> Result<(String, Vec<u8>), ApiError> {
    let status = response.status();
    if !status.is_success() {
        return Err(ApiError::NoAnswer(format!("HTTP {}", status.as_u16())));
    }
    if response.content_length().is_some_and(|n| n > bytes_max as u64) {
        return Err(ApiError::TooLarge);
    }
    let kind = response.headers().get("content-type").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(lost)? {
        if bytes.len() + chunk.len() > bytes_max {
            return Err(ApiError::TooLarge);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok((kind, bytes))
}

fn answer(bytes: Vec<u8>) -> Result<Value, ApiError> {
    let value: Value = serde_json::from_slice(&bytes).map_err(|e| ApiError::Unreadable(e.to_string()))?;
    match value["errcode"].as_i64().unwrap_or(0) {
        0 => Ok(value),
        code => {
            let message = value["errmsg"].as_str().unwrap_or_default().chars().take(200).collect();
            Err(ApiError::Code { code, message })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_tells_what_to_do() {
        let of = |code: i64| ApiError::Code { code, message: String::new() }.meaning();
        assert_eq!([of(45_015), of(45_047), of(95_001)], [Meaning::Closed; 3]);
        assert_eq!([of(40_003), of(43_004)], [Meaning::Gone; 2]);
        assert_eq!([of(-1), of(45_009), of(42_001)], [Meaning::Later; 3]);
        assert_eq!([of(40_007), of(45_002), of(48_001), of(40_037)], [Meaning::Never; 4]);
        assert_eq!(ApiError::NoAnswer(String::new()).meaning(), Meaning::Later);
    }

    #[test]
    fn an_answer_is_json_with_errcode_zero_or_none() {
        assert_eq!(answer(b"{\"a\":1}".to_vec()).unwrap()["a"], 1);
        assert!(answer(b"{\"errcode\":0,\"errmsg\":\"ok\"}".to_vec()).is_ok());
        let refused = answer(b"{\"errcode\":45047,\"errmsg\":\"out of response count limit\"}".to_vec());
        assert!(matches!(refused, Err(ApiError::Code { code: 45_047, .. })));
        assert!(matches!(answer(b"<html>".to_vec()), Err(ApiError::Unreadable(_))));
    }
}

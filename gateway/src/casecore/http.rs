//! The generic binding: JSON over HTTP.
//!
//! `POST {base}/cases` and `POST {base}/cases/{no}/{close|reopen|remind}` with `Idempotency-Key` and
//! CloudEvents headers answer `{"case_no": …}`; `GET {base}/cases?idempotency_key=…` answers the same or
//! 404; `GET {base}/events?after=…` answers `{"events": [{event_id, case_no, stage, at_ms, note}], "cursor": n}`.

use std::time::Duration;

use hotline_db::{CaseStage, Handoff, HandoffKind};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde::Deserialize;

use super::contract::{CaseCore, DeliverError, Receipt, StatusEvent};
use crate::config::CaseCore as Settings;

/// A case core that answers more than this is broken.
const ANSWER_MAX_BYTES: usize = 4 * 1024 * 1024;

/// The client.
pub struct HttpCore {
    client: Client,
    base: String,
    token: String,
}

#[derive(Deserialize)]
struct CaseAnswer {
    case_no: String,
}

#[derive(Deserialize)]
struct EventAnswer {
    event_id: String,
    case_no: String,
    stage: String,
    at_ms: i64,
    #[serde(default)]
    note: String,
}

#[derive(Deserialize)]
struct EventsAnswer {
    events: Vec<EventAnswer>,
    cursor: i64,
}

impl HttpCore {
    /// Builds the client; a TLS provider must be installed in the process.
    pub fn new(settings: &Settings) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .timeout(Duration::from_millis(settings.timeout_ms))
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { client, base: settings.url.trim_end_matches('/').to_owned(), token: settings.token.clone() })
    }

    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        if self.token.is_empty() { request } else { request.bearer_auth(&self.token) }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Vec<u8>, DeliverError> {
        let mut response = self.authorized(request).send().await.map_err(|e| {
            if e.is_connect() {
                DeliverError::Transient(e.to_string())
            } else {
                DeliverError::UnknownOutcome(e.to_string())
            }
        })?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| DeliverError::UnknownOutcome(e.to_string()))? {
            if body.len() + chunk.len() > ANSWER_MAX_BYTES {
                return Err(DeliverError::UnknownOutcome("the answer is too long".into()));
            }
            body.extend_from_slice(&chunk);
        }
        judge(status, body)
    }
}

/// Which outcome a status means: 5xx before processing is safe to repeat, a gateway's time-out isn't.
fn judge(status: StatusCode, body: Vec<u8>) -> Result<Vec<u8>, DeliverError> {
    let text = || format!("{status}: {}", String::from_utf8_lossy(&body).chars().take(200).collect::<String>());
    match status {
        s if s.is_success() => Ok(body),
        StatusCode::NOT_FOUND => Err(DeliverError::NotFound),
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
            Err(DeliverError::Transient(text()))
        }
        // A token that ran out is renewed one day; the items wait for it.
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(DeliverError::Transient(text())),
        StatusCode::CONFLICT => Err(DeliverError::UnknownOutcome(text())),
        s if s.is_server_error() => Err(DeliverError::UnknownOutcome(text())),
        _ => Err(DeliverError::Permanent(text())),
    }
}

fn parse<T: for<'a> Deserialize<'a>>(body: &[u8]) -> Result<T, DeliverError> {
    serde_json::from_slice(body).map_err(|e| DeliverError::UnknownOutcome(format!("unreadable answer: {e}")))
}

impl CaseCore for HttpCore {
    fn target(&self) -> &'static str {
        "http"
    }

    async fn deliver(&self, row: &Handoff) -> Result<Receipt, DeliverError> {
        let path = if row.kind == HandoffKind::Create {
            format!("{}/cases", self.base)
        } else {
            let case_no =
                row.case_no.as_deref().ok_or_else(|| DeliverError::Permanent("the item has no case yet".into()))?;
            format!("{}/cases/{}/{}", self.base, encode(case_no), row.kind.as_str())
        };
        let request = self
            .client
            .post(path)
            .header("content-type", "application/json")
            .header("idempotency-key", &row.idempotency_key)
            .header("ce-specversion", "1.0")
            .header("ce-id", &row.idempotency_key)
            .header("ce-type", format!("cn.hotline.item.{}", row.kind.as_str()))
            .header("ce-source", "/hotline-gateway")
            .body(row.payload.to_string());
        let answer: CaseAnswer = parse(&self.send(request).await?)?;
        Ok(Receipt { case_no: answer.case_no })
    }

    async fn find(&self, key: &str) -> Result<Option<Receipt>, DeliverError> {
        let request = self.client.get(format!("{}/cases?idempotency_key={}", self.base, encode(key)));
        match self.send(request).await {
            Ok(body) => Ok(Some(Receipt { case_no: parse::<CaseAnswer>(&body)?.case_no })),
            Err(DeliverError::NotFound) => Ok(None),
            Err(e) => Err(e),
        }
    }

    async fn events_after(&self, cursor: &str) -> Result<(Vec<StatusEvent>, String), DeliverError> {
        let after = if cursor.is_empty() { "0" } else { cursor };
        let request = self.client.get(format!("{}/events?after={}", self.base, encode(after)));
        let answer: EventsAnswer = parse(&self.send(request).await?)?;
        let events = answer
            .events
            .into_iter()
            .filter_map(|e| {
                let stage = e.stage.parse::<CaseStage>().ok();
                if stage.is_none() {
                    tracing::warn!(stage = e.stage, case = e.case_no, "case event of an unknown stage left out");
                }
                Some(StatusEvent {
                    event_id: format!("http-{}", e.event_id),
                    case_no: e.case_no,
                    stage: stage?,
                    at: e.at_ms,
                    note: e.note,
                })
            })
            .collect();
        Ok((events, answer.cursor.to_string()))
    }
}

/// Percent-encoding of everything outside RFC 3986's unreserved set.
fn encode(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut out, b| {
        if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
            out.push(char::from(b));
        } else {
            let _ = write!(out, "%{b:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_refusal_is_permanent_and_only_a_clear_no_is_repeated_blindly() {
        let of = |code: u16| judge(StatusCode::from_u16(code).unwrap(), b"x".to_vec());
        assert!(of(201).is_ok());
        assert!(matches!(of(503), Err(DeliverError::Transient(_))));
        assert!(matches!(of(500), Err(DeliverError::UnknownOutcome(_))));
        assert!(matches!(of(504), Err(DeliverError::UnknownOutcome(_))));
        assert!(matches!(of(401), Err(DeliverError::Transient(_))));
        assert!(matches!(of(403), Err(DeliverError::Transient(_))));
        assert!(matches!(of(422), Err(DeliverError::Permanent(_))));
    }

    #[test]
    fn keys_are_encoded() {
        assert_eq!(encode("a/b?c=案"), "a%2Fb%3Fc%3D%E6%A1%88");
    }
}

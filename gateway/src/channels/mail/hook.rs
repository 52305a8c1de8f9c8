//! `POST /hooks/mail`: mail pushed by a provider or a mail server's pipe, signed with a shared secret.
//!
//! `X-Hotline-Timestamp`: seconds since 1970; `X-Hotline-Signature: sha256=` HMAC-SHA-256 (hex) over
//! `TIMESTAMP.BODY`. A request sent again within the window is answered like the first: mails are known by
//! their key.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use futures::StreamExt as _;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{Semaphore, SemaphorePermit};
use tracing::warn;

use super::limits::{HOOK_BODIES_KIB_MAX, HOOK_BODY, HOOK_WINDOW_S, HOOKS_AT_WORK_MAX};
use super::take::{self, Outcome, Source};
use crate::app::Services;
use crate::clock::now_ms;
use crate::console::Api;
use crate::privacy::{constant_time_eq, hmac_hex};

static AT_WORK: Semaphore = Semaphore::const_new(HOOKS_AT_WORK_MAX);
static BODIES_KIB: Semaphore = Semaphore::const_new(HOOK_BODIES_KIB_MAX);

/// A mail as it travelled.
#[derive(Deserialize)]
struct Pushed {
    /// The whole message (RFC 5322), base64.
    raw: String,
    /// When the provider got it (epoch ms).
    #[serde(default)]
    received_at_ms: Option<i64>,
}

/// Why a push was refused.
#[derive(Debug, PartialEq, Eq)]
enum Refused {
    Closed,
    Signature,
    Clock,
    TooLarge,
    Slow,
    Form(String),
    Unreadable,
    Store,
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, word, message) = match self {
            Self::Closed => {
                (StatusCode::NOT_FOUND, "closed", "未配置 mail.hook_secret / mail.hook_secret is not set".into())
            }
            Self::Signature => {
                let message =
                    "签名不符:HMAC-SHA-256(密钥, \"时间戳.正文\") / sign TIMESTAMP.BODY with mail.hook_secret";
                (StatusCode::UNAUTHORIZED, "signature", message.into())
            }
            Self::Clock => {
                let message = "时间戳超出 5 分钟,请校时 / the time stamp is off by more than 5 minutes: set the clock";
                (StatusCode::UNAUTHORIZED, "timestamp", message.into())
            }
            Self::TooLarge => {
                let message = "邮件过大,见 mail.message_max_bytes / the mail is too large: see mail.message_max_bytes";
                (StatusCode::PAYLOAD_TOO_LARGE, "too_large", message.into())
            }
            Self::Slow => {
                let message = "正文未按时到齐,请重发 / the body didn't arrive in time: send it again";
                (StatusCode::REQUEST_TIMEOUT, "slow", message.into())
            }
            Self::Form(why) => {
                let message = format!("应为 / must be {{\"raw\": \"base64 of the message\"}}: {why}");
                (StatusCode::BAD_REQUEST, "form", message)
            }
            Self::Unreadable => {
                let message = "不是可读的邮件,勿重发 / no mail anybody can read: don't send it again";
                (StatusCode::UNPROCESSABLE_ENTITY, "unreadable", message.into())
            }
            Self::Store => {
                let message = "暂不能入库,请重发 / can't be stored now: send it again";
                (StatusCode::SERVICE_UNAVAILABLE, "store", message.into())
            }
        };
        (status, Json(json!({"error": word, "message": message}))).into_response()
    }
}

/// 邮件推送 / takes a pushed mail; 200 after it is stored.
pub(crate) async fn push(State(Api { sv, .. }): State<Api>, headers: HeaderMap, body: Body) -> Response {
    match taken(&sv, &headers, body).await {
        Ok(duplicate) => Json(json!({"taken": true, "duplicate": duplicate})).into_response(),
        Err(refused) => {
            sv.metrics.mail.taken("hook_refused");
            warn!(?refused, "mail hook");
            refused.into_response()
        }
    }
}

async fn taken(sv: &Services, headers: &HeaderMap, body: Body) -> Result<bool, Refused> {
    let mail = &sv.config.mail;
    let secret = super::secret(&mail.hook_secret, mail.hook_secret_file.as_deref()).map_err(|_| Refused::Closed)?;
    if mail.address.is_empty() || secret.is_empty() {
        return Err(Refused::Closed);
    }
    // Who can't sign fails before a body is read, if the clock shows it.
    let stamp = header(headers, "x-hotline-timestamp");
    let seconds: i64 = stamp.parse().map_err(|_| Refused::Signature)?;
    if (now_ms() / 1_000 - seconds).abs() > HOOK_WINDOW_S {
        return Err(Refused::Clock);
    }
    let bytes_max = mail.message_max_bytes.saturating_mul(4) / 3 + 64 * 1024;
    let reading = tokio::time::timeout(HOOK_BODY, read(body, bytes_max, &BODIES_KIB));
    let (body, _room) = reading.await.map_err(|_| Refused::Slow)??;
    verify(&secret, stamp, header(headers, "x-hotline-signature"), &body)?;
    let _place = AT_WORK.acquire().await.map_err(|_| Refused::Store)?;
    let pushed: Pushed = serde_json::from_slice(&body).map_err(|e| Refused::Form(e.to_string()))?;
    let packed: Vec<u8> = pushed.raw.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let raw = base64::engine::general_purpose::STANDARD.decode(packed).map_err(|e| Refused::Form(e.to_string()))?;
    let source = Source { line: "hook", arrived: pushed.received_at_ms.filter(|at| *at <= now_ms()), whole: true };
    match take::raw(sv, &raw, source).await {
        Ok(Outcome::Taken { duplicate }) => Ok(duplicate),
        Ok(Outcome::Aside(_)) => Err(Refused::Unreadable),
        Err(e) => {
            warn!(error = %e, "pushed mail not stored");
            Err(Refused::Store)
        }
    }
}

/// Reads a body nobody has vouched for yet; every KiB that is here takes up room.
async fn read(
    body: Body,
    bytes_max: usize,
    room_kib: &Semaphore,
) -> Result<(Vec<u8>, Option<SemaphorePermit<'_>>), Refused> {
    let mut stream = body.into_data_stream();
    let (mut bytes, mut room, mut kib) = (Vec::new(), None::<SemaphorePermit<'_>>, 0);
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| Refused::Slow)?;
        if bytes.len() + chunk.len() > bytes_max {
            return Err(Refused::TooLarge);
        }
        let needed = (bytes.len() + chunk.len()).div_ceil(1024);
        let more = u32::try_from(needed - kib).map_err(|_| Refused::TooLarge)?;
        let taken = room_kib.try_acquire_many(more).map_err(|_| Refused::Store)?;
        kib = needed;
        match &mut room {
            Some(room) => room.merge(taken),
            None => room = Some(taken),
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok((bytes, room))
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
}

fn verify(secret: &str, stamp: &str, given: &str, body: &[u8]) -> Result<(), Refused> {
    let signed = [stamp.as_bytes(), b".", body].concat();
    let wanted = format!("sha256={}", hmac_hex(secret.as_bytes(), &signed));
    if constant_time_eq(wanted.as_bytes(), given.as_bytes()) { Ok(()) } else { Err(Refused::Signature) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_takes_up_room_as_it_comes_and_gives_it_back() {
        let room = Semaphore::new(8);
        // Who sends nothing holds nothing, however many they are.
        let silent = futures::stream::pending::<Result<Vec<u8>, std::io::Error>>();
        let silent = read(Body::from_stream(silent), 10_000, &room);
        assert!(tokio::time::timeout(std::time::Duration::from_millis(1), silent).await.is_err());
        assert_eq!(room.available_permits(), 8);
        let (bytes, held) = read(Body::from(vec![7; 5_000]), 10_000, &room).await.unwrap();
        assert_eq!((bytes.len(), room.available_permits()), (5_000, 3));
        assert_eq!(read(Body::from(vec![7; 5_000]), 10_000, &room).await.map(drop), Err(Refused::Store));
        assert_eq!(read(Body::from(vec![7; 5_000]), 4_999, &room).await.map(drop), Err(Refused::TooLarge));
        drop(held);
        assert_eq!(room.available_permits(), 8);
    }

    #[test]
    fn a_signature_covers_time_and_body() {
        let secret = "0123456789abcdef";
        let given = format!("sha256={}", hmac_hex(secret.as_bytes(), b"1795140000.{}"));
        assert_eq!(verify(secret, "1795140000", &given, b"{}"), Ok(()));
        assert_eq!(verify(secret, "1795140001", &given, b"{}"), Err(Refused::Signature));
        assert_eq!(verify(secret, "1795140000", &given, b"{ }"), Err(Refused::Signature));
        assert_eq!(verify("another secret!!", "1795140000", &given, b"{}"), Err(Refused::Signature));
        assert_eq!(verify(secret, "1795140000", "", b"{}"), Err(Refused::Signature));
    }
}

//! Where aggregators push to: `POST /hooks/sms/{line}` and `POST /hooks/sms/{line}/report`. The answer is the
//! aggregator's own; it says "taken" only when everything in the push is durable.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use hotline_db::OutgoingState;
use tracing::warn;

use super::limits::PUSH_BYTES_MAX;
use super::receive::{Fate, Message, Push, Refusal, Report, messages, reports};
use crate::app::Services;
use crate::channels::sms::incoming::{Incoming, take};
use crate::channels::sms::report::settle;
use crate::channels::sms::text::{Coding, to_ucs2};
use crate::clock::now_ms;
use crate::config::{HttpLine, HttpPush, SmsKind};
use crate::console::Api;

/// Both hooks.
pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/hooks/sms/{line}", post(pushed))
        .route("/hooks/sms/{line}/report", post(reported))
        .layer(DefaultBodyLimit::max(PUSH_BYTES_MAX))
}

async fn pushed(
    State(api): State<Api>,
    Path(name): Path<String>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(line) = line_of(&api.sv, &name) else { return StatusCode::NOT_FOUND.into_response() };
    let read = with_push(peer, &headers, &body, |push| messages(&line, push));
    match read {
        Err(refusal) => refused(&api.sv, &name, &line.push, &refusal),
        Ok(list) => {
            for message in list {
                if !take_one(&api.sv, &name, message).await {
                    return answer(&line.push, StatusCode::SERVICE_UNAVAILABLE);
                }
            }
            answer(&line.push, StatusCode::OK)
        }
    }
}

async fn reported(
    State(api): State<Api>,
    Path(name): Path<String>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(line) = line_of(&api.sv, &name) else { return StatusCode::NOT_FOUND.into_response() };
    let read = with_push(peer, &headers, &body, |push| reports(&line, push));
    match read {
        Err(refusal) => refused(&api.sv, &name, &line.report, &refusal),
        Ok(list) => {
            for Report { id, fate, code } in list {
                let state = match fate {
                    Fate::Pending => None,
                    Fate::Delivered => Some(OutgoingState::Delivered),
                    Fate::Failed => Some(OutgoingState::Failed),
                };
                if settle(&api.sv, &name, &id, state, &code).await.is_err() {
                    return answer(&line.report, StatusCode::SERVICE_UNAVAILABLE);
                }
            }
            answer(&line.report, StatusCode::OK)
        }
    }
}

/// The settings with their secret read; a secret that can't be read trusts nobody.
fn line_of(sv: &Services, name: &str) -> Option<HttpLine> {
    let line = sv.config.sms.lines.iter().find(|l| l.kind == SmsKind::Http && l.name == name)?;
    let mut settings = line.http.clone();
    settings.secret = settings.secret().unwrap_or_default();
    Some(settings)
}

fn with_push<T>(peer: SocketAddr, headers: &HeaderMap, body: &[u8], read: impl FnOnce(&Push<'_>) -> T) -> T {
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    read(&Push { peer: peer.ip().to_canonical(), header: &header, body, now: now_ms() })
}

/// `false`: the aggregator is to push it again.
async fn take_one(sv: &Services, line: &str, message: Message) -> bool {
    let incoming = Incoming {
        line: line.to_owned(),
        from: message.from,
        to: message.to,
        coding: Coding::Ucs2,
        has_header: false,
        concat: None,
        content: to_ucs2(&message.text),
        provider_id: message.id,
        at: now_ms(),
    };
    match take(sv, incoming).await {
        Ok(()) => true,
        Err(e) if !e.is_transient() => {
            // It would be as unusable the next time, and those behind it would never come in.
            sv.metrics.sms.warned(line, "message_unusable");
            warn!(line, error = %e, "短信不可用,已略过 / a message can't be taken, now or ever: left out");
            true
        }
        Err(e) => {
            warn!(line, error = %e, "短信未收下,平台会重推 / a message was not taken: the aggregator keeps it");
            false
        }
    }
}

fn refused(sv: &Services, line: &str, rule: &HttpPush, refusal: &Refusal) -> Response {
    let (status, kind) = match refusal {
        Refusal::Closed | Refusal::Address => (StatusCode::FORBIDDEN, "push_forbidden"),
        Refusal::Signature => (StatusCode::UNAUTHORIZED, "push_forged"),
        Refusal::Stale => (StatusCode::UNAUTHORIZED, "push_stale"),
        Refusal::Body(_) | Refusal::Field(_) => (StatusCode::BAD_REQUEST, "push_malformed"),
        Refusal::TooMany => (StatusCode::PAYLOAD_TOO_LARGE, "push_too_large"),
    };
    sv.metrics.sms.warned(line, kind);
    warn!(line, reason = kind, "推送被拒 / a push was refused: {refusal}");
    answer(rule, status)
}

fn answer(rule: &HttpPush, status: StatusCode) -> Response {
    let text = if status == StatusCode::OK { &rule.answer_ok } else { &rule.answer_error };
    let kind = if text.starts_with(['{', '[']) { "application/json" } else { "text/plain; charset=utf-8" };
    (status, [(header::CONTENT_TYPE, kind)], text.clone()).into_response()
}

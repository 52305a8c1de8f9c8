//! What passed on the wire of a call: masked for all who work with calls, raw with a reason and an audit row.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::auth::{Role, User};
use super::error::ApiError;
use super::{Api, audit, id_of, reason_of};
use crate::trace::keep::{self, TraceError};
use crate::trace::{TracedLeg, View, Way, first_line, mermaid, show, text};

/// Which form.
#[derive(Default, Deserialize, utoipa::IntoParams)]
pub(crate) struct TraceQuery {
    /// `json` (default), `text` (a ladder) or `mermaid` (a sequence diagram).
    format: Option<String>,
    /// Numbers in the clear: needs a reason, leaders and managers only.
    raw: Option<bool>,
    /// 2 to 200 characters, kept in the audit chain.
    reason: Option<String>,
}

/// One dialog of the call.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct LegView {
    /// Trunk or phone.
    label: String,
    /// SIP `Call-ID`.
    call_id: String,
    /// Messages beyond the limits, not kept.
    dropped: u32,
}

/// One message.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct MessageView {
    /// Microseconds since 1970, UTC.
    at_us: i64,
    /// `in` or `out`.
    way: Way,
    /// Place in `legs`.
    leg: usize,
    /// `udp`, `tcp` …
    transport: String,
    /// Our socket.
    local: String,
    /// The peer's.
    remote: String,
    /// First line.
    first_line: String,
    /// The same bytes passed before.
    repeat: bool,
    /// The whole message.
    text: String,
}

/// A call's trace.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct TraceView {
    call: String,
    legs: Vec<LegView>,
    messages: Vec<MessageView>,
}

/// 一次通话的 SIP 报文(默认遮盖号码)
#[utoipa::path(get, path = "/api/v1/calls/{id}/trace", params(("id" = String, Path), TraceQuery), responses((status = 200, body = TraceView), (status = 403), (status = 404)))]
pub(crate) async fn show_trace(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
    Query(q): Query<TraceQuery>,
) -> Result<Response, ApiError> {
    user.need(&[Role::Operator, Role::Leader, Role::Qa, Role::Manager, Role::Admin])?;
    let call = id_of(&id)?;
    let view = match q.raw.unwrap_or(false) {
        false => View::Masked,
        true => {
            user.need(&[Role::Leader, Role::Manager])?;
            let reason = reason_of(q.reason.as_deref())?;
            // Audited first, as every look at a number.
            audit(&api.sv, &user.0, "read_trace", &format!("call:{call}"), Some(reason)).await?;
            View::Raw
        }
    };
    let legs = keep::read(Some(&api.sv.trace), &api.sv.store, &api.sv.sealer, call).await?;
    if legs.is_empty() {
        return Err(ApiError::missing());
    }
    Ok(match q.format.as_deref().unwrap_or("json") {
        "text" => plain(text(&legs, view)),
        "mermaid" => plain(mermaid(&legs, view)),
        "json" => Json(view_of(&call.to_string(), &legs, view)).into_response(),
        other => return Err(ApiError::bad(format!("format={other:?}: json, text 或/or mermaid"))),
    })
}

fn plain(text: String) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-store")], text).into_response()
}

fn view_of(call: &str, legs: &[TracedLeg], view: View) -> TraceView {
    let mut messages: Vec<MessageView> = legs
        .iter()
        .enumerate()
        .flat_map(|(leg, of)| of.messages.iter().map(move |m| (leg, m)))
        .map(|(leg, m)| MessageView {
            at_us: m.at_us,
            way: m.way,
            leg,
            transport: m.transport.clone(),
            local: m.local.to_string(),
            remote: m.remote.to_string(),
            first_line: first_line(&m.bytes, view),
            repeat: m.is_repeat,
            text: show(&m.bytes, view),
        })
        .collect();
    messages.sort_by_key(|m| m.at_us);
    let legs = legs
        .iter()
        .map(|l| LegView { label: l.label.clone(), call_id: l.call_id.clone(), dropped: l.dropped })
        .collect();
    TraceView { call: call.to_owned(), legs, messages }
}

impl From<TraceError> for ApiError {
    fn from(e: TraceError) -> Self {
        match e {
            TraceError::Store(e) => e.into(),
            e => Self::conflict(e.to_string()),
        }
    }
}

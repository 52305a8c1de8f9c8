//! What happens, as it happens.

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use std::sync::Arc;

use super::Api;
use super::auth::User;
use super::error::ApiError;
use super::work::person;
use crate::events::limits;

/// Where to go on.
#[derive(Deserialize, utoipa::IntoParams)]
pub(crate) struct EventQuery {
    /// The last id seen, for clients that can't set `Last-Event-ID`.
    after: Option<String>,
}

/// 事件流
#[utoipa::path(get, path = "/api/v1/events", params(EventQuery, ("Last-Event-ID" = Option<String>, Header, description = "the last id seen")), responses((status = 200, content_type = "text/event-stream", description = "`work`, `red`, `work_late` with ids; `reset`: some were missed, read the lists again"), (status = 429)))]
pub(crate) async fn stream(
    State(api): State<Api>,
    user: User,
    headers: HeaderMap,
    Query(q): Query<EventQuery>,
) -> Result<Response, ApiError> {
    user.staff()?;
    let events = &api.sv.events;
    let who = person(&user);
    let ticket = events.admit(who.id).ok_or_else(ApiError::too_many_streams)?;
    let header_id = headers.get("last-event-id").and_then(|v| v.to_str().ok());
    let cursor = events.resume(header_id.or(q.after.as_deref()));
    let (ours, theirs) = tokio::io::duplex(limits::PIPE_BYTES);
    let (stream, cancel) =
        (Arc::clone(events).stream(who, cursor, ticket, limits::PATIENCE, ours), api.sv.cancel.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = stream => {}
            () = cancel.cancelled() => {}
        }
    });
    let mut response = Body::from_stream(tokio_util::io::ReaderStream::new(theirs)).into_response();
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx would gather the lines.
    out.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

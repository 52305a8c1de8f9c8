//! What happens, as it happens.

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

use super::Api;
use super::auth::{Role, User};
use super::error::ApiError;
use super::work::person;
use crate::abroad;
use crate::call::{CallState, Request, Wish};
use crate::events::limits;
use crate::floor::{figures_of, state_of};

/// A call that is too busy to say how it stands is left out of a snapshot.
const CALL_WAIT: Duration = Duration::from_secs(1);

/// Where to go on.
#[derive(Deserialize, utoipa::IntoParams)]
pub(crate) struct EventQuery {
    /// The last id seen, for clients that can't set `Last-Event-ID`.
    after: Option<String>,
}

/// 事件流
#[utoipa::path(get, path = "/api/v1/events", params(EventQuery, ("Last-Event-ID" = Option<String>, Header, description = "the last id seen")), responses((status = 200, content_type = "text/event-stream", description = "`snapshot` first (me, my call, queues) unless it goes on from `Last-Event-ID`; then `call`, `call_left`, `state`, `queue`, `red`, `help`, `emergency`, `alarm`, `broadcast`, `work`, `work_late`, `supplement` with ids; `reset`: some were missed; a `snapshot` follows"), (status = 429)))]
pub(crate) async fn stream(
    State(api): State<Api>,
    user: User,
    headers: HeaderMap,
    Query(q): Query<EventQuery>,
) -> Result<Response, ApiError> {
    user.staff()?;
    let events = &api.sv.events;
    let who = person(&user);
    let ticket = events.admit(who).ok_or_else(ApiError::too_many_streams)?;
    let header_id = headers.get("last-event-id").and_then(|v| v.to_str().ok());
    let cursor = events.resume(header_id.or(q.after.as_deref()));
    let goes_on = header_id.or(q.after.as_deref()).is_some() && !cursor.missed;
    let (ours, theirs) = tokio::io::duplex(limits::PIPE_BYTES);
    let (events, cancel) = (Arc::clone(events), api.sv.cancel.clone());
    let user = Arc::new(user);
    let all = move || {
        let (api, user) = (api.clone(), Arc::clone(&user));
        async move { snapshot(&api, &user).await }
    };
    let stream = events.stream(ticket, cursor, !goes_on, all, limits::PATIENCE, ours);
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

/// How things stand for this person: themselves, their call, the queues; for leaders everybody.
async fn snapshot(api: &Api, user: &User) -> Value {
    let id = user.0.id.to_string();
    let queues = api.sv.acd.view().await;
    let seats = || queues.iter().flat_map(|q| q.operators.iter().map(|o| state_of(&q.name, o)));
    let mut all = json!({
        "me": seats().find(|seat| seat["operator"] == id.as_str()),
        "call": my_call(api, &id).await,
        "queues": queues.iter().map(figures_of).collect::<Vec<_>>(),
    });
    if user.has(&[Role::Leader]) {
        all["operators"] = seats().collect();
        all["calls"] = json!(abroad::calls(&api.sv));
        all["alarms"] = json!(api.sv.floor.alarms());
    }
    all
}

async fn my_call(api: &Api, user: &str) -> Option<CallState> {
    let call = abroad::call_of_operator(&api.sv, user)?;
    let request = Request::Operator { wish: Wish::State, key: None };
    tokio::time::timeout(CALL_WAIT, abroad::ask(&api.sv, &call, user, request)).await.ok()?.ok()
}

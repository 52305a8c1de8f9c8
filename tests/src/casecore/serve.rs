//! The HTTP side of the case core: handlers, and where each fault strikes.

use std::collections::HashMap;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::{Case, Command, Core, Fault, Seen, Shared, lock};
use crate::limits::CASECORE_ROWS_MAX;

/// The routes of the contract.
pub(super) fn router(core: Shared) -> Router {
    Router::new()
        .route("/cases", post(create).get(find))
        .route("/cases/{case_no}", get(read))
        .route("/cases/{case_no}/{command}", post(command))
        .route("/events", get(events))
        .with_state(core)
}

fn key_of(headers: &HeaderMap) -> String {
    let value = headers.get("idempotency-key").and_then(|v| v.to_str().ok());
    value.unwrap_or("").to_owned()
}

impl Core {
    /// Notes a request and takes the fault planned for it.
    fn see(&mut self, path: &str, headers: &HeaderMap, is_write: bool) -> Option<Fault> {
        let fault = if is_write { self.faults.pop_front() } else { None };
        let text = |v: &axum::http::HeaderValue| v.to_str().unwrap_or("").to_owned();
        let headers_text = headers.iter().map(|(n, v)| (n.as_str().to_owned(), text(v)));
        let seen = Seen { path: path.into(), key: key_of(headers), headers: headers_text.collect(), fault };
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
            Some((StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "1")], body).into_response())
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

async fn create(State(core): State<Shared>, headers: HeaderMap, Json(payload): Json<Value>) -> Response {
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
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
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
    let created = core.find_key(key).map(|case| case.case_no.clone());
    let commanded = core.commands.iter().find(|c| c.key == key).map(|c| c.case_no.clone());
    match created.or(commanded) {
        Some(case_no) => Json(json!({"case_no": case_no})).into_response(),
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
            core.commands.push(Command { case_no, command: name, key, payload });
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

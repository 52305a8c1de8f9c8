//! The platform's API.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{OriginalUri, Path, Query, State as Extract};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::{CUSTOM, Fault, KF_SEND, KF_SYNC, MEDIA, MENU, Seen, Shared, TEMPLATE, TOKEN, lock};
use crate::limits::CASECORE_ROWS_MAX;

type Params = HashMap<String, String>;

pub(super) fn router(state: Shared) -> Router {
    Router::new()
        .route(TOKEN, post(token))
        .route("/cgi-bin/gettoken", get(corp_token))
        .route(MEDIA, get(media))
        .route("/video/{id}", get(video))
        .route(CUSTOM, post(keep))
        .route(TEMPLATE, post(template))
        .route(MENU, post(keep))
        .route(KF_SYNC, post(sync))
        .route(KF_SEND, post(keep))
        .route("/cgi-bin/kf/account/list", post(accounts))
        .route("/cgi-bin/kf/send_msg_on_event", post(keep))
        .with_state(state)
}

fn code(code: i64) -> Response {
    Json(json!({"errcode": code, "errmsg": format!("error {code} rid: test")})).into_response()
}

fn json_of(body: &Bytes) -> Value {
    serde_json::from_slice(body).unwrap_or(Value::Null)
}

/// Notes a request; the answer if a fault or the token decides it.
async fn see(state: &Shared, path: &str, params: &Params, body: Value) -> Option<Response> {
    let token = params.get("access_token").cloned().unwrap_or_default();
    let (fault, holds) = {
        let mut s = lock(state);
        if s.seen.len() >= CASECORE_ROWS_MAX {
            return Some(StatusCode::INSUFFICIENT_STORAGE.into_response());
        }
        let holds = path == TOKEN || path.ends_with("gettoken") || token == format!("token-{}", s.token);
        // A fault is for a request that would have been served.
        let fault = if holds { s.faults.get_mut(path).and_then(VecDeque::pop_front) } else { None };
        s.seen.push(Seen { path: path.into(), token, body, fault, holds });
        (fault, holds)
    };
    if !holds {
        return Some(code(40_001));
    }
    match fault? {
        Fault::Code(n) => Some(code(n)),
        Fault::BadGateway => Some(StatusCode::BAD_GATEWAY.into_response()),
        Fault::Garbage => Some("<html>busy</html>".into_response()),
        Fault::Slow { ms } => {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            None
        }
    }
}

async fn token(Extract(state): Extract<Shared>, Query(params): Query<Params>, body: Bytes) -> Response {
    let body = json_of(&body);
    if let Some(answer) = see(&state, TOKEN, &params, body.clone()).await {
        return answer;
    }
    if body["grant_type"] != "client_credential" || body["secret"] != "app-secret" {
        return code(40_125);
    }
    if body["force_refresh"] == true {
        lock(&state).token += 1;
    }
    let token = lock(&state).token;
    Json(json!({"access_token": format!("token-{token}"), "expires_in": 7_200})).into_response()
}

async fn corp_token(Extract(state): Extract<Shared>, Query(params): Query<Params>) -> Response {
    if let Some(answer) = see(&state, "/cgi-bin/gettoken", &params, Value::Null).await {
        return answer;
    }
    if params.get("corpsecret").map(String::as_str) != Some("corp-secret") {
        return code(40_001);
    }
    let token = format!("token-{}", lock(&state).token);
    Json(json!({"errcode": 0, "errmsg": "ok", "access_token": token, "expires_in": 7_200})).into_response()
}

async fn media(Extract(state): Extract<Shared>, Query(params): Query<Params>) -> Response {
    let id = params.get("media_id").cloned().unwrap_or_default();
    if let Some(answer) = see(&state, MEDIA, &params, json!({"media_id": id})).await {
        return answer;
    }
    let (found, base) = {
        let s = lock(&state);
        (s.media.get(&id).cloned(), s.base.clone())
    };
    match found {
        // An Official Account gets a video's address instead of the video.
        Some((kind, _)) if kind.starts_with("video/") => {
            Json(json!({"video_url": format!("{base}/video/{id}")})).into_response()
        }
        Some((kind, bytes)) => ([("content-type", kind)], bytes).into_response(),
        None => code(40_007),
    }
}

async fn video(Extract(state): Extract<Shared>, Path(id): Path<String>) -> Response {
    let found = lock(&state).media.get(&id).cloned();
    match found {
        Some((kind, bytes)) => ([("content-type", kind)], bytes).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn keep(
    Extract(state): Extract<Shared>,
    OriginalUri(uri): OriginalUri,
    Query(params): Query<Params>,
    body: Bytes,
) -> Response {
    let body = json_of(&body);
    let id = body["msgid"].clone();
    if let Some(answer) = see(&state, uri.path(), &params, body).await {
        return answer;
    }
    Json(json!({"errcode": 0, "errmsg": "ok", "msgid": id})).into_response()
}

async fn template(Extract(state): Extract<Shared>, Query(params): Query<Params>, body: Bytes) -> Response {
    if let Some(answer) = see(&state, TEMPLATE, &params, json_of(&body)).await {
        return answer;
    }
    let count = lock(&state).seen.iter().filter(|s| s.path == TEMPLATE).count();
    Json(json!({"errcode": 0, "errmsg": "ok", "msgid": 200_228_000 + count})).into_response()
}

async fn accounts(Extract(state): Extract<Shared>, Query(params): Query<Params>, body: Bytes) -> Response {
    if let Some(answer) = see(&state, "/cgi-bin/kf/account/list", &params, json_of(&body)).await {
        return answer;
    }
    Json(json!({"errcode": 0, "errmsg": "ok", "account_list": [
        {"open_kfid": "wk1", "name": "热线", "manage_privilege": true},
        {"open_kfid": "wkOthers", "name": "别人的", "manage_privilege": false},
    ]}))
    .into_response()
}

async fn sync(Extract(state): Extract<Shared>, Query(params): Query<Params>, body: Bytes) -> Response {
    let body = json_of(&body);
    if let Some(answer) = see(&state, KF_SYNC, &params, body.clone()).await {
        return answer;
    }
    // Required, and the cursor is the account's own.
    let Some(account) = body["open_kfid"].as_str().filter(|a| !a.is_empty()) else { return code(40_058) };
    let s = lock(&state);
    let of_account =
        |v: &&Value| v["open_kfid"].as_str().or(v["event"]["open_kfid"].as_str()).is_none_or(|a| a == account);
    let kf: Vec<&Value> = s.kf.iter().filter(of_account).collect();
    let from = body["cursor"].as_str().and_then(|c| c.strip_prefix("cursor-")).and_then(|n| n.parse().ok());
    let from = from.unwrap_or(0_usize).min(kf.len());
    let to = (from + s.page).min(kf.len());
    Json(json!({
        "errcode": 0, "errmsg": "ok", "next_cursor": format!("cursor-{to}"),
        "has_more": i32::from(to < kf.len()), "msg_list": kf[from..to]
    }))
    .into_response()
}

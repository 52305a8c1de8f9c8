//! Queues: who waits, taking somebody out of turn, more time after a talk, and opening or closing by hand.

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use hotline_db::QueueOverride;
use serde::{Deserialize, Serialize};

use super::auth::{Role, User};
use super::error::ApiError;
use super::{Api, audit, id_of, reason_of};
use crate::acd::{AcdError, CallerView, Refused};
use crate::clock::now_ms;

/// 话后 is extended by so much at once at most.
const EXTEND_S_MAX: u32 = 600;
/// A queue is opened or closed by hand for so long at most.
const BY_HAND_MIN_MAX: u32 = 7 * 24 * 60;
/// What was decided at another gateway is read so often, should its word be lost.
const FOLLOW: std::time::Duration = std::time::Duration::from_secs(10);

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/api/v1/queue/callers", get(callers))
        .route("/api/v1/queue/callers/{call}/pull", post(pull))
        .route("/api/v1/operator/wrap/extend", post(extend_wrap))
        .route("/api/v1/queues/openings", get(openings))
        .route("/api/v1/queues/{queue}/opening", post(open_by_hand).delete(by_the_clock))
}

fn refused(e: &AcdError) -> ApiError {
    match e {
        // Who must not serve a caller isn't told why: it would tell of the complaint.
        AcdError::Refused(Refused::NotWaiting | Refused::NoQueue(_) | Refused::Barred) => ApiError::missing(),
        e => ApiError::conflict(e.to_string()),
    }
}

/// Somebody who waits.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct WaitingView {
    #[serde(flatten)]
    caller: CallerView,
    /// 1 is next in their queue.
    place: usize,
    /// Masked number.
    number: String,
}

/// 排队中的来电:按接听顺序
#[utoipa::path(get, path = "/api/v1/queue/callers", responses((status = 200, body = [WaitingView]), (status = 403)))]
pub(crate) async fn callers(State(api): State<Api>, user: User) -> Result<Json<Vec<WaitingView>>, ApiError> {
    user.staff()?;
    let waiting = api.sv.acd.callers().await;
    let live: std::collections::BTreeMap<String, String> =
        crate::abroad::calls(&api.sv).into_iter().map(|live| (live.call, live.caller)).collect();
    let mut ahead = std::collections::BTreeMap::<String, usize>::new();
    let view = |caller: CallerView| {
        let place = ahead.entry(caller.queue.clone()).or_default();
        *place += 1;
        WaitingView { place: *place, number: live.get(&caller.call).cloned().unwrap_or_default(), caller }
    };
    Ok(Json(waiting.into_iter().map(view).collect()))
}

/// Who gets the caller.
#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PullForm {
    /// User id; absent: oneself. Somebody else's needs a shift leader.
    operator: Option<String>,
}

/// 提前接听一个排队中的来电
#[utoipa::path(post, path = "/api/v1/queue/callers/{call}/pull", params(("call" = String, Path)), request_body = PullForm, responses((status = 204, description = "the phone rings"), (status = 403), (status = 404, description = "not waiting, or offered already"), (status = 409, description = "not ready, or named by the matter")))]
pub(crate) async fn pull(
    State(api): State<Api>,
    user: User,
    Path(call): Path<String>,
    body: Option<Json<PullForm>>,
) -> Result<StatusCode, ApiError> {
    let form = body.map(|Json(form)| form).unwrap_or_default();
    let own = user.0.id.to_string();
    let operator = form.operator.unwrap_or_else(|| own.clone());
    match operator == own {
        true => user.need(&[Role::Operator])?,
        false => user.need(&[Role::Leader, Role::Manager])?,
    }
    // As a name in the audit's rows.
    let (call, whom) = (id_of(&call)?, id_of(&operator)?);
    // Out of turn: nobody does that unseen.
    audit(&api.sv, &user.0, "queue_pull", &format!("call:{call}"), Some(&format!("operator:{whom}"))).await?;
    api.sv.acd.pull(&call.to_string(), &operator).await.map_err(|e| refused(&e))?;
    Ok(StatusCode::NO_CONTENT)
}

/// More time.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExtendForm {
    /// 1 to 600.
    seconds: u32,
}

/// Its new end.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct WrapView {
    /// Epoch ms.
    until: i64,
}

/// 延长话后
#[utoipa::path(post, path = "/api/v1/operator/wrap/extend", request_body = ExtendForm, responses((status = 200, body = WrapView), (status = 400), (status = 409, description = "not in 话后, or at its limit of half an hour")))]
pub(crate) async fn extend_wrap(
    State(api): State<Api>,
    user: User,
    body: Result<Json<ExtendForm>, JsonRejection>,
) -> Result<Json<WrapView>, ApiError> {
    let Json(form) = body?;
    user.need(&[Role::Operator])?;
    if !(1..=EXTEND_S_MAX).contains(&form.seconds) {
        return Err(ApiError::bad(format!("seconds: 1–{EXTEND_S_MAX}")));
    }
    let by_ms = i64::from(form.seconds) * 1_000;
    let until = api.sv.acd.extend_wrap(&user.0.id.to_string(), by_ms).await.map_err(|e| refused(&e))?;
    Ok(Json(WrapView { until }))
}

/// 人工开启或关闭的队列
#[utoipa::path(get, path = "/api/v1/queues/openings", responses((status = 200, description = "queue, open, until_at, made_by, reason, at"), (status = 403)))]
pub(crate) async fn openings(State(api): State<Api>, user: User) -> Result<Json<Vec<QueueOverride>>, ApiError> {
    user.staff()?;
    Ok(Json(api.sv.store.queue_overrides(now_ms()).await?))
}

/// A queue opened or closed by hand.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpeningForm {
    /// Open or closed.
    open: bool,
    /// For so long, 1 to 10080; then its hours decide again.
    minutes: u32,
    /// Why, 2 to 200 characters.
    reason: String,
}

/// 临时开启或关闭队列
#[utoipa::path(post, path = "/api/v1/queues/{queue}/opening", params(("queue" = String, Path)), request_body = OpeningForm, responses((status = 204), (status = 400), (status = 403), (status = 404)))]
pub(crate) async fn open_by_hand(
    State(api): State<Api>,
    user: User,
    Path(queue): Path<String>,
    body: Result<Json<OpeningForm>, JsonRejection>,
) -> Result<StatusCode, ApiError> {
    let Json(form) = body?;
    user.need(&[Role::Leader, Role::Manager])?;
    let reason = reason_of(Some(&form.reason))?;
    if !(1..=BY_HAND_MIN_MAX).contains(&form.minutes) {
        return Err(ApiError::bad(format!("minutes: 1–{BY_HAND_MIN_MAX}")));
    }
    known(&api, &queue)?;
    let action = if form.open { "queue_open" } else { "queue_close" };
    audit(&api.sv, &user.0, action, &format!("queue:{queue}"), Some(reason)).await?;
    let at = now_ms();
    let row = QueueOverride {
        queue: queue.clone(),
        open: form.open,
        until_at: at + i64::from(form.minutes) * 60_000,
        made_by: user.0.id,
        reason: reason.to_owned(),
        at,
    };
    let by_hand = (row.open, row.until_at);
    api.sv.store.queue_override_set(row).await?;
    crate::abroad::tell_openings(&api.sv);
    api.sv.acd.open_by_hand(&queue, Some(by_hand)).await;
    Ok(StatusCode::NO_CONTENT)
}

/// 队列恢复按服务时段
#[utoipa::path(delete, path = "/api/v1/queues/{queue}/opening", params(("queue" = String, Path)), responses((status = 204), (status = 403), (status = 404)))]
pub(crate) async fn by_the_clock(
    State(api): State<Api>,
    user: User,
    Path(queue): Path<String>,
) -> Result<StatusCode, ApiError> {
    user.need(&[Role::Leader, Role::Manager])?;
    known(&api, &queue)?;
    audit(&api.sv, &user.0, "queue_by_the_clock", &format!("queue:{queue}"), None).await?;
    api.sv.store.queue_override_end(&queue).await?;
    crate::abroad::tell_openings(&api.sv);
    api.sv.acd.open_by_hand(&queue, None).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Queues are opened and closed at any of several gateways: each reads what was decided, so that whichever leads
/// knows. Ends with the gateway.
pub async fn follow(sv: std::sync::Arc<crate::app::Services>) {
    let mut tick = tokio::time::interval(FOLLOW);
    while sv.cancel.run_until_cancelled(tick.tick()).await.is_some() {
        read_openings(std::sync::Arc::clone(&sv)).await;
    }
}

/// Reads what was decided at any gateway.
pub async fn read_openings(sv: std::sync::Arc<crate::app::Services>) {
    match sv.store.queue_overrides(now_ms()).await {
        Ok(rows) => sv.acd.know_by_hand(rows.into_iter().map(|row| (row.queue, (row.open, row.until_at)))),
        Err(e) => tracing::warn!(error = %e, "queues opened and closed by hand"),
    }
}

fn known(api: &Api, queue: &str) -> Result<(), ApiError> {
    if api.sv.config.queue_names().iter().any(|name| name == queue) { Ok(()) } else { Err(ApiError::missing()) }
}

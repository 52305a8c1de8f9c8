//! The operators' work queue.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hotline_db::{Id, Work, WorkEvent, WorkFilter, WorkKind, WorkPerson, WorkResult, WorkTarget, WorkView};
use serde::{Deserialize, Serialize};

use super::auth::{Role, User};
use super::error::ApiError;
use super::{Api, audit, id_of};
use crate::clock::now_ms;
use crate::worklist::{lease_ms, tell};

const NOTE_CHARS_MAX: usize = 500;

/// Which work.
#[derive(Deserialize, utoipa::IntoParams)]
pub(crate) struct WorkQuery {
    /// `open` (default, in the order of the queue), `mine`, `overdue`, `done` (newest first).
    view: Option<String>,
    /// 核对, 补充, 听留言, 未完, 查重.
    kind: Option<String>,
    /// `phone`, `voicemail`, `sms`, `wechat`, `web`, `mail`.
    channel: Option<String>,
    /// Behind this one: the last of the page before.
    after: Option<String>,
    /// At most 200.
    limit: Option<i64>,
}

/// Who asks, as the queue knows them.
pub(super) fn person(user: &User) -> WorkPerson {
    WorkPerson { id: user.0.id, leader: user.has(&[Role::Leader]) }
}

/// 待办队列
#[utoipa::path(get, path = "/api/v1/work", params(WorkQuery), responses((status = 200, description = "red first, then urgent, then by deadline and arrival"), (status = 400)))]
pub(crate) async fn list(
    State(api): State<Api>,
    user: User,
    Query(q): Query<WorkQuery>,
) -> Result<Json<Vec<Work>>, ApiError> {
    user.staff()?;
    let view = match q.view.as_deref() {
        None | Some("open") => WorkView::Open,
        Some("mine") => WorkView::Mine,
        Some("overdue") => WorkView::Overdue,
        Some("done") => WorkView::Done,
        Some(_) => return Err(ApiError::bad("view: open | mine | overdue | done")),
    };
    let kind = q.kind.as_deref().map(str::parse::<WorkKind>).transpose().map_err(|_| {
        let words: Vec<&str> = WorkKind::ALL.iter().map(|k| k.as_str()).collect();
        ApiError::bad(format!("kind: 应为 / must be one of {}", words.join(" ")))
    })?;
    let filter = WorkFilter {
        who: person(&user),
        view,
        kind,
        channel: q.channel,
        after: q.after.as_deref().map(id_of).transpose()?,
        limit: q.limit.unwrap_or(50).clamp(1, 200),
    };
    Ok(Json(api.sv.store.works(filter).await?))
}

/// A piece of work and what was done with it.
#[derive(Serialize)]
pub(crate) struct WorkStory {
    #[serde(flatten)]
    work: Work,
    events: Vec<WorkEvent>,
}

/// 一项待办
#[utoipa::path(get, path = "/api/v1/work/{id}", params(("id" = String, Path)), responses((status = 200), (status = 404)))]
pub(crate) async fn show(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
) -> Result<Json<WorkStory>, ApiError> {
    user.staff()?;
    let work = visible(&api, &user, id_of(&id)?).await?;
    let events = api.sv.store.work_events(work.id).await?;
    Ok(Json(WorkStory { work, events }))
}

/// What this person may know of.
async fn visible(api: &Api, user: &User, id: Id) -> Result<Work, ApiError> {
    let work = api.sv.store.work_get(id).await?;
    work.filter(|work| work.is_for(person(user))).ok_or_else(ApiError::missing)
}

/// Who may take work.
fn worker(user: &User) -> Result<WorkPerson, ApiError> {
    user.need(&[Role::Operator, Role::Leader])?;
    Ok(person(user))
}

/// Leaves a trace of who does what with it.
async fn traced(api: &Api, user: &User, action: &str, work: Id, what: Option<&str>) -> Result<(), ApiError> {
    audit(&api.sv, &user.0, action, &format!("work:{work}"), what).await?;
    Ok(())
}

fn told(api: &Api, work: Work) -> Json<Work> {
    tell(&api.sv, "work", &work);
    Json(work)
}

/// 领取下一项
#[utoipa::path(post, path = "/api/v1/work/next", responses((status = 200, description = "the first work one may do, one's own for 90 s; what one holds already comes back instead"), (status = 204, description = "nothing to do"), (status = 403)))]
pub(crate) async fn next(State(api): State<Api>, user: User) -> Result<Response, ApiError> {
    let who = worker(&user)?;
    let lease = lease_ms(&api.sv.config.worklist);
    Ok(match api.sv.store.work_next(who, now_ms(), lease).await? {
        Some(work) => {
            traced(&api, &user, "work_take", work.id, None).await?;
            told(&api, work).into_response()
        }
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

/// 领取指定的一项
#[utoipa::path(post, path = "/api/v1/work/{id}/take", params(("id" = String, Path)), responses((status = 200), (status = 404), (status = 409)))]
pub(crate) async fn take(State(api): State<Api>, user: User, Path(id): Path<String>) -> Result<Json<Work>, ApiError> {
    let who = worker(&user)?;
    let lease = lease_ms(&api.sv.config.worklist);
    let id = id_of(&id)?;
    traced(&api, &user, "work_take", id, None).await?;
    Ok(told(&api, api.sv.store.work_take(id, who, now_ms(), lease).await?))
}

/// 续期
#[utoipa::path(post, path = "/api/v1/work/{id}/renew", params(("id" = String, Path)), responses((status = 200), (status = 404), (status = 409, description = "somebody else has it by now")))]
pub(crate) async fn renew(State(api): State<Api>, user: User, Path(id): Path<String>) -> Result<Json<Work>, ApiError> {
    let who = worker(&user)?;
    let lease = lease_ms(&api.sv.config.worklist);
    Ok(Json(api.sv.store.work_renew(id_of(&id)?, who, now_ms(), lease).await?))
}

/// 退回队列
#[utoipa::path(post, path = "/api/v1/work/{id}/release", params(("id" = String, Path)), responses((status = 200, description = "back at its old place"), (status = 404)))]
pub(crate) async fn release(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
) -> Result<Json<Work>, ApiError> {
    let who = worker(&user)?;
    Ok(told(&api, api.sv.store.work_release(id_of(&id)?, who, now_ms()).await?))
}

/// Where to pass it.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TransferForm {
    /// `leader` (值班长), or a colleague's login (工号) or id.
    to: String,
    /// Why.
    note: Option<String>,
}

/// 转交
#[utoipa::path(post, path = "/api/v1/work/{id}/transfer", params(("id" = String, Path)), request_body = TransferForm, responses((status = 200), (status = 400), (status = 404), (status = 409)))]
pub(crate) async fn transfer(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
    body: Result<Json<TransferForm>, JsonRejection>,
) -> Result<Json<Work>, ApiError> {
    let Json(form) = body?;
    let who = worker(&user)?;
    let note = checked(form.note.as_deref())?;
    let to = match form.to.as_str() {
        "leader" => WorkTarget::Leader,
        name => WorkTarget::Person(colleague(&api, name).await?),
    };
    let id = id_of(&id)?;
    let before = visible(&api, &user, id).await;
    traced(&api, &user, "work_transfer", id, Some(&form.to)).await?;
    let work = api.sv.store.work_transfer(id, who, to, note, now_ms()).await?;
    // Whose lists it leaves should hear of it too.
    if before.is_ok_and(|before| before.desk != work.desk) {
        let data = serde_json::json!({"work": work.id, "gone": true});
        api.sv.events.publish("work", crate::events::Audience::Staff, work.excluded, data);
    }
    Ok(told(&api, work))
}

async fn colleague(api: &Api, name: &str) -> Result<WorkPerson, ApiError> {
    let store = &api.sv.store;
    let found = match name.parse::<Id>() {
        Ok(id) => store.user_by_id(id).await?,
        Err(_) => store.user_by_login(name).await?,
    };
    let found = found.filter(|u| u.active).map(User);
    let fit = found.filter(|u| u.has(&[Role::Operator, Role::Leader]));
    fit.as_ref().map(person).ok_or_else(|| {
        ApiError::bad("to: 没有这位受理员或值班长 / no such operator or shift leader: give a login (工号) or `leader`")
    })
}

/// How it ended.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DoneForm {
    /// 移交, 作废, 合并 or 答复; or `handed_off`, `void`, `merged`, `answered`.
    result: String,
    /// A remark.
    note: Option<String>,
}

/// 办结
#[utoipa::path(post, path = "/api/v1/work/{id}/done", params(("id" = String, Path)), request_body = DoneForm, responses((status = 200), (status = 400), (status = 404), (status = 409)))]
pub(crate) async fn done(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
    body: Result<Json<DoneForm>, JsonRejection>,
) -> Result<Json<Work>, ApiError> {
    let Json(form) = body?;
    let who = worker(&user)?;
    let note = checked(form.note.as_deref())?;
    let result = match form.result.as_str() {
        "handed_off" => WorkResult::HandedOff,
        "void" => WorkResult::Void,
        "merged" => WorkResult::Merged,
        "answered" => WorkResult::Answered,
        word => word
            .parse()
            .map_err(|_| ApiError::bad("result: 移交 作废 合并 答复 / handed_off, void, merged or answered"))?,
    };
    let id = id_of(&id)?;
    traced(&api, &user, "work_done", id, Some(result.as_str())).await?;
    Ok(told(&api, api.sv.store.work_done(id, who, result, note, now_ms()).await?))
}

fn checked(note: Option<&str>) -> Result<Option<&str>, ApiError> {
    match note.map(str::trim).filter(|n| !n.is_empty()) {
        Some(n) if n.chars().count() > NOTE_CHARS_MAX => {
            Err(ApiError::bad(format!("note: ≤ {NOTE_CHARS_MAX} 字 / characters")))
        }
        note => Ok(note),
    }
}

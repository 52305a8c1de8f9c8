//! 值班: shifts, signing in and out by them, a leader's leave.

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use hotline_db::{DutyLeave, Id, NewShift, OwnWork, Shift, ShiftRole, UnknownWord};
use serde::{Deserialize, Serialize};

use super::auth::{Role, User};
use super::error::ApiError;
use super::{Api, audit, id_of, reason_of};
use crate::clock::now_ms;
use crate::duty::{self, EARLY_MS};

/// A leave is given for so long at most.
const LEAVE_MIN_MAX: i64 = 24 * 60;
const MINUTE_MS: i64 = 60_000;
/// A shift lasts so long at most.
const SHIFT_MS_MAX: i64 = 7 * 86_400_000;
const NAME_CHARS_MAX: usize = 64;
/// Without bounds a list of shifts spans so much before and after now.
const SPAN_MS: i64 = 14 * 86_400_000;

pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/api/v1/shifts", get(shifts).post(plan))
        .route("/api/v1/shifts/{id}", delete(cancel))
        .route("/api/v1/duty/me", get(me))
        .route("/api/v1/duty/leaves", post(allow))
}

fn millis(minutes: i64) -> i64 {
    minutes.saturating_mul(MINUTE_MS)
}

/// Which time.
#[derive(Deserialize, utoipa::IntoParams)]
pub(crate) struct Span {
    /// Epoch ms; absent: a fortnight ago.
    from: Option<i64>,
    /// Epoch ms; absent: in a fortnight.
    to: Option<i64>,
}

/// 班次
#[utoipa::path(get, path = "/api/v1/shifts", params(Span), responses((status = 200, description = "with their people, earliest first, at most 200"), (status = 403)))]
pub(crate) async fn shifts(
    State(api): State<Api>,
    user: User,
    Query(span): Query<Span>,
) -> Result<Json<Vec<Shift>>, ApiError> {
    user.staff()?;
    let now = now_ms();
    let (from, to) = (span.from.unwrap_or(now - SPAN_MS), span.to.unwrap_or(now + SPAN_MS));
    Ok(Json(api.sv.store.shifts(from, to).await?))
}

/// A person of a shift.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MemberForm {
    /// Sign-in name (工号).
    login: String,
    /// 受理员, 值班长 or 备勤; `operator`, `leader`, `on_call`.
    #[serde(default)]
    role: String,
}

/// A shift to plan.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShiftForm {
    /// 早班 …
    name: String,
    /// Epoch ms.
    starts_at: i64,
    /// Epoch ms, at most seven days later.
    ends_at: i64,
    /// Who.
    members: Vec<MemberForm>,
}

/// 排班
#[utoipa::path(post, path = "/api/v1/shifts", request_body = ShiftForm, responses((status = 201), (status = 400), (status = 403), (status = 404, description = "nobody of that login")))]
pub(crate) async fn plan(
    State(api): State<Api>,
    user: User,
    body: Result<Json<ShiftForm>, JsonRejection>,
) -> Result<(StatusCode, Json<Shift>), ApiError> {
    let Json(form) = body?;
    user.need(&[Role::Leader, Role::Manager])?;
    let name = form.name.trim();
    if name.is_empty() || name.chars().count() > NAME_CHARS_MAX {
        return Err(ApiError::bad(format!("name: 1–{NAME_CHARS_MAX} 字 / characters")));
    }
    if form.ends_at <= form.starts_at || form.ends_at.saturating_sub(form.starts_at) > SHIFT_MS_MAX {
        return Err(ApiError::bad("ends_at: 晚于 starts_at,不超过七天 / after starts_at, by seven days at most"));
    }
    let mut members = Vec::with_capacity(form.members.len());
    for member in &form.members {
        let role = match member.role.as_str() {
            "" | "operator" => ShiftRole::Operator,
            "leader" => ShiftRole::Leader,
            "on_call" => ShiftRole::OnCall,
            word => word
                .parse()
                .map_err(|_: UnknownWord| ApiError::bad("role: 受理员 值班长 备勤 / operator, leader or on_call"))?,
        };
        members.push((person(&api, &member.login).await?.id, role));
    }
    let (id, starts_at, ends_at) = (Id::new(), form.starts_at, form.ends_at);
    let new = NewShift { id, name: name.into(), starts_at, ends_at, members, by: user.0.id };
    audit(&api.sv, &user.0, "shift_plan", &format!("shift:{id}"), None).await?;
    let shift = api.sv.store.shift_add(new, now_ms()).await?;
    Ok((StatusCode::CREATED, Json(shift)))
}

pub(super) async fn person(api: &Api, login: &str) -> Result<hotline_db::User, ApiError> {
    let user = api.sv.store.user_by_login(login.trim()).await?.filter(|u| u.active);
    user.ok_or_else(|| ApiError::bad(format!("没有工号 / nobody has the login {:?}", login.trim())))
}

/// 取消班次
#[utoipa::path(delete, path = "/api/v1/shifts/{id}", params(("id" = String, Path)), responses((status = 204), (status = 403), (status = 404)))]
pub(crate) async fn cancel(State(api): State<Api>, user: User, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    user.need(&[Role::Leader, Role::Manager])?;
    let id = id_of(&id)?;
    audit(&api.sv, &user.0, "shift_cancel", &format!("shift:{id}"), None).await?;
    if api.sv.store.shift_cancel(id, now_ms()).await? { Ok(StatusCode::NO_CONTENT) } else { Err(ApiError::missing()) }
}

/// Where somebody stands.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Standing {
    /// Their shifts of now and soon.
    #[schema(value_type = Vec<Object>)]
    shifts: Vec<Shift>,
    /// Why they may not sign in now.
    sign_in: Option<String>,
    /// Open work they have in hand, in the order it is to be done.
    #[schema(value_type = Vec<Object>)]
    works: Vec<OwnWork>,
}

/// 我的班次与名下待办
#[utoipa::path(get, path = "/api/v1/duty/me", responses((status = 200, body = Standing)))]
pub(crate) async fn me(State(api): State<Api>, user: User) -> Result<Json<Standing>, ApiError> {
    user.staff()?;
    let (store, now, me) = (&api.sv.store, now_ms(), user.0.id);
    let shifts = store.shifts(now, now + EARLY_MS).await?;
    let allowed =
        store.duty_allowed(me, DutyLeave::SignIn, now).await?.is_some() || user.has(&[Role::Leader, Role::Manager]);
    let sign_in = duty::sign_in(&shifts, me, allowed, now).err().map(|r| r.to_string());
    let works = store.work_own(me).await?;
    let shifts = shifts.into_iter().filter(|s| s.members.iter().any(|m| m.account == me)).collect();
    Ok(Json(Standing { shifts, sign_in, works }))
}

/// A leave.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LeaveForm {
    /// Whose: sign-in name.
    login: String,
    /// `sign_in` or `sign_out`.
    what: String,
    /// Why: 2 to 200 characters.
    reason: String,
    /// For so many minutes; absent: 30.
    minutes: Option<i64>,
}

/// 值班长批准班次外签到或签退
#[utoipa::path(post, path = "/api/v1/duty/leaves", request_body = LeaveForm, responses((status = 204), (status = 400), (status = 403)))]
pub(crate) async fn allow(
    State(api): State<Api>,
    user: User,
    body: Result<Json<LeaveForm>, JsonRejection>,
) -> Result<StatusCode, ApiError> {
    let Json(form) = body?;
    user.need(&[Role::Leader, Role::Manager])?;
    let reason = reason_of(Some(&form.reason))?;
    let what = match form.what.as_str() {
        "sign_in" => DutyLeave::SignIn,
        "sign_out" => DutyLeave::SignOut,
        _ => return Err(ApiError::bad("what: sign_in | sign_out")),
    };
    let minutes = form.minutes.unwrap_or(30);
    if !(1..=LEAVE_MIN_MAX).contains(&minutes) {
        return Err(ApiError::bad(format!("minutes: 1–{LEAVE_MIN_MAX}")));
    }
    let (whose, now) = (person(&api, &form.login).await?.id, now_ms());
    audit(&api.sv, &user.0, &format!("duty_leave_{}", form.what), &format!("user:{whose}"), Some(reason)).await?;
    api.sv.store.duty_allow(whose, what, reason, now + millis(minutes), user.0.id, now).await?;
    Ok(StatusCode::NO_CONTENT)
}

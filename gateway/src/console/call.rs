//! Calls: lists, stories and control.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use hotline_db::{Call, CallEvent, CallFilter, LegQuality, Recording};
use serde::{Deserialize, Serialize};

use super::auth::{Role, User};
use super::error::ApiError;
use super::guest::tells_of_supervision;
use super::{Api, audit, id_of, reason_of};
use crate::call::{Grade, LiveCall};

/// Which calls.
#[derive(Deserialize, utoipa::IntoParams)]
pub(crate) struct CallQuery {
    /// At most 200.
    limit: Option<i64>,
    /// Older than this arrival number.
    before_seq: Option<i64>,
    /// Only calls whose worst leg scored less, e.g. 3.1.
    mos_below: Option<f64>,
}

/// A call with what belongs to it.
#[derive(Serialize)]
pub(crate) struct CallView {
    #[serde(flatten)]
    call: Call,
    recordings: Vec<Recording>,
    quality: Vec<LegView>,
}

/// How a leg sounded; `in` is what we heard of it, `out` what it heard of us.
#[derive(Serialize)]
pub(crate) struct LegView {
    #[serde(flatten)]
    leg: LegQuality,
    grade: Option<Grade>,
}

/// 通话列表
#[utoipa::path(get, path = "/api/v1/calls", params(CallQuery), responses((status = 200, description = "newest first")))]
pub(crate) async fn list(
    State(api): State<Api>,
    user: User,
    Query(q): Query<CallQuery>,
) -> Result<Json<Vec<Call>>, ApiError> {
    user.staff()?;
    let filter = CallFilter {
        limit: q.limit.unwrap_or(50).clamp(1, 200),
        before_seq: q.before_seq,
        mos_below: q.mos_below.filter(|mos| mos.is_finite()),
        ..CallFilter::default()
    };
    let mut calls = api.sv.store.calls(filter).await?;
    calls.retain(|call| may_see(&api, &user, &call.did));
    Ok(Json(calls))
}

/// 正在进行的通话(所有网关)
#[utoipa::path(get, path = "/api/v1/calls/live", responses((status = 200, body = [LiveCall])))]
pub(crate) async fn live(State(api): State<Api>, user: User) -> Result<Json<Vec<LiveCall>>, ApiError> {
    user.staff()?;
    let mut live = crate::abroad::calls(&api.sv);
    live.retain(|call| !is_leaders(&api, &call.queue) || supervises(&user));
    Ok(Json(live))
}

fn supervises(user: &User) -> bool {
    user.has(&[Role::Leader, Role::Qa, Role::Manager])
}

fn is_leaders(api: &Api, queue: &str) -> bool {
    api.sv.config.queue(queue).leaders_only
}

/// What came in on a supervision number (domain rule 2.5) is no operator's business.
fn may_see(api: &Api, user: &User, did: &str) -> bool {
    let leaders = |h: &crate::config::Hotline| h.number == did && is_leaders(api, &h.queue);
    supervises(user) || !api.sv.config.hotlines.iter().any(leaders)
}

/// 一次通话
#[utoipa::path(get, path = "/api/v1/calls/{id}", params(("id" = String, Path)), responses((status = 200), (status = 404)))]
pub(crate) async fn show(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
) -> Result<Json<CallView>, ApiError> {
    user.staff()?;
    let id = id_of(&id)?;
    let call = api.sv.store.call_get(id).await?.filter(|call| may_see(&api, &user, &call.did));
    let call = call.ok_or_else(ApiError::missing)?;
    let recordings = api.sv.store.recordings_of_call(id).await?;
    let quality = api.sv.store.call_quality(id).await?;
    let quality = quality.into_iter().map(|leg| LegView { grade: leg.mos().map(Grade::of), leg }).collect();
    Ok(Json(CallView { call, recordings, quality }))
}

/// 通话事件
#[utoipa::path(get, path = "/api/v1/calls/{id}/events", params(("id" = String, Path)), responses((status = 200)))]
pub(crate) async fn events(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
) -> Result<Json<Vec<CallEvent>>, ApiError> {
    user.staff()?;
    let id = id_of(&id)?;
    if !supervises(&user) {
        // One that isn't there has no events either.
        let call = api.sv.store.call_get(id).await?;
        if call.is_some_and(|call| !may_see(&api, &user, &call.did)) {
            return Err(ApiError::missing());
        }
    }
    let mut events = api.sv.store.call_events(id).await?;
    if !supervises(&user) {
        // Whom a matter names is told to nobody who may be that person.
        events.retain(|event| event.kind != "routing" && !tells_of_supervision(&event.kind, &event.data));
    }
    Ok(Json(events))
}

/// Why the number is needed.
#[derive(Deserialize, utoipa::ToSchema)]
pub(crate) struct RevealForm {
    reason: String,
}

/// The number itself.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Revealed {
    number: String,
}

/// 查看完整号码(审计)
#[utoipa::path(post, path = "/api/v1/calls/{id}/reveal", params(("id" = String, Path)), request_body = RevealForm, responses((status = 200, body = Revealed), (status = 403), (status = 404)))]
pub(crate) async fn reveal(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
    body: Result<Json<RevealForm>, JsonRejection>,
) -> Result<Json<Revealed>, ApiError> {
    let Json(form) = body?;
    let reason = reason_of(Some(&form.reason))?;
    let id = id_of(&id)?;
    let call = api.sv.store.call_get(id).await?.ok_or_else(ApiError::missing)?;
    if call.operator != Some(user.0.id) {
        user.need(&[Role::Leader, Role::Manager])?;
    }
    let party =
        api.sv.store.party_get(call.party.ok_or_else(ApiError::missing)?).await?.ok_or_else(ApiError::missing)?;
    let sealed = party.phone_sealed.ok_or_else(ApiError::missing)?;
    // Audited first: a look that left no trace must be impossible.
    audit(&api.sv, &user.0, "reveal_number", &format!("call:{id}"), Some(reason)).await?;
    let number = api.sv.sealer.open_sealed(&sealed).map_err(|e| ApiError::conflict(e.to_string()))?;
    Ok(Json(Revealed { number }))
}

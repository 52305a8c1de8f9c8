//! What a shift leader does on the floor: forcing a state, speaking to all, and the alarms.

use axum::Json;
use axum::Router;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::json;

use super::auth::{Role, User};
use super::error::ApiError;
use super::operator::{StateView, from_a_call, profile};
use super::{Api, audit, id_of, reason_of};
use crate::acd::{AcdError, OperatorState, Refused};
use crate::call::ControlError;
use crate::desk_phone::is_outside;
use crate::events::Audience;

/// Characters of a broadcast.
const TEXT_CHARS_MAX: usize = 200;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/api/v1/operators/{id}/state", post(force_state))
        .route("/api/v1/broadcasts", post(broadcast))
        .route("/api/v1/alarms", get(alarms))
}

/// A state somebody else gets.
#[derive(Deserialize, utoipa::ToSchema)]
pub(crate) struct ForceForm {
    /// `ready`, `break`, `away` or `off`.
    #[schema(value_type = String)]
    state: OperatorState,
    /// Why, 2 to 200 characters.
    reason: String,
}

/// 强制切换坐席状态
#[utoipa::path(post, path = "/api/v1/operators/{id}/state", params(("id" = String, Path)), request_body = ForceForm, responses((status = 200, body = StateView), (status = 400), (status = 403), (status = 404), (status = 409)))]
pub(crate) async fn force_state(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
    body: Result<Json<ForceForm>, JsonRejection>,
) -> Result<Json<StateView>, ApiError> {
    user.need(&[Role::Leader, Role::Manager])?;
    let Json(form) = body?;
    let reason = reason_of(Some(&form.reason))?;
    from_a_call(form.state)?;
    let operator = api.sv.store.user_by_id(id_of(&id)?).await?.ok_or_else(ApiError::missing)?;
    let who = api.sv.desk_phones.reference(&operator).ok_or(ControlError::NoPhone)?;
    // Anybody who is in may be sent home.
    if form.state != OperatorState::Off {
        may_serve(&operator)?;
    }
    let view = api.sv.acd.view().await;
    let serves = view.iter().filter(|q| q.operators.iter().any(|o| o.id == who.id)).map(|q| q.name.clone());
    let mut queues: Vec<String> = serves.collect();
    let registered = is_outside(&who) || !api.sv.sip.bindings(&who.sip_user).is_empty();
    audit(&api.sv, &user.0, "force_state", &format!("user:{id}"), Some(reason)).await?;
    let now = match api.sv.acd.force_state(&who.id, form.state, reason).await {
        // Never signed in: as if they did so themselves.
        Err(AcdError::Refused(Refused::NoOperator)) => {
            let queue = api.sv.config.first_queue();
            may_serve(&operator)?;
            if api.sv.config.queue(&queue).leaders_only && !operator.has_role(Role::Leader.as_str()) {
                return Err(ApiError::conflict("该队列只由值班长受理 / only shift leaders serve this queue"));
            }
            queues = vec![queue];
            let profile = profile(&api.sv, operator.id, queues.clone(), registered).await?;
            api.sv.acd.want(who, profile, form.state, reason).await
        }
        now => now,
    };
    let standing = now.map_err(|e| ApiError::bad(e.to_string()))?;
    let data = json!({ "operator": id, "state": form.state.as_str(), "by": user.0.name, "reason": reason });
    api.sv.events.publish("state_forced", Audience::PersonAndLeaders(operator.id), None, data);
    Ok(Json(StateView::new(&standing, queues, registered)))
}

/// A leader's word makes nobody an operator.
fn may_serve(user: &hotline_db::User) -> Result<(), ApiError> {
    if user.active && user.has_role(Role::Operator.as_str()) {
        return Ok(());
    }
    Err(ApiError::conflict("该账号已停用或不是受理员 / this account is deactivated, or no operator's"))
}

/// Words for everybody on duty.
#[derive(Deserialize, utoipa::ToSchema)]
pub(crate) struct BroadcastForm {
    /// 1 to 200 characters.
    text: String,
}

/// 广播:发给所有受理员
#[utoipa::path(post, path = "/api/v1/broadcasts", request_body = BroadcastForm, responses((status = 204), (status = 400), (status = 403)))]
pub(crate) async fn broadcast(
    State(api): State<Api>,
    user: User,
    body: Result<Json<BroadcastForm>, JsonRejection>,
) -> Result<StatusCode, ApiError> {
    user.need(&[Role::Leader, Role::Manager])?;
    let Json(form) = body?;
    let text = form.text.trim();
    if !(1..=TEXT_CHARS_MAX).contains(&text.chars().count()) {
        return Err(ApiError::bad(format!("text: 1–{TEXT_CHARS_MAX} 字 / characters")));
    }
    audit(&api.sv, &user.0, "broadcast", "staff", Some(text)).await?;
    let data = json!({ "text": text, "from": user.0.name });
    api.sv.events.publish("broadcast", Audience::Staff, None, data);
    Ok(StatusCode::NO_CONTENT)
}

/// 当前告警
#[utoipa::path(get, path = "/api/v1/alarms", responses((status = 200, description = "`wait`, `wrap_up`, `away`, `signed_out` with queue or operator"), (status = 403)))]
pub(crate) async fn alarms(State(api): State<Api>, user: User) -> Result<Json<Vec<serde_json::Value>>, ApiError> {
    user.need(&[Role::Leader, Role::Manager])?;
    Ok(Json(api.sv.floor.alarms().iter().map(|alarm| json!(alarm)).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hotline_db::{Id, Json as Roles, Secret, User};

    #[test]
    fn a_leaders_word_makes_nobody_an_operator_who_is_none() {
        let user = |active: bool, roles: &[&str]| User {
            id: Id::new(),
            login: "1001".into(),
            name: "1001".into(),
            password_hash: Secret::from(String::new()),
            roles: Roles(json!(roles)),
            sip_user: Some("1001".into()),
            ha1_md5: None,
            ha1_sha256: None,
            active,
        };
        assert!(may_serve(&user(true, &["operator", "leader"])).is_ok());
        assert!(may_serve(&user(true, &["qa"])).is_err());
        assert!(may_serve(&user(false, &["operator"])).is_err());
    }
}

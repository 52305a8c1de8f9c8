//! Operators: their state, and the queues they serve.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use serde::{Deserialize, Serialize};

use super::Api;
use super::auth::{Role, User};
use super::duty;
use super::error::ApiError;
use crate::acd::{OperatorRef, OperatorState, QueueView};
use crate::app::Services;

/// What the operator wants to be.
#[derive(Deserialize, utoipa::ToSchema)]
pub(crate) struct StateForm {
    /// `ready`, `break`, `away` or `off`.
    #[schema(value_type = String)]
    state: OperatorState,
    /// Reason of a break.
    #[serde(default)]
    reason: String,
    /// Queue to serve; absent: the first.
    queue: Option<String>,
}

/// What holds now.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct StateView {
    state: String,
    queue: String,
    /// Whether the operator's phone is registered: no call comes before it is.
    phone_registered: bool,
}

impl StateView {
    pub(super) fn new(state: OperatorState, queue: String, phone_registered: bool) -> Self {
        Self { state: state.as_str().into(), queue, phone_registered }
    }
}

/// 切换坐席状态
#[utoipa::path(post, path = "/api/v1/operators/me/state", request_body = StateForm, responses((status = 200, body = StateView), (status = 400), (status = 403)))]
pub(crate) async fn set_state(
    State(api): State<Api>,
    user: User,
    body: Result<Json<StateForm>, JsonRejection>,
) -> Result<Json<StateView>, ApiError> {
    let Json(form) = body?;
    user.need(&[Role::Operator])?;
    from_a_call(form.state)?;
    if form.reason.chars().count() > 64 {
        return Err(ApiError::bad("reason: ≤ 64 字 / characters"));
    }
    let who = reference(&user.0)
        .ok_or_else(|| ApiError::bad("该用户没有话机 / this user has no SIP phone: `hotline user add --sip-user`"))?;
    let queue = form.queue.unwrap_or_else(|| api.sv.config.first_queue());
    if api.sv.config.queue(&queue).leaders_only && !user.has(&[Role::Leader]) {
        return Err(ApiError::forbidden("该队列只由值班长受理 / only shift leaders serve this queue"));
    }
    let registered = !api.sv.sip.bindings(&who.sip_user).is_empty();
    // One at a time: two people can't both leave because the other stays.
    let turn = api.sv.duty.lock().await;
    duty::judge(&api, &user, form.state).await?;
    let state = api
        .sv
        .acd
        .want(&queue, who, registered, form.state, form.reason.trim())
        .await
        .map_err(|e| ApiError::bad(e.to_string()))?;
    drop(turn);
    Ok(Json(StateView::new(state, queue, registered)))
}

/// A state nobody chooses.
pub(super) fn from_a_call(state: OperatorState) -> Result<(), ApiError> {
    if matches!(state, OperatorState::Ringing | OperatorState::Talking | OperatorState::WrapUp) {
        return Err(ApiError::bad(
            "该状态由通话决定 / that state follows from a call: choose ready, break, away or off",
        ));
    }
    Ok(())
}

/// 队列
#[utoipa::path(get, path = "/api/v1/queues", responses((status = 200, body = [QueueView])))]
pub(crate) async fn queues(State(api): State<Api>, user: User) -> Result<Json<Vec<QueueView>>, ApiError> {
    user.staff()?;
    Ok(Json(api.sv.acd.view().await))
}

fn reference(user: &hotline_db::User) -> Option<OperatorRef> {
    Some(OperatorRef { id: user.id.to_string(), name: user.name.clone(), sip_user: user.sip_user.clone()? })
}

/// After a restart operators are what they were before it; their calls come once their phones register again.
pub async fn restore(sv: &Arc<Services>) -> Result<(), hotline_db::DbError> {
    let queue = sv.config.first_queue();
    for row in sv.store.operator_states().await? {
        let state = match OperatorState::parse(row.state.as_str()) {
            Some(OperatorState::Off) | None => continue,
            // A call of before the restart is over.
            Some(OperatorState::Ringing | OperatorState::Talking | OperatorState::WrapUp) => OperatorState::Ready,
            Some(state) => state,
        };
        let Some(user) = sv.store.user_by_id(row.operator).await? else { continue };
        if let Some(who) = reference(&user)
            && let Err(e) = sv.acd.want(&queue, who, false, state, row.reason.as_deref().unwrap_or_default()).await
        {
            tracing::warn!(error = %e, "operator's state not restored");
        }
    }
    Ok(())
}

//! 常通线路: an operator's phone is rung once, and its leg stays up between citizens.

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::routing::post;
use serde::Serialize;

use super::Api;
use super::auth::{Role, User};
use super::error::ApiError;
use super::signing::{Brief, served};
use crate::acd::{OperatorRef, OperatorState};
use crate::call::{LineError, raise};

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/api/v1/operators/me/line", post(up).delete(down))
}

/// The leg.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct LineView {
    /// Citizens are connected with it, without a ring.
    up: bool,
}

/// 建立常通线路:振铃本人话机,接听后保持,市民来电以提示音接入
#[utoipa::path(post, path = "/api/v1/operators/me/line", responses((status = 200, body = LineView, description = "picked up, within 30 s"), (status = 403), (status = 409, description = "signed out, in a call, not picked up, or several gateways share the queues")))]
pub(crate) async fn up(State(api): State<Api>, user: User) -> Result<Json<LineView>, ApiError> {
    user.need(&[Role::Operator])?;
    let who = api.sv.desk_phones.reference(&user.0).ok_or(crate::call::ControlError::NoPhone)?;
    // It comes down at the sign-out: there has to be one.
    if served(&api.sv.acd.view().await, &who.id).is_empty() {
        return Err(ApiError::conflict("请先签到 / sign in first"));
    }
    raise(&api.sv, who).await?;
    Ok(Json(LineView { up: true }))
}

/// 断开常通线路;通话中则在通话结束后断开
#[utoipa::path(delete, path = "/api/v1/operators/me/line", responses((status = 200, body = LineView), (status = 403)))]
pub(crate) async fn down(State(api): State<Api>, user: User) -> Result<Json<LineView>, ApiError> {
    user.need(&[Role::Operator])?;
    let me = user.0.id.to_string();
    api.sv.lines.end(&me);
    Ok(Json(LineView { up: false }))
}

/// Who says ready and wants it has it before the first citizen is offered. No phone rings for a sign-in that duty
/// refuses.
pub(super) async fn before_ready(
    api: &Api,
    user: &User,
    who: &OperatorRef,
    (state, queues): (OperatorState, &[String]),
) -> Result<(), ApiError> {
    let wanted = state == OperatorState::Ready && api.sv.desk_phones.is_nailed_up(&who.id) && api.sv.peers.is_none();
    if !wanted || api.sv.lines.is_up(&who.id) {
        return Ok(());
    }
    if let Some(brief) = Brief::of(api, user, state, queues).await? {
        let _turn = api.sv.duty.lock().await;
        brief.judge(api, user).await?;
    }
    match raise(&api.sv, who.clone()).await {
        // 示闲 chosen during a call: it comes up the next time.
        Ok(()) | Err(LineError::Busy) => Ok(()),
        Err(why) => Err(why.into()),
    }
}

impl From<LineError> for ApiError {
    fn from(why: LineError) -> Self {
        Self::conflict(why.to_string())
    }
}

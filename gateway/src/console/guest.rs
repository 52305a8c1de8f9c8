//! What shift leaders do to somebody's call: 监听, 耳语, 强插, 接管, 强拆, and moving who waits. Each is audited
//! before it happens.

use axum::Json;
use axum::Router;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::routing::post;
use serde::Deserialize;

use super::auth::{Role, User};
use super::desk::phone_of;
use super::error::ApiError;
use super::{Api, audit, reason_of};
use crate::abroad;
use crate::call::{CallState, ControlError, LeaderWish, Part, Request};

type Answer = Result<Json<CallState>, ApiError>;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/api/v1/calls/{id}/supervise", post(supervise).delete(leave))
        .route("/api/v1/calls/{id}/take", post(take))
        .route("/api/v1/calls/{id}/force-end", post(force_end))
        .route("/api/v1/calls/{id}/move", post(move_caller))
}

/// Hands a leader's wish to the call's driver, here or at another gateway.
pub(super) async fn ask(api: &Api, call: &str, user: &User, wish: LeaderWish) -> Answer {
    Ok(Json(abroad::ask(&api.sv, call, &user.0.id.to_string(), Request::Leader(wish)).await?))
}

/// A leader's wish.
#[derive(Deserialize, utoipa::ToSchema)]
pub(crate) struct SuperviseForm {
    /// `listen`, `whisper` or `barge`; asked again with another one, the part changes.
    part: Part,
    /// Why, 2 to 200 characters; needed to barge in.
    reason: Option<String>,
}

/// 监听、耳语、强插:振铃本人话机
#[utoipa::path(post, path = "/api/v1/calls/{id}/supervise", params(("id" = String, Path)), request_body = SuperviseForm, responses((status = 200, body = CallState), (status = 403), (status = 404), (status = 409)))]
pub(crate) async fn supervise(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
    body: Result<Json<SuperviseForm>, JsonRejection>,
) -> Answer {
    let Json(form) = body?;
    let (action, roles): (_, &[Role]) = match form.part {
        Part::Listen => ("supervise_listen", &[Role::Leader, Role::Qa, Role::Manager]),
        Part::Whisper => ("supervise_whisper", &[Role::Leader, Role::Manager]),
        Part::Barge => ("supervise_barge", &[Role::Leader, Role::Manager]),
        Part::Join | Part::Consult => {
            return Err(ApiError::bad("part 应为 listen、whisper 或 barge / part is listen, whisper or barge"));
        }
    };
    user.need(roles)?;
    let reason = match (&form.reason, form.part) {
        (None, part) if part != Part::Barge => None,
        (reason, _) => Some(reason_of(reason.as_deref())?),
    };
    let who = phone_of(&user.0)?;
    known(&api, &id)?;
    // Audited first: an ear that left no trace must be impossible.
    audit(&api.sv, &user.0, action, &format!("call:{id}"), reason).await?;
    ask(&api, &id, &user, LeaderWish::Supervise(who, form.part)).await
}

/// 退出监听
#[utoipa::path(delete, path = "/api/v1/calls/{id}/supervise", params(("id" = String, Path)), responses((status = 200, body = CallState), (status = 403), (status = 404)))]
pub(crate) async fn leave(State(api): State<Api>, user: User, Path(id): Path<String>) -> Answer {
    user.need(&[Role::Leader, Role::Qa, Role::Manager])?;
    ask(&api, &id, &user, LeaderWish::Leave).await
}

/// Why.
#[derive(Deserialize, utoipa::ToSchema)]
pub(crate) struct WhyForm {
    /// 2 to 200 characters.
    reason: String,
}

/// 接管:受理员退出,值班长与市民通话
#[utoipa::path(post, path = "/api/v1/calls/{id}/take", params(("id" = String, Path)), request_body = WhyForm, responses((status = 200, body = CallState), (status = 403), (status = 404), (status = 409)))]
pub(crate) async fn take(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
    body: Result<Json<WhyForm>, JsonRejection>,
) -> Answer {
    user.need(&[Role::Leader, Role::Manager])?;
    let Json(form) = body?;
    let reason = reason_of(Some(&form.reason))?;
    let who = phone_of(&user.0)?;
    known(&api, &id)?;
    audit(&api.sv, &user.0, "supervise_take", &format!("call:{id}"), Some(reason)).await?;
    ask(&api, &id, &user, LeaderWish::TakeCall(who)).await
}

/// 强拆:结束整个通话
#[utoipa::path(post, path = "/api/v1/calls/{id}/force-end", params(("id" = String, Path)), request_body = WhyForm, responses((status = 200, body = CallState), (status = 403), (status = 404)))]
pub(crate) async fn force_end(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
    body: Result<Json<WhyForm>, JsonRejection>,
) -> Answer {
    user.need(&[Role::Leader, Role::Manager])?;
    let Json(form) = body?;
    let reason = reason_of(Some(&form.reason))?;
    known(&api, &id)?;
    audit(&api.sv, &user.0, "force_end", &format!("call:{id}"), Some(reason)).await?;
    ask(&api, &id, &user, LeaderWish::ForceEnd(reason.to_owned())).await
}

/// Where a waiting caller goes.
#[derive(Deserialize, utoipa::ToSchema)]
pub(crate) struct MoveForm {
    /// Another queue; absent: the same one.
    queue: Option<String>,
    /// Before everybody but danger.
    #[serde(default)]
    front: bool,
}

/// 调整排队:移到队首或其他队列
#[utoipa::path(post, path = "/api/v1/calls/{id}/move", params(("id" = String, Path)), request_body = MoveForm, responses((status = 200, body = CallState), (status = 403), (status = 404), (status = 409)))]
pub(crate) async fn move_caller(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
    body: Result<Json<MoveForm>, JsonRejection>,
) -> Answer {
    user.need(&[Role::Leader, Role::Manager])?;
    let Json(MoveForm { queue, front }) = body?;
    if queue.is_none() && !front {
        return Err(ApiError::bad("请给出 queue 或 front / name a queue, or front"));
    }
    known(&api, &id)?;
    audit(&api.sv, &user.0, "move_caller", &format!("call:{id}"), queue.as_deref()).await?;
    ask(&api, &id, &user, LeaderWish::Move { queue, front }).await
}

/// What is about no call needs no trace in the audit chain.
fn known(api: &Api, call: &str) -> Result<(), ApiError> {
    if abroad::has(&api.sv, call) { Ok(()) } else { Err(ControlError::Gone.into()) }
}

/// Whether an event tells of somebody who listens, whispers or barges in: whom the operator must not learn of from
/// the call's story. Sound events name no part: with a guest's leg they count.
pub(super) fn tells_of_supervision(kind: &str, data: &serde_json::Value) -> bool {
    let is_operators = |part: &serde_json::Value| [Part::Join, Part::Consult].iter().any(|p| part == p.as_str());
    if kind.starts_with("guest_") { !is_operators(&data["part"]) } else { data["leg"] == "guest" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_events_of_colleagues_asked_in_are_for_everybody() {
        for kind in ["guest_ring", "guest_joined", "guest_part", "guest_left"] {
            for part in ["listen", "whisper", "barge"] {
                assert!(tells_of_supervision(kind, &json!({ "user": "u", "part": part })), "{kind} {part}");
            }
            for part in ["join", "consult"] {
                assert!(!tells_of_supervision(kind, &json!({ "user": "u", "part": part })), "{kind} {part}");
            }
        }
        assert!(tells_of_supervision("audio_one_way", &json!({ "leg": "guest", "direction": "in" })));
        assert!(!tells_of_supervision("audio_one_way", &json!({ "leg": "citizen", "direction": "in" })));
        assert!(!tells_of_supervision("talk_start", &json!({ "operator": "u" })));
    }
}

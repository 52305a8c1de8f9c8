//! Further people in a talk: 三方 by its operator, 监听/耳语/强插 by leaders. Every one of a leader's is audited
//! before the phone rings.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::auth::{Role, User};
use super::error::ApiError;
use super::{Api, audit, reason_of};
use crate::acd::OperatorRef;
use crate::call::{Control, ControlError, GuestView, Guests, Part};

/// Who is in the talk beside citizen and operator.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct GuestList {
    guests: Vec<GuestView>,
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
#[utoipa::path(post, path = "/api/v1/calls/{id}/supervise", params(("id" = String, Path)), request_body = SuperviseForm, responses((status = 200, body = GuestList), (status = 403), (status = 404), (status = 409)))]
pub(crate) async fn supervise(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
    body: Result<Json<SuperviseForm>, JsonRejection>,
) -> Result<Json<GuestList>, ApiError> {
    let Json(form) = body?;
    let (action, roles): (_, &[Role]) = match form.part {
        Part::Listen => ("supervise_listen", &[Role::Leader, Role::Qa, Role::Manager]),
        Part::Whisper => ("supervise_whisper", &[Role::Leader, Role::Manager]),
        Part::Barge => ("supervise_barge", &[Role::Leader, Role::Manager]),
        Part::Join => {
            return Err(ApiError::bad("part 应为 listen、whisper 或 barge / part is listen, whisper or barge"));
        }
    };
    user.need(roles)?;
    let reason = match (&form.reason, form.part) {
        (None, part) if part != Part::Barge => None,
        (reason, _) => Some(reason_of(reason.as_deref())?),
    };
    let who = phone_of(&user.0)?;
    let control = api.sv.live.control(&id).ok_or(ControlError::Gone)?;
    // Audited first: an ear that left no trace must be impossible.
    audit(&api.sv, &user.0, action, &format!("call:{id}"), reason).await?;
    ask(&control, |reply| Control::Supervise { who, part: form.part, reply }).await
}

/// 退出监听
#[utoipa::path(delete, path = "/api/v1/calls/{id}/supervise", params(("id" = String, Path)), responses((status = 200, body = GuestList), (status = 403), (status = 404)))]
pub(crate) async fn leave(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
) -> Result<Json<GuestList>, ApiError> {
    user.need(&[Role::Leader, Role::Qa, Role::Manager])?;
    let control = api.sv.live.control(&id).ok_or(ControlError::Gone)?;
    ask(&control, |reply| Control::LeaveTalk { user: user.0.id.to_string(), reply }).await
}

/// Whom to ask in.
#[derive(Deserialize, utoipa::ToSchema)]
pub(crate) struct InviteForm {
    /// SIP user of the colleague's phone.
    phone: String,
}

/// 三方:请同事加入
#[utoipa::path(post, path = "/api/v1/calls/{id}/guests", params(("id" = String, Path)), request_body = InviteForm, responses((status = 200, body = GuestList), (status = 403), (status = 404), (status = 409)))]
pub(crate) async fn invite(
    State(api): State<Api>,
    User(user): User,
    Path(id): Path<String>,
    body: Result<Json<InviteForm>, JsonRejection>,
) -> Result<Json<GuestList>, ApiError> {
    let Json(form) = body?;
    let control = api.sv.live.control(&id).ok_or(ControlError::Gone)?;
    let colleague = api.sv.store.user_by_sip_user(&form.phone).await?.filter(|colleague| colleague.active);
    let who = phone_of(&colleague.ok_or(ControlError::NoPhone)?)?;
    ask(&control, |reply| Control::Invite { operator: user.id.to_string(), who, reply }).await
}

/// 请同事退出三方
#[utoipa::path(delete, path = "/api/v1/calls/{id}/guests/{user}", params(("id" = String, Path), ("user" = String, Path)), responses((status = 200, body = GuestList), (status = 403), (status = 404), (status = 409)))]
pub(crate) async fn dismiss(
    State(api): State<Api>,
    User(user): User,
    Path((id, guest)): Path<(String, String)>,
) -> Result<Json<GuestList>, ApiError> {
    let control = api.sv.live.control(&id).ok_or(ControlError::Gone)?;
    ask(&control, |reply| Control::Dismiss { operator: user.id.to_string(), user: guest, reply }).await
}

fn phone_of(user: &hotline_db::User) -> Result<OperatorRef, ApiError> {
    let sip_user = user.sip_user.clone().ok_or(ControlError::NoPhone)?;
    Ok(OperatorRef { id: user.id.to_string(), name: user.name.clone(), sip_user })
}

async fn ask(
    control: &tokio::sync::mpsc::Sender<Box<Control>>,
    command: impl FnOnce(oneshot::Sender<Guests>) -> Control,
) -> Result<Json<GuestList>, ApiError> {
    let (reply, answer) = oneshot::channel();
    control.send(Box::new(command(reply))).await.map_err(|_| ControlError::Gone)?;
    let guests = answer.await.map_err(|_| ControlError::Gone)??;
    Ok(Json(GuestList { guests }))
}

/// Whether an event tells of somebody who listens, whispers or barges in: whom the operator must not learn of from
/// the call's story. Sound events name no part: with a guest's leg they count.
pub(super) fn tells_of_supervision(kind: &str, data: &serde_json::Value) -> bool {
    if kind.starts_with("guest_") { data["part"] != Part::Join.as_str() } else { data["leg"] == "guest" }
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
            assert!(!tells_of_supervision(kind, &json!({ "user": "u", "part": "join" })), "{kind}");
        }
        assert!(tells_of_supervision("audio_one_way", &json!({ "leg": "guest", "direction": "in" })));
        assert!(!tells_of_supervision("audio_one_way", &json!({ "leg": "citizen", "direction": "in" })));
        assert!(!tells_of_supervision("talk_start", &json!({ "operator": "u" })));
    }
}

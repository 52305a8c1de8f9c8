//! Call control by the talk's operator: the same routes for every kind of phone, each answering with what holds
//! now. Asked twice they do it once; where a repetition would act again, `Idempotency-Key` tells it from a new wish.

use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::{delete, get, post};
use serde::{Deserialize, Serialize};

use super::auth::{Role, User};
use super::error::ApiError;
use super::seen::{is_away, soon};
use super::{Api, audit, id_of};
use crate::abroad;
use crate::acd::OperatorRef;
use crate::call::{CallState, ControlError, LeaderWish, Request, Target, Wish};

type Answer = Result<Json<CallState>, ApiError>;
type Body<T> = Result<Json<T>, JsonRejection>;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/api/v1/calls/{id}/state", get(state))
        .route("/api/v1/calls/{id}/answer", post(answer))
        .route("/api/v1/calls/{id}/end", post(end))
        .route("/api/v1/calls/{id}/hold", post(hold))
        .route("/api/v1/calls/{id}/mute", post(mute))
        .route("/api/v1/calls/{id}/digits", post(digits))
        .route("/api/v1/calls/{id}/guests", post(invite))
        .route("/api/v1/calls/{id}/guests/{user}", delete(dismiss))
        .route("/api/v1/calls/{id}/consult", post(consult).delete(consult_end))
        .route("/api/v1/calls/{id}/consult/join", post(consult_join))
        .route("/api/v1/calls/{id}/consult/complete", post(consult_complete))
        .route("/api/v1/calls/{id}/transfer", post(transfer).delete(transfer_end))
        .route("/api/v1/calls/{id}/emergency", post(emergency))
        .route("/api/v1/calls/{id}/guests/{user}/number", post(say_number))
        .route("/api/v1/calls/{id}/flag", post(flag))
        .route("/api/v1/calls/{id}/help", post(help))
}

/// An operator with an emergency in hand waits so long for what the rows know of it.
const FACTS_PATIENCE: Duration = Duration::from_secs(2);
/// Keys of this length are taken.
const KEY_CHARS: std::ops::RangeInclusive<usize> = 8..=128;

pub(super) fn key_of(headers: &HeaderMap) -> Option<String> {
    let key = headers.get("idempotency-key").and_then(|v| v.to_str().ok());
    key.filter(|k| KEY_CHARS.contains(&k.len())).map(str::to_owned)
}

/// Hands a wish to the call's driver, here or at another gateway, with `Idempotency-Key` where the client sent one.
pub(super) async fn ask(api: &Api, call: &str, user: &User, wish: Wish, headers: Option<&HeaderMap>) -> Answer {
    // One person's keys are nobody else's.
    let key = headers.and_then(key_of).map(|key| format!("{}:{key}", user.0.id));
    let request = Request::Operator { wish, key };
    Ok(Json(abroad::ask(&api.sv, call, &user.0.id.to_string(), request).await?))
}

/// 通话当前状态:本人通话,或值班长
#[utoipa::path(get, path = "/api/v1/calls/{id}/state", params(("id" = String, Path)), responses((status = 200, body = CallState), (status = 403), (status = 404), (status = 503, description = "the gateway that has the call can't be reached: nothing was done"), (status = 504, description = "it didn't answer: it may have been done")))]
pub(crate) async fn state(State(api): State<Api>, user: User, Path(id): Path<String>) -> Answer {
    if user.has(&[Role::Leader, Role::Manager]) {
        return super::guest::ask(&api, &id, &user, LeaderWish::State).await;
    }
    ask(&api, &id, &user, Wish::State, None).await
}

/// 接听:能遥控的话机
#[utoipa::path(post, path = "/api/v1/calls/{id}/answer", params(("id" = String, Path)), responses((status = 200, body = CallState), (status = 403), (status = 404), (status = 409, description = "the phone itself has to be picked up")))]
pub(crate) async fn answer(State(api): State<Api>, user: User, Path(id): Path<String>) -> Answer {
    ask(&api, &id, &user, Wish::Answer, None).await
}

/// How to end.
#[derive(Default, Deserialize, utoipa::ToSchema)]
pub(crate) struct EndForm {
    /// Absent: 结束, the citizen goes on to the survey. `harassment`, `silence`, `citizen_request`: a real hang-up.
    reason: Option<String>,
}

/// 结束通话
#[utoipa::path(post, path = "/api/v1/calls/{id}/end", params(("id" = String, Path)), request_body = EndForm, responses((status = 200, body = CallState), (status = 403), (status = 404), (status = 409, description = "110, 119 or 120 is in the talk: let them go before a real hang-up"), (status = 422)))]
pub(crate) async fn end(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body<EndForm>,
) -> Answer {
    let Some(reason) = body?.0.reason else { return ask(&api, &id, &user, Wish::End, Some(&headers)).await };
    let _ = ask(&api, &id, &user, Wish::MayHangUp(reason.clone()), Some(&headers)).await?;
    // Audited first: a citizen hung up on without a trace must be impossible.
    audit(&api.sv, &user.0, "hang_up", &format!("call:{id}"), Some(&reason)).await?;
    ask(&api, &id, &user, Wish::HangUp(reason), Some(&headers)).await
}

/// On or off.
#[derive(Deserialize, utoipa::ToSchema)]
pub(crate) struct Switch {
    on: bool,
}

/// 保持
#[utoipa::path(post, path = "/api/v1/calls/{id}/hold", params(("id" = String, Path)), request_body = Switch, responses((status = 200, body = CallState), (status = 403), (status = 409)))]
pub(crate) async fn hold(State(api): State<Api>, user: User, Path(id): Path<String>, body: Body<Switch>) -> Answer {
    ask(&api, &id, &user, Wish::Hold(body?.0.on), None).await
}

/// 静音
#[utoipa::path(post, path = "/api/v1/calls/{id}/mute", params(("id" = String, Path)), request_body = Switch, responses((status = 200, body = CallState), (status = 403), (status = 409)))]
pub(crate) async fn mute(State(api): State<Api>, user: User, Path(id): Path<String>, body: Body<Switch>) -> Answer {
    ask(&api, &id, &user, Wish::Mute(body?.0.on), None).await
}

/// Keys for the other side.
#[derive(Deserialize, utoipa::ToSchema)]
pub(crate) struct DigitsForm {
    /// 1 to 32 of 0–9, `*`, `#`, A–D.
    digits: String,
    /// `citizen` (default), or the id of somebody who was asked in, such as `emergency:120`.
    to: Option<String>,
}

/// 拨号键盘:向对方发送按键;须带 Idempotency-Key
#[utoipa::path(post, path = "/api/v1/calls/{id}/digits", params(("id" = String, Path), ("Idempotency-Key" = String, Header, description = "8 to 128 characters")), request_body = DigitsForm, responses((status = 200, body = CallState), (status = 400), (status = 403), (status = 409), (status = 422)))]
pub(crate) async fn digits(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body<DigitsForm>,
) -> Answer {
    let Json(form) = body?;
    if key_of(&headers).is_none() {
        return Err(ApiError::bad(
            "请带 Idempotency-Key(8–128 字符),以免重复按键 / send an Idempotency-Key of 8 to 128 characters: a repetition must not press the keys again",
        ));
    }
    ask(&api, &id, &user, Wish::Digits { to: form.to, digits: form.digits }, Some(&headers)).await
}

/// A colleague.
#[derive(Deserialize, utoipa::ToSchema)]
pub(crate) struct PhoneForm {
    /// SIP user of the colleague's phone.
    phone: String,
}

/// 三方:请同事加入
#[utoipa::path(post, path = "/api/v1/calls/{id}/guests", params(("id" = String, Path)), request_body = PhoneForm, responses((status = 200, body = CallState), (status = 403), (status = 404), (status = 409)))]
pub(crate) async fn invite(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
    body: Body<PhoneForm>,
) -> Answer {
    let who = colleague(&api, &body?.0.phone).await?;
    ask(&api, &id, &user, Wish::Invite(who), None).await
}

/// 请同事(或紧急服务)退出三方
#[utoipa::path(delete, path = "/api/v1/calls/{id}/guests/{user}", params(("id" = String, Path), ("user" = String, Path)), responses((status = 200, body = CallState), (status = 403), (status = 404), (status = 409)))]
pub(crate) async fn dismiss(State(api): State<Api>, user: User, Path((id, guest)): Path<(String, String)>) -> Answer {
    ask(&api, &id, &user, Wish::Dismiss(guest), None).await
}

/// 咨询:市民听音乐,与同事通话
#[utoipa::path(post, path = "/api/v1/calls/{id}/consult", params(("id" = String, Path)), request_body = PhoneForm, responses((status = 200, body = CallState), (status = 403), (status = 404), (status = 409)))]
pub(crate) async fn consult(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
    body: Body<PhoneForm>,
) -> Answer {
    let who = colleague(&api, &body?.0.phone).await?;
    ask(&api, &id, &user, Wish::Consult(who), None).await
}

/// 结束咨询,接回市民
#[utoipa::path(delete, path = "/api/v1/calls/{id}/consult", params(("id" = String, Path)), responses((status = 200, body = CallState), (status = 403), (status = 404), (status = 409)))]
pub(crate) async fn consult_end(State(api): State<Api>, user: User, Path(id): Path<String>) -> Answer {
    ask(&api, &id, &user, Wish::ConsultEnd, None).await
}

/// 咨询转三方
#[utoipa::path(post, path = "/api/v1/calls/{id}/consult/join", params(("id" = String, Path)), responses((status = 200, body = CallState), (status = 403), (status = 404), (status = 409)))]
pub(crate) async fn consult_join(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    ask(&api, &id, &user, Wish::ConsultJoin, Some(&headers)).await
}

/// 咨询后转接:同事接手
#[utoipa::path(post, path = "/api/v1/calls/{id}/consult/complete", params(("id" = String, Path)), responses((status = 200, body = CallState), (status = 403), (status = 404), (status = 409)))]
pub(crate) async fn consult_complete(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    ask(&api, &id, &user, Wish::ConsultComplete, Some(&headers)).await
}

/// Where the citizen is sent: exactly one.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TransferForm {
    /// SIP user of a colleague's phone.
    Phone(String),
    /// A queue's name.
    Queue(String),
    /// An outside number the site allows (`dialout.transfer_prefixes`).
    Number(String),
}

/// 盲转:同事话机、队列或允许的外部号码
#[utoipa::path(post, path = "/api/v1/calls/{id}/transfer", params(("id" = String, Path)), request_body = TransferForm, responses((status = 200, body = CallState), (status = 403), (status = 404), (status = 409)))]
pub(crate) async fn transfer(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body<TransferForm>,
) -> Answer {
    let target = match body?.0 {
        TransferForm::Phone(phone) => Target::Phone(colleague(&api, &phone).await?),
        TransferForm::Queue(queue) => Target::Queue(queue),
        TransferForm::Number(number) => Target::Number(number),
    };
    ask(&api, &id, &user, Wish::Transfer(target), Some(&headers)).await
}

/// 收回尚未接通的转接
#[utoipa::path(delete, path = "/api/v1/calls/{id}/transfer", params(("id" = String, Path)), responses((status = 200, body = CallState), (status = 403), (status = 404), (status = 409)))]
pub(crate) async fn transfer_end(State(api): State<Api>, user: User, Path(id): Path<String>) -> Answer {
    ask(&api, &id, &user, Wish::TransferEnd, None).await
}

/// Which service.
#[derive(Deserialize, utoipa::ToSchema)]
pub(crate) struct EmergencyForm {
    /// One of `dialout.emergency`, such as `120`.
    number: String,
    /// Where, if no item says so yet; at most 256 characters.
    place: Option<String>,
}

/// What the service has to be told.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct EmergencyView {
    #[serde(flatten)]
    state: CallState,
    context: Context,
}

/// Place and number, for the operator's eyes while the service is rung.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Context {
    /// Where.
    place: Option<String>,
    /// The citizen's number; masked where its reveal can't be audited.
    number: String,
    /// Both in one line to read out.
    line: String,
}

/// 一键 110/119/120:三方通话,附地点和号码(审计)
#[utoipa::path(post, path = "/api/v1/calls/{id}/emergency", params(("id" = String, Path)), request_body = EmergencyForm, responses((status = 200, body = EmergencyView), (status = 403), (status = 404), (status = 409), (status = 422)))]
pub(crate) async fn emergency(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
    body: Body<EmergencyForm>,
) -> Result<Json<EmergencyView>, ApiError> {
    let Json(form) = body?;
    if form.place.as_deref().is_some_and(|p| p.chars().count() > 256) {
        return Err(ApiError::bad("place: ≤ 256 字 / characters"));
    }
    // The call waits for no row; the number is shown after its audit only.
    let request = Request::Operator { wish: Wish::Emergency(form.number.clone()), key: None };
    let asked = abroad::ask(&api.sv, &id, &user.0.id.to_string(), request).await;
    // Without an answer of another gateway the service may be rung all the same.
    if asked.as_ref().is_err_and(|error| *error != ControlError::NoAnswer) {
        return Err(asked.err().map_or_else(ApiError::missing, Into::into));
    }
    let object = format!("call:{id}");
    let audited = audit(&api.sv, &user.0, "emergency_call", &object, Some(&form.number));
    let audited = tokio::time::timeout(FACTS_PATIENCE, audited).await.is_ok_and(|audited| audited.is_ok());
    let state = asked?;
    let facts = tokio::time::timeout(FACTS_PATIENCE, facts(&api, &id, audited)).await;
    let (place, number) = facts.map(Result::unwrap_or_default).unwrap_or_default();
    let place = form.place.map(|p| p.trim().to_owned()).filter(|p| !p.is_empty()).or(place);
    let number = number.unwrap_or_else(|| state.caller.clone());
    let line = format!("地点:{} 来电号码:{number}", place.as_deref().unwrap_or("未知,请询问"));
    Ok(Json(EmergencyView { state, context: Context { place, number, line } }))
}

/// Place and number of a call, as far as the rows know them.
async fn facts(api: &Api, call: &str, audited: bool) -> Result<(Option<String>, Option<String>), ApiError> {
    let call = api.sv.store.call_get(id_of(call)?).await?.ok_or_else(ApiError::missing)?;
    let place = match call.item {
        Some(item) => api.sv.store.item_get(item).await?.and_then(|item| item.location_text),
        None => None,
    };
    let number = match call.party.filter(|_| audited) {
        Some(party) => {
            let sealed = api.sv.store.party_get(party).await?.and_then(|party| party.phone_sealed);
            sealed.and_then(|sealed| api.sv.sealer.open_sealed(&sealed).ok())
        }
        None => None,
    };
    Ok((place.filter(|p| !p.is_empty()), number))
}

/// 向 110/119/120 播报市民号码(审计)
#[utoipa::path(post, path = "/api/v1/calls/{id}/guests/{user}/number", params(("id" = String, Path), ("user" = String, Path, description = "such as `emergency:120`")), responses((status = 200, body = CallState), (status = 403), (status = 404), (status = 409)))]
pub(crate) async fn say_number(
    State(api): State<Api>,
    user: User,
    Path((id, service)): Path<(String, String)>,
) -> Answer {
    let _ = ask(&api, &id, &user, Wish::State, None).await?;
    audit(&api.sv, &user.0, "number_said", &format!("call:{id}"), Some(&service)).await?;
    ask(&api, &id, &user, Wish::SayNumber(service), None).await
}

/// 紧急标记:红色通道,呼叫值班长
#[utoipa::path(post, path = "/api/v1/calls/{id}/flag", params(("id" = String, Path)), responses((status = 200, body = CallState), (status = 403), (status = 404), (status = 409)))]
pub(crate) async fn flag(State(api): State<Api>, user: User, Path(id): Path<String>) -> Answer {
    ask(&api, &id, &user, Wish::Flag, None).await
}

/// 求助值班长
#[utoipa::path(post, path = "/api/v1/calls/{id}/help", params(("id" = String, Path)), request_body = Switch, responses((status = 200, body = CallState), (status = 403), (status = 404), (status = 409)))]
pub(crate) async fn help(State(api): State<Api>, user: User, Path(id): Path<String>, body: Body<Switch>) -> Answer {
    ask(&api, &id, &user, Wish::Help(body?.0.on), None).await
}

/// Whoever registers this phone.
async fn colleague(api: &Api, phone: &str) -> Result<OperatorRef, ApiError> {
    match soon(api.sv.store.user_by_sip_user(phone)).await {
        Ok(colleague) => phone_of(&colleague.filter(|colleague| colleague.active).ok_or(ControlError::NoPhone)?),
        // Who has signed in is known to the queues.
        Err(e) if is_away(&e) => Ok(api.sv.acd.by_phone(phone).await.ok_or(e)?),
        Err(e) => Err(e.into()),
    }
}

pub(super) fn phone_of(user: &hotline_db::User) -> Result<OperatorRef, ApiError> {
    let sip_user = user.sip_user.clone().ok_or(ControlError::NoPhone)?;
    Ok(OperatorRef { id: user.id.to_string(), name: user.name.clone(), sip_user })
}

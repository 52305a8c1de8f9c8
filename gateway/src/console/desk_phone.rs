//! What an operator's phone is: an outside number instead of one of ours, and whether it answers by itself.

use axum::Json;
use axum::Router;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::routing::get;
use hotline_db::{DeskPhone, Id};
use serde::{Deserialize, Serialize};

use super::auth::{Role, User};
use super::error::ApiError;
use super::{Api, audit, id_of};
use crate::call::ControlError;
use crate::clock::now_ms;
use crate::dialout::{Purpose, judge};
use crate::privacy::{mask_phone, normalize_phone};

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/api/v1/users/{id}/phone", get(show).put(set))
}

/// An operator's phone.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct DeskPhoneView {
    /// The outside number rung for them, masked; absent: their own phone.
    number: Option<String>,
    /// It answers by itself; a tone tells them before the citizen is there.
    auto_answer: bool,
    /// 居家坐席: it is asked for Opus first, which a line with losses carries better than A-law.
    home: bool,
    /// 常通线路: it is rung once, at 示闲 or when asked, and its leg stays up between citizens.
    nailed_up: bool,
    /// That leg is up now.
    line_up: bool,
}

/// What it is to be; what is absent stays.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeskPhoneForm {
    /// An outside number (`dialout.phone_prefixes`), set by leaders and administrators; empty: none. It counts from the
    /// next sign-in on.
    number: Option<String>,
    /// Set by the operator too.
    auto_answer: Option<bool>,
    /// Set by the operator too.
    home: Option<bool>,
    /// The same.
    nailed_up: Option<bool>,
}

fn view(api: &Api, id: Id, phone: Option<&DeskPhone>) -> DeskPhoneView {
    DeskPhoneView {
        number: phone.and_then(|p| p.number_mask.clone()),
        auto_answer: phone.is_some_and(|p| p.auto_answer),
        home: phone.is_some_and(|p| p.home),
        nailed_up: phone.is_some_and(|p| p.nailed_up),
        line_up: api.sv.lines.is_up(&id.to_string()),
    }
}

const SETTERS: [Role; 3] = [Role::Leader, Role::Manager, Role::Admin];

/// 坐席话机设置
#[utoipa::path(get, path = "/api/v1/users/{id}/phone", params(("id" = String, Path)), responses((status = 200, body = DeskPhoneView), (status = 403)))]
pub(crate) async fn show(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
) -> Result<Json<DeskPhoneView>, ApiError> {
    let id = id_of(&id)?;
    if user.0.id != id {
        user.need(&SETTERS)?;
    }
    Ok(Json(view(&api, id, api.sv.store.desk_phone(id).await?.as_ref())))
}

/// 设置坐席话机:外线号码、自动应答(审计)
#[utoipa::path(put, path = "/api/v1/users/{id}/phone", params(("id" = String, Path)), request_body = DeskPhoneForm, responses((status = 200, body = DeskPhoneView), (status = 400), (status = 403, description = "not allowed to, or the number isn't (`dialout.phone_prefixes`)"), (status = 404)))]
pub(crate) async fn set(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
    body: Result<Json<DeskPhoneForm>, JsonRejection>,
) -> Result<Json<DeskPhoneView>, ApiError> {
    let Json(form) = body?;
    let id = id_of(&id)?;
    if user.0.id != id || form.number.is_some() {
        user.need(&SETTERS)?;
    }
    api.sv.store.user_by_id(id).await?.ok_or_else(ApiError::missing)?;
    let known = api.sv.store.desk_phone(id).await?;
    let (mut sealed, mut mask) =
        known.as_ref().map_or((None, None), |p| (p.number_sealed.clone(), p.number_mask.clone()));
    let mut action = "phone_set";
    match form.number.as_deref().map(str::trim) {
        None => {}
        Some("") => (sealed, mask, action) = (None, None, "phone_number_cleared"),
        Some(number) => {
            let number = normalize_phone(number, &api.sv.config.site.area_code)
                .ok_or_else(|| ApiError::bad("number: 不是电话号码 / no telephone number"))?;
            judge(&api.sv.config, &api.sv.rules, Purpose::Phone, &number, now_ms())
                .map_err(|refusal| ControlError::Outside(refusal.to_string()))?;
            let secret = api.sv.sealer.seal(&number).map_err(|e| ApiError::bad(e.to_string()))?;
            (sealed, mask, action) = (Some(secret), Some(mask_phone(&number)), "phone_number_set");
        }
    }
    let auto_answer = form.auto_answer.unwrap_or_else(|| known.as_ref().is_some_and(|p| p.auto_answer));
    let home = form.home.unwrap_or_else(|| known.as_ref().is_some_and(|p| p.home));
    let nailed_up = form.nailed_up.unwrap_or_else(|| known.as_ref().is_some_and(|p| p.nailed_up));
    // The number itself is in no audit.
    audit(&api.sv, &user.0, action, &format!("user:{id}"), mask.as_deref()).await?;
    let phone = DeskPhone {
        account: id,
        number_sealed: sealed,
        number_mask: mask,
        auto_answer,
        home,
        nailed_up,
        updated_at: now_ms(),
    };
    api.sv.store.desk_phone_put(phone.clone()).await?;
    api.sv.desk_phones.load(&api.sv.store, &api.sv.sealer).await?;
    // What is up was rung for the phone as it was; one that was asked for by itself goes on.
    if form.nailed_up == Some(false) || form.number.is_some() {
        api.sv.lines.end(&id.to_string());
    }
    Ok(Json(view(&api, id, Some(&phone))))
}

//! Items: the operator's form, lists, stories.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use hotline_db::{CallbackFilter, Id, Item, ItemFilter, NewItem};
use serde::Deserialize;

use super::auth::{Role, User};
use super::error::ApiError;
use super::{Api, audit, id_of, recusal};
use crate::intake::item::{self, BY_HAND, CHANNEL_PHONE, KINDS};

const TITLE_CHARS_MAX: usize = 120;
const DETAIL_CHARS_MAX: usize = 5_000;
/// GB/T 35651: a location's text has at most 256 characters.
const LOCATION_CHARS_MAX: usize = 256;

/// The operator's form (诉求登记).
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ItemForm {
    /// The call it came from.
    call: Option<String>,
    /// 诉求类型.
    kind: String,
    /// 1 特急 … 5 疑难.
    #[serde(default = "ordinary")]
    urgency: i64,
    title: String,
    #[serde(default)]
    detail: String,
    /// GB/T 47678.5 code of five digits.
    class_code: Option<String>,
    location: Option<String>,
    lon: Option<f64>,
    lat: Option<f64>,
    occurred_at: Option<i64>,
}

const fn ordinary() -> i64 {
    4
}

impl ItemForm {
    fn check(&self) -> Result<(), ApiError> {
        let chars = |s: &str| s.chars().count();
        if !KINDS.contains(&self.kind.as_str()) {
            return Err(ApiError::bad(format!("kind: 应为 / must be one of {}", KINDS.join(" "))));
        }
        if !(1..=5).contains(&self.urgency) {
            return Err(ApiError::bad("urgency: 1–5"));
        }
        if self.title.trim().is_empty() || chars(&self.title) > TITLE_CHARS_MAX {
            return Err(ApiError::bad(format!("title: 1–{TITLE_CHARS_MAX} 字 / characters")));
        }
        if chars(&self.detail) > DETAIL_CHARS_MAX {
            return Err(ApiError::bad(format!("detail: ≤ {DETAIL_CHARS_MAX} 字 / characters")));
        }
        if self.location.as_deref().is_some_and(|l| chars(l) > LOCATION_CHARS_MAX) {
            return Err(ApiError::bad(format!("location: ≤ {LOCATION_CHARS_MAX} 字 / characters")));
        }
        if self.class_code.as_deref().is_some_and(|c| c.len() != 5 || !c.bytes().all(|b| b.is_ascii_digit())) {
            return Err(ApiError::bad("class_code: 五位数字 / five digits"));
        }
        let on_earth = |v: Option<f64>, limit: f64| v.is_none_or(|v| v.is_finite() && v.abs() <= limit);
        if !on_earth(self.lon, 180.0) || !on_earth(self.lat, 90.0) {
            return Err(ApiError::bad("lon/lat: 超出范围 / out of range"));
        }
        Ok(())
    }
}

/// 登记诉求
#[utoipa::path(post, path = "/api/v1/items", request_body = ItemForm, responses((status = 201, description = "with acceptance_no and query_code"), (status = 200, description = "known already: the same Idempotency-Key or call"), (status = 400)))]
pub(crate) async fn create(
    State(api): State<Api>,
    user: User,
    headers: HeaderMap,
    body: Result<Json<ItemForm>, JsonRejection>,
) -> Result<(StatusCode, Json<Item>), ApiError> {
    let Json(form) = body?;
    user.need(&[Role::Operator, Role::Leader])?;
    form.check()?;
    let call = match &form.call {
        Some(id) => Some(api.sv.store.call_get(id_of(id)?).await?.ok_or_else(ApiError::missing)?),
        None => None,
    };
    // The first contact decides rewards: only who took the call files it.
    if call.as_ref().is_some_and(|c| c.operator != Some(user.0.id)) {
        user.need(&[Role::Leader])?;
    }
    let key = headers.get("idempotency-key").and_then(|v| v.to_str().ok()).filter(|k| (8..=128).contains(&k.len()));
    let new = NewItem {
        region: api.sv.config.site.region.clone(),
        channel: CHANNEL_PHONE,
        kind: form.kind,
        urgency: form.urgency,
        title: form.title.trim().to_owned(),
        detail: form.detail,
        occurred_at: form.occurred_at,
        class_code: form.class_code,
        location_text: form.location,
        lon: form.lon,
        lat: form.lat,
        source: BY_HAND.into(),
        first_contact: call.as_ref().map(|c| c.contact),
        party: call.as_ref().and_then(|c| c.party),
        created_by: Some(user.0.id),
        idempotency_key: key.map(|k| format!("{}:{k}", user.0.id)),
    };
    let title = new.title.clone();
    let (item, created) = item::create(&api.sv, new).await?;
    if !created && (item.title != title || item.created_by != Some(user.0.id)) {
        return Err(ApiError::conflict(format!(
            "本通话已登记为 / this call is filed already as {}",
            item.acceptance_no
        )));
    }
    if created {
        audit(&api.sv, &user.0, "item_create", &format!("item:{}", item.id), None).await?;
    }
    Ok((if created { StatusCode::CREATED } else { StatusCode::OK }, Json(item)))
}

/// Which items.
#[derive(Deserialize, utoipa::IntoParams)]
pub(crate) struct ItemQuery {
    /// At most 200.
    limit: Option<i64>,
    /// Older than this item.
    before: Option<String>,
}

/// 诉求列表
#[utoipa::path(get, path = "/api/v1/items", params(ItemQuery), responses((status = 200, description = "newest first")))]
pub(crate) async fn list(
    State(api): State<Api>,
    user: User,
    Query(q): Query<ItemQuery>,
) -> Result<Json<Vec<Item>>, ApiError> {
    user.staff()?;
    let before = q.before.as_deref().map(id_of).transpose()?;
    let filter = ItemFilter { limit: q.limit.unwrap_or(50).clamp(1, 200), before, ..ItemFilter::default() };
    let mut items = api.sv.store.items(filter).await?;
    let hidden = recusal::hidden(&api, &user, &items.iter().map(|item| item.id).collect::<Vec<_>>()).await?;
    items.retain(|item| !hidden.contains(&item.id));
    Ok(Json(items))
}

/// 一件诉求:id、受理编号或查询码
#[utoipa::path(get, path = "/api/v1/items/{id}", params(("id" = String, Path, description = "id, acceptance number or query code")), responses((status = 200), (status = 404)))]
pub(crate) async fn show(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
) -> Result<Json<serde_json::Value>, ApiError> {
    user.staff()?;
    let store = &api.sv.store;
    let item = match (id.parse::<Id>(), id.len()) {
        (Ok(id), _) => store.item_get(id).await?,
        (_, 8) => store.item_by_query_code(&id).await?,
        _ => store.item_by_acceptance_no(&id).await?,
    }
    .ok_or_else(ApiError::missing)?;
    recusal::item(&api, &user, item.id).await?;
    let filter = CallbackFilter { limit: 50, item: Some(item.id), ..CallbackFilter::default() };
    Ok(Json(serde_json::json!({
        "contacts": store.item_contacts(item.id).await?,
        "handoffs": store.handoffs_of_item(item.id).await?,
        "case_events": store.case_events_of_item(item.id).await?,
        "callbacks": store.callbacks(filter).await?,
        "surveys": store.surveys_of_item(item.id).await?,
        "item": item,
    })))
}

//! Senders who aren't heard (黑名单): who, why, until when; adding and lifting, each audited first.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use hotline_db::{AddressKind, Block, Id};
use serde::Deserialize;

use super::auth::{Role, User};
use super::error::ApiError;
use super::{Api, audit, id_of, reason_of};
use crate::clock::now_ms;
use crate::intake::accept::AcceptError;
use crate::intake::draft;

/// Longest block by hours; without hours it holds until it is lifted.
const HOURS_MAX: i64 = 24 * 365 * 10;
const ADDRESS_CHARS_MAX: usize = 200;

/// Which blocks.
#[derive(Deserialize, utoipa::IntoParams)]
pub(crate) struct BlockQuery {
    /// Those of the past too.
    #[serde(default)]
    all: bool,
    /// Older than this one.
    before: Option<String>,
    /// At most 200.
    limit: Option<i64>,
}

/// A sender to hear no longer.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BlockForm {
    /// `phone`, `openid` or `mail`.
    kind: String,
    /// The number, openid or address.
    address: String,
    /// Why: 2 to 200 characters.
    reason: String,
    /// For so long; absent: until lifted.
    hours: Option<i64>,
}

/// 黑名单
#[utoipa::path(get, path = "/api/v1/blocks", params(BlockQuery), responses((status = 200, description = "newest first; addresses masked"), (status = 403)))]
pub(crate) async fn list(
    State(api): State<Api>,
    user: User,
    Query(q): Query<BlockQuery>,
) -> Result<Json<Vec<Block>>, ApiError> {
    user.staff()?;
    let before: Option<Id> = q.before.as_deref().map(id_of).transpose()?;
    Ok(Json(api.sv.store.blocks(q.all, now_ms(), before, q.limit.unwrap_or(50)).await?))
}

/// 加入黑名单
#[utoipa::path(post, path = "/api/v1/blocks", request_body = BlockForm, responses((status = 201), (status = 400), (status = 403)))]
pub(crate) async fn add(
    State(api): State<Api>,
    user: User,
    body: Result<Json<BlockForm>, JsonRejection>,
) -> Result<(StatusCode, Json<Block>), ApiError> {
    let Json(form) = body?;
    user.need(&[Role::Leader, Role::Manager])?;
    let reason = reason_of(Some(&form.reason))?;
    let kind: AddressKind = form.kind.parse().map_err(|_| ApiError::bad("kind: phone | openid | mail"))?;
    let until = match form.hours {
        None => None,
        Some(hours @ 1..=HOURS_MAX) => Some(now_ms() + hours * 3_600_000),
        Some(_) => return Err(ApiError::bad(format!("hours: 1–{HOURS_MAX}"))),
    };
    let bad = || ApiError::bad("address: 号码、openid 或邮箱无效 / no number, openid or mail address");
    if form.address.chars().count() > ADDRESS_CHARS_MAX {
        return Err(bad());
    }
    let subject = draft::address(&api.sv, kind, &form.address).map_err(refused)?.ok_or_else(bad)?;
    audit(&api.sv, &user.0, "block_add", &format!("block:{}", subject.mask), Some(reason)).await?;
    let block = api.sv.store.block_add(subject, reason, until, &user.0.id.to_string(), now_ms()).await?;
    Ok((StatusCode::CREATED, Json(block)))
}

/// 解除黑名单
#[utoipa::path(delete, path = "/api/v1/blocks/{id}", params(("id" = String, Path)), responses((status = 204), (status = 403), (status = 404)))]
pub(crate) async fn lift(State(api): State<Api>, user: User, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    user.need(&[Role::Leader, Role::Manager])?;
    let id = id_of(&id)?;
    audit(&api.sv, &user.0, "block_lift", &format!("block:{id}"), None).await?;
    let lifted = api.sv.store.block_lift(id, &user.0.id.to_string(), now_ms()).await?;
    if lifted { Ok(StatusCode::NO_CONTENT) } else { Err(ApiError::missing()) }
}

fn refused(e: AcceptError) -> ApiError {
    match e {
        AcceptError::Store(e) => e.into(),
        other => ApiError::conflict(other.to_string()),
    }
}

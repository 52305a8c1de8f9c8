//! Banned SIP sources: who, why, until when; and lifting them.

use std::net::IpAddr;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Serialize;

use super::auth::{Role, User};
use super::error::ApiError;
use super::{Api, audit};
use crate::clock::now_ms;

/// A ban that holds.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct BanView {
    /// Address; of a stranger's IPv6 network the first.
    source: String,
    /// `passwords` or `scanning`.
    reason: &'static str,
    /// How often within a day: each ban lasts twice as long as the one before.
    times: u32,
    /// Seconds left.
    ends_in_s: u64,
}

/// SIP 封禁名单
#[utoipa::path(get, path = "/api/v1/sip/bans", responses((status = 200, body = [BanView]), (status = 403)))]
pub(crate) async fn list(State(api): State<Api>, user: User) -> Result<Json<Vec<BanView>>, ApiError> {
    user.need(&[Role::Admin])?;
    let now = std::time::Instant::now();
    let view = |ban: hotline_sip::Ban| BanView {
        source: ban.source.to_string(),
        reason: ban.reason.as_str(),
        times: ban.times,
        ends_in_s: ban.until.saturating_duration_since(now).as_secs(),
    };
    Ok(Json(api.sv.sip.bans().into_iter().map(view).collect()))
}

/// 解除封禁
#[utoipa::path(delete, path = "/api/v1/sip/bans/{source}", params(("source" = String, Path)), responses((status = 204), (status = 400), (status = 403), (status = 404)))]
pub(crate) async fn lift(
    State(api): State<Api>,
    user: User,
    Path(source): Path<String>,
) -> Result<StatusCode, ApiError> {
    user.need(&[Role::Admin])?;
    let source: IpAddr = source
        .parse()
        .map_err(|_| ApiError::bad("请写 IP 地址,如 203.0.113.9 / write an address such as 203.0.113.9"))?;
    audit(&api.sv, &user.0, "sip_ban_lift", &format!("sip:{source}"), None).await?;
    let is_lifted = api.sv.sip.lift_ban(source);
    let mut was_stored = false;
    for key in hotline_sip::ban_sources(source) {
        was_stored |= api.sv.store.ban_lift(&key.to_string(), now_ms()).await?;
    }
    if is_lifted || was_stored { Ok(StatusCode::NO_CONTENT) } else { Err(ApiError::missing()) }
}

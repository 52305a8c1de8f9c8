//! The self-test as the console sees it.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;

use super::Api;
use super::auth::{Role, User};
use super::error::ApiError;
use crate::robot::Seen;

/// 自检:各渠道最近的结果 / the self-test's last runs by channel
#[utoipa::path(get, path = "/api/v1/robot", responses((status = 200, body = BTreeMap<String, Seen>), (status = 403)))]
pub(crate) async fn show(State(api): State<Api>, user: User) -> Result<Json<BTreeMap<&'static str, Seen>>, ApiError> {
    user.need(&[Role::Leader, Role::Manager, Role::Admin])?;
    Ok(Json(api.sv.robot.view()))
}

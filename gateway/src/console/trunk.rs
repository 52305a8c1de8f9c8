//! Carriers' trunks.

use axum::Json;
use axum::extract::State;

use super::Api;
use super::auth::{Role, User};
use super::error::ApiError;
use crate::trunk::TrunkView;

/// 中继状态
#[utoipa::path(get, path = "/api/v1/trunks", responses((status = 200, body = Vec<TrunkView>), (status = 403)))]
pub(crate) async fn list(State(api): State<Api>, user: User) -> Result<Json<Vec<TrunkView>>, ApiError> {
    // Nothing here is a citizen's: who runs the machine needs it most.
    user.need(&Role::ALL)?;
    Ok(Json(api.sv.trunks.iter().map(|t| t.view()).collect()))
}

//! Carriers' trunks.

use axum::Json;
use axum::extract::State;

use super::Api;
use super::auth::User;
use super::error::ApiError;
use crate::trunk::TrunkView;

/// 中继状态
#[utoipa::path(get, path = "/api/v1/trunks", responses((status = 200, body = Vec<TrunkView>)))]
pub(crate) async fn list(State(api): State<Api>, user: User) -> Result<Json<Vec<TrunkView>>, ApiError> {
    user.staff()?;
    Ok(Json(api.sv.trunks.iter().map(|t| t.view()).collect()))
}

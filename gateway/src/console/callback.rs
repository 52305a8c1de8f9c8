//! Callback tasks.

use axum::Json;
use axum::extract::{Path, Query, State};
use hotline_db::{CallbackFilter, CallbackTask};
use serde::Deserialize;

use super::auth::User;
use super::error::ApiError;
use super::{Api, id_of};

/// Which tasks.
#[derive(Deserialize, utoipa::IntoParams)]
pub(crate) struct CallbackQuery {
    /// At most 200.
    limit: Option<i64>,
    /// Item.
    item: Option<String>,
    /// Call it was born from.
    call: Option<String>,
}

/// 回访任务
#[utoipa::path(get, path = "/api/v1/callbacks", params(CallbackQuery), responses((status = 200)))]
pub(crate) async fn list(
    State(api): State<Api>,
    user: User,
    Query(q): Query<CallbackQuery>,
) -> Result<Json<Vec<CallbackTask>>, ApiError> {
    user.staff()?;
    let filter = CallbackFilter {
        limit: q.limit.unwrap_or(50).clamp(1, 200),
        item: q.item.as_deref().map(id_of).transpose()?,
        call: q.call.as_deref().map(id_of).transpose()?,
        ..CallbackFilter::default()
    };
    Ok(Json(api.sv.store.callbacks(filter).await?))
}

/// 一项回访任务
#[utoipa::path(get, path = "/api/v1/callbacks/{id}", params(("id" = String, Path)), responses((status = 200), (status = 404)))]
pub(crate) async fn show(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
) -> Result<Json<serde_json::Value>, ApiError> {
    user.staff()?;
    let id = id_of(&id)?;
    let task = api.sv.store.callback_get(id).await?.ok_or_else(ApiError::missing)?;
    // What was reported in the call that is owed an answer, or by a link texted in it.
    let item = match (task.item, task.call) {
        (Some(item), _) => Some(item),
        (None, Some(call)) => api.sv.store.call_item(call).await?,
        (None, None) => None,
    };
    let item = match item {
        Some(item) => api.sv.store.item_get(item).await?,
        None => None,
    };
    Ok(Json(serde_json::json!({
        "task": task,
        "item": item,
        "attempts": api.sv.store.callback_attempts(id).await?,
        "survey": api.sv.store.survey_of_task(id).await?,
    })))
}

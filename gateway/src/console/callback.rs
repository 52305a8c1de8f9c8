//! Callback tasks.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use hotline_db::{CallbackFilter, CallbackTask};
use serde::Deserialize;

use super::auth::{Role, User};
use super::desk::{ask, key_of, phone_of};
use super::error::ApiError;
use super::{Api, id_of, recusal};
use crate::call::{CallState, ControlError, Wish};
use crate::callback::desk::{NotCalled, by_operator};

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
    let mut tasks = api.sv.store.callbacks(filter).await?;
    let ids: Vec<_> = tasks.iter().map(|task| task.id).collect();
    let hidden = recusal::callbacks_hidden(&api, &user, &ids).await?;
    tasks.retain(|task| !hidden.contains(&task.id));
    Ok(Json(tasks))
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
    recusal::callback(&api, &user, id).await?;
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

/// 按任务致电市民:先振铃本人话机,接听后呼叫市民
#[utoipa::path(post, path = "/api/v1/callbacks/{id}/call", params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header, description = "8 to 128 characters: a repetition calls nobody twice")), responses((status = 200, body = CallState, description = "the operator's phone rings, or the call it has led to"), (status = 403, description = "not allowed by the rules about outside calls: hours, caps, prefixes"), (status = 404), (status = 409, description = "done, under way, somebody else's, not yet due again, or the own phone is in use or signed out")))]
pub(crate) async fn call(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<CallState>, ApiError> {
    user.need(&[Role::Operator])?;
    let id = id_of(&id)?;
    let who = phone_of(&user.0)?;
    let me = user.0.id.to_string();
    let key = key_of(&headers).map(|key| format!("{me}:{id}:{key}"));
    if let Some(call) = key.as_deref().and_then(|key| api.sv.desk_keys.call(key)) {
        return ask(&api, &call, &user, Wish::State, None).await;
    }
    recusal::callback(&api, &user, id).await?;
    if let Some(call) = crate::abroad::call_of_operator(&api.sv, &me) {
        let state = ask(&api, &call, &user, Wish::State, None).await;
        if state.as_ref().is_ok_and(|state| state.task == Some(id.to_string())) {
            return state;
        }
    }
    super::audit(&api.sv, &user.0, "task_call", &format!("callback:{id}"), None).await?;
    let state = by_operator(&api.sv, id, who).await?;
    if let Some(key) = key {
        api.sv.desk_keys.keep(key, state.call.clone());
    }
    Ok(Json(state))
}

impl From<NotCalled> for ApiError {
    fn from(why: NotCalled) -> Self {
        match why {
            NotCalled::Missing => Self::missing(),
            NotCalled::Store(e) => e.into(),
            NotCalled::Control(e) => e.into(),
            NotCalled::Refused(refusal) => ControlError::Outside(refusal.to_string()).into(),
            why => Self::conflict(why.to_string()),
        }
    }
}

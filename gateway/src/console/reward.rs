//! Rewards: decisions, appeals, the monthly batch and its export.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hotline_db::{BatchState, NewAppeal, NewAudit, RewardAppeal, RewardBatch};
use serde::Deserialize;
use serde_json::{Value, json};

use super::auth::{Role, User};
use super::error::ApiError;
use super::incident::item_of;
use super::{Api, audit, id_of, reason_of};
use crate::clock::now_ms;
use crate::reward::rules::AMOUNT_FEN;
use crate::reward::run::month_of;
use crate::reward::sheet;

/// The routes of this file.
pub(super) fn routes() -> axum::Router<Api> {
    axum::Router::new()
        .route("/api/v1/items/{id}/reward", get(show))
        .route("/api/v1/items/{id}/reward/appeal", post(appeal))
        .route("/api/v1/rewards/appeals/{id}/decide", post(appeal_decide))
        .route("/api/v1/rewards/batches", get(batches).post(batch_make))
        .route("/api/v1/rewards/batches/{id}/approve", post(batch_approve))
        .route("/api/v1/rewards/batches/{id}/export", get(export))
}

/// 一件诉求的奖励决定、依据与申诉
#[utoipa::path(get, path = "/api/v1/items/{id}/reward", params(("id" = String, Path)), responses((status = 200, description = "every decision with its lines and evidence, the last one counts; appeals"), (status = 404)))]
pub(crate) async fn show(State(api): State<Api>, user: User, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    user.staff()?;
    let item = item_of(&api, &user, &id).await?;
    let root = api.sv.store.incident_root(item.id).await?;
    let decisions: Vec<Value> = api
        .sv
        .store
        .rewards_of_item(root.id)
        .await?
        .into_iter()
        .map(|(decision, lines)| json!({ "decision": decision, "lines": lines }))
        .collect();
    Ok(Json(json!({
        "item": root.id,
        "acceptance_no": root.acceptance_no,
        "decisions": decisions,
        "appeals": api.sv.store.reward_appeals(root.id).await?,
    })))
}

/// 申诉
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AppealForm {
    /// What the citizen says, 2 to 200 characters.
    reason: Option<String>,
}

/// 登记申诉
#[utoipa::path(post, path = "/api/v1/items/{id}/reward/appeal", params(("id" = String, Path)), request_body = AppealForm, responses((status = 201), (status = 404), (status = 409, description = "no decision yet, or an appeal is open")))]
pub(crate) async fn appeal(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
    body: Result<Json<AppealForm>, JsonRejection>,
) -> Result<(StatusCode, Json<RewardAppeal>), ApiError> {
    let Json(form) = body?;
    user.need(&[Role::Operator, Role::Leader, Role::Manager])?;
    let reason = reason_of(form.reason.as_deref())?.to_owned();
    let item = item_of(&api, &user, &id).await?;
    audit(&api.sv, &user.0, "reward_appeal", &format!("item:{}", item.id), None).await?;
    let new = NewAppeal { item: item.id, reason, by: user.0.id, at: now_ms() };
    Ok((StatusCode::CREATED, Json(api.sv.store.reward_appeal(new).await?)))
}

/// 复核结论
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AppealVerdict {
    /// Whose contact is paid after all; absent: the decision stands.
    contact: Option<String>,
    /// How much, fen.
    amount_fen: Option<i64>,
    /// The answer, 2 to 200 characters.
    reason: Option<String>,
}

/// 复核申诉(须另一人)
#[utoipa::path(post, path = "/api/v1/rewards/appeals/{id}/decide", params(("id" = String, Path)), request_body = AppealVerdict, responses((status = 200), (status = 403), (status = 409, description = "by who took it down, or decided already")))]
pub(crate) async fn appeal_decide(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
    body: Result<Json<AppealVerdict>, JsonRejection>,
) -> Result<Json<RewardAppeal>, ApiError> {
    let Json(form) = body?;
    user.need(&[Role::Leader, Role::Manager])?;
    let answer = reason_of(form.reason.as_deref())?;
    let grant = match (form.contact.as_deref(), form.amount_fen) {
        (None, None) => None,
        (Some(contact), Some(fen)) if (AMOUNT_FEN.0..=AMOUNT_FEN.1).contains(&fen) => Some((id_of(contact)?, fen)),
        _ => {
            return Err(ApiError::bad(format!(
                "contact, amount_fen: 同时填写,{}–{} 分 / together, {} to {} fen",
                AMOUNT_FEN.0, AMOUNT_FEN.1, AMOUNT_FEN.0, AMOUNT_FEN.1
            )));
        }
    };
    audit(&api.sv, &user.0, "reward_appeal_decide", &format!("appeal:{id}"), Some(answer)).await?;
    Ok(Json(api.sv.store.reward_appeal_decide(id_of(&id)?, user.0.id, grant, answer, now_ms()).await?))
}

/// 发放批次
#[utoipa::path(get, path = "/api/v1/rewards/batches", responses((status = 200, description = "newest month first"), (status = 403)))]
pub(crate) async fn batches(State(api): State<Api>, user: User) -> Result<Json<Vec<RewardBatch>>, ApiError> {
    user.need(&[Role::Leader, Role::Manager])?;
    Ok(Json(api.sv.store.reward_batches(60).await?))
}

/// Which month.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BatchForm {
    /// Local month, `2026-03`.
    month: String,
    /// Also of the month that isn't over: what is earned after it waits for the next month's batch.
    #[serde(default)]
    early: bool,
}

/// 生成一个月的批次;每月只有一个
#[utoipa::path(post, path = "/api/v1/rewards/batches", request_body = BatchForm, responses((status = 201), (status = 200, description = "made before"), (status = 422)))]
pub(crate) async fn batch_make(
    State(api): State<Api>,
    user: User,
    body: Result<Json<BatchForm>, JsonRejection>,
) -> Result<(StatusCode, Json<RewardBatch>), ApiError> {
    let Json(form) = body?;
    user.need(&[Role::Manager])?;
    let now = now_ms();
    let this_month = month_of(now, api.sv.config.site.utc_offset_min);
    if form.month > this_month {
        return Err(ApiError::bad("month: 尚未开始 / hasn't begun"));
    }
    // A month has one batch.
    if form.month == this_month && !form.early {
        return Err(ApiError::bad(
            "month: 该月未结束,提前生成请加 early / it isn't over; with `early` what is earned later waits a month",
        ));
    }
    let early = form.early.then_some("early");
    audit(&api.sv, &user.0, "reward_batch_make", &format!("month:{}", form.month), early).await?;
    let (batch, made) = api.sv.store.reward_batch_make(&form.month, Some(user.0.id), now).await?;
    Ok((if made { StatusCode::CREATED } else { StatusCode::OK }, Json(batch)))
}

/// 审批批次(须另一人)
#[utoipa::path(post, path = "/api/v1/rewards/batches/{id}/approve", params(("id" = String, Path)), responses((status = 200), (status = 403), (status = 409, description = "by who made it, or approved already")))]
pub(crate) async fn batch_approve(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
) -> Result<Json<RewardBatch>, ApiError> {
    user.need(&[Role::Manager])?;
    audit(&api.sv, &user.0, "reward_batch_approve", &format!("batch:{id}"), None).await?;
    Ok(Json(api.sv.store.reward_batch_approve(id_of(&id)?, user.0.id, now_ms()).await?))
}

/// How.
#[derive(Deserialize, utoipa::IntoParams)]
pub(crate) struct ExportQuery {
    /// `csv` or `xlsx`.
    format: Option<String>,
    /// Why, 2 to 200 characters.
    reason: Option<String>,
}

/// 导出批次(CSV 或 XLSX):审批人以外的人,写明理由,先留痕
#[utoipa::path(get, path = "/api/v1/rewards/batches/{id}/export", params(("id" = String, Path), ExportQuery), responses((status = 200, description = "text/csv or a workbook, with unmasked numbers"), (status = 403), (status = 409, description = "not approved, or approved by the same person")))]
pub(crate) async fn export(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
    Query(query): Query<ExportQuery>,
) -> Result<Response, ApiError> {
    user.need(&[Role::Leader, Role::Manager])?;
    let reason = reason_of(query.reason.as_deref())?;
    let format = query.format.as_deref().unwrap_or("csv");
    if !matches!(format, "csv" | "xlsx") {
        return Err(ApiError::bad("format: csv, xlsx"));
    }
    let batch = api.sv.store.reward_batch_get(id_of(&id)?).await?.ok_or_else(ApiError::missing)?;
    if batch.state != BatchState::Approved {
        return Err(ApiError::conflict("先由另一人审批 / another person approves it first"));
    }
    if batch.approved_by == Some(user.0.id) {
        return Err(ApiError::conflict("导出须由审批人以外的人进行 / who approved it doesn't export it"));
    }
    let payees = api.sv.store.reward_payees(batch.id).await?;
    // What leaves is written down before it does.
    let row = NewAudit {
        at: now_ms(),
        actor: user.0.id.to_string(),
        action: "reward_export".into(),
        object: format!("batch:{}", batch.id),
        reason: Some(reason.to_owned()),
        data: json!({ "month": batch.month, "format": format, "payments": payees.len(), "hash": batch.hash, "approved_by": batch.approved_by }),
    };
    api.sv.store.audit(row).await?;
    let offset = api.sv.config.site.utc_offset_min;
    let month = batch.month.clone();
    let services = std::sync::Arc::clone(&api.sv);
    let (kind, body) = if format == "csv" {
        let made = tokio::task::spawn_blocking(move || sheet::csv(&payees, &services.sealer, offset)).await;
        ("text/csv; charset=utf-8", made)
    } else {
        let made = tokio::task::spawn_blocking(move || sheet::xlsx(&batch, &payees, &services.sealer, offset)).await;
        ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", made)
    };
    let body = match body {
        Ok(Ok(body)) => body,
        Ok(Err(e)) => {
            tracing::error!(error = %e, "reward export");
            return Err(ApiError::conflict(e.to_string()));
        }
        Err(e) => {
            tracing::error!(error = %e, "reward export");
            return Err(ApiError::conflict("导出失败,请重试 / the export failed: try again"));
        }
    };
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(name) = HeaderValue::from_str(&format!("attachment; filename=\"reward-{month}.{format}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

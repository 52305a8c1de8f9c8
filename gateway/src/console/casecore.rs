//! The case core's side: its signed webhook, and the embedded ledger's stages.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use hotline_db::{CaseStage, LedgerCommand};
use serde::Deserialize;

use super::auth::{Role, User};
use super::error::ApiError;
use super::{Api, audit};
use crate::casecore::{StatusEvent, apply};
use crate::clock::now_ms;
use crate::privacy::{constant_time_eq, hmac_hex};

/// A stage of the embedded ledger.
#[derive(Deserialize, utoipa::ToSchema)]
pub(crate) struct StageForm {
    /// 办理中, 已处置, 挂账, 已结案, 退回 …
    stage: String,
    #[serde(default)]
    note: String,
}

/// 内置台账:推进阶段
#[utoipa::path(post, path = "/api/v1/ledger/cases/{case_no}/stage", params(("case_no" = String, Path)), request_body = StageForm, responses((status = 204), (status = 403), (status = 404)))]
pub(crate) async fn stage(
    State(api): State<Api>,
    user: User,
    Path(case_no): Path<String>,
    headers: HeaderMap,
    body: Result<Json<StageForm>, JsonRejection>,
) -> Result<StatusCode, ApiError> {
    let Json(form) = body?;
    user.need(&[Role::Leader, Role::Manager, Role::Admin])?;
    if api.sv.config.casecore.kind != "ledger" {
        return Err(ApiError::conflict("案件由外部系统管理 / cases live in an external system here"));
    }
    let stage = stage_of(&form.stage)?;
    let key = headers
        .get("idempotency-key")
        .and_then(|v| v.to_str().ok())
        .map_or_else(crate::privacy::random_token, str::to_owned);
    let note = Some(form.note.as_str()).filter(|n| !n.is_empty());
    api.sv.store.ledger_command(&key, &case_no, LedgerCommand::Stage(stage), note, now_ms()).await?;
    audit(&api.sv, &user.0, "ledger_stage", &format!("case:{case_no}"), Some(stage.as_str())).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn stage_of(word: &str) -> Result<CaseStage, ApiError> {
    word.parse().map_err(|_| {
        let words: Vec<&str> = CaseStage::ALL.iter().map(|s| s.as_str()).collect();
        ApiError::bad(format!("stage: 应为 / must be one of {}", words.join(" ")))
    })
}

/// An event pushed by the case core.
#[derive(Deserialize, utoipa::ToSchema)]
pub(crate) struct EventForm {
    event_id: String,
    case_no: String,
    stage: String,
    at_ms: i64,
    #[serde(default)]
    note: String,
}

/// 案件状态推送:`X-Signature: sha256=` HMAC-SHA-256(secret, body)。重放无害:event_id 只计一次 / a replay is harmless, each event_id counts once
#[utoipa::path(post, path = "/api/v1/casecore/events", request_body = EventForm, responses((status = 204), (status = 401), (status = 404)))]
pub(crate) async fn webhook(State(api): State<Api>, headers: HeaderMap, body: Bytes) -> Result<StatusCode, ApiError> {
    signed(&api, &headers, &body)?;
    let form: EventForm = serde_json::from_slice(&body).map_err(|e| ApiError::bad(e.to_string()))?;
    let event = StatusEvent {
        event_id: format!("http-{}", form.event_id),
        case_no: form.case_no,
        stage: stage_of(&form.stage)?,
        at: form.at_ms,
        note: form.note,
    };
    apply(&api.sv.store, &api.sv.rules, event).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Demands the case core's signature over the body.
pub(super) fn signed(api: &Api, headers: &HeaderMap, body: &[u8]) -> Result<(), ApiError> {
    let secret = &api.sv.config.casecore.webhook_secret;
    if secret.is_empty() {
        return Err(ApiError::forbidden("未配置 casecore.webhook_secret / casecore.webhook_secret is not set"));
    }
    let given = headers.get("x-signature").and_then(|v| v.to_str().ok()).unwrap_or_default();
    let wanted = format!("sha256={}", hmac_hex(secret.as_bytes(), body));
    if constant_time_eq(wanted.as_bytes(), given.as_bytes()) { Ok(()) } else { Err(ApiError::sign_in()) }
}

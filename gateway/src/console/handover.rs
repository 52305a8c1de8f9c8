//! 交接班: open work given by one person and taken by another.

use std::collections::BTreeSet;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use hotline_db::{Handover, HandoverEnding, Id, NewHandover, Sign};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::auth::{Role, User};
use super::duty::person;
use super::error::ApiError;
use super::{Api, audit, id_of, recusal};
use crate::clock::now_ms;
use crate::events::Audience;

const NOTE_CHARS_MAX: usize = 1_000;
/// Works of handovers looked up at once.
const WORKS_LOOK_MAX: usize = 1_000;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/api/v1/handovers", get(list).post(give))
        .route("/api/v1/handovers/{id}", get(show))
        .route("/api/v1/handovers/{id}/{ending}", post(end))
}

/// A handover with the check of its signatures.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct HandoverView {
    /// As it was given, without works the reader must not know of; `passed`: the works that changed hands.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    handover: Handover,
    /// Nothing of it was changed since it was signed, what is left out here included.
    genuine: bool,
}

async fn view(api: &Api, user: &User, handover: Handover) -> Result<HandoverView, ApiError> {
    views(api, user, vec![handover]).await?.pop().ok_or_else(ApiError::missing)
}

/// For this reader: what they must not know of (回避) is left out, once the signatures were checked.
async fn views(api: &Api, user: &User, rows: Vec<Handover>) -> Result<Vec<HandoverView>, ApiError> {
    let works: Vec<Id> = rows.iter().flat_map(Handover::works).collect::<BTreeSet<_>>().into_iter().collect();
    let mut hidden = BTreeSet::new();
    for works in works.chunks(WORKS_LOOK_MAX) {
        hidden.extend(api.sv.store.handover_hidden(user.0.id, recusal::supervises(user), works).await?);
    }
    let view = |row: Handover| {
        let genuine = row.is_genuine(|text| api.sv.sealer.hash(text));
        HandoverView { handover: without(row, &hidden), genuine }
    };
    Ok(rows.into_iter().map(view).collect())
}

/// A handover without these works.
fn without(mut row: Handover, hidden: &BTreeSet<Id>) -> Handover {
    if !row.works().iter().any(|work| hidden.contains(work)) {
        return row;
    }
    let is_hidden = |id: &Value| id.as_str().and_then(|id| id.parse().ok()).is_some_and(|id: Id| hidden.contains(&id));
    let mut content: Value = serde_json::from_str(&row.content).unwrap_or_default();
    if let Some(works) = content["works"].as_array_mut() {
        works.retain(|work| !is_hidden(&work["id"]));
    }
    row.content = content.to_string();
    row.passed = row.passed.map(|passed| {
        let mut passed: Vec<Value> = serde_json::from_str(&passed).unwrap_or_default();
        passed.retain(|work| !is_hidden(work));
        Value::from(passed).to_string()
    });
    row
}

fn sign(api: &Api) -> Sign {
    let sv = std::sync::Arc::clone(&api.sv);
    Box::new(move |text| sv.sealer.hash(text))
}

/// Which handovers.
#[derive(Deserialize, utoipa::IntoParams)]
pub(crate) struct HandoverQuery {
    /// Older than this number.
    before: Option<i64>,
    /// At most 200.
    limit: Option<i64>,
}

/// 交接班记录
#[utoipa::path(get, path = "/api/v1/handovers", params(HandoverQuery), responses((status = 200, body = [HandoverView], description = "newest first; operators see their own")))]
pub(crate) async fn list(
    State(api): State<Api>,
    user: User,
    Query(q): Query<HandoverQuery>,
) -> Result<Json<Vec<HandoverView>>, ApiError> {
    user.need(&[Role::Operator, Role::Leader, Role::Manager])?;
    let of = (!user.has(&[Role::Leader, Role::Manager])).then_some(user.0.id);
    let rows = api.sv.store.handovers(of, q.before, q.limit.unwrap_or(50)).await?;
    Ok(Json(views(&api, &user, rows).await?))
}

/// 一次交接班
#[utoipa::path(get, path = "/api/v1/handovers/{id}", params(("id" = String, Path)), responses((status = 200, body = HandoverView), (status = 404)))]
pub(crate) async fn show(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
) -> Result<Json<HandoverView>, ApiError> {
    user.need(&[Role::Operator, Role::Leader, Role::Manager])?;
    let row = api.sv.store.handover_get(id_of(&id)?).await?.ok_or_else(ApiError::missing)?;
    let is_theirs = row.giver == user.0.id || row.taker == user.0.id;
    if !is_theirs && !user.has(&[Role::Leader, Role::Manager]) {
        return Err(ApiError::missing());
    }
    Ok(Json(view(&api, &user, row).await?))
}

/// A handover to give.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GiveForm {
    /// Who is to take it: sign-in name.
    to: String,
    /// What they should know.
    note: Option<String>,
}

/// 交班:名下待办交给接班人
#[utoipa::path(post, path = "/api/v1/handovers", request_body = GiveForm, responses((status = 201, body = HandoverView, description = "signed; the work passes when the other accepts"), (status = 409)))]
pub(crate) async fn give(
    State(api): State<Api>,
    user: User,
    body: Result<Json<GiveForm>, JsonRejection>,
) -> Result<(StatusCode, Json<HandoverView>), ApiError> {
    let Json(form) = body?;
    user.need(&[Role::Operator, Role::Leader])?;
    let note = form.note.as_deref().map(str::trim).filter(|n| !n.is_empty()).map(str::to_owned);
    if note.as_deref().is_some_and(|n| n.chars().count() > NOTE_CHARS_MAX) {
        return Err(ApiError::bad(format!("note: ≤ {NOTE_CHARS_MAX} 字 / characters")));
    }
    let taker = person(&api, &form.to).await?;
    let queues: Vec<_> = api.sv.acd.view().await;
    let figures = json!(queues.iter().map(|q| json!({"queue": q.name, "waiting": q.waiting})).collect::<Vec<_>>());
    let taker_leads = taker.has_role(Role::Leader.as_str());
    let new = NewHandover { id: Id::new(), giver: user.0.id, taker: taker.id, taker_leads, note, figures };
    audit(&api.sv, &user.0, "handover_give", &format!("handover:{}", new.id), None).await?;
    let row = api.sv.store.handover_give(new, sign(&api), now_ms()).await?;
    tell(&api, &row);
    Ok((StatusCode::CREATED, Json(view(&api, &user, row).await?)))
}

/// 接班、拒接或撤回
#[utoipa::path(post, path = "/api/v1/handovers/{id}/{ending}", params(("id" = String, Path), ("ending" = String, Path, description = "accept, decline or withdraw")), responses((status = 200, body = HandoverView), (status = 404), (status = 409)))]
pub(crate) async fn end(
    State(api): State<Api>,
    user: User,
    Path((id, ending)): Path<(String, String)>,
) -> Result<Json<HandoverView>, ApiError> {
    user.need(&[Role::Operator, Role::Leader])?;
    let ending_of = match ending.as_str() {
        "accept" => HandoverEnding::Accepted,
        "decline" => HandoverEnding::Declined,
        "withdraw" => HandoverEnding::Withdrawn,
        _ => return Err(ApiError::missing()),
    };
    let id = id_of(&id)?;
    audit(&api.sv, &user.0, &format!("handover_{ending}"), &format!("handover:{id}"), None).await?;
    let row = api.sv.store.handover_end(id, user.0.id, ending_of, sign(&api), now_ms()).await?;
    tell(&api, &row);
    Ok(Json(view(&api, &user, row).await?))
}

/// Both hear of it.
fn tell(api: &Api, row: &Handover) {
    let data = json!({ "handover": row.id, "giver": row.giver, "taker": row.taker, "ending": row.ending });
    for who in [row.giver, row.taker] {
        api.sv.events.publish("handover", Audience::Person(who), None, data.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handover_is_shown_without_what_its_reader_must_not_know_of() {
        let (one, other) = (Id::new(), Id::new());
        let row = Handover {
            n: 1,
            id: Id::new(),
            giver: Id::new(),
            taker: Id::new(),
            note: None,
            content: json!({"works": [{"id": one, "acceptance_no": "1"}, {"id": other}], "figures": 2}).to_string(),
            given_at: 0,
            prev_hash: String::new(),
            hash: String::new(),
            given_signature: String::new(),
            ended_at: None,
            ending: None,
            ended_signature: None,
            passed: Some(json!([one, other]).to_string()),
        };
        assert_eq!(without(row.clone(), &BTreeSet::from([Id::new()])), row);
        let shown = without(row, &BTreeSet::from([one]));
        assert_eq!(shown.works(), [other]);
        assert!(!shown.content.contains(&one.to_string()) && shown.content.contains("figures"));
        assert_eq!(shown.passed, Some(json!([other]).to_string()));
    }
}

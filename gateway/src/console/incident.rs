//! Incidents: candidates, merging and splitting, who was first, and what callers are told.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use hotline_db::{Announcement, Id, Item, ItemHandoff, NewAnnouncement, NewInspection, NewSplit};
use serde::Deserialize;
use serde_json::{Value, json};

use super::auth::{Role, User};
use super::error::ApiError;
use super::{Api, audit, id_of, reason_of, recusal};
use crate::casecore::item_payload;
use crate::clock::now_ms;
use crate::incident::{Candidate, announce, candidates, check};

/// Longest name of an inspector or of a finding's id.
const WORD_CHARS_MAX: usize = 120;
const LOCATION_CHARS_MAX: usize = 256;

/// The routes of this file.
pub(super) fn routes() -> axum::Router<Api> {
    axum::Router::new()
        .route("/api/v1/items/{id}/candidates", get(list_candidates))
        .route("/api/v1/items/{id}/first", get(first))
        .route("/api/v1/items/{id}/merge", post(merge))
        .route("/api/v1/items/{id}/split", post(split))
        .route("/api/v1/incidents/announced", get(announced))
        .route("/api/v1/incidents/{id}/announce", post(announce_it).delete(announce_end))
        .route("/api/v1/casecore/inspections", post(inspection))
        .route("/api/v1/inspections/{external_id}/link", post(inspection_link))
}

/// An item by id, acceptance number or query code, unless this person must not see it.
pub(super) async fn item_of(api: &Api, user: &User, text: &str) -> Result<Item, ApiError> {
    let store = &api.sv.store;
    let found = match (text.parse::<Id>(), text.len()) {
        (Ok(id), _) => store.item_get(id).await?,
        (_, 8) => store.item_by_query_code(text).await?,
        _ => store.item_by_acceptance_no(text).await?,
    };
    let found = found.ok_or_else(ApiError::missing)?;
    recusal::item(api, user, found.id).await?;
    Ok(found)
}

/// 可能的同一事件
#[utoipa::path(get, path = "/api/v1/items/{id}/candidates", params(("id" = String, Path, description = "id, acceptance number or query code")), responses((status = 200, description = "incidents this item may belong to, with scores and reasons, best first"), (status = 404)))]
pub(crate) async fn list_candidates(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
) -> Result<Json<Vec<Candidate>>, ApiError> {
    user.staff()?;
    let item = item_of(&api, &user, &id).await?;
    let mut found = candidates(&api.sv, &item).await?;
    let ids: Vec<Id> = found.iter().flat_map(|c| [c.item, c.matched.id]).collect();
    let hidden = recusal::hidden(&api, &user, &ids).await?;
    found.retain(|c| !hidden.contains(&c.item) && !hidden.contains(&c.matched.id));
    Ok(Json(found))
}

/// 谁先报告,为什么
#[utoipa::path(get, path = "/api/v1/items/{id}/first", params(("id" = String, Path)), responses((status = 200, description = "the incident's items, reporters in order of arrival, the first inspector's finding, every merge and split"), (status = 404)))]
pub(crate) async fn first(State(api): State<Api>, user: User, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    user.staff()?;
    let item = item_of(&api, &user, &id).await?;
    let store = &api.sv.store;
    let members = store.incident_members(item.id).await?;
    // Its reporters can't be told apart by what they complain about.
    let ids: Vec<Id> = members.iter().map(|m| m.id).collect();
    let hidden = recusal::hidden(&api, &user, &ids).await?;
    if ids.iter().any(|id| hidden.contains(id)) {
        return Err(ApiError::missing());
    }
    let reporters = store.incident_reporters(item.id).await?;
    let inspection = store.inspection_first(item.id).await?;
    let mut history = Vec::new();
    for member in &members {
        history.extend(store.item_links(member.id).await?);
    }
    history.sort_by_key(|link| link.id);
    history.dedup_by_key(|link| link.id);
    let (who, why) = answer(&reporters, inspection.as_ref());
    let members: Vec<Value> = members
        .iter()
        .map(
            |m| json!({ "id": m.id, "acceptance_no": m.acceptance_no, "state": m.state, "merged_into": m.merged_into }),
        )
        .collect();
    Ok(Json(json!({
        "item": members.first(),
        "first": who,
        "why": why,
        "citizen_before_inspector": match (reporters.first(), &inspection) {
            (Some(citizen), Some(found)) => Some(citizen.seq < found.seq),
            _ => None,
        },
        "reporters": reporters,
        "inspection": inspection,
        "members": members,
        "history": history,
    })))
}

/// Who was first, by arrival number alone, and the sentence that says so.
fn answer(
    reporters: &[hotline_db::Reporter],
    inspection: Option<&hotline_db::Inspection>,
) -> (Option<&'static str>, String) {
    match (reporters.first(), inspection) {
        (Some(c), Some(i)) if c.seq < i.seq => (
            Some("citizen"),
            format!(
                "市民先到:{} 早于巡查 {} / the citizen's number {} precedes the inspector's {}",
                c.seq, i.seq, c.seq, i.seq
            ),
        ),
        (Some(c), Some(i)) => (
            Some("inspector"),
            format!(
                "巡查先到:{} 早于市民 {} / the inspector's number {} precedes the citizen's {}",
                i.seq, c.seq, i.seq, c.seq
            ),
        ),
        (Some(c), None) => (Some("citizen"), format!("到达序号最小:{} / the lowest arrival number: {}", c.seq, c.seq)),
        (None, Some(i)) => (Some("inspector"), format!("仅有巡查 {} / an inspector's finding only: {}", i.seq, i.seq)),
        (None, None) => (None, "没有报告 / nobody reported it".to_owned()),
    }
}

/// 并案
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MergeForm {
    /// The item it goes into: id, acceptance number or query code.
    into: String,
    /// Why, 2 to 200 characters.
    reason: Option<String>,
}

/// 并入另一诉求
#[utoipa::path(post, path = "/api/v1/items/{id}/merge", params(("id" = String, Path)), request_body = MergeForm, responses((status = 200, description = "the merge as it is kept"), (status = 404), (status = 409, description = "one incident already, or one is closed")))]
pub(crate) async fn merge(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
    body: Result<Json<MergeForm>, JsonRejection>,
) -> Result<Json<hotline_db::ItemLink>, ApiError> {
    let Json(form) = body?;
    user.need(&[Role::Operator, Role::Leader])?;
    let reason = reason_of(form.reason.as_deref())?.to_owned();
    let (item, into) = (item_of(&api, &user, &id).await?, item_of(&api, &user, &form.into).await?);
    audit(&api.sv, &user.0, "item_merge", &format!("item:{}", item.id), Some(&reason)).await?;
    let decision = check::decision(&api.sv, Some(user.0.id), Some(reason));
    Ok(Json(api.sv.store.incident_merge(item.id, into.id, decision).await?))
}

/// 拆分
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SplitForm {
    /// Contacts that are about something else; absent: the item leaves the one it was merged into.
    contacts: Option<Vec<String>>,
    /// Title of the new item.
    title: Option<String>,
    /// Why, 2 to 200 characters.
    reason: Option<String>,
}

/// 撤销并案,或把部分联系拆成新诉求
#[utoipa::path(post, path = "/api/v1/items/{id}/split", params(("id" = String, Path)), request_body = SplitForm, responses((status = 200, description = "stands for itself again"), (status = 201, description = "the new item"), (status = 409, description = "not merged"), (status = 422, description = "not some of its contacts")))]
pub(crate) async fn split(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
    body: Result<Json<SplitForm>, JsonRejection>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let Json(form) = body?;
    user.need(&[Role::Operator, Role::Leader])?;
    let reason = reason_of(form.reason.as_deref())?.to_owned();
    if form.title.as_deref().is_some_and(|t| t.trim().is_empty() || t.chars().count() > WORD_CHARS_MAX) {
        return Err(ApiError::bad(format!("title: 1–{WORD_CHARS_MAX} 字 / characters")));
    }
    let item = item_of(&api, &user, &id).await?;
    audit(&api.sv, &user.0, "item_split", &format!("item:{}", item.id), Some(&reason)).await?;
    let decision = check::decision(&api.sv, Some(user.0.id), Some(reason));
    let Some(contacts) = form.contacts else {
        let link = api.sv.store.incident_detach(item.id, decision).await?;
        return Ok((StatusCode::OK, Json(json!({ "item": api.sv.store.item_get(item.id).await?, "link": link }))));
    };
    let contacts = contacts.iter().map(|c| id_of(c)).collect::<Result<Vec<_>, _>>()?;
    let new = NewSplit { item: item.id, contacts, title: form.title };
    let send = ItemHandoff { target: api.sv.config.casecore.kind.clone(), payload: Box::new(item_payload) };
    let offset = api.sv.config.site.utc_offset_min;
    let (made, link) = api.sv.store.incident_split(new, decision, Some(send), offset).await?;
    Ok((StatusCode::CREATED, Json(json!({ "item": made, "link": link }))))
}

/// 播报
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AnnounceForm {
    /// One of the prompts `incident_…`; absent: what fits the item.
    prompt: Option<String>,
    /// Only callers of this hotline number.
    hotline: Option<String>,
    /// For so long, 5 to 2880.
    minutes: Option<u32>,
}

/// 向来电人播报一起事件:按 1 登记为共报
#[utoipa::path(post, path = "/api/v1/incidents/{id}/announce", params(("id" = String, Path, description = "an item of the incident")), request_body = AnnounceForm, responses((status = 201), (status = 403), (status = 409, description = "too many at once")))]
pub(crate) async fn announce_it(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
    body: Result<Json<AnnounceForm>, JsonRejection>,
) -> Result<(StatusCode, Json<Announcement>), ApiError> {
    let Json(form) = body?;
    user.need(&[Role::Leader, Role::Manager])?;
    let item = item_of(&api, &user, &id).await?;
    let prompt = form.prompt.unwrap_or_else(|| announce::prompt_of(&item).to_owned());
    if !announce::PROMPTS.contains(&prompt.as_str()) {
        return Err(ApiError::bad(format!("prompt: 应为 / must be one of {}", announce::PROMPTS.join(" "))));
    }
    let hotline = form.hotline.unwrap_or_default();
    if !hotline.is_empty() && !api.sv.config.hotlines.iter().any(|h| h.number == hotline) {
        return Err(ApiError::bad("hotline: 填写已有的热线号码 / name one of the hotline numbers"));
    }
    let minutes = form.minutes.unwrap_or(api.sv.config.incident.announce_min);
    if !(5..=2_880).contains(&minutes) {
        return Err(ApiError::bad("minutes: 5–2880"));
    }
    audit(&api.sv, &user.0, "incident_announce", &format!("item:{}", item.id), Some(&prompt)).await?;
    let now = now_ms();
    let new = NewAnnouncement {
        item: item.id,
        hotline,
        prompt,
        made_by: Some(user.0.id),
        from_at: now,
        until_at: now + i64::from(minutes) * 60_000,
    };
    let made = api.sv.store.announcement_add(new).await?;
    api.sv.board.refresh(&api.sv.store).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// 结束播报
#[utoipa::path(delete, path = "/api/v1/incidents/{id}/announce", params(("id" = String, Path)), responses((status = 204), (status = 404)))]
pub(crate) async fn announce_end(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    user.need(&[Role::Leader, Role::Manager])?;
    let item = item_of(&api, &user, &id).await?;
    audit(&api.sv, &user.0, "incident_announce_end", &format!("item:{}", item.id), None).await?;
    if api.sv.store.announcement_end(item.id, Some(user.0.id), now_ms()).await? {
        api.sv.board.refresh(&api.sv.store).await?;
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(ApiError::missing())
    }
}

/// 正在播报的事件
#[utoipa::path(get, path = "/api/v1/incidents/announced", responses((status = 200, description = "newest first")))]
pub(crate) async fn announced(State(api): State<Api>, user: User) -> Result<Json<Vec<Announcement>>, ApiError> {
    user.staff()?;
    Ok(Json(api.sv.store.announcements(None, now_ms()).await?))
}

/// An inspector's finding (巡查上报).
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InspectionForm {
    /// Its id in the inspectors' system.
    external_id: String,
    /// Who found it.
    inspector: String,
    /// When, by their clock; shown, never decisive.
    found_at_ms: Option<i64>,
    class_code: Option<String>,
    location: Option<String>,
    lon: Option<f64>,
    lat: Option<f64>,
    /// 受理编号 of the item about the same incident, if known.
    acceptance_no: Option<String>,
}

impl InspectionForm {
    fn check(&self) -> Result<(), ApiError> {
        let within = |text: &str, most: usize| !text.trim().is_empty() && text.chars().count() <= most;
        if !within(&self.external_id, WORD_CHARS_MAX) || !within(&self.inspector, WORD_CHARS_MAX) {
            return Err(ApiError::bad(format!("external_id, inspector: 1–{WORD_CHARS_MAX} 字 / characters")));
        }
        if self.location.as_deref().is_some_and(|l| l.chars().count() > LOCATION_CHARS_MAX) {
            return Err(ApiError::bad(format!("location: ≤ {LOCATION_CHARS_MAX} 字 / characters")));
        }
        if self.class_code.as_deref().is_some_and(|c| c.len() != 5 || !c.bytes().all(|b| b.is_ascii_digit())) {
            return Err(ApiError::bad("class_code: 五位数字 / five digits"));
        }
        let on_earth = |v: Option<f64>, most: f64| v.is_none_or(|v| v.is_finite() && v.abs() <= most);
        if !on_earth(self.lon, 180.0) || !on_earth(self.lat, 90.0) || self.lon.is_some() != self.lat.is_some() {
            return Err(ApiError::bad("lon, lat: 成对且在范围内 / together and in range"));
        }
        Ok(())
    }
}

/// 巡查上报:按到达顺序编号,签名同案件状态推送 / an inspector's finding, numbered as it arrives; signed like the case core's events
#[utoipa::path(post, path = "/api/v1/casecore/inspections", request_body = InspectionForm, responses((status = 201, description = "with its arrival number"), (status = 200, description = "known already"), (status = 401), (status = 404, description = "no such item")))]
pub(crate) async fn inspection(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<hotline_db::Inspection>), ApiError> {
    super::casecore::signed(&api, &headers, &body)?;
    let form: InspectionForm = serde_json::from_slice(&body).map_err(|e| ApiError::bad(e.to_string()))?;
    form.check()?;
    let item = match &form.acceptance_no {
        Some(no) => Some(api.sv.store.item_by_acceptance_no(no).await?.ok_or_else(ApiError::missing)?.id),
        None => None,
    };
    let new = NewInspection {
        external_id: form.external_id,
        inspector: form.inspector,
        arrived_at: now_ms(),
        found_at: form.found_at_ms,
        class_code: form.class_code,
        location_text: form.location,
        position: form.lon.zip(form.lat),
        item,
    };
    let (row, fresh) = api.sv.store.inspection_add(new).await?;
    Ok((if fresh { StatusCode::CREATED } else { StatusCode::OK }, Json(row)))
}

/// Which item a finding is about.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InspectionLinkForm {
    /// The item; absent: about none of them.
    item: Option<String>,
    /// Why, 2 to 200 characters.
    reason: Option<String>,
}

/// 指明巡查上报属于哪一诉求
#[utoipa::path(post, path = "/api/v1/inspections/{external_id}/link", params(("external_id" = String, Path)), request_body = InspectionLinkForm, responses((status = 204), (status = 404)))]
pub(crate) async fn inspection_link(
    State(api): State<Api>,
    user: User,
    Path(external_id): Path<String>,
    body: Result<Json<InspectionLinkForm>, JsonRejection>,
) -> Result<StatusCode, ApiError> {
    let Json(form) = body?;
    user.need(&[Role::Leader, Role::Manager])?;
    let reason = reason_of(form.reason.as_deref())?;
    let found = api.sv.store.inspection_get(&external_id).await?.ok_or_else(ApiError::missing)?;
    let item = match &form.item {
        Some(text) => Some(item_of(&api, &user, text).await?.id),
        None => None,
    };
    audit(&api.sv, &user.0, "inspection_link", &format!("inspection:{}", found.id), Some(reason)).await?;
    api.sv.store.inspection_link(found.id, item, Some(user.0.id), now_ms()).await?;
    Ok(StatusCode::NO_CONTENT)
}

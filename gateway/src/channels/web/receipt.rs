//! What became of a report: its numbers, as soon as it has them.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use hotline_db::{DbError, Id, Item, Message};
use serde_json::json;
use tracing::warn;

use super::page::{Site, Word, escape, html};
use super::report::OPEN;
use super::{Asked, Desk, Pages, token, wants_json};

/// The page looks again after so long while there are no numbers yet.
const LOOK_AGAIN_S: u32 = 3;

/// `GET /r/done/{form}`: the receipt of a report without a link, for who holds its form.
pub(super) async fn of_form(
    State(pages): Desk,
    Path(form): Path<String>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Response {
    let site = pages.site(&asked, &headers);
    let Some((random, _)) = token::genuine_form(&pages.sv.sealer, OPEN, &form) else {
        return site.sorry(StatusCode::NOT_FOUND, "missing");
    };
    match pages.sv.store.message_by_key("web", &format!("form-{random}")).await {
        Ok(Some(message)) => show(&pages, &site, &message, &headers, "report").await,
        Ok(None) => site.sorry(StatusCode::NOT_FOUND, "missing"),
        Err(e) => away(&site, &e),
    }
}

/// The receipt of a link that is used up.
pub(super) async fn of_message(
    pages: &Pages,
    site: &Site,
    message: Option<Id>,
    headers: &HeaderMap,
    draft: &str,
) -> Response {
    let Some(id) = message else { return site.sorry(StatusCode::GONE, "gone") };
    match pages.sv.store.message_get(id).await {
        Ok(Some(message)) => show(pages, site, &message, headers, draft).await,
        Ok(None) => site.sorry(StatusCode::GONE, "gone"),
        Err(e) => away(site, &e),
    }
}

async fn show(pages: &Pages, site: &Site, message: &Message, headers: &HeaderMap, draft: &str) -> Response {
    let item = match item_of(pages, message).await {
        Ok(item) => item,
        Err(e) => return away(site, &e),
    };
    if wants_json(headers) {
        return match item {
            Some(i) => Json(json!({ "acceptance_no": i.acceptance_no, "query_code": i.query_code })).into_response(),
            None => Json(json!({ "pending": true })).into_response(),
        };
    }
    let body = match &item {
        Some(item) => numbers(site, item, draft),
        None => r#"<div class="spinner" aria-hidden="true"></div>"#.to_owned(),
    };
    let lead = if item.is_some() { site.say("received_lead") } else { site.say("numbering") };
    let word = Word {
        head: site.say("received").to_owned(),
        lead: lead.to_owned(),
        body,
        is_good: true,
        refresh_s: item.is_none().then_some(LOOK_AGAIN_S),
    };
    html(StatusCode::OK, site.word(&word))
}

async fn item_of(pages: &Pages, message: &Message) -> Result<Option<Item>, DbError> {
    let item = match (message.item, message.conversation) {
        (Some(item), _) => Some(item),
        (None, Some(conversation)) => {
            pages.sv.store.conversation_get(conversation).await?.and_then(|conversation| conversation.item)
        }
        (None, None) => None,
    };
    match item {
        Some(item) => pages.sv.store.item_get(item).await,
        None => Ok(None),
    }
}

fn numbers(site: &Site, item: &Item, draft: &str) -> String {
    let row = |key: &str, value: &str, class: &str| {
        format!(
            r#"<div><dt>{}</dt><dd><span class="value {class}">{v}</span><button type="button" class="js" data-copy="{v}" data-done="{}">{}</button></dd></div>"#,
            escape(site.say(key)),
            escape(site.say("copied")),
            escape(site.say("copy")),
            v = escape(value),
        )
    };
    let another = if draft == "report" {
        format!(r#"<a class="button" href="/r">{}</a>"#, escape(site.say("another")))
    } else {
        String::new()
    };
    format!(
        r#"<dl class="numbers-of" data-clear="{draft}">{}{}</dl><p class="after"><strong>{}</strong>{}</p>{another}"#,
        row("acceptance_no", &item.acceptance_no, ""),
        row("query_code", &item.query_code, "code"),
        escape(site.say("progress")),
        escape(site.say("progress_hint")),
    )
}

/// The database is away, the report is not lost.
pub(super) fn journaled(site: &Site, headers: &HeaderMap) -> Response {
    if wants_json(headers) {
        let message = site.say("journaled");
        return Json(json!({ "stored": true, "message": message })).into_response();
    }
    let word = Word {
        head: site.say("received").to_owned(),
        lead: site.say("journaled").to_owned(),
        body: String::new(),
        is_good: true,
        refresh_s: None,
    };
    html(StatusCode::ACCEPTED, site.word(&word))
}

fn away(site: &Site, e: &DbError) -> Response {
    warn!(error = %e, "a receipt isn't shown");
    site.sorry(StatusCode::SERVICE_UNAVAILABLE, "away")
}

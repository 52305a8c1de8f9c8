//! The questions about a finished case, answered by a link (满意度, 72 h): the same verdict a call gives.

use std::net::SocketAddr;

use axum::Form;
use axum::extract::rejection::FormRejection;
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use hotline_db::{CallbackState, DbError, LinkPurpose, WebLink};
use serde::Deserialize;
use tracing::{info, warn};

use super::page::{Site, Word, escape, html};
use super::report::find;
use super::{Asked, Desk, Pages, is_cross_site, token};
use crate::callback::conclude_by_link;
use crate::callback::verdict::Answers;
use crate::clock::now_ms;

/// Characters of the citizen's own words; longer is cut.
const REASON_CHARS_MAX: usize = 500;

/// The answers as the form sends them.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Answered {
    form: String,
    #[serde(default)]
    contacted: String,
    #[serde(default)]
    solved: String,
    #[serde(default)]
    satisfied: String,
    #[serde(default)]
    reason: String,
}

/// `GET /s/{token}`
pub(super) async fn ask(
    State(pages): Desk,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(token): Path<String>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Response {
    let site = pages.site(&asked, &headers);
    let link = match usable(&pages, &site, peer, &headers, &token).await {
        Ok(link) => link,
        Err(sorry) => return *sorry,
    };
    if let Err(e) = pages.sv.store.web_link_opened(&link.token_hash, now_ms()).await {
        warn!(error = %e, "a link's first visit isn't noted");
    }
    questions(&pages, &site, &link, &Answered::default(), false).await
}

/// `POST /s/{token}`
pub(super) async fn answer(
    State(pages): Desk,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(token): Path<String>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
    body: Result<Form<Answered>, FormRejection>,
) -> Response {
    let site = pages.site(&asked, &headers);
    let link = match usable(&pages, &site, peer, &headers, &token).await {
        Ok(link) => link,
        Err(sorry) => return *sorry,
    };
    let Ok(Form(answered)) = body else { return site.sorry(StatusCode::BAD_REQUEST, "missing") };
    let genuine = token::genuine_form(&pages.sv.sealer, &link.token_hash, &answered.form).is_some();
    let answers = read(&answered);
    if !genuine || is_cross_site(&headers) || answers.solved.is_none() || answers.satisfied.is_none() {
        return questions(&pages, &site, &link, &answered, true).await;
    }
    let reason: String = answered.reason.chars().filter(|c| !c.is_control() || *c == '\n').collect();
    let reason: String = reason.trim().chars().take(REASON_CHARS_MAX).collect();
    match conclude(&pages, &link, &answers, reason).await {
        Ok(()) => thanks(&site),
        Err(DbError::Conflict(_)) => site.sorry(StatusCode::CONFLICT, "s_done"),
        Err(e) => {
            warn!(error = %e, "a verdict isn't stored");
            site.sorry(StatusCode::SERVICE_UNAVAILABLE, "away")
        }
    }
}

/// The link's row if it still leads here, or the page that says why not.
async fn usable(
    pages: &Pages,
    site: &Site,
    peer: SocketAddr,
    headers: &HeaderMap,
    token: &str,
) -> Result<WebLink, Box<Response>> {
    let link = find(pages, site, peer, headers, token).await?;
    if link.purpose == LinkPurpose::Report {
        return Err(Box::new(Redirect::to(&format!("/r/{token}")).into_response()));
    }
    if link.used_at.is_some() {
        return Err(Box::new(site.sorry(StatusCode::CONFLICT, "s_done")));
    }
    if link.expires_at <= now_ms() {
        return Err(Box::new(site.sorry(StatusCode::GONE, "gone")));
    }
    Ok(link)
}

fn read(answered: &Answered) -> Answers {
    Answers {
        contacted: match answered.contacted.as_str() {
            "yes" => Some(true),
            "no" => Some(false),
            _ => None,
        },
        solved: Some(answered.solved.clone()).filter(|s| matches!(s.as_str(), "yes" | "partly" | "no")),
        satisfied: answered.satisfied.parse().ok().filter(|s| matches!(s, 1 | 2 | 5)),
        // Who is satisfied in writing with a part of it has said that it may end there.
        may_close: (answered.solved == "partly" && matches!(answered.satisfied.as_str(), "1" | "2")).then_some(true),
        ..Answers::default()
    }
}

async fn conclude(pages: &Pages, link: &WebLink, answers: &Answers, reason: String) -> Result<(), DbError> {
    let task = link.task.ok_or(DbError::NotFound)?;
    let task = pages.sv.store.callback_get(task).await?.ok_or(DbError::NotFound)?;
    if task.state == CallbackState::Done {
        return Err(DbError::Conflict("answered before".into()));
    }
    let stored = conclude_by_link(&pages.sv, &task, answers, Some(reason).filter(|r| !r.is_empty())).await;
    if stored.is_ok() {
        info!(task = %task.id, "verdict given by link");
        if let Err(e) = pages.sv.store.web_link_use(&link.token_hash, None, now_ms()).await {
            warn!(error = %e, "a used link isn't noted");
        }
    }
    stored
}

async fn questions(pages: &Pages, site: &Site, link: &WebLink, chosen: &Answered, is_refused: bool) -> Response {
    let item = match link.item {
        Some(id) => pages.sv.store.item_get(id).await.ok().flatten(),
        None => None,
    };
    let form = token::new_form(&pages.sv.sealer, &link.token_hash, now_ms());
    let about = item.map_or_else(String::new, |i| {
        format!(r#"<p class="hint">{} {}</p>"#, escape(site.say("s_about")), escape(&i.acceptance_no))
    });
    let error = if is_refused {
        format!(r#"<div class="alert" role="alert">{}</div>"#, escape(site.say("s_need")))
    } else {
        String::new()
    };
    let body = format!(
        r#"{about}{error}<form class="survey" method="post"><input type="hidden" name="form" value="{}">{}{}{}<label class="sub" for="reason">{} <small>{}</small></label><textarea id="reason" name="reason" rows="3" maxlength="500">{}</textarea><p class="hint"></p><button type="submit">{}</button></form>"#,
        escape(&form),
        choice(site, "contacted", "s_contacted", &[("yes", "s_yes"), ("no", "s_no")], &chosen.contacted),
        choice(
            site,
            "solved",
            "s_solved",
            &[("yes", "s_solved_yes"), ("partly", "s_solved_partly"), ("no", "s_solved_no")],
            &chosen.solved,
        ),
        choice(
            site,
            "satisfied",
            "s_satisfied",
            &[("1", "s_satisfied_1"), ("2", "s_satisfied_2"), ("5", "s_satisfied_5")],
            &chosen.satisfied,
        ),
        escape(site.say("s_reason")),
        escape(site.say("optional")),
        escape(&chosen.reason),
        escape(site.say("send")),
    );
    let word = Word {
        head: site.say("survey").to_owned(),
        lead: site.say("survey_lead").to_owned(),
        body,
        is_good: true,
        refresh_s: None,
    };
    html(if is_refused { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK }, site.word(&word))
}

fn choice(site: &Site, name: &str, question: &str, options: &[(&str, &str)], chosen: &str) -> String {
    let option = |(value, key): &(&str, &str)| {
        let checked = if *value == chosen { " checked" } else { "" };
        format!(
            r#"<label><input type="radio" name="{name}" value="{value}"{checked}><span>{}</span></label>"#,
            escape(site.say(key))
        )
    };
    let options: String = options.iter().map(option).collect();
    format!(
        r#"<fieldset><legend>{}</legend><div class="options">{options}</div></fieldset>"#,
        escape(site.say(question))
    )
}

fn thanks(site: &Site) -> Response {
    let word = Word {
        head: site.say("s_thanks").to_owned(),
        lead: site.say("s_thanks_lead").to_owned(),
        body: String::new(),
        is_good: true,
        refresh_s: None,
    };
    html(StatusCode::OK, site.word(&word))
}

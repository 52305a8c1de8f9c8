//! Whom the calls about a finished case didn't reach, or who can't be called because only an openid is known, gets
//! one text instead (domain rules §4), at most once whatever becomes of it: with a link to answer by, whose time the
//! task waits for, or without where there is no page.

use hotline_db::{
    Address, CallbackKind, CallbackResult, CallbackTask, DbError, Item, LinkPurpose, NewAttempt, NewOutgoing,
    NewWebLink, OutgoingPurpose, Party, WebLink,
};
use tracing::{info, warn};

use crate::app::Services;
use crate::channels::template::{Template, params_json};
use crate::channels::web::link;
use crate::intake::envelope::Channel;
use crate::patience::patiently;

/// The text without a link is worth sending for so long.
const WORTH_MS: i64 = 72 * 3_600_000;

/// Writes the text after the last attempt. `true`: it has a link, the attempt is noted with it and the task waits
/// for the answer, if the citizen may be written to. `false`: the task is to be concluded; after a crash in between this is called again, and the
/// key makes it one text.
pub(super) async fn text(sv: &Services, task: &CallbackTask, attempt: &NewAttempt) -> Result<bool, DbError> {
    if !sv.config.callback.unreachable_text || task.kind != CallbackKind::CaseFinished {
        return Ok(false);
    }
    let (Some(item), Some(party)) = (task.item, task.party) else { return Ok(false) };
    let (Some(item), Some(party)) = (sv.store.item_get(item).await?, sv.store.party_get(party).await?) else {
        return Ok(false);
    };
    // 拒访 stops surveys of every kind.
    if party.do_not_call {
        return Ok(false);
    }
    if let Some((link, text)) = with_link(sv, task, &item, &party, attempt.at) {
        let write = || sv.store.survey_link_send(attempt.clone(), link.clone(), text.clone());
        match patiently("link to a citizen who wasn't reached", write).await? {
            true => info!(task = %task.id, until = link.expires_at, "not reached by call: a link to answer by is sent"),
            false => info!(task = %task.id, "not reached by call, no link is sent"),
        }
        return Ok(true);
    }
    if let Some(text) = plain(sv, task, &item, &party, attempt.at) {
        let write = || sv.store.outgoing_add(text.clone(), attempt.at);
        patiently("text to a citizen who wasn't reached", write).await?;
    }
    Ok(false)
}

/// The end of a task whose link may be answered: 无法联系 once that time is over, never a verdict.
pub(super) async fn wait_or_end(sv: &Services, task: &CallbackTask, link: &WebLink, now: i64) -> Result<(), DbError> {
    if link.expires_at > now {
        return sv.store.callback_postpone(task.id, link.expires_at).await.map(drop);
    }
    let write = || sv.store.callback_finish(task.id, CallbackResult::Unreachable, None, now);
    if patiently("callback result", write).await? {
        info!(task = %task.id, "no answer by link either: 无法联系");
    }
    Ok(())
}

/// `None` without an address of our pages, or where the text can't be made.
fn with_link(
    sv: &Services,
    task: &CallbackTask,
    item: &Item,
    party: &Party,
    at: i64,
) -> Option<(NewWebLink, NewOutgoing)> {
    let (url, token_hash) = link::fresh(sv, "/s/")?;
    let hours = sv.config.web.survey_hours;
    let expires_at = sv.rules.answer_by(at, hours);
    let hours = hours.to_string();
    let params = [("acceptance_no", item.acceptance_no.as_str()), ("link", &url), ("hours", &hours)];
    let way = way_to(sv, party)?;
    let template = if way.is_called { Template::Survey } else { Template::SurveyFirst };
    let text = written(sv, task, party, (way, template), &params)?;
    let text = NewOutgoing { item: Some(item.id), next_at: at, expires_at, ..text };
    let link = NewWebLink {
        token_hash,
        purpose: LinkPurpose::Survey,
        party: Some(party.id),
        contact: None,
        call: None,
        item: Some(item.id),
        task: Some(task.id),
        created_by: None,
        at,
        expires_at,
    };
    Some((link, text))
}

fn plain(sv: &Services, task: &CallbackTask, item: &Item, party: &Party, at: i64) -> Option<NewOutgoing> {
    let params = [("acceptance_no", item.acceptance_no.as_str())];
    let way = way_to(sv, party).filter(|way| way.is_called)?;
    let text = written(sv, task, party, (way, Template::SurveyPlain), &params)?;
    Some(NewOutgoing { item: Some(item.id), next_at: at, expires_at: at.saturating_add(WORTH_MS), ..text })
}

/// How a citizen is written to.
struct Way {
    channel: Channel,
    to: Address,
    /// They have a number, so calls were tried first.
    is_called: bool,
}

/// The mobile; WeChat, with its own ways (`channels/wechat/send.rs`), where no number is known at all.
fn way_to(sv: &Services, party: &Party) -> Option<Way> {
    if party.phone_sealed.is_some() {
        let to = link::mobile_of(sv, party).filter(|_| !sv.config.sms.lines.is_empty())?;
        return Some(Way { channel: Channel::Sms, to, is_called: true });
    }
    sv.wechat.official.as_ref()?;
    let (hash, sealed) = (party.openid_hash.clone()?, party.openid_sealed.clone()?);
    let to = Address { hash, sealed, mask: party.openid_mask.clone().unwrap_or_default() };
    Some(Way { channel: Channel::Wechat, to, is_called: false })
}

/// The text to a citizen; item and times are the caller's.
fn written(
    sv: &Services,
    task: &CallbackTask,
    party: &Party,
    (way, template): (Way, Template),
    params: &[(&str, &str)],
) -> Option<NewOutgoing> {
    let language = party.language.as_deref().unwrap_or(&sv.config.site.language);
    let text = sv.texts.render(template, language, params);
    let text = text.inspect_err(|e| warn!(task = %task.id, error = %e, "no text for a citizen who wasn't reached"));
    Some(NewOutgoing {
        channel: way.channel.as_str().into(),
        line: None,
        to: way.to,
        template: template.as_str().into(),
        params: params_json(params).into(),
        text: text.ok()?,
        purpose: OutgoingPurpose::Survey,
        dedup_key: Some(format!("survey:{}", task.id)),
        conversation: None,
        item: None,
        party: Some(party.id),
        once: true,
        test: false,
        next_at: 0,
        expires_at: 0,
    })
}

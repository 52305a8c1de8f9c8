//! Texting a caller a one-time link to the report page.

use hotline_db::{Address, Call, DbError, Id, LinkPurpose, NewOutgoing, NewWebLink, OutgoingPurpose, Party};

use super::limits::CALL_LINKS_MAX;
use super::token;
use crate::app::Services;
use crate::channels::template::{Template, TemplateError, params_json};
use crate::clock::now_ms;

const HOUR_MS: i64 = 3_600_000;
/// A link that leaves later than this helps nobody any more.
const WORTH_MS: i64 = HOUR_MS;

/// A link on its way.
#[derive(Debug)]
pub struct Sent {
    /// The text's row.
    pub outgoing: Option<Id>,
    /// Where it goes to, masked.
    pub to: String,
    /// When the link lapses (epoch ms).
    pub expires_at: i64,
}

/// Why no link is sent.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// No address to send.
    #[error("未配置 web.public_url,无法发送链接 / web.public_url is not set: no link can be sent")]
    NoAddress,
    /// Nothing to send it by.
    #[error("未配置短信线路 [[sms.line]],无法发送链接 / there is no [[sms.line]] to send a link by")]
    NoLine,
    /// Nobody to send it to.
    #[error("没有可接收短信的号码 / there is no number that takes texts")]
    NoNumber,
    /// Enough is enough.
    #[error("本次通话已多次发送链接 / links were sent several times in this call")]
    TooMany,
    /// The text can't be written.
    #[error(transparent)]
    Text(#[from] TemplateError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] DbError),
}

/// Texts the caller of a call a link. The report that comes through it is theirs and this call's.
///
/// # Errors
/// [`LinkError`].
pub async fn send(sv: &Services, call: &Call, created_by: Option<Id>) -> Result<Sent, LinkError> {
    if sv.config.sms.lines.is_empty() {
        return Err(LinkError::NoLine);
    }
    let (url, token_hash) = fresh(sv, "/r/").ok_or(LinkError::NoAddress)?;
    let party = sv.store.party_get(call.party.ok_or(LinkError::NoNumber)?).await?.ok_or(LinkError::NoNumber)?;
    let to = mobile_of(sv, &party).ok_or(LinkError::NoNumber)?;
    if sv.store.web_links_of_call(call.id).await?.len() >= CALL_LINKS_MAX {
        return Err(LinkError::TooMany);
    }
    let at = now_ms();
    let hours = sv.config.web.link_hours;
    let expires_at = at + i64::from(hours) * HOUR_MS;
    let hours = hours.to_string();
    let params = [("link", url.as_str()), ("hours", hours.as_str())];
    let language = &sv.config.site.language;
    let text = sv.texts.render(Template::Link, language, &params)?;
    let outgoing = NewOutgoing {
        channel: "sms".into(),
        line: None,
        to: to.clone(),
        template: Template::Link.as_str().into(),
        params: params_json(&params).into(),
        text,
        purpose: OutgoingPurpose::Link,
        dedup_key: Some(format!("link:{token_hash}")),
        conversation: None,
        item: None,
        party: Some(party.id),
        once: false,
        test: false,
        next_at: at,
        expires_at: at + WORTH_MS,
    };
    let link = NewWebLink {
        token_hash,
        purpose: LinkPurpose::Report,
        party: Some(party.id),
        contact: Some(call.contact),
        call: Some(call.id),
        item: None,
        task: None,
        created_by,
        at,
        expires_at,
    };
    let outgoing = sv.store.web_link_send(link, outgoing).await?;
    Ok(Sent { outgoing, to: to.mask, expires_at })
}

/// A fresh link to the pages under `path`: its address and the hash to keep; `None` without `web.public_url`.
#[must_use]
pub fn fresh(sv: &Services, path: &str) -> Option<(String, String)> {
    let token = token::new_link();
    Some((sv.config.web.address_of(&format!("{path}{token}"))?, token::link_hash(&token)?))
}

/// Whether a caller from this number can be offered a link.
#[must_use]
pub fn can_send(sv: &Services, number: &str) -> bool {
    !sv.config.web.public_url.is_empty() && !sv.config.sms.lines.is_empty() && is_mobile(number)
}

/// A fixed line takes no texts.
fn is_mobile(number: &str) -> bool {
    match number.strip_prefix("+86") {
        Some(national) => national.len() == 11 && national.starts_with('1'),
        None => number.starts_with('+'),
    }
}

/// The citizen's mobile number.
#[must_use]
pub fn mobile_of(sv: &Services, party: &Party) -> Option<Address> {
    let sealed = party.phone_sealed.clone()?;
    let number = sv.sealer.open_sealed(&sealed).ok()?;
    let mask = party.phone_mask.clone().unwrap_or_default();
    is_mobile(&number).then_some(Address { hash: party.phone_hash.clone()?, sealed, mask })
}

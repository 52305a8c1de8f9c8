//! The texts the door sends by itself, and to whom.

use hotline_db::{Address, AddressKind, Id, Item, ItemState, NewOutgoing, OutgoingPurpose, Party};
use serde_json::Value;
use tracing::error;

use super::envelope::Channel;
use super::pager::{Pager, Paging};
use crate::channels::template::{Template, Templates, params_json};

/// A receipt or an answer is worth nothing after so long.
const WORTH_MS: i64 = 24 * 3_600_000;

/// Whom an answer goes to, and by which channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// The channel it leaves by: the one it came by, or SMS where only a number is known.
    pub channel: Channel,
    /// The line it came by; `None`: any of that channel.
    pub line: Option<String>,
    /// The address.
    pub to: Address,
}

/// Who answers to a sender go to: by the channel they wrote on; who left a number on the page gets an SMS.
#[must_use]
pub fn recipient(channel: Channel, line: &str, kind: AddressKind, to: Address) -> Option<Recipient> {
    let out = match kind {
        AddressKind::Phone => Channel::Sms,
        AddressKind::Openid => Channel::Wechat,
        AddressKind::Mail => Channel::Mail,
    };
    let line = (out == channel).then(|| line.to_owned());
    Some(Recipient { channel: out, line, to })
}

/// The address a citizen has on a channel.
#[must_use]
pub fn recipient_of(channel: Channel, line: &str, party: &Party) -> Option<Recipient> {
    let of = |hash: &Option<String>, sealed: &Option<Vec<u8>>, mask: &Option<String>| {
        Some(Address { hash: hash.clone()?, sealed: sealed.clone()?, mask: mask.clone().unwrap_or_default() })
    };
    let phone = || of(&party.phone_hash, &party.phone_sealed, &party.phone_mask).map(|a| (AddressKind::Phone, a));
    let openid = || of(&party.openid_hash, &party.openid_sealed, &party.openid_mask).map(|a| (AddressKind::Openid, a));
    let mail = || of(&party.mail_hash, &party.mail_sealed, &party.mail_mask).map(|a| (AddressKind::Mail, a));
    let (kind, to) = match channel {
        Channel::Wechat => openid().or_else(phone),
        Channel::Mail => mail().or_else(phone),
        _ => phone(),
    }?;
    recipient(channel, line, kind, to)
}

/// What is asked back, once a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Where?
    Place,
    /// A picture would help.
    Photo,
}

impl Missing {
    /// As it stands in the conversation's row.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Place => "place",
            Self::Photo => "photo",
        }
    }
}

/// A text before it has a recipient.
pub struct Text {
    template: Template,
    params: Value,
    text: String,
    purpose: OutgoingPurpose,
    dedup_key: Option<String>,
}

/// The site's texts, in the language a citizen is written in.
#[derive(Clone, Copy)]
pub struct Pen<'a> {
    /// The texts.
    pub texts: &'a Templates,
    /// `zh-CN` or `en`.
    pub language: &'a str,
}

impl Pen<'_> {
    /// `None`, and a line in the log, where a text can't be made of these values: a row without one
    /// would be worse, and the message it answers is kept all the same.
    fn write(self, template: Template, purpose: OutgoingPurpose, params: &[(&str, &str)]) -> Option<Text> {
        match self.texts.render(template, self.language, params) {
            Ok(text) => Some(Text { template, params: params_json(params), text, purpose, dedup_key: None }),
            Err(e) => {
                error!(template = template.as_str(), error = %e, "no text written");
                None
            }
        }
    }

    /// The receipt, with the one question if something is missing.
    #[must_use]
    pub fn receipt(self, item: &Item, missing: Option<Missing>, conversation: Id) -> Option<Text> {
        let template = match missing {
            None => Template::Receipt,
            Some(Missing::Place) => Template::ReceiptAskPlace,
            Some(Missing::Photo) => Template::ReceiptAskPhoto,
        };
        let params = [("acceptance_no", item.acceptance_no.as_str()), ("query_code", item.query_code.as_str())];
        Some(self.write(template, OutgoingPurpose::Receipt, &params)?.once_for(format!("receipt:{conversation}")))
    }

    /// A greeting came and nothing else.
    #[must_use]
    pub fn ask_what(self, conversation: Id) -> Option<Text> {
        Some(self.write(Template::AskWhat, OutgoingPurpose::Question, &[])?.once_for(format!("ask:{conversation}")))
    }

    /// A supplement reached its item; told once an hour.
    #[must_use]
    pub fn supplement(self, item: &Item, at: i64) -> Option<Text> {
        let params = [("acceptance_no", item.acceptance_no.as_str())];
        let key = format!("supplement:{}:{}", item.id, at.div_euclid(3_600_000));
        Some(self.write(Template::Supplement, OutgoingPurpose::Receipt, &params)?.once_for(key))
    }

    /// Where an item is: its state and what was promised, never what it says.
    #[must_use]
    pub fn progress(self, item: &Item, promised: Option<&str>) -> Option<Text> {
        let mut params = vec![("query_code", item.query_code.as_str()), ("state", state_in_words(item.state))];
        params.extend(promised.map(|day| ("promised", day)));
        self.write(Template::Progress, OutgoingPurpose::Progress, &params)
    }

    /// No item has this code, or none was given.
    #[must_use]
    pub fn progress_unknown(self) -> Option<Text> {
        self.write(Template::ProgressUnknown, OutgoingPurpose::Progress, &[])
    }

    /// The one confirmation of TD.
    #[must_use]
    pub fn stopped(self, address_hash: &str) -> Option<Text> {
        Some(self.write(Template::Stopped, OutgoingPurpose::Stop, &[])?.once_for(format!("stop:{address_hash}")))
    }

    /// Danger, to the shift leader: what and where, without the citizen.
    #[must_use]
    pub fn page(self, item: &Item, words: &str, place: Option<&str>, leader_hash: &str) -> Option<Text> {
        let words = if words.is_empty() { "险情" } else { words };
        let mut params = vec![("acceptance_no", item.acceptance_no.as_str()), ("words", words)];
        params.extend(place.map(|place| ("place", place)));
        let text = self.write(Template::Page, OutgoingPurpose::Page, &params)?;
        Some(text.once_for(format!("page:{}:{leader_hash}", item.id)))
    }

    /// A page, or beyond the leader's limit of the hour that there is more.
    #[must_use]
    pub fn paged(
        self,
        pager: &Pager,
        now: i64,
        item: &Item,
        words: &str,
        place: Option<&str>,
        leader_hash: &str,
    ) -> Option<Text> {
        match pager.judge(now, leader_hash, item.id) {
            Paging::Own => self.page(item, words, place, leader_hash),
            Paging::More { hour, after } => {
                let count = after.to_string();
                let text = self.write(Template::PageMore, OutgoingPurpose::Page, &[("count", &count)])?;
                Some(text.once_for(format!("page_more:{hour}:{leader_hash}")))
            }
        }
    }
}

impl Text {
    fn once_for(self, key: String) -> Self {
        Self { dedup_key: Some(key), ..self }
    }

    /// The row.
    #[must_use]
    pub fn to(self, recipient: Recipient, now: i64, test: bool) -> NewOutgoing {
        NewOutgoing {
            channel: recipient.channel.as_str().into(),
            line: recipient.line,
            to: recipient.to,
            template: self.template.as_str().into(),
            params: self.params.into(),
            text: self.text,
            purpose: self.purpose,
            dedup_key: self.dedup_key,
            conversation: None,
            item: None,
            party: None,
            once: false,
            test,
            next_at: now,
            expires_at: now.saturating_add(WORTH_MS),
        }
    }
}

/// What a citizen hears of an item's state.
#[must_use]
pub const fn state_in_words(state: ItemState) -> &'static str {
    match state {
        ItemState::Registered | ItemState::Verifying | ItemState::PreFiled => "已登记,正在核实",
        ItemState::HandedOff => "已派处置单位办理",
        ItemState::NotFiled => "不予立案,详询热线",
        ItemState::Deferred => "已延后受理",
        ItemState::Suspended => "办理中,因故延期",
        ItemState::AwaitingCallback => "已处置,等待回访",
        ItemState::Closed => "已办结",
        ItemState::Void => "已作废,详询热线",
        ItemState::Reopened => "重新办理中",
    }
}

//! The texts the door sends by itself, and to whom: pure but for the sealing of an address.

use hotline_db::{Address, AddressKind, Item, ItemState, NewOutgoing, OutgoingPurpose, Party};
use serde_json::{Value, json};

use super::envelope::Channel;

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
    template: &'static str,
    params: Value,
    text: String,
    purpose: OutgoingPurpose,
    dedup_key: Option<String>,
}

impl Text {
    /// The receipt, with the one question if something is missing.
    #[must_use]
    pub fn receipt(signature: &str, item: &Item, missing: Option<Missing>, conversation: hotline_db::Id) -> Self {
        let (template, ask) = match missing {
            None => ("receipt", ""),
            Some(Missing::Place) => ("receipt_ask_place", "请回复具体地点(路名门牌或位置)。"),
            Some(Missing::Photo) => ("receipt_ask_photo", "如方便请补发一张现场照片。"),
        };
        let text = format!(
            "【{signature}】已收到您的反映,受理编号{},查询码{}。{ask}查进度回复CX+查询码,退订回复TD。",
            item.acceptance_no, item.query_code
        );
        let params = json!({"acceptance_no": item.acceptance_no, "query_code": item.query_code, "ask": ask});
        let key = format!("receipt:{conversation}");
        Self { template, params, text, purpose: OutgoingPurpose::Receipt, dedup_key: Some(key) }
    }

    /// A greeting came and nothing else.
    #[must_use]
    pub fn ask_what(signature: &str, conversation: hotline_db::Id) -> Self {
        let text = format!("【{signature}】您好,请直接回复:什么问题、在什么地点,可附照片或位置。");
        let key = format!("ask:{conversation}");
        Self { template: "ask_what", params: json!({}), text, purpose: OutgoingPurpose::Question, dedup_key: Some(key) }
    }

    /// A supplement reached its item; told once an hour.
    #[must_use]
    pub fn supplement(signature: &str, item: &Item, at: i64) -> Self {
        let text = format!("【{signature}】您的补充已并入受理编号{}。", item.acceptance_no);
        let key = format!("supplement:{}:{}", item.id, at.div_euclid(3_600_000));
        Self {
            template: "supplement",
            params: json!({"acceptance_no": item.acceptance_no}),
            text,
            purpose: OutgoingPurpose::Receipt,
            dedup_key: Some(key),
        }
    }

    /// Where an item is: its state and what was promised, never what it says.
    #[must_use]
    pub fn progress(signature: &str, item: &Item, promised: Option<&str>) -> Self {
        let state = state_in_words(item.state);
        let promise = promised.map_or_else(String::new, |day| format!(",承诺{day}前办理"));
        let text = format!("【{signature}】查询码{}:{state}{promise}。", item.query_code);
        let params = json!({"query_code": item.query_code, "state": state, "promised": promised});
        Self { template: "progress", params, text, purpose: OutgoingPurpose::Progress, dedup_key: None }
    }

    /// No item has this code, or none was given.
    #[must_use]
    pub fn progress_unknown(signature: &str) -> Self {
        let text = format!("【{signature}】未查到该查询码。请回复CX加8位查询码,例如CX12345678。");
        Self {
            template: "progress_unknown",
            params: json!({}),
            text,
            purpose: OutgoingPurpose::Progress,
            dedup_key: None,
        }
    }

    /// The one confirmation of TD.
    #[must_use]
    pub fn stopped(signature: &str, address_hash: &str) -> Self {
        let text = format!("【{signature}】已退订,不再向您发送短信。您仍可反映问题,回复CX+查询码可查进度。");
        let key = format!("stop:{address_hash}");
        Self { template: "stopped", params: json!({}), text, purpose: OutgoingPurpose::Stop, dedup_key: Some(key) }
    }

    /// Danger, to the shift leader: what and where, without the citizen.
    #[must_use]
    pub fn page(signature: &str, item: &Item, words: &str, place: Option<&str>, leader_hash: &str) -> Self {
        let place = place.unwrap_or("地点待核实");
        let text = format!("【{signature}】紧急:{words},{place}。受理编号{}。", item.acceptance_no);
        let params = json!({"words": words, "place": place, "acceptance_no": item.acceptance_no});
        let key = format!("page:{}:{leader_hash}", item.id);
        Self { template: "page", params, text, purpose: OutgoingPurpose::Page, dedup_key: Some(key) }
    }

    /// The row.
    #[must_use]
    pub fn to(self, recipient: Recipient, now: i64, test: bool) -> NewOutgoing {
        NewOutgoing {
            channel: recipient.channel.as_str().into(),
            line: recipient.line,
            to: recipient.to,
            template: self.template.into(),
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
        ItemState::NotFiled => "经核实不予立案,详情请致电热线",
        ItemState::Deferred => "已延后受理",
        ItemState::Suspended => "办理中,因故延期",
        ItemState::AwaitingCallback => "已处置,等待回访",
        ItemState::Closed => "已办结",
        ItemState::Void => "已作废,详情请致电热线",
        ItemState::Reopened => "重新办理中",
    }
}

//! What citizens wrote, and what we wrote to them.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use hotline_db::{Address, Id, Item, Message, MessageMedia, NewOutgoing, Outgoing, OutgoingPurpose, Party};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::auth::{Role, User};
use super::error::ApiError;
use super::{Api, audit, id_of, recusal};
use crate::app::Services;
use crate::clock::now_ms;

const REPLY_CHARS_MAX: usize = 500;
/// A reply that couldn't be sent for so long is of no use any more.
const REPLY_LIFE_MS: i64 = 24 * 3_600_000;

/// A message with what came with it; its text has persons' numbers masked.
#[derive(Serialize)]
pub(crate) struct MessageView {
    #[serde(flatten)]
    message: Message,
    media: Vec<MessageMedia>,
}

/// A conversation in order of arrival, and our texts.
#[derive(Serialize)]
pub(crate) struct Thread {
    messages: Vec<MessageView>,
    texts: Vec<Outgoing>,
    /// Whether `POST /api/v1/items/{id}/reply` reaches the citizen.
    can_reply: bool,
}

/// Which messages.
#[derive(Deserialize, utoipa::IntoParams)]
pub(crate) struct MessageQuery {
    /// At most 200.
    limit: Option<i64>,
    /// Older than this arrival number.
    before_seq: Option<i64>,
}

/// 市民消息列表
#[utoipa::path(get, path = "/api/v1/messages", params(MessageQuery), responses((status = 200, description = "newest first")))]
pub(crate) async fn list(
    State(api): State<Api>,
    user: User,
    Query(q): Query<MessageQuery>,
) -> Result<Json<Vec<Message>>, ApiError> {
    // Who is complained about must not read of it here: the whole list is for those who supervise.
    user.need(&[Role::Leader, Role::Qa, Role::Manager])?;
    let mut messages = api.sv.store.messages(q.before_seq, q.limit.unwrap_or(50).clamp(1, 200)).await?;
    messages.retain(|m| !m.test);
    Ok(Json(messages))
}

/// 市民消息及往来
#[utoipa::path(get, path = "/api/v1/messages/{contact}", params(("contact" = String, Path)), responses((status = 200, description = "the contact's conversation with media, masked senders and our texts"), (status = 404)))]
pub(crate) async fn show(
    State(api): State<Api>,
    user: User,
    Path(contact): Path<String>,
) -> Result<Json<Thread>, ApiError> {
    user.staff()?;
    let store = &api.sv.store;
    let contact = store.contact_get(id_of(&contact)?).await?.ok_or_else(ApiError::missing)?;
    let first = store.message_of_contact(contact.id).await?;
    let conversation = match first.as_ref().and_then(|m| m.conversation) {
        Some(id) => store.conversation_get(id).await?,
        None => None,
    };
    let item = contact.item.or(first.as_ref().and_then(|m| m.item)).or(conversation.as_ref().and_then(|c| c.item));
    recusal::contact(&api, &user, contact.id, conversation.as_ref().map(|c| c.id)).await?;
    if let Some(item) = item {
        recusal::item(&api, &user, item).await?;
    }
    let mut messages: Vec<Message> = first.into_iter().collect();
    if let Some(conversation) = &conversation {
        messages.extend(store.messages_of_conversation(conversation.id).await?);
    }
    let mut texts = Vec::new();
    if let Some(item) = item {
        messages.extend(store.messages_of_item(item).await?);
        texts = store.outgoing_of_item(item).await?;
    }
    messages.sort_by_key(|m| m.seq);
    messages.dedup_by_key(|m| m.id);
    let can_reply = match item {
        Some(item) => addressed(&api.sv, item, contact.party, messages.last()).await?.is_some(),
        None => false,
    };
    let mut views = Vec::with_capacity(messages.len());
    for message in messages {
        let media = store.media_of_message(message.id).await?;
        views.push(MessageView { message, media });
    }
    Ok(Json(Thread { messages: views, texts, can_reply }))
}

/// Where an answer goes: channel, line and address.
struct Way {
    channel: &'static str,
    line: Option<String>,
    to: Address,
}

/// The channel follows the citizen: by what they wrote last, else by text message where a number is known.
async fn addressed(
    sv: &Services,
    _item: Id,
    party: Option<Id>,
    last: Option<&Message>,
) -> Result<Option<Way>, ApiError> {
    let Some(party) = last.and_then(|m| m.party).or(party) else { return Ok(None) };
    let Some(party) = sv.store.party_get(party).await? else { return Ok(None) };
    Ok(way(&party, last.map(|m| (m.channel.as_str(), m.line.as_str()))))
}

fn way(party: &Party, last: Option<(&str, &str)>) -> Option<Way> {
    let of = |hash: &Option<String>, sealed: &Option<Vec<u8>>, mask: &Option<String>| {
        Some(Address { hash: hash.clone()?, sealed: sealed.clone()?, mask: mask.clone().unwrap_or_default() })
    };
    let (channel, line) = last.unzip();
    let line = line.map(str::to_owned);
    let wechat = || of(&party.openid_hash, &party.openid_sealed, &party.openid_mask);
    let mail = || of(&party.mail_hash, &party.mail_sealed, &party.mail_mask);
    let phone = || of(&party.phone_hash, &party.phone_sealed, &party.phone_mask);
    match channel {
        // An openid belongs to the account it wrote to.
        Some("wechat") => wechat().map(|to| Way { channel: "wechat", line: line.clone(), to }),
        Some("mail") => mail().map(|to| Way { channel: "mail", line: line.clone(), to }),
        Some("sms") => phone().map(|to| Way { channel: "sms", line, to }),
        _ => None,
    }
    .or_else(|| phone().map(|to| Way { channel: "sms", line: None, to }))
    .or_else(|| mail().map(|to| Way { channel: "mail", line: None, to }))
}

/// What to tell the citizen.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReplyForm {
    /// 1 to 500 characters.
    text: String,
}

/// A text on its way.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Replied {
    /// `sms`, `wechat` or `mail`.
    channel: String,
    /// The citizen's address, masked.
    to: String,
}

/// 回复市民
#[utoipa::path(post, path = "/api/v1/items/{id}/reply", params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header, description = "8 to 128 characters: the same key sends once")), request_body = ReplyForm, responses((status = 201, body = Replied), (status = 200, body = Replied, description = "sent before: the same Idempotency-Key"), (status = 400), (status = 404), (status = 409, description = "no way to this citizen, or they want no texts")))]
pub(crate) async fn reply(
    State(api): State<Api>,
    user: User,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Result<Json<ReplyForm>, JsonRejection>,
) -> Result<(StatusCode, Json<Replied>), ApiError> {
    let Json(form) = body?;
    user.need(&[Role::Operator, Role::Leader])?;
    let text = form.text.trim();
    if text.is_empty() || text.chars().count() > REPLY_CHARS_MAX {
        return Err(ApiError::bad(format!("text: 1–{REPLY_CHARS_MAX} 字 / characters")));
    }
    let item = api.sv.store.item_get(id_of(&id)?).await?.ok_or_else(ApiError::missing)?;
    recusal::item(&api, &user, item.id).await?;
    let last = api.sv.store.messages_of_item(item.id).await?.pop();
    let way = addressed(&api.sv, item.id, item.party, last.as_ref()).await?.ok_or_else(|| {
        ApiError::conflict("该市民没有可回复的号码或账号 / there is no number or account to answer this citizen at")
    })?;
    let key = headers.get("idempotency-key").and_then(|v| v.to_str().ok()).filter(|k| (8..=128).contains(&k.len()));
    let view = Replied { channel: way.channel.into(), to: way.to.mask.clone() };
    // Audited first: nobody writes to citizens unseen.
    audit(&api.sv, &user.0, "reply", &format!("item:{}", item.id), None).await?;
    let new = written(&user, &item, last.and_then(|m| m.party).or(item.party), way, text, key);
    let added = api.sv.store.outgoing_add(new, now_ms()).await?;
    let Some(added) = added else { return Ok((StatusCode::OK, Json(view))) };
    let row = api.sv.store.outgoing_get(added).await?;
    if row.is_some_and(|row| row.state == hotline_db::OutgoingState::Cancelled) {
        return Err(ApiError::conflict("该市民已退订(TD) / this citizen wants no texts (TD): call them instead"));
    }
    api.sv.store.work_acknowledged(item.id, now_ms()).await?;
    Ok((StatusCode::CREATED, Json(view)))
}

fn written(user: &User, item: &Item, party: Option<Id>, way: Way, text: &str, key: Option<&str>) -> NewOutgoing {
    let now = now_ms();
    NewOutgoing {
        channel: way.channel.into(),
        line: way.line,
        to: way.to,
        template: "reply".into(),
        params: json!({"text": text, "acceptance_no": item.acceptance_no}).into(),
        text: text.into(),
        purpose: OutgoingPurpose::Reply,
        dedup_key: key.map(|key| format!("reply:{}:{}:{key}", user.0.id, item.id)),
        conversation: None,
        item: Some(item.id),
        party,
        once: false,
        test: false,
        next_at: now,
        expires_at: now + REPLY_LIFE_MS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn party(phone: bool, openid: bool, mail: bool) -> Party {
        let hash = |is: bool, word: &str| is.then(|| word.to_owned());
        let sealed = |is: bool| is.then(|| vec![1]);
        Party {
            id: Id::new(),
            phone_hash: hash(phone, "p"),
            phone_sealed: sealed(phone),
            phone_mask: None,
            openid_hash: hash(openid, "o"),
            openid_sealed: sealed(openid),
            openid_mask: None,
            mail_hash: hash(mail, "m"),
            mail_sealed: sealed(mail),
            mail_mask: None,
            texts_stopped_at: None,
            anonymous: false,
            confidential: false,
            do_not_call: false,
            preferred_window: None,
            language: None,
        }
    }

    #[test]
    fn the_answer_goes_where_the_citizen_wrote_from() {
        let of = |party: &Party, last| way(party, last).map(|w| (w.channel, w.line, w.to.hash));
        let all = party(true, true, true);
        assert_eq!(of(&all, Some(("wechat", "city"))), Some(("wechat", Some("city".into()), "o".into())));
        assert_eq!(of(&all, Some(("mail", "box"))), Some(("mail", Some("box".into()), "m".into())));
        assert_eq!(of(&all, Some(("sms", "a"))), Some(("sms", Some("a".into()), "p".into())));
        assert_eq!(of(&all, Some(("web", "page"))), Some(("sms", None, "p".into())));
        assert_eq!(of(&all, None), Some(("sms", None, "p".into())));
        assert_eq!(of(&party(false, false, true), Some(("web", "page"))), Some(("mail", None, "m".into())));
        assert_eq!(of(&party(false, true, false), Some(("web", "page"))), None, "an openid without its account");
        assert_eq!(of(&party(false, false, false), None), None);
    }
}

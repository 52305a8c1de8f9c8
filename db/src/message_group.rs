//! Messages that came at once, stored together: PostgreSQL answers each statement over a socket, so a group
//! takes about as many of them as one message alone.
//!
//! Only what stands by itself goes this way: the first message of its citizen in the group, without files,
//! answers or an item of its own. What is left is taken one after the other, behind these; none of it
//! depends on one that is still to come.

use std::collections::HashSet;

use serde::Serialize;
use sqlx::FromRow;

use crate::{
    bulk,
    conn::Conn,
    contact,
    conversation::ConversationState,
    error::{Result, guarded},
    id::Id,
    message::{self, MessageState, MessageTaken, NewMessage},
    party::AddressKind,
    sql::sql,
};

/// Takes messages in their order.
pub(crate) async fn take(c: &mut Conn, new: Vec<NewMessage>) -> Result<Vec<MessageTaken>> {
    let count = i64::try_from(new.len()).unwrap_or(i64::MAX);
    // The counter's row is held until the commit: whoever comes here next sees all of this.
    let first = contact::next_seqs(c, count).await?;
    let mut senders = HashSet::new();
    let mut keys = HashSet::new();
    let mut taken = vec![None; new.len()];
    let (mut together, mut alone) = (Vec::new(), Vec::new());
    for (at, new) in new.into_iter().enumerate() {
        let sender = new.sender.as_ref().map(|(kind, address)| (*kind, address.hash.clone()));
        let is_first_of_sender = sender.is_none_or(|sender| senders.insert(sender));
        let is_first_of_key = keys.insert((new.channel.clone(), new.dedup_key.clone()));
        let seq = first.saturating_add(i64::try_from(at).unwrap_or(i64::MAX));
        let one = One { at, seq, new };
        if is_first_of_sender && is_first_of_key && stands_by_itself(&one.new) {
            together.push(one);
        } else {
            alone.push(one);
        }
    }
    alone.extend(store(c, together, &mut taken).await?);
    alone.sort_by_key(|one| one.at);
    for One { at, seq, new } in alone {
        taken[at] = Some(message::take(c, new, seq).await?);
    }
    Ok(taken.into_iter().flatten().collect())
}

/// A message of the group, with its place in it and its number.
struct One {
    at: usize,
    seq: i64,
    new: NewMessage,
}

/// Whether nothing follows from it but its rows. Every field is named, so that a new one is thought about here.
fn stands_by_itself(new: &NewMessage) -> bool {
    let NewMessage {
        channel: _,
        line: _,
        dedup_key: _,
        addressed: _,
        sender,
        provider_time: _,
        at: _,
        state,
        text: _,
        redacted_text: _,
        place: _,
        media,
        red: _,
        test: _,
        link,
        planner: _,
        supplement,
        // Only what adds to an item has one.
        note: _,
        stops_texts,
        answers,
    } = new;
    // An openid opens the window its answers need.
    let opens_window = matches!(sender, Some((AddressKind::Openid, _)));
    !opens_window
        && *state != MessageState::Command
        && media.is_empty()
        && link.is_none()
        && supplement.is_none()
        && !stops_texts
        && answers.is_empty()
}

/// What is asked about one message.
#[derive(Serialize)]
struct Question<'a> {
    n: usize,
    channel: &'a str,
    key: &'a str,
    phone: Option<&'a str>,
    mail: Option<&'a str>,
    hash: Option<&'a str>,
    at: i64,
    since: i64,
    text: &'a str,
}

/// What the tables know before it is stored.
#[derive(FromRow)]
struct Known {
    n: i64,
    message: Option<Id>,
    party: Option<Id>,
    block: Option<Id>,
    echo: Option<Id>,
    open: Option<Id>,
}

crate::lite::row!(Known { n, message, party, block, echo, open });

fn hash_of(new: &NewMessage, wanted: AddressKind) -> Option<&str> {
    new.sender.as_ref().filter(|(kind, _)| *kind == wanted).map(|(_, address)| address.hash.as_str())
}

async fn look(c: &mut Conn, group: &[One]) -> Result<Vec<Known>> {
    let questions: Vec<Question<'_>> = group
        .iter()
        .enumerate()
        .map(|(n, One { new, .. })| Question {
            n,
            channel: &new.channel,
            key: &new.dedup_key,
            phone: hash_of(new, AddressKind::Phone),
            mail: hash_of(new, AddressKind::Mail),
            hash: new.sender.as_ref().map(|(_, address)| address.hash.as_str()),
            at: new.at,
            since: new.at.saturating_sub(message::ECHO_MS),
            text: &new.text,
        })
        .collect();
    let query = sql("SELECT r.n, \
         (SELECT m.id FROM message m WHERE m.channel = r.channel AND m.dedup_key = r.key) AS message, \
         p.id AS party, \
         (SELECT b.id FROM block b WHERE b.subject_hash = r.hash AND b.lifted_at IS NULL \
             AND (b.until_at IS NULL OR b.until_at > r.at) LIMIT 1) AS block, \
         (SELECT o.id FROM outgoing o WHERE o.to_hash = r.hash AND o.created_at > r.since AND o.text = r.text \
             LIMIT 1) AS echo, \
         (SELECT v.id FROM conversation v WHERE v.channel = r.channel AND v.party = p.id AND v.state = '进行') AS open \
         FROM json_to_recordset(CAST($1 AS JSON)) AS r (n BIGINT, channel TEXT, key TEXT, phone TEXT, mail TEXT, \
             hash TEXT, at BIGINT, since BIGINT, text TEXT) \
         LEFT JOIN LATERAL (SELECT q.id FROM party q WHERE q.phone_hash = r.phone \
             UNION ALL SELECT q.id FROM party q WHERE q.mail_hash = r.mail) AS p ON TRUE")
    .bind(bulk::rows(&questions)?);
    let mut known: Vec<Known> = c.all(query).await?;
    known.sort_by_key(|known| known.n);
    Ok(known)
}

/// A citizen nobody knew.
#[derive(Serialize)]
struct Citizen<'a> {
    id: Id,
    phone_hash: Option<&'a str>,
    phone_sealed: Option<String>,
    phone_mask: Option<&'a str>,
    mail_hash: Option<&'a str>,
    mail_sealed: Option<String>,
    mail_mask: Option<&'a str>,
}

/// Makes the citizens known nobody knew; `false` when another gateway made one of them meanwhile.
async fn meet(c: &mut Conn, group: &[One], parties: &mut [Option<Id>]) -> Result<bool> {
    let mut citizens = Vec::new();
    for (One { new, .. }, party) in group.iter().zip(parties) {
        let Some((kind, address)) = new.sender.as_ref().filter(|_| party.is_none()) else { continue };
        let id = Id::new();
        *party = Some(id);
        let sealed = Some(bulk::hex(&address.sealed));
        let (hash, mask) = (Some(address.hash.as_str()), Some(address.mask.as_str()));
        let none = Citizen {
            id,
            phone_hash: None,
            phone_sealed: None,
            phone_mask: None,
            mail_hash: None,
            mail_sealed: None,
            mail_mask: None,
        };
        citizens.push(match kind {
            AddressKind::Mail => Citizen { mail_hash: hash, mail_sealed: sealed, mail_mask: mask, ..none },
            _ => Citizen { phone_hash: hash, phone_sealed: sealed, phone_mask: mask, ..none },
        });
    }
    if citizens.is_empty() {
        return Ok(true);
    }
    let query = sql("INSERT INTO party (id, phone_hash, phone_sealed, phone_mask, mail_hash, mail_sealed, mail_mask, \
         anonymous, confidential, do_not_call) \
         SELECT id, phone_hash, decode(phone_sealed, 'hex'), phone_mask, mail_hash, decode(mail_sealed, 'hex'), \
         mail_mask, FALSE, FALSE, FALSE \
         FROM json_to_recordset(CAST($1 AS JSON)) AS r (id TEXT, phone_hash TEXT, phone_sealed TEXT, phone_mask TEXT, \
             mail_hash TEXT, mail_sealed TEXT, mail_mask TEXT) ON CONFLICT DO NOTHING")
    .bind(bulk::rows(&citizens)?);
    Ok(c.run(query).await? == citizens.len() as u64)
}

/// The rows of one message.
#[derive(Serialize)]
struct Row<'a> {
    id: Id,
    contact: Id,
    seq: i64,
    channel: &'a str,
    line: &'a str,
    key: &'a str,
    addressed: &'a str,
    mask: &'a str,
    provider_time: Option<i64>,
    party: Option<Id>,
    conversation: Option<Id>,
    state: MessageState,
    text: &'a str,
    redacted: &'a str,
    lon: Option<f64>,
    lat: Option<f64>,
    datum: Option<&'a str>,
    label: Option<&'a str>,
    red: bool,
    test: bool,
    at: i64,
    talk_state: Option<ConversationState>,
    told_at: Option<i64>,
    talk_red: Option<bool>,
    act_at: Option<i64>,
}

/// Stores what can be stored together; what joins an open conversation comes back.
async fn store(c: &mut Conn, mut group: Vec<One>, taken: &mut [Option<MessageTaken>]) -> Result<Vec<One>> {
    if group.is_empty() {
        return Ok(Vec::new());
    }
    let mut known = look(c, &group).await?;
    let mut parties: Vec<Option<Id>> = known.iter().map(|known| known.party).collect();
    let mut left = Vec::new();
    let mut kept = (Vec::new(), Vec::new(), Vec::new());
    for ((one, known), party) in group.drain(..).zip(known.drain(..)).zip(parties.drain(..)) {
        if let Some(message) = known.message {
            taken[one.at] = Some(MessageTaken::Known { message });
        } else if known.open.is_some() && one.new.planner.is_some() {
            left.push(one);
        } else {
            kept.0.push(one);
            kept.1.push(known);
            kept.2.push(party);
        }
    }
    let (group, known, mut parties) = kept;
    if !meet(c, &group, &mut parties).await? {
        parties = look(c, &group).await?.into_iter().map(|known| known.party).collect();
    }
    let mut rows = Vec::with_capacity(group.len());
    for ((one, known), party) in group.iter().zip(&known).zip(&parties) {
        let state = message::state_of(&one.new, known.block.is_some(), known.echo.is_some());
        let row = row(one, state, *party)?;
        taken[one.at] = Some(MessageTaken::New {
            contact: row.contact,
            seq: one.seq,
            message: row.id,
            state,
            party: *party,
            conversation: row.conversation,
            item: None,
            act_at: row.act_at,
        });
        rows.push(row);
    }
    if !rows.is_empty() {
        insert(c, &rows).await?;
    }
    Ok(left)
}

fn row(one: &One, state: MessageState, party: Option<Id>) -> Result<Row<'_>> {
    let new = &one.new;
    let plan = match new.planner.as_ref().filter(|_| state == MessageState::Taken) {
        Some(planner) => Some(guarded(|| planner(None))?),
        None => None,
    };
    let talk_state = |closes| if closes { ConversationState::Settling } else { ConversationState::Open };
    let place = new.place.as_ref();
    Ok(Row {
        id: Id::new(),
        contact: Id::new(),
        seq: one.seq,
        channel: &new.channel,
        line: &new.line,
        key: &new.dedup_key,
        addressed: &new.addressed,
        mask: new.sender.as_ref().map_or("", |(_, address)| &address.mask),
        provider_time: new.provider_time,
        party,
        conversation: plan.map(|_| Id::new()),
        state,
        text: &new.text,
        redacted: &new.redacted_text,
        lon: place.map(|p| p.lon),
        lat: place.map(|p| p.lat),
        datum: place.map(|p| p.datum.as_str()),
        label: place.and_then(|p| p.label.as_deref()),
        red: new.red,
        test: new.test,
        at: new.at,
        talk_state: plan.map(|plan| talk_state(plan.closes)),
        told_at: plan.and_then(|plan| plan.told_at),
        talk_red: plan.map(|plan| plan.red),
        act_at: plan.map(|plan| plan.act_at),
    })
}

/// Contacts, conversations and messages in one statement; foreign keys are looked at when it ends.
async fn insert(c: &mut Conn, rows: &[Row<'_>]) -> Result<()> {
    let query = sql("WITH r AS MATERIALIZED (SELECT * FROM json_to_recordset(CAST($1 AS JSON)) AS r (id TEXT, \
             contact TEXT, seq BIGINT, channel TEXT, line TEXT, key TEXT, addressed TEXT, mask TEXT, \
             provider_time BIGINT, party TEXT, conversation TEXT, state TEXT, text TEXT, redacted TEXT, \
             lon DOUBLE PRECISION, lat DOUBLE PRECISION, datum TEXT, label TEXT, red BOOLEAN, test BOOLEAN, at BIGINT, \
             talk_state TEXT, told_at BIGINT, talk_red BOOLEAN, act_at BIGINT)), \
         k AS (INSERT INTO contact (id, channel, direction, seq, arrived_at, provider_time, party) \
             SELECT contact, channel, 'inbound', seq, at, provider_time, party FROM r), \
         v AS (INSERT INTO conversation (id, channel, line, party, state, first_contact, first_seq, opened_at, last_at, \
             parts, told_at, red, test, act_at) \
             SELECT conversation, channel, line, party, talk_state, contact, seq, at, at, 1, told_at, talk_red, test, \
             act_at FROM r WHERE conversation IS NOT NULL) \
         INSERT INTO message (id, contact, seq, channel, line, dedup_key, addressed, sender_mask, party, conversation, \
             state, text, redacted_text, lon, lat, datum, place_label, red, test, at) \
         SELECT id, contact, seq, channel, line, key, addressed, mask, party, conversation, state, text, redacted, lon, \
             lat, datum, label, red, test, at FROM r")
    .bind(bulk::rows(rows)?);
    c.run(query).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, sync::Arc};

    use super::*;
    use crate::{conn::STATEMENTS, conversation::ConversationPlan, explain::Asked, party::Address, pool::Store};

    fn message(n: i64) -> NewMessage {
        let address = Address { hash: format!("hash-{n}"), sealed: vec![0, 255], mask: "138****0001".into() };
        NewMessage {
            channel: "sms".into(),
            line: "a".into(),
            dedup_key: format!("key-{n}"),
            addressed: "106912319".into(),
            sender: Some((AddressKind::Phone, address)),
            provider_time: None,
            at: n,
            state: MessageState::Taken,
            text: "井盖\"没了\"\\".into(),
            redacted_text: "井盖没了".into(),
            place: None,
            media: Vec::new(),
            red: false,
            test: false,
            link: None,
            planner: Some(Arc::new(|_| ConversationPlan {
                joins: false,
                closes: false,
                told_at: None,
                red: false,
                act_at: 1,
            })),
            supplement: None,
            note: None,
            stops_texts: false,
            answers: Vec::new(),
        }
    }

    #[tokio::test]
    async fn a_hundred_messages_take_as_many_statements_as_one() {
        for db in Asked::both().await {
            if let Some(url) = db.url() {
                let store = Store::open(url).await.unwrap();
                let count = STATEMENTS.scope(Cell::new(0), async {
                    let mut conn = store.transaction().await;
                    let taken = take(&mut conn, (0..100).map(message).collect()).await.unwrap();
                    let first = |taken: &MessageTaken| matches!(taken, MessageTaken::New { seq: 1, .. });
                    assert!(taken.len() == 100 && first(&taken[0]));
                    STATEMENTS.with(Cell::get)
                });
                assert_eq!(count.await, 4, "number, look, citizens, rows");
                store.close().await;
            }
            db.close().await;
        }
    }
}

//! The rows of steps taken together: one statement for each table, whatever the number of steps.

use std::collections::HashMap;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{
    audit, bulk,
    conn::Conn,
    conversation::{Conversation, ConversationState, conversation_columns},
    conversation_settle::{Settled, unfinished},
    error::{DbError, Result, guarded},
    handoff::{HandoffKind, HandoffState},
    id::Id,
    incident,
    item::{Arrival, Item, ItemState, ItemWork},
    item_list::ContactRole,
    limits::{self, SHORT_TEXT_CHARS_MAX},
    message::Message,
    outgoing::{self, NewOutgoing, OutgoingPurpose, outgoing_state},
    recusal::{self, About},
    settle_group::Step,
    settle_items,
    sql::{Sql, sql},
    work::{self, WorkDesk, WorkKind},
};

/// Takes steps that need nothing but their rows.
pub(crate) async fn store(c: &mut Conn, mut steps: Vec<Step>, settled: &mut [Option<Settled>]) -> Result<()> {
    settle_items::create(c, &mut steps).await?;
    let mut rows = Rows::default();
    for step in &mut steps {
        rows.take(step)?;
    }
    rows.write(c).await?;
    let mut conversations = write_conversations(c, &rows.conversations).await?;
    for (step, row) in steps.into_iter().zip(&rows.conversations) {
        let conversation = conversations.remove(&row.v_id).ok_or(DbError::NotFound)?;
        let done =
            Settled { conversation, item: step.on.item, handed_off: row.handed_off, raised: false, grown: false };
        settled[step.at] = Some(done);
    }
    Ok(())
}

#[derive(Serialize)]
struct Link {
    item: Id,
    contact: Id,
    role: ContactRole,
    rank: usize,
    at: i64,
}

#[derive(Serialize)]
struct Joined {
    conversation: Id,
    item: Id,
}

#[derive(Serialize)]
struct Key {
    key: i64,
    at: i64,
    item: Id,
    created_at: i64,
}

#[derive(Serialize)]
struct HandoffRow {
    id: Id,
    item: Id,
    target: String,
    key: String,
    payload: String,
    hash: String,
    state: HandoffState,
    at: i64,
}

#[derive(Serialize)]
struct TextRow {
    id: Id,
    channel: String,
    line: Option<String>,
    to_hash: String,
    to_sealed: String,
    to_mask: String,
    template: String,
    params: String,
    text: String,
    purpose: OutgoingPurpose,
    dedup_key: Option<String>,
    conversation: Option<Id>,
    item: Option<Id>,
    party: Option<Id>,
    once: bool,
    test: bool,
    stoppable: bool,
    next_at: i64,
    expires_at: i64,
    created_at: i64,
}

#[derive(Serialize)]
struct WorkRow {
    id: Id,
    kind: WorkKind,
    dedup_key: String,
    item: Option<Id>,
    contact: Option<Id>,
    conversation: Option<Id>,
    channel: String,
    lane: i64,
    urgency: i64,
    due_at: i64,
    seq: i64,
    arrived_at: i64,
    ack_due_at: Option<i64>,
    desk: WorkDesk,
    excluded: Option<Id>,
    created_at: i64,
}

/// What becomes of a conversation's row; its names are no column's.
#[derive(Serialize)]
struct ConversationRow {
    v_id: Id,
    v_state: ConversationState,
    v_next: Option<i64>,
    v_item: Option<Id>,
    v_asked: Option<String>,
    v_receipt: bool,
    v_now: i64,
    #[serde(skip)]
    handed_off: bool,
}

/// Everything a group writes but its items.
#[derive(Default)]
struct Rows {
    links: Vec<Link>,
    joined: Vec<Joined>,
    keys: Vec<Key>,
    handoffs: Vec<HandoffRow>,
    texts: Vec<TextRow>,
    works: Vec<About>,
    conversations: Vec<ConversationRow>,
}

impl Rows {
    fn take(&mut self, step: &mut Step) -> Result<()> {
        let now = step.now;
        let (row, messages, settlement) = (&step.on.conversation, &step.on.messages, &mut step.settlement);
        let said = messages.iter().map(|message| message.text.as_str());
        let mut handed_off = false;
        if let Some((item, is_new)) = &step.on.item {
            if *is_new {
                self.made(row, messages, item, now);
                if let Some(times) = settlement.work {
                    let work = ItemWork { red: row.red, times, conversation: Some(row.id) };
                    let arrival =
                        Arrival { channel: row.channel.clone(), seq: row.first_seq, arrived_at: row.opened_at };
                    let text = [item.title.as_str(), item.detail.as_str()].into_iter().chain(said);
                    let text = text.collect::<Vec<_>>().join("\n");
                    self.works.push(About { new: work.of(item, arrival), text, at: now });
                }
            }
            if let Some(send) = settlement.hand_off.take().filter(|_| !step.on.is_handed) {
                let payload = guarded(|| (send.payload)(item))?;
                self.handoffs.push(handoff(item, send.target, &payload, now)?);
                handed_off = true;
            }
            let answers = settlement.answers.take().map(|make| guarded(|| make(item))).transpose()?;
            for mut text in answers.unwrap_or_default() {
                (text.item, text.conversation) = (Some(item.id), Some(row.id));
                self.texts.push(text_row(text, now)?);
            }
        } else if let Some(times) = settlement.work.filter(|_| settlement.close) {
            let text = said.collect::<Vec<_>>().join("\n");
            self.works.push(About { new: unfinished(row, times), text, at: now });
        }
        for mut text in std::mem::take(&mut settlement.notices) {
            text.conversation = Some(row.id);
            self.texts.push(text_row(text, now)?);
        }
        self.conversations.push(ConversationRow {
            v_id: row.id,
            v_state: if settlement.close { ConversationState::Closed } else { row.state },
            v_next: settlement.next_at,
            v_item: step.on.item.as_ref().map(|(item, _)| item.id),
            v_asked: settlement.asked.take(),
            v_receipt: settlement.receipt,
            v_now: now,
            handed_off,
        });
        Ok(())
    }

    /// What belongs to a new item: its messages and their contacts, and under what it is found.
    fn made(&mut self, row: &Conversation, messages: &[Message], item: &Item, at: i64) {
        self.joined.push(Joined { conversation: row.id, item: item.id });
        let later =
            messages.iter().map(|message| message.contact).filter(|contact| Some(*contact) != item.first_contact);
        for (n, contact) in item.first_contact.into_iter().chain(later).enumerate() {
            let role = if n == 0 { ContactRole::First } else { ContactRole::Supplement };
            self.links.push(Link { item: item.id, contact, role, rank: n + 1, at });
        }
        let keys = incident::keys(item).into_iter();
        self.keys.extend(keys.map(|key| Key { key, at: row.opened_at, item: item.id, created_at: item.created_at }));
    }

    async fn write(&mut self, c: &mut Conn) -> Result<()> {
        if !self.joined.is_empty() {
            c.run(links().bind(bulk::rows(&self.links)?).bind(bulk::rows(&self.joined)?)).await?;
        }
        if !self.keys.is_empty() {
            c.run(keys().bind(bulk::rows(&self.keys)?)).await?;
        }
        if !self.works.is_empty() {
            recusal::apply_to_all(c, &mut self.works).await?;
            let rows = self.works.drain(..).map(work_row).collect::<Result<Vec<_>>>()?;
            c.run(works().bind(bulk::rows(&rows)?)).await?;
        }
        if !self.handoffs.is_empty() {
            c.run(handoffs().bind(bulk::rows(&self.handoffs)?).bind(HandoffKind::Create)).await?;
        }
        if !self.texts.is_empty() {
            c.run(texts().bind(bulk::rows(&self.texts)?)).await?;
        }
        Ok(())
    }
}

/// As [`crate::handoff::insert`], of an item nothing was handed off of, with the item and its name held.
fn handoff(item: &Item, target: String, payload: &serde_json::Value, at: i64) -> Result<HandoffRow> {
    limits::text("target", &target, SHORT_TEXT_CHARS_MAX)?;
    let payload = limits::json("payload", payload)?;
    let is_out = item.merged_into.is_some() || item.state == ItemState::Void;
    Ok(HandoffRow {
        id: Id::new(),
        item: item.id,
        target,
        key: format!("{}:1:{}", item.id, HandoffKind::Create),
        hash: audit::hex(Sha256::new_with_prefix(payload.as_bytes())),
        payload,
        state: if is_out { HandoffState::Withdrawn } else { HandoffState::Pending },
        at,
    })
}

fn text_row(new: NewOutgoing, now: i64) -> Result<TextRow> {
    outgoing::check(&new)?;
    Ok(TextRow {
        id: Id::new(),
        channel: new.channel,
        line: new.line,
        to_hash: new.to.hash,
        to_sealed: bulk::hex(&new.to.sealed),
        to_mask: new.to.mask,
        template: new.template,
        params: limits::json("params", &new.params.0)?,
        text: new.text,
        purpose: new.purpose,
        dedup_key: new.dedup_key,
        conversation: new.conversation,
        item: new.item,
        party: new.party,
        once: new.once,
        test: new.test,
        stoppable: !new.purpose.ignores_stop(),
        next_at: new.next_at,
        expires_at: new.expires_at,
        created_at: now,
    })
}

fn work_row(About { new, at, .. }: About) -> Result<WorkRow> {
    work::check(&new)?;
    Ok(WorkRow {
        id: Id::new(),
        kind: new.kind,
        lane: work::work_lane(new.red, new.urgency),
        due_at: new.times.due_at(new.urgency, new.arrived_at),
        ack_due_at: new.times.acknowledge_ms.map(|ms| new.arrived_at.saturating_add(ms)),
        dedup_key: new.dedup_key,
        item: new.item,
        contact: new.contact,
        conversation: new.conversation,
        channel: new.channel,
        urgency: new.urgency,
        seq: new.seq,
        arrived_at: new.arrived_at,
        desk: new.desk,
        excluded: new.excluded,
        created_at: at,
    })
}

fn links() -> Sql {
    sql("WITH r AS MATERIALIZED (SELECT * FROM json_to_recordset(CAST($1 AS JSON)) AS r (item TEXT, contact TEXT, \
             role TEXT, rank BIGINT, at BIGINT)), \
         k AS (UPDATE contact SET item = r.item FROM r WHERE contact.id = r.contact), \
         m AS (UPDATE message SET item = j.item FROM json_to_recordset(CAST($2 AS JSON)) AS j (conversation TEXT, \
             item TEXT) WHERE message.conversation = j.conversation AND message.item IS NULL) \
         INSERT INTO item_contact (item, contact, role, rank, at) SELECT item, contact, role, rank, at FROM r \
         ON CONFLICT (item, contact) DO NOTHING")
}

fn keys() -> Sql {
    sql("WITH r AS MATERIALIZED (SELECT * FROM json_to_recordset(CAST($1 AS JSON)) AS r (key BIGINT, at BIGINT, \
             item TEXT, created_at BIGINT)), \
         d AS (INSERT INTO incident_due (item, at) SELECT DISTINCT item, created_at FROM r \
             ON CONFLICT (item) DO NOTHING) \
         INSERT INTO incident_key (key, at, item) SELECT key, at, item FROM r ON CONFLICT DO NOTHING")
}

fn works() -> Sql {
    sql("INSERT INTO work (id, kind, dedup_key, item, contact, conversation, channel, lane, urgency, due_at, seq, \
             arrived_at, ack_due_at, desk, excluded, created_at) \
         SELECT id, kind, dedup_key, item, contact, conversation, channel, lane, urgency, due_at, seq, arrived_at, \
             ack_due_at, desk, excluded, created_at \
         FROM json_to_recordset(CAST($1 AS JSON)) AS r (id TEXT, kind TEXT, dedup_key TEXT, item TEXT, contact TEXT, \
             conversation TEXT, channel TEXT, lane BIGINT, urgency BIGINT, due_at BIGINT, seq BIGINT, \
             arrived_at BIGINT, ack_due_at BIGINT, desk TEXT, excluded TEXT, created_at BIGINT) \
         ON CONFLICT (dedup_key) DO NOTHING")
}

fn handoffs() -> Sql {
    sql("INSERT INTO handoff (id, item, ord, target, kind, idempotency_key, payload, payload_hash, state, attempts, \
             next_at, unknown_outcome, created_at) \
         SELECT id, item, 1, target, $2, key, payload, hash, state, 0, at, FALSE, at \
         FROM json_to_recordset(CAST($1 AS JSON)) AS r (id TEXT, item TEXT, target TEXT, key TEXT, payload TEXT, \
             hash TEXT, state TEXT, at BIGINT)")
}

fn texts() -> Sql {
    sql(concat!(
        "INSERT INTO outgoing (id, channel, line, to_hash, to_sealed, to_mask, template, params, text, purpose, \
             dedup_key, conversation, item, party, once, test, state, attempts, next_at, expires_at, created_at) \
         SELECT r.id, r.channel, r.line, r.to_hash, decode(r.to_sealed, 'hex'), r.to_mask, r.template, r.params, \
             r.text, r.purpose, r.dedup_key, r.conversation, r.item, r.party, r.once, r.test, ",
        outgoing_state!("r.channel", "r.item", "r.party", "r.stoppable"),
        ", 0, r.next_at, r.expires_at, r.created_at \
         FROM json_to_recordset(CAST($1 AS JSON)) AS r (id TEXT, channel TEXT, line TEXT, to_hash TEXT, \
             to_sealed TEXT, to_mask TEXT, template TEXT, params TEXT, text TEXT, purpose TEXT, dedup_key TEXT, \
             conversation TEXT, item TEXT, party TEXT, once BOOLEAN, test BOOLEAN, stoppable BOOLEAN, \
             next_at BIGINT, expires_at BIGINT, created_at BIGINT) ON CONFLICT (dedup_key) DO NOTHING"
    ))
}

async fn write_conversations(c: &mut Conn, rows: &[ConversationRow]) -> Result<HashMap<Id, Conversation>> {
    let query = sql(concat!(
        "UPDATE conversation SET state = r.v_state, act_at = r.v_next, item = r.v_item, \
             asked = COALESCE(asked, r.v_asked), \
             receipt_at = CASE WHEN r.v_receipt THEN COALESCE(receipt_at, r.v_now) ELSE receipt_at END \
         FROM json_to_recordset(CAST($1 AS JSON)) AS r (v_id TEXT, v_state TEXT, v_next BIGINT, v_item TEXT, \
             v_asked TEXT, v_receipt BOOLEAN, v_now BIGINT) WHERE id = r.v_id RETURNING ",
        conversation_columns!()
    ));
    if rows.is_empty() {
        return Ok(HashMap::new());
    }
    let written: Vec<Conversation> = c.all(query.bind(bulk::rows(rows)?)).await?;
    Ok(written.into_iter().map(|row| (row.id, row)).collect())
}

//! The outbox to the case core: durable, ordered per item.

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::FromRow;

use crate::{
    audit, bulk,
    case_event::CaseStage,
    claim::IdRow,
    conn::Conn,
    error::{DbError, Result},
    handoff_group::Delivery,
    id::Id,
    incident::pg_listed,
    item::{self, Item, ItemState},
    limits::{self, SHORT_TEXT_CHARS_MAX},
    pool::Store,
    sql::{sql, sql_claim, sql_each},
    text::{Json, words},
};

words! {
    /// What the case core is asked to do.
    HandoffKind {
        /// Take the case.
        Create = "create",
        /// Take it up again.
        Reopen = "reopen",
        /// Close it.
        Close = "close",
        /// Hurry (催办).
        Remind = "remind",
    }
}

words! {
    /// Delivery of a hand-off.
    HandoffState {
        /// To be sent, or being sent.
        Pending = "待发",
        /// Received by the case core.
        Delivered = "已收",
        /// Given up until a person looks at it; it holds back what follows for its item.
        Poisoned = "滞留",
        /// Not sent: its item was merged into another before anybody had it.
        Withdrawn = "已撤",
    }
}

/// A row of the outbox.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct Handoff {
    /// Row id.
    pub id: Id,
    /// The item.
    pub item: Id,
    /// Order within the item, from 1.
    pub ord: i64,
    /// The case core's name in the configuration.
    pub target: String,
    /// What it is asked to do.
    pub kind: HandoffKind,
    /// The same for every resend.
    pub idempotency_key: String,
    /// What is sent.
    pub payload: Json,
    /// SHA-256 of the payload's text, hex.
    pub payload_hash: String,
    /// The case's number at the case core, once known.
    pub case_no: Option<String>,
    /// Delivery.
    pub state: HandoffState,
    /// Last stage the case core reported.
    pub stage: Option<CaseStage>,
    /// Claims so far.
    pub attempts: i64,
    /// Not before.
    pub next_at: i64,
    /// End of the lease.
    pub lease_until: Option<i64>,
    /// The last attempt may have arrived: ask before sending again.
    pub unknown_outcome: bool,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// When it was written.
    pub created_at: i64,
    /// When it arrived.
    pub delivered_at: Option<i64>,
}

crate::lite::row!(Handoff {
    id,
    item,
    ord,
    target,
    kind,
    idempotency_key,
    payload,
    payload_hash,
    case_no,
    state,
    stage,
    attempts,
    next_at,
    lease_until,
    unknown_outcome,
    last_error,
    created_at,
    delivered_at
});

/// A row to write.
#[derive(Debug, Clone)]
pub struct NewHandoff {
    /// The case core's name in the configuration.
    pub target: String,
    /// What it is asked to do.
    pub kind: HandoffKind,
    /// What is sent.
    pub payload: Value,
    /// `None` makes one from item, order and kind.
    pub idempotency_key: Option<String>,
}

/// What the case core hasn't got yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct HandoffBacklog {
    /// Rows to be sent.
    pub pending: i64,
    /// Rows given up until a person looks.
    pub poisoned: i64,
    /// When the oldest row to be sent was written.
    pub oldest_pending_at: Option<i64>,
}

/// How many rows are in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields are the words of `HandoffState`")]
pub struct HandoffCounts {
    pub pending: i64,
    pub delivered: i64,
    pub poisoned: i64,
    pub withdrawn: i64,
}

macro_rules! handoff_columns {
    () => {
        "id, item, ord, target, kind, idempotency_key, payload, payload_hash, case_no, state, stage, attempts, next_at, \
         lease_until, unknown_outcome, last_error, created_at, delivered_at"
    };
}

macro_rules! select_handoff {
    ($tail:literal) => {
        sql(concat!("SELECT ", handoff_columns!(), " FROM handoff ", $tail))
    };
}

/// Writes a row behind the others of its item; its id. The same key again gives the same row.
pub(crate) async fn insert(c: &mut Conn, item: Id, new: NewHandoff, now: i64) -> Result<Id> {
    limits::text("target", &new.target, SHORT_TEXT_CHARS_MAX)?;
    c.lock(format!("item:{item}")).await?;
    let last = sql("SELECT COALESCE(MAX(ord), 0), MAX(case_no) FROM handoff WHERE item = $1");
    let (ord, case_no): (i64, Option<String>) = c.one(last.bind(item)).await?;
    let ord = ord + 1;
    let target = target_of(c, item, &new).await?;
    let key = new.idempotency_key.unwrap_or_else(|| format!("{item}:{ord}:{}", new.kind));
    limits::text("idempotency_key", &key, SHORT_TEXT_CHARS_MAX)?;
    let known = sql("SELECT id FROM handoff WHERE idempotency_key = $1").bind(key.as_str());
    if let Some(IdRow { id }) = c.opt(known).await? {
        return Ok(id);
    }
    // What was merged or void before it was handed off makes no case of its own.
    let out = sql("SELECT id FROM item WHERE id = $1 AND (merged_into IS NOT NULL OR state = $2)");
    let out = out.bind(item).bind(ItemState::Void);
    let withdrawn = new.kind == HandoffKind::Create && c.opt::<IdRow>(out).await?.is_some();
    let state = if withdrawn { HandoffState::Withdrawn } else { HandoffState::Pending };
    write(c, item, Row { ord, target, kind: new.kind, key, payload: &new.payload, case_no, state }, now).await
}

/// As [`insert`], of an item made in this very transaction: nothing else can be there.
pub(crate) async fn insert_first(c: &mut Conn, item: Id, new: NewHandoff, now: i64) -> Result<Id> {
    limits::text("target", &new.target, SHORT_TEXT_CHARS_MAX)?;
    let key = new.idempotency_key.unwrap_or_else(|| format!("{item}:1:{}", new.kind));
    limits::text("idempotency_key", &key, SHORT_TEXT_CHARS_MAX)?;
    let (target, kind, payload) = (new.target, new.kind, &new.payload);
    write(c, item, Row { ord: 1, target, kind, key, payload, case_no: None, state: HandoffState::Pending }, now).await
}

/// What a row is made of.
struct Row<'a> {
    ord: i64,
    target: String,
    kind: HandoffKind,
    key: String,
    payload: &'a Value,
    case_no: Option<String>,
    state: HandoffState,
}

async fn write(c: &mut Conn, item: Id, row: Row<'_>, now: i64) -> Result<Id> {
    let payload = limits::json("payload", row.payload)?;
    let id = Id::new();
    let query = sql("INSERT INTO handoff (id, item, ord, target, kind, idempotency_key, payload, \
         payload_hash, case_no, state, attempts, next_at, unknown_outcome, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, $11, $12, $11)")
    .bind(id)
    .bind(item)
    .bind(row.ord)
    .bind(row.target)
    .bind(row.kind)
    .bind(row.key)
    .bind(payload.as_str())
    .bind(audit::hex(Sha256::new_with_prefix(payload.as_bytes())))
    .bind(row.case_no)
    .bind(row.state)
    .bind(now)
    .bind(false);
    c.run(query).await?;
    Ok(id)
}

/// Where a row goes: a new case to the case core in force, anything else to the one that has the case.
async fn target_of(c: &mut Conn, item: Id, new: &NewHandoff) -> Result<String> {
    let first = sql("SELECT target FROM handoff WHERE item = $1 AND kind = $2 ORDER BY ord LIMIT 1")
        .bind(item)
        .bind(HandoffKind::Create);
    let known: Option<(String,)> = if new.kind == HandoffKind::Create { None } else { c.opt(first).await? };
    Ok(known.map_or_else(|| new.target.clone(), |(target,)| target))
}

async fn claim(c: &mut Conn, target: String, now: i64, lease_ms: i64, limit: i64) -> Result<Vec<Handoff>> {
    let pick = sql_claim!(
        "SELECT h.id FROM handoff h WHERE h.state = '待发' AND h.target = $3 AND h.next_at <= $1 \
         AND (h.lease_until IS NULL OR h.lease_until <= $1) \
         AND NOT EXISTS (SELECT 1 FROM handoff e WHERE e.item = h.item AND e.ord < h.ord \
             AND e.state NOT IN ('已收', '已撤')) ORDER BY h.next_at, h.id LIMIT $2"
    )
    .bind(now)
    .bind(limits::claim(limit))
    .bind(target);
    let ids: Vec<IdRow> = c.all(pick).await?;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    macro_rules! take {
        ($ids:expr) => {
            // A lease still on the row is one that ran out: its holder died while sending.
            concat!(
                "UPDATE handoff SET attempts = attempts + 1, lease_until = $2, \
                 unknown_outcome = (unknown_outcome OR lease_until IS NOT NULL) WHERE id ",
                $ids,
                " RETURNING ",
                handoff_columns!()
            )
        };
    }
    let take = sql_each(take!("IN (SELECT value FROM json_each($1))"), take!(pg_listed!()));
    let take = take.bind(bulk::ids(ids.into_iter().map(|row| row.id))).bind(now + lease_ms);
    let mut rows: Vec<Handoff> = c.all(take).await?;
    rows.sort_by_key(|row| (row.next_at, row.id));
    Ok(rows)
}

async fn delivered(c: &mut Conn, id: Id, case_no: String, at: i64) -> Result<bool> {
    let query = sql("UPDATE handoff SET state = $2, case_no = $3, delivered_at = $4, \
         lease_until = NULL, last_error = NULL, unknown_outcome = $5 \
         WHERE id = $1 AND state <> $2")
    .bind(id)
    .bind(HandoffState::Delivered)
    .bind(case_no.as_str())
    .bind(at)
    .bind(false);
    let fresh = c.run(query).await? > 0;
    let row: Handoff = c.one(select_handoff!("WHERE id = $1").bind(id)).await?;
    if !fresh || row.kind != HandoffKind::Create {
        return Ok(fresh);
    }
    // What follows for this item needs the number.
    let query = sql("UPDATE handoff SET case_no = $2 WHERE item = $1 AND target = $3 \
                     AND case_no IS NULL")
    .bind(row.item)
    .bind(case_no)
    .bind(row.target);
    c.run(query).await?;
    let state = item::load(c, row.item).await?.state;
    if matches!(state, ItemState::Registered | ItemState::Verifying | ItemState::PreFiled) {
        item::set_state(c, row.item, ItemState::HandedOff, at).await?;
    }
    Ok(true)
}

/// Takes back the creation of a case nobody was told of yet.
pub(crate) async fn withdraw(c: &mut Conn, item: Id) -> Result<()> {
    let query = sql("UPDATE handoff SET state = $2 WHERE item = $1 AND kind = $3 AND state = $4 \
                     AND attempts = 0 AND lease_until IS NULL")
    .bind(item)
    .bind(HandoffState::Withdrawn)
    .bind(HandoffKind::Create)
    .bind(HandoffState::Pending);
    c.run(query).await.map(|_| ())
}

/// Sends after all what was withdrawn.
pub(crate) async fn restore(c: &mut Conn, item: Id, now: i64) -> Result<()> {
    let query = sql("UPDATE handoff SET state = $2, next_at = $3 WHERE item = $1 AND state = $4")
        .bind(item)
        .bind(HandoffState::Pending)
        .bind(now)
        .bind(HandoffState::Withdrawn);
    c.run(query).await.map(|_| ())
}

/// Whether the case core has, or will get, the case of an item.
pub(crate) async fn is_known(c: &mut Conn, item: Id) -> Result<bool> {
    let query = sql("SELECT id FROM handoff WHERE item = $1 AND kind = $2 AND state <> $3 LIMIT 1")
        .bind(item)
        .bind(HandoffKind::Create)
        .bind(HandoffState::Withdrawn);
    Ok(c.opt::<IdRow>(query).await?.is_some())
}

/// Whether the creation of an item's case left already, or may have.
pub(crate) async fn was_sent(c: &mut Conn, item: Id) -> Result<bool> {
    let query = sql("SELECT id FROM handoff WHERE item = $1 AND kind = $2 AND state <> $3 AND attempts > 0 LIMIT 1")
        .bind(item)
        .bind(HandoffKind::Create)
        .bind(HandoffState::Withdrawn);
    Ok(c.opt::<IdRow>(query).await?.is_some())
}

/// What the case core is told of an item that has grown; asked inside the transaction.
pub type ItemNote = fn(&Item) -> Value;

/// How long a note waits for more of what it tells (ms).
const NOTE_QUIET_MS: i64 = 30_000;
/// Merges one above the other at most.
const MERGES_MAX: usize = 16;

/// Tells the case core what an item says now, behind what it was told before. One note waits at most
/// and is written anew meanwhile; nothing is said of an item the case core never hears of.
pub(crate) async fn note(c: &mut Conn, item: &Item, payload: Value, is_urgent: bool, now: i64) -> Result<()> {
    let (mut whose, mut above) = (item.id, item.merged_into);
    for _ in 0..MERGES_MAX {
        if is_known(c, whose).await? {
            break;
        }
        let Some(next) = above else { return Ok(()) };
        (whose, above) = (next, item::load(c, next).await?.merged_into);
    }
    if !is_known(c, whose).await? {
        return Ok(());
    }
    c.lock(format!("item:{whose}")).await?;
    let at = if is_urgent { now } else { now + NOTE_QUIET_MS };
    let text = limits::json("payload", &payload)?;
    let waiting = sql("UPDATE handoff SET payload = $3, payload_hash = $4, \
         next_at = CASE WHEN next_at > $5 THEN $5 ELSE next_at END \
         WHERE item = $1 AND idempotency_key LIKE $2 AND state = '待发' AND attempts = 0 AND lease_until IS NULL")
    .bind(whose)
    .bind(format!("note:{}:%", item.id))
    .bind(text.as_str())
    .bind(audit::hex(Sha256::new_with_prefix(text.as_bytes())))
    .bind(at);
    if c.run(waiting).await? > 0 {
        return Ok(());
    }
    let key = format!("note:{}:{}", item.id, Id::new());
    // The target is the one that has the case.
    let new = NewHandoff { target: String::new(), kind: HandoffKind::Remind, payload, idempotency_key: Some(key) };
    let id = insert(c, whose, new, now).await?;
    c.run(sql("UPDATE handoff SET next_at = $2 WHERE id = $1").bind(id).bind(at)).await.map(|_| ())
}

impl Store {
    /// Writes a row of the outbox for an item; the same idempotency key again changes nothing.
    ///
    /// # Errors
    /// [`DbError::NotFound`] when there is no such item.
    pub async fn handoff_add(&self, item: Id, new: NewHandoff, now: i64) -> Result<Handoff> {
        self.write(move |c| {
            Box::pin(async move {
                let id = insert(c, item, new, now).await?;
                c.one(select_handoff!("WHERE id = $1").bind(id)).await
            })
        })
        .await
    }

    /// Leases up to `limit` rows for the case core `target` that are due. A row is never given out
    /// while an earlier one of its item is undelivered, nor to another case core than its own.
    ///
    /// # Errors
    /// As any write.
    pub async fn handoff_claim(&self, target: &str, now: i64, lease_ms: i64, limit: i64) -> Result<Vec<Handoff>> {
        let target = target.to_owned();
        self.write(move |c| Box::pin(claim(c, target, now, lease_ms, limit))).await
    }

    /// Notes that the case core has it, under `case_no`. For a creation the item becomes 已移交.
    /// `false` when that was known before.
    ///
    /// # Errors
    /// [`DbError::NotFound`] when there is no such row.
    pub async fn handoff_delivered(&self, id: Id, case_no: &str, at: i64) -> Result<bool> {
        limits::text("case_no", case_no, SHORT_TEXT_CHARS_MAX)?;
        let case_no = case_no.to_owned();
        if let Some(gather) = self.deliveries_gathered() {
            let job = Delivery { id, case_no: case_no.clone(), at };
            if let Some(fresh) = gather.take(job, None).await? {
                return Ok(fresh);
            }
        }
        self.write(move |c| Box::pin(delivered(c, id, case_no, at))).await
    }

    /// Gives a row back for another attempt at `next_at`; `false` when it is no longer pending.
    /// `unknown_outcome`: it may have arrived, ask before sending again.
    ///
    /// # Errors
    /// As any write.
    pub async fn handoff_retry(&self, id: Id, next_at: i64, error: &str, unknown_outcome: bool) -> Result<bool> {
        let query = sql("UPDATE handoff SET next_at = $2, lease_until = NULL, last_error = $3, \
                         unknown_outcome = $4 WHERE id = $1 AND state = '待发'")
        .bind(id)
        .bind(next_at)
        .bind(limits::error_text(error))
        .bind(unknown_outcome);
        self.write(|c| Box::pin(async move { Ok(c.run(query).await? > 0) })).await
    }

    /// Gives a row up until [`Store::handoff_requeue`]; `false` when it is no longer pending.
    ///
    /// # Errors
    /// As any write.
    pub async fn handoff_poison(&self, id: Id, error: &str) -> Result<bool> {
        let query = sql("UPDATE handoff SET state = $2, lease_until = NULL, last_error = $3 \
                         WHERE id = $1 AND state = '待发'")
        .bind(id)
        .bind(HandoffState::Poisoned)
        .bind(limits::error_text(error));
        self.write(|c| Box::pin(async move { Ok(c.run(query).await? > 0) })).await
    }

    /// Sends a poisoned row again from `at`; `false` when it isn't poisoned.
    ///
    /// # Errors
    /// As any write.
    pub async fn handoff_requeue(&self, id: Id, at: i64) -> Result<bool> {
        let query = sql("UPDATE handoff SET state = '待发', next_at = $2, attempts = 0 \
                         WHERE id = $1 AND state = $3")
        .bind(id)
        .bind(at)
        .bind(HandoffState::Poisoned);
        self.write(|c| Box::pin(async move { Ok(c.run(query).await? > 0) })).await
    }

    /// The rows of an item in their order.
    ///
    /// # Errors
    /// As any read.
    pub async fn handoffs_of_item(&self, item: Id) -> Result<Vec<Handoff>> {
        let query = select_handoff!("WHERE item = $1 ORDER BY ord");
        self.reader().await?.all(query.bind(item)).await
    }

    /// The rows the case core hasn't got yet, oldest first: what waits and what was given up.
    ///
    /// # Errors
    /// As any read.
    pub async fn handoffs_undelivered(&self, limit: i64) -> Result<Vec<Handoff>> {
        let query = select_handoff!("WHERE state <> '已收' AND state <> '已撤' ORDER BY created_at, id LIMIT $1");
        self.reader().await?.all(query.bind(limits::page(limit))).await
    }

    /// How much the case core hasn't got yet; cheap, however long the history is.
    ///
    /// # Errors
    /// As any read.
    pub async fn handoff_backlog(&self) -> Result<HandoffBacklog> {
        let query = sql("SELECT state, COUNT(*), MIN(created_at) FROM handoff WHERE state <> '已收' \
             AND state <> '已撤' GROUP BY state");
        let mut backlog = HandoffBacklog::default();
        for (state, n, oldest) in self.reader().await?.all::<(HandoffState, i64, i64)>(query).await? {
            match state {
                HandoffState::Pending => (backlog.pending, backlog.oldest_pending_at) = (n, Some(oldest)),
                HandoffState::Poisoned => backlog.poisoned = n,
                HandoffState::Delivered | HandoffState::Withdrawn => {}
            }
        }
        Ok::<_, DbError>(backlog)
    }

    /// How many rows are in each state.
    ///
    /// # Errors
    /// As any read.
    pub async fn handoff_counts(&self) -> Result<HandoffCounts> {
        let query = sql("SELECT state, COUNT(*) FROM handoff GROUP BY state");
        let mut counts = HandoffCounts::default();
        for (state, n) in self.reader().await?.all::<(HandoffState, i64)>(query).await? {
            match state {
                HandoffState::Pending => counts.pending = n,
                HandoffState::Delivered => counts.delivered = n,
                HandoffState::Poisoned => counts.poisoned = n,
                HandoffState::Withdrawn => counts.withdrawn = n,
            }
        }
        Ok::<_, DbError>(counts)
    }
}

//! Calls: begun, patched while they run, ended exactly once.

use serde::Serialize;
use serde_json::json;
use sqlx::FromRow;

use crate::{
    call_event,
    callback::{self, CallbackKind, NewCallback},
    callback_claim,
    conn::Conn,
    contact::{self, NewContact},
    error::{DbError, Result},
    id::Id,
    limits,
    pool::Store,
    sql::sql,
    text::words,
};

words! {
    /// Who began a contact.
    Direction {
        /// The citizen.
        Inbound = "inbound",
        /// The hotline.
        Outbound = "outbound",
    }
}

words! {
    /// Who ended a call.
    EndSide {
        /// The citizen hung up.
        Citizen = "citizen",
        /// The operator hung up.
        Operator = "operator",
        /// The line went away.
        Network = "network",
        /// The gateway ended it (survey over, restart after a crash …).
        System = "system",
    }
}

/// A call with its contact's fields.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct Call {
    /// Row id.
    pub id: Id,
    /// Its contact.
    pub contact: Id,
    /// Global arrival sequence of the contact.
    pub seq: i64,
    /// Who called whom.
    pub direction: Direction,
    /// Channel of the contact, `phone`.
    pub channel: String,
    /// The citizen.
    pub party: Option<Id>,
    /// The item the call belongs to.
    pub item: Option<Id>,
    /// The hotline number called, or shown when we call.
    pub did: String,
    /// The citizen's number, masked.
    pub caller_masked: String,
    /// The trunk.
    pub trunk: Option<String>,
    /// Call-ID of the citizen's leg (RFC 3261 §8.1.1.4).
    pub sip_call_id: String,
    /// The gateway that drives the call.
    pub node: String,
    /// Arrival of the INVITE, or its sending.
    pub ring_at: i64,
    /// 200 OK to, or from, the citizen.
    pub answer_at: Option<i64>,
    /// Entry into the queue.
    pub queue_at: Option<i64>,
    /// An operator is through.
    pub operator_answer_at: Option<i64>,
    /// The end.
    pub end_at: Option<i64>,
    /// Time in the queue.
    pub wait_ms: Option<i64>,
    /// Time with operators, holds included.
    pub talk_ms: Option<i64>,
    /// Time on hold.
    pub hold_ms: Option<i64>,
    /// The operator's wrap-up (话后).
    pub wrap_ms: Option<i64>,
    /// The queue.
    pub queue: Option<String>,
    /// The operator who answered last.
    pub operator: Option<Id>,
    /// Who ended it.
    pub end_side: Option<EndSide>,
    /// Why it ended.
    pub end_reason: Option<String>,
    /// Where the call is, or was last: a word of the call driver.
    pub stage: String,
    /// Where the citizen gave up.
    pub stage_abandoned: Option<String>,
    /// Codec of the citizen's leg.
    pub codec: Option<String>,
    /// Estimated listening quality, 1–5.
    pub mos: Option<f64>,
}

crate::lite::row!(Call {
    id,
    contact,
    seq,
    direction,
    channel,
    party,
    item,
    did,
    caller_masked,
    trunk,
    sip_call_id,
    node,
    ring_at,
    answer_at,
    queue_at,
    operator_answer_at,
    end_at,
    wait_ms,
    talk_ms,
    hold_ms,
    wrap_ms,
    queue,
    operator,
    end_side,
    end_reason,
    stage,
    stage_abandoned,
    codec,
    mos
});

/// A call that begins.
#[derive(Debug, Clone)]
pub struct NewCall {
    /// Who calls whom.
    pub direction: Direction,
    /// Channel of the contact, `phone`.
    pub channel: String,
    /// The hotline number.
    pub did: String,
    /// The citizen's number, masked.
    pub caller_masked: String,
    /// The citizen, if known.
    pub party: Option<Id>,
    /// The trunk.
    pub trunk: Option<String>,
    /// Call-ID of the citizen's leg.
    pub sip_call_id: String,
    /// The gateway that drives the call.
    pub node: String,
    /// Now.
    pub at: i64,
}

/// Fields to set; `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs, reason = "the fields are those of `Call`")]
pub struct CallPatch {
    pub answer_at: Option<i64>,
    pub queue_at: Option<i64>,
    pub operator_answer_at: Option<i64>,
    pub queue: Option<String>,
    pub operator: Option<Id>,
    pub codec: Option<String>,
    pub stage: Option<String>,
    pub wait_ms: Option<i64>,
    pub wrap_ms: Option<i64>,
    pub mos: Option<f64>,
    pub sip_call_id: Option<String>,
}

/// How a call ended.
#[derive(Debug, Clone)]
pub struct CallEnd {
    /// When.
    pub at: i64,
    /// By whom.
    pub end_side: EndSide,
    /// Why.
    pub end_reason: String,
    /// Where the citizen gave up, if so.
    pub stage_abandoned: Option<String>,
    /// Time in the queue; `None` keeps what a patch set.
    pub wait_ms: Option<i64>,
    /// Time with operators.
    pub talk_ms: Option<i64>,
    /// Time on hold.
    pub hold_ms: Option<i64>,
    /// Wrap-up, if known already.
    pub wrap_ms: Option<i64>,
    /// The call to give back, for a missed call; party and call are filled in from the call.
    pub missed: Option<NewCallback>,
    /// An operator talked with the citizen who called: older missed and queued calls of theirs
    /// need no callback any more.
    pub served: bool,
}

/// Which calls to list, newest first.
#[derive(Debug, Clone, Default)]
pub struct CallFilter {
    /// Page length, 1 to 200.
    pub limit: i64,
    /// Only calls with a lower sequence: the last one of the page before.
    pub before_seq: Option<i64>,
    /// Only this direction.
    pub direction: Option<Direction>,
    /// Only calls of this operator.
    pub operator: Option<Id>,
    /// Only calls of this citizen.
    pub party: Option<Id>,
    /// Only calls of this item.
    pub item: Option<Id>,
}

macro_rules! select_call {
    ($tail:expr) => {
        sql(concat!(
            "SELECT c.id, c.contact, k.seq, k.direction, k.channel, k.party, k.item, c.did, \
             c.caller_masked, c.trunk, c.sip_call_id, c.node, c.ring_at, c.answer_at, c.queue_at, \
             c.operator_answer_at, c.end_at, c.wait_ms, c.talk_ms, c.hold_ms, c.wrap_ms, c.queue, \
             c.operator, c.end_side, c.end_reason, c.stage, c.stage_abandoned, c.codec, c.mos \
             FROM call c JOIN contact k ON k.id = c.contact ",
            $tail
        ))
    };
}

/// The call, or [`DbError::NotFound`].
pub(crate) async fn load(c: &mut Conn, id: Id) -> Result<Call> {
    c.one(select_call!("WHERE c.id = $1").bind(id)).await
}

async fn begin(c: &mut Conn, new: NewCall) -> Result<Call> {
    let contact = contact::insert(
        c,
        NewContact {
            channel: new.channel,
            direction: new.direction,
            arrived_at: new.at,
            provider_time: None,
            party: new.party,
            raw_ref: None,
        },
    )
    .await?;
    let id = Id::new();
    let insert = sql("INSERT INTO call (id, contact, did, caller_masked, trunk, sip_call_id, \
                      node, ring_at, stage) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)")
    .bind(id)
    .bind(contact.id)
    .bind(new.did)
    .bind(new.caller_masked)
    .bind(new.trunk)
    .bind(new.sip_call_id)
    .bind(new.node)
    .bind(new.at)
    .bind("ringing");
    c.run(insert).await?;
    let data = json!({"seq": contact.seq, "direction": new.direction});
    call_event::insert(c, id, new.at, "begin", &data).await?;
    load(c, id).await
}

async fn end(c: &mut Conn, id: Id, end: CallEnd) -> Result<bool> {
    let update = sql("UPDATE call SET end_at = $2, end_side = $3, end_reason = $4, \
         stage_abandoned = $5, wait_ms = COALESCE($6, wait_ms), \
         talk_ms = COALESCE($7, talk_ms), hold_ms = COALESCE($8, hold_ms), \
         wrap_ms = COALESCE($9, wrap_ms) WHERE id = $1 AND end_at IS NULL")
    .bind(id)
    .bind(end.at)
    .bind(end.end_side)
    .bind(end.end_reason.as_str())
    .bind(end.stage_abandoned.clone())
    .bind(end.wait_ms)
    .bind(end.talk_ms)
    .bind(end.hold_ms)
    .bind(end.wrap_ms);
    if c.run(update).await? == 0 {
        load(c, id).await?;
        return Ok(false);
    }
    c.run(sql("DELETE FROM queue_entry WHERE call = $1").bind(id)).await?;
    let mut data = json!({
        "side": end.end_side,
        "reason": end.end_reason,
        "stage_abandoned": end.stage_abandoned,
    });
    // Cut off in the talk they were not served: the new miss joins the old one below.
    let cut = end.missed.as_ref().is_some_and(|m| m.kind == CallbackKind::Missed);
    if end.served
        && !cut
        && let Some(party) = load(c, id).await?.party
    {
        data["callbacks_cancelled"] = json!(callback_claim::cancel_owed(c, party, end.at).await?);
    }
    if let Some(mut missed) = end.missed {
        let call = load(c, id).await?;
        missed.party = missed.party.or(call.party);
        missed.call = missed.call.or(Some(id));
        // A further missed call of a citizen we already owe one joins that task.
        let (task, created) = callback::insert(c, missed, end.at).await?;
        data["callback_task"] = json!(task.id);
        data["callback_created"] = json!(created);
    }
    call_event::insert(c, id, end.at, "end", &data).await?;
    Ok(true)
}

/// Writes what a patch names and leaves the rest.
pub(crate) async fn apply_patch(c: &mut Conn, call: Id, patch: CallPatch) -> Result<()> {
    let query = sql("UPDATE call SET answer_at = COALESCE($2, answer_at), \
         queue_at = COALESCE($3, queue_at), \
         operator_answer_at = COALESCE($4, operator_answer_at), \
         queue = COALESCE($5, queue), operator = COALESCE($6, operator), \
         codec = COALESCE($7, codec), stage = COALESCE($8, stage), \
         wait_ms = COALESCE($9, wait_ms), wrap_ms = COALESCE($10, wrap_ms), \
         mos = COALESCE($11, mos), sip_call_id = COALESCE($12, sip_call_id) WHERE id = $1")
    .bind(call)
    .bind(patch.answer_at)
    .bind(patch.queue_at)
    .bind(patch.operator_answer_at)
    .bind(patch.queue)
    .bind(patch.operator)
    .bind(patch.codec)
    .bind(patch.stage)
    .bind(patch.wait_ms)
    .bind(patch.wrap_ms)
    .bind(patch.mos)
    .bind(patch.sip_call_id);
    match c.run(query).await? {
        0 => Err(DbError::NotFound),
        _ => Ok(()),
    }
}

impl Store {
    /// Stores a call with its contact, its arrival number and its first event.
    ///
    /// # Errors
    /// [`DbError::NotFound`] when the party does not exist.
    pub async fn call_begin(&self, new: NewCall) -> Result<Call> {
        limits::text("did", &new.did, limits::SHORT_TEXT_CHARS_MAX)?;
        limits::text("sip_call_id", &new.sip_call_id, limits::SHORT_TEXT_CHARS_MAX)?;
        self.write(|c| Box::pin(begin(c, new))).await
    }

    /// Sets fields of a call.
    ///
    /// # Errors
    /// [`DbError::NotFound`] when there is no such call.
    pub async fn call_patch(&self, call: Id, patch: CallPatch) -> Result<()> {
        self.write(move |c| Box::pin(apply_patch(c, call, patch))).await
    }

    /// Ends a call: the row, its last event, its place in the queue and, for a missed call, the
    /// task to call back, in one transaction. A citizen who was served is owed no call for what
    /// was missed before: those tasks end as 已取消. `false` if it had ended before; then nothing changes.
    ///
    /// # Errors
    /// [`DbError::NotFound`] when there is no such call.
    pub async fn call_end(&self, call: Id, how: CallEnd) -> Result<bool> {
        limits::text("end_reason", &how.end_reason, limits::SHORT_TEXT_CHARS_MAX)?;
        self.write(move |c| Box::pin(end(c, call, how))).await
    }

    /// The calls without an end, oldest first; with `node`, only those this gateway drove.
    ///
    /// # Errors
    /// As any read.
    pub async fn calls_open(&self, node: Option<&str>) -> Result<Vec<Call>> {
        let query = select_call!("WHERE c.end_at IS NULL AND ($1 IS NULL OR c.node = $1) ORDER BY k.seq");
        self.reader().await?.all(query.bind(node)).await
    }

    /// A call by id.
    ///
    /// # Errors
    /// As any read.
    pub async fn call_get(&self, id: Id) -> Result<Option<Call>> {
        self.reader().await?.opt(select_call!("WHERE c.id = $1").bind(id)).await
    }

    /// Calls, newest first.
    ///
    /// # Errors
    /// As any read.
    pub async fn calls(&self, filter: CallFilter) -> Result<Vec<Call>> {
        let query = select_call!(
            "WHERE ($1 IS NULL OR k.seq < $1) AND ($2 IS NULL OR k.direction = $2) \
             AND ($3 IS NULL OR c.operator = $3) AND ($4 IS NULL OR k.party = $4) \
             AND ($5 IS NULL OR k.item = $5) ORDER BY k.seq DESC LIMIT $6"
        )
        .bind(filter.before_seq)
        .bind(filter.direction)
        .bind(filter.operator)
        .bind(filter.party)
        .bind(filter.item)
        .bind(limits::page(filter.limit));
        self.reader().await?.all(query).await
    }
}

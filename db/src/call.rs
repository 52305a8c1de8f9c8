//! Calls: begun, patched while they run, ended exactly once.

use serde::Serialize;
use serde_json::json;
use sqlx::FromRow;

use crate::{
    call_event,
    conn::Conn,
    contact::{self, NewContact},
    error::Result,
    id::Id,
    limits,
    party::{self, Address, AddressKind},
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

/// A call that was stored.
#[derive(Debug, Clone, Copy)]
pub struct Arrived {
    /// Row id.
    pub call: Id,
    /// Its place in the global order of arrival.
    pub seq: i64,
    /// The citizen, if known.
    pub party: Option<Id>,
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
    /// Only calls that sounded worse.
    pub mos_below: Option<f64>,
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

/// The call, or [`crate::DbError::NotFound`].
pub(crate) async fn load(c: &mut Conn, id: Id) -> Result<Call> {
    c.one(select_call!("WHERE c.id = $1").bind(id)).await
}

async fn begin(c: &mut Conn, new: NewCall, seq: i64) -> Result<Arrived> {
    let party = new.party;
    let contact = contact::insert_as(
        c,
        seq,
        NewContact {
            channel: new.channel,
            direction: new.direction,
            arrived_at: new.at,
            provider_time: None,
            party,
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
    call_event::insert_first(c, id, new.at, "begin", &data).await?;
    Ok(Arrived { call: id, seq: contact.seq, party })
}

impl Store {
    /// Stores a call with its contact, its arrival number and its first event.
    ///
    /// # Errors
    /// [`crate::DbError::NotFound`] when the party does not exist.
    pub async fn call_begin(&self, new: NewCall) -> Result<Call> {
        limits::text("did", &new.did, limits::SHORT_TEXT_CHARS_MAX)?;
        limits::text("sip_call_id", &new.sip_call_id, limits::SHORT_TEXT_CHARS_MAX)?;
        self.write(|c| {
            Box::pin(async move {
                let seq = contact::next_seq(c).await?;
                let id = begin(c, new, seq).await?.call;
                load(c, id).await
            })
        })
        .await
    }

    /// As [`Store::call_begin`], with the citizen who calls: one transaction makes them known, if
    /// new, and stores the call, whose `party` it fills in.
    ///
    /// # Errors
    /// As [`Store::call_begin`].
    pub async fn call_arrive(&self, caller: Option<Address>, mut new: NewCall) -> Result<Arrived> {
        limits::text("did", &new.did, limits::SHORT_TEXT_CHARS_MAX)?;
        limits::text("sip_call_id", &new.sip_call_id, limits::SHORT_TEXT_CHARS_MAX)?;
        self.write(|c| {
            Box::pin(async move {
                let known = match &caller {
                    Some(caller) => party::find(c, AddressKind::Phone, &caller.hash).await?,
                    None => None,
                };
                // The counter before a new citizen, as messages take them: two that come at once must not wait
                // for each other.
                let seq = contact::next_seq(c).await?;
                new.party = match (known, caller) {
                    (None, Some(caller)) => Some(party::added(c, AddressKind::Phone, caller).await?),
                    (known, _) => known.or(new.party),
                };
                begin(c, new, seq).await
            })
        })
        .await
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
             AND ($5 IS NULL OR k.item = $5) AND ($6 IS NULL OR c.mos < $6) ORDER BY k.seq DESC LIMIT $7"
        )
        .bind(filter.before_seq)
        .bind(filter.direction)
        .bind(filter.operator)
        .bind(filter.party)
        .bind(filter.item)
        .bind(filter.mos_below)
        .bind(limits::page(filter.limit));
        self.reader().await?.all(query).await
    }
}

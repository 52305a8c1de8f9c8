//! What figures are worked out from: calls with their events, wrap-up intervals, calls owed, verdicts. Read by time;
//! the formulas are the gateway's (`measure`).

use std::collections::BTreeMap;

use sqlx::FromRow;

use crate::{
    bulk,
    call::Direction,
    call_event::CallEvent,
    callback::{CallbackKind, CallbackResult},
    case_event::CaseStage,
    error::Result,
    handoff::HandoffKind,
    id::Id,
    incident::pg_listed,
    item::ItemState,
    item_list::ContactRole,
    pool::Store,
    sql::{Sql, sql, sql_each},
    survey::Solved,
    work::WorkResult,
};

/// Calls read at once.
pub const MEASURED_CALLS_MAX: i64 = 500;
/// Whose matter comes up again within so long wasn't served by the first contact.
const AGAIN_MS: i64 = 7 * 24 * 3_600_000;
/// Two places given as points are one if they are no farther apart (degrees): a cell of `incident_key`.
const SAME_LAT: f64 = 0.0015;
/// The same for longitudes.
const SAME_LON: f64 = 0.002;
/// Kinds that ask for nothing.
const NO_MATTER: [&str; 2] = ["无效", "骚扰"];

/// A call as figures see one.
#[derive(Debug, Clone, FromRow)]
pub struct MeasuredCall {
    /// Row id.
    pub id: Id,
    /// Who called whom.
    pub direction: Direction,
    /// The hotline number.
    pub did: String,
    /// Arrival of the INVITE (epoch ms).
    pub ring_at: i64,
    /// 200 OK to the citizen.
    pub answer_at: Option<i64>,
}

crate::lite::row!(MeasuredCall { id, direction, did, ring_at, answer_at });

/// A stretch of 话后.
#[derive(Debug, Clone, FromRow)]
pub struct MeasuredWrap {
    /// The operator.
    pub operator: Id,
    /// Its beginning (epoch ms).
    pub from_at: i64,
    /// Its end; `None` while it lasts.
    pub to_at: Option<i64>,
}

crate::lite::row!(MeasuredWrap { operator, from_at, to_at });

/// A call owed to a citizen.
#[derive(Debug, Clone, FromRow)]
pub struct MeasuredTask {
    /// Why.
    pub kind: CallbackKind,
    /// How it ended.
    pub result: Option<CallbackResult>,
    /// When it was made (epoch ms).
    pub created_at: i64,
    /// Its first attempt that counts.
    pub tried_at: Option<i64>,
    /// Its end.
    pub finished_at: Option<i64>,
}

crate::lite::row!(MeasuredTask { kind, result, created_at, tried_at, finished_at });

/// A verdict.
#[derive(Debug, Clone, FromRow)]
pub struct MeasuredSurvey {
    /// The task it was asked for by, about a finished case; `None`: it is about the talk just had.
    pub task: Option<Id>,
    /// Somebody contacted the citizen.
    pub contacted: Option<bool>,
    /// Whether it is solved.
    pub solved: Option<Solved>,
    /// 1 to 5, 1 the best.
    pub satisfied: Option<i64>,
}

crate::lite::row!(MeasuredSurvey { task, contacted, solved, satisfied });

/// Calls behind a place in their order.
fn calls_behind((at, id): (i64, Option<Id>), to: i64) -> Sql {
    sql("SELECT c.id, k.direction, c.did, c.ring_at, c.answer_at FROM call c JOIN contact k ON k.id = c.contact \
         WHERE (c.ring_at, c.id) > ($1, $2) AND c.ring_at < $3 ORDER BY c.ring_at, c.id LIMIT $4")
    .bind(at)
    .bind(id.map(|id| id.to_string()).unwrap_or_default())
    .bind(to)
    .bind(MEASURED_CALLS_MAX)
}

fn events_of(calls: &[MeasuredCall]) -> Sql {
    macro_rules! select {
        ($listed:expr) => {
            concat!("SELECT id, call, n, at, kind, data FROM call_event WHERE call ", $listed, " ORDER BY call, n")
        };
    }
    sql_each(select!("IN (SELECT value FROM json_each($1))"), select!(pg_listed!()))
        .bind(bulk::ids(calls.iter().map(|call| call.id)))
}

fn wraps(from: i64, to: i64) -> Sql {
    // The word stands here for the index of such rows.
    sql("SELECT operator, from_at, to_at FROM operator_state \
         WHERE state = 'wrap_up' AND from_at >= $1 AND from_at < $2 ORDER BY from_at")
    .bind(from)
    .bind(to)
}

/// Items handed to the case core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct MeasuredHandoffs {
    /// Received by it.
    pub handed: i64,
    /// … and sent back to us at least once.
    pub returned: i64,
}

crate::lite::row!(MeasuredHandoffs { handed, returned });

/// Items of known citizens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct MeasuredItems {
    /// All of them but void ones, and what was no matter at all.
    pub items: i64,
    /// Of these, answered directly: never handed to the case core, or answered by who worked on them.
    pub answered: i64,
    /// Of those, the citizen came again with the same class and place within 7 days, or urged.
    pub again: i64,
}

crate::lite::row!(MeasuredItems { items, answered, again });

fn first_contacts(from: i64, to: i64) -> Sql {
    sql("SELECT COUNT(*) AS items, CAST(COALESCE(SUM(t.direct), 0) AS BIGINT) AS answered, \
         CAST(COALESCE(SUM(CASE WHEN t.direct = 1 AND (\
         EXISTS (SELECT 1 FROM item_contact x JOIN contact k ON k.id = x.contact WHERE x.item = t.id \
         AND k.party = t.party AND k.direction = 'inbound' AND x.role <> $3 AND x.role <> $4 \
         AND k.arrived_at > t.created_at AND k.arrived_at <= t.created_at + $5) \
         OR EXISTS (SELECT 1 FROM item o WHERE o.party = t.party AND o.id <> t.id \
         AND o.created_at > t.created_at AND o.created_at <= t.created_at + $5 \
         AND COALESCE(o.class_code, '') = COALESCE(t.class_code, '') \
         AND (COALESCE(o.location_text, '') = COALESCE(t.location_text, '') \
         OR (ABS(o.lat - t.lat) <= $6 AND ABS(o.lon - t.lon) <= $7)))) \
         THEN 1 ELSE 0 END), 0) AS BIGINT) AS again \
         FROM (SELECT i.id, i.party, i.class_code, i.location_text, i.lat, i.lon, i.created_at, \
         CASE WHEN EXISTS (SELECT 1 FROM work w WHERE w.item = i.id AND w.result = $8) \
         OR NOT EXISTS (SELECT 1 FROM handoff h WHERE h.item = i.id AND h.kind = $9) THEN 1 ELSE 0 END AS direct \
         FROM item i WHERE i.created_at >= $1 AND i.created_at < $2 AND i.party IS NOT NULL \
         AND i.merged_into IS NULL AND i.state <> $10 AND i.kind NOT IN ($11, $12)) AS t")
    .bind(from)
    .bind(to)
    .bind(ContactRole::First)
    .bind(ContactRole::Supplement)
    .bind(AGAIN_MS)
    .bind(SAME_LAT)
    .bind(SAME_LON)
    .bind(WorkResult::Answered)
    .bind(HandoffKind::Create)
    .bind(ItemState::Void)
    .bind(NO_MATTER[0])
    .bind(NO_MATTER[1])
}

impl Store {
    /// Up to [`MEASURED_CALLS_MAX`] calls that arrived in `[from, to)` behind the last one of the page before, in
    /// order, with all their events in order.
    ///
    /// # Errors
    /// As any read.
    pub async fn measured_calls(
        &self,
        from: i64,
        to: i64,
        after: Option<(i64, Id)>,
    ) -> Result<Vec<(MeasuredCall, Vec<CallEvent>)>> {
        let behind = after.map_or((from, None), |(at, id)| (at, Some(id)));
        let mut reader = self.reader().await?;
        let calls: Vec<MeasuredCall> = reader.all(calls_behind(behind, to)).await?;
        let mut events: BTreeMap<Id, Vec<CallEvent>> = BTreeMap::new();
        if !calls.is_empty() {
            for event in reader.all::<CallEvent>(events_of(&calls)).await? {
                events.entry(event.call).or_default().push(event);
            }
        }
        let with_events = |call: MeasuredCall| {
            let events = events.remove(&call.id).unwrap_or_default();
            (call, events)
        };
        Ok(calls.into_iter().map(with_events).collect())
    }

    /// Stretches of 话后 that began in `[from, to)`.
    ///
    /// # Errors
    /// As any read.
    pub async fn measured_wraps(&self, from: i64, to: i64) -> Result<Vec<MeasuredWrap>> {
        self.reader().await?.all(wraps(from, to)).await
    }

    /// Callback tasks made in `[from, to)`.
    ///
    /// # Errors
    /// As any read.
    pub async fn measured_tasks(&self, from: i64, to: i64) -> Result<Vec<MeasuredTask>> {
        let query = sql("SELECT t.kind, t.result, t.created_at, \
             (SELECT MIN(a.at) FROM callback_attempt a WHERE a.task = t.id AND a.counted) AS tried_at, \
             t.finished_at FROM callback_task t WHERE t.created_at >= $1 AND t.created_at < $2 ORDER BY t.created_at")
        .bind(from)
        .bind(to);
        self.reader().await?.all(query).await
    }

    /// Items whose case the case core took in `[from, to)`, whatever became of them since.
    ///
    /// # Errors
    /// As any read.
    pub async fn measured_handoffs(&self, from: i64, to: i64) -> Result<MeasuredHandoffs> {
        let query = sql("SELECT COUNT(*) AS handed, CAST(COALESCE(SUM(CASE WHEN EXISTS \
             (SELECT 1 FROM handoff_update u WHERE u.item = h.item AND u.stage = $3) THEN 1 ELSE 0 END), 0) AS BIGINT) \
             AS returned FROM handoff h WHERE h.kind = $4 AND h.delivered_at >= $1 AND h.delivered_at < $2")
        .bind(from)
        .bind(to)
        .bind(CaseStage::Returned)
        .bind(HandoffKind::Create);
        self.reader().await?.one(query).await
    }

    /// How items taken down in `[from, to)` were served by their first contact, as far as it is known by now: of an
    /// item younger than 7 days it may still turn out that it wasn't. Whose citizen isn't known isn't counted.
    ///
    /// # Errors
    /// As any read.
    pub async fn measured_items(&self, from: i64, to: i64) -> Result<MeasuredItems> {
        self.reader().await?.one(first_contacts(from, to)).await
    }

    /// Verdicts given in `[from, to)`.
    ///
    /// # Errors
    /// As any read.
    pub async fn measured_surveys(&self, from: i64, to: i64) -> Result<Vec<MeasuredSurvey>> {
        let query = sql("SELECT task, contacted, solved, satisfied FROM survey WHERE at >= $1 AND at < $2 ORDER BY at")
            .bind(from)
            .bind(to);
        self.reader().await?.all(query).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::Asked;

    const ROWS: u32 = 6_000;

    fn id(n: u32) -> Id {
        format!("01900000-0000-7000-8003-{n:012x}").parse().unwrap()
    }

    /// A call every second with two events; a wrap-up is one of fifty states.
    async fn fill(db: &mut Asked) {
        let (rows, hex) = db.rows(ROWS);
        db.run(format!(
            "INSERT INTO contact (id, channel, direction, seq, arrived_at) \
             SELECT '01900000-0000-7000-8002-' || {hex}, 'phone', 'inbound', n, n * 1000 FROM {rows}; \
             INSERT INTO call (id, contact, node, did, caller_masked, sip_call_id, stage, ring_at) \
             SELECT '01900000-0000-7000-8003-' || {hex}, '01900000-0000-7000-8002-' || {hex}, 'a', '12319', '', '', 'queue', n * 1000 \
             FROM {rows}; \
             INSERT INTO call_event (id, call, n, at, kind, data) \
             SELECT '01900000-0000-7000-8004-' || {hex}, '01900000-0000-7000-8003-' || {hex}, 1, n * 1000, 'begin', \
             '{{}}' FROM {rows}; \
             INSERT INTO call_event (id, call, n, at, kind, data) \
             SELECT '01900000-0000-7000-8005-' || {hex}, '01900000-0000-7000-8003-' || {hex}, 2, n * 1000, 'end', \
             '{{}}' FROM {rows}; \
             INSERT INTO operator_state (id, operator, state, from_at, to_at) \
             SELECT '01900000-0000-7000-8006-' || {hex}, '01900000-0000-7000-8009-000000000001', \
             CASE n % 50 WHEN 0 THEN 'wrap_up' ELSE 'ready' END, n * 1000, n * 1000 + 1000 FROM {rows}"
        ))
        .await;
    }

    async fn each_reads_little(db: &mut Asked) {
        let end = i64::from(ROWS) * 1_000;
        // The last page of a long span.
        let after = (end - 100_000, Some(id(ROWS - 100)));
        let (rows, read) = db.reads(calls_behind(after, end + 1)).await;
        assert!(rows == 100 && read <= 400, "{}: {read} read for {rows} calls", db.name());
        let call = |n| MeasuredCall {
            id: id(n),
            direction: Direction::Inbound,
            did: String::new(),
            ring_at: 0,
            answer_at: None,
        };
        let (rows, read) = db.reads(events_of(&(1..=100).map(call).collect::<Vec<_>>())).await;
        assert!(rows == 200 && read <= 600, "{}: {read} read for {rows} events", db.name());
        let (rows, read) = db.reads(wraps(end - 1_000_000, end)).await;
        assert!(rows == 20 && read <= 60, "{}: {read} read for {rows} wraps", db.name());
    }

    #[tokio::test]
    async fn figures_read_about_what_they_are_made_of() {
        Asked::judge(fill, each_reads_little).await;
    }
}

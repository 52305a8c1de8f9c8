//! What figures are worked out from: calls with their events, wrap-up intervals, calls owed, verdicts. Read by time;
//! the formulas are the gateway's (`measure`).

use sqlx::FromRow;

use crate::{
    call::Direction,
    call_event::CallEvent,
    callback::{CallbackKind, CallbackResult},
    case_event::CaseStage,
    error::Result,
    handoff::HandoffKind,
    id::Id,
    pool::Store,
    sql::sql,
    survey::Solved,
};

/// Calls read at once.
pub const MEASURED_CALLS_MAX: i64 = 500;

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
    /// Somebody contacted the citizen.
    pub contacted: Option<bool>,
    /// Whether it is solved.
    pub solved: Option<Solved>,
    /// 1 to 5, 1 the best.
    pub satisfied: Option<i64>,
}

crate::lite::row!(MeasuredSurvey { contacted, solved, satisfied });

/// Items handed to the case core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct MeasuredHandoffs {
    /// Received by it.
    pub handed: i64,
    /// … and sent back to us at least once.
    pub returned: i64,
}

crate::lite::row!(MeasuredHandoffs { handed, returned });

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
        let (at, id) = after.map_or((from - 1, None), |(at, id)| (at, Some(id)));
        let calls = sql("SELECT c.id, k.direction, c.did, c.ring_at, c.answer_at FROM call c \
             JOIN contact k ON k.id = c.contact WHERE c.ring_at >= $1 AND c.ring_at < $2 \
             AND (c.ring_at > $3 OR (c.ring_at = $3 AND c.id > $4)) ORDER BY c.ring_at, c.id LIMIT $5")
        .bind(from)
        .bind(to)
        .bind(at)
        .bind(id.map(|id| id.to_string()).unwrap_or_default())
        .bind(MEASURED_CALLS_MAX);
        let mut reader = self.reader().await?;
        let calls: Vec<MeasuredCall> = reader.all(calls).await?;
        let mut found = Vec::with_capacity(calls.len());
        for call in calls {
            let events = sql("SELECT id, call, n, at, kind, data FROM call_event WHERE call = $1 ORDER BY n");
            let events = reader.all(events.bind(call.id)).await?;
            found.push((call, events));
        }
        Ok(found)
    }

    /// Stretches of 话后 that began in `[from, to)`.
    ///
    /// # Errors
    /// As any read.
    pub async fn measured_wraps(&self, from: i64, to: i64) -> Result<Vec<MeasuredWrap>> {
        let query = sql("SELECT operator, from_at, to_at FROM operator_state \
             WHERE state = 'wrap_up' AND from_at >= $1 AND from_at < $2 ORDER BY from_at")
        .bind(from)
        .bind(to);
        self.reader().await?.all(query).await
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

    /// Verdicts given in `[from, to)`.
    ///
    /// # Errors
    /// As any read.
    pub async fn measured_surveys(&self, from: i64, to: i64) -> Result<Vec<MeasuredSurvey>> {
        let query = sql("SELECT contacted, solved, satisfied FROM survey WHERE at >= $1 AND at < $2 ORDER BY at")
            .bind(from)
            .bind(to);
        self.reader().await?.all(query).await
    }
}

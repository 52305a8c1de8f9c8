//! The end of a call, written exactly once.

use serde_json::json;

use crate::{
    call::{EndSide, load},
    call_event::{self, CallLine},
    call_quality::{self, LegQuality},
    callback::{self, CallbackKind, NewCallback},
    callback_claim,
    conn::Conn,
    error::Result,
    id::Id,
    limits,
    pool::Store,
    sql::sql,
};

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
    /// The call's score, 1.0–4.5: that of its worst leg and direction.
    pub mos: Option<f64>,
    /// How its legs sounded, in the order they ended.
    pub legs: Vec<LegQuality>,
    /// The call to give back, for a missed call; party and call are filled in from the call.
    pub missed: Option<NewCallback>,
    /// An operator talked with the citizen who called: older missed and queued calls of theirs
    /// need no callback any more.
    pub served: bool,
}

/// The citizen of a call.
async fn party_of(c: &mut Conn, id: Id) -> Result<Option<Id>> {
    let query = sql("SELECT k.party FROM call c JOIN contact k ON k.id = c.contact WHERE c.id = $1").bind(id);
    let (party,): (Option<Id>,) = c.one(query).await?;
    Ok(party)
}

async fn end(c: &mut Conn, id: Id, end: CallEnd) -> Result<bool> {
    let update = sql("UPDATE call SET end_at = $2, end_side = $3, end_reason = $4, \
         stage_abandoned = $5, wait_ms = COALESCE($6, wait_ms), \
         talk_ms = COALESCE($7, talk_ms), hold_ms = COALESCE($8, hold_ms), \
         wrap_ms = COALESCE($9, wrap_ms), mos = COALESCE($10, mos) WHERE id = $1 AND end_at IS NULL")
    .bind(id)
    .bind(end.at)
    .bind(end.end_side)
    .bind(end.end_reason.as_str())
    .bind(end.stage_abandoned.clone())
    .bind(end.wait_ms)
    .bind(end.talk_ms)
    .bind(end.hold_ms)
    .bind(end.wrap_ms)
    .bind(end.mos);
    if c.run(update).await? == 0 {
        load(c, id).await?;
        return Ok(false);
    }
    for (n, leg) in (1..).zip(end.legs) {
        call_quality::insert(c, id, n, leg).await?;
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
        && let Some(party) = party_of(c, id).await?
    {
        data["callbacks_cancelled"] = json!(callback_claim::cancel_owed(c, party, end.at).await?);
    }
    if let Some(mut missed) = end.missed {
        if missed.party.is_none() {
            missed.party = party_of(c, id).await?;
        }
        missed.call = missed.call.or(Some(id));
        // A further missed call of a citizen we already owe one joins that task.
        let (task, created) = callback::make(c, missed, end.at).await?;
        data["callback_task"] = json!(task);
        data["callback_created"] = json!(created);
    }
    call_event::insert(c, id, end.at, "end", &data).await?;
    Ok(true)
}

impl Store {
    /// Ends a call: the row, its last event, its place in the queue and, for a missed call, the
    /// task to call back, in one transaction. A citizen who was served is owed no call for what
    /// was missed before: those tasks end as 已取消. `false` if it had ended before; then nothing changes.
    ///
    /// # Errors
    /// [`crate::DbError::NotFound`] when there is no such call.
    pub async fn call_end(&self, call: Id, how: CallEnd) -> Result<bool> {
        limits::text("end_reason", &how.end_reason, limits::SHORT_TEXT_CHARS_MAX)?;
        self.write(move |c| Box::pin(end(c, call, how))).await
    }

    /// [`Store::call_lines`] and [`Store::call_end`] in one transaction.
    ///
    /// # Errors
    /// As both; nothing is kept then.
    pub async fn call_close(&self, call: Id, lines: Vec<CallLine>, how: CallEnd) -> Result<bool> {
        limits::text("end_reason", &how.end_reason, limits::SHORT_TEXT_CHARS_MAX)?;
        self.write(move |c| {
            Box::pin(async move {
                call_event::insert_lines(c, call, lines).await?;
                end(c, call, how).await
            })
        })
        .await
    }
}

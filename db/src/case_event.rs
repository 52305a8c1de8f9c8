//! What the case core reports: each event applied once, with all that follows from it.

use serde::Serialize;
use sqlx::FromRow;

use crate::{
    callback::{self, NewCallback},
    claim::IdRow,
    conn::Conn,
    error::{DbError, Result},
    handoff::HandoffKind,
    id::Id,
    incident, incident_link,
    item::{self, Item, ItemState},
    limits::{self, SHORT_TEXT_CHARS_MAX},
    pool::Store,
    reward,
    sql::sql,
    text::words,
};

words! {
    /// Where a case stands at the case core.
    CaseStage {
        /// Received.
        Received = "已收",
        /// Sent back to us.
        Returned = "退回",
        /// Being handled.
        InProgress = "办理中",
        /// Handled.
        Handled = "已处置",
        /// Suspended.
        Suspended = "挂账",
        /// Accepted later.
        Deferred = "缓受理",
        /// Refused.
        NotFiled = "不立案",
        /// Closed.
        Closed = "已结案",
        /// Taken up again.
        Reopened = "重办",
    }
}

/// A status event of the case core.
#[derive(Debug, Clone)]
pub struct CaseEvent {
    /// The event's own id, unique over all case cores: prefix it with the target.
    pub event_id: String,
    /// The case.
    pub case_no: String,
    /// The item, if the event names it; else it is found by the case's number.
    pub item: Option<Id>,
    /// Where the case stands now.
    pub stage: CaseStage,
    /// When it got there, by the case core's clock.
    pub at: i64,
    /// A remark.
    pub note: Option<String>,
}

/// A status event as it is kept.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct HandoffUpdate {
    /// Row id.
    pub id: Id,
    /// The event's own id.
    pub event_id: String,
    /// The item.
    pub item: Id,
    /// The case.
    pub case_no: String,
    /// Where the case stood.
    pub stage: CaseStage,
    /// When it got there.
    pub at: i64,
    /// A remark.
    pub note: Option<String>,
}

crate::lite::row!(HandoffUpdate { id, event_id, item, case_no, stage, at, note });

/// What an event does to an item.
#[derive(Debug, PartialEq, Eq)]
enum Effect {
    /// Nothing.
    Keep,
    /// The item's state changes.
    Move(ItemState),
    /// The work is finished: the citizen is to be asked.
    AskCitizen,
}

/// The effect of a stage on an item in `state`; `asking`: a callback of it is still open.
///
/// Finished cases yield one callback per round, however often and in whatever form the case core
/// says so; only the survey, or the case core after an unanswered callback, makes an item 已结案.
fn effect(state: ItemState, stage: CaseStage, asking: bool) -> Effect {
    use ItemState as S;
    let early = matches!(state, S::Registered | S::Verifying | S::PreFiled);
    let resting = matches!(state, S::Suspended | S::Deferred | S::NotFiled);
    match (stage, state) {
        (_, S::Void) => Effect::Keep,
        (CaseStage::Handled | CaseStage::Closed, S::Closed) => Effect::Keep,
        (CaseStage::Closed, S::AwaitingCallback) if !asking => Effect::Move(S::Closed),
        (CaseStage::Handled | CaseStage::Closed, S::AwaitingCallback) => Effect::Keep,
        (CaseStage::Handled | CaseStage::Closed, _) => Effect::AskCitizen,
        (CaseStage::Reopened, S::AwaitingCallback | S::Closed) => Effect::Move(S::Reopened),
        (_, S::AwaitingCallback | S::Closed) => Effect::Keep,
        (CaseStage::Received, _) if early => Effect::Move(S::HandedOff),
        (CaseStage::InProgress, _) if early || resting => Effect::Move(S::HandedOff),
        (CaseStage::Received | CaseStage::InProgress | CaseStage::Reopened, _) => Effect::Keep,
        (CaseStage::Returned, _) => Effect::Move(S::Verifying),
        (CaseStage::Suspended, _) => Effect::Move(S::Suspended),
        (CaseStage::Deferred, _) => Effect::Move(S::Deferred),
        (CaseStage::NotFiled, _) => Effect::Move(S::NotFiled),
    }
}

/// The item an event is about.
async fn item_of(c: &mut Conn, event: &CaseEvent) -> Result<Item> {
    if let Some(id) = event.item {
        return item::load(c, id).await;
    }
    let query = sql("SELECT item AS id FROM handoff WHERE case_no = $1 AND kind = $2")
        .bind(event.case_no.as_str())
        .bind(HandoffKind::Create);
    let IdRow { id } = c.one(query).await?;
    item::load(c, id).await
}

async fn apply(c: &mut Conn, event: CaseEvent, callback: Option<NewCallback>) -> Result<bool> {
    let found = item_of(c, &event).await?;
    c.lock(format!("item:{}", found.id)).await?;
    let latest = sql("SELECT COALESCE(MAX(at), 0) FROM handoff_update WHERE item = $1");
    let (latest_at,): (i64,) = c.one(latest.bind(found.id)).await?;
    let insert = sql("INSERT INTO handoff_update (id, event_id, item, case_no, stage, at, note) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (event_id) DO NOTHING")
    .bind(Id::new())
    .bind(event.event_id)
    .bind(found.id)
    .bind(event.case_no)
    .bind(event.stage)
    .bind(event.at)
    .bind(event.note);
    if c.run(insert).await? == 0 {
        return Ok(false);
    }
    if event.at < latest_at {
        // Kept for the story; what came later has been applied already.
        return Ok(true);
    }
    let stage = sql("UPDATE handoff SET stage = $2 WHERE item = $1 AND kind = $3")
        .bind(found.id)
        .bind(event.stage)
        .bind(HandoffKind::Create);
    c.run(stage).await?;
    // Read again under the lock.
    let item = item::load(c, found.id).await?;
    if item.merged_into.is_some() {
        // It goes with the item it was merged into; its own case is a double the case core knows of.
        // The incident's reward may rest on this one's case all the same.
        let root = incident::root(c, item.id).await?.id;
        reward::due(c, root, event.stage, event.at).await?;
        return Ok(true);
    }
    reward::due(c, item.id, event.stage, event.at).await?;
    let asking = callback::is_open_for_item(c, item.id).await?;
    match effect(item.state, event.stage, asking) {
        Effect::Keep => {}
        Effect::Move(state) => item::set_state(c, item.id, state, event.at).await?,
        Effect::AskCitizen => {
            let mut asked = false;
            if let Some(mut new) = callback {
                incident_link::ask_members(c, item.id, &new, event.at).await?;
                new.item = Some(item.id);
                new.party = new.party.or(item.party);
                let (task, _) = callback::insert(c, new, event.at).await?;
                asked = task.finished_at.is_none();
            }
            // With nobody to ask, the case core's closing is the last word.
            let state = match event.stage {
                CaseStage::Closed if !asked => ItemState::Closed,
                _ => ItemState::AwaitingCallback,
            };
            item::set_state(c, item.id, state, event.at).await?;
        }
    }
    Ok(true)
}

/// A callback about an item ended without the citizen's verdict: if the case core has closed the
/// case meanwhile, that stands.
pub(crate) async fn unanswered(c: &mut Conn, item: Id, at: i64) -> Result<()> {
    let query = sql("UPDATE item SET state = $2, state_at = $3 WHERE id = $1 AND state = $4 \
         AND EXISTS (SELECT 1 FROM handoff h WHERE h.item = $1 AND h.kind = $5 AND h.stage = $6)")
    .bind(item)
    .bind(ItemState::Closed)
    .bind(at)
    .bind(ItemState::AwaitingCallback)
    .bind(HandoffKind::Create)
    .bind(CaseStage::Closed);
    c.run(query).await.map(|_| ())
}

impl Store {
    /// Applies a status event once: the event's row, the item's state and, when the work is
    /// finished for the first time in this round, the callback, in one transaction. `false` when
    /// the event was known. An event older than one already applied is kept without effect.
    /// Item and party of the callback are filled in.
    ///
    /// # Errors
    /// [`DbError::NotFound`] when no item belongs to the case: its creation may have arrived
    /// without our knowing yet. Offer the event again later and don't move the cursor past it.
    pub async fn case_event_apply(&self, event: CaseEvent, callback: Option<NewCallback>) -> Result<bool> {
        for (field, text) in [
            ("event_id", event.event_id.as_str()),
            ("case_no", event.case_no.as_str()),
            ("note", event.note.as_deref().unwrap_or_default()),
        ] {
            limits::text(field, text, SHORT_TEXT_CHARS_MAX)?;
        }
        self.write(move |c| Box::pin(apply(c, event, callback))).await
    }

    /// The status events of an item in order of time.
    ///
    /// # Errors
    /// As any read.
    pub async fn case_events_of_item(&self, item: Id) -> Result<Vec<HandoffUpdate>> {
        let query = sql("SELECT id, event_id, item, case_no, stage, at, note FROM handoff_update \
                         WHERE item = $1 ORDER BY at, id")
        .bind(item);
        self.reader().await?.all(query).await
    }

    /// How far a case core's events were read.
    ///
    /// # Errors
    /// As any read.
    pub async fn case_cursor_get(&self, target: &str) -> Result<Option<String>> {
        let query = sql("SELECT cursor FROM case_cursor WHERE target = $1").bind(target);
        Ok(self.reader().await?.opt::<(String,)>(query).await?.map(|(cursor,)| cursor))
    }

    /// Notes how far a case core's events were read.
    ///
    /// # Errors
    /// As any write.
    pub async fn case_cursor_set(&self, target: &str, cursor: &str) -> Result<()> {
        limits::text("cursor", cursor, SHORT_TEXT_CHARS_MAX)?;
        let query = sql("INSERT INTO case_cursor (target, cursor) VALUES ($1, $2) \
                         ON CONFLICT (target) DO UPDATE SET cursor = excluded.cursor")
        .bind(target)
        .bind(cursor);
        self.write(|c| Box::pin(async move { c.run(query).await.map(|_| ()) })).await?;
        Ok::<_, DbError>(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finished_case_asks_the_citizen_once_per_round() {
        use ItemState as S;
        assert_eq!(effect(S::HandedOff, CaseStage::Handled, false), Effect::AskCitizen);
        assert_eq!(effect(S::AwaitingCallback, CaseStage::Closed, true), Effect::Keep);
        assert_eq!(effect(S::Reopened, CaseStage::Handled, false), Effect::AskCitizen);
        assert_eq!(effect(S::Closed, CaseStage::Closed, false), Effect::Keep);
    }

    #[test]
    fn an_unanswered_callback_leaves_the_closing_to_the_case_core() {
        let state = ItemState::AwaitingCallback;
        assert_eq!(effect(state, CaseStage::Closed, false), Effect::Move(ItemState::Closed));
    }

    #[test]
    fn a_void_item_stays_void() {
        for stage in CaseStage::ALL {
            assert_eq!(effect(ItemState::Void, *stage, false), Effect::Keep);
        }
    }

    #[test]
    fn every_stage_has_an_effect_in_every_state() {
        for state in ItemState::ALL {
            for stage in CaseStage::ALL {
                // Total by type; what must hold is that nothing but Closed leads to Closed.
                if effect(*state, *stage, false) == Effect::Move(ItemState::Closed) {
                    assert_eq!(*stage, CaseStage::Closed);
                }
            }
        }
    }
}

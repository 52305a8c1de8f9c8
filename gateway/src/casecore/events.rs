//! News from the case core: polled here, pushed through the webhook; both end in `apply`.

use std::sync::Arc;
use std::time::Duration;

use hotline_db::limits::SHORT_TEXT_CHARS_MAX;
use hotline_db::{CallbackKind, CaseEvent, CaseStage, DbError, NewCallback, Store};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::contract::{CaseCore, Core, StatusEvent};
use crate::callback::schedule::Rules;
use crate::clock::now_ms;

/// An event of a case we don't know holds up the cursor for so long.
const UNKNOWN_CASE_MS: i64 = 5 * 60_000;

/// Polls until cancelled.
pub async fn poll(store: Store, core: Arc<Core>, rules: Rules, pause: Duration, cancel: CancellationToken) {
    let mut poller = Poller { store, rules, held: None };
    let mut failing = false;
    loop {
        let outcome = poller.once(&core).await;
        match &outcome {
            Ok(()) if failing => info!("case core's events are read again"),
            Ok(()) => {}
            Err(why) if failing => debug!(why, "case core's events"),
            Err(why) => warn!(why, "case core's events can't be read: tried again until they can"),
        }
        failing = outcome.is_err();
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = cancel.cancelled() => return,
        }
    }
}

/// What becomes of the cursor after an event.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// Past the event.
    On,
    /// The event comes again.
    Stay,
}

struct Poller {
    store: Store,
    rules: Rules,
    /// The event of an unknown case that holds up the cursor, and since when.
    held: Option<(String, i64)>,
}

impl Poller {
    async fn once(&mut self, core: &Core) -> Result<(), String> {
        let cursor = self.store.case_cursor_get(core.target()).await.map_err(|e| e.to_string())?.unwrap_or_default();
        let (events, next) = core.events_after(&cursor).await.map_err(|e| e.to_string())?;
        for event in events {
            if self.take(event, now_ms()).await? == Next::Stay {
                return Ok(());
            }
        }
        if next != cursor {
            self.store.case_cursor_set(core.target(), &next).await.map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    async fn take(&mut self, event: StatusEvent, now: i64) -> Result<Next, String> {
        let (id, case, at) = (event.event_id.clone(), event.case_no.clone(), event.at.clamp(0, now));
        match apply(&self.store, &self.rules, event).await {
            Ok(_) => {}
            // Our own receipt may still be under way: the cursor waits. After a while it is another system's case.
            Err(DbError::NotFound) => {
                let since = self.held.take_if(|(held, _)| *held == id).map_or(now, |(_, since)| since);
                if now - at < UNKNOWN_CASE_MS && now - since < UNKNOWN_CASE_MS {
                    debug!(case, "event of a case not known yet");
                    self.held = Some((id, since));
                    return Ok(Next::Stay);
                }
            }
            // It will never fit; those behind it must not wait for it.
            Err(e @ DbError::Invalid { .. }) => {
                let case: String = case.chars().take(100).collect();
                error!(case, error = %e, "case event left out");
            }
            Err(e) => return Err(e.to_string()),
        }
        self.held = None;
        Ok(Next::On)
    }
}

/// Takes one event; `false` if it was known. A finished case owes its citizen a call
/// (domain rules §4), written in the same transaction. A remark is cut to what a row holds, and a
/// moment in the future, which would outrank every later event, becomes now.
pub async fn apply(store: &Store, rules: &Rules, event: StatusEvent) -> Result<bool, DbError> {
    let now = now_ms();
    let due = matches!(event.stage, CaseStage::Handled | CaseStage::Closed)
        .then(|| NewCallback::new(CallbackKind::CaseFinished, rules.next_allowed(now)));
    let row = CaseEvent {
        event_id: event.event_id,
        case_no: event.case_no.clone(),
        item: None,
        stage: event.stage,
        at: event.at.clamp(0, now),
        note: Some(storable(&event.note)).filter(|n| !n.is_empty()),
    };
    let fresh = store.case_event_apply(row, due).await?;
    if fresh {
        info!(case = event.case_no, stage = event.stage.as_str(), "case moved");
    } else {
        warn!(case = event.case_no, "case event known already");
    }
    Ok(fresh)
}

/// The head of a remark, without NULs (PostgreSQL has none in text).
fn storable(note: &str) -> String {
    note.chars().filter(|c| *c != '\0').take(SHORT_TEXT_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use hotline_db::{ItemHandoff, NewItem};

    use super::*;
    use crate::config::Callback;

    async fn poller(folder: &tempfile::TempDir) -> (Poller, hotline_db::Id) {
        let store = Store::open(&format!("sqlite://{}", folder.path().join("t.db").display())).await.unwrap();
        let new = NewItem {
            region: "320412".into(),
            channel: 1,
            kind: "投诉".into(),
            urgency: 3,
            title: "井盖".into(),
            detail: "井盖".into(),
            source: "operator".into(),
            ..NewItem::default()
        };
        let outbox = ItemHandoff { target: "http".into(), payload: Box::new(|_| serde_json::json!({})) };
        let (item, _) = store.item_create(new, Some(outbox), 1, 480).await.unwrap();
        let row = store.handoff_claim("http", 1, 1_000, 1).await.unwrap().remove(0);
        store.handoff_delivered(row.id, "C1", 1).await.unwrap();
        (
            Poller {
                store,
                rules: Rules::new(&Callback::default(), crate::calendar::Calendar::default(), 480),
                held: None,
            },
            item.id,
        )
    }

    fn event(id: &str, case_no: &str, at: i64, note: String) -> StatusEvent {
        StatusEvent { event_id: id.into(), case_no: case_no.into(), stage: CaseStage::InProgress, at, note }
    }

    #[tokio::test]
    async fn a_strange_event_is_trimmed_or_left_out_and_holds_up_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (mut poller, item) = poller(&folder).await;
        let now = now_ms();
        let long = format!("a\0b{}", "井".repeat(5_000));
        assert_eq!(poller.take(event("e1", "C1", i64::MAX, long), now).await, Ok(Next::On));
        assert_eq!(poller.take(event("e2", "C1", i64::MIN, String::new()), now).await, Ok(Next::On));
        assert_eq!(poller.take(event("e\u{0}3", "C1", now, String::new()), now).await, Ok(Next::On), "left out");
        let kept = poller.store.case_events_of_item(item).await.unwrap();
        assert_eq!(kept.len(), 2);
        let note = kept[1].note.as_deref().unwrap();
        assert!(note.starts_with("ab井") && note.chars().count() == SHORT_TEXT_CHARS_MAX);
        assert!(kept[1].at >= now && kept[1].at <= now_ms(), "the future is now");
        assert_eq!(kept[0].at, 0);
    }

    #[tokio::test]
    async fn an_unknown_case_holds_the_cursor_for_a_while_whatever_its_clock_says() {
        let folder = tempfile::tempdir().unwrap();
        let (mut poller, _) = poller(&folder).await;
        let now = now_ms();
        let unknown = |at| event("e1", "C9", at, String::new());
        assert_eq!(poller.take(unknown(i64::MAX), now).await, Ok(Next::Stay));
        assert_eq!(poller.take(unknown(i64::MAX), now + UNKNOWN_CASE_MS - 1).await, Ok(Next::Stay));
        assert_eq!(poller.take(unknown(i64::MAX), now + UNKNOWN_CASE_MS).await, Ok(Next::On));
        assert_eq!(poller.take(unknown(now - UNKNOWN_CASE_MS), now).await, Ok(Next::On), "old: another system's");
        assert_eq!(poller.take(unknown(i64::MIN), now).await, Ok(Next::On));
    }
}

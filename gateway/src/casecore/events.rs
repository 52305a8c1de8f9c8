//! News from the case core: polled here, pushed through the webhook; both end in `apply`.

use std::sync::Arc;
use std::time::Duration;

use hotline_db::{CallbackKind, CaseEvent, CaseStage, DbError, NewCallback, Store};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::contract::{CaseCore, Core, StatusEvent};
use crate::app::now_ms;
use crate::callback::schedule::Rules;

/// An event of a case we don't know holds up the cursor for so long.
const UNKNOWN_CASE_MS: i64 = 5 * 60_000;

/// Polls until cancelled.
pub async fn poll(store: Store, core: Arc<Core>, rules: Rules, pause: Duration, cancel: CancellationToken) {
    loop {
        if let Err(why) = poll_once(&store, &core, &rules).await {
            debug!(why, "case core's events");
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = cancel.cancelled() => return,
        }
    }
}

async fn poll_once(store: &Store, core: &Core, rules: &Rules) -> Result<(), String> {
    let cursor = store.case_cursor_get(core.target()).await.map_err(|e| e.to_string())?.unwrap_or_default();
    let (events, next) = core.events_after(&cursor).await.map_err(|e| e.to_string())?;
    for event in events {
        let at = event.at;
        match apply(store, rules, event).await {
            Ok(_) => {}
            // Our own receipt may still be under way: the cursor waits. After a while it is another system's case.
            Err(DbError::NotFound) if now_ms() - at < UNKNOWN_CASE_MS => return Err("case not known yet".into()),
            Err(DbError::NotFound) => {}
            // The cursor stays: the event comes again.
            Err(e) => return Err(e.to_string()),
        }
    }
    if next != cursor {
        store.case_cursor_set(core.target(), &next).await.map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// Takes one event; `false` if it was known. A finished case owes its citizen a call
/// (domain rules §4), written in the same transaction.
pub async fn apply(store: &Store, rules: &Rules, event: StatusEvent) -> Result<bool, DbError> {
    let due = matches!(event.stage, CaseStage::Handled | CaseStage::Closed)
        .then(|| NewCallback::new(CallbackKind::CaseFinished, rules.next_allowed(now_ms())));
    let row = CaseEvent {
        event_id: event.event_id,
        case_no: event.case_no.clone(),
        item: None,
        stage: event.stage,
        at: event.at,
        note: Some(event.note).filter(|n| !n.is_empty()),
    };
    let fresh = store.case_event_apply(row, due).await?;
    if fresh {
        info!(case = event.case_no, stage = event.stage.as_str(), "case moved");
    } else {
        warn!(case = event.case_no, "case event known already");
    }
    Ok(fresh)
}

//! The queues' decisions as rows, off the owner's path: a database that is slow or gone never holds up a call.
//!
//! Of a waiting call only the newest row counts; operators' states are intervals and are written one by one, in
//! their order. What can't be written now stays here and is tried again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hotline_acd::{CallerRow, OperatorState};
use hotline_db::{DbError, Id, QueueEntry, QueueRow, Store};
use tokio::sync::Notify;
use tracing::warn;

/// Calls whose rows wait for the database; beyond it the row of the newcomer is left out: after a restart it would
/// be deleted anyway.
const CALLS_MAX: usize = 65_536;
/// States that wait for the database; beyond it each operator's earlier ones are left out.
const STATES_MAX: usize = 16_384;
/// Changes gathered into one commit.
const GATHERED_MAX: usize = 256;
/// A database that failed is asked again after so long.
const RETRY: Duration = Duration::from_millis(500);

/// What a call's row shall be; `None`: none.
struct CallRow {
    entry: Option<QueueEntry>,
    /// No version of it was ever handed to the database.
    is_new: bool,
}

#[derive(Clone)]
struct StateRow {
    operator: String,
    state: OperatorState,
    reason: String,
    at: i64,
}

#[derive(Default)]
struct Pending {
    calls: BTreeMap<String, CallRow>,
    states: VecDeque<StateRow>,
    /// Grows with each [`Rows::forget`].
    epoch: u64,
}

/// Rows not yet written.
pub(super) struct Rows {
    node: String,
    pending: Mutex<Pending>,
    wake: Notify,
}

impl Rows {
    /// Starts the writer.
    pub(super) fn start(store: Store, node: String) -> Arc<Self> {
        let rows = Arc::new(Self { node, pending: Mutex::default(), wake: Notify::new() });
        tokio::spawn(write(store, Arc::clone(&rows)));
        rows
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn caller(&self, row: &CallerRow, is_new: bool) {
        let Ok(call) = row.entry.call.parse::<Id>() else { return };
        let entry = QueueEntry {
            call,
            queue: row.queue.to_string(),
            lane: row.lane.as_str().into(),
            state: if row.ringing.is_some() { "ringing" } else { "waiting" }.into(),
            entered_at: row.entered_at,
            node: if row.entry.node.is_empty() { self.node.clone() } else { row.entry.node.clone() },
            operator: row.ringing.as_ref().and_then(|o| o.parse().ok()),
        };
        let mut pending = self.lock();
        if pending.calls.len() >= CALLS_MAX && !pending.calls.contains_key(&row.entry.call) {
            warn!(call = row.entry.call, "queue row left out: the database has been away too long");
            return;
        }
        let is_new = pending.calls.get(&row.entry.call).map_or(is_new, |old| old.is_new);
        pending.calls.insert(row.entry.call.clone(), CallRow { entry: Some(entry), is_new });
        drop(pending);
        self.wake.notify_one();
    }

    pub(super) fn gone(&self, call: &str) {
        let mut pending = self.lock();
        if pending.calls.get(call).is_some_and(|row| row.is_new) {
            pending.calls.remove(call);
        } else {
            pending.calls.insert(call.to_owned(), CallRow { entry: None, is_new: false });
        }
        drop(pending);
        self.wake.notify_one();
    }

    pub(super) fn state(&self, operator: &str, state: OperatorState, reason: &str, at: i64) {
        let mut pending = self.lock();
        if pending.states.len() >= STATES_MAX {
            coalesce(&mut pending.states);
        }
        pending.states.push_back(StateRow { operator: operator.into(), state, reason: reason.into(), at });
        drop(pending);
        self.wake.notify_one();
    }

    /// Nothing more is written: another gateway leads the queues, and writes newer ones.
    pub(super) fn forget(&self) {
        let mut pending = self.lock();
        *pending = Pending { epoch: pending.epoch + 1, ..Pending::default() };
    }

    fn take(&self) -> (BTreeMap<String, CallRow>, Vec<StateRow>, u64) {
        let mut pending = self.lock();
        let mut calls = BTreeMap::new();
        while calls.len() < GATHERED_MAX
            && let Some((call, row)) = pending.calls.pop_first()
        {
            calls.insert(call, row);
        }
        let n = pending.states.len().min(GATHERED_MAX);
        let states = pending.states.drain(..n).collect();
        (calls, states, pending.epoch)
    }

    /// What couldn't be written waits on, unless something newer does already.
    fn put_back(&self, calls: BTreeMap<String, CallRow>, states: Vec<StateRow>, epoch: u64) {
        let mut pending = self.lock();
        if pending.epoch != epoch {
            return;
        }
        for (call, row) in calls {
            // A commit that failed may have been one: the row could be there.
            pending.calls.entry(call).or_insert(CallRow { is_new: false, ..row });
        }
        for row in states.into_iter().rev() {
            pending.states.push_front(row);
        }
    }
}

/// Of every operator the newest state alone.
fn coalesce(states: &mut VecDeque<StateRow>) {
    let mut newest: BTreeMap<String, StateRow> = BTreeMap::new();
    for row in states.drain(..) {
        newest.insert(row.operator.clone(), row);
    }
    warn!(operators = newest.len(), "operators' states not written: the database has been away too long");
    states.extend(newest.into_values());
}

async fn write(store: Store, rows: Arc<Rows>) {
    loop {
        let (calls, mut states, epoch) = rows.take();
        if calls.is_empty() && states.is_empty() {
            rows.wake.notified().await;
            continue;
        }
        if let Err(e) = write_calls(&store, &calls).await {
            warn!(error = %e, rows = calls.len() + states.len(), "queue rows wait for the database");
            rows.put_back(calls, states, epoch);
            tokio::time::sleep(RETRY).await;
            continue;
        }
        let mut written = 0;
        let failed = loop {
            let Some(row) = states.get(written) else { break None };
            match write_state(&store, row).await {
                Err(e) if may_succeed(&e) => break Some(e),
                outcome => report(outcome),
            }
            written += 1;
        };
        if let Some(e) = failed {
            warn!(error = %e, rows = states.len() - written, "operators' states wait for the database");
            rows.put_back(BTreeMap::new(), states.split_off(written), epoch);
            tokio::time::sleep(RETRY).await;
        }
    }
}

fn may_succeed(e: &DbError) -> bool {
    e.is_transient() || matches!(e, DbError::Conflict(_))
}

fn of_call(call: &str, row: &CallRow) -> Option<QueueRow> {
    match &row.entry {
        Some(entry) => Some(QueueRow::Enter(entry.clone())),
        None => call.parse().ok().map(QueueRow::Leave),
    }
}

async fn write_calls(store: &Store, calls: &BTreeMap<String, CallRow>) -> Result<(), DbError> {
    let rows: Vec<QueueRow> = calls.iter().filter_map(|(call, row)| of_call(call, row)).collect();
    if rows.is_empty() {
        return Ok(());
    }
    match store.queue_rows(rows.clone()).await {
        Err(e) if may_succeed(&e) => return Err(e),
        Ok(()) => return Ok(()),
        Err(_) => {}
    }
    // One call nobody knows must not take the others along.
    for row in rows {
        match store.queue_rows(vec![row]).await {
            Err(e) if may_succeed(&e) => return Err(e),
            outcome => report(outcome),
        }
    }
    Ok(())
}

async fn write_state(store: &Store, row: &StateRow) -> Result<(), DbError> {
    let operator = row.operator.parse().map_err(|_| DbError::NotFound)?;
    let state = row.state.as_str().parse().map_err(|_| DbError::NotFound)?;
    let reason = Some(row.reason.as_str()).filter(|r| !r.is_empty());
    store.operator_state_set(operator, state, reason, row.at).await.map(drop)
}

fn report(outcome: Result<(), DbError>) {
    if let Err(e) = outcome {
        warn!(error = %e, "queue row");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_under_way_when_another_gateway_took_over_is_not_written_after_its_rows() {
        let rows = Rows { node: "n".into(), pending: Mutex::default(), wake: Notify::new() };
        rows.state("x", OperatorState::Ready, "", 1);
        let (calls, states, epoch) = rows.take();
        rows.forget();
        rows.put_back(calls, states, epoch);
        assert!(rows.take().1.is_empty());
        rows.state("x", OperatorState::Busy, "", 2);
        let (calls, states, epoch) = rows.take();
        rows.put_back(calls, states, epoch);
        assert_eq!(rows.take().1.len(), 1, "what failed for another reason waits on");
    }
}

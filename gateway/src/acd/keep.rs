//! The copy of the queues' rows, wherever they are decided: what changes in it is told, and what the drivers of this
//! gateway were told can be held against it.

use std::collections::BTreeSet;

use hotline_acd::{CallerRow, OperatorRow, OperatorState};

use super::handle::Change;
use super::mirror::CallNews;
use super::owner::Shared;

impl Shared {
    /// Whether what is decided here counts.
    pub(super) fn holds(&self) -> bool {
        self.outlet.as_ref().is_none_or(|outlet| outlet.holds())
    }

    fn change(&self, change: Change) {
        // Nobody listening is no fault.
        let _ = self.changes.send(change);
    }

    /// `state`: a new interval of state began.
    pub(super) fn keep_operator(&self, row: OperatorRow, state: bool) {
        let operator = row.who.id.clone();
        let change = if state {
            Change::State {
                operator: operator.clone(),
                state: row.state,
                reason: row.reason.to_string(),
                since: row.since,
                call: row.call.as_deref().map(str::to_owned),
            }
        } else {
            Change::Seat { operator: operator.clone() }
        };
        // Who is told looks, and is to find it.
        self.mirror.lock().operators.insert(operator, row);
        self.change(change);
    }

    /// True: they are new.
    pub(super) fn keep_caller(&self, row: CallerRow) -> bool {
        let (call, queue) = (row.entry.call.clone(), row.queue.to_string());
        let is_new = self.mirror.lock().callers.insert(call.clone(), row).is_none();
        self.change(Change::Waiting { call, queue, waiting: true });
        is_new
    }

    /// True: they waited.
    pub(super) fn drop_caller(&self, call: &str) -> bool {
        let Some(row) = self.mirror.lock().callers.remove(call) else { return false };
        self.change(Change::Waiting { call: call.to_owned(), queue: row.queue.to_string(), waiting: false });
        true
    }

    /// These rows hold, and no others.
    pub(super) fn replace(&self, operators: Vec<OperatorRow>, callers: Vec<CallerRow>) {
        let stay: BTreeSet<String> = callers.iter().map(|row| row.entry.call.clone()).collect();
        let before: Vec<String> = self.mirror.lock().callers.keys().cloned().collect();
        for call in before.into_iter().filter(|call| !stay.contains(call)) {
            self.drop_caller(&call);
        }
        for row in callers {
            self.keep_caller(row);
        }
        for row in operators {
            let is_new = self
                .mirror
                .lock()
                .operators
                .get(&row.who.id)
                .is_none_or(|old| old.state != row.state || old.reason != row.reason || old.call != row.call);
            self.keep_operator(row, is_new);
        }
    }

    /// All rows go to the database once more: whoever led before may not have come to it.
    pub(super) fn write_all(&self) {
        let (operators, callers) = {
            let kept = self.mirror.lock();
            (kept.operators.values().cloned().collect::<Vec<_>>(), kept.callers.values().cloned().collect::<Vec<_>>())
        };
        for row in operators {
            self.rows.state(&row.who.id, row.state, &row.reason, row.since);
        }
        for row in callers {
            self.rows.caller(&row, false);
        }
    }

    /// Drivers of this gateway ring whom the rows say, and nobody else, whatever got lost on the way. Left out are
    /// calls whose drivers said something the rows don't show yet.
    pub(super) fn align(&self, me: &str, busy: &BTreeSet<String>) {
        let mut told = Vec::new();
        {
            let kept = self.mirror.lock();
            let talks = |call: &str, operator: &str| {
                kept.operators
                    .get(operator)
                    .is_some_and(|o| o.state == OperatorState::Talking && o.call.as_deref() == Some(call))
            };
            for (call, operator) in kept.offered.iter().filter(|(call, _)| !busy.contains(*call)) {
                let ringing = kept.callers.get(call).and_then(|row| row.ringing.as_deref());
                if ringing != Some(operator) && !talks(call, operator) {
                    told.push((call.clone(), CallNews::Withdraw { operator: operator.clone() }));
                }
            }
            for (call, row) in kept.callers.iter().filter(|(call, row)| row.entry.node == me && !busy.contains(*call)) {
                let Some(ringing) = row.ringing.as_deref() else { continue };
                if kept.offered.get(call).map(String::as_str) != Some(ringing)
                    && let Some(operator) = kept.operators.get(ringing)
                {
                    told.push((call.clone(), CallNews::Offer((*operator.who).clone())));
                }
            }
        }
        for (call, news) in told {
            // Drivers that are gone are swept out.
            self.mirror.tell(&call, news);
        }
    }
}

//! What lists show.

use std::sync::Arc;

use super::Core;
use crate::effect::{CallerRow, OperatorRow};
use crate::model::{Lane, OperatorRef, OperatorState, Profile};

/// An operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorView {
    /// Who.
    pub who: Arc<OperatorRef>,
    /// Queues, skills, node.
    pub profile: Arc<Profile>,
    /// State.
    pub state: OperatorState,
    /// Why.
    pub reason: Arc<str>,
    /// Since when.
    pub since: i64,
    /// Phone registered.
    pub registered: bool,
    /// The call that rings or is talked in.
    pub call: Option<Arc<str>>,
    /// What they asked for meanwhile.
    pub next: Option<OperatorState>,
    /// Calls they are a guest or a consulted colleague in.
    pub engaged: Vec<Arc<str>>,
    /// End of 话后.
    pub wrap_until: Option<i64>,
}

/// A waiting caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerView {
    /// Call.
    pub call: Arc<str>,
    /// Queue.
    pub queue: Arc<str>,
    /// Lane.
    pub lane: Lane,
    /// When they joined.
    pub entered_at: i64,
    /// Whose phone rings.
    pub ringing: Option<Arc<str>>,
    /// The gateway that drives the call.
    pub node: Arc<str>,
}

/// A queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueView {
    /// Name.
    pub name: Arc<str>,
    /// Open at this hour.
    pub open: bool,
    /// Callers, in the order in which they are served.
    pub callers: Vec<CallerView>,
}

impl Core {
    /// All operators who ever signed in, by id.
    #[must_use]
    pub fn operators(&self) -> Vec<OperatorView> {
        let mut all: Vec<OperatorView> = self.operators.iter().map(|(_, o)| view(o)).collect();
        all.sort_by(|a, b| a.who.id.cmp(&b.who.id));
        all
    }

    /// One operator.
    #[must_use]
    pub fn operator(&self, id: &str) -> Option<OperatorView> {
        self.operators.get(self.people.find(id)?).map(view)
    }

    /// All queues with their callers.
    #[must_use]
    pub fn queues(&self) -> Vec<QueueView> {
        let mut queues: Vec<QueueView> = self
            .queues
            .iter()
            .map(|q| QueueView { name: Arc::clone(&q.name), open: q.open, callers: Vec::new() })
            .collect();
        let mut callers: Vec<_> = self.line.iter().collect();
        callers.sort_by_key(|(_, w)| w.rank());
        for (_, w) in callers {
            if let Some(queue) = queues.get_mut(w.queue as usize) {
                queue.callers.push(CallerView {
                    call: Arc::clone(&w.call),
                    queue: Arc::clone(&queue.name),
                    lane: w.lane,
                    entered_at: w.entered_at,
                    ringing: w.ringing.map(|o| self.people.name(o)),
                    node: Arc::clone(&w.node),
                });
            }
        }
        queues
    }

    pub(super) fn operator_row(&self, key: u32) -> Option<OperatorRow> {
        let o = self.operators.get(key)?;
        Some(OperatorRow {
            who: Arc::clone(&o.who),
            state: o.state,
            reason: Arc::clone(&o.reason),
            since: o.since,
            idle_since: o.idle_since,
            call: o.call.clone(),
            call_node: Arc::clone(&o.call_node),
            queue: o.queue.map(|q| Arc::clone(&self.queues[q as usize].name)),
            wrap_until: o.wrap_until,
            next: o.next.clone(),
            engaged: o.engaged.clone(),
            profile: Arc::clone(&o.profile),
        })
    }

    pub(super) fn caller_row(&self, key: u32) -> Option<CallerRow> {
        let w = self.line.get(key)?;
        Some(CallerRow {
            entry: Arc::clone(&w.entry),
            queue: Arc::clone(&self.queues[w.queue as usize].name),
            lane: w.lane,
            head: w.head,
            place: w.place,
            entered_at: w.entered_at,
            ringing: w.ringing.map(|o| self.people.name(o)),
            declined: w.declined.iter().map(|o| self.people.name(*o)).collect(),
            told: w.told,
        })
    }
}

fn view(o: &crate::operator::Operator) -> OperatorView {
    OperatorView {
        who: Arc::clone(&o.who),
        profile: Arc::clone(&o.profile),
        state: o.state,
        reason: Arc::clone(&o.reason),
        since: o.since,
        registered: o.registered,
        call: o.call.clone(),
        next: o.next.as_ref().map(|n| n.0),
        engaged: o.engaged.clone(),
        wrap_until: o.wrap_until,
    }
}

//! Operators promised to callbacks under way: nobody is called for an operator somebody else gets.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hotline_db::{Call, Direction, Id};

use crate::acd::QueueView;

/// A callback under way that will need an operator.
struct Place {
    task: Id,
    queue: String,
    party: Option<Id>,
}

/// All of them. At most `callback.concurrent_max` exist at once.
#[derive(Default)]
pub(super) struct Places {
    taken: Mutex<Vec<Place>>,
}

/// One operator promised; given back when dropped.
pub(super) struct Promise {
    places: Arc<Places>,
    task: Id,
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.places.lock().retain(|p| p.task != self.task);
    }
}

impl Places {
    /// Promises an operator of `queue` to `task`; `None` while each who is free is promised already
    /// or callers wait for them. `calls` are the open calls of this gateway.
    pub(super) fn promise(
        self: &Arc<Self>,
        task: Id,
        party: Option<Id>,
        queue: &QueueView,
        calls: &[Call],
    ) -> Option<Promise> {
        let mut taken = self.lock();
        // The calls behind the promises: a citizen has one callback at a time.
        let ours = |c: &&Call| {
            c.direction == Direction::Outbound && c.party.is_some() && taken.iter().any(|p| p.party == c.party)
        };
        // Calls that have an operator take none of the free ones any more.
        let (served, unserved): (Vec<&Call>, Vec<&Call>) =
            calls.iter().filter(ours).partition(|c| c.operator_answer_at.is_some());
        // A citizen we called waits for the operator promised to them; anybody else comes first.
        if queue.waiting > unserved.iter().filter(|c| c.queue_at.is_some()).count() {
            return None;
        }
        let owed = taken
            .iter()
            .filter(|p| p.queue == queue.name && (p.party.is_none() || served.iter().all(|c| c.party != p.party)))
            .count();
        let dialled: BTreeSet<String> = unserved.iter().map(|c| c.id.to_string()).collect();
        let free = queue
            .operators
            .iter()
            .filter(|o| {
                // A phone that rings for a callback is the operator that callback was promised.
                let promised = o.state == "ringing" && o.call.as_ref().is_some_and(|c| dialled.contains(c));
                o.registered && !o.engaged && (o.state == "ready" || promised)
            })
            .count();
        if free <= owed {
            return None;
        }
        taken.push(Place { task, queue: queue.name.clone(), party });
        Some(Promise { places: Arc::clone(self), task })
    }

    /// Whether nothing is promised.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Place>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acd::OperatorView;

    fn operator(state: &str, call: Option<Id>) -> OperatorView {
        OperatorView {
            id: state.into(),
            name: state.into(),
            state: state.into(),
            reason: String::new(),
            since: 0,
            registered: true,
            call: call.map(|c| c.to_string()),
            next: None,
            engaged: false,
            wrap_until: None,
            skills: Vec::new(),
        }
    }

    fn queue(operators: Vec<OperatorView>) -> QueueView {
        QueueView { name: "main".into(), open: true, waiting: 0, operators }
    }

    fn outbound(id: Id, party: Id, talks: bool) -> Call {
        Call {
            id,
            contact: Id::new(),
            seq: 1,
            direction: Direction::Outbound,
            channel: "phone".into(),
            party: Some(party),
            item: None,
            did: "12319".into(),
            caller_masked: String::new(),
            trunk: None,
            sip_call_id: String::new(),
            node: "gw".into(),
            ring_at: 0,
            answer_at: Some(1),
            queue_at: Some(2),
            operator_answer_at: talks.then_some(3),
            end_at: None,
            wait_ms: None,
            talk_ms: None,
            hold_ms: None,
            wrap_ms: None,
            queue: Some("main".into()),
            operator: None,
            end_side: None,
            end_reason: None,
            stage: "queue".into(),
            stage_abandoned: None,
            codec: None,
            mos: None,
        }
    }

    #[test]
    fn one_ready_operator_is_promised_once() {
        let places = Arc::new(Places::default());
        let one = queue(vec![operator("ready", None), operator("break", None)]);
        let first = places.promise(Id::new(), Some(Id::new()), &one, &[]);
        assert!(first.is_some());
        assert!(places.promise(Id::new(), Some(Id::new()), &one, &[]).is_none());
        let other = QueueView { name: "night".into(), ..one.clone() };
        assert!(places.promise(Id::new(), None, &other, &[]).is_some(), "another queue has its own operators");
        drop(first);
        assert!(places.promise(Id::new(), None, &one, &[]).is_some(), "given back with the call's end");
    }

    #[test]
    fn who_waits_comes_first_and_an_unregistered_phone_is_no_operator() {
        let places = Arc::new(Places::default());
        let busy = QueueView { waiting: 1, ..queue(vec![operator("ready", None)]) };
        assert!(places.promise(Id::new(), None, &busy, &[]).is_none());
        let mut gone = queue(vec![operator("ready", None)]);
        gone.operators[0].registered = false;
        assert!(places.promise(Id::new(), None, &gone, &[]).is_none());
    }

    #[test]
    fn a_callback_that_has_its_operator_holds_no_other() {
        let places = Arc::new(Places::default());
        let (call, citizen) = (Id::new(), Id::new());
        let two = queue(vec![operator("ready", None), operator("ready", None)]);
        let _talking = places.promise(Id::new(), Some(citizen), &two, &[]).unwrap();
        let rings = vec![operator("ringing", Some(call)), operator("ready", None)];
        let ringing = QueueView { waiting: 1, ..queue(rings) };
        let second = places.promise(Id::new(), Some(Id::new()), &ringing, &[outbound(call, citizen, false)]);
        assert!(second.is_some(), "the ringing operator was the first one's");
        drop(second);
        let crowded = QueueView { waiting: 2, ..ringing };
        assert!(places.promise(Id::new(), None, &crowded, &[outbound(call, citizen, false)]).is_none());
        let talks = queue(vec![operator("talking", Some(call)), operator("ready", None)]);
        assert!(places.promise(Id::new(), None, &talks, &[outbound(call, citizen, true)]).is_some());
    }
}

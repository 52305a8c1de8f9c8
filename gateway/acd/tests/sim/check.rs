//! The rules, checked against what the machine says and what the world did.

use std::collections::{BTreeMap, BTreeSet};

use hotline_acd::{Effect, Lane, OperatorState};

use crate::world::{At, RING_MS, Say, World, name};

/// What the effects so far add up to.
#[derive(Default)]
pub(crate) struct Check {
    pub(crate) timer: Option<i64>,
    waiting: BTreeSet<String>,
    /// Operator → caller whose row says that this phone rings.
    rings: BTreeMap<String, String>,
    offers: BTreeSet<(String, String)>,
    /// (caller, operator) who declined and didn't say ready since.
    declined: BTreeSet<(String, String)>,
    restarted_at: i64,
}

impl Check {
    pub(crate) fn effect(&mut self, effect: &Effect) {
        match effect {
            Effect::Offer { call, operator, .. } => {
                let pair = (call.to_string(), operator.id.clone());
                assert!(self.waiting.contains(&pair.0), "{} is offered and doesn't wait", pair.0);
                assert_eq!(self.rings.get(&pair.1), Some(&pair.0), "an offer without its row");
                assert!(self.offers.insert(pair.clone()), "{pair:?} is offered twice");
            }
            Effect::Caller(row) => {
                let call = &row.entry.call;
                self.waiting.insert(call.clone());
                let ringing = row.ringing.as_deref();
                self.unring(call, ringing);
                if let Some(operator) = ringing {
                    let before = self.rings.insert(operator.to_owned(), call.clone());
                    assert!(before.is_none_or(|b| b == *call), "{operator}'s phone rings for two callers");
                }
            }
            Effect::Gone { call, .. } => {
                assert!(self.waiting.remove(&**call), "{call} left twice: it would be counted twice");
                self.unring(call, None);
            }
            _ => {}
        }
    }

    fn unring(&mut self, call: &str, but: Option<&str>) {
        self.rings.retain(|operator, of| of != call || Some(operator.as_str()) == but);
        self.offers.retain(|(of, operator)| of != call || Some(operator.as_str()) == but);
    }

    pub(crate) fn heard(&mut self, call: &str, what: &Say) {
        if let Say::Declined(person, 0 | 1) = what {
            self.declined.insert((call.to_owned(), format!("o{person}")));
        }
    }

    pub(crate) fn says_ready(&mut self, operator: &str) {
        self.declined.retain(|(_, o)| o != operator);
    }

    pub(crate) fn pulls(&mut self, call: &str, operator: &str) {
        self.declined.remove(&(call.to_owned(), operator.to_owned()));
    }

    pub(crate) fn restart(&mut self, now: i64) {
        let (timer, declined) = (self.timer, std::mem::take(&mut self.declined));
        *self = Self { timer, declined, restarted_at: now, ..Self::default() };
    }
}

impl World {
    pub(crate) fn check_offer(&self, call: &str, operator: &str) {
        let pair = (call.to_owned(), operator.to_owned());
        assert!(!self.check.declined.contains(&pair), "{pair:?} is offered again to who just declined");
        let number: u32 = call[1..].parse().unwrap();
        if let Some(c) = self.calls.get(&number) {
            assert!(!c.entry.barred.iter().any(|b| b == operator), "{pair:?}: the matter names the operator");
        }
    }

    /// What holds at every moment between two inputs.
    pub(crate) fn check_all(&self) {
        let (queues, operators) = (self.core.queues(), self.core.operators());
        let waiting: Vec<_> = queues.iter().flat_map(|q| &q.callers).filter(|c| c.ringing.is_none()).collect();
        for o in &operators {
            if o.state == OperatorState::Ringing {
                let since = o.since.max(self.check.restarted_at);
                assert!(self.now - since <= RING_MS + 5_000, "{} is stuck in 振铃", o.who.id);
                let call = o.call.as_deref().unwrap();
                let one = queues.iter().flat_map(|q| &q.callers).filter(|c| c.ringing.as_deref() == Some(&o.who.id));
                assert_eq!(one.map(|c| &*c.call).collect::<Vec<_>>(), [call], "{} rings for somebody else", o.who.id);
            }
            let talks = operators.iter().filter(|p| o.call.is_some() && p.call == o.call).count();
            assert!(talks <= 1, "{:?} has two operators", o.call);
            if o.state != OperatorState::Ready {
                continue;
            }
            for c in &waiting {
                let number: u32 = c.call[1..].parse().unwrap();
                let waits_for_somebody = c.lane != Lane::Red
                    && self.calls[&number].entry.prefer.is_some()
                    && self.now - c.entered_at < 20_000;
                assert!(
                    waits_for_somebody || !self.core.may_serve(&c.call, &o.who.id),
                    "{} is free and {} waits",
                    o.who.id,
                    c.call
                );
            }
        }
    }

    /// An offer and the withdrawal of the one before may cross; two phones' worth of ringing doesn't last.
    pub(crate) fn check_one_ring(&self, person: usize) {
        let rings = &self.people[person].rings;
        assert!(rings.len() <= 1, "o{person}'s phone rings for {rings:?}");
    }

    /// After the last caller nothing is left behind.
    pub(crate) fn check_end(&self) {
        for queue in self.core.queues() {
            assert!(queue.callers.is_empty(), "stale callers: {:?}", queue.callers);
        }
        for (number, c) in &self.calls {
            assert!(c.at == At::Over, "{} disappeared", name(*number));
        }
        for o in self.core.operators() {
            let busy = matches!(o.state, OperatorState::Ringing | OperatorState::Talking | OperatorState::WrapUp);
            assert!(!busy && o.call.is_none() && o.engaged.is_empty(), "left behind: {o:?}");
        }
        assert_eq!(self.core.poll_timeout(), None, "a deadline without anybody");
        assert!(self.check.waiting.is_empty() && self.check.rings.is_empty() && self.check.offers.is_empty());
    }
}

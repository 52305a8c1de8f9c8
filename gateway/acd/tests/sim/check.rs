//! The rules, checked against what the machine says and what the world did.

use std::collections::{BTreeMap, BTreeSet};

use hotline_acd::{Effect, Lane, OperatorState, OperatorView};

use crate::world::{At, RING_MS, Say, WAIT_MAX_MS, World, name};

/// A caller may wait so long beside an operator who declined them, with a phone's pause.
const BESIDE_MS: i64 = 30_000 + 3_000;

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
    /// Operator → calls the machine was told they talk in.
    talks: BTreeMap<String, BTreeSet<String>>,
    /// (caller, operator): since when the other serves who came later.
    beside: BTreeMap<(String, String), i64>,
    /// (caller, operator, ready since): since when both were seen idle.
    idle: BTreeMap<(String, String, i64), i64>,
    /// What is offered now isn't anybody's turn.
    pub(crate) pulled: bool,
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
            Effect::Withdraw { call, operator, .. } => {
                self.beside.remove(&(call.to_string(), operator.to_string()));
            }
            Effect::Gone { call, .. } => {
                self.beside.retain(|(of, _), _| *of != **call);
                assert!(self.waiting.remove(&**call), "{call} left twice: it would be counted twice");
                self.unring(call, None);
            }
            _ => {}
        }
    }

    pub(crate) fn clock_set(&mut self, by: i64) {
        self.timer = self.timer.map(|at| at + by);
        self.restarted_at += by;
        self.beside.values_mut().for_each(|at| *at += by);
        let idle = std::mem::take(&mut self.idle);
        self.idle = idle.into_iter().map(|((c, o, since), at)| ((c, o, since + by), at + by)).collect();
    }

    fn unring(&mut self, call: &str, but: Option<&str>) {
        self.rings.retain(|operator, of| of != call || Some(operator.as_str()) == but);
        self.offers.retain(|(of, operator)| of != call || Some(operator.as_str()) == but);
    }

    pub(crate) fn heard(&mut self, call: &str, what: &Say) {
        let who = |p: &usize| format!("o{p}");
        match what {
            Say::Connected(_) | Say::Ended | Say::Enter { .. } => self.talks.values_mut().for_each(|calls| {
                calls.remove(call);
            }),
            Say::Released(p) => {
                self.talks.entry(who(p)).or_default().remove(call);
            }
            Say::Declined(p, _) => {
                self.beside.remove(&(call.to_owned(), who(p)));
            }
            _ => {}
        }
        if let Say::Connected(p) = what {
            self.talks.entry(who(p)).or_default().insert(call.to_owned());
        }
        if let Say::Declined(person, 0 | 1) = what
            // A phone says "busy" to a ring withdrawn because its owner was handed another call: nobody declined.
            && self.rings.get(&who(person)).is_some_and(|of| of == call)
        {
            self.declined.insert((call.to_owned(), who(person)));
        }
    }

    pub(crate) fn says_ready(&mut self, operator: &str) {
        self.declined.retain(|(_, o)| o != operator);
    }

    /// A phone is gone with all its talks.
    fn is_beside(&mut self, now: i64, call: &str, operator: &str) {
        let since = *self.beside.entry((call.to_owned(), operator.to_owned())).or_insert(now);
        assert!(now - since <= BESIDE_MS, "{call} starves beside {operator}");
    }

    pub(crate) fn pulls(&mut self, call: &str, operator: &str) {
        self.pulled = true;
        self.declined.remove(&(call.to_owned(), operator.to_owned()));
    }

    pub(crate) fn restart(&mut self, now: i64, live: &BTreeSet<String>) {
        let (timer, declined) = (self.timer, std::mem::take(&mut self.declined));
        let mut talks = std::mem::take(&mut self.talks);
        talks.values_mut().for_each(|calls| calls.retain(|call| live.contains(call)));
        *self = Self { timer, declined, talks, restarted_at: now, ..Self::default() };
    }
}

impl World {
    pub(crate) fn check_offer(&mut self, call: &str, operator: &str) {
        let talks = self.check.talks.get(operator).filter(|calls| !calls.is_empty());
        assert!(talks.is_none(), "{operator} is offered {call} and talks in {talks:?}");
        self.check_turn(call, operator);
        let pair = (call.to_owned(), operator.to_owned());
        assert!(!self.check.declined.contains(&pair), "{pair:?} is offered again to who just declined");
        let number: u32 = call[1..].parse().unwrap();
        if let Some(c) = self.calls.get(&number) {
            assert!(!c.entry.barred.iter().any(|b| b == operator), "{pair:?}: the matter names the operator");
        }
    }

    /// Whoever came before and could be served by this operator isn't passed over for long.
    fn check_turn(&mut self, call: &str, operator: &str) {
        let queues = self.core.queues();
        let main = queues.iter().find(|q| &*q.name == "main").unwrap();
        let Some(place) = main.callers.iter().position(|c| &*c.call == call).filter(|_| !self.check.pulled) else {
            return;
        };
        for c in main.callers[..place].iter().filter(|c| c.ringing.is_none()) {
            if self.is_for(&c.call, operator) {
                self.check.is_beside(self.now, &c.call, operator);
            }
        }
    }

    /// An operator of the main queue and one of its callers without any wish.
    fn is_for(&self, call: &str, operator: &str) -> bool {
        let (number, person): (u32, usize) = (call[1..].parse().unwrap(), operator[1..].parse().unwrap());
        let entry = &self.calls[&number].entry;
        let any = entry.prefer.is_none() && entry.skills.is_empty() && !entry.barred.iter().any(|b| b == operator);
        any && self.people[person].serves("main")
    }

    /// Nobody is forgotten: who waits with somebody free for them is offered in time, and nobody waits for ever.
    fn check_waits(&mut self) {
        let operators = self.core.operators();
        let free = |o: &&OperatorView| o.state == OperatorState::Ready && o.registered && o.engaged.is_empty();
        let queues = self.core.queues();
        let before = std::mem::take(&mut self.check.idle);
        for c in queues.iter().filter(|q| &*q.name == "main").flat_map(|q| &q.callers) {
            for o in operators.iter().filter(free).filter(|_| c.ringing.is_none()) {
                if self.is_for(&c.call, &o.who.id) {
                    let pair = (c.call.to_string(), o.who.id.clone(), o.since);
                    let since = before.get(&pair).copied().unwrap_or(self.now);
                    assert!(self.now - since <= BESIDE_MS, "{} and {} wait for nothing", c.call, o.who.id);
                    self.check.idle.insert(pair, since);
                }
            }
        }
        for c in queues.iter().flat_map(|q| &q.callers) {
            let number: u32 = c.call[1..].parse().unwrap();
            let waits = self.calls[&number].at == At::Waiting && self.now - c.entered_at > WAIT_MAX_MS + 10_000;
            assert!(!waits, "{} waits for ever", c.call);
        }
    }

    /// What holds at every moment between two inputs.
    pub(crate) fn check_all(&mut self) {
        self.check_waits();
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

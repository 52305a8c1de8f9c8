//! Rings, talks, and how they end.

use std::sync::Arc;

use super::Core;
use crate::effect::Effect;
use crate::limits::{DEVICE_PAUSE_MS, ENGAGED_MAX, NO_ROOM_PAUSE_MS, WRAP_MAX_MS};
use crate::model::{Decline, OperatorState};

impl Core {
    /// The operator's phone answered: the caller waits no longer. What the call's driver says holds, whatever was
    /// believed before: who had the caller until now is free, and whom this operator's phone rang for waits again.
    /// An operator who talks in another call has both then, and is free once both are over.
    pub fn connected(&mut self, now: i64, call: &str, operator: &str) {
        let operator = self.people.intern(operator);
        let gone = self.take(now, call, true);
        let mut queue = gone.as_ref().map(|w| w.queue);
        let mut node = gone.as_ref().map(|w| Arc::clone(&w.node));
        if let Some(other) = gone.as_ref().and_then(|w| w.ringing).filter(|o| Some(*o) != operator) {
            self.withdraw(call.into(), node.clone(), other);
            self.back_to_work(now, other);
        }
        if let Some(other) = self.talks.get(call).copied() {
            if Some(other) == operator {
                return;
            }
            if let Some(o) = self.operators.get(other) {
                (queue, node) = (queue.or(o.queue), node.or_else(|| Some(Arc::clone(&o.call_node))));
            }
            self.end_talk(now, call, other);
        }
        if let Some(operator) = operator {
            let aside = self.talk_of(operator).filter(|c| **c != *call);
            if aside.is_none() {
                self.let_go(operator, call);
            }
            let call: Arc<str> = call.into();
            self.talks.insert(Arc::clone(&call), operator);
            self.update(now, operator, |o| {
                // A colleague on a break who took a transfer goes back to it.
                if !matches!(o.state, OperatorState::Ready | OperatorState::DeviceFault) && !o.state.is_of_a_call() {
                    let was = (o.state, Arc::clone(&o.reason));
                    o.next.get_or_insert(was);
                }
                o.state = OperatorState::Talking;
                o.reason = "".into();
                o.engaged.retain(|c| *c != call);
                // Their phone took a second call: the first still lies there until its driver says otherwise.
                if let Some(aside) = aside.filter(|_| o.engaged.len() < ENGAGED_MAX) {
                    o.engaged.push(aside);
                }
                o.call = Some(call);
                o.queue = queue.or(o.queue);
                o.call_node = node.unwrap_or_default();
                o.pause_until = None;
                o.failures = 0;
            });
        }
        self.match_up(now);
    }

    /// The call they talk in.
    fn talk_of(&self, operator: u32) -> Option<Arc<str>> {
        let call = self.operators.get(operator)?.call.clone()?;
        (self.talks.get(&call) == Some(&operator)).then_some(call)
    }

    /// Whatever else this operator's phone is believed to do, it doesn't.
    pub(super) fn let_go(&mut self, operator: u32, but: &str) {
        let Some(other) = self.operators.get(operator).and_then(|o| o.call.clone()).filter(|c| **c != *but) else {
            return;
        };
        if self.talks.get(&other) == Some(&operator) {
            self.talks.remove(&other);
        }
        if let Some(key) = self.calls.get(&other).copied()
            && self.line.get(key).is_some_and(|w| w.ringing == Some(operator))
        {
            let node = self.line.get(key).map(|w| Arc::clone(&w.node));
            self.withdraw(other, node, operator);
            self.change(key, |w| w.ringing = None);
        }
    }

    pub(super) fn withdraw(&mut self, call: Arc<str>, node: Option<Arc<str>>, operator: u32) {
        if let Some(key) = self.calls.get(&call).copied() {
            self.line.change(key, |w| w.withdrawn.insert(operator));
        }
        let operator = self.people.name(operator);
        self.effects.push_back(Effect::Withdraw { call, node: node.unwrap_or_default(), operator });
    }

    /// The offered operator didn't take the call. Says this about anything but the offer at hand, it changes nothing.
    pub fn declined(&mut self, now: i64, call: &str, operator: &str, why: Decline) {
        let Some(operator) = self.people.find(operator) else { return };
        let caller = self.calls.get(call).copied();
        let Some(caller) = caller.filter(|c| self.line.get(*c).is_some_and(|w| w.ringing == Some(operator))) else {
            return;
        };
        // Perhaps said of a ring withdrawn before: then the one at hand still goes on at the driver.
        if let Some(w) = self.line.get(caller).filter(|w| w.withdrawn.contains(&operator)) {
            let node = Some(Arc::clone(&w.node));
            self.withdraw(call.into(), node, operator);
        }
        match why {
            // Its driver wants nobody: offered again and again it would spin.
            Decline::CallerLeft => {
                self.take(now, call, false);
                self.back_to_work(now, operator);
            }
            Decline::NoRoom => {
                self.change(caller, |w| w.ringing = None);
                self.update(now, operator, |o| o.pause_until = Some(now + NO_ROOM_PAUSE_MS));
                self.back_to_work(now, operator);
            }
            Decline::Device => self.device_failed(now, caller, operator),
            Decline::NoAnswer => self.not_taken(now, caller, operator, "no_answer"),
            Decline::Refused => self.not_taken(now, caller, operator, "declined"),
        }
        self.match_up(now);
    }

    /// The person didn't take it: 离席 unless they asked for something else, and never this caller again.
    pub(super) fn not_taken(&mut self, now: i64, caller: u32, operator: u32, reason: &str) {
        self.change(caller, |w| {
            w.ringing = None;
            if !w.declined.contains(&operator) {
                w.declined.push(operator);
            }
        });
        self.stop_ringing(now, operator, OperatorState::Away, reason);
    }

    fn device_failed(&mut self, now: i64, caller: u32, operator: u32) {
        let limit = self.line.get(caller).map_or(1, |w| self.queues[w.queue as usize].settings.device_failures);
        self.change(caller, |w| w.ringing = None);
        let failures = self.update(now, operator, |o| {
            o.failures = o.failures.saturating_add(1);
            o.pause_until = Some(now + DEVICE_PAUSE_MS);
            o.failures
        });
        if failures.is_some_and(|n| n >= limit) {
            self.stop_ringing(now, operator, OperatorState::DeviceFault, "device");
        } else {
            self.back_to_work(now, operator);
        }
    }

    fn stop_ringing(&mut self, now: i64, operator: u32, state: OperatorState, reason: &str) {
        self.update(now, operator, |o| {
            o.call = None;
            o.next_is_forced = false;
            // Ready isn't believed of who just didn't answer: the same caller would ring there again.
            let wish = o.next.take().filter(|n| n.0 != OperatorState::Ready);
            (o.state, o.reason) = wish.unwrap_or_else(|| (state, reason.into()));
            if o.state == OperatorState::DeviceFault {
                o.pause_until = None;
            }
        });
    }

    /// A talk is over: 话后, then ready. About another call than the one at hand it changes nothing.
    pub fn released(&mut self, now: i64, call: &str, operator: &str) {
        if let Some(operator) = self.people.find(operator)
            && self.talks.get(call) == Some(&operator)
        {
            self.end_talk(now, call, operator);
        }
        self.match_up(now);
    }

    /// A call is over for good: nobody waits, talks or listens in it any more, whatever else was said or lost.
    pub fn ended(&mut self, now: i64, call: &str) {
        if let Some(operator) = self.take(now, call, false).and_then(|w| w.ringing) {
            self.back_to_work(now, operator);
        }
        if let Some(operator) = self.talks.get(call).copied() {
            self.end_talk(now, call, operator);
        }
        let engaged: Vec<u32> =
            self.operators.iter().filter(|(_, o)| o.engaged.iter().any(|c| **c == *call)).map(|(key, _)| key).collect();
        for operator in engaged {
            self.update(now, operator, |o| o.engaged.retain(|c| **c != *call));
        }
        self.match_up(now);
    }

    pub(super) fn end_talk(&mut self, now: i64, call: &str, operator: u32) {
        self.talks.remove(call);
        let Some(o) = self.operators.get(operator) else { return };
        // One they were called away from: the talk at hand goes on.
        if o.call.as_deref() != Some(call) {
            self.update(now, operator, |o| o.engaged.retain(|c| **c != *call));
            return;
        }
        let wrap_ms = o.queue.map_or(0, |q| self.queues[q as usize].settings.wrap_ms);
        if o.next.is_some() || wrap_ms == 0 {
            self.back_to_work(now, operator);
            return;
        }
        self.update(now, operator, |o| {
            o.call = None;
            o.state = OperatorState::WrapUp;
            o.reason = "".into();
            o.wrap_until = Some(now + wrap_ms);
            o.wrap_limit = now + wrap_ms.max(WRAP_MAX_MS);
        });
    }

    /// Ready again, or what they asked for meanwhile.
    pub(super) fn back_to_work(&mut self, now: i64, operator: u32) {
        self.update(now, operator, |o| {
            o.call = None;
            o.next_is_forced = false;
            (o.state, o.reason) = o.next.take().unwrap_or_else(|| (OperatorState::Ready, "".into()));
        });
    }

    /// The operator's phone is used in a call that isn't theirs, as guest or consulted colleague: no call is offered
    /// until [`Self::disengaged`] or the call's end. A phone that rings for a caller just now is rung no longer.
    pub fn engaged(&mut self, now: i64, call: &str, operator: &str) {
        let Some(operator) = self.people.find(operator).filter(|key| self.operators.get(*key).is_some()) else {
            return;
        };
        let ringing = self.operators.get(operator).is_some_and(|o| o.state == OperatorState::Ringing);
        self.update(now, operator, |o| {
            if o.engaged.len() < ENGAGED_MAX && o.engaged.iter().all(|c| **c != *call) {
                o.engaged.push(call.into());
            }
        });
        if ringing {
            self.let_go(operator, "");
            self.back_to_work(now, operator);
        }
        self.match_up(now);
    }

    /// The guest or consultation leg is gone.
    pub fn disengaged(&mut self, now: i64, call: &str, operator: &str) {
        // A talk of their own ends otherwise.
        if let Some(operator) = self.people.find(operator).filter(|key| self.talks.get(call) != Some(key)) {
            self.update(now, operator, |o| o.engaged.retain(|c| **c != *call));
        }
        self.match_up(now);
    }
}

//! Gateways that go, and a machine that begins again.

use std::sync::Arc;

use super::Core;
use crate::effect::{CallerRow, OperatorRow};
use crate::limits::RING_GRACE_MS;
use crate::model::OperatorState;
use crate::waiting::Waiting;

impl Core {
    /// A gateway is gone: its callers wait no longer, who talked in its calls is free, and operators whose phones
    /// were registered there have none until they register elsewhere. A caller of another gateway whose offer rang
    /// at such a phone waits again and isn't held to have been declined. Who talks on such a phone in a call of another
    /// gateway goes on talking until its driver says otherwise: their media went past the lost one.
    pub fn node_lost(&mut self, now: i64, node: &str) {
        self.callers_lost(now, node);
        let talking: Vec<(Arc<str>, u32)> = self
            .operators
            .iter()
            .filter(|(_, o)| o.state == OperatorState::Talking && *o.call_node == *node)
            .filter_map(|(key, o)| Some((o.call.clone()?, key)))
            .collect();
        for (call, key) in talking {
            self.end_talk(now, &call, key);
        }
        self.phones_lost(now, node);
        self.match_up(now);
    }

    /// A gateway lives and can't be talked with: as [`Self::node_lost`], but who talks in its calls, or is engaged in
    /// one, goes on so until its drivers say otherwise.
    pub fn node_cut_off(&mut self, now: i64, node: &str) {
        self.callers_lost(now, node);
        self.phones_lost(now, node);
        self.match_up(now);
    }

    fn callers_lost(&mut self, now: i64, node: &str) {
        let lost: Vec<Arc<str>> =
            self.line.iter().filter(|(_, w)| *w.node == *node).map(|(_, w)| Arc::clone(&w.call)).collect();
        for call in lost {
            if let Some(operator) = self.take(now, &call, false).and_then(|w| w.ringing) {
                self.back_to_work(now, operator);
            }
        }
    }

    fn phones_lost(&mut self, now: i64, node: &str) {
        let theirs: Vec<u32> =
            self.operators.iter().filter(|(_, o)| o.profile.node == node).map(|(key, _)| key).collect();
        for key in theirs {
            let state = self.operators.get(key).map(|o| o.state);
            // A call of another gateway that talks with them, also one they were called away from, goes on until its
            // driver says otherwise.
            if state != Some(OperatorState::Talking) {
                self.let_go(key, "");
            }
            self.update(now, key, |o| {
                o.registered = false;
                let mut profile = (*o.profile).clone();
                profile.registered = false;
                o.profile = Arc::new(profile);
            });
            if state == Some(OperatorState::Ringing) {
                self.back_to_work(now, key);
            }
        }
    }

    /// A phone is registered at this gateway, perhaps at another than before; as [`Self::registered`] otherwise.
    pub fn registered_at(&mut self, now: i64, sip_user: &str, node: &str) {
        let theirs: Vec<u32> =
            self.operators.iter().filter(|(_, o)| o.who.sip_user == sip_user).map(|(key, _)| key).collect();
        for key in theirs {
            if self.operators.get(key).is_some_and(|o| o.profile.node != node) {
                self.update(now, key, |o| Arc::make_mut(&mut o.profile).node = node.to_owned());
            }
        }
        self.registered(now, sip_user, true);
    }

    /// Calls a gateway drove that is gone, for whom they engaged: as [`Self::ended`] for each of them.
    pub fn calls_lost(&mut self, now: i64, calls: &[String]) {
        for call in calls {
            self.ended(now, call);
        }
    }

    /// Begins again from rows: what waits, rings and is talked goes on, in the same order. `is_live` tells which
    /// calls still exist; rows of others are left out. A ring gets its whole limit again.
    pub fn restore(
        &mut self,
        now: i64,
        operators: Vec<OperatorRow>,
        callers: Vec<CallerRow>,
        is_live: &dyn Fn(&str) -> bool,
    ) {
        for row in operators {
            self.restore_operator(now, row, is_live);
        }
        let mut callers: Vec<CallerRow> = callers.into_iter().filter(|row| is_live(&row.entry.call)).collect();
        callers.sort_by_key(|row| (row.place, row.entered_at));
        for row in callers {
            self.restore_caller(now, row);
        }
        // Rings whose caller is gone.
        let idle: Vec<u32> = self
            .operators
            .iter()
            .filter(|(key, o)| o.state == OperatorState::Ringing && !self.rings_for(*key, o.call.as_deref()))
            .map(|(key, _)| key)
            .collect();
        for key in idle {
            self.back_to_work(now, key);
        }
        self.match_up(now);
    }

    fn rings_for(&self, operator: u32, call: Option<&str>) -> bool {
        let caller = call.and_then(|call| self.calls.get(call)).and_then(|key| self.line.get(*key));
        caller.is_some_and(|w| w.ringing == Some(operator))
    }

    fn restore_operator(&mut self, now: i64, row: OperatorRow, is_live: &dyn Fn(&str) -> bool) {
        let Some(key) = self.people.intern(&row.who.id) else { return };
        self.know(now, key, (*row.who).clone(), (*row.profile).clone());
        let queue = row.queue.as_ref().and_then(|q| self.queue_names.find(q));
        let ring_ms = queue.map_or(0, |q| self.queues[q as usize].settings.ring_ms);
        let call = row.call.filter(|call| is_live(call));
        let talks = row.state == OperatorState::Talking && call.as_ref().is_some_and(|c| !self.talks.contains_key(c));
        if let Some(call) = call.as_ref().filter(|_| talks) {
            self.talks.insert(Arc::clone(call), key);
        }
        let lost = row.state == OperatorState::Talking && !talks
            || row.state == OperatorState::Ringing && call.is_none()
            || row.state == OperatorState::WrapUp && row.wrap_until.is_none();
        self.update(now, key, |o| {
            (o.state, o.reason, o.next, o.queue) = (row.state, row.reason, row.next, queue);
            o.call = call;
            o.call_node = row.call_node;
            o.engaged = row.engaged;
            o.engaged.retain(|c| is_live(c));
            o.wrap_until = row.wrap_until;
            o.wrap_limit = row.wrap_until.unwrap_or(now);
            if row.state == OperatorState::Ringing {
                o.ring_until = Some(now + ring_ms + RING_GRACE_MS);
            }
        });
        if lost {
            self.back_to_work(now, key);
        }
        // Neither the state's age nor the idle time begins anew.
        if !lost && let Some(o) = self.operators.get_mut(key) {
            (o.since, o.idle_since) = (row.since, row.idle_since);
            self.operators.refresh(key);
            self.update(now, key, |_| ());
        }
    }

    fn restore_caller(&mut self, now: i64, row: CallerRow) {
        let Some(queue) = self.queue_names.find(&row.queue) else { return };
        if self.calls.contains_key(row.entry.call.as_str()) || self.talks.contains_key(row.entry.call.as_str()) {
            return;
        }
        let ringing = row.ringing.as_ref().and_then(|id| self.people.find(id)).filter(|key| {
            let o = self.operators.get(*key);
            o.is_some_and(|o| o.state == OperatorState::Ringing && o.call.as_deref() == Some(row.entry.call.as_str()))
        });
        let Some(barred) = row.entry.barred.iter().map(|id| self.people.intern(id)).collect::<Option<Vec<u32>>>()
        else {
            return;
        };
        let wanted = {
            let asked = row.entry.skills.iter().filter_map(|s| self.skills.intern(s)).fold(0, |b, s| b | 1_u64 << s);
            asked | self.queues[queue as usize].skills
        };
        let of = &mut self.queues[queue as usize];
        of.waiting += 1;
        let mut caller = Waiting::new(row.lane, row.place, of.needs(queue, wanted, now - row.entered_at), Vec::new());
        caller.call = row.entry.call.as_str().into();
        caller.node = row.entry.node.as_str().into();
        (caller.queue, caller.head, caller.wanted, caller.barred) = (queue, row.head, wanted, barred);
        (caller.entered_at, caller.needs_at, caller.told) = (row.entered_at, now, row.told);
        caller.declined = row.declined.iter().filter_map(|id| self.people.intern(id)).collect();
        caller.announce_at = of.settings.announce_ms.map(|(_, every)| now + every.max(1_000));
        caller.ringing = ringing;
        caller.entry = row.entry;
        let call = Arc::clone(&caller.call);
        if row.place < 0 {
            self.head_next = self.head_next.max(row.place);
            self.front_next = self.front_next.min(row.place);
        } else {
            self.place_next = self.place_next.max(row.place);
        }
        let key = self.line.add(caller);
        self.calls.insert(call, key);
        self.change(key, |_| ());
        self.keep_waiting(now, key);
    }
}

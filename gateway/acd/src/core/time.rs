//! Deadlines.

use std::sync::Arc;

use super::{Core, TOLD_OVERFLOW, TOLD_TOO_LONG, Timer};
use crate::effect::Effect;
use crate::model::{Lane, OperatorState};
use crate::waiting::Waiting;

impl Core {
    /// When [`Self::handle_timeout`] is due next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<i64> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: i64) {
        while let Some((at, timer)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, timer));
            match timer {
                Timer::Operator(key) => {
                    if let Some(o) = self.operators.get_mut(key) {
                        o.timer_at = None;
                    }
                    self.operator_due(now, key);
                }
                Timer::Caller(key) => {
                    self.line.change(key, |w| w.timer_at = None);
                    self.caller_due(now, key);
                }
            }
        }
        self.match_up(now);
    }

    /// The clock was set by so much, forwards or (negative) backwards: nobody's ring, talk, wait or 话后 is longer or
    /// shorter for it. From now on `now` is of the new time.
    pub fn clock_set(&mut self, by_ms: i64) {
        let set = |at: &mut Option<i64>| *at = at.map(|at| at + by_ms);
        for o in self.operators.all.iter_mut().flatten() {
            for at in [&mut o.since, &mut o.idle_since, &mut o.wrap_limit] {
                *at += by_ms;
            }
            for at in [&mut o.ring_until, &mut o.wrap_until, &mut o.pause_until, &mut o.free_as, &mut o.timer_at] {
                set(at);
            }
        }
        for w in self.line.all.iter_mut().flatten() {
            w.entered_at += by_ms;
            w.needs_at += by_ms;
            w.prefer = w.prefer.map(|(who, until)| (who, until + by_ms));
            for at in [&mut w.announce_at, &mut w.again_at, &mut w.timer_at] {
                set(at);
            }
        }
        let (timers, free) = (std::mem::take(&mut self.timers), std::mem::take(&mut self.operators.free));
        self.timers = timers.into_iter().map(|(at, timer)| (at + by_ms, timer)).collect();
        self.operators.free = free.into_iter().map(|(at, key)| (at + by_ms, key)).collect();
        for queue in &mut self.queues {
            queue.estimator.clock_set(by_ms);
        }
        let operators: Vec<u32> = self.operators.iter().map(|(key, _)| key).collect();
        let rows = operators.into_iter().filter_map(|key| self.operator_row(key));
        let rows: Vec<Effect> = rows.map(|row| Effect::Operator { row: Box::new(row), state: false }).collect();
        self.effects.extend(rows);
        let callers: Vec<u32> = self.line.iter().map(|(key, _)| key).collect();
        let rows = callers.into_iter().filter_map(|key| self.caller_row(key));
        let rows: Vec<Effect> = rows.map(|row| Effect::Caller(Box::new(row))).collect();
        self.effects.extend(rows);
    }

    fn operator_due(&mut self, now: i64, key: u32) {
        let Some(o) = self.operators.get(key) else { return };
        let is_due = |at: Option<i64>| at.is_some_and(|at| at <= now);
        let (ring, wrap, pause) = (is_due(o.ring_until), is_due(o.wrap_until), is_due(o.pause_until));
        if pause {
            self.update(now, key, |o| o.pause_until = None);
        }
        if ring {
            self.ring_lost(now, key);
        } else if wrap {
            self.back_to_work(now, key);
        } else if !pause {
            // A deadline that moved: its new timer.
            self.update(now, key, |_| ());
        }
    }

    /// No news of a ring past its limit: nobody stays reserved for a driver that is silent.
    fn ring_lost(&mut self, now: i64, operator: u32) {
        let call = self.operators.get(operator).and_then(|o| o.call.clone());
        let caller = call.as_ref().and_then(|c| self.calls.get(c)).copied();
        let caller = caller.filter(|c| self.line.get(*c).is_some_and(|w| w.ringing == Some(operator)));
        match (call, caller) {
            (Some(call), Some(caller)) => {
                let node = self.line.get(caller).map(|w| Arc::clone(&w.node));
                self.withdraw(call, node, operator);
                self.not_taken(now, caller, operator, "no_news");
            }
            _ => self.back_to_work(now, operator),
        }
        debug_assert!(self.operators.get(operator).is_none_or(|o| o.state != OperatorState::Ringing));
    }

    fn caller_due(&mut self, now: i64, key: u32) {
        let Some(w) = self.line.get(key) else { return };
        let of = &self.queues[w.queue as usize];
        let waited = now - w.entered_at;
        let needs = of.needs(w.queue, w.wanted, waited);
        let told = w.told | told_by(&of.settings, w.lane, waited);
        let new = told & !w.told;
        let announce = w.announce_at.filter(|at| *at <= now).is_some();
        let next = of.settings.announce_ms.map(|(_, every)| now + every.max(1_000));
        let again = w.again_at.is_some_and(|at| at <= now);
        let (call, red, ringing) = (Arc::clone(&w.call), w.lane == Lane::Red, w.ringing.is_some());
        self.change(key, |w| {
            (w.needs, w.needs_at, w.told) = (needs, now, told);
            w.prefer = w.prefer.filter(|(_, until)| *until > now);
            if announce {
                w.announce_at = next;
            }
            if again {
                w.declined.clear();
                w.again_at = None;
            }
        });
        if new & TOLD_OVERFLOW != 0 {
            self.effects.push_back(Effect::Overflow { call: Arc::clone(&call), red });
        }
        if new & TOLD_TOO_LONG != 0 {
            self.effects.push_back(Effect::WaitedTooLong { call: Arc::clone(&call) });
        }
        self.tell_of_barred(key);
        if announce
            && !ringing
            && let Some((position, estimate_ms)) = self.position(&call)
        {
            self.effects.push_back(Effect::Announce { call, position, estimate_ms });
        }
    }

    /// The next moment at which time alone changes something for a caller.
    pub(super) fn deadline_of(&self, w: &Waiting) -> Option<i64> {
        let of = &self.queues[w.queue as usize];
        let step = of.steps.iter().map(|s| w.entered_at + s.after_ms).find(|at| *at > w.needs_at);
        let told = |bit: u8, after: Option<i64>| after.filter(|_| w.told & bit == 0).map(|ms| w.entered_at + ms);
        let overflow = if w.lane == Lane::Red { of.settings.overflow_red_ms } else { of.settings.overflow_ms };
        [
            step,
            told(TOLD_OVERFLOW, overflow),
            told(TOLD_TOO_LONG, of.settings.wait_max_ms),
            w.prefer.map(|(_, until)| until),
            w.announce_at,
            w.again_at,
            Self::barred_look_at(w),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

fn told_by(settings: &crate::model::QueueSettings, lane: Lane, waited: i64) -> u8 {
    let overflow = if lane == Lane::Red { settings.overflow_red_ms } else { settings.overflow_ms };
    let mut told = 0;
    if overflow.is_some_and(|ms| waited >= ms) {
        told |= TOLD_OVERFLOW;
    }
    if settings.wait_max_ms.is_some_and(|ms| waited >= ms) {
        told |= TOLD_TOO_LONG;
    }
    told
}

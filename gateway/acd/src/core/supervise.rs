//! What a person does to the line by hand.

use std::sync::Arc;

use super::{Core, HEAD, TOLD_BARRED, TOLD_OVERFLOW};
use crate::assign::fits;
use crate::effect::Effect;
use crate::model::{Move, Refused};

impl Core {
    /// Moves a waiting caller. An offer at hand goes on.
    ///
    /// # Errors
    /// [`Refused::NotWaiting`], [`Refused::NoQueue`].
    pub fn move_caller(&mut self, now: i64, call: &str, to: &Move) -> Result<(), Refused> {
        let key = self.calls.get(call).copied().ok_or(Refused::NotWaiting)?;
        match to {
            Move::Front => {
                self.front_next = self.front_next.min(HEAD) - 1;
                let place = self.front_next;
                self.change(key, |w| w.place = place);
            }
            Move::Queue(name) => {
                let queue = self.queue_names.find(name).ok_or_else(|| Refused::NoQueue(name.clone()))?;
                if self.line.get(key).is_some_and(|w| w.queue != queue) {
                    self.requeue(now, key, queue);
                }
            }
            Move::Lane(lane) => {
                self.change(key, |w| w.lane = *lane);
            }
        }
        self.match_up(now);
        Ok(())
    }

    /// Another queue, the same place in the order of arrival.
    pub(super) fn requeue(&mut self, now: i64, key: u32, queue: u32) {
        let Some(w) = self.line.get(key) else { return };
        let (call, from, guess, entered_at) = (Arc::clone(&w.call), w.queue, w.guess, w.entered_at);
        let asked = w.wanted & !self.queues[from as usize].skills;
        if let Some(joined) = guess {
            self.queues[from as usize].estimator.left(now, entered_at, joined, false);
        }
        self.queues[from as usize].waiting -= 1;
        let to = &mut self.queues[queue as usize];
        to.waiting += 1;
        let wanted = asked | to.skills;
        let needs = to.needs(queue, wanted, now - entered_at);
        let name = Arc::clone(&to.name);
        self.change(key, |w| {
            (w.queue, w.wanted, w.needs, w.needs_at) = (queue, wanted, needs, now);
            w.guess = None;
            // That queue has its own people, on call too.
            w.told &= !(TOLD_OVERFLOW | TOLD_BARRED);
        });
        self.effects.push_back(Effect::Moved { call, queue: name });
        if guess.is_some() {
            self.keep_waiting(now, key);
        }
    }

    /// Offers a waiting caller to this operator before anybody's turn.
    ///
    /// # Errors
    /// [`Refused::NotWaiting`] also while somebody's phone rings for them; [`Refused::NotFree`],
    /// [`Refused::Barred`], [`Refused::NoOperator`].
    pub fn pull(&mut self, now: i64, call: &str, operator: &str) -> Result<(), Refused> {
        let key = self.calls.get(call).copied().ok_or(Refused::NotWaiting)?;
        let person = self.people.find(operator).ok_or(Refused::NoOperator)?;
        let o = self.operators.get(person).ok_or(Refused::NoOperator)?;
        let w = self.line.get(key).filter(|w| w.ringing.is_none()).ok_or(Refused::NotWaiting)?;
        if w.barred.contains(&person) {
            return Err(Refused::Barred);
        }
        if !o.is_free() {
            return Err(Refused::NotFree);
        }
        // Who asks for a caller takes back that they declined; skills are the asking person's judgement.
        self.change(key, |w| w.declined.retain(|d| *d != person));
        self.offer(now, key, person);
        self.match_up(now);
        Ok(())
    }

    /// Whether this operator could be offered this caller now; for lists.
    #[must_use]
    pub fn may_serve(&self, call: &str, operator: &str) -> bool {
        let caller = self.calls.get(call).and_then(|key| self.line.get(*key));
        let person = self.people.find(operator);
        match (caller, person, person.and_then(|p| self.operators.get(p))) {
            (Some(w), Some(p), Some(o)) => o.is_free() && fits(o, w.needs) && !w.excludes(p),
            _ => false,
        }
    }
}

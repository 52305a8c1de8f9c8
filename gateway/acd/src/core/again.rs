//! A caller who waits already joins once more.

use std::sync::Arc;

use super::Core;
use crate::model::{Entry, Refused};

impl Core {
    pub(super) fn enter_again(&mut self, now: i64, key: u32, queue: u32, entry: Entry) -> Result<(), Refused> {
        let barred: Option<Vec<u32>> = entry.barred.iter().map(|id| self.people.intern(id)).collect();
        let barred = barred.ok_or(Refused::Full)?;
        let declined: Vec<u32> = entry.declined.iter().filter_map(|id| self.people.intern(id)).collect();
        let asked = entry.skills.iter().filter_map(|s| self.skills.intern(s)).fold(0, |bits, s| bits | 1_u64 << s);
        if self.line.get(key).is_some_and(|w| w.queue != queue) {
            self.requeue(now, key, queue);
        }
        let anew = entry.returns && self.line.get(key).is_some_and(|w| !w.head);
        if anew {
            self.waits_anew(now, key);
        }
        // Nobody the matter names goes on ringing.
        let rings = self.line.get(key).and_then(|w| w.ringing).filter(|o| barred.contains(o));
        if let Some(operator) = rings {
            self.let_go(operator, "");
            self.back_to_work(now, operator);
        }
        let Some(w) = self.line.get(key) else { return Ok(()) };
        let (wanted, waited) = (w.wanted | asked, now - w.entered_at);
        let needs = self.queues[queue as usize].needs(queue, wanted, waited);
        let mut of_both = (*w.entry).clone();
        of_both.barred.extend(entry.barred);
        of_both.skills.extend(entry.skills);
        for list in [&mut of_both.barred, &mut of_both.skills] {
            list.sort_unstable();
            list.dedup();
        }
        let head = if entry.returns { Some(self.head_next + 1) } else { None };
        self.change(key, |w| {
            w.lane = w.lane.min(entry.lane);
            (w.wanted, w.needs, w.needs_at) = (wanted, needs, now);
            for (list, more) in [(&mut w.barred, barred), (&mut w.declined, declined)] {
                list.extend(more);
                list.sort_unstable();
                list.dedup();
            }
            w.entry = Arc::new(of_both);
            if let Some(place) = head.filter(|_| !w.head) {
                (w.head, w.place) = (true, place);
            }
        });
        self.head_next = head.unwrap_or(self.head_next);
        self.match_up(now);
        if anew {
            self.keep_waiting(now, key);
        }
        self.tell_of_barred(key);
        Ok(())
    }

    /// They talked meanwhile, though nobody heard of it: this is another wait, with limits of its own. Who was rung
    /// for them is rung no longer.
    fn waits_anew(&mut self, now: i64, key: u32) {
        if let Some(operator) = self.line.get(key).and_then(|w| w.ringing) {
            self.let_go(operator, "");
            self.back_to_work(now, operator);
        }
        let Some(w) = self.line.get(key) else { return };
        if let Some(joined) = w.guess {
            self.queues[w.queue as usize].estimator.left(now, w.entered_at, joined, false);
        }
        self.change(key, |w| (w.entered_at, w.told, w.guess) = (now, 0, None));
    }
}

//! 回避: a caller for whom nobody is there but people their matters name.

use std::sync::Arc;

use super::{Core, TOLD_BARRED, TOLD_OVERFLOW};
use crate::assign::fits;
use crate::effect::Effect;
use crate::limits::BARRED_LOOK_MS;
use crate::model::{Lane, OperatorState};
use crate::waiting::Waiting;

impl Core {
    /// When it is looked again whether anybody else is there.
    pub(super) fn barred_look_at(w: &Waiting) -> Option<i64> {
        (!w.barred.is_empty() && w.told & TOLD_BARRED == 0).then(|| w.needs_at + BARRED_LOOK_MS)
    }

    /// Who would wait for ever is told of once, and the people on call are asked at once.
    pub(super) fn tell_of_barred(&mut self, key: u32) {
        let Some(w) = self.line.get(key).filter(|w| w.ringing.is_none() && self.has_only_barred(w)) else { return };
        let settings = &self.queues[w.queue as usize].settings;
        let has_roster = settings.overflow_ms.or(settings.overflow_red_ms).is_some();
        let overflow = if has_roster { !w.told & TOLD_OVERFLOW } else { 0 };
        let (call, red) = (Arc::clone(&w.call), w.lane == Lane::Red);
        self.change(key, |w| w.told |= TOLD_BARRED | overflow);
        if overflow != 0 {
            self.effects.push_back(Effect::Overflow { call: Arc::clone(&call), red });
        }
        self.effects.push_back(Effect::OnlyBarred { call });
    }

    /// Somebody signed in might serve them some time, and all of those are named by the matter.
    fn has_only_barred(&self, w: &Waiting) -> bool {
        if w.barred.is_empty() || w.told & TOLD_BARRED != 0 {
            return false;
        }
        let needs = self.queues[w.queue as usize].needs(w.queue, w.wanted, i64::MAX);
        let mut there = self.operators.iter().filter(|(_, o)| o.state != OperatorState::Off && fits(o, needs));
        let first = there.next().map(|(key, _)| w.barred.contains(&key));
        first == Some(true) && there.all(|(key, _)| w.barred.contains(&key))
    }
}

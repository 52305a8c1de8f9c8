//! Deadlines: the RFC's timing values, doubling intervals, and one ordered book

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// T1, T2 and T4 (RFC 3261 table 4)
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub(crate) t1: Duration,
    pub(crate) t2: Duration,
    pub(crate) t4: Duration,
}

impl Timing {
    /// 64·T1: timers B, F, H, J, L and M
    pub(crate) fn patience(&self) -> Duration {
        self.t1 * 64
    }
}

/// A doubling retransmission interval
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retransmit {
    pub(crate) at: Instant,
    interval: Duration,
    ceiling: Duration,
}

impl Retransmit {
    pub(crate) fn new(now: Instant, first: Duration, ceiling: Duration) -> Self {
        Self { at: now + first, interval: first, ceiling }
    }

    pub(crate) fn next(&mut self, now: Instant) {
        self.interval = (self.interval * 2).min(self.ceiling);
        self.at = now + self.interval;
    }

    pub(crate) fn slow_down(&mut self) {
        self.interval = self.ceiling;
    }
}

/// Whose deadline it is
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum TimerKey {
    Server(u64),
    Client(u64),
    Session(u64),
    Transfer(u64),
    Stream(u64),
    Registrar,
}

/// One deadline per owner, in order of time
#[derive(Default)]
pub(crate) struct Timers {
    order: BTreeSet<(Instant, TimerKey)>,
    armed: HashMap<TimerKey, Instant>,
}

impl Timers {
    /// Sets or clears an owner's deadline
    pub(crate) fn set(&mut self, key: TimerKey, at: Option<Instant>) {
        let old = match at {
            Some(at) => self.armed.insert(key, at),
            None => self.armed.remove(&key),
        };
        if old == at {
            return;
        }
        if let Some(old) = old {
            self.order.remove(&(old, key));
        }
        if let Some(at) = at {
            self.order.insert((at, key));
        }
    }

    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<TimerKey> {
        let (at, key) = *self.order.first()?;
        if at > now {
            return None;
        }
        self.order.pop_first();
        self.armed.remove(&key);
        Some(key)
    }
}

/// The earliest of some deadlines
pub(crate) fn earliest(deadlines: &[Option<Instant>]) -> Option<Instant> {
    deadlines.iter().flatten().min().copied()
}

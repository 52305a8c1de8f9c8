//! One waiting caller, and the line of all.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::{Entry, Lane};

/// A place in the line: lane first, then order. Smaller is earlier.
pub type Rank = (u8, i64);

/// Who may serve a caller now: one of these queues' operators with all of these skills.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Bits of queues; one of them is enough.
    pub queues: u64,
    /// Bits of skills; all of them.
    pub skills: u64,
}

/// One waiting caller.
#[derive(Debug)]
pub struct Waiting {
    pub(crate) call: Arc<str>,
    pub(crate) node: Arc<str>,
    pub(crate) entry: Arc<Entry>,
    pub(crate) queue: u32,
    pub(crate) lane: Lane,
    /// Among those who were served before, at the head.
    pub(crate) head: bool,
    pub(crate) place: i64,
    pub(crate) entered_at: i64,
    /// All skills they came for; what of it still counts is in `needs`.
    pub(crate) wanted: u64,
    pub(crate) needs: Needs,
    /// The time `needs` was worked out for.
    pub(crate) needs_at: i64,
    pub(crate) declined: Vec<u32>,
    pub(crate) barred: Vec<u32>,
    /// Who declined and is back at work may be asked again then.
    pub(crate) again_at: Option<i64>,
    /// Waits for this operator until then.
    pub(crate) prefer: Option<(u32, i64)>,
    pub(crate) ringing: Option<u32>,
    /// Whose ring for them was withdrawn: their word about it may still be under way.
    pub(crate) withdrawn: BTreeSet<u32>,
    pub(crate) told: u8,
    pub(crate) announce_at: Option<i64>,
    /// Place and estimate when they came, to learn from; `None`: they were offered at once.
    pub(crate) guess: Option<(usize, i64)>,
    pub(crate) timer_at: Option<i64>,
}

impl Waiting {
    /// For tests and benches of the decision.
    #[must_use]
    pub fn new(lane: Lane, place: i64, needs: Needs, declined: Vec<u32>) -> Self {
        Self {
            call: "".into(),
            node: "".into(),
            entry: Arc::new(Entry::new("", "", lane)),
            queue: 0,
            lane,
            head: false,
            place,
            entered_at: 0,
            wanted: needs.skills,
            needs,
            needs_at: 0,
            declined,
            barred: Vec::new(),
            again_at: None,
            prefer: None,
            ringing: None,
            withdrawn: BTreeSet::new(),
            told: 0,
            announce_at: None,
            guess: None,
            timer_at: None,
        }
    }

    /// They wait for this operator until then, if that one is busy.
    #[must_use]
    pub const fn preferring(mut self, operator: u32, until: i64) -> Self {
        self.prefer = Some((operator, until));
        self
    }

    /// Their place. Who lost somebody on the line comes before everybody but the red lane.
    #[must_use]
    pub const fn rank(&self) -> Rank {
        let lane = self.lane as u8;
        (if self.head && lane > Lane::Trouble as u8 { Lane::Trouble as u8 } else { lane }, self.place)
    }

    pub(crate) fn excludes(&self, operator: u32) -> bool {
        self.declined.contains(&operator) || self.barred.contains(&operator)
    }
}

/// All waiting callers, and those nobody is rung for in the order in which they are served.
#[derive(Debug, Default)]
pub struct Line {
    pub(crate) all: Vec<Option<Waiting>>,
    vacant: Vec<u32>,
    pub(crate) open: BTreeSet<(Rank, u32)>,
    pub(crate) count: usize,
}

impl Line {
    /// Adds a caller; their key.
    pub fn add(&mut self, caller: Waiting) -> u32 {
        let key = self.vacant.pop().unwrap_or_else(|| {
            self.all.push(None);
            // Bounded by CALLERS_MAX.
            u32::try_from(self.all.len() - 1).unwrap_or(u32::MAX)
        });
        if caller.ringing.is_none() {
            self.open.insert((caller.rank(), key));
        }
        if let Some(slot) = self.all.get_mut(key as usize) {
            *slot = Some(caller);
            self.count += 1;
        }
        key
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, key: u32) -> Option<&Waiting> {
        self.all.get(key as usize)?.as_ref()
    }

    pub(crate) fn remove(&mut self, key: u32) -> Option<Waiting> {
        let gone = self.all.get_mut(key as usize)?.take()?;
        self.open.remove(&(gone.rank(), key));
        self.vacant.push(key);
        self.count -= 1;
        Some(gone)
    }

    /// Changes one, with its place among the open ones kept in step.
    pub(crate) fn change<T>(&mut self, key: u32, change: impl FnOnce(&mut Waiting) -> T) -> Option<T> {
        let w = self.all.get_mut(key as usize)?.as_mut()?;
        let old = (w.rank(), w.ringing.is_none());
        let out = change(w);
        let new = (w.rank(), w.ringing.is_none());
        if old != new {
            if old.1 {
                self.open.remove(&(old.0, key));
            }
            if new.1 {
                self.open.insert((new.0, key));
            }
        }
        Some(out)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Waiting)> {
        #[allow(clippy::cast_possible_truncation, reason = "at most CALLERS_MAX")]
        self.all.iter().enumerate().filter_map(|(key, w)| Some((key as u32, w.as_ref()?)))
    }
}

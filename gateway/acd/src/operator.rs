//! One operator, and the table of all.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::limits::SKILLS_MAX;
use crate::model::{OperatorRef, OperatorState, Profile};

/// One operator as the decision and the machine see them.
#[derive(Debug)]
pub struct Operator {
    pub(crate) who: Arc<OperatorRef>,
    pub(crate) profile: Arc<Profile>,
    /// Bits of queues they serve.
    pub(crate) queues: u64,
    /// Bits of skills they have.
    pub(crate) skills: u64,
    pub(crate) levels: [u8; SKILLS_MAX],
    pub(crate) registered: bool,
    pub(crate) state: OperatorState,
    pub(crate) reason: Arc<str>,
    pub(crate) since: i64,
    pub(crate) idle_since: i64,
    pub(crate) call: Option<Arc<str>>,
    /// The gateway that drives it.
    pub(crate) call_node: Arc<str>,
    /// Queue of that call.
    pub(crate) queue: Option<u32>,
    pub(crate) ring_until: Option<i64>,
    pub(crate) wrap_until: Option<i64>,
    /// The latest end an extension may reach.
    pub(crate) wrap_limit: i64,
    /// Gets no call before then.
    pub(crate) pause_until: Option<i64>,
    pub(crate) next: Option<(OperatorState, Arc<str>)>,
    /// A supervisor asked for `next`: the operator can't change it.
    pub(crate) next_is_forced: bool,
    /// Calls they are a guest or a consulted colleague in.
    pub(crate) engaged: Vec<Arc<str>>,
    /// Failures of the phone in a row.
    pub(crate) failures: u8,
    /// Their entry among the free.
    pub(crate) free_as: Option<i64>,
    /// Their entry among the timers.
    pub(crate) timer_at: Option<i64>,
}

impl Operator {
    /// Signed out, known by name.
    #[must_use]
    pub fn new(now: i64, who: Arc<OperatorRef>) -> Self {
        Self {
            who,
            profile: Arc::default(),
            queues: 0,
            skills: 0,
            levels: [0; SKILLS_MAX],
            registered: false,
            state: OperatorState::Off,
            reason: "".into(),
            since: now,
            idle_since: now,
            call: None,
            call_node: "".into(),
            queue: None,
            ring_until: None,
            wrap_until: None,
            wrap_limit: 0,
            pause_until: None,
            next: None,
            next_is_forced: false,
            engaged: Vec::new(),
            failures: 0,
            free_as: None,
            timer_at: None,
        }
    }

    /// For tests and benches of the decision: ready since `idle_since`, with queues and skills as bits.
    #[must_use]
    pub fn ready(idle_since: i64, queues: u64, skills: &[(u32, u8)]) -> Self {
        let who = OperatorRef { id: String::new(), name: String::new(), sip_user: String::new() };
        let mut operator = Self::new(idle_since, Arc::new(who));
        operator.queues = queues;
        operator.registered = true;
        operator.state = OperatorState::Ready;
        for (skill, level) in skills {
            operator.skills |= 1 << skill;
            operator.levels[*skill as usize] = *level;
        }
        operator
    }

    /// A call may be offered now.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.state == OperatorState::Ready
            && self.registered
            && self.call.is_none()
            && self.pause_until.is_none()
            && self.engaged.is_empty()
    }

    /// Busy with a call, and free after it as far as anybody knows.
    pub(crate) fn returns_soon(&self) -> bool {
        self.registered && self.state.is_of_a_call() && self.next.as_ref().is_none_or(|n| n.0 == OperatorState::Ready)
    }

    /// At work with a phone, and not about to leave: may be offered a call soon.
    pub(crate) fn comes_soon(&self) -> bool {
        self.returns_soon() || (self.registered && self.state == OperatorState::Ready)
    }

    /// The least of their levels in what is asked for.
    pub(crate) fn level(&self, mut skills: u64) -> u8 {
        let mut least = u8::MAX;
        while skills != 0 {
            least = least.min(self.levels[skills.trailing_zeros() as usize]);
            skills &= skills - 1;
        }
        least
    }

    pub(crate) fn deadline(&self) -> Option<i64> {
        [self.ring_until, self.wrap_until, self.pause_until].into_iter().flatten().min()
    }
}

/// All operators, by key, and the free ones in the order in which they are asked.
#[derive(Debug, Default)]
pub struct Operators {
    pub(crate) all: Vec<Option<Operator>>,
    pub(crate) free: BTreeSet<(i64, u32)>,
}

impl Operators {
    /// Adds or replaces one.
    pub fn put(&mut self, key: u32, operator: Operator) {
        let at = key as usize;
        if at >= self.all.len() {
            self.all.resize_with(at + 1, || None);
        }
        if let Some(old) = self.all[at].as_ref().and_then(|o| o.free_as) {
            self.free.remove(&(old, key));
        }
        self.all[at] = Some(operator);
        self.refresh(key);
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, key: u32) -> Option<&Operator> {
        self.all.get(key as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, key: u32) -> Option<&mut Operator> {
        self.all.get_mut(key as usize)?.as_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Operator)> {
        // Keys are given out by `Names`, which counts in u32.
        #[allow(clippy::cast_possible_truncation, reason = "at most OPERATORS_MAX")]
        self.all.iter().enumerate().filter_map(|(key, o)| Some((key as u32, o.as_ref()?)))
    }

    /// Keeps the index of the free in step; to be called after every change.
    pub(crate) fn refresh(&mut self, key: u32) {
        let Some(o) = self.all.get_mut(key as usize).and_then(Option::as_mut) else { return };
        let entry = o.is_free().then_some(o.idle_since);
        if entry == o.free_as {
            return;
        }
        if let Some(old) = o.free_as {
            self.free.remove(&(old, key));
        }
        o.free_as = entry;
        if let Some(at) = entry {
            self.free.insert((at, key));
        }
    }
}

//! The machine: who joins and leaves, and the bookkeeping all its parts share.

mod again;
mod barred;
mod node;
mod ring;
mod state;
mod supervise;
mod time;
mod view;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

pub use view::{CallerView, OperatorView, QueueView};

use crate::assign::{Scratch, assign};
use crate::effect::Effect;
use crate::estimate::Estimator;
use crate::limits::{CALLERS_MAX, OPERATORS_MAX, QUEUES_MAX, RING_GRACE_MS, SKILLS_MAX, STEPS_MAX};
use crate::model::{ALL_ASKED, Entry, Lane, OperatorState, QueueSettings, Refused};
use crate::names::Names;
use crate::operator::{Operator, Operators};
use crate::waiting::{Line, Needs, Waiting};

/// On-call people were asked.
const TOLD_OVERFLOW: u8 = 1;
/// They were told that we call back.
const TOLD_TOO_LONG: u8 = 2;
/// Leaders were told that nobody is there but whom their matters name.
const TOLD_BARRED: u8 = 4;
/// Places of those at the head begin here, far below every other.
const HEAD: i64 = -(1 << 40);

#[derive(Debug)]
struct Step {
    after_ms: i64,
    drop: u64,
    help: u64,
}

#[derive(Debug)]
struct Queue {
    name: Arc<str>,
    settings: QueueSettings,
    skills: u64,
    steps: Vec<Step>,
    open: bool,
    waiting: usize,
    estimator: Estimator,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Operator(u32),
    Caller(u32),
}

/// All queues of a site and all its operators.
///
/// Every input takes `now` in milliseconds; times never need to be in step with anything else. Of a clock that is
/// set the machine is told ([`Self::clock_set`]), or every deadline would be off by as much.
#[derive(Debug)]
pub struct Core {
    queues: Vec<Queue>,
    queue_names: Names,
    skills: Names,
    people: Names,
    calls: BTreeMap<Arc<str>, u32>,
    line: Line,
    operators: Operators,
    /// Who talks in a call.
    talks: BTreeMap<Arc<str>, u32>,
    timers: BTreeSet<(i64, Timer)>,
    effects: VecDeque<Effect>,
    scratch: Scratch,
    place_next: i64,
    head_next: i64,
    front_next: i64,
}

impl Core {
    /// A site without callers and operators.
    ///
    /// # Errors
    /// [`Refused::NoQueue`] names the 65th queue, or one that widening points to and isn't there;
    /// [`Refused::NoSkill`] the 65th skill.
    pub fn new(settings: Vec<QueueSettings>) -> Result<Self, Refused> {
        let mut queue_names = Names::new(QUEUES_MAX);
        for queue in &settings {
            queue_names.intern(&queue.name).ok_or_else(|| Refused::NoQueue(queue.name.clone()))?;
        }
        let mut skills = Names::new(SKILLS_MAX);
        let queues =
            settings.into_iter().map(|s| Queue::new(s, &queue_names, &mut skills)).collect::<Result<_, _>>()?;
        Ok(Self {
            queues,
            queue_names,
            skills,
            people: Names::new(OPERATORS_MAX),
            calls: BTreeMap::new(),
            line: Line::default(),
            operators: Operators::default(),
            talks: BTreeMap::new(),
            timers: BTreeSet::new(),
            effects: VecDeque::new(),
            scratch: Scratch::default(),
            place_next: 0,
            head_next: HEAD,
            front_next: HEAD,
        })
    }

    /// A caller joins. One who waits already keeps their place, in the better of both lanes, with the wishes and
    /// exclusions of both entries; in another queue if that is asked for.
    ///
    /// # Errors
    /// [`Refused::NoQueue`], [`Refused::Full`], [`Refused::Closed`]; the last two never for who `returns`, the last
    /// one never for the red lane and for callbacks.
    pub fn enter(&mut self, now: i64, entry: Entry) -> Result<(), Refused> {
        let queue = self.queue_names.find(&entry.queue).ok_or_else(|| Refused::NoQueue(entry.queue.clone()))?;
        if let Some(key) = self.calls.get(entry.call.as_str()).copied() {
            return self.enter_again(now, key, queue, entry);
        }
        let of = &self.queues[queue as usize];
        // Whom we called back doesn't hear that nobody is here.
        if !entry.returns && !of.open && !matches!(entry.lane, Lane::Red | Lane::Callback) {
            return Err(Refused::Closed);
        }
        if self.line.count >= CALLERS_MAX || (!entry.returns && of.waiting >= of.settings.waiting_max) {
            return Err(Refused::Full);
        }
        let barred: Option<Vec<u32>> = entry.barred.iter().map(|id| self.people.intern(id)).collect();
        // Rather nobody for now than somebody the matter names.
        let barred = barred.ok_or(Refused::Full)?;
        // Whoever talked with them doesn't any more.
        if let Some(operator) = self.talks.get(entry.call.as_str()).copied() {
            self.end_talk(now, &entry.call, operator);
        }
        let key = self.add(now, queue, entry, barred);
        self.match_up(now);
        self.keep_waiting(now, key);
        self.tell_of_barred(key);
        Ok(())
    }

    fn add(&mut self, now: i64, queue: u32, entry: Entry, barred: Vec<u32>) -> u32 {
        let call: Arc<str> = entry.call.as_str().into();
        let counter = if entry.returns { &mut self.head_next } else { &mut self.place_next };
        *counter += 1;
        let place = *counter;
        let asked = entry.skills.iter().filter_map(|s| self.skills.intern(s)).fold(0, |bits, s| bits | 1_u64 << s);
        let of = &self.queues[queue as usize];
        let wanted = of.skills | asked;
        let mut caller = Waiting::new(entry.lane, place, of.needs(queue, wanted, 0), Vec::new());
        caller.call = Arc::clone(&call);
        caller.node = entry.node.as_str().into();
        caller.queue = queue;
        caller.head = entry.returns;
        (caller.entered_at, caller.needs_at) = (now, now);
        caller.wanted = wanted;
        caller.declined = entry.declined.iter().filter_map(|id| self.people.intern(id)).collect();
        caller.barred = barred;
        caller.announce_at = of.settings.announce_ms.map(|(first, _)| now + first);
        let prefer_ms = of.settings.prefer_ms;
        caller.prefer = entry.prefer.as_ref().and_then(|id| Some((self.people.intern(id)?, now + prefer_ms)));
        caller.entry = Arc::new(entry);
        self.queues[queue as usize].waiting += 1;
        let key = self.line.add(caller);
        self.calls.insert(call, key);
        self.change(key, |_| ());
        key
    }

    /// Those nobody is rung for at once are kept waiting: what they wait is measured.
    fn keep_waiting(&mut self, now: i64, key: u32) {
        let Some(w) = self.line.get(key).filter(|w| w.ringing.is_none() && w.guess.is_none()) else { return };
        let (queue, place) = (w.queue as usize, self.place_of(w));
        let estimator = &mut self.queues[queue].estimator;
        estimator.kept(now);
        let product = estimator.product(place);
        self.line.change(key, |w| w.guess = Some((place, product)));
    }

    /// A caller is gone, for whatever reason; an operator whose phone rings for them is free again.
    pub fn leave(&mut self, now: i64, call: &str) {
        if let Some(gone) = self.take(now, call, false)
            && let Some(operator) = gone.ringing
        {
            self.back_to_work(now, operator);
        }
        self.match_up(now);
    }

    /// A caller changes lane (key 7). In danger the people on call are asked, also if they were asked before.
    pub fn set_lane(&mut self, now: i64, call: &str, lane: Lane) {
        if let Some(key) = self.calls.get(call).copied() {
            self.change(key, |w| {
                if lane == Lane::Red && w.lane != Lane::Red {
                    w.told &= !TOLD_OVERFLOW;
                }
                w.lane = lane;
            });
        }
        self.match_up(now);
    }

    /// Opens or closes a queue. Who waits already goes on waiting.
    pub fn set_open(&mut self, queue: &str, open: bool) {
        if let Some(key) = self.queue_names.find(queue) {
            self.queues[key as usize].open = open;
        }
    }

    /// Place (1 is next) and the time still to wait in milliseconds, where that was measured.
    #[must_use]
    pub fn position(&self, call: &str) -> Option<(usize, Option<i64>)> {
        let w = self.line.get(*self.calls.get(call)?)?;
        let place = self.place_of(w);
        Some((place, self.queues[w.queue as usize].estimator.estimate(place)))
    }

    fn place_of(&self, me: &Waiting) -> usize {
        1 + self.line.iter().filter(|(_, w)| w.queue == me.queue && w.rank() < me.rank()).count()
    }

    /// Callers waiting in a queue.
    #[must_use]
    pub fn waiting(&self, queue: &str) -> usize {
        self.queue_names.find(queue).map_or(0, |key| self.queues[key as usize].waiting)
    }

    /// What has to be carried out, in order.
    pub fn poll_output(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Takes a caller out of the line.
    fn take(&mut self, now: i64, call: &str, answered: bool) -> Option<Waiting> {
        let key = self.calls.remove(call)?;
        let gone = self.line.remove(key)?;
        if let Some(at) = gone.timer_at {
            self.timers.remove(&(at, Timer::Caller(key)));
        }
        let queue = &mut self.queues[gone.queue as usize];
        queue.waiting -= 1;
        if let Some(joined) = gone.guess {
            queue.estimator.left(now, gone.entered_at, joined, answered);
        }
        self.effects.push_back(Effect::Gone { call: Arc::clone(&gone.call), answered });
        Some(gone)
    }

    /// The one way to change an operator: indices, timers and row follow.
    fn update<T>(&mut self, now: i64, key: u32, change: impl FnOnce(&mut Operator) -> T) -> Option<T> {
        let o = self.operators.get_mut(key)?;
        let before = (o.state, Arc::clone(&o.reason));
        let out = change(o);
        let state = o.state != before.0 || o.reason != before.1;
        if state {
            o.since = now;
        }
        if o.state == OperatorState::Ready && before.0 != OperatorState::Ready && before.0 != OperatorState::Ringing {
            o.idle_since = now;
        }
        if o.state != OperatorState::WrapUp {
            o.wrap_until = None;
        }
        if o.state != OperatorState::Ringing {
            o.ring_until = None;
        }
        let (old, new) = (o.timer_at, o.deadline());
        o.timer_at = new;
        self.reset_timer(Timer::Operator(key), old, new);
        self.operators.refresh(key);
        if let Some(row) = self.operator_row(key) {
            self.effects.push_back(Effect::Operator { row: Box::new(row), state });
        }
        Some(out)
    }

    /// The one way to change a waiting caller.
    fn change<T>(&mut self, key: u32, change: impl FnOnce(&mut Waiting) -> T) -> Option<T> {
        let out = self.line.change(key, change)?;
        let w = self.line.get(key)?;
        let (old, new) = (w.timer_at, self.deadline_of(w));
        self.line.change(key, |w| w.timer_at = new);
        self.reset_timer(Timer::Caller(key), old, new);
        if let Some(row) = self.caller_row(key) {
            self.effects.push_back(Effect::Caller(Box::new(row)));
        }
        Some(out)
    }

    fn reset_timer(&mut self, timer: Timer, old: Option<i64>, new: Option<i64>) {
        if old == new {
            return;
        }
        if let Some(at) = old {
            self.timers.remove(&(at, timer));
        }
        if let Some(at) = new {
            self.timers.insert((at, timer));
        }
    }

    /// Offers whom there is to offer. Costs nothing while nobody waits or nobody is free.
    fn match_up(&mut self, now: i64) {
        if self.operators.free.is_empty() || self.line.open.is_empty() {
            return;
        }
        self.second_chances(now);
        let mut scratch = std::mem::take(&mut self.scratch);
        assign(now, &self.line, &self.operators, &mut scratch);
        for (caller, operator) in scratch.pairs.drain(..) {
            self.offer(now, caller, operator);
        }
        self.scratch = scratch;
    }

    fn offer(&mut self, now: i64, caller: u32, operator: u32) {
        self.change(caller, |w| w.ringing = Some(operator));
        let Some(w) = self.line.get(caller) else { return };
        let (call, node, queue) = (Arc::clone(&w.call), Arc::clone(&w.node), w.queue);
        let ring_ms = self.queues[queue as usize].settings.ring_ms;
        let who = self.update(now, operator, |o| {
            o.state = OperatorState::Ringing;
            o.reason = "".into();
            o.call = Some(Arc::clone(&call));
            o.call_node = Arc::clone(&node);
            o.queue = Some(queue);
            o.ring_until = Some(now + ring_ms + RING_GRACE_MS);
            Arc::clone(&o.who)
        });
        if let Some(operator) = who {
            self.effects.push_back(Effect::Offer { call, node, operator });
        }
    }
}

impl Queue {
    fn new(settings: QueueSettings, queues: &Names, skills: &mut Names) -> Result<Self, Refused> {
        let mut bits = |names: &[String]| {
            names.iter().try_fold(0, |bits, name| {
                let bit = skills.intern(name).ok_or_else(|| Refused::NoSkill(name.clone()))?;
                Ok::<u64, Refused>(bits | 1 << bit)
            })
        };
        let own = bits(&settings.skills)?;
        let mut steps = Vec::new();
        for widen in settings.widen.iter().take(STEPS_MAX) {
            let help = widen.help.iter().try_fold(0, |bits, name| {
                let bit = queues.find(name).ok_or_else(|| Refused::NoQueue(name.clone()))?;
                Ok(bits | 1 << bit)
            })?;
            let named: Vec<String> = widen.drop.iter().filter(|name| *name != ALL_ASKED).cloned().collect();
            let asked = if named.len() < widen.drop.len() { !own } else { 0 };
            steps.push(Step { after_ms: widen.after_ms, drop: bits(&named)? | asked, help });
        }
        steps.sort_by_key(|s| s.after_ms);
        let name = settings.name.as_str().into();
        Ok(Self { name, settings, skills: own, steps, open: true, waiting: 0, estimator: Estimator::default() })
    }

    /// Who may serve a caller who has waited so long.
    fn needs(&self, queue: u32, wanted: u64, waited_ms: i64) -> Needs {
        let mut needs = Needs { queues: 1 << queue, skills: wanted };
        for step in self.steps.iter().take_while(|s| s.after_ms <= waited_ms) {
            needs.skills &= !step.drop;
            needs.queues |= step.help;
        }
        needs
    }
}

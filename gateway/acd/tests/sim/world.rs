//! The world around the machine: calls with their drivers, phones, messages that take their time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use hotline_acd::{CallerRow, Core, Decline, Effect, Entry, OperatorRow, QueueSettings, Widen};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::check::Check;
use crate::people::Person;
use crate::tally::Tally;

pub(crate) const RING_MS: i64 = 15_000;
pub(crate) const WAIT_MAX_MS: i64 = 600_000;
pub(crate) const NODES: [&str; 2] = ["a", "b"];

/// What comes to pass.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// A citizen calls.
    Arrival,
    /// To the machine, from the driver of this call.
    ToCore(u32, Say),
    /// To the driver of this call.
    Offered(u32, usize),
    Withdrawn(u32, usize),
    /// At a phone that rings: offer number tells an old one from a new one.
    Phone(u32, usize, u32, Act),
    Patience(u32),
    TalkEnds(u32, u32),
    /// A person does something.
    Whim(usize),
    Supervisor,
    Timer(i64),
    Kill,
    ClockSet(i64),
    NodeDies(usize),
    NodeMissed(usize),
    NodeBack(usize),
    GuestLeaves(u32, usize),
    /// Nobody's phone rings for two any more.
    OneRing(usize),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Say {
    Enter { returns: bool },
    Leave,
    Connected(usize),
    Declined(usize, u8),
    Released(usize),
    Engaged(usize),
    Disengaged(usize),
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Act {
    Answer,
    AnswerTwice,
    Fail(u16),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum At {
    Waiting,
    Talking(usize),
    Over,
}

pub(crate) struct Call {
    pub(crate) at: At,
    pub(crate) node: usize,
    pub(crate) ringing: Option<(usize, u32)>,
    pub(crate) entry: Entry,
    pub(crate) heard_core: i64,
    pub(crate) heard_driver: i64,
    pub(crate) talk: u32,
}

pub(crate) struct World {
    pub(crate) rng: StdRng,
    pub(crate) now: i64,
    pub(crate) core: Core,
    pub(crate) calls: BTreeMap<u32, Call>,
    pub(crate) people: Vec<Person>,
    pub(crate) node_up: [bool; 2],
    pub(crate) tally: Tally,
    pub(crate) check: Check,
    operator_rows: BTreeMap<String, OperatorRow>,
    caller_rows: BTreeMap<String, CallerRow>,
    events: BinaryHeap<Reverse<(i64, u64, Event)>>,
    next_event: u64,
    next_offer: u32,
    arrivals_left: u32,
    pub(crate) closing: bool,
    /// Nobody gives up.
    pub(crate) endless: bool,
    /// The machine dies over the next message, which is lost.
    dying: bool,
}

pub(crate) fn name(call: u32) -> String {
    format!("c{call}")
}

fn who(person: usize) -> String {
    format!("o{person}")
}

pub(crate) fn settings() -> Vec<QueueSettings> {
    let main = QueueSettings {
        waiting_max: 40,
        overflow_ms: Some(60_000),
        overflow_red_ms: Some(10_000),
        wait_max_ms: Some(WAIT_MAX_MS),
        prefer_ms: 20_000,
        announce_ms: Some((15_000, 30_000)),
        wrap_ms: 20_000,
        widen: vec![
            Widen { after_ms: 20_000, drop: vec!["dialect".into()], help: vec!["water".into()] },
            Widen { after_ms: 60_000, drop: vec!["english".into()], help: Vec::new() },
        ],
        ..QueueSettings::default()
    };
    let water = QueueSettings { name: "water".into(), skills: vec!["water".into()], wrap_ms: 0, ..main.clone() };
    vec![main, QueueSettings { widen: Vec::new(), ..water }]
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let people = (0..rng.random_range(1..10)).map(|n| Person::new(&mut rng, n)).collect::<Vec<_>>();
        let mut world = Self {
            now: 1_700_000_000_000,
            core: Core::new(settings()).unwrap(),
            calls: BTreeMap::new(),
            people,
            node_up: [true; 2],
            tally: Tally::default(),
            check: Check::default(),
            operator_rows: BTreeMap::new(),
            caller_rows: BTreeMap::new(),
            events: BinaryHeap::new(),
            next_event: 0,
            next_offer: 0,
            arrivals_left: rng.random_range(40..160),
            closing: false,
            endless: rng.random_bool(0.2),
            dying: false,
            rng,
        };
        world.at(0, Event::Arrival);
        for person in 0..world.people.len() {
            let after = world.rng.random_range(0..5_000);
            world.at(after, Event::Whim(person));
        }
        for _ in 0..world.rng.random_range(0..3) {
            let after = world.rng.random_range(10_000..2_000_000);
            world.at(after, Event::Kill);
        }
        for _ in 0..world.rng.random_range(0..3) {
            let (after, by) = (world.rng.random_range(0..2_000_000), world.rng.random_range(-4_000_000..4_000_000));
            world.at(after, Event::ClockSet(by));
        }
        if world.rng.random_bool(0.5) {
            let (after, node) = (world.rng.random_range(60_000..1_500_000), world.rng.random_range(0..2));
            world.at(after, Event::NodeDies(node));
        }
        world.at(30_000, Event::Supervisor);
        world
    }

    pub(crate) fn at(&mut self, after: i64, event: Event) {
        self.next_event += 1;
        self.events.push(Reverse((self.now + after, self.next_event, event)));
    }

    /// A message takes its time but overtakes none of its own call.
    pub(crate) fn say(&mut self, call: u32, what: Say) {
        let delay = self.rng.random_range(0..30);
        let Some(c) = self.calls.get_mut(&call) else { return };
        c.heard_core = c.heard_core.max(self.now + delay);
        let after = c.heard_core - self.now;
        self.at(after, Event::ToCore(call, what));
    }

    pub(crate) fn run(mut self) -> Tally {
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            self.now = self.now.max(at);
            if self.core.poll_timeout().is_some_and(|due| due <= self.now) {
                self.core.handle_timeout(self.now);
                self.effects();
            }
            self.happen(event);
            self.effects();
            if self.rng.random_bool(0.1) {
                self.check_all();
            }
            if let Some(due) = self.core.poll_timeout() {
                self.wake(due);
            }
        }
        self.check_end();
        self.tally
    }

    /// One timer event per deadline, as the owner's sleep.
    fn wake(&mut self, due: i64) {
        if self.check.timer.is_none_or(|t| due < t || t <= self.now) {
            self.check.timer = Some(due);
            self.at((due - self.now).max(0), Event::Timer(due));
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrival => self.arrive(),
            Event::ToCore(call, what) => self.hear(call, what),
            Event::Offered(call, person) => self.driver_offered(call, person),
            Event::Withdrawn(call, person) => self.driver_withdrawn(call, person),
            Event::Phone(call, person, offer, act) => self.phone(call, person, offer, act),
            Event::Patience(call) => self.patience(call),
            Event::TalkEnds(call, talk) => self.talk_ends(call, talk),
            Event::Whim(person) => self.whim(person),
            Event::Supervisor => self.supervise(),
            Event::Timer(at) => self.check.timer = self.check.timer.filter(|t| *t != at),
            Event::Kill if self.rng.random_bool(0.5) => self.dying = true,
            Event::Kill => self.kill(),
            Event::ClockSet(by) => self.clock_set(by),
            Event::NodeDies(node) => self.node_dies(node),
            Event::NodeMissed(node) => self.node_missed(node),
            Event::NodeBack(node) => self.node_back(node),
            Event::GuestLeaves(call, person) => self.guest_leaves(call, person),
            Event::OneRing(person) => self.check_one_ring(person),
        }
    }

    fn arrive(&mut self) {
        if self.arrivals_left == 0 {
            return self.closing = true;
        }
        self.arrivals_left -= 1;
        // Quiet and crowded times by turns.
        let mean = [2_000, 12_000, 40_000][(self.arrivals_left / 20 % 3) as usize];
        let after = self.rng.random_range(0..2 * mean);
        self.at(after, Event::Arrival);
        let up: Vec<usize> = (0..2).filter(|n| self.node_up[*n]).collect();
        if up.is_empty() {
            return;
        }
        let node = up[self.rng.random_range(0..up.len())];
        self.tally.calls += 1;
        let call = u32::try_from(self.tally.calls).unwrap();
        let entry = self.wishes(call, node);
        let c = Call { at: At::Waiting, node, ringing: None, entry, heard_core: 0, heard_driver: 0, talk: 0 };
        self.calls.insert(call, c);
        self.say(call, Say::Enter { returns: false });
        self.has_patience(call, 240_000);
    }

    /// The machine hears a driver.
    fn hear(&mut self, call: u32, what: Say) {
        let id = name(call);
        let Some(c) = self.calls.get(&call) else { return };
        if !self.node_up[c.node] {
            return;
        }
        // A caller tries again; of the rest the machine dies over one is lost.
        if self.dying && !matches!(what, Say::Enter { .. }) {
            self.tally.dropped += 1;
            return self.kill();
        }
        self.check.heard(&id, &what);
        match what {
            Say::Enter { returns } => {
                let entry = Entry { returns, ..c.entry.clone() };
                if self.core.enter(self.now, entry).is_err() {
                    self.tally.refused += 1;
                    self.over(call);
                }
            }
            Say::Leave => self.core.leave(self.now, &id),
            Say::Connected(p) => self.core.connected(self.now, &id, &who(p)),
            Say::Declined(p, why) => {
                let why = [Decline::NoAnswer, Decline::Refused, Decline::Device, Decline::NoRoom, Decline::CallerLeft]
                    [usize::from(why)];
                self.core.declined(self.now, &id, &who(p), why);
            }
            Say::Released(p) => self.core.released(self.now, &id, &who(p)),
            Say::Engaged(p) => self.core.engaged(self.now, &id, &who(p)),
            Say::Disengaged(p) => self.core.disengaged(self.now, &id, &who(p)),
            Say::Ended => self.core.ended(self.now, &id),
        }
    }

    /// Carries out what the machine wants, and keeps its rows.
    pub(crate) fn effects(&mut self) {
        while let Some(effect) = self.core.poll_output() {
            self.check.effect(&effect);
            match effect {
                Effect::Offer { call, operator, .. } => {
                    self.check_offer(&call, &operator.id);
                    self.tell_driver(&call, &operator.id, Event::Offered);
                }
                Effect::Withdraw { call, operator, .. } => {
                    self.tally.withdrawals += 1;
                    self.tell_driver(&call, &operator, Event::Withdrawn);
                }
                Effect::Operator { row, .. } => {
                    self.operator_rows.insert(row.who.id.clone(), *row);
                }
                Effect::Caller(row) => {
                    self.caller_rows.insert(row.entry.call.clone(), *row);
                }
                Effect::Gone { call, .. } => {
                    self.caller_rows.remove(&*call);
                }
                Effect::WaitedTooLong { call } => {
                    self.tally.too_long += 1;
                    self.at(20, Event::Patience(call[1..].parse().unwrap()));
                }
                Effect::OnlyBarred { .. } => self.tally.only_barred += 1,
                Effect::Moved { .. } | Effect::Overflow { .. } | Effect::Announce { .. } => {}
            }
        }
    }

    fn tell_driver(&mut self, call: &str, operator: &str, event: fn(u32, usize) -> Event) {
        let call: u32 = call[1..].parse().unwrap();
        let person: usize = operator[1..].parse().unwrap();
        let delay = self.rng.random_range(0..30);
        let Some(c) = self.calls.get_mut(&call) else { return };
        c.heard_driver = c.heard_driver.max(self.now + delay);
        let after = c.heard_driver - self.now;
        self.at(after, event(call, person));
    }

    /// The wall clock jumps; everything takes as long as it did.
    fn clock_set(&mut self, by: i64) {
        self.tally.clock_sets += 1;
        self.now += by;
        let events = std::mem::take(&mut self.events).into_iter();
        self.events = events
            .map(|Reverse((at, n, event))| {
                let event = if let Event::Timer(at) = event { Event::Timer(at + by) } else { event };
                Reverse((at + by, n, event))
            })
            .collect();
        for c in self.calls.values_mut() {
            c.heard_core += by;
            c.heard_driver += by;
        }
        self.check.clock_set(by);
        self.core.clock_set(by);
    }

    /// The task that owns the machine dies; a new one begins from the rows.
    fn kill(&mut self) {
        self.dying = false;
        self.tally.kills += 1;
        let live: BTreeSet<String> = self
            .calls
            .iter()
            .filter(|(_, c)| c.at != At::Over && self.node_up[c.node])
            .map(|(k, _)| name(*k))
            .collect();
        self.core = Core::new(settings()).unwrap();
        self.check.restart(self.now, &live);
        let (operators, callers) =
            (self.operator_rows.values().cloned().collect(), self.caller_rows.values().cloned().collect());
        // Rows of callers who are over by now are not of this machine any more.
        self.caller_rows.retain(|call, _| live.contains(call));
        self.core.restore(self.now, operators, callers, &|call| live.contains(call));
        // Drivers remember who talks, also who has no row.
        for (n, c) in &self.calls {
            if let At::Talking(p) = c.at
                && live.contains(&name(*n))
                && !self.operator_rows.contains_key(&who(p))
            {
                self.core.connected(self.now, &name(*n), &who(p));
            }
        }
    }

    pub(crate) fn new_offer(&mut self) -> u32 {
        self.next_offer += 1;
        self.next_offer
    }
}

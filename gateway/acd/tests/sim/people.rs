//! What callers, operators, phones and supervisors do.

use std::collections::BTreeSet;

use hotline_acd::{Entry, Lane, Move, OperatorRef, OperatorState, Profile};
use rand::Rng;
use rand::rngs::StdRng;

use crate::world::{Act, At, Event, NODES, RING_MS, Say, World, name};

const WATER: &str = "water";
const SKILLS: [&str; 3] = ["dialect", "english", WATER];

pub(crate) struct Person {
    id: usize,
    queues: Vec<String>,
    skills: Vec<(String, u8)>,
    node: usize,
    registered: bool,
    /// Calls their phone rings for.
    pub(crate) rings: Vec<u32>,
    /// Calls they talk in: a phone may take a second one.
    pub(crate) talking: BTreeSet<u32>,
}

impl Person {
    pub(crate) fn new(rng: &mut StdRng, id: usize) -> Self {
        let queues = match rng.random_range(0..4) {
            0 => vec![WATER],
            1 => vec!["main", WATER],
            _ => vec!["main"],
        };
        let levels = SKILLS.map(|s| (s.to_owned(), rng.random_range(0..10_u8)));
        let skills = levels.into_iter().filter(|(_, level)| *level > 4);
        Self {
            id,
            skills: skills.collect(),
            queues: queues.into_iter().map(str::to_owned).collect(),
            node: rng.random_range(0..2),
            registered: true,
            rings: Vec::new(),
            talking: BTreeSet::new(),
        }
    }

    pub(crate) fn serves(&self, queue: &str) -> bool {
        self.queues.iter().any(|q| q == queue)
    }

    fn who(&self) -> OperatorRef {
        let id = format!("o{}", self.id);
        OperatorRef { name: id.clone(), sip_user: id.clone(), id }
    }

    fn profile(&self) -> Profile {
        Profile {
            queues: self.queues.clone(),
            skills: self.skills.clone(),
            node: NODES[self.node].into(),
            registered: self.registered,
        }
    }
}

impl World {
    pub(crate) fn wishes(&mut self, call: u32, node: usize) -> Entry {
        let queue = if self.rng.random_bool(0.8) { "main" } else { WATER };
        let lane = match self.rng.random_range(0..20) {
            0 => Lane::Red,
            1 => Lane::Trouble,
            2 => Lane::Callback,
            _ => Lane::Normal,
        };
        let mut entry = Entry::new(&name(call), queue, lane);
        entry.node = NODES[node].into();
        if self.rng.random_bool(0.2) {
            entry.skills.push(SKILLS[self.rng.random_range(0..2)].into());
        }
        if self.rng.random_bool(0.2) {
            entry.prefer = Some(format!("o{}", self.rng.random_range(0..10)));
        }
        if self.rng.random_bool(0.05) {
            entry.barred.push(format!("o{}", self.rng.random_range(0..10)));
        }
        entry
    }

    pub(crate) fn over(&mut self, call: u32) {
        if let Some(c) = self.calls.get_mut(&call) {
            c.at = At::Over;
            self.stop_ring(call);
        }
    }

    fn stop_ring(&mut self, call: u32) -> Option<usize> {
        let (person, _) = self.calls.get_mut(&call)?.ringing.take()?;
        self.people[person].rings.retain(|c| *c != call);
        Some(person)
    }

    /// The driver rings the phone it is told to.
    pub(crate) fn driver_offered(&mut self, call: u32, person: usize) {
        let Some(c) = self.calls.get(&call).filter(|c| self.node_up[c.node]) else { return };
        if c.at != At::Waiting {
            return self.say(call, Say::Declined(person, 4));
        }
        assert!(c.ringing.is_none(), "{} rings at two operators", name(call));
        let p = &self.people[person];
        if !p.registered || !self.node_up[p.node] {
            return self.say(call, Say::Declined(person, 2));
        }
        if self.rng.random_bool(0.02) {
            return self.say(call, Say::Declined(person, 3));
        }
        let offer = self.new_offer();
        if let Some(c) = self.calls.get_mut(&call) {
            c.ringing = Some((person, offer));
        }
        self.people[person].rings.push(call);
        if self.people[person].rings.len() > 1 {
            self.at(200, Event::OneRing(person));
        }
        let (after, act) = match self.rng.random_range(0..100) {
            0..75 => (self.rng.random_range(300..9_000), Act::Answer),
            75..80 => (self.rng.random_range(300..9_000), Act::AnswerTwice),
            80..88 => (RING_MS, Act::Fail(408)),
            88..97 => (self.rng.random_range(10..4_000), Act::Fail(self.rng.random_range(400..700))),
            // The phone vanishes, or its driver hangs: nobody ever says anything.
            _ => return,
        };
        self.at(after, Event::Phone(call, person, offer, act));
    }

    pub(crate) fn driver_withdrawn(&mut self, call: u32, person: usize) {
        if self.calls.get(&call).is_some_and(|c| c.ringing.is_some_and(|(p, _)| p == person)) {
            self.stop_ring(call);
        }
    }

    pub(crate) fn phone(&mut self, call: u32, person: usize, offer: u32, act: Act) {
        let Some(c) = self.calls.get(&call) else { return };
        // Answered after the caller left, or for a ring that was withdrawn.
        if c.ringing != Some((person, offer)) || !self.node_up[c.node] || !self.node_up[self.people[person].node] {
            return;
        }
        self.stop_ring(call);
        let busy = !self.people[person].talking.is_empty();
        match act {
            Act::Answer | Act::AnswerTwice if !busy => {
                self.say(call, Say::Connected(person));
                if act == Act::AnswerTwice {
                    self.say(call, Say::Connected(person));
                }
                self.talk(call, person);
            }
            Act::Answer | Act::AnswerTwice | Act::Fail(486 | 600 | 603) => {
                self.tally.declines += 1;
                self.say(call, Say::Declined(person, 1));
            }
            Act::Fail(408 | 480 | 487) => {
                self.tally.declines += 1;
                self.say(call, Say::Declined(person, 0));
            }
            Act::Fail(_) => self.say(call, Say::Declined(person, 2)),
        }
    }

    fn talk(&mut self, call: u32, person: usize) {
        let length = self.rng.random_range(2_000..90_000);
        let Some(c) = self.calls.get_mut(&call) else { return };
        c.at = At::Talking(person);
        c.talk += 1;
        let talk = c.talk;
        self.people[person].talking.insert(call);
        self.tally.talks += 1;
        self.at(length, Event::TalkEnds(call, talk));
    }

    /// On some days nobody gives up before they are told to.
    pub(crate) fn has_patience(&mut self, call: u32, most: i64) {
        let patience = self.rng.random_range(500..most);
        if !self.endless {
            self.at(patience, Event::Patience(call));
        }
    }

    pub(crate) fn patience(&mut self, call: u32) {
        if self.calls.get(&call).is_none_or(|c| c.at != At::Waiting || !self.node_up[c.node]) {
            return;
        }
        self.tally.abandoned += 1;
        let ringing = self.stop_ring(call);
        self.over(call);
        self.say(call, Say::Leave);
        if let Some(person) = ringing.filter(|_| self.rng.random_bool(0.3)) {
            // What a phone says too late.
            self.say(call, Say::Declined(person, 0));
            self.say(call, Say::Released(person));
        }
        self.say(call, Say::Ended);
    }

    pub(crate) fn talk_ends(&mut self, call: u32, talk: u32) {
        let Some(c) = self.calls.get(&call).filter(|c| c.talk == talk && self.node_up[c.node]) else { return };
        let At::Talking(person) = c.at else { return };
        let colleague = self.rng.random_range(0..self.people.len());
        let aside = !self.people[colleague].talking.is_empty();
        let has_colleague = colleague != person
            && (!aside || self.rng.random_bool(0.3))
            && self.node_up[self.people[colleague].node]
            && !self.closing;
        match self.rng.random_range(0..100) {
            0..12 => {
                self.tally.lost_talks += 1;
                self.people[person].talking.remove(&call);
                self.say(call, Say::Released(person));
                if let Some(c) = self.calls.get_mut(&call) {
                    c.at = At::Waiting;
                }
                self.say(call, Say::Enter { returns: true });
                self.has_patience(call, 120_000);
            }
            12..24 if has_colleague => {
                self.tally.transfers += 1;
                self.tally.set_aside += u64::from(aside);
                self.people[person].talking.remove(&call);
                self.say(call, Say::Released(person));
                self.say(call, Say::Connected(colleague));
                self.talk(call, colleague);
            }
            24..34 if has_colleague => {
                self.say(call, Say::Engaged(colleague));
                let (stays, more) = (self.rng.random_range(100..30_000), self.rng.random_range(100..30_000));
                self.at(stays, Event::GuestLeaves(call, colleague));
                self.at(more, Event::TalkEnds(call, talk));
            }
            // The driver dies: only the end of its call is heard of.
            34..36 => self.finish(call, person, false),
            _ => self.finish(call, person, true),
        }
    }

    fn finish(&mut self, call: u32, person: usize, orderly: bool) {
        self.people[person].talking.remove(&call);
        self.over(call);
        if orderly {
            self.say(call, Say::Released(person));
        }
        self.say(call, Say::Ended);
    }

    pub(crate) fn guest_leaves(&mut self, call: u32, person: usize) {
        if self.rng.random_bool(0.9) && self.calls.get(&call).is_some_and(|c| self.node_up[c.node]) {
            self.say(call, Say::Disengaged(person));
        }
    }

    /// An operator's wish, or their phone's.
    pub(crate) fn whim(&mut self, person: usize) {
        if self.closing {
            return;
        }
        let after = self.rng.random_range(3_000..60_000);
        self.at(after, Event::Whim(person));
        if !self.node_up[self.people[person].node] {
            return;
        }
        let id = format!("o{person}");
        match self.rng.random_range(0..20) {
            0 => {
                let registered = !self.people[person].registered;
                self.people[person].registered = registered;
                self.core.registered(self.now, &id, registered);
            }
            1 => drop(self.core.extend_wrap(self.now, &id, 30_000)),
            2 => self.want(person, OperatorState::Break),
            3 => self.want(person, OperatorState::Off),
            4 => self.want(person, OperatorState::Busy),
            _ => self.want(person, OperatorState::Ready),
        }
    }

    fn want(&mut self, person: usize, state: OperatorState) {
        let p = &self.people[person];
        if state == OperatorState::Ready {
            self.check.says_ready(&format!("o{person}"));
        }
        self.core.want(self.now, p.who(), p.profile(), state, "").unwrap();
    }

    pub(crate) fn supervise(&mut self) {
        if self.closing {
            return;
        }
        let after = self.rng.random_range(10_000..120_000);
        self.at(after, Event::Supervisor);
        let operator = format!("o{}", self.rng.random_range(0..self.people.len()));
        let call = name(u32::try_from(self.rng.random_range(0..=self.tally.calls)).unwrap());
        let now = self.now;
        match self.rng.random_range(0..8) {
            0 => drop(self.core.force_state(now, &operator, OperatorState::Break, "meeting")),
            1 => {
                self.check.says_ready(&operator);
                drop(self.core.force_state(now, &operator, OperatorState::Ready, ""));
            }
            2 => drop(self.core.move_caller(now, &call, &Move::Front)),
            3 => drop(self.core.move_caller(now, &call, &Move::Queue(WATER.into()))),
            4 => drop(self.core.move_caller(now, &call, &Move::Lane(Lane::Trouble))),
            5 => {
                self.check.pulls(&call, &operator);
                drop(self.core.pull(now, &call, &operator));
                self.effects();
                self.check.pulled = false;
            }
            _ => {
                let open = self.rng.random_bool(0.8);
                self.core.set_open("main", open);
            }
        }
    }

    /// A gateway dies with its calls and the registrations of its phones.
    pub(crate) fn node_dies(&mut self, node: usize) {
        self.tally.nodes_lost += 1;
        self.node_up[node] = false;
        let lost: Vec<u32> = self.calls.iter().filter(|(_, c)| c.node == node).map(|(k, _)| *k).collect();
        for call in lost {
            self.over(call);
            for p in &mut self.people {
                p.talking.remove(&call);
            }
        }
        let after = self.rng.random_range(0..5_000);
        self.at(after, Event::NodeMissed(node));
    }

    pub(crate) fn node_missed(&mut self, node: usize) {
        self.core.node_lost(self.now, NODES[node]);
        let lost: Vec<String> = self.calls.iter().filter(|(_, c)| c.node == node).map(|(k, _)| name(*k)).collect();
        lost.iter().for_each(|call| self.check.heard(call, &Say::Ended));
        self.core.calls_lost(self.now, &lost);
        let after = self.rng.random_range(5_000..60_000);
        self.at(after, Event::NodeBack(node));
    }

    pub(crate) fn node_back(&mut self, node: usize) {
        self.node_up[node] = true;
        for person in 0..self.people.len() {
            if self.people[person].node == node {
                self.people[person].registered = true;
                self.core.registered(self.now, &format!("o{person}"), true);
            }
        }
    }
}

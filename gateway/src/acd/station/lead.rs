//! While this gateway leads: the owner's task works here, for the calls and phones of all gateways.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hotline_acd::{CallerRow, Core, OperatorRow, OperatorState, OperatorView};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::warn;

use super::super::command::{Command, Reply};
use super::super::jobs;
use super::super::mirror::Abroad;
use super::super::owner::{Job, Shared, supervise};
use super::super::wire::{State, What, Wire, in_parts};
use super::gone::Silence;
use super::{Office, Station};

/// A new leader waits so long for what holds at the others.
const GATHER: Duration = Duration::from_secs(1);

/// A reign, from its first moment.
pub(super) struct Leading {
    pub(super) term: i64,
    pub(super) phase: Phase,
    /// States of which more is to come.
    pub(super) partial: BTreeMap<String, State>,
}

pub(super) enum Phase {
    /// The others say what holds there.
    Gathering {
        until: Instant,
        stated: BTreeMap<String, State>,
        held: VecDeque<(String, u64, Command)>,
    },
    InOffice {
        jobs: jobs::Sender<Job>,
        owner: JoinHandle<()>,
    },
}

impl Leading {
    pub(super) const fn is_in_office(&self) -> bool {
        matches!(self.phase, Phase::InOffice { .. })
    }

    /// The owner stopped by itself: it must not decide any more.
    pub(super) fn is_dead(&self) -> bool {
        matches!(&self.phase, Phase::InOffice { owner, .. } if owner.is_finished())
    }

    /// Nothing is decided here after it.
    pub(super) async fn end(self) {
        if let Phase::InOffice { jobs, owner } = self.phase {
            // It returns at once: its lease doesn't hold, and nobody asks it any more.
            drop(jobs);
            let _ = owner.await;
        }
    }
}

impl Station {
    pub(super) fn begin(&mut self, term: i64, now: Instant) {
        let phase = Phase::Gathering { until: now + GATHER, stated: BTreeMap::new(), held: VecDeque::new() };
        self.office = Office::Leading(Leading { term, phase, partial: BTreeMap::new() });
        // Gateways only their rows tell of: without a link they are lost in time.
        let named = self.setup.shared.mirror.lock().nodes();
        for node in named.into_iter().filter(|node| *node != self.me).chain(self.links.keys().cloned()) {
            // And those with a link, unless they state what holds there.
            self.silent.entry(node).or_insert_with(|| Silence::from(now)).is_given_up = false;
        }
        self.leave_next += 1;
        self.leave_asked.push_back((self.leave_next, now));
        let nodes: Vec<String> = self.links.keys().cloned().collect();
        for node in nodes {
            self.claim(&node);
        }
    }

    /// Says that this gateway leads.
    pub(super) fn claim(&self, node: &str) {
        if let Office::Leading(leading) = &self.office {
            let lead = Wire::frame(leading.term, What::Lead { n: self.leave_next });
            let _ = self.setup.peers.send(node, lead);
        }
    }

    pub(super) async fn heard_as_leader(&mut self, node: &str, what: What) {
        let Office::Leading(leading) = &mut self.office else { return };
        match what {
            What::State(state) => {
                let partial = leading.partial.entry(node.to_owned()).or_default();
                let more = state.rows.more;
                partial.rows.operators.extend(state.rows.operators);
                partial.rows.callers.extend(state.rows.callers);
                partial.live.extend(state.live);
                partial.talks.extend(state.talks);
                partial.engaged.extend(state.engaged);
                partial.phones.extend(state.phones);
                if more {
                    return;
                }
                let state = leading.partial.remove(node).unwrap_or_default();
                self.silent.remove(node);
                match &mut leading.phase {
                    Phase::Gathering { stated, .. } => {
                        stated.insert(node.to_owned(), state);
                    }
                    Phase::InOffice { .. } => self.join(node, state).await,
                }
            }
            What::Ask { id, command } => match &mut leading.phase {
                Phase::Gathering { held, .. } => held.push_back((node.to_owned(), id, command)),
                Phase::InOffice { .. } => self.lead_other(node, id, command).await,
            },
            _ => {}
        }
    }

    /// Takes office once all said what holds there, or were waited for; looks for the lost afterwards.
    pub(super) async fn look_after(&mut self) {
        let now = Instant::now();
        let Office::Leading(leading) = &mut self.office else { return };
        if let Phase::Gathering { until, stated, held } = &mut leading.phase {
            if now < *until && self.links.keys().any(|node| !stated.contains_key(node)) {
                return;
            }
            let (stated, held) = (std::mem::take(stated), std::mem::take(held));
            self.take_office(stated, held).await;
        }
        self.give_up(now).await;
    }

    async fn take_office(&mut self, stated: BTreeMap<String, State>, held: VecDeque<(String, u64, Command)>) {
        let shared = Arc::clone(&self.setup.shared);
        shared.mirror.lock().merge(&self.me, &stated);
        let (jobs, to_do) = jobs::channel();
        let owner = tokio::spawn(supervise(Arc::clone(&shared), to_do));
        if let Office::Leading(leading) = &mut self.office {
            leading.phase = Phase::InOffice { jobs, owner };
        }
        for (node, state) in stated {
            self.join(&node, state).await;
        }
        let me = self.me.clone();
        let ours = self.phones.of(&me);
        self.place(ours).await;
        // What this gateway was not answered, then what the others asked meanwhile.
        self.words.sweep();
        let words: Vec<(u64, Command)> = self.words.iter().map(|word| (word.id, word.command.clone())).collect();
        for (id, command) in words {
            self.lead_own(id, command).await;
        }
        // The drivers have said all of it by then: a ring one of them just ended isn't taken for a lost one.
        self.job(Box::new(move |_, _| {
            shared.write_all();
            shared.align(&me, &BTreeSet::new());
        }))
        .await;
        for (node, id, command) in held {
            self.lead_other(&node, id, command).await;
        }
    }

    pub(super) async fn job(&self, job: Job) {
        if let Office::Leading(Leading { phase: Phase::InOffice { jobs, .. }, .. }) = &self.office
            && jobs.send(job).await.is_err()
        {
            warn!("queue message lost: its owner is gone");
        }
    }

    /// A gateway's statement: what was lost on its way, or decided without it, is made up for.
    async fn join(&mut self, node: &str, state: State) {
        self.setup.outlet.add(node);
        let shared = Arc::clone(&self.setup.shared);
        let before = shared.mirror.lock().abroad.insert(node.to_owned(), Abroad::of(&state));
        let over: Vec<String> =
            before.map(|b| b.calls.into_iter().filter(|call| !state.live.contains(call)).collect()).unwrap_or_default();
        let moved = self.phones.replace(node, &state.phones);
        let of = node.to_owned();
        self.job(Box::new(move |now, core| reconcile(now, core, &shared, &of, state, &over))).await;
        self.place(moved).await;
        let (shared, outlet, to) = (Arc::clone(&self.setup.shared), Arc::clone(&self.setup.outlet), node.to_owned());
        self.job(Box::new(move |_, _| {
            let (operators, callers) = {
                let kept = shared.mirror.lock();
                (kept.operators.values().map(Into::into).collect(), kept.callers.values().map(Into::into).collect())
            };
            for rows in in_parts(operators, callers) {
                outlet.send(&to, What::Snapshot(rows));
            }
        }))
        .await;
    }

    /// These phones are where the table says.
    pub(super) async fn place(&self, users: Vec<String>) {
        for sip_user in users {
            let node = self.phones.place(&sip_user).map(str::to_owned);
            let command = Command::Phone { sip_user, registered: node.is_some(), node: node.unwrap_or_default() };
            self.job(Box::new(move |now, core| {
                command.run(now, core);
            }))
            .await;
        }
    }

    /// What this gateway knows beside the machine goes into a command, and the other way round.
    async fn adopt(&mut self, from: &str, mut command: Command) -> Command {
        match &mut command {
            Command::Phone { sip_user, node, registered } => {
                self.phones.set(from, sip_user, *registered);
                let place = self.phones.place(sip_user).map(str::to_owned);
                (*registered, *node) = (place.is_some(), place.unwrap_or_default());
            }
            Command::Want { who, profile, state, .. } => {
                if *state == OperatorState::Ready {
                    self.free_of_cut_off(&who.id).await;
                }
                if let Some(place) = self.phones.place(&who.sip_user) {
                    (profile.registered, profile.node) = (true, place.to_owned());
                }
            }
            _ => {}
        }
        if from != self.me {
            self.setup.shared.mirror.lock().note(from, &command);
        }
        command
    }

    /// A word of this gateway that is kept.
    pub(super) async fn lead_own(&mut self, id: u64, command: Command) {
        let me = self.me.clone();
        let command = self.adopt(&me, command).await;
        let job = self.words.job(id, command);
        self.job(Box::new(job)).await;
    }

    async fn lead_other(&mut self, node: &str, id: u64, command: Command) {
        let command = self.adopt(node, command).await;
        let done: Arc<Mutex<Option<Reply>>> = Arc::default();
        let outcome = Arc::clone(&done);
        self.job(Box::new(move |now, core| {
            let reply = command.run(now, core);
            *outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(reply);
        }))
        .await;
        // A job of its own: the rows and news of the first are sent before, and an owner that dies over it answers.
        let (outlet, node) = (Arc::clone(&self.setup.outlet), node.to_owned());
        self.job(Box::new(move |_, _| {
            let reply = done.lock().unwrap_or_else(PoisonError::into_inner).take();
            outlet.send(&node, What::Answer { id, reply });
        }))
        .await;
    }
}

fn reconcile(now: i64, core: &mut Core, shared: &Shared, node: &str, mut state: State, over: &[String]) {
    // First: nobody may be offered a call in between.
    engage(now, core, &state);
    for call in over {
        core.ended(now, call);
    }
    let waiting: Vec<String> = core
        .queues()
        .into_iter()
        .flat_map(|queue| queue.callers)
        .filter(|caller| *caller.node == *node && !state.live.iter().any(|call| **call == *caller.call))
        .map(|caller| caller.call.to_string())
        .collect();
    for call in waiting {
        core.ended(now, &call);
    }
    let rows = std::mem::take(&mut state.rows);
    let callers: Vec<CallerRow> = rows.callers.into_iter().map(CallerRow::from).collect();
    let operators = rows.operators.into_iter().map(OperatorRow::from);
    let taken: Vec<OperatorRow> =
        operators.filter(|row| core.operator(&row.who.id).is_none() || rings_still(core, row, &callers)).collect();
    core.restore(now, taken, callers, &|call| shared.mirror.is_live(call));
    engage(now, core, &state);
    let talking: BTreeMap<String, String> = core
        .operators()
        .into_iter()
        .filter(|o| o.state == OperatorState::Talking)
        .filter_map(|o| Some((o.call?.to_string(), o.who.id.clone())))
        .collect();
    for (call, operator) in &talking {
        if state.live.contains(call) && !state.talks.iter().any(|(c, o)| c == call && o == operator) {
            core.released(now, call, operator);
        }
    }
    for (call, operator) in &state.talks {
        if talking.get(call) != Some(operator) {
            core.connected(now, call, operator);
        }
    }
}

/// Whether a caller comes back whom this operator's phone still rings for, while they seem free here: both were given
/// up when the link was away for too long.
fn rings_still(core: &Core, row: &OperatorRow, callers: &[CallerRow]) -> bool {
    let is_free = |o: &OperatorView| o.state == OperatorState::Ready && o.engaged.is_empty();
    let is_waiting = |call: &str| core.queues().iter().any(|queue| queue.callers.iter().any(|c| *c.call == *call));
    let is_it = |c: &CallerRow| {
        c.ringing.as_deref() == Some(row.who.id.as_str()) && row.call.as_deref() == Some(c.entry.call.as_str())
    };
    row.state == OperatorState::Ringing
        && core.operator(&row.who.id).as_ref().is_some_and(is_free)
        && callers.iter().any(|c| is_it(c) && !is_waiting(&c.entry.call))
}

/// Whose phones are in that gateway's calls beside the talks: exactly those it states.
fn engage(now: i64, core: &mut Core, state: &State) {
    let known: BTreeSet<(String, String)> = core
        .operators()
        .into_iter()
        .flat_map(|o| o.engaged.iter().map(|call| (call.to_string(), o.who.id.clone())).collect::<Vec<_>>())
        .collect();
    let stated: BTreeSet<(String, String)> = state.engaged.iter().cloned().collect();
    for (call, operator) in stated.difference(&known) {
        core.engaged(now, call, operator);
    }
    for (call, operator) in known.difference(&stated).filter(|(call, _)| state.live.contains(call)) {
        core.disengaged(now, call, operator);
    }
}

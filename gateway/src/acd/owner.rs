//! The task that owns all queues: the only place their state changes, so no lock and no race.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hotline_acd::{Core, Effect, QueueSettings};
use tokio::sync::{Mutex, broadcast};
use tracing::{error, info, warn};

use super::handle::Change;
use super::jobs;
use super::mirror::{CallNews, Mirror};
use super::opening::Opening;
use super::outlet::Outlet;
use super::rows::Rows;
use super::truth;
use crate::clock::now_ms;

/// Pause before a dead owner's successor begins: a fault that comes again at once must not spin.
const RESTART_PAUSE: Duration = Duration::from_millis(50);
/// Drivers that ended without a word are looked for so often.
const SWEEP: Duration = Duration::from_secs(5);

/// A wall clock that is off by more than this from the time that went by was set.
const CLOCK_STEP_MS: i64 = 1_000;

/// One thing to do to the machine.
pub(super) type Job = Box<dyn FnOnce(i64, &mut Core) + Send>;

/// What the owner and its successors share.
pub(super) struct Shared {
    pub(super) settings: Vec<QueueSettings>,
    pub(super) mirror: Arc<Mirror>,
    pub(super) rows: Arc<Rows>,
    pub(super) changes: broadcast::Sender<Change>,
    /// Where several gateways share the queues.
    pub(super) outlet: Option<Arc<Outlet>>,
    pub(super) opening: Arc<Opening>,
}

/// Keeps an owner running: one that dies takes the job it was at along, nothing else. Its successor begins from the
/// last rows and the calls that are live.
pub(super) async fn supervise(shared: Arc<Shared>, jobs: jobs::Receiver<Job>) {
    let jobs = Arc::new(Mutex::new(jobs));
    loop {
        match tokio::spawn(run(Arc::clone(&shared), Arc::clone(&jobs))).await {
            Ok(()) => return,
            Err(e) => error!(error = %e, "排队任务中断,由最近的记录重建 / the queues' owner died: it is rebuilt"),
        }
        tokio::time::sleep(RESTART_PAUSE).await;
    }
}

async fn run(shared: Arc<Shared>, jobs: Arc<Mutex<jobs::Receiver<Job>>>) {
    let mut jobs = jobs.lock().await;
    if !shared.holds() {
        return;
    }
    let core = match Core::new(shared.settings.clone()) {
        Ok(core) => core,
        // The configuration was judged: this can't be, and without queues there is nothing to own.
        Err(e) => return error!(error = %e, "queues"),
    };
    let mut owner = Owner { core, shared, clock: Clock { wall: now_ms(), at: Instant::now() }, open: BTreeMap::new() };
    owner.open_and_close();
    owner.rebuild();
    let mut sweep = tokio::time::interval(SWEEP);
    loop {
        let now = owner.now();
        let deadline = owner.core.poll_timeout();
        let sleep = async {
            match deadline {
                Some(at) => tokio::time::sleep(Duration::from_millis(u64::try_from(at - now).unwrap_or(0))).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            job = jobs.recv() => match job {
                Some(job) => {
                    if !owner.shared.holds() {
                        return;
                    }
                    let now = owner.now();
                    job(now, &mut owner.core);
                }
                None => return,
            },
            () = sleep => {
                if !owner.shared.holds() {
                    return;
                }
                let now = owner.now();
                owner.core.handle_timeout(now);
            }
            _ = sweep.tick() => owner.sweep(),
        }
        owner.carry_out();
    }
}

/// Wall time, and the moment it was read at.
struct Clock {
    wall: i64,
    at: Instant,
}

impl Clock {
    /// By how much the wall clock was set since the last step.
    fn step(&mut self, wall: i64, at: Instant) -> Option<i64> {
        let passed = i64::try_from(at.saturating_duration_since(self.at).as_millis()).unwrap_or(i64::MAX);
        let by = wall.saturating_sub(self.wall.saturating_add(passed));
        (by.abs() > CLOCK_STEP_MS).then(|| {
            *self = Self { wall, at };
            by
        })
    }
}

struct Owner {
    core: Core,
    shared: Arc<Shared>,
    clock: Clock,
    /// As last told the machine.
    open: BTreeMap<String, bool>,
}

impl Owner {
    /// Wall time. If it was set meanwhile, so are all of the machine's times: a step ends no ring and no 话后.
    fn now(&mut self) -> i64 {
        let wall = now_ms();
        if let Some(by_ms) = self.clock.step(wall, Instant::now()) {
            warn!(by_ms, "系统时间被调整 / the system clock was set: the queues' deadlines move along");
            self.core.clock_set(by_ms);
            self.carry_out();
        }
        wall
    }

    fn rebuild(&mut self) {
        let (mut operators, mut callers) = {
            let kept = self.shared.mirror.lock();
            (kept.operators.values().cloned().collect::<Vec<_>>(), kept.callers.values().cloned().collect::<Vec<_>>())
        };
        let talks = self.shared.mirror.talks();
        if operators.is_empty() && callers.is_empty() && talks.is_empty() {
            return;
        }
        info!(operators = operators.len(), callers = callers.len(), "queues rebuilt");
        let gone: Vec<String> =
            callers.iter().map(|c| c.entry.call.clone()).filter(|c| !self.shared.mirror.is_live(c)).collect();
        for call in gone {
            self.forget(&call);
        }
        let mirror = Arc::clone(&self.shared.mirror);
        let is_live = |call: &str| mirror.is_live(call);
        let withdrawn = truth::apply(&mut operators, &callers, (&talks, &mirror.engaged()), &is_live);
        callers.retain(|row| talks.iter().all(|(call, _)| *call != row.entry.call));
        for (call, _) in &talks {
            self.forget(call);
        }
        let unknown = |who: &str| operators.iter().all(|row| row.who.id != who);
        let of_nobody: Vec<_> = talks.iter().filter(|(_, who)| unknown(who)).cloned().collect();
        self.core.restore(now_ms(), operators, callers, &is_live);
        for (call, operator) in of_nobody {
            // Who took a transfer and never signed in may sign in during it.
            self.core.connected(now_ms(), &call, &operator);
        }
        for (call, operator) in withdrawn {
            self.tell(&call, CallNews::Withdraw { operator });
        }
        self.carry_out();
    }

    /// What the hours, or somebody by hand, decide now.
    fn open_and_close(&mut self) {
        let (now, shared) = (now_ms(), Arc::clone(&self.shared));
        let by_hand = shared.mirror.lock().by_hand.clone();
        for queue in shared.opening.queues() {
            let open = shared.opening.is_open(queue, now, &by_hand);
            let before = self.open.insert(queue.to_owned(), open);
            if before != Some(open) {
                if before.is_some() || !open {
                    info!(queue, open, "队列开放状态 / queue opens or closes");
                }
                self.core.set_open(queue, open);
            }
        }
    }

    /// Whoever dropped its mailbox drives nothing any more.
    fn sweep(&mut self) {
        self.open_and_close();
        for call in self.shared.mirror.dead() {
            warn!(call, "a call's driver is gone without a word: taken out of the queue");
            self.core.ended(now_ms(), &call);
        }
    }

    fn carry_out(&mut self) {
        while let Some(effect) = self.core.poll_output() {
            match effect {
                Effect::Offer { call, node, operator } => {
                    self.tell_at(&node, &call, CallNews::Offer((*operator).clone()));
                }
                Effect::Withdraw { call, node, operator } => {
                    self.tell_at(&node, &call, CallNews::Withdraw { operator: operator.to_string() });
                }
                Effect::Moved { call, queue } => self.tell(&call, CallNews::Moved { queue: queue.to_string() }),
                Effect::WaitedTooLong { call } => self.tell(&call, CallNews::WaitedTooLong),
                Effect::OnlyBarred { call } => self.tell(&call, CallNews::OnlyBarred),
                Effect::Operator { row, state } => self.operator(*row, state),
                Effect::Caller(row) => {
                    if let Some(outlet) = &self.shared.outlet {
                        outlet.caller(&row);
                    }
                    let is_new = self.shared.keep_caller((*row).clone());
                    self.shared.rows.caller(&row, is_new);
                }
                Effect::Gone { call, .. } => self.forget(&call),
                Effect::Overflow { call, red } => self.tell(&call, CallNews::Overflow { red }),
                // Not configured: the voice flow says the place by itself, in words and at moments of its own.
                Effect::Announce { .. } => {}
            }
        }
    }

    fn operator(&self, row: hotline_acd::OperatorRow, state: bool) {
        if state {
            info!(operator = row.who.id, state = row.state.as_str(), reason = &*row.reason, "operator state");
            self.shared.rows.state(&row.who.id, row.state, &row.reason, row.since);
        }
        if let Some(outlet) = &self.shared.outlet {
            outlet.operator(&row, state);
        }
        self.shared.keep_operator(row, state);
    }

    fn forget(&self, call: &str) {
        if self.shared.drop_caller(call) {
            self.shared.rows.gone(call);
            if let Some(outlet) = &self.shared.outlet {
                outlet.gone(call);
            }
        }
    }

    fn tell(&mut self, call: &str, news: CallNews) {
        let node = self.shared.mirror.lock().callers.get(call).map(|row| row.entry.node.clone());
        self.tell_at(&node.unwrap_or_default(), call, news);
    }

    fn tell_at(&mut self, node: &str, call: &str, news: CallNews) {
        if let Some(outlet) = self.shared.outlet.as_ref().filter(|outlet| outlet.is_abroad(node)) {
            return outlet.news(node, call, news);
        }
        if !self.shared.mirror.tell(call, news) {
            warn!(call, "caller's driver is gone: removed from the queue");
            self.core.ended(now_ms(), call);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_is_told_from_time_going_by() {
        let at = Instant::now();
        let after = |s| at + Duration::from_secs(s);
        let mut clock = Clock { wall: 1_000_000, at };
        assert_eq!(clock.step(1_060_400, after(60)), None, "slewed");
        assert_eq!(clock.step(4_661_000, after(61)), Some(3_600_000));
        assert_eq!(clock.step(4_662_000, after(62)), None, "told once");
        assert_eq!(clock.step(1_063_000, after(63)), Some(-3_600_000));
    }
}

//! The media threads: one from the start, a further one only when all that run are busy. Their number
//! depends on the work, never on the number of calls, and none ends before the program does.

use std::{
    io,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use hotline_media::{LegId, engine::Command};
use tokio::sync::mpsc;

use super::{
    MediaConfig, MediaEvent,
    dtls::{self, DtlsQueue, Identity},
    limits::BUSY_PERMILLE,
    mailbox::{Mailbox, Order},
    ports::Ports,
    stats::Shared,
    thread::{self, Ways},
    writer::{self, WriterHandle},
};

/// One place for each thread that may run, in the order they start.
type Mailboxes = Vec<OnceLock<Mailbox>>;

/// See the module's description.
pub(super) struct Threads {
    mailboxes: Arc<Mailboxes>,
    shared: Arc<Shared>,
    /// `None` after the shutdown began: the writer ends when nobody can send to it any more.
    starter: Mutex<Option<Starter>>,
    joins: Mutex<Vec<JoinHandle<()>>>,
}

/// What a new thread needs.
struct Starter {
    cfg: MediaConfig,
    ports: Arc<Ports>,
    writer: WriterHandle,
    dtls: DtlsQueue,
    events: mpsc::Sender<MediaEvent>,
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Threads {
    /// Starts the first media thread, the writer and the sync thread.
    pub(super) fn start(
        cfg: &MediaConfig,
        shared: &Arc<Shared>,
        ports: &Arc<Ports>,
        identity: &Arc<Identity>,
        events: mpsc::Sender<MediaEvent>,
    ) -> io::Result<Self> {
        let (writer, mut joins) = writer::start(cfg, shared, events.clone())?;
        let mailboxes: Arc<Mailboxes> = Arc::new((0..cfg.threads.max(1)).map(|_| OnceLock::new()).collect());
        let back = Arc::clone(&mailboxes);
        let (dtls, join) = dtls::start(Arc::clone(identity), Box::new(move |leg, command| bring(&back, leg, command)))?;
        joins.push(join);
        let starter = Starter { cfg: cfg.clone(), ports: Arc::clone(ports), writer, dtls, events };
        let threads = Self {
            mailboxes,
            shared: Arc::clone(shared),
            starter: Mutex::new(Some(starter)),
            joins: Mutex::new(joins),
        };
        threads.start_one(0)?;
        Ok(threads)
    }

    /// Starts thread `index`, unless it runs.
    fn start_one(&self, index: usize) -> io::Result<()> {
        let starter = self.starter.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(starter), None) = (&*starter, self.mailboxes[index].get()) else {
            return Ok(());
        };
        let Starter { cfg, ports, writer, dtls, events } = starter;
        let ways = Ways { writer: writer.for_thread(index), dtls: dtls.clone(), events: events.clone() };
        let (mailbox, join) = thread::start(index, cfg, &self.shared, ports, ways)?;
        self.joins.lock().unwrap_or_else(PoisonError::into_inner).push(join);
        // Under the lock, so the place is free.
        let _ = self.mailboxes[index].set(mailbox);
        Ok(())
    }

    /// Threads that may run at most; part of each leg's id, so it never changes.
    pub(super) fn most(&self) -> usize {
        self.mailboxes.len()
    }

    fn running(&self) -> usize {
        self.mailboxes.iter().take_while(|mailbox| mailbox.get().is_some()).count()
    }

    /// The thread a new call goes to.
    pub(super) fn choose(&self) -> usize {
        let loads: Vec<u32> = (0..self.running()).map(|index| self.shared.load(index)).collect();
        match choose(&loads, self.most()) {
            Choice::Running(index) => index,
            Choice::New(index) => match self.start_one(index) {
                Ok(()) if self.mailboxes[index].get().is_some() => {
                    tracing::info!(threads = index + 1, "another media thread: those before it are busy");
                    index
                }
                Ok(()) => 0,
                Err(error) => {
                    tracing::error!(%error, "no further media thread");
                    least(&loads)
                }
            },
        }
    }

    /// Queues an order; false if the queue is full or the thread has ended.
    pub(super) fn post(&self, thread: usize, order: Order) -> bool {
        self.mailboxes.get(thread).and_then(OnceLock::get).is_some_and(|mailbox| mailbox.post(order))
    }

    fn stop(&self) {
        self.starter.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.mailboxes.iter().filter_map(OnceLock::get).for_each(Mailbox::stop);
    }

    /// Ends all threads; waits no longer than `wait`. Returns whether all have ended.
    pub(super) fn shutdown(&self, wait: Duration) -> bool {
        self.stop();
        join_all(&mut self.joins.lock().unwrap_or_else(PoisonError::into_inner), wait)
    }
}

/// Brings a command to a leg's thread.
fn bring(mailboxes: &Mailboxes, leg: LegId, command: Command) {
    let index = usize::try_from(leg.0 % mailboxes.len() as u64).unwrap_or(0);
    if !mailboxes[index].get().is_some_and(|mailbox| mailbox.post(Order::Command(command))) {
        tracing::error!(%leg, "media thread refuses commands: queue full or thread ended");
    }
}

/// Waits for threads, but not for ever. Returns whether all have ended.
pub(super) fn join_all(joins: &mut Vec<JoinHandle<()>>, wait: Duration) -> bool {
    let deadline = Instant::now() + wait;
    while joins.iter().any(|join| !join.is_finished()) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(2));
    }
    joins.retain(|join| !join.is_finished());
    joins.is_empty()
}

#[derive(Debug, PartialEq, Eq)]
enum Choice {
    Running(usize),
    New(usize),
}

/// `loads`: thousandths of a core used by each thread that runs; at most `most` may run.
fn choose(loads: &[u32], most: usize) -> Choice {
    let all_busy = loads.iter().all(|load| *load >= BUSY_PERMILLE);
    if all_busy && loads.len() < most { Choice::New(loads.len()) } else { Choice::Running(least(loads)) }
}

fn least(loads: &[u32]) -> usize {
    (0..loads.len()).min_by_key(|index| loads[*index]).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_further_thread_starts_only_when_all_are_busy_and_new_calls_go_where_least_is_done() {
        let busy = BUSY_PERMILLE;
        assert_eq!(choose(&[0], 2), Choice::Running(0));
        assert_eq!(choose(&[busy - 1], 2), Choice::Running(0));
        assert_eq!(choose(&[busy], 2), Choice::New(1));
        assert_eq!(choose(&[busy], 1), Choice::Running(0));
        assert_eq!(choose(&[busy + 300, 10], 4), Choice::Running(1));
        assert_eq!(choose(&[busy + 300, busy], 4), Choice::New(2));
        assert_eq!(choose(&[busy + 300, busy], 2), Choice::Running(1));
    }
}

//! Handshakes of browsers' legs: one thread beside the media threads, which hand it datagrams and get keys
//! back. A handshake costs milliseconds of a core, for which no talk may wait.

mod certificate;
mod session;
#[cfg(test)]
mod tests;

pub(super) use certificate::Identity;

use std::{
    collections::HashMap,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use hotline_media::{
    LegId,
    engine::{Command, DtlsOp},
};

use super::limits::{DTLS_QUEUE_MAX, DTLS_WAKE_MS_MAX};
use session::{Session, Step};

/// One order of a media thread.
#[derive(Debug)]
pub(super) struct DtlsOrder {
    pub(super) leg: LegId,
    pub(super) op: DtlsOp,
}

/// The media threads' way to the handshakes. The thread ends when all of these are gone.
pub(super) type DtlsQueue = SyncSender<DtlsOrder>;

/// Orders a media thread gets back; they go by its mailbox.
pub(super) type Back = Box<dyn Fn(LegId, Command) + Send>;

/// Starts the thread. `back` brings commands to a leg's media thread.
pub(super) fn start(identity: Arc<Identity>, back: Back) -> io::Result<(DtlsQueue, JoinHandle<()>)> {
    let (queue, orders) = sync_channel(DTLS_QUEUE_MAX);
    let mut worker = Worker { identity, back, sessions: HashMap::new() };
    let join = std::thread::Builder::new().name("dtls".into()).spawn(move || worker.run(&orders))?;
    Ok((queue, join))
}

struct Worker {
    identity: Arc<Identity>,
    back: Back,
    /// One a browser's leg, until the leg ends.
    sessions: HashMap<LegId, Session>,
}

impl Worker {
    fn run(&mut self, orders: &Receiver<DtlsOrder>) {
        loop {
            let now = Instant::now();
            let due = self.sessions.values().filter_map(Session::due).min();
            let max = Duration::from_millis(DTLS_WAKE_MS_MAX);
            let patience = due.map_or(max, |due| due.saturating_duration_since(now).min(max));
            match orders.recv_timeout(patience) {
                Ok(order) => self.take(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.serve_timers();
        }
    }

    fn take(&mut self, DtlsOrder { leg, op }: DtlsOrder) {
        self.guarded(leg, |worker| worker.carry_out(leg, op));
    }

    /// Strangers' datagrams reach the library here: should it panic over one, that leg's handshake is over and
    /// nobody else's.
    fn guarded(&mut self, leg: LegId, work: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| work(self))).is_err() {
            const WHY: &str = "the DTLS library panicked";
            tracing::error!(%leg, "{WHY}");
            self.sessions.remove(&leg);
            (self.back)(leg, Command::SecureFailed { leg, why: WHY });
        }
    }

    fn carry_out(&mut self, leg: LegId, op: DtlsOp) {
        let now = Instant::now();
        match op {
            DtlsOp::Start(params) => match Session::new(now, &self.identity, &params) {
                Ok(session) => {
                    self.sessions.insert(leg, session);
                    self.go_on(now, leg);
                }
                Err(why) => {
                    tracing::error!(%leg, why, "no DTLS");
                    (self.back)(leg, Command::SecureFailed { leg, why: "no DTLS" });
                }
            },
            DtlsOp::Packet(bytes) => {
                if let Some(session) = self.sessions.get_mut(&leg) {
                    session.receive(&bytes);
                    self.go_on(now, leg);
                }
            }
            DtlsOp::End => {
                self.sessions.remove(&leg);
            }
        }
    }

    fn serve_timers(&mut self) {
        let now = Instant::now();
        let due: Vec<LegId> =
            self.sessions.iter().filter(|(_, s)| s.due().is_some_and(|at| at <= now)).map(|(leg, _)| *leg).collect();
        for leg in due {
            self.guarded(leg, |worker| {
                if let Some(session) = worker.sessions.get_mut(&leg) {
                    session.handle_timeout(now);
                }
                worker.go_on(now, leg);
            });
        }
    }

    /// Carries out what a handshake wants.
    fn go_on(&mut self, now: Instant, leg: LegId) {
        let Some(session) = self.sessions.get_mut(&leg) else {
            return;
        };
        while let Some(step) = session.step(now) {
            match step {
                Step::Send(bytes) => (self.back)(leg, Command::SendDtls { leg, bytes }),
                Step::Keys(srtp) => (self.back)(leg, Command::Secure { leg, srtp }),
                Step::Closed => tracing::debug!(%leg, "the browser has closed its media connection"),
                Step::Failed(why) => {
                    tracing::info!(%leg, why, "no keys for a browser's leg");
                    (self.back)(leg, Command::SecureFailed { leg, why });
                    self.sessions.remove(&leg);
                    return;
                }
            }
        }
    }
}

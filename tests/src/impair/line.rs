//! A lane with sockets: datagrams leave it when they are due.

use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::{Counts, Impairment, Lane};

/// Bytes on their way.
#[derive(Clone, Debug)]
pub(crate) struct Datagram {
    /// The socket it leaves by.
    pub(crate) socket: Arc<UdpSocket>,
    /// Where to.
    pub(crate) to: SocketAddr,
    /// What.
    pub(crate) bytes: Arc<[u8]>,
}

/// One direction in real time; dropping it loses what still waits.
#[derive(Debug)]
pub(crate) struct Line {
    shared: Arc<Shared>,
    sender: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    began: Instant,
    lane: Mutex<Lane<Datagram>>,
    news: Notify,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.sender.abort();
    }
}

impl Shared {
    fn lane(&self) -> MutexGuard<'_, Lane<Datagram>> {
        self.lane.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what is due and says when the next is.
    fn send_due(&self) -> Option<Duration> {
        let mut lane = self.lane();
        while let Some(Datagram { socket, to, bytes }) = lane.pop(self.began.elapsed()) {
            // A peer that is gone is a lost datagram.
            let _ = socket.send_to(&bytes, to);
        }
        lane.next_due()
    }
}

impl Line {
    /// Starts; must be called inside a tokio runtime.
    pub(crate) fn start(impairment: Impairment, seed: u64) -> Self {
        let lane = Mutex::new(Lane::new(impairment, seed));
        let shared = Arc::new(Shared { began: Instant::now(), lane, news: Notify::new() });
        let sender = tokio::spawn(send(Arc::downgrade(&shared))).abort_handle();
        Self { shared, sender }
    }

    /// Hands a datagram over.
    pub(crate) fn push(&self, datagram: Datagram) {
        let len = datagram.bytes.len();
        self.shared.lane().push(self.shared.began.elapsed(), len, datagram);
        // What is not delayed leaves at once and in order.
        self.shared.send_due();
        self.shared.news.notify_one();
    }

    pub(crate) fn set(&self, impairment: Impairment) {
        self.shared.lane().set(impairment);
    }

    pub(crate) fn counts(&self) -> Counts {
        self.shared.lane().counts()
    }
}

async fn send(shared: Weak<Shared>) {
    loop {
        let Some(shared) = shared.upgrade() else { return };
        let due = shared.send_due();
        let news = shared.news.notified();
        match due {
            None => news.await,
            Some(due) => {
                let at = tokio::time::Instant::from_std(shared.began + due);
                tokio::select! {
                    () = tokio::time::sleep_until(at) => {}
                    () = news => {}
                }
            }
        }
    }
}

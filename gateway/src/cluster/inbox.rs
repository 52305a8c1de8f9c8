//! What links bring for one part of the gateway.

use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::{PeerEvent, PeerNews};

/// It waits for who takes it.
pub(super) struct Inbox {
    to: mpsc::Sender<PeerEvent>,
    waits: Mutex<Option<mpsc::Receiver<PeerEvent>>>,
}

impl Inbox {
    /// Of so many events at most.
    pub(super) fn new(max: usize) -> Self {
        let (to, waits) = mpsc::channel(max);
        Self { to, waits: Mutex::new(Some(waits)) }
    }

    /// Once.
    pub(super) fn take(&self) -> Option<mpsc::Receiver<PeerEvent>> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// A link came or went.
    pub(super) async fn tell(&self, node: &str, link: u64, what: PeerNews) {
        let event = PeerEvent { node: node.to_owned(), link, what };
        let is_taken = self.waits.lock().unwrap_or_else(PoisonError::into_inner).is_none();
        if is_taken {
            let _ = self.to.send(event).await;
        } else {
            // It waits for who takes it, if anybody ever does.
            let _ = self.to.try_send(event);
        }
    }

    /// A frame came. False: it found no room.
    pub(super) fn bring(&self, node: &str, link: u64, what: PeerNews) -> bool {
        let event = PeerEvent { node: node.to_owned(), link, what };
        !matches!(self.to.try_send(event), Err(TrySendError::Full(_)))
    }
}

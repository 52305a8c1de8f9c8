//! Lost connections of trunks: whoever registered over one has to register anew (RFC 5626 §4.5).

use std::net::SocketAddr;

use hotline_sip::Transport;
use tokio::sync::broadcast::{self, error::RecvError};

use super::{Peer, Sip};

/// News a trunk may leave unread; after more it takes its own connection for lost.
pub(super) const WAITING_MAX: usize = 64;

/// Tells of trunks' connections that end from now on.
pub struct Lost(broadcast::Receiver<Peer>);

impl Lost {
    /// Returns when the connection from `local` to `remote` has ended, or when it may have: too much news
    /// was left unread. Never over UDP.
    pub async fn of(&mut self, transport: Transport, local: SocketAddr, remote: SocketAddr) {
        loop {
            match self.0.recv().await {
                Ok(peer) if peer == (transport, local, remote) => return,
                Ok(_) => {}
                Err(RecvError::Lagged(_)) if transport != Transport::Udp => return,
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

impl Sip {
    /// See [`Lost`].
    #[must_use]
    pub fn lost(&self) -> Lost {
        Lost(self.inner.lost.subscribe())
    }

    pub(super) fn tell_lost(&self, peer: Peer) {
        // Nobody may be listening.
        let _ = self.inner.lost.send(peer);
    }
}

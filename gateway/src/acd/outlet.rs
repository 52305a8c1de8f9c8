//! How the leader's queues reach the other gateways, and whether they may.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hotline_acd::{CallerRow, OperatorRow};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::mirror::CallNews;
use super::wire::{Caller, Operator, What, Wire};
use crate::cluster::{Peers, SendError};

#[derive(Default)]
struct Reign {
    term: i64,
    /// The lease is believed in until then.
    until: Option<Instant>,
    /// Gateways that stated what holds there.
    members: Vec<String>,
}

/// To all other gateways.
pub(super) struct Outlet {
    node: String,
    peers: Peers,
    reign: Mutex<Reign>,
}

impl Outlet {
    pub(super) fn new(node: String, peers: Peers) -> Self {
        Self { node, peers, reign: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Reign> {
        self.reign.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this gateway leads still. Asked before every step: a process that was stopped for a while must not act
    /// on a lease another has taken meanwhile.
    pub(super) fn holds(&self) -> bool {
        self.lock().until.is_some_and(|until| Instant::now() < until)
    }

    pub(super) fn extend(&self, term: i64, until: Instant) {
        let mut reign = self.lock();
        (reign.term, reign.until) = (term, Some(until));
    }

    pub(super) fn end(&self) {
        *self.lock() = Reign::default();
    }

    pub(super) fn add(&self, node: &str) {
        let mut reign = self.lock();
        if reign.members.iter().all(|n| n != node) {
            reign.members.push(node.to_owned());
        }
    }

    pub(super) fn remove(&self, node: &str) {
        self.lock().members.retain(|n| n != node);
    }

    /// The call is driven by another gateway.
    pub(super) fn is_abroad(&self, node: &str) -> bool {
        !node.is_empty() && node != self.node
    }

    pub(super) fn send(&self, node: &str, what: What) {
        let term = self.lock().term;
        let asked = match &what {
            What::Answer { id, reply: Some(_) } => Some(*id),
            _ => None,
        };
        match (self.peers.send(node, Wire::frame(term, what)), asked) {
            // Who asks is told at least that there is no answer.
            (Err(SendError::TooLong), Some(id)) => {
                warn!(node, "答复过长,未送出 / an answer is too long for a link: whoever asked gets none");
                self.send(node, What::Answer { id, reply: None });
            }
            // It states anew what holds there when its link comes back, or is lost.
            (Err(e), _) => debug!(node, error = %e, "not sent"),
            (Ok(()), _) => {}
        }
    }

    fn broadcast(&self, what: What) {
        let (frame, members) = {
            let reign = self.lock();
            if reign.members.is_empty() {
                return;
            }
            (Wire::frame(reign.term, what), reign.members.clone())
        };
        for node in members {
            if let Err(e) = self.peers.send(&node, frame.clone()) {
                debug!(node, error = %e, "not sent");
            }
        }
    }

    pub(super) fn news(&self, node: &str, call: &str, news: CallNews) {
        self.send(node, What::News { call: call.to_owned(), news });
    }

    pub(super) fn operator(&self, row: &OperatorRow, state: bool) {
        self.broadcast(What::Operator { row: Operator::from(row), state });
    }

    pub(super) fn caller(&self, row: &CallerRow) {
        self.broadcast(What::Caller(Caller::from(row)));
    }

    pub(super) fn gone(&self, call: &str) {
        self.broadcast(What::Gone { call: call.to_owned() });
    }
}

//! What passed on the wire, per call: kept in memory while a call runs, stored sealed after it, shown
//! masked (`mask`) as text or ladder (`ladder`), sent to a Homer collector (`hep`, `collector`).

mod collector;
mod hep;
pub mod keep;
mod ladder;
pub mod limits;
mod mask;
mod message;
mod observer;
mod ring;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hotline_db::Id;

pub use collector::{Collector, CollectorSettings};
pub use hep::{Sender, encode as encode_hep};
pub use ladder::{mermaid, text};
pub use mask::{View, first_line, show};
pub use message::{DamagedTrace, Traced, TracedLeg, Way, decode, encode};
pub use observer::Observer;

use ring::Ring;

/// The traces of the calls that run, and those that wait to be stored.
pub struct Trace {
    /// `None`: nothing is traced.
    ring: Option<Mutex<Ring>>,
    is_kept: bool,
    ended: Mutex<VecDeque<(i64, Id)>>,
    lost: AtomicU64,
}

impl Trace {
    /// `memory_bytes`: 0 traces nothing; `is_kept`: traces are stored after a call.
    #[must_use]
    pub fn new(memory_bytes: usize, is_kept: bool) -> Arc<Self> {
        Arc::new(Self {
            ring: (memory_bytes > 0).then(|| Mutex::new(Ring::new(memory_bytes))),
            is_kept,
            ended: Mutex::default(),
            lost: AtomicU64::new(0),
        })
    }

    /// The dialog `call_id` is a leg of `call`; `label` names its other end for people.
    pub fn leg(&self, call: Id, call_id: &str, label: &str) {
        if let Some(mut ring) = self.ring() {
            ring.bind(call, call_id.as_bytes(), label.to_owned());
        }
    }

    /// The call is over at `now` (epoch ms): its trace is stored once its last answers have come.
    pub fn done(&self, call: Id, now: i64) {
        if self.ring.is_none() {
            return;
        }
        let mut ended = self.ended();
        if ended.len() < limits::ENDED_MAX {
            ended.push_back((now + limits::LINGER_MS, call));
            return;
        }
        drop(ended);
        self.lost(1);
        if let Some(mut ring) = self.ring() {
            ring.take(call);
        }
    }

    /// What memory holds of a call.
    #[must_use]
    pub fn legs(&self, call: Id) -> Vec<TracedLeg> {
        self.ring().map(|ring| ring.legs(call)).unwrap_or_default()
    }

    /// The call a dialog belongs to.
    #[must_use]
    pub fn call_of(&self, call_id: &[u8]) -> Option<Id> {
        self.ring().and_then(|ring| ring.call_of(call_id))
    }

    /// Bytes held in memory, and traces that could not be stored.
    #[must_use]
    pub fn figures(&self) -> (usize, u64) {
        (self.ring().map_or(0, |ring| ring.bytes()), self.lost.load(Ordering::Relaxed))
    }

    /// The next traces due at `now` (epoch ms), forgotten here; at most one batch.
    fn take_due(&self, now: i64) -> Vec<(Id, Vec<TracedLeg>)> {
        let mut calls = Vec::new();
        let mut ended = self.ended();
        while calls.len() < limits::BATCH_MAX
            && let Some((_, call)) = ended.pop_front_if(|(due, _)| *due <= now)
        {
            calls.push(call);
        }
        drop(ended);
        let Some(mut ring) = self.ring() else { return Vec::new() };
        calls.into_iter().map(|call| (call, ring.take(call))).filter(|(_, legs)| !legs.is_empty()).collect()
    }

    fn lost(&self, count: u64) {
        self.lost.fetch_add(count, Ordering::Relaxed);
    }

    fn ring(&self) -> Option<MutexGuard<'_, Ring>> {
        self.ring.as_ref().map(|ring| ring.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn ended(&self) -> MutexGuard<'_, VecDeque<(i64, Id)>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ended_call_waits_for_its_last_answers_and_is_then_taken_once() {
        let trace = Trace::new(1 << 20, true);
        let call = Id::new();
        let first = message::sample(1, Way::In, "192.0.2.9:5060", b"");
        trace.ring().unwrap().add(b"a", true, |bytes| Traced { bytes, ..first }, b"INVITE");
        trace.leg(call, "a", "carrier");
        assert_eq!(trace.call_of(b"a"), Some(call));
        trace.done(call, 1_000);
        assert!(trace.take_due(1_000).is_empty(), "the answer to the BYE is still on its way");
        assert_eq!(trace.legs(call).len(), 1);
        assert_eq!(trace.take_due(1_000 + limits::LINGER_MS).len(), 1);
        assert!(trace.take_due(i64::MAX).is_empty() && trace.legs(call).is_empty());
        assert_eq!(trace.figures(), (0, 0));
    }

    #[test]
    fn without_memory_nothing_is_traced() {
        let trace = Trace::new(0, true);
        trace.leg(Id::new(), "a", "x");
        trace.done(Id::new(), 1);
        assert!(trace.take_due(i64::MAX).is_empty());
    }
}

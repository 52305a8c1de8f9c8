//! The stream a port received in the call before, which may not have ended with it.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::canonical;
use crate::limits::{SEQ_DROPOUT_MAX, SEQ_MISORDER_MAX, STALE_STREAM_MS};

/// Its last packet. A carrier's media gateway may send from the same address in the next call, so
/// only number and SSRC tell the two apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stale {
    source: SocketAddr,
    ssrc: u32,
    seq: u16,
    until: Instant,
}

impl Stale {
    /// The last packet a leg accepted, when the leg closes.
    #[must_use]
    pub fn new(now: Instant, source: SocketAddr, ssrc: u32, seq: u16) -> Self {
        Self { source: canonical(source), ssrc, seq, until: now + Duration::from_millis(STALE_STREAM_MS) }
    }

    /// It may still go on.
    #[must_use]
    pub fn is_valid(&self, now: Instant) -> bool {
        now < self.until
    }

    /// The packet carries that stream on. A peer that uses one SSRC for ever begins a new call at
    /// another number and is not held up.
    pub(super) fn goes_on(&mut self, now: Instant, source: SocketAddr, ssrc: u32, seq: u16) -> bool {
        if ssrc != self.ssrc || source != self.source || !self.is_valid(now) {
            return false;
        }
        let ahead = seq.wrapping_sub(self.seq);
        if ahead <= SEQ_DROPOUT_MAX {
            self.seq = seq;
            return true;
        }
        ahead.wrapping_neg() <= SEQ_MISORDER_MAX
    }
}

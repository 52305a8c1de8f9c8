//! The four transaction machines (RFC 3261 §17 with the Accepted states of RFC 6026)
//!
//! Each is a few states and deadlines; bytes and owners live with the endpoint.

mod client;
mod invite_client;
mod invite_server;
mod key;
mod server;
mod timers;

pub(crate) use client::Client;
pub(crate) use invite_client::InviteClient;
pub(crate) use invite_server::InviteServer;
pub(crate) use key::{merge_key, server_key};
pub(crate) use server::Server;
pub(crate) use timers::{Retransmit, TimerKey, Timers, Timing, earliest};

/// What to do with a response
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnResponse {
    /// Absorb it
    Ignore,
    /// Tell the owner
    Deliver,
    /// Send the ACK of a non-2xx and tell the owner
    AckAndDeliver,
    /// Send that ACK once more
    Ack,
}

/// What to do when a deadline has come
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnTimeout {
    /// It had not
    Nothing,
    /// Send the last message again
    Resend,
    /// Tell the owner that no answer came, then forget the transaction
    TimedOut,
    /// Forget the transaction
    Terminated,
}

/// What to do with a request that came again
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnRequest {
    /// Absorb it
    Ignore,
    /// Send the last response again
    Resend,
}

#[cfg(test)]
pub(crate) mod test_clock {
    use super::Timing;
    use std::sync::OnceLock;
    use std::time::{Duration, Instant};

    pub(crate) const TIMING: Timing =
        Timing { t1: Duration::from_millis(500), t2: Duration::from_secs(4), t4: Duration::from_secs(5) };

    /// A fixed point to count from: only differences matter
    #[allow(clippy::disallowed_methods)] // an Instant can't be made from nothing
    pub(crate) fn start() -> Instant {
        static START: OnceLock<Instant> = OnceLock::new();
        *START.get_or_init(Instant::now)
    }

    pub(crate) fn at(ms: u64) -> Instant {
        start() + Duration::from_millis(ms)
    }
}

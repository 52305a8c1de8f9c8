//! Symmetric RTP (RFC 4961) with a guard: where a leg's media may come from and go to.
//!
//! Nothing is sent to an address that has not proven itself: by what the signalling vouches for
//! ([`Trust`]), or by a first valid packet. The peer is learnt once. A packet from exactly the
//! description's address teaches at once and beats what was learnt on weaker grounds; another host
//! that the signalling vouches for (NAT) teaches too; another port of the description's host only
//! if it goes on alone for `LATCH_PORT_MS`. Everything else is refused, so a third party can
//! neither listen in nor speak in. Encrypted packets were authenticated before they come here, so
//! any source of them is the peer.

mod rtcp;
mod stale;
mod trust;

pub use stale::Stale;
pub use trust::{Network, Trust};

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::limits::{LATCH_PORT_MS, SSRC_PROBATION_PACKETS};

/// What the guard says of a packet's source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Accepted, and this was the one that taught us the peer.
    Learned,
    /// Accepted from the learnt peer.
    Known,
    /// The learnt peer changes its SSRC; refused until the new one has proven itself.
    Probation,
    /// Accepted: the learnt peer now sends another stream (same address, new SSRC).
    NewStream,
    /// From somewhere else, or of the call that used the port before: refused.
    Foreign,
}

/// On what grounds the peer was learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ground {
    /// It sends from the address of its description.
    Exact,
    /// It sends from another host that is its own, or authentically.
    OtherHost,
    /// It sends from another port of the description's host.
    OtherPort,
}

#[derive(Clone, Copy, Debug)]
struct Learnt {
    address: SocketAddr,
    ssrc: u32,
    ground: Ground,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    ssrc: u32,
    seq_next: u16,
    count: u8,
}

/// Another port of the peer's host, waiting to be believed.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    address: SocketAddr,
    since: Instant,
    last: Instant,
}

/// The guard of one leg.
#[derive(Clone, Debug)]
pub struct Latch {
    signalled: SocketAddr,
    /// The last address of the SDP that was not a hold.
    announced: SocketAddr,
    trust: Trust,
    /// Packets are authenticated before they are judged.
    authentic: bool,
    learnt: Option<Learnt>,
    candidate: Option<Candidate>,
    waiting: Option<Waiting>,
    stale: Option<Stale>,
    rtcp: Option<SocketAddr>,
    /// A browser's leg: its checks prove addresses and choose one, not its packets.
    path: Option<Path>,
}

/// Where a browser wants media, once it has said so.
type Path = Option<SocketAddr>;

impl Latch {
    /// Guards a leg whose peer announced `signalled`. `authentic`: the leg is encrypted. `stale`
    /// is what the leg's port received before.
    #[must_use]
    pub fn new(signalled: SocketAddr, trust: Trust, authentic: bool, stale: Option<Stale>) -> Self {
        Self {
            signalled,
            announced: signalled,
            trust,
            authentic,
            learnt: None,
            candidate: None,
            waiting: None,
            stale,
            rtcp: None,
            path: None,
        }
    }

    /// From now on media goes to `path` alone, or nowhere; who sends is known by keys and checked addresses.
    pub fn set_path(&mut self, path: Option<SocketAddr>) {
        self.path = Some(path);
    }

    /// Takes a new offer/answer into account. Only a changed address makes us learn again; true if it does.
    pub fn update(&mut self, signalled: SocketAddr, trust: Trust, authentic: bool) -> bool {
        self.trust = trust;
        self.authentic = authentic;
        self.signalled = signalled;
        // A hold by 0.0.0.0 (RFC 2543) is no move; the peer comes back to where it was.
        if !sendable(signalled) || signalled == self.announced {
            return false;
        }
        self.announced = signalled;
        self.learnt = None;
        self.candidate = None;
        self.waiting = None;
        self.rtcp = None;
        true
    }

    /// The packet is of the learnt peer's stream. Teaches nothing.
    pub fn is_known(&mut self, now: Instant, source: SocketAddr, ssrc: u32, seq: u16) -> bool {
        let source = canonical(source);
        !self.stale.as_mut().is_some_and(|stale| stale.goes_on(now, source, ssrc, seq))
            && self.learnt.is_some_and(|learnt| learnt.address == source && learnt.ssrc == ssrc)
    }

    /// What the port received before this leg, as long as it may go on.
    #[must_use]
    pub fn stale(&self, now: Instant) -> Option<Stale> {
        self.stale.filter(|stale| stale.is_valid(now))
    }

    /// Judges a valid RTP packet and learns from it.
    pub fn admit(&mut self, now: Instant, source: SocketAddr, ssrc: u32, seq: u16) -> Admission {
        let source = canonical(source);
        if self.stale.as_mut().is_some_and(|stale| stale.goes_on(now, source, ssrc, seq)) {
            return Admission::Foreign;
        }
        match self.learnt {
            // A browser changes its address as it likes, among those it has checked.
            Some(learnt) if self.path.is_some() && learnt.address != source => {
                let moved = Learnt { address: source, ..learnt };
                self.learnt = Some(moved);
                self.admit_known(moved, ssrc, seq)
            }
            Some(learnt) if learnt.address == source => self.admit_known(learnt, ssrc, seq),
            // What is exactly as announced beats a guess, and nothing beats it.
            Some(learnt) if learnt.ground == Ground::Exact || source != canonical(self.announced) => Admission::Foreign,
            _ => match self.ground(now, source) {
                Some(ground) => {
                    self.learnt = Some(Learnt { address: source, ssrc, ground });
                    self.candidate = None;
                    self.waiting = None;
                    self.rtcp = None;
                    Admission::Learned
                }
                None => Admission::Foreign,
            },
        }
    }

    fn admit_known(&mut self, learnt: Learnt, ssrc: u32, seq: u16) -> Admission {
        if ssrc == learnt.ssrc {
            self.candidate = None;
            return Admission::Known;
        }
        let count = match self.candidate {
            Some(c) if c.ssrc == ssrc && c.seq_next == seq => c.count + 1,
            _ => 1,
        };
        if count >= SSRC_PROBATION_PACKETS {
            self.learnt = Some(Learnt { ssrc, ..learnt });
            self.candidate = None;
            return Admission::NewStream;
        }
        self.candidate = Some(Candidate { ssrc, seq_next: seq.wrapping_add(1), count });
        Admission::Probation
    }

    /// Why a source not learnt yet may be the peer, if it may.
    fn ground(&mut self, now: Instant, source: SocketAddr) -> Option<Ground> {
        let announced = canonical(self.announced);
        if source == announced || self.path.is_some() {
            return Some(Ground::Exact);
        }
        if self.authentic {
            return Some(Ground::OtherHost);
        }
        if source.ip() != announced.ip() {
            return self.trust.covers(source.ip()).then_some(Ground::OtherHost);
        }
        if !self.trust.proves(announced) {
            return None;
        }
        let pause = Duration::from_millis(LATCH_PORT_MS);
        match &mut self.waiting {
            Some(waiting) if waiting.address == source && now.saturating_duration_since(waiting.last) < pause => {
                waiting.last = now;
                (now.saturating_duration_since(waiting.since) >= pause).then_some(Ground::OtherPort)
            }
            _ => {
                self.waiting = Some(Waiting { address: source, since: now, last: now });
                None
            }
        }
    }

    /// Where media goes now; `None` while the SDP forbids sending (address 0.0.0.0, port 0) or no
    /// address has proven itself.
    #[must_use]
    pub fn target(&self) -> Option<SocketAddr> {
        if let Some(path) = self.path {
            return path;
        }
        if !sendable(self.signalled) {
            return None;
        }
        match self.learnt {
            // A believed description asks for media where it says, wherever that peer sends from.
            Some(learnt) if learnt.ground == Ground::OtherPort && self.trust.believes_sdp() => Some(self.signalled),
            Some(learnt) => Some(learnt.address),
            None => self.trust.proves(self.announced).then_some(self.signalled),
        }
    }

    /// The peer may be sent to, but no address of it has proven itself yet.
    #[must_use]
    pub fn is_unproven(&self) -> bool {
        (self.path.is_some() || sendable(self.signalled)) && self.target().is_none()
    }

    /// A peer was learnt.
    #[must_use]
    pub fn is_learnt(&self) -> bool {
        self.learnt.is_some()
    }
}

fn sendable(address: SocketAddr) -> bool {
    !address.ip().is_unspecified() && address.port() != 0
}

/// IPv4 peers of a dual-stack socket show as mapped IPv6 addresses.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests;

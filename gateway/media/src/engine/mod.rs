//! The engine: legs, bridges, mixes, prompts and recordings of one media thread.
//!
//! [`Engine::handle_input`] and [`Engine::handle_timeout`] change state; then
//! [`Engine::poll_output`] is called until it is empty, and [`Engine::poll_timeout`] says when to
//! come back. A packet's forwarding is complete when `handle_input` returns.

mod command;
mod housekeeping;
mod inband;
mod leg;
mod mix;
mod output;
mod receive;
mod report;
mod rtc;
mod secure;
mod send;
mod watch;
mod wheel;

pub use command::{Command, RecordSpec};
pub use mix::MixRow;
pub use output::{Event, Output, Port, RecorderOp};
pub use rtc::DtlsOp;
pub use watch::AudioFault;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::{
    LegId, LegTable,
    latch::Stale,
    limits::HOUSEKEEPING_MS,
    recorder::{BlockPool, WavFormat},
};
use leg::Leg;
use mix::Mixes;
use output::Outbox;
use wheel::Wheel;

/// What an engine needs to know at start.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Legs at once; further ones are refused.
    pub legs_max: usize,
    /// A leg without RTP for this long is silent.
    pub rtp_silence_ms: u64,
    /// Extended reports go to every peer, not only to those whose SDP asks for them.
    pub rtcp_xr: bool,
    /// Randomness for SSRCs, numbers and timestamps; must differ for each start.
    pub seed: u64,
    /// The Unix time at the engine's start, for sender reports.
    pub unix_ms: u64,
    /// Bring the members of a mix of three or more to one level.
    pub agc: bool,
    /// Where recordings take their blocks.
    pub pool: BlockPool,
    /// How recordings are stored.
    pub format: WavFormat,
}

/// What comes in.
#[derive(Debug)]
pub enum Input<'a> {
    /// A datagram on a leg's RTP port.
    Rtp {
        /// The leg.
        leg: LegId,
        /// Where it came from.
        from: SocketAddr,
        /// Its bytes.
        bytes: &'a [u8],
    },
    /// A datagram on a leg's RTCP port.
    Rtcp {
        /// The leg.
        leg: LegId,
        /// Where it came from.
        from: SocketAddr,
        /// Its bytes.
        bytes: &'a [u8],
    },
    /// An order of the call logic.
    Command(Command),
}

/// Counters over all legs since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// RTP packets accepted.
    pub packets_in: u64,
    /// RTP packets sent.
    pub packets_out: u64,
    /// Packets too late to be placed or told apart.
    pub late: u64,
    /// RTP and RTCP from addresses that are not the peer's, or of the call before on the same port.
    pub dropped_foreign: u64,
    /// Datagrams that are no RTP or RTCP.
    pub malformed: u64,
    /// Packets refused for other reasons (duplicates, unknown payload types, unproven streams).
    pub dropped_other: u64,
    /// Packets of encrypted legs refused: not authentic, replayed, or a key used up.
    pub srtp_refused: u64,
    /// STUN requests on browsers' legs without our password.
    pub stun_refused: u64,
    /// Output dropped because nobody polled it.
    pub output_overflow: u64,
    /// Milliseconds of audio that recordings lost to a stalled disk.
    pub gaps_ms: u64,
    /// Legs open now.
    pub legs: u64,
    /// Recordings open now.
    pub recordings: u64,
}

/// See the module's description.
#[derive(Debug)]
pub struct Engine {
    cfg: EngineConfig,
    started: Instant,
    legs: LegTable<Leg>,
    wheel: Wheel,
    mixes: Mixes,
    out: Outbox,
    totals: Totals,
    random: Random,
    recording_next: u64,
    /// The packet being decrypted; kept for its allocation.
    plain: Vec<u8>,
    /// The packet being recorded, if its codec has a state; kept for its allocation.
    pcm: Vec<i16>,
    housekeeping_at: Instant,
}

impl Engine {
    /// An engine without legs.
    #[must_use]
    pub fn new(cfg: EngineConfig, now: Instant) -> Self {
        Self {
            random: Random(cfg.seed),
            cfg,
            started: now,
            legs: LegTable::default(),
            wheel: Wheel::new(now),
            mixes: Mixes::new(now),
            out: Outbox::default(),
            totals: Totals::default(),
            recording_next: 1,
            plain: Vec::new(),
            pcm: Vec::new(),
            housekeeping_at: now,
        }
    }

    /// Adds a leg. Returns false if the limit is reached or the id is in use.
    pub fn open_leg(&mut self, now: Instant, leg: LegId) -> bool {
        if self.legs.len() >= self.cfg.legs_max || self.legs.contains_key(&leg) {
            return false;
        }
        if self.legs.is_empty() {
            self.housekeeping_at = now + Duration::from_millis(HOUSEKEEPING_MS);
        }
        self.legs.insert(leg, Leg::new(leg, now, &mut self.random));
        true
    }

    /// Tells a leg just opened what its port received before, so that it is not taken for its peer.
    pub fn remember_stale(&mut self, leg: LegId, stale: Stale) {
        if let Some(leg) = self.legs.get_mut(&leg) {
            leg.stale = Some(stale);
        }
    }

    /// Takes a datagram or a command.
    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Rtp { leg, from, bytes } => self.receive(now, leg, from, bytes, false),
            Input::Rtcp { leg, from, bytes } => self.receive(now, leg, from, bytes, true),
            Input::Command(command) => self.handle_command(now, command),
        }
    }

    /// Does what is due: prompts and digits by their schedule, silence, RTCP, recordings.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((slot, at)) = self.wheel.next_due(now) {
            self.serve_slot(slot, at);
        }
        self.serve_mixes(now);
        if !self.legs.is_empty() && self.housekeeping_at <= now {
            self.keep_house(now);
            self.housekeeping_at = now + Duration::from_millis(HOUSEKEEPING_MS);
        }
    }

    /// When [`Engine::handle_timeout`] has to be called; `None` without legs.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.legs.is_empty() {
            return None;
        }
        let paced = [self.wheel.next_at(), self.mixes.next_at()];
        Some(paced.into_iter().flatten().fold(self.housekeeping_at, Instant::min))
    }

    /// The next thing to do; call until `None`.
    pub fn poll_output(&mut self) -> Option<Output<'_>> {
        self.out.poll()
    }

    /// A snapshot of the counters.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals {
            legs: self.legs.len() as u64,
            output_overflow: self.out.overflow(),
            srtp_refused: self.totals.srtp_refused + self.out.unprotected(),
            ..self.totals
        }
    }

    /// The legs open now.
    #[must_use]
    pub fn leg_ids(&self) -> Vec<LegId> {
        self.legs.keys().collect()
    }
}

/// SplitMix64: spreads the seed; unpredictable as long as the seed is.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

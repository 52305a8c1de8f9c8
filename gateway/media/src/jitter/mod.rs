//! The jitter buffer of a mixed or transcoded leg: packets go in as they come, 20 ms of audio come
//! out at every tick of the wheel.
//!
//! Timestamps of all the peer's streams are put on one time line of 8 kHz samples (`place`). A
//! packet's delay is its distance from the quickest one lately; `delay` aims at what nearly all
//! packets keep to. `play` reads at that distance behind: it conceals what is missing, and
//! shortens or lengthens audio by whole periods (`scale`) where the delay is off, so that the
//! drift of two clocks is never heard. A plain bridge has no jitter buffer.

mod delay;
mod place;
mod play;
mod queue;
mod scale;

use std::time::Instant;

use crate::{
    comfort::Generator,
    conceal::Concealer,
    limits::{FRAME_SAMPLES, JITTER_PACKET_SAMPLES_MAX, SAMPLES_PER_MS},
};
use delay::DelayEstimate;
use place::Stream;
use queue::Queue;

/// Turns payloads into samples at 8 kHz.
pub trait Decode {
    /// Appends the samples of a payload; nothing if it is no use.
    fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>);

    /// Fills `out` with the codec's own concealment of lost audio, if it has one.
    fn conceal(&mut self, _out: &mut [i16]) -> bool {
        false
    }

    /// Fills `out` with the lost packet that `next`, the one after it, repeats, if it does.
    fn recover(&mut self, _next: &[u8], _out: &mut [i16]) -> bool {
        false
    }
}

/// A received packet.
#[derive(Clone, Copy, Debug)]
pub struct JitterPacket<'a> {
    /// Its stream.
    pub ssrc: u32,
    /// Its number.
    pub seq: u16,
    /// In units of `clock_hz`.
    pub timestamp: u32,
    /// The RTP clock of the codec: 8000 for G.711 and G.722, 48000 for Opus.
    pub clock_hz: u32,
    /// The first packet after a pause.
    pub marker: bool,
    /// Coded audio.
    pub payload: &'a [u8],
}

/// What most of a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Played {
    /// The peer's audio.
    Audio,
    /// Made up for what is missing.
    Concealed,
    /// Noise as the peer described it.
    Comfort,
    /// Nothing: before the first packet, in a pause, after a long loss.
    Silence,
}

/// Counters and delays, as RFC 3611 §4.7 reports them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JitterStats {
    /// Packets given to `insert`.
    pub packets: u64,
    /// Discarded: they came after their time.
    pub late: u64,
    /// Discarded: came twice.
    pub duplicates: u64,
    /// Discarded: too many waited.
    pub overflow: u64,
    /// Samples of the peer's audio played.
    pub audio_samples: u64,
    /// Samples made up.
    pub concealed_samples: u64,
    /// Samples left out to lower the delay.
    pub removed_samples: u64,
    /// Samples put in to raise it.
    pub inserted_samples: u64,
    /// Streams and clocks that began anew.
    pub jumps: u64,
    /// Delay added now, in milliseconds ("current", §4.7.7).
    pub delay_ms: u32,
    /// Delay aimed at ("nominal").
    pub target_ms: u32,
    /// Longest delay that was aimed at ("maximum").
    pub target_ms_max: u32,
}

/// See the module's description.
#[derive(Debug)]
pub struct JitterBuffer {
    /// Sample 0 of the clock.
    epoch: Option<Instant>,
    stream: Option<Stream>,
    queue: Queue,
    delay: DelayEstimate,
    /// Decoded and not yet played.
    pending: Vec<i16>,
    /// The time line's next sample to decode; all before it is played, pending or given up.
    next: i64,
    /// End of the newest audio decoded; what was concealed since may still be replaced by it.
    decoded_to: i64,
    /// Samples concealed without a break.
    missing: u64,
    /// Nothing plays, so the delay can be chosen freely.
    is_idle: bool,
    concealer: Concealer,
    comfort: Option<Generator>,
    /// Frames until audio may be shortened or lengthened again.
    scale_pause: u32,
    /// When the last late packet came, and how many came in a row, evenly spread.
    late_run: (i64, u32),
    stats: JitterStats,
}

impl Default for JitterBuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl JitterBuffer {
    /// An empty buffer.
    #[must_use]
    pub fn new() -> Self {
        Self {
            epoch: None,
            stream: None,
            queue: Queue::default(),
            delay: DelayEstimate::default(),
            pending: Vec::with_capacity(JITTER_PACKET_SAMPLES_MAX + 3 * FRAME_SAMPLES),
            next: 0,
            decoded_to: i64::MIN,
            missing: u64::MAX,
            is_idle: true,
            concealer: Concealer::default(),
            comfort: None,
            scale_pause: 0,
            late_run: (0, 0),
            stats: JitterStats::default(),
        }
    }

    /// The counters, and the delays as they are now.
    #[must_use]
    pub fn stats(&self) -> JitterStats {
        JitterStats { target_ms: to_ms(self.delay.target()), ..self.stats }
    }

    /// `now` in samples since the first call.
    fn clock(&mut self, now: Instant) -> i64 {
        let elapsed = now.saturating_duration_since(*self.epoch.get_or_insert(now));
        i64::try_from(elapsed.as_micros() * u128::from(SAMPLES_PER_MS) / 1000).unwrap_or(i64::MAX)
    }
}

fn to_ms(samples: i64) -> u32 {
    u32::try_from(samples.max(0) / SAMPLES_PER_MS as i64).unwrap_or(u32::MAX)
}

const fn ms(ms: u64) -> i64 {
    (ms * SAMPLES_PER_MS) as i64
}

#[cfg(test)]
mod tests;

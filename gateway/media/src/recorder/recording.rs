//! A recording in progress, on the media thread: it places and hands out, never touches the disk.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use super::{BlockPool, Finish, RecordingKey, Stamp, Timeline, Window, Write, op::InFlight};
use crate::{
    Codec, LegId, RecordingId, codec,
    limits::{FLUSH_FORCED_MS, FLUSH_GUARD_MS, FLUSH_MS, PAUSES_MAX, RECORDING_MS_MAX, SAMPLES_PER_MS},
};

/// Which side of the leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Left: what the peer sent.
    Received = 0,
    /// Right: what was sent to the peer.
    Sent = 1,
}

/// Coded audio to place.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// The side.
    pub channel: Channel,
    /// Its place in its stream.
    pub stamp: Stamp,
    /// Its coding.
    pub codec: Codec,
    /// The coded samples.
    pub payload: &'a [u8],
}

/// What became of a packet's audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// In the recording.
    Stored,
    /// The recording is paused.
    Paused,
    /// Later than the window allows.
    TooLate,
}

/// One recording in progress.
#[derive(Debug)]
pub struct Recording {
    key: RecordingKey,
    rec: RecordingId,
    path: PathBuf,
    started: Instant,
    max_ms: u64,
    window: Window,
    timelines: [Timeline; 2],
    paused_since_ms: Option<u64>,
    paused_ranges: Vec<(u64, u64)>,
    in_flight: InFlight,
    lost_frames: u64,
    decoded: Vec<i16>,
}

impl Recording {
    /// Starts at `now`; `max_ms` is cut to the package's limit.
    #[must_use]
    pub fn new(key: RecordingKey, rec: RecordingId, path: PathBuf, max_ms: u64, now: Instant) -> Self {
        Self {
            key,
            rec,
            path,
            started: now,
            max_ms: max_ms.min(RECORDING_MS_MAX),
            window: Window::default(),
            timelines: Default::default(),
            paused_since_ms: None,
            paused_ranges: Vec::new(),
            in_flight: InFlight::default(),
            lost_frames: 0,
            decoded: Vec::with_capacity(320),
        }
    }

    /// Wall position in frames.
    fn wall(&self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.started);
        let frames = elapsed.as_nanos() * u128::from(SAMPLES_PER_MS) / 1_000_000;
        u64::try_from(frames).unwrap_or(u64::MAX)
    }

    /// When `max_ms` is reached.
    #[must_use]
    pub fn ends_at(&self) -> Instant {
        self.started + Duration::from_millis(self.max_ms)
    }

    /// Places a packet's audio.
    pub fn place(&mut self, now: Instant, packet: &Packet<'_>) -> Placed {
        // A packet arrives when its last sample has been spoken: its audio lies before the arrival. Placed
        // after it, the last words before a hang-up would fall off the end.
        let spoken = i64::try_from(packet.payload.len()).unwrap_or(0);
        let wall = i64::try_from(self.wall(now)).unwrap_or(i64::MAX) - spoken;
        let timeline = &mut self.timelines[packet.channel as usize];
        // The timeline runs on in a pause, so that nothing jumps after it.
        let Some(at) = timeline.place(wall, packet.stamp) else {
            return Placed::TooLate;
        };
        // What came after the pause began may still hold words from before it.
        let until = self.paused_since_ms.map_or(i64::MAX, |since| (since * SAMPLES_PER_MS) as i64);
        if at >= until {
            return Placed::Paused;
        }
        self.decoded.clear();
        codec::decode_into(packet.codec, packet.payload, &mut self.decoded);
        // What was said during a pause stays out even if its packet comes after it.
        let resumed_at = self.paused_ranges.last().map_or(i64::MIN, |(_, end)| (*end * SAMPLES_PER_MS) as i64);
        let skip = usize::try_from(resumed_at.saturating_sub(at)).unwrap_or(0).min(self.decoded.len());
        let keep = usize::try_from(until.saturating_sub(at)).unwrap_or(0).clamp(skip, self.decoded.len());
        self.window.write(packet.channel as usize, at + skip as i64, &self.decoded[skip..keep]);
        Placed::Stored
    }

    /// Pauses or resumes. A pause leaves silence.
    pub fn pause(&mut self, now: Instant, paused: bool) {
        let now_ms = self.wall(now) / SAMPLES_PER_MS;
        match (paused, self.paused_since_ms) {
            (true, None) => self.paused_since_ms = Some(now_ms),
            (false, Some(since_ms)) => self.end_pause(since_ms, now_ms),
            _ => {}
        }
    }

    fn end_pause(&mut self, since_ms: u64, now_ms: u64) {
        self.paused_since_ms = None;
        let is_full = self.paused_ranges.len() >= PAUSES_MAX;
        match self.paused_ranges.last_mut() {
            Some(last) if is_full => last.1 = now_ms,
            _ => self.paused_ranges.push((since_ms, now_ms)),
        }
    }

    /// Hands due audio to the writer through `write`. Without free blocks it waits in the window.
    /// Returns milliseconds of audio lost since the last call.
    pub fn flush(&mut self, now: Instant, pool: &BlockPool, mut write: impl FnMut(Write)) -> u64 {
        let target = self.wall(now).saturating_sub(FLUSH_GUARD_MS * SAMPLES_PER_MS);
        loop {
            let pending_ms = self.window.pending(target) / SAMPLES_PER_MS;
            let is_due = pending_ms >= FLUSH_FORCED_MS || (pending_ms >= FLUSH_MS && self.in_flight.count() == 0);
            if !is_due {
                break;
            }
            let Some(mut block) = pool.take() else { break };
            let Some(offset_frames) = self.window.hand_out(target, &mut block) else {
                break;
            };
            write(Write::new(self.key, offset_frames, block, &self.in_flight));
        }
        // Differences of the sum, so that no fraction of a millisecond is forgotten.
        let before = self.lost_frames;
        self.lost_frames += self.window.take_lost();
        self.lost_frames / SAMPLES_PER_MS - before / SAMPLES_PER_MS
    }

    /// Ends the recording at `now`.
    #[must_use]
    pub fn finish(mut self, now: Instant, leg: LegId) -> Finish {
        let frames = self.wall(now).min(self.max_ms * SAMPLES_PER_MS);
        if let Some(since_ms) = self.paused_since_ms {
            self.end_pause(since_ms, frames / SAMPLES_PER_MS);
        }
        let (tail_offset_frames, tail) = self.window.take_rest(frames);
        let lost_frames = self.lost_frames + self.window.take_lost();
        Finish {
            key: self.key,
            leg,
            rec: self.rec,
            path: self.path,
            tail_offset_frames,
            tail,
            frames,
            gaps_ms: lost_frames.div_ceil(SAMPLES_PER_MS),
            paused_ranges: self.paused_ranges,
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test needs some instant to begin at")]
mod tests {
    use super::*;

    fn packet(n: u32, payload: &[u8]) -> Packet<'_> {
        let stamp = Stamp { ssrc: 1, timestamp: n * 160, marker: false, in_order: true };
        Packet { channel: Channel::Received, stamp, codec: Codec::Pcma, payload }
    }

    fn recording(start: Instant) -> Recording {
        Recording::new(RecordingKey(1), RecordingId("r".into()), "r.wav".into(), 60_000, start)
    }

    #[test]
    fn a_pause_is_silent_and_remembered() {
        let start = Instant::now();
        let mut recording = recording(start);
        for n in 0..50u32 {
            let now = start + Duration::from_millis(u64::from(n) * 20);
            recording.pause(now, (10..20).contains(&n));
            recording.place(now, &packet(n, &[0x80; 160]));
        }
        let finish = recording.finish(start + Duration::from_secs(1), LegId(1));
        assert_eq!(finish.paused_ranges, [(200, 400)]);
        assert_eq!((finish.duration_ms(), finish.tail.len()), (1000, 8000 * 4));
        let loud = |ms: usize| finish.tail[ms * 32..][..2] != [0, 0];
        assert!(loud(199) && !loud(200) && !loud(399) && loud(400));
    }

    #[test]
    fn the_last_words_before_the_end_are_kept() {
        let start = Instant::now();
        let mut recording = recording(start);
        for n in 1..=50u32 {
            recording.place(start + Duration::from_millis(u64::from(n) * 20), &packet(n, &[0x80; 160]));
        }
        // The hang-up follows the last packet at once.
        let finish = recording.finish(start + Duration::from_secs(1), LegId(1));
        assert!(finish.tail.chunks_exact(4).all(|frame| frame[..2] != [0, 0]), "every sample that came is there");
    }

    #[test]
    fn a_stalled_writer_costs_a_counted_gap_and_never_the_length() {
        let start = Instant::now();
        let pool = BlockPool::new(1);
        let mut held = Vec::new();
        let mut recording = recording(start);
        let mut lost_ms = 0;
        let seconds = 60;
        for n in 0..seconds * 50u32 {
            let now = start + Duration::from_millis(u64::from(n) * 20);
            lost_ms += recording.flush(now, &pool, |write| held.push(write));
            recording.place(now, &packet(n, &[0x80; 160]));
        }
        assert_eq!(held.len(), pool.size());
        let finish = recording.finish(start + Duration::from_secs(u64::from(seconds)), LegId(1));
        assert!(lost_ms > 10_000, "{lost_ms}");
        assert!(finish.gaps_ms >= lost_ms && finish.gaps_ms < lost_ms + 1000, "{} {lost_ms}", finish.gaps_ms);
        assert_eq!(finish.duration_ms(), u64::from(seconds) * 1000);
    }
}

//! A recording in progress, on the media thread: it places and hands out, never touches the disk.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use super::{Audio, BlockPool, Finish, RecordingKey, Stamp, Timeline, WavFormat, Write, held::Held, op::InFlight};
use crate::{
    LegId, RecordingId,
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

/// Audio to place.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// The side.
    pub channel: Channel,
    /// Its place in its stream.
    pub stamp: Stamp,
    /// What is heard.
    pub audio: Audio<'a>,
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

/// What a recording is.
#[derive(Clone, Debug)]
pub struct RecordingSpec {
    /// Its name between engine and writer.
    pub key: RecordingKey,
    /// The caller's id.
    pub rec: RecordingId,
    /// The final file name.
    pub path: PathBuf,
    /// Ends after this long; cut to the package's limit.
    pub max_ms: u64,
    /// How samples are stored.
    pub format: WavFormat,
}

/// One recording in progress.
#[derive(Debug)]
pub struct Recording {
    spec: RecordingSpec,
    started: Instant,
    held: Held,
    timelines: [Timeline; 2],
    paused_since_ms: Option<u64>,
    paused_ranges: Vec<(u64, u64)>,
    in_flight: InFlight,
    lost_frames: u64,
}

impl Recording {
    /// Starts at `now`.
    #[must_use]
    pub fn new(spec: RecordingSpec, now: Instant) -> Self {
        Self {
            held: Held::new(spec.format),
            spec: RecordingSpec { max_ms: spec.max_ms.min(RECORDING_MS_MAX), ..spec },
            started: now,
            timelines: Default::default(),
            paused_since_ms: None,
            paused_ranges: Vec::new(),
            in_flight: InFlight::default(),
            lost_frames: 0,
        }
    }

    /// Wall position in frames.
    fn wall(&self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.started);
        // Nanoseconds in 64 bits last for 73 years at 8 frames a millisecond.
        let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX / SAMPLES_PER_MS);
        nanos.saturating_mul(SAMPLES_PER_MS) / 1_000_000
    }

    /// When `max_ms` is reached.
    #[must_use]
    pub fn ends_at(&self) -> Instant {
        self.started + Duration::from_millis(self.spec.max_ms)
    }

    /// Places a packet's audio.
    pub fn place(&mut self, now: Instant, packet: &Packet<'_>) -> Placed {
        let arrival = i64::try_from(self.wall(now)).unwrap_or(i64::MAX);
        let timeline = &mut self.timelines[packet.channel as usize];
        // The timeline runs on in a pause, so that nothing jumps after it.
        let Some(place) = timeline.place(arrival, packet.stamp, packet.audio.len()) else {
            return Placed::TooLate;
        };
        // What was said during a pause stays out even if its packet comes after it, and what came after
        // the pause began may still hold words from before it.
        let until = self.paused_since_ms.map_or(i64::MAX, |since| (since * SAMPLES_PER_MS) as i64);
        let resumed_at = self.paused_ranges.last().map_or(i64::MIN, |(_, end)| (*end * SAMPLES_PER_MS) as i64);
        if let Some(moved) = place.moved {
            let since = self.paused_ranges.last().map_or(resumed_at, |(since, _)| (*since * SAMPLES_PER_MS) as i64);
            self.held.move_back(packet.channel as usize, moved, until, since..resumed_at);
        }
        if place.at >= until {
            return Placed::Paused;
        }
        self.held.write(packet.channel as usize, place.at, packet.audio, place.slip, resumed_at..until);
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
            let pending_ms = self.held.pending(target) / SAMPLES_PER_MS;
            let is_due = pending_ms >= FLUSH_FORCED_MS || (pending_ms >= FLUSH_MS && self.in_flight.count() == 0);
            if !is_due {
                break;
            }
            let Some(mut block) = pool.take() else { break };
            let Some(offset_frames) = self.held.hand_out(target, &mut block) else {
                break;
            };
            write(Write::new(self.spec.key, offset_frames, block, &self.in_flight));
        }
        // Differences of the sum, so that no fraction of a millisecond is forgotten.
        let before = self.lost_frames;
        self.lost_frames += self.held.take_lost();
        self.lost_frames / SAMPLES_PER_MS - before / SAMPLES_PER_MS
    }

    /// Ends the recording at `now`.
    #[must_use]
    pub fn finish(mut self, now: Instant, leg: LegId) -> Finish {
        let frames = self.wall(now).min(self.spec.max_ms * SAMPLES_PER_MS);
        if let Some(since_ms) = self.paused_since_ms {
            self.end_pause(since_ms, frames / SAMPLES_PER_MS);
        }
        let (tail_offset_frames, tail) = self.held.take_rest(frames);
        let lost_frames = self.lost_frames + self.held.take_lost();
        Finish {
            key: self.spec.key,
            leg,
            rec: self.spec.rec,
            path: self.spec.path,
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
    use super::super::Origin;
    use super::*;
    use crate::Codec;

    fn packet(n: u32, payload: &[u8]) -> Packet<'_> {
        let stamp =
            Stamp { ssrc: 1, timestamp: n * 160, clock_hz: 8000, marker: false, in_order: true, origin: Origin::Peer };
        Packet { channel: Channel::Received, stamp, audio: Audio::G711 { codec: Codec::Pcma, payload } }
    }

    fn recording(start: Instant) -> Recording {
        let (key, rec) = (RecordingKey(1), RecordingId("r".into()));
        let spec = RecordingSpec { key, rec, path: "r.wav".into(), max_ms: 60_000, format: WavFormat::Pcm16 };
        Recording::new(spec, start)
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

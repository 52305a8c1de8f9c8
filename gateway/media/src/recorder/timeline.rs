//! Where a packet's audio belongs in a recording: by its RTP timestamp, checked against the clock.
//!
//! The first packet is anchored at its arrival; the others follow by timestamp, so that jitter,
//! reordering and loss shift nothing. The least delay over some seconds shows how far the stream's
//! clock has drifted from ours: single samples are slipped until it is made up for. Only a stream
//! that jumped, changed its SSRC or paused without counting is anchored anew. What we pace ourselves
//! has no clock but ours: it is never slipped.

use crate::limits::{
    LATE_MS_MAX, PLACE_AHEAD_MS_MAX, PLACE_BEHIND_MS_MAX, PLACE_DOUBT_PACKETS, PLACE_JUDGE_MS, PLACE_JUDGE_PACKETS,
    SAMPLE_RATE_HZ, SAMPLES_PER_MS, SLIP_SAMPLES_MAX,
};

const AHEAD_MAX: i64 = (PLACE_AHEAD_MS_MAX * SAMPLES_PER_MS) as i64;
const BEHIND_MAX: i64 = (PLACE_BEHIND_MS_MAX * SAMPLES_PER_MS) as i64;
const LATE_MAX: i64 = (LATE_MS_MAX * SAMPLES_PER_MS) as i64;
const JUDGE: i64 = (PLACE_JUDGE_MS * SAMPLES_PER_MS) as i64;

/// A stream ahead of time by this many samples is slipped back; it can't be mere jitter.
const AHEAD_BORNE: i64 = 8;
/// A stream behind by this many is slipped forward; less may be luck of the delays.
const BEHIND_BORNE: i64 = 16;
/// From here on behind, a sample is slipped in every packet instead of in every eighth …
const BEHIND_FAR: i64 = 40;
const SLOW_SLIP: i64 = 8 * 160;
/// … and from here on two.
const BEHIND_VERY_FAR: i64 = 160;
/// A delay that grows by this from one packet to the next is watched.
const STEP: i64 = 80;
/// Frames of our own schedule may be this far from it, as they neither overlap nor tear what was sent before.
const PACED_OFF_MAX: i64 = 160;

/// What is known of a packet.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// Its stream.
    pub ssrc: u32,
    /// Its timestamp.
    pub timestamp: u32,
    /// Timestamp units per second.
    pub clock_hz: u32,
    /// Its marker bit.
    pub marker: bool,
    /// Newest of its stream by sequence number (not a straggler).
    pub in_order: bool,
    /// Sent on our own schedule: nothing of it is late, early or drifting.
    pub is_paced: bool,
}

/// Where a packet's audio goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its first sample, counted from the recording's start; negative for audio from before it.
    pub at: i64,
    /// Samples by which it is to be longer (or shorter, below 0) than it came.
    pub slip: i64,
}

/// Least delays: of the running judging period and of the one before.
#[derive(Clone, Copy, Debug)]
struct Lags {
    current: i64,
    /// `None` until a period is complete.
    previous: Option<i64>,
    since: i64,
    judged: u32,
}

impl Lags {
    fn new(wall: i64) -> Self {
        Self { current: i64::MAX, previous: None, since: wall, judged: 0 }
    }

    fn note(&mut self, wall: i64, lag: i64) {
        if wall - self.since >= JUDGE && self.judged >= PLACE_JUDGE_PACKETS {
            *self = Self { previous: Some(self.current), ..Self::new(wall) };
        }
        self.current = self.current.min(lag);
        self.judged += 1;
    }

    /// The audio after this lies `by` samples later than before.
    fn moved(&mut self, by: i64) {
        self.current = self.current.saturating_sub(by);
        self.previous = self.previous.map(|lag| lag - by);
    }

    /// How far the stream is behind (below 0: ahead), and whether a whole period says so.
    fn least(&self) -> (i64, bool) {
        (self.previous.map_or(self.current, |previous| previous.min(self.current)), self.previous.is_some())
    }
}

#[derive(Clone, Copy, Debug)]
struct Anchor {
    ssrc: u32,
    clock_hz: u32,
    /// The newest packet's timestamp …
    timestamp: u32,
    /// … the sample it stands for …
    at: i64,
    /// … and what it was slipped by: audio after it lies that much later than its timestamp says.
    slip: i64,
    lags: Lags,
    lag: i64,
    slipped_at: i64,
    /// Packets left until a sudden delay is believed …
    doubt: u32,
    /// … and the least delay since.
    doubt_lag: i64,
}

impl Anchor {
    fn new(stamp: Stamp, at: i64) -> Self {
        let mut lags = Lags::new(at);
        lags.note(at, 0);
        Self {
            ssrc: stamp.ssrc,
            clock_hz: stamp.clock_hz,
            timestamp: stamp.timestamp,
            at,
            slip: 0,
            lags,
            lag: 0,
            slipped_at: at,
            doubt: 0,
            doubt_lag: 0,
        }
    }

    fn position(&self, timestamp: u32) -> i64 {
        let units = i64::from(timestamp.wrapping_sub(self.timestamp) as i32);
        let samples = if self.clock_hz == SAMPLE_RATE_HZ {
            units
        } else {
            units * i64::from(SAMPLE_RATE_HZ) / i64::from(self.clock_hz.max(1))
        };
        self.at + samples + if units > 0 { self.slip } else { 0 }
    }

    /// A delay that grew at once and stays is no jitter. A long one is a pause without counting: returned,
    /// to be placed anew; a short one is slipped from now on.
    fn stepped(&mut self, wall: i64, lag: i64) -> Option<i64> {
        if self.doubt == 0 {
            if lag - self.lag > STEP {
                (self.doubt, self.doubt_lag) = (PLACE_DOUBT_PACKETS, lag);
            }
            return None;
        }
        self.doubt_lag = self.doubt_lag.min(lag);
        self.doubt -= 1;
        if self.doubt > 0 {
            return None;
        }
        if self.doubt_lag - self.lags.least().0 > STEP {
            self.lags = Lags { current: self.doubt_lag, previous: Some(self.doubt_lag), ..Lags::new(wall) };
        }
        (self.doubt_lag > BEHIND_MAX).then_some(self.doubt_lag)
    }

    /// What to slip with a packet of `len` samples at `wall`.
    fn slip_of(&self, wall: i64, len: i64) -> i64 {
        let (least, is_judged) = self.lags.least();
        if least <= -AHEAD_BORNE {
            // At most one sample in twenty: heard as nothing, and 60 ms are made up for in a second.
            let most = SLIP_SAMPLES_MAX.min(len / 20);
            return (least / 32).min(-1).max(-most);
        }
        let is_due = least >= BEHIND_FAR || wall - self.slipped_at >= SLOW_SLIP;
        if !is_judged || least < BEHIND_BORNE || !is_due || len < 40 {
            return 0;
        }
        if least >= BEHIND_VERY_FAR { 2 } else { 1 }
    }
}

/// One channel's timeline.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    anchor: Option<Anchor>,
}

impl Timeline {
    /// Where the audio of a packet of `len` samples goes that came at sample `arrival`. `None`: too
    /// late (or a straggler whose timestamp contradicts its number).
    pub fn place(&mut self, arrival: i64, stamp: Stamp, len: usize) -> Option<Place> {
        // A packet arrives when its last sample has been spoken: its audio lies before the arrival.
        // Placed after it, the last words before a hang-up would fall off the end.
        let len = i64::try_from(len).unwrap_or(0);
        let wall = arrival - len;
        let Some(anchor) = self.anchor.as_mut().filter(|a| a.ssrc == stamp.ssrc && a.clock_hz == stamp.clock_hz) else {
            return Some(self.anchored(wall, stamp));
        };
        let position = anchor.position(stamp.timestamp);
        let lag = wall - position;
        if stamp.is_paced {
            let is_exact = lag.abs() <= PACED_OFF_MAX && !stamp.marker;
            let at = if is_exact { position } else { wall };
            // Delays of what was relayed before say nothing about this, nor about what is relayed next.
            *anchor = Anchor { lag: wall - at, ..Anchor::new(stamp, at) };
            return Some(Place { at, slip: 0 });
        }
        if !stamp.in_order {
            return (-AHEAD_MAX..=LATE_MAX).contains(&lag).then_some(Place { at: position, slip: 0 });
        }
        let went_back = (stamp.timestamp.wrapping_sub(anchor.timestamp) as i32) < 0;
        let resumed = stamp.marker && lag > BEHIND_MAX;
        if went_back || resumed || !(-AHEAD_MAX..=LATE_MAX).contains(&lag) {
            return Some(self.anchored(wall, stamp));
        }
        if let Some(behind) = anchor.stepped(wall, lag) {
            return Some(self.anchored(position + behind, stamp));
        }
        // Moving the anchor itself along keeps differences far from the timestamp's wrap.
        (anchor.at, anchor.timestamp, anchor.lag) = (position, stamp.timestamp, lag);
        anchor.lags.note(wall, lag);
        anchor.slip = anchor.slip_of(wall, len);
        if anchor.slip != 0 {
            anchor.lags.moved(anchor.slip);
            anchor.lag -= anchor.slip;
            anchor.doubt_lag -= anchor.slip;
            anchor.slipped_at = wall;
        }
        Some(Place { at: position, slip: anchor.slip })
    }

    fn anchored(&mut self, at: i64, stamp: Stamp) -> Place {
        self.anchor = Some(Anchor::new(stamp, at));
        Place { at, slip: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(timestamp: u32) -> Stamp {
        Stamp { ssrc: 1, timestamp, clock_hz: 8000, marker: false, in_order: true, is_paced: false }
    }

    /// Where a packet goes whose audio began at `wall` at the earliest.
    fn place(line: &mut Timeline, wall: i64, stamp: Stamp) -> Option<i64> {
        line.place(wall + 160, stamp, 160).map(|place| place.at)
    }

    #[test]
    fn jitter_loss_and_wrap_do_not_shift() {
        let mut line = Timeline::default();
        let base = u32::MAX - 500;
        for n in 0..5000i64 {
            if n % 7 == 3 {
                continue;
            }
            let wall = n * 160 + (n * 37 % 400);
            let placed = place(&mut line, wall, stamp(base.wrapping_add((n * 160) as u32))).unwrap();
            assert_eq!(placed, n * 160, "packet {n}");
        }
    }

    #[test]
    fn a_late_first_packet_is_made_up_for_within_a_second() {
        let mut line = Timeline::default();
        let mut end = 0;
        for n in 0..100i64 {
            let late = if n == 0 { 440 } else { 0 };
            let placed = line.place(n * 160 + 160 + late, stamp((n * 160) as u32), 160).unwrap();
            assert!(n == 0 || placed.at == end, "packet {n} neither overlaps nor leaves a hole");
            end = placed.at + 160 + placed.slip;
            assert!(n < 45 || (placed.at - n * 160).abs() < 160, "packet {n} at {}", placed.at);
        }
        assert_eq!(place(&mut line, 16_000, stamp(100 * 160 + 640)), Some(16_000), "80 ms ahead is a jump");
    }

    #[test]
    fn jumps_and_new_streams_follow_the_clock() {
        let mut line = Timeline::default();
        place(&mut line, 0, stamp(1000));
        assert_eq!(place(&mut line, 160, stamp(900_000)), Some(160), "forward jump");
        assert_eq!(place(&mut line, 320, stamp(5)), Some(320), "backward jump");
        assert_eq!(place(&mut line, 480, Stamp { ssrc: 2, ..stamp(77) }), Some(480), "new SSRC");
        assert_eq!(place(&mut line, 80_000, Stamp { ssrc: 2, ..stamp(237) }), Some(80_000), "hold without counting");
        let marked = Stamp { ssrc: 2, marker: true, ..stamp(397) };
        assert_eq!(place(&mut line, 82_000, marked), Some(82_000), "short pause with marker");
    }

    #[test]
    fn a_short_pause_without_counting_or_marker_is_believed_after_a_second() {
        let mut line = Timeline::default();
        let mut last = 0;
        for n in 0..200i64 {
            let wall = n * 160 + if n >= 100 { 3000 } else { 0 };
            last = wall - place(&mut line, wall, stamp((n * 160) as u32)).unwrap();
        }
        assert_eq!(last, 0);
    }

    #[test]
    fn a_burst_after_a_stall_moves_nothing() {
        let mut line = Timeline::default();
        for n in 0..400i64 {
            // 600 ms without a packet, then all of them at once.
            let wall = if (100..130).contains(&n) { 130 * 160 } else { n * 160 };
            assert_eq!(place(&mut line, wall, stamp((n * 160) as u32)), Some(n * 160), "packet {n}");
        }
    }

    #[test]
    fn stragglers_have_their_time() {
        let mut line = Timeline::default();
        place(&mut line, 0, stamp(0));
        place(&mut line, 6400, stamp(6400));
        let late = Stamp { in_order: false, ..stamp(160) };
        assert_eq!(place(&mut line, 160 + LATE_MAX, late), Some(160));
        assert_eq!(place(&mut line, 161 + LATE_MAX, late), None);
        let forged = Stamp { in_order: false, ..stamp(2_000_000_000) };
        assert_eq!(place(&mut line, 160 + LATE_MAX, forged), None);
    }

    #[test]
    fn other_clocks_count_in_their_own_units() {
        let mut line = Timeline::default();
        for n in 0..10i64 {
            let stamp = Stamp { clock_hz: 48_000, ..stamp((u32::MAX - 2000).wrapping_add(n as u32 * 960)) };
            assert_eq!(place(&mut line, n * 160, stamp), Some(n * 160), "packet {n}");
        }
    }

    #[test]
    fn frames_of_our_own_follow_what_was_relayed_without_a_slip() {
        let mut line = Timeline::default();
        let mut end = 0;
        for n in 0..1500i64 {
            // 10 s are relayed; then our own frames follow 17 ms behind the clock; then it is relayed again.
            let late = if (500..1000).contains(&n) { 136 } else { 0 };
            let stamp = Stamp { is_paced: late > 0, ..stamp((n * 160) as u32) };
            let placed = line.place(n * 160 + 160 + late, stamp, 160).unwrap();
            assert_eq!(placed, Place { at: n * 160, slip: 0 }, "packet {n}");
            end = placed.at + 160;
        }
        let far = Stamp { is_paced: true, ..stamp(end as u32) };
        assert_eq!(place(&mut line, end + 400, far), Some(end + 400), "50 ms off is no part of the schedule");
        let marked = Stamp { is_paced: true, marker: true, ..stamp(end as u32 + 160) };
        assert_eq!(place(&mut line, end + 600, marked), Some(end + 600), "a new run begins where the clock is");
    }

    #[test]
    fn a_fast_and_a_slow_clock_are_followed_sample_by_sample() {
        for ppm in [-500, -100, 100, 500i64] {
            let mut line = Timeline::default();
            let (mut worst, mut end, mut seed) = (0, 0, 9u64);
            for n in 0..90_000i64 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let jitter = (seed >> 33) as i64 % 480;
                let wall = n * 160 + n * 160 * ppm / 1_000_000;
                let placed = line.place(wall + 160 + jitter, stamp((n * 160) as u32), 160).unwrap();
                assert!(n == 0 || placed.at == end, "packet {n} neither overlaps nor leaves a hole");
                end = placed.at + 160 + placed.slip;
                if n > 100 {
                    worst = worst.max((wall - placed.at).abs());
                    assert!(placed.slip.abs() <= 2, "packet {n} slipped {}", placed.slip);
                }
            }
            assert!(worst <= 80, "{worst} samples off at {ppm} ppm");
        }
    }
}

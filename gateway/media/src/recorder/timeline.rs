//! Where a packet's audio belongs in a recording: by its RTP timestamp, checked against the clock.
//!
//! The first packet is anchored at its arrival; the others follow by timestamp, so that jitter,
//! reordering and loss shift nothing. The anchor moves only when the clock contradicts it: the
//! stream is ahead of time (its anchor had been late), constantly behind (its clock is slow, or it
//! paused without counting), or it changed its SSRC or jumped.

use crate::limits::{LATE_MS_MAX, PLACE_AHEAD_MS_MAX, PLACE_BEHIND_MS_MAX, PLACE_JUDGE_PACKETS, SAMPLES_PER_MS};

const AHEAD_MAX: i64 = (PLACE_AHEAD_MS_MAX * SAMPLES_PER_MS) as i64;
const BEHIND_MAX: i64 = (PLACE_BEHIND_MS_MAX * SAMPLES_PER_MS) as i64;
const LATE_MAX: i64 = (LATE_MS_MAX * SAMPLES_PER_MS) as i64;

/// What is known of a packet.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// Its stream.
    pub ssrc: u32,
    /// Its timestamp.
    pub timestamp: u32,
    /// Its marker bit.
    pub marker: bool,
    /// Newest of its stream by sequence number (not a straggler).
    pub in_order: bool,
}

#[derive(Clone, Copy, Debug)]
struct Anchor {
    ssrc: u32,
    timestamp: u32,
    /// The sample the timestamp stands for.
    at: i64,
    newest: u32,
    /// Least delay seen in the current judging period.
    lag_min: i64,
    judged: u32,
}

impl Anchor {
    fn new(stamp: Stamp, at: i64) -> Self {
        Self { ssrc: stamp.ssrc, timestamp: stamp.timestamp, at, newest: stamp.timestamp, lag_min: i64::MAX, judged: 0 }
    }

    fn position(&self, timestamp: u32) -> i64 {
        self.at + i64::from(timestamp.wrapping_sub(self.timestamp) as i32)
    }
}

/// One channel's timeline.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    anchor: Option<Anchor>,
}

impl Timeline {
    /// The sample (since the recording's start) where a packet's audio begins, given that it came
    /// at sample `wall`. May be negative for audio from before the start. `None`: too late (or a
    /// straggler whose timestamp contradicts its number).
    pub fn place(&mut self, wall: i64, stamp: Stamp) -> Option<i64> {
        let Some(mut anchor) = self.anchor.filter(|anchor| anchor.ssrc == stamp.ssrc) else {
            self.anchor = Some(Anchor::new(stamp, wall));
            return Some(wall);
        };
        let position = anchor.position(stamp.timestamp);
        let lag = wall - position;
        if !stamp.in_order {
            return (-AHEAD_MAX..=LATE_MAX).contains(&lag).then_some(position);
        }
        let went_back = (stamp.timestamp.wrapping_sub(anchor.newest) as i32) < 0;
        let resumed = stamp.marker && lag > BEHIND_MAX;
        if went_back || resumed || !(-AHEAD_MAX..=LATE_MAX).contains(&lag) {
            self.anchor = Some(Anchor::new(stamp, wall));
            return Some(wall);
        }
        // Moving the anchor itself along keeps differences far from the timestamp's wrap.
        anchor.at = position;
        anchor.timestamp = stamp.timestamp;
        anchor.newest = stamp.timestamp;
        anchor.lag_min = anchor.lag_min.min(lag);
        anchor.judged += 1;
        if anchor.judged >= PLACE_JUDGE_PACKETS {
            if anchor.lag_min > BEHIND_MAX {
                anchor.at += anchor.lag_min;
            }
            anchor.lag_min = i64::MAX;
            anchor.judged = 0;
        }
        let at = anchor.at;
        self.anchor = Some(anchor);
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(timestamp: u32) -> Stamp {
        Stamp { ssrc: 1, timestamp, marker: false, in_order: true }
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
            let placed = line.place(wall, stamp(base.wrapping_add((n * 160) as u32))).unwrap();
            assert_eq!(placed, n * 160, "packet {n}");
        }
    }

    #[test]
    fn a_late_first_packet_is_corrected_by_the_next() {
        let mut line = Timeline::default();
        assert_eq!(line.place(2400, stamp(0)), Some(2400));
        assert_eq!(line.place(2401, stamp(160)), Some(2560), "20 ms ahead is borne");
        assert_eq!(line.place(2402, stamp(800)), Some(2402), "80 ms ahead is not");
    }

    #[test]
    fn jumps_and_new_streams_follow_the_clock() {
        let mut line = Timeline::default();
        line.place(0, stamp(1000));
        assert_eq!(line.place(160, stamp(900_000)), Some(160), "forward jump");
        assert_eq!(line.place(320, stamp(5)), Some(320), "backward jump");
        assert_eq!(line.place(480, Stamp { ssrc: 2, ..stamp(77) }), Some(480), "new SSRC");
        assert_eq!(line.place(80_000, Stamp { ssrc: 2, ..stamp(237) }), Some(80_000), "hold without counting");
        let marked = Stamp { ssrc: 2, marker: true, ..stamp(397) };
        assert_eq!(line.place(82_000, marked), Some(82_000), "short pause with marker");
    }

    #[test]
    fn stragglers_have_one_second() {
        let mut line = Timeline::default();
        line.place(0, stamp(0));
        line.place(8000, stamp(8000));
        let late = Stamp { in_order: false, ..stamp(160) };
        assert_eq!(line.place(8160, late), Some(160));
        assert_eq!(line.place(8161, late), None);
        let forged = Stamp { in_order: false, ..stamp(2_000_000_000) };
        assert_eq!(line.place(8160, forged), None);
    }

    #[test]
    fn a_slow_clock_is_followed_in_small_steps() {
        let mut line = Timeline::default();
        let mut worst = 0;
        for n in 0..180_000i64 {
            // 100 ppm slow: the packet comes a little later each time.
            let wall = n * 160 + n * 160 / 10_000;
            let placed = line.place(wall, stamp((n * 160) as u32)).unwrap();
            worst = worst.max(wall - placed);
        }
        assert!(worst < 1100, "{worst} samples behind");
    }
}

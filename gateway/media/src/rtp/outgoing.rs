//! The one stream we send to a peer: whatever feeds it (prompt, bridge, digits), its SSRC stays,
//! its numbers and timestamps go on without a break.

use std::time::{Duration, Instant};

use super::{
    Header,
    mapping::{Mapping, near},
};
use crate::limits::{FRAME_SAMPLES, SAMPLE_RATE_HZ, SAMPLES_PER_MS};

/// A mapped timestamp this far from the clock is a jump of the source (2 s).
const TIMESTAMP_JUMP: u32 = 16_000;
/// A step of timestamps that neither lost packets nor the clock account for by this much is one, too (60 ms).
const TIMESTAMP_STEP: i32 = 480;

/// State of a sent stream. Lengths are given in samples at 8 kHz, timestamps are in the codec's units.
#[derive(Clone, Debug)]
pub struct Outgoing {
    ssrc: u32,
    seq_next: u16,
    timestamp_base: u32,
    /// Timestamp units per sample: 6 for Opus, else 1.
    scale: u32,
    started: Instant,
    /// Timestamp just after the newest audio sent.
    timestamp_end: Option<u32>,
    mapping: Option<Mapping>,
    marker_due: bool,
}

impl Outgoing {
    /// A stream beginning at `now` with random start values (RFC 3550 §5.1).
    #[must_use]
    pub fn new(now: Instant, ssrc: u32, seq: u16, timestamp: u32) -> Self {
        Self {
            ssrc,
            seq_next: seq,
            timestamp_base: timestamp,
            scale: 1,
            started: now,
            timestamp_end: None,
            mapping: None,
            marker_due: true,
        }
    }

    /// Our SSRC.
    #[must_use]
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Counts at `clock_hz`, a multiple of 8000, from `now` on; the timestamps go on where they are.
    pub fn set_clock(&mut self, now: Instant, clock_hz: u32) {
        let scale = (clock_hz / SAMPLE_RATE_HZ).max(1);
        if scale == self.scale {
            return;
        }
        let timestamp = self.timestamp_at(now);
        let elapsed = samples(now.saturating_duration_since(self.started)) as u32;
        self.timestamp_base = timestamp.wrapping_sub(elapsed.wrapping_mul(scale));
        self.scale = scale;
        self.mapping = None;
    }

    /// Timestamp units per sample.
    #[must_use]
    pub fn scale(&self) -> u32 {
        self.scale
    }

    /// The timestamp that stands for `now`.
    #[must_use]
    pub fn timestamp_at(&self, now: Instant) -> u32 {
        let elapsed = samples(now.saturating_duration_since(self.started)) as u32;
        self.timestamp_base.wrapping_add(elapsed.wrapping_mul(self.scale))
    }

    /// The stream is `samples` or more ahead of the clock: a change of its source has cut a packet
    /// short, and a frame can be left out without a hole.
    #[must_use]
    pub fn is_ahead(&self, now: Instant, samples: u32) -> bool {
        let clock = self.timestamp_at(now);
        self.timestamp_end.is_some_and(|end| end.wrapping_sub(clock) as i32 >= (samples * self.scale) as i32)
    }

    /// A new run of audio begins at `now`: after a pause its first packet carries the marker.
    fn begin(&mut self, now: Instant) -> u32 {
        let clock = self.timestamp_at(now);
        // Never step back over what was sent; otherwise follow the clock, as silence was not sent.
        match self.timestamp_end {
            Some(end) if (end.wrapping_sub(clock) as i32) > 0 => end,
            Some(end) if clock.wrapping_sub(end) < FRAME_SAMPLES as u32 * self.scale => end,
            _ => {
                self.marker_due = true;
                clock
            }
        }
    }

    /// Header of the next packet we make ourselves, `samples` long.
    pub fn own(&mut self, now: Instant, payload_type: u8, samples: u32) -> Header {
        let timestamp = self.begin(now);
        self.mapping = None;
        let header = Header {
            marker: std::mem::take(&mut self.marker_due),
            payload_type,
            seq: self.take_seq(),
            timestamp,
            ssrc: self.ssrc,
        };
        self.timestamp_end = Some(timestamp.wrapping_add(samples * self.scale));
        header
    }

    /// Header of a packet whose timestamp was fixed by an earlier one (RFC 4733 §2.5.1.2).
    pub fn own_at(&mut self, payload_type: u8, timestamp: u32, marker: bool, end: u32) -> Header {
        self.mapping = None;
        self.extend(end);
        Header { marker, payload_type, seq: self.take_seq(), timestamp, ssrc: self.ssrc }
    }

    /// Header for relaying `header`, a packet of stream `(origin, ssrc)`, `samples` long (0 for an
    /// event, whose timestamp stands still however long it lasts). `None` for a packet older than
    /// the first one relayed: its number is taken.
    pub fn relay(
        &mut self,
        now: Instant,
        origin: u64,
        header: &Header,
        payload_type: u8,
        samples: u32,
    ) -> Option<Header> {
        let source = (origin, header.ssrc);
        let mut mapping = match self.mapping {
            Some(m)
                if m.source == source
                    && near(header.seq, m.seq_newest)
                    && (samples == 0 || self.fits(now, &m, header, samples)) =>
            {
                m
            }
            _ => self.map(now, source, header),
        };
        let first_distance = header.seq.wrapping_sub(mapping.seq_first) as i16;
        if first_distance < 0
            && near(header.seq, mapping.seq_first)
            && mapping.seq_newest.wrapping_sub(mapping.seq_first) < 0x4000
        {
            return None;
        }
        let is_newest = (header.seq.wrapping_sub(mapping.seq_newest) as i16) > 0;
        if is_newest {
            mapping.advance(header.seq);
        }
        let seq = mapping.number(header.seq)?;
        if is_newest {
            self.mapping = Some(Mapping { seq_relayed: header.seq, ..mapping });
            self.seq_next = seq.wrapping_add(1);
        }
        let timestamp = header.timestamp.wrapping_add(mapping.timestamp_offset);
        self.extend(timestamp.wrapping_add(samples * self.scale));
        let marker = std::mem::take(&mut self.marker_due) || header.marker;
        Some(Header { marker, payload_type, seq, timestamp, ssrc: self.ssrc })
    }

    /// Frames of our own take over from packets of a source whose clock is fast: ours goes on from where
    /// it has led us, or frames would be left out until the clock had caught up.
    pub fn take_over(&mut self, now: Instant) {
        if let Some(end) = self.timestamp_end.filter(|_| self.is_ahead(now, TIMESTAMP_STEP as u32)) {
            self.timestamp_base = self.timestamp_base.wrapping_add(end.wrapping_sub(self.timestamp_at(now)));
        }
    }

    /// `header`'s packet of stream `(origin, ssrc)` came, but is not relayed: those after it take its number,
    /// so that only what was truly lost is missing from ours.
    pub fn leave_out(&mut self, origin: u64, header: &Header) {
        let source = (origin, header.ssrc);
        let Some(mapping) = self.mapping.as_mut().filter(|m| m.source == source && near(header.seq, m.seq_newest))
        else {
            return;
        };
        // A straggler's number has been passed over already.
        if (header.seq.wrapping_sub(mapping.seq_newest) as i16) > 0 {
            mapping.advance(header.seq);
            mapping.left_out |= 1;
            mapping.seq_offset = mapping.seq_offset.wrapping_sub(1);
            self.seq_next = header.seq.wrapping_add(mapping.seq_offset).wrapping_add(1);
        }
    }

    /// Packets relayed from now on are not the continuation of those before: what the source sent to
    /// others meanwhile would look lost.
    pub fn cut_relay(&mut self) {
        self.mapping = None;
    }

    /// The mapped timestamp is plausible for `now`; otherwise the source's clock has jumped.
    fn fits(&self, now: Instant, mapping: &Mapping, header: &Header, samples: u32) -> bool {
        let timestamp = header.timestamp.wrapping_add(mapping.timestamp_offset);
        let ahead = timestamp.wrapping_sub(self.timestamp_at(now)) as i32;
        if ahead.unsigned_abs() >= TIMESTAMP_JUMP * self.scale {
            return false;
        }
        // No packet comes before its time. Passed on, a step ahead would keep us ahead of the clock, and
        // what a change of the source loses later would leave no hole.
        let step_max = TIMESTAMP_STEP * self.scale as i32;
        let lost = i32::from(header.seq.wrapping_sub(mapping.seq_relayed) as i16) - 1;
        let left_out = self.timestamp_end.map_or(0, |end| timestamp.wrapping_sub(end) as i32);
        ahead < step_max
            || left_out.saturating_sub(lost.max(0).saturating_mul((samples * self.scale) as i32)) < step_max
    }

    fn map(&mut self, now: Instant, source: (u64, u32), header: &Header) -> Mapping {
        let timestamp = self.begin(now);
        let mapping = Mapping {
            source,
            seq_offset: self.seq_next.wrapping_sub(header.seq),
            timestamp_offset: timestamp.wrapping_sub(header.timestamp),
            seq_first: header.seq,
            seq_newest: header.seq,
            seq_relayed: header.seq,
            left_out: 0,
        };
        self.seq_next = self.seq_next.wrapping_add(1);
        self.mapping = Some(mapping);
        mapping
    }

    fn extend(&mut self, end: u32) {
        match self.timestamp_end {
            Some(before) if (end.wrapping_sub(before) as i32) <= 0 => {}
            _ => self.timestamp_end = Some(end),
        }
    }

    fn take_seq(&mut self) -> u16 {
        let seq = self.seq_next;
        self.seq_next = seq.wrapping_add(1);
        seq
    }
}

/// Samples in a span of time.
fn samples(span: Duration) -> u64 {
    u64::try_from(span.as_nanos() * u128::from(SAMPLES_PER_MS) / 1_000_000).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test needs some instant to begin at")]
mod tests {
    use super::*;

    fn header(seq: u16, timestamp: u32, ssrc: u32) -> Header {
        Header { marker: false, payload_type: 8, seq, timestamp, ssrc }
    }

    fn at(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn prompt_then_bridge_then_prompt_is_one_stream() {
        let start = Instant::now();
        let mut out = Outgoing::new(start, 7, 65534, u32::MAX - 100);
        let a = out.own(start, 8, 160);
        let b = out.own(at(start, 20), 8, 160);
        assert!(a.marker && !b.marker);
        assert_eq!(b.timestamp.wrapping_sub(a.timestamp), 160);
        let c = out.relay(at(start, 41), 1, &header(500, 99_000, 3), 8, 160).unwrap();
        let d = out.relay(at(start, 61), 1, &header(501, 99_160, 3), 8, 160).unwrap();
        let e = out.own(at(start, 80), 8, 160);
        let seqs: Vec<u16> = [a, b, c, d, e].iter().map(|h| h.seq).collect();
        assert_eq!(seqs, [65534, 65535, 0, 1, 2]);
        let steps = [(a, b), (b, c), (c, d), (d, e)].map(|(x, y)| y.timestamp.wrapping_sub(x.timestamp));
        assert_eq!(steps, [160; 4]);
    }

    #[test]
    fn loss_and_order_of_the_source_stay_visible() {
        let start = Instant::now();
        let mut out = Outgoing::new(start, 7, 100, 0);
        let relay = |out: &mut Outgoing, seq: u16, ms| {
            out.relay(at(start, ms), 1, &header(seq, u32::from(seq) * 160, 3), 8, 160).map(|h| h.seq)
        };
        assert_eq!(relay(&mut out, 10, 0), Some(100));
        assert_eq!(relay(&mut out, 13, 60), Some(103));
        assert_eq!(relay(&mut out, 12, 61), Some(102));
        assert_eq!(relay(&mut out, 14, 80), Some(104));
        assert_eq!(relay(&mut out, 9, 81), None, "its number belongs to what was sent before");
    }

    #[test]
    fn what_is_left_out_leaves_no_hole_and_what_is_lost_does() {
        let start = Instant::now();
        let mut out = Outgoing::new(start, 7, 100, 0);
        let relay = |out: &mut Outgoing, seq: u16| {
            let now = at(start, u64::from(seq) * 20);
            out.relay(now, 1, &header(seq, u32::from(seq) * 160, 3), 8, 160).map(|h| h.seq)
        };
        let leave_out = |out: &mut Outgoing, seq: u16| out.leave_out(1, &header(seq, 0, 3));
        assert_eq!((relay(&mut out, 0), relay(&mut out, 1)), (Some(100), Some(101)));
        (2..10).for_each(|seq| leave_out(&mut out, seq));
        assert_eq!((relay(&mut out, 10), relay(&mut out, 11)), (Some(102), Some(103)));
        // 12 and 13 come late, 14 is left out, 16 and 17 are lost.
        leave_out(&mut out, 14);
        assert_eq!(relay(&mut out, 15), Some(106));
        assert_eq!((relay(&mut out, 13), relay(&mut out, 12)), (Some(105), Some(104)));
        leave_out(&mut out, 18);
        assert_eq!(relay(&mut out, 19), Some(109));
        assert_eq!((relay(&mut out, 14), relay(&mut out, 20)), (None, Some(110)), "no number twice");
        leave_out(&mut out, 21);
        assert_eq!(out.own(at(start, 440), 8, 160).seq, 111);
    }

    #[test]
    fn a_new_source_or_a_jump_continues_our_numbers() {
        let start = Instant::now();
        let mut out = Outgoing::new(start, 7, 0, 0);
        out.relay(start, 1, &header(10, 1600, 3), 8, 160).unwrap();
        let restarted = out.relay(at(start, 20), 1, &header(40_000, 5, 4), 8, 160).unwrap();
        assert_eq!((restarted.seq, restarted.timestamp), (1, 160));
        let jumped = out.relay(at(start, 520), 1, &header(50_000, 77, 4), 8, 160).unwrap();
        assert_eq!(jumped.seq, 2);
        assert_eq!(jumped.timestamp, 520 * 8);
        assert!(jumped.marker, "after a pause the marker is due");
    }

    #[test]
    fn a_source_that_steps_ahead_does_not_take_us_along() {
        let start = Instant::now();
        let mut out = Outgoing::new(start, 7, 0, 0);
        let mut relay = |n: u16, ahead: u32, ssrc: u32| {
            out.relay(at(start, u64::from(n) * 20), 1, &header(n, u32::from(n) * 160 + ahead, ssrc), 8, 160).unwrap()
        };
        for n in 0..50u16 {
            assert_eq!(relay(n, 0, 3).timestamp, u32::from(n) * 160);
        }
        for n in 50..100u16 {
            // A second ahead, and two packets are lost.
            if !(70..72).contains(&n) {
                assert_eq!(relay(n, 8000, 3).timestamp, u32::from(n) * 160, "packet {n}");
            }
        }
        // Three packets are lost where the SSRC changes: they leave their hole.
        assert_eq!(relay(103, 0, 4).timestamp, 103 * 160);
    }

    #[test]
    fn a_late_first_packet_loses_and_reorders_nothing_of_those_after_it() {
        let start = Instant::now();
        let mut out = Outgoing::new(start, 7, 0, 0);
        // The first one 200 ms late: all that follow are ahead of it, two of them in the wrong order.
        for n in [0u16, 1, 3, 2, 4, 7, 6, 5, 8, 30] {
            let now = at(start, (u64::from(n) * 20).max(200));
            let sent = out.relay(now, 1, &header(n, u32::from(n) * 160, 3), 8, 160).unwrap();
            assert_eq!((sent.seq, sent.timestamp), (n, 1600 + u32::from(n) * 160));
        }
    }

    #[test]
    fn another_clock_goes_on_from_the_timestamp_reached() {
        let start = Instant::now();
        let mut out = Outgoing::new(start, 7, 0, u32::MAX - 100);
        let first = out.own(start, 8, 160);
        out.set_clock(at(start, 20), 48_000);
        let second = out.own(at(start, 20), 111, 160);
        assert_eq!(second.timestamp, first.timestamp.wrapping_add(160));
        let third = out.own(at(start, 40), 111, 160);
        assert_eq!(third.timestamp, second.timestamp.wrapping_add(960));
        assert_eq!(out.timestamp_at(at(start, 1040)), third.timestamp.wrapping_add(48_000));
        let relayed = out.relay(at(start, 60), 1, &header(7, 99, 3), 111, 160).unwrap();
        assert_eq!(relayed.timestamp, third.timestamp.wrapping_add(960));
        assert!(!relayed.marker);
    }

    #[test]
    fn a_long_relay_wraps_without_a_refusal() {
        let start = Instant::now();
        let mut out = Outgoing::new(start, 7, 9, 0);
        for n in 0..200_000u32 {
            let h = header(n as u16, n.wrapping_mul(160), 3);
            let sent = out.relay(at(start, u64::from(n) * 20), 1, &h, 8, 160).unwrap();
            assert_eq!(sent.seq, (n as u16).wrapping_add(9));
        }
    }
}

//! What we know of a received stream (RFC 3550 §6.4.1, A.1, A.3, A.8).

use crate::limits::{SEQ_DROPOUT_MAX, SEQ_MISORDER_MAX};

/// What a packet is to its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Newer than anything before; `lost` numbers before it are missing so far.
    New {
        /// Numbers skipped just before this packet.
        lost: u16,
    },
    /// Older than the newest, and not seen before.
    Reordered,
    /// Seen before.
    Duplicate,
    /// Too far behind the newest to tell.
    TooOld,
    /// A jump of the numbering; believed when the next packet follows it.
    Jump,
    /// The second packet after a jump: the stream has started over.
    Restarted,
}

impl Verdict {
    /// The packet's audio is to be used.
    #[must_use]
    pub const fn is_usable(self) -> bool {
        matches!(self, Self::New { .. } | Self::Reordered | Self::Restarted)
    }
}

/// One SSRC's reception state.
#[derive(Clone, Debug)]
pub struct Source {
    /// The stream's SSRC.
    pub ssrc: u32,
    seq_max: u16,
    /// Bit n: number `seq_max - n` was received.
    seen: u64,
    extended_base: u64,
    extended_max: u64,
    received: u64,
    jump_next: Option<u16>,
    transit: Option<i64>,
    /// Jitter times 16, in samples (A.8).
    jitter_x16: u64,
    report_expected: u64,
    report_received: u64,
    lost_before: u64,
}

impl Source {
    /// A stream whose first packet has number `seq`; count it with [`Source::receive`].
    #[must_use]
    pub fn new(ssrc: u32, seq: u16) -> Self {
        let base = 0x1_0000 + u64::from(seq);
        Self {
            ssrc,
            seq_max: seq.wrapping_sub(1),
            seen: 0,
            extended_base: base,
            extended_max: base - 1,
            received: 0,
            jump_next: None,
            transit: None,
            jitter_x16: 0,
            report_expected: 0,
            report_received: 0,
            lost_before: 0,
        }
    }

    /// Counts a packet whose timestamp says nothing of when it was sent, as an event's (RFC 4733 §2.1).
    pub fn count(&mut self, seq: u16) -> Verdict {
        let verdict = self.sort(seq);
        if verdict.is_usable() {
            self.received += 1;
        }
        verdict
    }

    /// Counts a packet of audio. `timestamp` and `arrival_samples` (any origin, in the timestamp's units)
    /// feed the jitter.
    pub fn receive(&mut self, seq: u16, timestamp: u32, arrival_samples: u64) -> Verdict {
        let verdict = self.count(seq);
        if matches!(verdict, Verdict::New { .. }) {
            self.measure_jitter(timestamp, arrival_samples);
        }
        verdict
    }

    fn sort(&mut self, seq: u16) -> Verdict {
        let ahead = seq.wrapping_sub(self.seq_max);
        if ahead != 0 && ahead < SEQ_DROPOUT_MAX {
            self.jump_next = None;
            self.extended_max += u64::from(ahead);
            self.seq_max = seq;
            self.seen = if ahead >= 64 { 1 } else { (self.seen << ahead) | 1 };
            return Verdict::New { lost: ahead - 1 };
        }
        let behind = self.seq_max.wrapping_sub(seq);
        if behind < SEQ_MISORDER_MAX {
            let bit = 1u64 << behind;
            // Numbers before the first packet were never expected; counting them would hide loss.
            if self.seen & bit != 0 || self.extended_max - u64::from(behind) < self.extended_base {
                return if self.seen & bit != 0 { Verdict::Duplicate } else { Verdict::TooOld };
            }
            self.seen |= bit;
            return Verdict::Reordered;
        }
        if self.jump_next == Some(seq) {
            self.restart(seq);
            return Verdict::Restarted;
        }
        self.jump_next = Some(seq.wrapping_add(1));
        if behind < SEQ_DROPOUT_MAX { Verdict::TooOld } else { Verdict::Jump }
    }

    fn restart(&mut self, seq: u16) {
        let lost = self.lost();
        *self = Self { jitter_x16: self.jitter_x16, lost_before: lost, ..Self::new(self.ssrc, seq) };
        self.seq_max = seq;
        self.extended_max += 1;
        self.seen = 1;
    }

    fn measure_jitter(&mut self, timestamp: u32, arrival_samples: u64) {
        // Only differences count, so the wrap of the timestamp is undone by reading it as signed.
        let transit = i64::from((arrival_samples as u32).wrapping_sub(timestamp) as i32);
        if let Some(before) = self.transit.replace(transit) {
            let difference = transit.abs_diff(before);
            // A timestamp jump is no jitter: more than a second is left out.
            if difference < 8000 {
                self.jitter_x16 = self.jitter_x16 + difference - ((self.jitter_x16 + 8) >> 4);
            }
        }
    }

    /// Packets received, without duplicates.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Packets missing, restarts of the numbering included.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost_before + self.expected().saturating_sub(self.received)
    }

    fn expected(&self) -> u64 {
        self.extended_max + 1 - self.extended_base
    }

    /// Interarrival jitter in samples (RTP timestamp units).
    #[must_use]
    pub fn jitter_samples(&self) -> u32 {
        u32::try_from(self.jitter_x16 >> 4).unwrap_or(u32::MAX)
    }

    /// Highest sequence number with its cycle count, as report blocks carry it.
    #[must_use]
    pub fn extended_max(&self) -> u32 {
        (self.extended_max - 0x1_0000) as u32
    }

    /// The fraction lost since the last call, in 1/256 (RFC 3550 A.3).
    pub fn take_fraction_lost(&mut self) -> u8 {
        let (expected, received) = (self.expected(), self.received);
        let expected_since = expected - self.report_expected.min(expected);
        let received_since = received - self.report_received.min(received);
        self.report_expected = expected;
        self.report_received = received;
        let lost = expected_since.saturating_sub(received_since);
        let fraction = (lost << 8).checked_div(expected_since);
        fraction.map_or(0, |fraction| fraction.min(255) as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(source: &mut Source, seq: u16) -> Verdict {
        source.receive(seq, u32::from(seq) * 160, u64::from(seq) * 160)
    }

    #[test]
    fn order_loss_duplicates_and_wrap_are_told_apart() {
        let mut s = Source::new(1, 65534);
        assert_eq!(feed(&mut s, 65534), Verdict::New { lost: 0 });
        assert_eq!(feed(&mut s, 65535), Verdict::New { lost: 0 });
        assert_eq!(feed(&mut s, 1), Verdict::New { lost: 1 });
        assert_eq!(feed(&mut s, 65535), Verdict::Duplicate);
        assert_eq!(feed(&mut s, 0), Verdict::Reordered);
        assert_eq!(feed(&mut s, 0), Verdict::Duplicate);
        assert_eq!(feed(&mut s, 65533), Verdict::TooOld);
        assert_eq!((s.received(), s.lost()), (4, 0));
        assert_eq!(s.extended_max(), 0x1_0001);
    }

    #[test]
    fn a_jump_is_believed_at_its_second_packet() {
        let mut s = Source::new(1, 10);
        feed(&mut s, 10);
        feed(&mut s, 12);
        assert_eq!(feed(&mut s, 30_000), Verdict::Jump);
        assert_eq!(feed(&mut s, 13), Verdict::New { lost: 0 }, "one wild packet changes nothing");
        assert_eq!(feed(&mut s, 30_000), Verdict::Jump);
        assert_eq!(feed(&mut s, 30_001), Verdict::Restarted);
        assert_eq!(feed(&mut s, 30_002), Verdict::New { lost: 0 });
        assert_eq!(s.lost(), 1);
    }

    #[test]
    fn fraction_lost_covers_the_last_interval_only() {
        let mut s = Source::new(1, 0);
        for seq in (0..100).filter(|seq| seq % 4 != 1) {
            feed(&mut s, seq);
        }
        assert_eq!(s.take_fraction_lost(), 64);
        for seq in 100..200 {
            feed(&mut s, seq);
        }
        assert_eq!(s.take_fraction_lost(), 0);
        assert_eq!(s.lost(), 25);
    }

    #[test]
    fn jitter_of_a_steady_stream_is_zero_and_a_shaken_one_grows() {
        let mut steady = Source::new(1, 0);
        let mut shaken = Source::new(1, 0);
        for n in 0..500u16 {
            let at = u64::from(n) * 160;
            steady.receive(n, u32::from(n) * 160, at + 12_345);
            shaken.receive(n, u32::from(n) * 160, at + u64::from(n % 2) * 80);
        }
        // A key of 100 ms: its packets repeat the timestamp of its beginning.
        assert!((500..508).all(|n| steady.count(n).is_usable()));
        steady.receive(508, 508 * 160, 508 * 160 + 12_345);
        assert_eq!((steady.jitter_samples(), steady.received(), steady.lost()), (0, 509, 0));
        assert!((60..=80).contains(&shaken.jitter_samples()), "{}", shaken.jitter_samples());
    }
}

//! Bursts and gaps of loss (RFC 3611 §4.7.2, Appendix A.2), counted where a hole ends: a stream
//! without loss costs nothing.

/// Packets received in a row that end a burst (RFC 3611 recommends 16).
const GMIN: u64 = 16;

/// The counters of the appendix, and runs of loss for the E-model's burst ratio.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bursts {
    /// Runs of loss.
    pub runs: u64,
    /// Packets lost in them.
    pub lost: u64,
    in_burst: u64,
    c11: u64,
    c13: u64,
    c14: u64,
    c22: u64,
    c23: u64,
    c33: u64,
}

/// What a VoIP metrics block says of bursts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BurstSummary {
    /// Share of packets lost within bursts, 1/256.
    pub burst_density: u8,
    /// Share of packets lost within gaps, 1/256.
    pub gap_density: u8,
    /// Mean length of bursts.
    pub burst_ms: u16,
    /// Mean length of gaps.
    pub gap_ms: u16,
}

impl Bursts {
    /// `lost` packets in a row are missing, after `received` that came.
    pub fn hole(&mut self, received: u64, lost: u64) {
        if lost == 0 {
            return;
        }
        let is_first = self.runs == 0;
        self.runs += 1;
        self.lost += lost;
        if is_first || received >= GMIN {
            match self.in_burst {
                0 => {}
                1 => self.c14 += 1,
                _ => self.c13 += 1,
            }
            self.in_burst = 1;
            self.c11 += received;
        } else {
            self.in_burst += 1;
            if received == 0 {
                self.c33 += 1;
            } else {
                self.c23 += 1;
                self.c22 += received - 1;
            }
        }
        self.in_burst += lost - 1;
        self.c33 += lost - 1;
    }

    /// The mean run of loss against that of random loss with the same rate (G.107 §7.5); at least 1.
    #[must_use]
    pub fn ratio(&self, loss_percent: f64) -> f64 {
        if self.runs == 0 {
            return 1.0;
        }
        #[allow(clippy::cast_precision_loss, reason = "a mean")]
        let mean = self.lost as f64 / self.runs as f64;
        (mean * (1.0 - loss_percent.clamp(0.0, 100.0) / 100.0)).max(1.0)
    }

    /// Since `before`, an earlier copy.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self { runs: self.runs - before.runs.min(self.runs), lost: self.lost - before.lost.min(self.lost), ..*self }
    }

    /// The figures of a stream of packets `packet_ms` long, `received` of them since the last hole.
    #[must_use]
    #[allow(clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "means and shares, clamped")]
    pub fn summary(&self, received: u64, packet_ms: u64) -> BurstSummary {
        let (mut c13, mut c14) = (self.c13, self.c14);
        match self.in_burst {
            0 => {}
            1 => c14 += 1,
            _ => c13 += 1,
        }
        let c11 = self.c11 + received;
        // In the appendix's notation c31 = c13 and c32 = c23.
        let total = c11 + c14 + 2 * c13 + self.c22 + 2 * self.c23 + self.c33;
        let gap = c11 + c14 + c13;
        let density = |part: f64| (part * 256.0).clamp(0.0, 255.0) as u8;
        let length = |packets: f64| (packets * packet_ms as f64).clamp(0.0, f64::from(u16::MAX)) as u16;
        let gap_density = if c11 + c14 == 0 { 0 } else { density(c14 as f64 / (c11 + c14) as f64) };
        if c13 == 0 {
            return BurstSummary { gap_density, gap_ms: length(gap as f64), ..BurstSummary::default() };
        }
        let p32 = self.c23 as f64 / (c13 + self.c23 + self.c33) as f64;
        let good = self.c22 + self.c23;
        let p23 = if good == 0 { 1.0 } else { 1.0 - self.c22 as f64 / good as f64 };
        BurstSummary {
            burst_density: density(p23 / (p23 + p32)),
            gap_density,
            burst_ms: length(total.saturating_sub(gap) as f64 / c13 as f64),
            gap_ms: length(gap as f64 / c13 as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_losses_far_apart_are_a_gap_with_some_loss() {
        let mut bursts = Bursts::default();
        for _ in 0..10 {
            bursts.hole(99, 1);
        }
        let summary = bursts.summary(99, 20);
        assert_eq!((summary.burst_density, summary.burst_ms), (0, 0));
        assert!((1..=3).contains(&summary.gap_density), "{summary:?}");
        assert_eq!(bursts.ratio(1.0), 1.0);
    }

    #[test]
    fn losses_close_together_are_a_burst_of_their_length() {
        let mut bursts = Bursts::default();
        for _ in 0..5 {
            bursts.hole(1000, 1);
            for _ in 0..9 {
                bursts.hole(1, 1);
            }
        }
        let summary = bursts.summary(1000, 20);
        assert!((120..=136).contains(&summary.burst_density), "half of a burst is lost: {summary:?}");
        assert!((300..=420).contains(&summary.burst_ms), "19 packets: {summary:?}");
        assert!(summary.gap_ms > 19_000, "{summary:?}");
        assert_eq!(summary.gap_density, 0);
    }

    #[test]
    fn runs_of_loss_raise_the_ratio_and_hostile_numbers_stay_in_range() {
        let mut bursts = Bursts::default();
        bursts.hole(96, 4);
        assert!((bursts.ratio(4.0) - 3.84).abs() < 1e-9);
        let before = bursts;
        bursts.hole(u64::from(u32::MAX), 60_000);
        assert_eq!(bursts.since(&before).lost, 60_000);
        let _ = bursts.summary(u64::from(u32::MAX), 20);
        assert_eq!(bursts.ratio(500.0), 1.0);
    }
}

//! A leg's quality over time: judged every five seconds, kept as the mean and the worst of both directions.

use std::time::{Duration, Instant};

use super::{Bursts, Equipment, Path, mos, r_factor};
use crate::{
    Codec,
    limits::{FRAME_MS, QUALITY_INTERVAL_MS, QUALITY_PACKETS_MIN, RTT_MS_MAX},
};

/// What a peer's playout adds to a steady stream, ms, and at most.
const PLAYOUT_MS: f64 = 20.0;
const PLAYOUT_MS_MAX: f64 = 200.0;

/// What came of the peer's streams so far, as the engine counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reception {
    /// Packets received, without duplicates.
    pub received: u64,
    /// Packets missing.
    pub lost: u64,
    /// Packets received too late or too many at once to be played; none where nothing is played here.
    pub discarded: u64,
    /// Interarrival jitter now, µs (RFC 3550 A.8).
    pub jitter_us: u32,
    /// How the missing ones were spread.
    pub bursts: Bursts,
}

/// What a report block says of the stream we send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerView {
    /// Lost since its last report, 1/256.
    pub fraction_lost: u8,
    /// Lost in all; duplicates may make it negative.
    pub lost: i32,
    /// Jitter, µs.
    pub jitter_us: u32,
    /// Packets it got, or missed, since its last report.
    pub packets: u64,
}

/// One direction, in figures. Scores are hundredths: 441 is a MOS of 4.41.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DirectionQuality {
    /// Mean score, weighted by packets; `None` if nothing was judged.
    pub mos_x100: Option<u16>,
    /// The worst interval.
    pub mos_min_x100: Option<u16>,
    /// Packets lost.
    pub lost: u64,
    /// Jitter at the end, ms.
    pub jitter_ms: u32,
    /// The worst jitter seen, ms.
    pub jitter_max_ms: u32,
}

/// A leg, in figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LegQuality {
    /// The codec last agreed on.
    pub codec: Option<Codec>,
    /// What we hear of the peer.
    pub received: DirectionQuality,
    /// What the peer hears of us, by its own reports.
    pub sent: DirectionQuality,
    /// The last round trip, ms.
    pub rtt_ms: Option<u32>,
    /// The longest.
    pub rtt_max_ms: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Running {
    weighted: u64,
    packets: u64,
    worst: Option<u16>,
    lost: u64,
    jitter_us: u32,
    jitter_max_us: u32,
}

impl Running {
    fn judge(&mut self, score: u16, packets: u64) {
        self.weighted += u64::from(score) * packets;
        self.packets += packets;
        self.worst = Some(self.worst.map_or(score, |worst| worst.min(score)));
    }

    fn jitter(&mut self, us: u32) {
        self.jitter_us = us;
        self.jitter_max_us = self.jitter_max_us.max(us);
    }

    fn figures(&self) -> DirectionQuality {
        DirectionQuality {
            mos_x100: self.weighted.checked_div(self.packets).map(|mean| u16::try_from(mean).unwrap_or(u16::MAX)),
            mos_min_x100: self.worst,
            lost: self.lost,
            jitter_ms: self.jitter_us / 1000,
            jitter_max_ms: self.jitter_max_us / 1000,
        }
    }
}

/// Judges one leg.
#[derive(Clone, Debug)]
pub struct Meter {
    due: Instant,
    before: Reception,
    received: Running,
    sent: Running,
    rtt_ms: Option<u32>,
    rtt_max_ms: Option<u32>,
    /// The peer's own playout: share thrown away, 1/256, and delay, from its XR.
    peer_playout: Option<(u8, u16)>,
}

impl Meter {
    /// A leg that begins at `now`.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            due: now + Duration::from_millis(QUALITY_INTERVAL_MS),
            before: Reception::default(),
            received: Running::default(),
            sent: Running::default(),
            rtt_ms: None,
            rtt_max_ms: None,
            peer_playout: None,
        }
    }

    /// When [`Meter::measure`] is due.
    #[must_use]
    pub const fn due(&self) -> Instant {
        self.due
    }

    /// Judges what was received since the last time; too little of it waits for the next.
    pub fn measure(&mut self, now: Instant, so_far: &Reception, codec: Codec) {
        self.due = now + Duration::from_millis(QUALITY_INTERVAL_MS);
        self.judge_received(so_far, codec, QUALITY_PACKETS_MIN);
    }

    /// The last look at a leg that closes: a short call is judged by what there was.
    pub fn finish(&mut self, so_far: &Reception, codec: Codec) {
        self.judge_received(so_far, codec, if self.received.packets == 0 { 1 } else { QUALITY_PACKETS_MIN });
    }

    fn judge_received(&mut self, so_far: &Reception, codec: Codec, packets_min: u64) {
        self.received.lost = so_far.lost;
        let received = so_far.received.saturating_sub(self.before.received);
        // A late packet fills a hole counted before: then nothing was lost here.
        let lost = so_far.lost.saturating_sub(self.before.lost);
        let expected = received + lost;
        if received == 0 || expected < packets_min {
            return;
        }
        self.received.jitter(so_far.jitter_us);
        // Who listens misses what the playout threw away as well.
        let unplayed = lost + so_far.discarded.saturating_sub(self.before.discarded);
        let loss_percent = percent(unplayed.min(expected), expected);
        let burst_ratio = so_far.bursts.since(&self.before.bursts).ratio(loss_percent);
        let delay_ms = self.one_way_ms() + playout_ms(so_far.jitter_us);
        let score = score(&Path { delay_ms, loss_percent, burst_ratio, equipment: Equipment::of(codec) });
        self.received.judge(score, expected);
        self.before = *so_far;
    }

    /// Judges what a report of the peer says.
    pub fn report(&mut self, view: &PeerView, codec: Codec) {
        self.sent.lost = u64::try_from(view.lost).unwrap_or(0);
        if view.packets == 0 {
            return;
        }
        self.sent.jitter(view.jitter_us);
        let (discarded, playout) = match self.peer_playout {
            Some((discarded, ms)) => (discarded, f64::from(ms).min(PLAYOUT_MS_MAX)),
            None => (0, playout_ms(view.jitter_us)),
        };
        let lost = u64::from(view.fraction_lost) + u64::from(discarded);
        let loss_percent = percent(lost.min(256), 256);
        let delay_ms = self.one_way_ms() + playout;
        let equipment = Equipment::of(codec);
        self.sent.judge(score(&Path { delay_ms, loss_percent, burst_ratio: 1.0, equipment }), view.packets);
    }

    /// A round trip was measured, ms; an absurd one is left out.
    pub fn round_trip(&mut self, ms: u32) {
        if ms <= RTT_MS_MAX {
            self.rtt_ms = Some(ms);
            self.rtt_max_ms = self.rtt_max_ms.max(Some(ms));
        }
    }

    /// The last round trip, ms.
    #[must_use]
    pub const fn rtt_ms(&self) -> Option<u32> {
        self.rtt_ms
    }

    /// What the peer says of its own playout (RFC 3611 §4.7): packets thrown away as late, 1/256, and delay.
    pub fn peer_playout(&mut self, discarded: u8, delay_ms: u16) {
        self.peer_playout = Some((discarded, delay_ms));
    }

    /// The figures so far.
    #[must_use]
    pub fn quality(&self, codec: Option<Codec>) -> LegQuality {
        LegQuality {
            codec,
            received: self.received.figures(),
            sent: self.sent.figures(),
            rtt_ms: self.rtt_ms,
            rtt_max_ms: self.rtt_max_ms,
        }
    }

    /// Half the round trip and one packet's length; without reports the network counts as near.
    fn one_way_ms(&self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "20")]
        let packet_ms = FRAME_MS as f64;
        self.rtt_ms.map_or(0.0, |ms| f64::from(ms) / 2.0) + packet_ms
    }
}

/// An adaptive playout buffer holds about twice the jitter.
fn playout_ms(jitter_us: u32) -> f64 {
    (PLAYOUT_MS + f64::from(jitter_us) / 500.0).min(PLAYOUT_MS_MAX)
}

#[allow(clippy::cast_precision_loss, reason = "a share")]
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1.0 to 4.5")]
fn score(path: &Path) -> u16 {
    (mos(r_factor(path)) * 100.0).round() as u16
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test needs some instant to begin at")]
mod tests {
    use super::*;

    fn reception(received: u64, lost: u64, jitter_us: u32) -> Reception {
        let mut bursts = Bursts::default();
        (0..lost).for_each(|_| bursts.hole(50, 1));
        Reception { received, lost, discarded: 0, jitter_us, bursts }
    }

    #[test]
    fn a_clean_talk_scores_4_38_and_one_bad_interval_is_its_worst() {
        let now = Instant::now();
        let mut meter = Meter::new(now);
        meter.measure(now, &reception(250, 0, 0), Codec::Pcma);
        assert_eq!(meter.quality(None).received.mos_x100, Some(438));
        meter.measure(now, &reception(475, 25, 0), Codec::Pcma);
        let both = meter.quality(Some(Codec::Pcma)).received;
        let worst = both.mos_min_x100.unwrap();
        assert!((330..=340).contains(&worst), "10 % lost, R = 65: {worst}");
        assert_eq!(both.mos_x100, Some((438 + worst) / 2));
        assert_eq!(both.lost, 25);
    }

    #[test]
    fn what_the_playout_throws_away_counts_as_lost_to_the_ear() {
        let now = Instant::now();
        let mut meter = Meter::new(now);
        let late = Reception { discarded: 25, ..reception(250, 0, 0) };
        meter.measure(now, &late, Codec::Pcma);
        let bad = meter.quality(None).received;
        assert!((330..=340).contains(&bad.mos_x100.unwrap()), "10 %: {bad:?}");
        assert_eq!(bad.lost, 0);
        meter.measure(now, &Reception { discarded: 25, ..reception(500, 0, 0) }, Codec::Pcma);
        assert_eq!(meter.quality(None).received.mos_x100, Some((438 + bad.mos_x100.unwrap()) / 2));
    }

    #[test]
    fn an_interval_of_a_few_packets_waits_for_the_next_one() {
        let now = Instant::now();
        let mut meter = Meter::new(now);
        meter.measure(now, &reception(5, 5, 0), Codec::Pcma);
        assert_eq!(meter.quality(None).received.mos_x100, None);
        assert_eq!(meter.due(), now + Duration::from_secs(5));
        meter.measure(now, &reception(245, 5, 0), Codec::Pcma);
        assert!(meter.quality(None).received.mos_x100.unwrap() > 405);
        let mut short = Meter::new(now);
        short.finish(&reception(7, 0, 0), Codec::Pcma);
        assert_eq!(short.quality(None).received.mos_x100, Some(438));
    }

    #[test]
    fn delay_and_jitter_take_their_part() {
        let now = Instant::now();
        let score = |rtt_ms, jitter_us| {
            let mut meter = Meter::new(now);
            meter.round_trip(rtt_ms);
            meter.measure(now, &reception(250, 0, jitter_us), Codec::Pcma);
            meter.quality(None).received.mos_x100.unwrap()
        };
        assert!(score(20, 0) > score(300, 0));
        assert!(score(300, 0) > score(300, 60_000));
        assert!(score(800, 0) < 350);
        let mut meter = Meter::new(now);
        meter.round_trip(RTT_MS_MAX + 1);
        assert_eq!(meter.rtt_ms(), None, "a peer's nonsense is no delay");
    }

    #[test]
    fn the_sent_direction_is_what_the_peer_reports() {
        let mut meter = Meter::new(Instant::now());
        let view = PeerView { fraction_lost: 0, lost: -2, jitter_us: 1000, packets: 250 };
        meter.report(&view, Codec::Pcma);
        meter.report(&PeerView { fraction_lost: 26, lost: 25, ..view }, Codec::Pcma);
        let sent = meter.quality(None).sent;
        assert_eq!((sent.lost, sent.jitter_ms), (25, 1));
        assert!(sent.mos_x100.unwrap() > 380 && sent.mos_min_x100.unwrap() < 340, "{sent:?}");
        meter.peer_playout(51, 80);
        meter.report(&view, Codec::Pcma);
        assert!(meter.quality(None).sent.mos_min_x100.unwrap() < 280, "what it throws away is lost too");
        meter.report(&PeerView { packets: 0, fraction_lost: 255, ..view }, Codec::Pcma);
        assert!(meter.quality(None).sent.mos_min_x100.unwrap() > 200, "a report on nothing judges nothing");
    }
}

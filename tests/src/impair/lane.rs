//! One direction of a bad network: what it does to each packet, decided without sockets or clocks.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{Impairment, Jitter, Loss};
use crate::limits::RELAY_QUEUE_LEN_MAX;

/// Bytes of IP and UDP headers, which a rate counts too.
const HEADERS_LEN: usize = 28;
/// What waits longer for its turn at a rate is lost.
const RATE_QUEUE: Duration = Duration::from_millis(500);

/// What a direction did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets that came.
    pub taken: u64,
    /// Packets and copies handed on.
    pub passed: u64,
    /// Lost by chance.
    pub lost: u64,
    /// Lost for want of room, or at the rate.
    pub crowded_out: u64,
    /// Copies made.
    pub duplicated: u64,
    /// Held back behind later ones.
    pub held_back: u64,
}

#[derive(Debug)]
struct Waiting<T> {
    due: Duration,
    number: u64,
    item: T,
}

impl<T> PartialEq for Waiting<T> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<T> Eq for Waiting<T> {}

impl<T> PartialOrd for Waiting<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Waiting<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}

/// One direction. Times count from any beginning the caller chooses.
#[derive(Debug)]
pub struct Lane<T> {
    impairment: Impairment,
    random: StdRng,
    waiting: BinaryHeap<Reverse<Waiting<T>>>,
    next_number: u64,
    in_burst: bool,
    /// No packet in order is due before this.
    order: Duration,
    /// When the line of a limited rate is free again.
    free_at: Duration,
    counts: Counts,
}

impl<T: Clone> Lane<T> {
    /// A direction whose chances follow `seed`.
    #[must_use]
    pub fn new(impairment: Impairment, seed: u64) -> Self {
        Self {
            impairment,
            random: StdRng::seed_from_u64(seed),
            waiting: BinaryHeap::new(),
            next_number: 0,
            in_burst: false,
            order: Duration::ZERO,
            free_at: Duration::ZERO,
            counts: Counts::default(),
        }
    }

    /// Changes what happens to packets from now on.
    pub fn set(&mut self, impairment: Impairment) {
        self.impairment = impairment;
    }

    /// What happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes a packet of `len` bytes at `now`; more than [`RELAY_QUEUE_LEN_MAX`] waiting are lost.
    pub fn push(&mut self, now: Duration, len: usize, item: T) {
        self.counts.taken += 1;
        // The same number of draws for each packet: a setting changes no other packet's fate.
        let [loss, duplicate, reorder, jitter, jitter_copy] = [(); 5].map(|()| self.random.random::<f64>());
        let i = self.impairment;
        if self.is_lost(loss) {
            self.counts.lost += 1;
            return;
        }
        let Some(sent_at) = self.through_the_rate(now, len) else {
            self.counts.crowded_out += 1;
            return;
        };
        let path = |draw| sent_at + ms(i.delay_ms + delay_ms(i.jitter, draw));
        let mut due = path(jitter);
        if reorder * 100.0 < i.reorder_percent {
            self.counts.held_back += 1;
            due = due.max(self.order) + ms(i.reorder_ms);
        } else if !i.overtaking {
            due = due.max(self.order);
            self.order = due;
        }
        if duplicate * 100.0 < i.duplicate_percent {
            self.counts.duplicated += 1;
            self.wait(path(jitter_copy).max(due), item.clone());
        }
        self.wait(due, item);
    }

    fn wait(&mut self, due: Duration, item: T) {
        if self.waiting.len() >= RELAY_QUEUE_LEN_MAX {
            self.counts.crowded_out += 1;
            return;
        }
        self.waiting.push(Reverse(Waiting { due, number: self.next_number, item }));
        self.next_number += 1;
    }

    fn is_lost(&mut self, draw: f64) -> bool {
        match self.impairment.loss {
            Loss::Never => false,
            Loss::Random(percent) => draw * 100.0 < percent,
            Loss::Bursts { percent, length } => {
                let leave = 1.0 / length.max(1.0);
                let share = (percent / 100.0).clamp(0.0, 0.99);
                let enter = leave * share / (1.0 - share);
                self.in_burst = if self.in_burst { draw >= leave } else { draw < enter };
                self.in_burst
            }
        }
    }

    /// When the packet has left a line of limited rate, if it may wait for that.
    fn through_the_rate(&mut self, now: Duration, len: usize) -> Option<Duration> {
        let Some(kbps) = self.impairment.rate_kbps else {
            return Some(now);
        };
        let begin = self.free_at.max(now);
        if begin - now > RATE_QUEUE {
            return None;
        }
        #[allow(clippy::cast_precision_loss, reason = "lengths of datagrams")]
        let bits = ((len + HEADERS_LEN) * 8) as f64;
        self.free_at = begin + ms(bits / kbps.max(0.001));
        Some(self.free_at)
    }

    /// The next packet due by `now`.
    pub fn pop(&mut self, now: Duration) -> Option<T> {
        if self.next_due()? > now {
            return None;
        }
        let Reverse(waiting) = self.waiting.pop()?;
        self.counts.passed += 1;
        Some(waiting.item)
    }

    /// When the next packet is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        self.waiting.peek().map(|Reverse(waiting)| waiting.due)
    }
}

fn ms(ms: f64) -> Duration {
    Duration::from_secs_f64(ms.max(0.0) / 1_000.0)
}

/// The delay on top for a draw in 0..1.
fn delay_ms(jitter: Jitter, draw: f64) -> f64 {
    match jitter {
        Jitter::Never => 0.0,
        Jitter::Even(max) => draw * max,
        // The sum of a few even numbers would need more draws; a half bell by its quantiles is as good.
        Jitter::Bell(deviation) => (deviation * half_normal(draw)).min(3.0 * deviation),
        Jitter::Tail(mean) => {
            let exponent = 2.5;
            let least = mean * (exponent - 1.0);
            // Pareto II, so that it begins at 0.
            (least * ((1.0 - draw).powf(-1.0 / exponent) - 1.0)).min(20.0 * mean)
        }
    }
}

/// The quantile of |N(0,1)|, by the logistic approximation of the normal one (error < 0.02 within 3).
fn half_normal(draw: f64) -> f64 {
    let p = f64::midpoint(1.0, draw.clamp(0.0, 0.999_999));
    let x = (p / (1.0 - p)).ln();
    x / (1.6 + 0.07 * x.abs().min(6.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends packets 20 ms apart and returns (number, sent, arrived) in order of arrival.
    fn run(impairment: Impairment, seed: u64, count: u64) -> (Vec<(u64, f64, f64)>, Counts) {
        let mut lane = Lane::new(impairment, seed);
        let mut arrived = Vec::new();
        let mut drain = |lane: &mut Lane<(u64, f64)>, until: Duration| {
            while let Some(due) = lane.next_due().filter(|due| *due <= until) {
                let (number, sent) = lane.pop(due).unwrap();
                arrived.push((number, sent, due.as_secs_f64() * 1_000.0));
            }
        };
        for number in 0..count {
            let now = Duration::from_millis(number * 20);
            drain(&mut lane, now);
            lane.push(now, 172, (number, now.as_secs_f64() * 1_000.0));
        }
        drain(&mut lane, Duration::MAX);
        (arrived, lane.counts())
    }

    fn mean(values: impl Iterator<Item = f64>) -> f64 {
        let values: Vec<f64> = values.collect();
        values.iter().sum::<f64>() / values.len() as f64
    }

    #[test]
    fn the_same_seed_gives_each_packet_the_same_fate_and_another_seed_another() {
        let bad = Impairment {
            loss: Loss::Random(15.0),
            jitter: Jitter::Even(60.0),
            reorder_percent: 1.0,
            duplicate_percent: 2.0,
            ..Impairment::default()
        };
        assert_eq!(run(bad, 7, 2_000), run(bad, 7, 2_000));
        assert_ne!(run(bad, 7, 2_000).0, run(bad, 8, 2_000).0);
        let lost = |impairment| -> Vec<u64> {
            let arrived: std::collections::BTreeSet<u64> = run(impairment, 7, 2_000).0.iter().map(|a| a.0).collect();
            (0..2_000).filter(|n| !arrived.contains(n)).collect()
        };
        let quiet = Impairment { loss: Loss::Random(15.0), ..Impairment::default() };
        assert_eq!(lost(bad), lost(quiet), "other settings don't change who is lost");
    }

    #[test]
    fn nothing_happens_where_nothing_is_asked_for() {
        let (arrived, counts) = run(Impairment::default(), 1, 500);
        assert!(arrived.iter().enumerate().all(|(n, a)| a.0 == n as u64 && (a.1 - a.2).abs() < 0.001));
        assert_eq!(counts, Counts { taken: 500, passed: 500, ..Counts::default() });
    }

    #[test]
    fn losses_have_the_share_and_the_length_asked_for() {
        let (_, counts) = run(Impairment { loss: Loss::Random(15.0), ..Impairment::default() }, 3, 20_000);
        assert!((2_800..=3_200).contains(&counts.lost), "{counts:?}");
        let bursts = Impairment { loss: Loss::Bursts { percent: 10.0, length: 5.0 }, ..Impairment::default() };
        let (arrived, counts) = run(bursts, 3, 20_000);
        assert!((1_500..=2_500).contains(&counts.lost), "{counts:?}");
        let holes = arrived.windows(2).filter(|w| w[1].0 > w[0].0 + 1).count() as f64;
        let length = counts.lost as f64 / holes;
        assert!((4.0..=6.5).contains(&length), "{length} packets a burst");
    }

    #[test]
    fn delays_lie_within_their_bounds_and_keep_the_order() {
        for (jitter, low, high, max) in [
            (Jitter::Even(60.0), 25.0, 35.0, 60.0),
            (Jitter::Bell(20.0), 14.0, 18.5, 60.0),
            (Jitter::Tail(10.0), 8.5, 11.5, 200.0),
        ] {
            let impairment = Impairment { delay_ms: 50.0, jitter, overtaking: true, ..Impairment::default() };
            let (arrived, _) = run(impairment, 5, 20_000);
            let extra = mean(arrived.iter().map(|a| a.2 - a.1 - 50.0));
            assert!((low..=high).contains(&extra), "{jitter:?}: {extra}");
            assert!(arrived.iter().all(|a| (-0.001..=max + 0.001).contains(&(a.2 - a.1 - 50.0))), "{jitter:?}");
            let ordered = run(Impairment { overtaking: false, ..impairment }, 5, 5_000).0;
            assert!(ordered.windows(2).all(|w| w[0].0 < w[1].0), "{jitter:?} keeps the order");
        }
    }

    #[test]
    fn held_back_packets_come_after_later_ones_and_copies_come_twice() {
        let impairment = Impairment { reorder_percent: 1.0, duplicate_percent: 5.0, ..Impairment::default() };
        let (arrived, counts) = run(impairment, 9, 10_000);
        let mut newest = 0;
        let mut late = 0;
        for (number, ..) in &arrived {
            late += u64::from(*number < newest);
            newest = newest.max(*number);
        }
        assert!((60..=140).contains(&counts.held_back), "{counts:?}");
        assert!(late >= counts.held_back, "{late} of {counts:?}");
        assert!((400..=600).contains(&counts.duplicated), "{counts:?}");
        assert_eq!(counts.passed, 10_000 + counts.duplicated);
    }

    #[test]
    fn a_rate_spreads_packets_and_drops_what_would_wait_too_long() {
        // 172 + 28 bytes every 20 ms are 80 kbit/s.
        let enough = Impairment { rate_kbps: Some(100.0), ..Impairment::default() };
        let (arrived, counts) = run(enough, 1, 1_000);
        assert_eq!(counts.crowded_out, 0);
        assert!(arrived.iter().all(|a| (a.2 - a.1 - 16.0).abs() < 0.1));
        let (arrived, counts) = run(Impairment { rate_kbps: Some(40.0), ..enough }, 1, 1_000);
        assert!((420..=500).contains(&counts.crowded_out), "{counts:?}");
        assert!(arrived.iter().all(|a| a.2 - a.1 <= 560.0));
    }

    #[test]
    fn the_queue_is_bounded() {
        let mut lane = Lane::new(Impairment { delay_ms: 1_000.0, ..Impairment::default() }, 1);
        for _ in 0..RELAY_QUEUE_LEN_MAX + 10 {
            lane.push(Duration::ZERO, 172, ());
        }
        assert_eq!(lane.counts().crowded_out, 10);
    }
}

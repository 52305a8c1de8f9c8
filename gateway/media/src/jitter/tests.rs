#![allow(clippy::disallowed_methods, reason = "a test needs some instant to begin at")]
use std::time::Duration;

use super::*;
use crate::{Codec, codec, tone};

struct Alaw;

impl Decode for Alaw {
    fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) {
        codec::decode_into(Codec::Pcma, payload, out);
    }
}

/// A sender of a tone, the network behind it, and a listener: all in simulated time.
struct World {
    start: Instant,
    buffer: JitterBuffer,
    /// Packets under way: arrival in µs, number, timestamp, payload.
    flying: Vec<(u64, u16, u32, Vec<u8>)>,
    sent: u64,
    listened: u64,
    random: u64,
    hz: f64,
    sent_samples: u64,
    /// What the network does.
    ppm: i64,
    jitter_us: u64,
    loss_percent: u64,
    reorder_percent: u64,
    ssrc: u32,
    seq_offset: u16,
    timestamp_offset: u32,
    /// What was heard, and as what.
    heard: Vec<i16>,
    kinds: Vec<Played>,
    delays: Vec<u32>,
}

impl World {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            buffer: JitterBuffer::new(),
            flying: Vec::new(),
            sent: 0,
            listened: 0,
            random: 11,
            hz: 450.0,
            sent_samples: 0,
            ppm: 0,
            jitter_us: 0,
            loss_percent: 0,
            reorder_percent: 0,
            ssrc: 1,
            seq_offset: 65_500,
            timestamp_offset: u32::MAX - 4000,
            heard: Vec::new(),
            kinds: Vec::new(),
            delays: Vec::new(),
        }
    }

    fn below(&mut self, end: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % end.max(1)
    }

    /// When packet `n` leaves, by the listener's clock.
    fn leaves_us(&self, n: u64) -> u64 {
        let nominal = 5000 + n * 20_000;
        nominal.saturating_add_signed(i64::try_from(nominal).unwrap() * self.ppm / 1_000_000)
    }

    /// Sends all packets due, to arrive when the network pleases.
    fn send_until(&mut self, until_us: u64) {
        while self.leaves_us(self.sent) < until_us {
            let n = self.sent;
            self.sent += 1;
            let samples: Vec<i16> = (0..160)
                .map(|k| {
                    ((((self.sent_samples + k) as f64) * self.hz * std::f64::consts::TAU / 8000.0).sin() * 8000.0)
                        as i16
                })
                .collect();
            self.sent_samples += 160;
            let mut payload = Vec::new();
            codec::encode_into(Codec::Pcma, &samples, &mut payload);
            let lost = self.below(100) < self.loss_percent;
            let mut arrival = self.leaves_us(n) + self.below(self.jitter_us + 1);
            if self.below(100) < self.reorder_percent {
                arrival += 25_000;
            }
            if !lost {
                let timestamp = (n as u32).wrapping_mul(160).wrapping_add(self.timestamp_offset);
                self.flying.push((arrival, (n as u16).wrapping_add(self.seq_offset), timestamp, payload));
            }
        }
    }

    fn deliver_until(&mut self, until_us: u64) {
        self.flying.sort_by_key(|packet| packet.0);
        let due = self.flying.partition_point(|packet| packet.0 <= until_us);
        for (arrival, seq, timestamp, payload) in self.flying.drain(..due).collect::<Vec<_>>() {
            let now = self.start + Duration::from_micros(arrival);
            self.buffer.insert(now, audio(self.ssrc, seq, timestamp, &payload));
        }
    }

    fn listen(&mut self) -> Played {
        self.listened += 1;
        let now = self.start + Duration::from_millis(self.listened * 20);
        let mut frame = [0; FRAME_SAMPLES];
        let kind = self.buffer.next_frame(now, &mut Alaw, &mut frame);
        self.heard.extend_from_slice(&frame);
        self.kinds.push(kind);
        self.delays.push(self.buffer.stats().delay_ms);
        kind
    }

    fn run(&mut self, seconds: u64) {
        for _ in 0..seconds * 50 {
            let tick_us = (self.listened + 1) * 20_000;
            self.send_until(tick_us);
            self.deliver_until(tick_us);
            self.listen();
        }
    }

    fn share(&self, kind: Played, from: usize) -> f64 {
        let kinds = &self.kinds[from..];
        kinds.iter().filter(|k| **k == kind).count() as f64 / kinds.len() as f64
    }

    fn delay_mean(&self, from: usize) -> f64 {
        let delays = &self.delays[from..];
        delays.iter().map(|ms| f64::from(*ms)).sum::<f64>() / delays.len() as f64
    }

    /// Purity of each frame from `from` on: power of the tone over the rest, in dB, sorted.
    fn purities(&self, from: usize) -> Vec<f64> {
        let mut purities: Vec<f64> =
            self.heard[from * 160..].chunks_exact(160).map(|f| purity_db(f, self.hz)).collect();
        purities.sort_by(f64::total_cmp);
        purities
    }
}

fn purity_db(samples: &[i16], hz: f64) -> f64 {
    let total = samples.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>() / samples.len() as f64;
    let of_tone = tone::amplitude_at(samples, hz).powi(2) / 2.0;
    10.0 * (of_tone.max(1e-9) / (total - of_tone).max(1e-9)).log10()
}

fn audio(ssrc: u32, seq: u16, timestamp: u32, payload: &[u8]) -> JitterPacket<'_> {
    JitterPacket { ssrc, seq, timestamp, clock_hz: 8000, marker: false, payload }
}

#[test]
fn a_perfect_network_is_played_whole_with_little_delay() {
    let mut world = World::new();
    world.run(60);
    assert_eq!(world.share(Played::Audio, 10), 1.0);
    assert!(world.delay_mean(500) <= 40.0, "{}", world.delay_mean(500));
    assert!(world.purities(10)[0] > 30.0, "{}", world.purities(10)[0]);
    let stats = world.buffer.stats();
    assert_eq!((stats.late, stats.duplicates, stats.overflow, stats.concealed_samples), (0, 0, 0, 0));
}

#[test]
fn jitter_loss_reorder_and_skew_together_stay_within_bounds() {
    for ppm in [-100, 100] {
        let mut world = World::new();
        (world.ppm, world.jitter_us, world.loss_percent, world.reorder_percent) = (ppm, 60_000, 5, 1);
        world.run(300);
        let stats = world.buffer.stats();
        let (concealed, silent) = (world.share(Played::Concealed, 500), world.share(Played::Silence, 500));
        let late = stats.late as f64 / stats.packets as f64;
        let delay = world.delay_mean(500);
        let purities = world.purities(500);
        let summary = format!(
            "{ppm} ppm: concealed {concealed:.4}, silent {silent:.4}, late {late:.4}, delay {delay:.1} ms, purity worst {:.1} 5% {:.1} median {:.1}; {stats:?}",
            purities[0],
            purities[purities.len() / 20],
            purities[purities.len() / 2]
        );
        assert!(concealed < 0.05 + 0.01 && silent == 0.0, "{summary}");
        assert!(late < 0.005 && (70.0..105.0).contains(&delay), "{summary}");
        assert!(purities[purities.len() / 20] > 18.0 && purities[purities.len() / 2] > 30.0, "{summary}");
    }
}

#[test]
fn an_hour_of_skewed_clocks_leaves_the_delay_where_it_was() {
    for ppm in [-500, 500] {
        let mut world = World::new();
        world.ppm = ppm;
        world.run(3600);
        let stats = world.buffer.stats();
        let early = world.delay_mean(500);
        let late = world.delays[170_000..].iter().map(|ms| f64::from(*ms)).sum::<f64>() / 10_000.0;
        let purities = world.purities(500);
        let summary = format!("{ppm}: {early:.1} ms, in the end {late:.1} ms, worst {:.1} dB; {stats:?}", purities[0]);
        assert!((early - late).abs() < 3.0 && late < 45.0, "{summary}");
        assert!(world.delays[500..].iter().all(|ms| *ms < 60), "{summary}");
        assert!(purities[0] > 20.0, "{summary}");
        assert!(world.share(Played::Audio, 500) > 0.998, "{summary}");
        let moved = stats.inserted_samples as i64 - stats.removed_samples as i64 + stats.concealed_samples as i64;
        assert!((moved - ppm * 3600 * 8000 / 1_000_000).abs() < 400, "{summary}");
    }
}

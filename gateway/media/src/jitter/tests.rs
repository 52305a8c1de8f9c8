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
            // 450 Hz has nine whole periods in 20 ms, so all packets are alike.
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

#[test]
fn a_new_ssrc_or_a_jump_of_timestamps_costs_no_more_than_its_seam() {
    for change in 0..4 {
        let mut world = World::new();
        world.run(10);
        match change {
            0 => (world.ssrc, world.timestamp_offset, world.seq_offset) = (9, 77, 31_000),
            1 => world.timestamp_offset = world.timestamp_offset.wrapping_add(8000 * 3600),
            2 => world.timestamp_offset = world.timestamp_offset.wrapping_sub(8000 * 3600),
            _ => world.timestamp_offset = world.timestamp_offset.wrapping_sub(3000),
        }
        world.run(10);
        let lost = world.kinds[490..].iter().filter(|kind| **kind != Played::Audio).count();
        assert!(lost <= 2, "change {change}: {lost} frames");
        assert!(world.delay_mean(600) <= 45.0 && world.buffer.stats().jumps == 1, "{:?}", world.buffer.stats());
        assert!(world.purities(600)[0] > 30.0, "change {change}");
    }
}

#[test]
fn a_pause_of_the_sender_is_silence_and_the_next_word_comes_with_the_delay_aimed_at() {
    for pause in [10, 100, 1500] {
        let mut world = World::new();
        world.jitter_us = 20_000;
        world.run(20);
        // Discontinuous transmission: time goes on, numbers don't.
        let n = world.sent;
        world.sent += pause;
        world.seq_offset = world.seq_offset.wrapping_sub(pause as u16);
        world.sent_samples += pause * 160;
        world.run(pause / 50 + 10);
        let stats = world.buffer.stats();
        assert!(stats.late <= 1 && stats.jumps == 0, "pause of {pause} after packet {n}: {stats:?}");
        let silent = world.kinds[1000..].iter().filter(|kind| **kind != Played::Audio).count() as u64;
        assert!(silent.abs_diff(pause) <= 5, "{silent} of {pause}");
        assert!(world.delays[world.delays.len() - 50..].iter().all(|ms| *ms < 70), "{stats:?}");
    }
}

#[test]
fn timestamps_that_stood_still_in_a_pause_are_believed_within_a_tenth_of_a_second() {
    let mut world = World::new();
    world.run(10);
    // Half a second without packets and without samples.
    world.sent += 25;
    world.timestamp_offset = world.timestamp_offset.wrapping_sub(25 * 160);
    world.seq_offset = world.seq_offset.wrapping_sub(25);
    world.run(5);
    let from = world.kinds[500..].iter().rposition(|kind| *kind != Played::Audio).unwrap();
    assert!(from < 25 + 12, "audio again after {from} frames");
}

#[test]
fn comfort_noise_fills_the_pause_that_it_announces() {
    let mut world = World::new();
    world.run(5);
    let (n, tick_us) = (world.sent, world.leaves_us(world.sent));
    let packet = JitterPacket {
        payload: &[50],
        ..audio(
            1,
            (n as u16).wrapping_add(world.seq_offset),
            (n as u32 * 160).wrapping_add(world.timestamp_offset),
            &[],
        )
    };
    world.buffer.insert_comfort(world.start + Duration::from_micros(tick_us), packet);
    world.sent += 100;
    world.sent_samples += 16_000;
    world.seq_offset = world.seq_offset.wrapping_sub(99);
    world.run(4);
    let comfort = world.kinds.iter().filter(|kind| **kind == Played::Comfort).count();
    assert!((95..=100).contains(&comfort), "{comfort}");
    assert_eq!(world.share(Played::Concealed, 10), 0.0);
    let noise = &world.heard[260 * 160..340 * 160];
    let rms = (noise.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>() / noise.len() as f64).sqrt();
    assert!((80.0..130.0).contains(&rms), "-50 dBov is 104, this is {rms:.0}");
}

#[test]
fn a_burst_after_a_stall_doesn_t_leave_its_delay_behind() {
    for stall_ms in [150, 400, 3000] {
        let mut world = World::new();
        world.run(20);
        let free_us = (world.listened + stall_ms / 20) * 20_000;
        for _ in 0..stall_ms / 20 {
            world.send_until((world.listened + 1) * 20_000);
            world.listen();
        }
        for packet in &mut world.flying {
            packet.0 = packet.0.max(free_us - 1000);
        }
        world.run(30);
        let stats = world.buffer.stats();
        assert!(world.delays.iter().all(|ms| *ms <= 270), "{stats:?}");
        assert!(world.delays.last().unwrap() < &60, "{stall_ms}: {:?} {stats:?}", world.delays.last());
        assert!(world.share(Played::Audio, 1000 + stall_ms as usize / 20 + 5) > 0.99, "{stall_ms}: {stats:?}");
    }
}

#[test]
fn duplicates_and_stragglers_are_counted_and_not_heard() {
    let mut world = World::new();
    world.run(5);
    let before = world.buffer.stats();
    let (n, payload) = (world.sent as u32, vec![0xD5; 160]);
    let old = audio(1, (n - 100) as u16, (n - 100).wrapping_mul(160).wrapping_add(world.timestamp_offset), &payload);
    let now = world.start + Duration::from_millis(world.listened * 20 + 1);
    world.buffer.insert(now, old);
    assert_eq!(world.buffer.stats().late, before.late + 1);
    let next =
        audio(1, (n as u16).wrapping_add(world.seq_offset), (n * 160).wrapping_add(world.timestamp_offset), &payload);
    world.buffer.insert(now, next);
    world.buffer.insert(now, next);
    assert_eq!(world.buffer.stats().duplicates, before.duplicates + 1);
}

#[test]
fn any_packets_in_any_order_keep_to_the_bounds() {
    let mut buffer = JitterBuffer::new();
    let start = Instant::now();
    let mut state = 5u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    };
    let mut now_ms = 0;
    for round in 0..60_000u32 {
        let payload = vec![random() as u8; (random() % 1441) as usize];
        let wild = random() % 50 == 0;
        let packet = JitterPacket {
            ssrc: if random() % 500 == 0 { random() } else { 1 },
            seq: if wild { random() as u16 } else { round as u16 },
            timestamp: if wild { random() } else { round.wrapping_mul(160) },
            clock_hz: [8000, 48_000, 0, 1][if wild { random() as usize % 4 } else { 0 }],
            marker: false,
            payload: &payload,
        };
        let now = start + Duration::from_millis(now_ms);
        if random() % 20 == 0 {
            buffer.insert_comfort(now, packet);
        } else {
            buffer.insert(now, packet);
        }
        if random() % 2 == 0 {
            let mut frame = [0; FRAME_SAMPLES];
            buffer.next_frame(now, &mut Alaw, &mut frame);
            now_ms += u64::from(random() % 60);
        }
        assert!(buffer.pending.len() <= 4 * JITTER_PACKET_SAMPLES_MAX);
    }
}

#[test]
fn opus_and_its_clock_fit_too() {
    let (mut buffer, start) = (JitterBuffer::new(), Instant::now());
    let mut encoder = codec::Encoder::new(Codec::Opus);
    let mut decoder = codec::Decoder::new(Codec::Opus);
    let mut heard = Vec::new();
    for n in 0..500u32 {
        let mut samples = [0; FRAME_SAMPLES];
        for (k, sample) in samples.iter_mut().enumerate() {
            let at = f64::from(n) * 160.0 + k as f64;
            *sample = ((at * 450.0 * std::f64::consts::TAU / 8000.0).sin() * 8000.0) as i16;
        }
        let mut payload = Vec::new();
        encoder.encode(&samples, &mut payload);
        let packet = JitterPacket { clock_hz: 48_000, ..audio(3, n as u16, n.wrapping_mul(960), &payload) };
        if n % 25 != 24 {
            buffer.insert(start + Duration::from_millis(u64::from(n) * 20), packet);
        }
        let mut frame = [0; FRAME_SAMPLES];
        buffer.next_frame(start + Duration::from_millis(u64::from(n) * 20 + 10), &mut decoder, &mut frame);
        heard.extend_from_slice(&frame);
    }
    let level = tone::amplitude_at(&heard[8000..72_000], 450.0);
    assert!((6000.0..10_000.0).contains(&level), "{level}");
    assert_eq!(buffer.stats().jumps, 0);
}

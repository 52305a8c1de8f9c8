//! G.722 and Opus legs: talked with over A-law, played to, recorded, dialled on; the same codec on
//! both sides is passed on untouched.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]
mod common;

use common::*;
use hotline_media::{
    Codec, LegId, LegParams,
    codec::{Decoder, Encoder},
    engine::{Command, Event},
    rtp::Header,
    tone::amplitude_at,
};

const AMPLITUDE: f64 = 8000.0;

/// A phone that speaks any codec: a tone, 20 ms a packet.
struct Talker {
    address: std::net::SocketAddr,
    encoder: Encoder,
    header: Header,
    hz: f64,
    sample: u32,
    payloads: Vec<Vec<u8>>,
}

impl Talker {
    fn new(address: &str, codec: Codec, hz: f64) -> Self {
        let header = Header {
            marker: true,
            payload_type: codec.static_payload_type(),
            seq: 65_500,
            timestamp: u32::MAX - 9000,
            ssrc: hz as u32,
        };
        let encoder = Encoder::new(codec);
        Self { address: addr(address), encoder, header, hz, sample: 0, payloads: Vec::new() }
    }

    fn packet(&mut self) -> Vec<u8> {
        let frame = std::array::from_fn(|n| {
            let at = f64::from(self.sample + n as u32);
            ((at * self.hz * std::f64::consts::TAU / 8000.0).sin() * AMPLITUDE) as i16
        });
        self.sample += 160;
        let (mut bytes, mut payload) = (Vec::new(), Vec::new());
        self.encoder.encode(&frame, &mut payload);
        self.header.write(&mut bytes);
        bytes.extend_from_slice(&payload);
        self.payloads.push(payload);
        self.header.seq = self.header.seq.wrapping_add(1);
        self.header.timestamp = self.header.timestamp.wrapping_add(self.encoder.codec().rtp_clock_hz() / 50);
        self.header.marker = false;
        bytes
    }
}

/// What a leg's phone hears, and that its stream is one: numbers and timestamps without a step.
fn heard(sim: &Sim, leg: LegId, codec: Codec) -> Vec<i16> {
    let (mut decoder, mut samples) = (Decoder::new(codec), Vec::new());
    let sent = sim.sent_on(leg);
    for pair in sent.windows(2) {
        let (before, after) = (pair[0].packet().header, pair[1].packet().header);
        assert_eq!(after.seq, before.seq.wrapping_add(1));
        assert_eq!(after.timestamp.wrapping_sub(before.timestamp), codec.rtp_clock_hz() / 50, "{codec:?}");
    }
    for sent in &sent {
        assert_eq!(sent.packet().header.payload_type, codec.static_payload_type());
        decoder.decode(sent.packet().payload, &mut samples);
    }
    samples
}

fn assert_level(what: &str, samples: &[i16], hz: f64, other_hz: f64) {
    let middle = &samples[8000..samples.len() - 1600];
    let db = 20.0 * (amplitude_at(middle, hz) / AMPLITUDE).log10();
    assert!(db.abs() < 1.0, "{what}: {hz} Hz at {db:.2} dB");
    let other = 20.0 * (amplitude_at(middle, other_hz) / AMPLITUDE).log10();
    assert!(other < -40.0, "{what}: {other_hz} Hz bleeds over at {other:.1} dB");
}

fn talk(codec_a: Codec, codec_b: Codec) {
    let mut sim = Sim::new();
    let a = sim.leg(1, "10.0.0.1:4000", codec_a);
    let b = sim.leg(2, "10.0.0.2:4000", codec_b);
    let mut citizen = Talker::new("10.0.0.1:4000", codec_a, 440.0);
    let mut operator = Talker::new("10.0.0.2:4000", codec_b, 1000.0);
    sim.advance_to(3);
    sim.record(a, 60_000);
    sim.command(Command::Bridge { a, b });
    for n in 0..250u64 {
        sim.advance_to(3 + n * 20);
        let packet = citizen.packet();
        sim.rtp(a, citizen.address, &packet);
        sim.advance_to(10 + n * 20);
        let packet = operator.packet();
        sim.rtp(b, operator.address, &packet);
    }
    sim.advance_to(5003);
    sim.command(Command::StopRecord { leg: a });

    let name = format!("{codec_a:?} and {codec_b:?}");
    assert_level(&format!("{name}, to the operator"), &heard(&sim, b, codec_b), 440.0, 1000.0);
    assert_level(&format!("{name}, to the citizen"), &heard(&sim, a, codec_a), 1000.0, 440.0);
    let (finish, frames) = &sim.finished[0];
    assert_eq!(finish.duration_ms(), 5000);
    assert_level(&format!("{name}, recorded left"), &channel(frames, 0), 440.0, 1000.0);
    assert_level(&format!("{name}, recorded right"), &channel(frames, 1), 1000.0, 440.0);
    if codec_a == codec_b {
        for (leg, talker) in [(b, &citizen), (a, &operator)] {
            let sent: Vec<Vec<u8>> = sim.sent_on(leg).iter().map(|sent| sent.packet().payload.to_vec()).collect();
            assert!(sent == talker.payloads, "{name} are not passed on as they are");
        }
    }
}

#[test]
fn a_law_talks_with_g722_and_opus() {
    talk(Codec::Pcma, Codec::G722);
    talk(Codec::Pcma, Codec::Opus);
    talk(Codec::Opus, Codec::Pcma);
}

#[test]
fn g722_talks_with_opus() {
    talk(Codec::G722, Codec::Opus);
}

#[test]
fn the_same_codec_passes_unchanged_and_is_recorded() {
    talk(Codec::G722, Codec::G722);
    talk(Codec::Opus, Codec::Opus);
}

#[test]
fn prompts_are_heard_and_recorded_in_any_codec() {
    for codec in Codec::ALL {
        let mut sim = Sim::new();
        let leg = sim.leg(1, "10.0.0.1:4000", codec);
        sim.record(leg, 60_000);
        let tone =
            (0..16_000).map(|n| ((f64::from(n) * 440.0 * std::f64::consts::TAU / 8000.0).sin() * AMPLITUDE) as i16);
        sim.play(leg, 1, tone.collect(), true);
        sim.advance_to(4000);
        sim.command(Command::StopRecord { leg });
        assert_level(&format!("prompt in {codec:?}"), &heard(&sim, leg, codec), 440.0, 1000.0);
        assert_level(&format!("recorded prompt in {codec:?}"), &channel(&sim.finished[0].1, 1), 440.0, 1000.0);
    }
}

/// Half a second of 1000 Hz with an amplitude of 8000, coded by SpanDSP 0.0.6.
const BY_SPANDSP: &[u8] = include_bytes!("data/tone_1000hz.g722");

#[test]
fn g722_of_another_make_is_heard_at_its_level() {
    let mut samples = Vec::new();
    Decoder::new(Codec::G722).decode(BY_SPANDSP, &mut samples);
    assert_eq!(samples.len(), 4000);
    let db = 20.0 * (amplitude_at(&samples[800..], 1000.0) / AMPLITUDE).log10();
    assert!(db.abs() < 0.1, "{db:.3} dB");
}

#[test]
fn digits_of_an_opus_leg_are_counted_in_its_clock() {
    let mut sim = Sim::new();
    let leg = sim.leg(1, "10.0.0.1:4000", Codec::Opus);
    let mut phone = Talker::new("10.0.0.1:4000", Codec::Opus, 440.0);
    let first = phone.packet();
    sim.rtp(leg, phone.address, &first);
    for (duration, end) in [(960u16, 0u8), (1920, 0), (4800, 0x80), (4800, 0x80), (4800, 0x80)] {
        let mut bytes = Vec::new();
        Header { payload_type: 101, ..phone.header }.write(&mut bytes);
        bytes.extend_from_slice(&[5, end | 10]);
        bytes.extend_from_slice(&duration.to_be_bytes());
        phone.header.seq = phone.header.seq.wrapping_add(1);
        sim.rtp(leg, phone.address, &bytes);
    }
    let digits: Vec<_> = sim.events.iter().filter(|(_, event)| matches!(event, Event::Digit { .. })).collect();
    assert!(matches!(digits[..], [(_, Event::Digit { digit: '5', duration_ms: 100, .. })]), "{digits:?}");

    sim.command(Command::SendDigit { leg, digit: '7', ms: 100 });
    sim.advance_to(500);
    let sent = sim.sent_on(leg);
    let events: Vec<_> = sent.iter().map(|sent| sent.packet()).filter(|p| p.header.payload_type == 101).collect();
    let last = events.last().unwrap();
    assert_eq!(u16::from_be_bytes([last.payload[2], last.payload[3]]), 4800, "100 ms at 48 kHz");
    assert!(events.iter().all(|event| event.header.timestamp == last.header.timestamp));
}

/// Sends the events of a press of 5, 100 ms long at a clock.
fn press(sim: &mut Sim, leg: LegId, phone: &mut Talker, clock_hz: u32) {
    let unit = (clock_hz / 1000) as u16;
    for (ms, end) in [(20u16, 0u8), (40, 0), (100, 0x80), (100, 0x80), (100, 0x80)] {
        let mut bytes = Vec::new();
        Header { payload_type: 101, ..phone.header }.write(&mut bytes);
        bytes.extend_from_slice(&[5, end | 10]);
        bytes.extend_from_slice(&(ms * unit).to_be_bytes());
        phone.header.seq = phone.header.seq.wrapping_add(1);
        sim.rtp(leg, phone.address, &bytes);
    }
}

#[test]
fn events_beside_opus_may_count_at_8000() {
    let mut sim = Sim::new();
    let (old, new) = (sim.leg(1, "10.0.0.1:4000", Codec::Opus), sim.leg(2, "10.0.0.2:4000", Codec::Opus));
    let agreed = LegParams { dtmf_clock_hz: 8000, ..params("10.0.0.1:4000", Codec::Opus) };
    sim.command(Command::Configure { leg: old, params: agreed });
    sim.command(Command::Bridge { a: old, b: new });
    let mut phones = ["10.0.0.1:4000", "10.0.0.2:4000"].map(|address| Talker::new(address, Codec::Opus, 440.0));
    for (leg, phone) in [old, new].into_iter().zip(&mut phones) {
        let first = phone.packet();
        sim.rtp(leg, phone.address, &first);
    }
    press(&mut sim, old, &mut phones[0], 8000);
    press(&mut sim, new, &mut phones[1], 48_000);
    let digits = sim.events.iter().filter_map(|(_, event)| match event {
        Event::Digit { digit, duration_ms, .. } => Some((*digit, *duration_ms)),
        _ => None,
    });
    assert_eq!(digits.collect::<Vec<_>>(), [('5', 100), ('5', 100)]);
    // Each hears the other's key once, at its own clock.
    sim.advance_to(1000);
    for (leg, duration) in [(old, 800), (new, 4800)] {
        let sent = sim.sent_on(leg);
        let events: Vec<_> = sent.iter().map(|sent| sent.packet()).filter(|p| p.header.payload_type == 101).collect();
        assert!(!events.is_empty() && events.iter().all(|event| event.header.timestamp == events[0].header.timestamp));
        let lengths = events.iter().map(|event| u16::from_be_bytes([event.payload[2], event.payload[3]]));
        assert_eq!(lengths.max(), Some(duration));
        assert_eq!(events.iter().filter(|event| event.payload[1] & 0x80 != 0).count(), 3);
    }
}

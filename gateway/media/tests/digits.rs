//! Digits: each press once, through loss, relayed and sent.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]
mod common;

use common::*;
use hotline_media::{Codec, LegId, dtmf::EventPayload, engine::Command, rtp::Header, tone::amplitude_at};

struct Keypad {
    seq: u16,
    timestamp: u32,
}

impl Keypad {
    /// The packets of one press, `updates` of them before three ends.
    fn press(&mut self, event: u8, updates: u16) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        self.timestamp = self.timestamp.wrapping_add(4000);
        for n in 1..=updates + 3 {
            let payload = EventPayload { event, end: n > updates, volume: 10, duration: n.min(updates) * 160 };
            let header =
                Header { marker: n == 1, payload_type: 101, seq: self.seq, timestamp: self.timestamp, ssrc: 440 };
            let mut bytes = Vec::new();
            header.write(&mut bytes);
            bytes.extend_from_slice(&payload.bytes());
            packets.push(bytes);
            self.seq = self.seq.wrapping_add(1);
        }
        packets
    }
}

fn world() -> (Sim, LegId, LegId, Keypad) {
    let mut sim = Sim::new();
    let a = sim.leg(1, "10.0.0.1:4000", Codec::Pcma);
    let b = sim.leg(2, "10.0.0.2:4000", Codec::Pcma);
    (sim, a, b, Keypad { seq: 1, timestamp: 1 })
}

#[test]
fn a_hundred_digits_survive_five_percent_loss() {
    for seed in 0..20 {
        let (mut sim, a, _, mut keypad) = world();
        let mut lcg = Lcg(seed);
        let mut at = 0;
        let mut expected = String::new();
        for n in 0..100u32 {
            let event = (n % 10) as u8;
            expected.push(char::from(b'0' + event));
            for packet in keypad.press(event, 5) {
                at += 20;
                sim.advance_to(at);
                if lcg.below(100) >= 5 {
                    sim.rtp(a, addr("10.0.0.1:4000"), &packet);
                }
            }
            at += 60;
        }
        sim.advance_to(at + 1000);
        assert_eq!(sim.digits(), expected, "seed {seed}");
    }
}

#[test]
fn a_digit_whose_ends_are_all_lost_is_reported_once() {
    let (mut sim, a, _, mut keypad) = world();
    for packet in &keypad.press(9, 5)[..5] {
        sim.rtp(a, addr("10.0.0.1:4000"), packet);
    }
    sim.advance_to(150);
    assert_eq!(sim.digits(), "");
    sim.advance_to(300);
    assert_eq!(sim.digits(), "9");
    // A digit in progress when the leg closes is not lost either.
    sim.rtp(a, addr("10.0.0.1:4000"), &keypad.press(3, 5)[0]);
    sim.command(Command::CloseLeg { leg: a });
    assert_eq!(sim.digits(), "93");
}

#[test]
fn digits_pass_a_bridge_with_the_other_legs_payload_type() {
    let (mut sim, a, b, mut keypad) = world();
    let mut other = params("10.0.0.2:4000", Codec::Pcmu);
    other.dtmf_pt = Some(96);
    sim.command(Command::Configure { leg: b, params: other.clone() });
    sim.command(Command::Bridge { a, b });
    // A press of three seconds: its timestamp stands still while the clock runs.
    for (n, packet) in keypad.press(5, 150).iter().enumerate() {
        sim.advance_to(n as u64 * 20);
        sim.rtp(a, addr("10.0.0.1:4000"), packet);
    }
    let sent = sim.sent_on(b);
    assert_eq!(sent.len(), 153);
    let first = sent[0].packet();
    assert!(sent.iter().all(|sent| sent.packet().header.payload_type == 96));
    assert!(sent.iter().all(|sent| sent.packet().header.timestamp == first.header.timestamp));
    assert_eq!(EventPayload::parse(sent[152].packet().payload).unwrap().duration, 150 * 160);
    assert_eq!(sim.digits(), "5");
    other.dtmf_pt = None;
    sim.command(Command::Configure { leg: b, params: other });
    for packet in keypad.press(6, 3) {
        sim.rtp(a, addr("10.0.0.1:4000"), &packet);
    }
    assert_eq!(sim.sent_on(b).len(), 153, "a peer without events gets none");
    assert_eq!(sim.digits(), "56");
}

#[test]
fn what_we_send_another_engine_receives() {
    let (mut sim, a, _, _) = world();
    for digit in "12#A".chars() {
        sim.command(Command::SendDigit { leg: a, digit, ms: 100 });
    }
    sim.advance_to(3000);
    let sent = sim.sent_on(a);
    let mut other = Sim::new();
    let leg = other.leg(1, "10.0.0.9:4000", Codec::Pcma);
    for sent in &sent {
        other.advance_to(sent.at_ms);
        other.rtp(leg, addr("10.0.0.9:4000"), &sent.bytes);
    }
    assert_eq!(other.digits(), "12#A");
    assert_eq!(sent.len(), 4 * 8);
    assert!(sent[0].packet().header.marker);
}

#[test]
fn a_peer_without_events_hears_the_tone() {
    let (mut sim, a, _, _) = world();
    let mut plain = params("10.0.0.1:4000", Codec::Pcma);
    plain.dtmf_pt = None;
    sim.command(Command::Configure { leg: a, params: plain });
    sim.command(Command::SendDigit { leg: a, digit: '1', ms: 200 });
    sim.advance_to(1000);
    let mut samples = Vec::new();
    for sent in sim.sent_on(a) {
        hotline_media::codec::decode_into(Codec::Pcma, sent.packet().payload, &mut samples);
    }
    assert_eq!(samples.len(), 1600);
    assert!(amplitude_at(&samples, 697.0) > 5000.0 && amplitude_at(&samples, 1209.0) > 5000.0);
}

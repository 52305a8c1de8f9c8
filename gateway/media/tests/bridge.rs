//! Two bridged legs hear each other; the recording holds both, each on its side, in full length.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]
mod common;

use common::*;
use hotline_media::{Codec, LegId, codec, engine::Command, tone::amplitude_at};

fn heard(sim: &Sim, leg: LegId, codec: Codec) -> Vec<i16> {
    let mut samples = Vec::new();
    for sent in sim.sent_on(leg) {
        codec::decode_into(codec, sent.packet().payload, &mut samples);
    }
    samples
}

fn talk(codec_a: Codec, codec_b: Codec) {
    let mut sim = Sim::new();
    let a = sim.leg(1, "10.0.0.1:4000", codec_a);
    let b = sim.leg(2, "10.0.0.2:4000", codec_b);
    let mut citizen = Phone::new("10.0.0.1:4000", codec_a, 440.0);
    let mut operator = Phone::new("10.0.0.2:4000", codec_b, 1000.0);
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

    let (finish, frames) = &sim.finished[0];
    assert_eq!(finish.duration_ms(), 5000);
    assert_eq!(finish.gaps_ms, 0);
    let (left, right) = (channel(frames, 0), channel(frames, 1));
    let middle = 4000..36_000;
    for (samples, here, there) in [(&left, 440.0, 1000.0), (&right, 1000.0, 440.0)] {
        assert!(amplitude_at(&samples[middle.clone()], here) > 7500.0, "{here} Hz");
        assert!(amplitude_at(&samples[middle.clone()], there) < 100.0, "{there} Hz bleeds over");
    }
    assert!(amplitude_at(&heard(&sim, b, codec_b), 440.0) > 7500.0);
    assert!(amplitude_at(&heard(&sim, a, codec_a), 1000.0) > 7500.0);
    for sent in sim.sent_on(b) {
        assert_eq!(sent.packet().header.payload_type, codec_b.static_payload_type());
    }
}

#[test]
fn same_codec_passes_unchanged() {
    talk(Codec::Pcma, Codec::Pcma);
}

#[test]
fn a_law_and_mu_law_are_translated() {
    talk(Codec::Pcma, Codec::Pcmu);
    talk(Codec::Pcmu, Codec::Pcma);
}

#[test]
fn forwarding_happens_at_once_and_keeps_one_ssrc() {
    let mut sim = Sim::new();
    let a = sim.leg(1, "10.0.0.1:4000", Codec::Pcma);
    let b = sim.leg(2, "10.0.0.2:4000", Codec::Pcma);
    let mut phone = Phone::new("10.0.0.1:4000", Codec::Pcma, 440.0);
    sim.command(Command::Bridge { a, b });
    for n in 0..10 {
        sim.advance_to(n * 20 + 7);
        let packet = phone.packet();
        sim.rtp(a, phone.address, &packet);
    }
    let sent = sim.sent_on(b);
    assert_eq!(sent.len(), 10);
    let first = sent[0].packet().header;
    assert_ne!(first.ssrc, phone.header.ssrc);
    for (n, sent) in sent.iter().enumerate() {
        let header = sent.packet().header;
        assert_eq!(sent.at_ms, n as u64 * 20 + 7);
        assert_eq!(header.ssrc, first.ssrc);
        assert_eq!(header.seq, first.seq.wrapping_add(n as u16));
        assert_eq!(header.timestamp, first.timestamp.wrapping_add(n as u32 * 160));
    }
    sim.command(Command::Unbridge { leg: b });
    let packet = phone.packet();
    sim.rtp(a, phone.address, &packet);
    assert_eq!(sim.sent_on(b).len(), 10, "no bridge, no packet");
}

#[test]
fn a_new_bridge_ends_the_old_ones() {
    let mut sim = Sim::new();
    let a = sim.leg(1, "10.0.0.1:4000", Codec::Pcma);
    let b = sim.leg(2, "10.0.0.2:4000", Codec::Pcma);
    let c = sim.leg(3, "10.0.0.3:4000", Codec::Pcma);
    let mut phone = Phone::new("10.0.0.1:4000", Codec::Pcma, 440.0);
    sim.command(Command::Bridge { a, b });
    sim.command(Command::Bridge { a, b: c });
    let packet = phone.packet();
    sim.rtp(a, phone.address, &packet);
    assert_eq!((sim.sent_on(b).len(), sim.sent_on(c).len()), (0, 1));
    sim.command(Command::CloseLeg { leg: c });
    let packet = phone.packet();
    sim.rtp(a, phone.address, &packet);
    assert_eq!(sim.sent_on(b).len(), 0);
}

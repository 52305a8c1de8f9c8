//! A member with a bad network, an encrypted one and a quiet one in a mix.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]
mod common;
#[path = "common/room.rs"]
mod room;

use common::*;
use hotline_media::{
    Codec, LegParams, XrWish, codec,
    engine::{Command, Event, Port},
    rtcp::{self, Rtcp, XrBlock},
    rtp::Packet,
    srtp::{MasterKey, Protector, SrtpParams, Suite, Unprotector},
    tone::amplitude_at,
};
use room::*;

/// Loss and jitter of party 2, who talks in the mix if `is_talking`.
fn with_bad_network(is_talking: bool) -> Room {
    let mut room = Room::new(3);
    room.parties[2].network = Network { loss_percent: 15, jitter_ms: 60 };
    room.parties[2].is_talking = is_talking;
    let citizen = room.leg(0);
    room.sim.record(citizen, 120_000);
    room.mix_all();
    room.talk_to(20_000);
    room.sim.command(Command::StopRecord { leg: citizen });
    room
}

#[test]
fn a_member_with_a_bad_network_disturbs_nobody_else() {
    let room = with_bad_network(true);
    for party in 0..2 {
        room.assert_one_stream(party);
        let samples = room.heard(party, 2000..20_000);
        assert!(samples.len().abs_diff(18_000 * 8) <= 320);
        let other = amplitude_at(&samples, TONES[1 - party]);
        assert!((7500.0..8500.0).contains(&other), "{party} hears the good one with {other}");
    }
    // Who has the bad network hears the others whole; it is its own packets that are lost.
    room.assert_hears(2, &[0, 1], 2000..20_000);
    let (finish, frames) = &room.sim.finished[0];
    assert_eq!((finish.duration_ms(), finish.gaps_ms), (20_000, 0));
    let (left, right) = (channel(frames, 0), channel(frames, 1));
    assert!(amplitude_at(&left[16_000..], TONES[0]) > 7500.0);
    assert!(amplitude_at(&right[16_000..], TONES[1]) > 7500.0);
}

#[test]
fn what_a_bad_network_leaves_is_heard_without_holes() {
    let room = with_bad_network(true);
    let silent = with_bad_network(false);
    assert!(amplitude_at(&silent.heard(0, 2000..20_000), TONES[2]) < 25.0);
    // Short pieces: the tone's phase wanders where delay is corrected.
    let samples = room.heard(0, 2000..20_000);
    let pieces: Vec<f64> = samples.chunks_exact(400).map(|piece| amplitude_at(piece, TONES[2])).collect();
    let holes = pieces.iter().filter(|amplitude| **amplitude < 2000.0).count();
    // A seventh is lost for good; concealment carries over all but runs of several.
    assert!(holes * 20 < pieces.len(), "{holes} holes in {} pieces of 50 ms", pieces.len());
}

#[test]
fn an_encrypted_member_hears_and_is_heard() {
    let mut room = Room::new(3);
    let (own, theirs) = (MasterKey::new([1; 30]), MasterKey::new([2; 30]));
    let suite = Suite::SDES[0];
    let keys = SrtpParams { suite, local: theirs.clone(), remote: own.clone() };
    let params = LegParams { srtp: Some(keys), ..params("10.0.0.2:4000", Codec::Pcma) };
    let (leg, address) = (room.leg(1), room.parties[1].phone.address);
    room.sim.command(Command::Configure { leg, params });
    room.parties[1].is_talking = false;
    room.parties[1].phone.header.seq = 300;
    room.mix_all();
    let mut protector = Protector::new(suite, &own);
    for n in 0..150u64 {
        room.talk_to(n * 20);
        let mut bytes = room.parties[1].phone.packet();
        protector.protect_rtp(&mut bytes, 0).unwrap();
        room.sim.rtp(leg, address, &bytes);
    }
    room.assert_hears(0, &[1, 2], 1000..2960);
    let (mut unprotector, mut heard) = (Unprotector::new(suite, &theirs), Vec::new());
    for sent in room.sim.sent_on(leg) {
        let mut bytes = sent.bytes;
        let len = unprotector.unprotect_rtp(&mut bytes).expect("authentic");
        codec::decode_into(Codec::Pcma, Packet::parse(&bytes[..len]).unwrap().payload, &mut heard);
    }
    let heard = &heard[8000..];
    assert!([0, 2].iter().all(|n| amplitude_at(heard, TONES[*n]) > 7000.0) && amplitude_at(heard, TONES[1]) < 25.0);
}

#[test]
fn automatic_gain_raises_a_quiet_member_of_three_and_never_a_talk_of_two() {
    for (agc, count) in [(true, 3), (false, 3), (true, 2)] {
        // With G.722 a talk of two has to be mixed too.
        let mut room = Room::with(&[Codec::Pcma, Codec::G722, Codec::Pcma][..count], agc);
        room.parties[1].phone.amplitude = 800.0;
        let rows: &[(usize, &[usize])] =
            if count == 3 { &[(0, &[1, 2]), (1, &[0, 2]), (2, &[0, 1])] } else { &[(0, &[1]), (1, &[0])] };
        room.mix(rows);
        room.talk_to(10_000);
        let amplitude = amplitude_at(&room.heard(0, 8000..10_000), TONES[1]);
        let expected = if agc && count == 3 { 3000.0..3500.0 } else { 740.0..860.0 };
        assert!(expected.contains(&amplitude), "agc {agc}, {count} members: {amplitude}");
    }
}

#[test]
fn what_comes_too_late_for_the_mix_is_reported_and_judged() {
    let mut room = Room::new(3);
    room.parties[2].is_talking = false;
    let leg = room.leg(2);
    let wish = XrWish { voip_metrics: true, reference_time: false };
    let address = room.parties[2].phone.address;
    let remote = address.to_string();
    room.sim.command(Command::Configure { leg, params: LegParams { xr: wish, ..params(&remote, Codec::Pcma) } });
    room.mix_all();
    let mut held = None;
    for n in 0..1000u64 {
        room.talk_to(n * 20);
        let packet = room.parties[2].phone.packet();
        // Each 50th packet comes 0.9 s late.
        match n % 50 {
            0 => held = Some(packet),
            45 => {
                room.sim.rtp(leg, address, &packet);
                let late = held.take().unwrap();
                room.sim.rtp(leg, address, &late);
            }
            _ => room.sim.rtp(leg, address, &packet),
        }
    }
    let reports = room.sim.sent.iter().filter(|sent| sent.leg == leg && sent.port == Port::Rtcp);
    let blocks = reports.flat_map(|sent| rtcp::parse(&sent.bytes).unwrap()).filter_map(|packet| match packet {
        Rtcp::ExtendedReport { blocks, .. } => Some(blocks),
        _ => None,
    });
    let mut metrics =
        blocks.flatten().filter_map(|block| if let XrBlock::VoipMetrics(m) = block { Some(m) } else { None });
    let last = metrics.next_back().unwrap();
    assert!((3..=6).contains(&last.discard_rate), "2 %: {last:?}");
    room.sim.command(Command::CloseLeg { leg });
    let Some((_, Event::LegClosed { stats, .. })) = room.sim.events.last() else { panic!() };
    let received = stats.quality.received;
    assert!(received.lost <= 1 && received.mos_x100.unwrap() < 425, "{received:?}");
}

//! A-law, G.722 and Opus in one mix, and peers that change their codec in the midst of it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]
mod common;
#[path = "common/room.rs"]
mod room;

use common::*;
use hotline_media::{Codec, engine::Command, tone::amplitude_at};
use room::*;

/// Codecs other than G.711 add noise of their own: −40 dB of 8000.
fn room_of(codecs: &[Codec]) -> Room {
    let mut room = Room::of(codecs);
    room.bleed_max = 80.0;
    // Opus gives two tones at once back 1.2 dB quieter.
    room.tolerance = 0.2;
    room
}

#[test]
fn one_of_each_codec_hear_each_other_and_the_recording_is_right() {
    let mut room = room_of(&[Codec::Pcma, Codec::G722, Codec::Opus]);
    let citizen = room.leg(0);
    room.sim.record(citizen, 60_000);
    room.mix_all();
    room.talk_to(4000);
    room.sim.command(Command::StopRecord { leg: citizen });
    room.assert_hears(0, &[1, 2], 1000..4000);
    room.assert_hears(1, &[0, 2], 1000..4000);
    room.assert_hears(2, &[0, 1], 1000..4000);
    (0..3).for_each(|n| room.assert_one_stream(n));
    let (finish, frames) = &room.sim.finished[0];
    assert_eq!(finish.duration_ms(), 4000);
    let (left, right) = (channel(frames, 0), channel(frames, 1));
    assert!(amplitude_at(&left[8000..31_000], TONES[0]) > 7500.0);
    assert!([1, 2].iter().all(|&n| amplitude_at(&right[8000..31_000], TONES[n]) > 7500.0));
}

#[test]
fn a_transcoded_talk_is_joined_and_left() {
    let mut room = room_of(&[Codec::Pcma, Codec::G722, Codec::Opus]);
    room.bridge(0, 1);
    room.talk_to(2000);
    room.mix(&[(0, &[1]), (1, &[0, 2]), (2, &[0, 1])]);
    room.talk_to(4000);
    room.mix_all();
    room.talk_to(6000);
    room.bridge(0, 1);
    room.talk_to(8000);
    for from in [0, 2000, 6000] {
        room.assert_hears(0, &[1], from + 500..from + 2000);
    }
    room.assert_hears(0, &[1, 2], 4500..6000);
    room.assert_hears(1, &[0], 500..2000);
    room.assert_hears(1, &[0, 2], 2500..6000);
    room.assert_hears(1, &[0], 6500..8000);
    room.assert_hears(2, &[0, 1], 2500..6000);
    (0..3).for_each(|n| room.assert_one_stream(n));
}

#[test]
fn a_peer_that_falls_back_to_g711_in_the_midst_of_a_talk_is_heard_on() {
    let mut room = room_of(&[Codec::G722, Codec::G722]);
    room.bridge(0, 1);
    room.talk_to(2000);
    // Payload type 8 was in the answer too; no re-INVITE announces the change (RFC 3264 §7).
    let before = &mut room.parties[0].phone;
    let mut fallback = Phone::new("10.0.0.1:4000", Codec::Pcma, TONES[0]);
    fallback.header = hotline_media::rtp::Header { payload_type: 8, ..before.header };
    let mut own = std::mem::replace(before, fallback);
    room.talk_to(4000);
    room.assert_hears(1, &[0], 500..2000);
    room.assert_hears(1, &[0], 2500..4000);
    room.assert_one_stream(1);
    // And back again.
    own.header = hotline_media::rtp::Header { payload_type: 9, ..room.parties[0].phone.header };
    room.parties[0].phone = own;
    room.talk_to(6000);
    room.assert_hears(1, &[0], 4500..6000);
    room.assert_one_stream(1);
}

#[test]
fn a_peer_that_changes_its_codec_with_each_packet_harms_nobody() {
    let mut room = room_of(&[Codec::G722, Codec::Pcma, Codec::Pcma]);
    room.mix_all();
    let mut other = Phone::new("10.0.0.1:4000", Codec::Pcma, TONES[0]);
    for n in 0..200u64 {
        let payload_type = other.codec.static_payload_type();
        other.header = hotline_media::rtp::Header { payload_type, ..room.parties[0].phone.header };
        std::mem::swap(&mut room.parties[0].phone, &mut other);
        room.talk_to((n + 1) * 20);
    }
    for (party, good) in [(1, 2), (2, 1)] {
        let heard = room.heard(party, 1000..4000);
        assert!(heard.len().abs_diff(3000 * 8) <= 320);
        assert!(amplitude_at(&heard, TONES[good]) > 7000.0);
        room.assert_one_stream(party);
    }
}

/// A leg's phone answered with several formats, of which we send the first.
fn agree_on(room: &mut Room, party: usize, others: &[Codec]) {
    let phone = &room.parties[party].phone;
    let mut agreed = params(&phone.address.to_string(), phone.codec);
    others.iter().for_each(|codec| agreed.others.add_audio(codec.static_payload_type(), *codec));
    let leg = room.leg(party);
    room.sim.command(Command::Configure { leg, params: agreed });
}

#[test]
fn a_peer_may_send_any_format_of_its_answer() {
    for codec in [Codec::G722, Codec::Opus] {
        let mut room = room_of(&[Codec::Pcma, Codec::Pcma]);
        agree_on(&mut room, 0, &[Codec::Pcma, codec]);
        let citizen = room.leg(0);
        room.sim.record(citizen, 60_000);
        room.bridge(0, 1);
        let own = std::mem::replace(&mut room.parties[0].phone, Phone::new("10.0.0.1:4000", codec, TONES[0]));
        room.talk_to(3000);
        room.sim.command(Command::StopRecord { leg: citizen });
        room.assert_hears(1, &[0], 500..3000);
        room.assert_one_stream(1);
        let left = channel(&room.sim.finished[0].1, 0);
        assert!(amplitude_at(&left[4000..23_000], TONES[0]) > 7500.0, "{codec:?} is not recorded");
        // What it hears is what we chose.
        room.parties[0].phone = own;
        room.assert_hears(0, &[1], 500..3000);
        room.assert_one_stream(0);
    }
}

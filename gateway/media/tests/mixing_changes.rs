//! Coming, going, hold, prompts and digits in a mix; the citizen's recording through all of it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]
mod common;
#[path = "common/room.rs"]
mod room;

use common::*;
use hotline_media::{
    LegParams,
    dtmf::{EventPayload, Receiver},
    engine::{Command, Event},
    tone::amplitude_at,
};
use room::*;

/// Configures a party's leg anew.
fn configure(room: &mut Room, party: usize, change: impl Fn(&mut LegParams)) {
    let address = room.parties[party].phone.address.to_string();
    let mut params = params(&address, room.parties[party].phone.codec);
    change(&mut params);
    let leg = room.leg(party);
    room.sim.command(Command::Configure { leg, params });
}

#[test]
fn a_supervisor_joins_and_leaves_and_nobody_else_loses_a_word() {
    let mut room = Room::new(3);
    room.bridge(0, 1);
    room.talk_to(2000);
    room.mix_all();
    room.talk_to(5000);
    let supervisor = room.leg(2);
    room.sim.command(Command::Unbridge { leg: supervisor });
    room.talk_to(8000);
    room.assert_hears(0, &[1], 100..2000);
    room.assert_hears(0, &[1, 2], 3000..5000);
    room.assert_hears(0, &[1], 6000..8000);
    room.assert_hears(1, &[0, 2], 3000..5000);
    assert!(room.heard(2, 5001..8000).is_empty());
    for party in 0..2 {
        room.assert_one_stream(party);
        let heard = room.heard(party, 0..8000).len() / 8;
        assert!(heard.abs_diff(8000) <= 60, "{party} got {heard} ms of 8000");
    }
    // Back on the packets' way: each leaves when it came.
    assert!(room.sim.sent_on(room.leg(0)).iter().filter(|sent| sent.at_ms > 5040).all(|sent| sent.at_ms % 20 == 3));
}

#[test]
fn a_hundred_changes_shift_no_timestamp() {
    let mut room = Room::new(3);
    for n in 0..100u64 {
        if n % 2 == 0 {
            room.bridge(0, 1)
        } else {
            room.mix_all()
        }
        // Each change at another moment of the 20 ms.
        room.talk_to((n + 1) * 200);
        room.sim.advance_to((n + 1) * 200 + n % 20);
    }
    room.assert_one_stream(0);
    room.assert_one_stream(1);
}

#[test]
fn who_comes_late_is_heard_and_who_closes_is_gone() {
    let mut room = Room::new(4);
    room.mix(&[(0, &[1, 2]), (1, &[0, 2]), (2, &[0, 1])]);
    room.talk_to(2000);
    room.mix_all();
    room.talk_to(4000);
    room.assert_hears(0, &[1, 2, 3], 3000..4000);
    room.assert_hears(3, &[0, 1, 2], 3000..4000);
    let leg = room.leg(1);
    room.sim.command(Command::CloseLeg { leg });
    room.talk_to(6000);
    room.assert_hears(0, &[2, 3], 5000..6000);
    room.assert_hears(3, &[0, 2], 5000..6000);
    assert!(room.heard(1, 4020..6000).is_empty());
    [0, 2, 3].iter().for_each(|&n| room.assert_one_stream(n));
}

#[test]
fn who_is_on_hold_neither_hears_nor_is_heard_and_comes_back() {
    let mut room = Room::new(3);
    room.mix_all();
    room.talk_to(2000);
    configure(&mut room, 1, |params| (params.send, params.recv) = (false, false));
    room.talk_to(4000);
    configure(&mut room, 1, |_| {});
    room.talk_to(6000);
    room.assert_hears(0, &[1, 2], 1000..2000);
    room.assert_hears(0, &[2], 2500..4000);
    assert!(room.heard(1, 2001..4000).is_empty());
    room.assert_hears(0, &[1, 2], 5000..6000);
    room.assert_hears(1, &[0, 2], 5000..6000);
    (0..3).for_each(|n| room.assert_one_stream(n));
}

#[test]
fn a_prompt_for_one_member_leaves_the_others_alone() {
    let mut room = Room::new(3);
    let beep: Vec<i16> =
        (0..8000).map(|n| ((f64::from(n) * 0.55 * std::f64::consts::PI).sin() * 8000.0) as i16).collect();
    room.mix_all();
    room.talk_to(2000);
    let citizen = room.leg(0);
    room.sim.play(citizen, 7, beep, false);
    room.talk_to(5000);
    let prompt = room.heard(0, 2040..3000);
    assert!(amplitude_at(&prompt, 2200.0) > 7500.0 && amplitude_at(&prompt, 1000.0) < 25.0);
    room.assert_hears(1, &[0, 2], 1000..5000);
    room.assert_hears(0, &[1, 2], 3100..5000);
    let done = room.sim.events.iter().find(|(_, event)| matches!(event, Event::PlayDone { play_id: 7, .. })).unwrap();
    assert!(done.0.abs_diff(3000) <= 40, "{} ms", done.0);
    room.assert_one_stream(0);
}

#[test]
fn a_prompt_that_plays_while_the_mix_begins_and_ends_goes_on() {
    let mut room = Room::new(3);
    let citizen = room.leg(0);
    room.sim.play(citizen, 1, vec![4000; 8 * 3000], false);
    room.talk_to(1000);
    room.mix_all();
    room.talk_to(2000);
    room.sim.command(Command::Unbridge { leg: citizen });
    room.talk_to(4000);
    let frames = room.sim.sent_on(citizen).len();
    assert_eq!(frames, 150);
    room.assert_one_stream(0);
}

#[test]
fn digits_are_reported_once_and_made_anew_for_those_who_hear_them() {
    let mut room = Room::new(4);
    // Party 3 hears 0 but takes no events, party 2 takes them but doesn't hear 0.
    room.mix(&[(0, &[1, 3]), (1, &[0, 3]), (2, &[1, 3]), (3, &[0, 1])]);
    configure(&mut room, 3, |params| params.dtmf_pt = None);
    room.talk_to(1000);
    room.parties[0].is_talking = false;
    let (leg, address) = (room.leg(0), room.parties[0].phone.address);
    let start = room.parties[0].phone.header;
    for n in 1..=8u16 {
        let payload = EventPayload { event: 5, end: n > 5, volume: 10, duration: n.min(5) * 160 };
        let mut bytes = Vec::new();
        let header = hotline_media::rtp::Header {
            payload_type: 101,
            marker: n == 1,
            seq: start.seq.wrapping_add(n - 1),
            ..start
        };
        header.write(&mut bytes);
        bytes.extend_from_slice(&payload.bytes());
        room.sim.rtp(leg, address, &bytes);
        room.talk_to(1000 + u64::from(n) * 20);
    }
    room.parties[0].phone.header.seq = start.seq.wrapping_add(8);
    room.parties[0].phone.header.timestamp = start.timestamp.wrapping_add(1280);
    room.parties[0].is_talking = true;
    room.talk_to(3000);
    assert_eq!(room.sim.digits(), "5");
    let events = |party: usize| -> Vec<EventPayload> {
        let sent = room.sim.sent_on(room.leg(party));
        let events = sent.iter().map(Sent::packet).filter(|packet| packet.header.payload_type == 101);
        events.map(|packet| EventPayload::parse(packet.payload).unwrap()).collect()
    };
    let made = events(1);
    assert_eq!((made.len(), made.iter().filter(|event| event.end).count()), (8, 3));
    assert!(made.iter().all(|event| event.event == 5) && made.last().unwrap().duration == 800);
    assert!(events(0).is_empty() && events(2).is_empty() && events(3).is_empty());
    room.assert_hears(1, &[0, 3], 2000..3000);
    room.assert_one_stream(1);
}

/// What a party's phone takes the events for that it is sent.
#[allow(clippy::disallowed_methods, reason = "a test needs some instant to begin at")]
fn digits_at(room: &Room, party: usize) -> String {
    let (mut receiver, mut digits) = (Receiver::default(), String::new());
    let start = std::time::Instant::now();
    for sent in room.sim.sent_on(room.leg(party)) {
        let packet = sent.packet();
        let now = start + std::time::Duration::from_millis(sent.at_ms);
        digits.extend(receiver.handle_timeout(now).map(|digit| digit.digit));
        if packet.header.payload_type == 101 {
            let taken = receiver.receive(now, packet.header.ssrc, packet.header.timestamp, packet.payload);
            digits.extend(taken.into_iter().flatten().map(|digit| digit.digit));
        }
    }
    digits
}

#[test]
fn a_key_held_while_somebody_joins_or_leaves_is_one_digit_for_everybody() {
    for is_joining in [true, false] {
        let mut room = Room::new(3);
        let connect = |room: &mut Room, with_third: bool| if with_third { room.mix_all() } else { room.bridge(0, 1) };
        connect(&mut room, !is_joining);
        room.talk_to(1000);
        room.parties[0].is_talking = false;
        let (leg, address) = (room.leg(0), room.parties[0].phone.address);
        let start = room.parties[0].phone.header;
        for n in 1..=23u16 {
            let payload = EventPayload { event: 5, end: n > 20, volume: 10, duration: n.min(20) * 160 };
            let mut bytes = Vec::new();
            let seq = start.seq.wrapping_add(n - 1);
            hotline_media::rtp::Header { payload_type: 101, marker: n == 1, seq, ..start }.write(&mut bytes);
            bytes.extend_from_slice(&payload.bytes());
            room.sim.rtp(leg, address, &bytes);
            room.talk_to(1000 + u64::from(n) * 20);
            if n == 5 {
                connect(&mut room, is_joining);
            }
        }
        let header = &mut room.parties[0].phone.header;
        (header.seq, header.timestamp) = (start.seq.wrapping_add(23), start.timestamp.wrapping_add(23 * 160));
        room.parties[0].is_talking = true;
        room.talk_to(3000);
        assert_eq!(room.sim.digits(), "5");
        assert_eq!(digits_at(&room, 1), "5", "is_joining: {is_joining}");
        assert_eq!(digits_at(&room, 2), if is_joining { "5" } else { "" });
        room.assert_hears(1, if is_joining { &[0, 2] } else { &[0] }, 2200..3000);
        room.assert_one_stream(1);
    }
}

#[test]
fn the_recording_holds_every_stage_in_its_place() {
    let mut room = Room::new(3);
    let citizen = room.leg(0);
    room.sim.record(citizen, 60_000);
    room.bridge(0, 1);
    room.talk_to(2000);
    room.mix(&[(0, &[1]), (1, &[0]), (2, &[0, 1])]);
    room.talk_to(4000);
    room.mix(&[(0, &[1]), (1, &[0, 2]), (2, &[0, 1])]);
    room.talk_to(6000);
    room.mix_all();
    room.talk_to(8000);
    room.bridge(0, 1);
    room.talk_to(10_000);
    room.sim.command(Command::StopRecord { leg: citizen });
    let (finish, frames) = &room.sim.finished[0];
    assert_eq!((finish.duration_ms(), finish.gaps_ms), (10_000, 0));
    let (left, right) = (channel(frames, 0), channel(frames, 1));
    for second in 0..10usize {
        // 100 ms on both sides belong to the change.
        let range = second * 8000 + 800..(second + 1) * 8000 - 800;
        let citizen = amplitude_at(&left[range.clone()], TONES[0]);
        assert!(citizen > 7500.0, "second {second}: {citizen}");
        let [operator, supervisor] = [1, 2].map(|n| amplitude_at(&right[range.clone()], TONES[n]));
        assert!(operator > 7500.0, "second {second}: {operator}");
        let is_barging = (6..8).contains(&second);
        assert!(if is_barging { supervisor > 7500.0 } else { supervisor < 25.0 }, "second {second}: {supervisor}");
    }
}

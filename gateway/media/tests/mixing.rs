//! Who hears whom in a mix, and that a plain talk stays a plain talk whoever listens to it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]
mod common;
#[path = "common/room.rs"]
mod room;

use hotline_media::{
    engine::{Command, Event},
    limits::MIX_MEMBERS_MAX,
    mixer::MatrixError,
};
use room::*;

const CITIZEN: usize = 0;
const OPERATOR: usize = 1;
const SUPERVISOR: usize = 2;

#[test]
fn three_hear_each_other_and_not_themselves() {
    let mut room = Room::new(3);
    room.mix_all();
    room.talk_to(3000);
    room.assert_hears(0, &[1, 2], 1000..3000);
    room.assert_hears(1, &[0, 2], 1000..3000);
    room.assert_hears(2, &[0, 1], 1000..3000);
    (0..3).for_each(|n| room.assert_one_stream(n));
}

#[test]
fn who_listens_hears_both_and_is_heard_by_nobody() {
    let mut room = Room::new(3);
    room.mix(&[(CITIZEN, &[OPERATOR]), (OPERATOR, &[CITIZEN]), (SUPERVISOR, &[CITIZEN, OPERATOR])]);
    room.talk_to(3000);
    room.assert_hears(CITIZEN, &[OPERATOR], 1000..3000);
    room.assert_hears(OPERATOR, &[CITIZEN], 1000..3000);
    room.assert_hears(SUPERVISOR, &[CITIZEN, OPERATOR], 1000..3000);
}

#[test]
fn a_whisper_reaches_the_operator_and_a_barge_everybody() {
    let mut room = Room::new(3);
    room.mix(&[(CITIZEN, &[OPERATOR]), (OPERATOR, &[CITIZEN, SUPERVISOR]), (SUPERVISOR, &[CITIZEN, OPERATOR])]);
    room.talk_to(3000);
    room.assert_hears(CITIZEN, &[OPERATOR], 1000..3000);
    room.assert_hears(OPERATOR, &[CITIZEN, SUPERVISOR], 1000..3000);
    room.assert_hears(SUPERVISOR, &[CITIZEN, OPERATOR], 1000..3000);
    room.mix_all();
    room.talk_to(6000);
    room.assert_hears(CITIZEN, &[OPERATOR, SUPERVISOR], 4000..6000);
    room.assert_hears(OPERATOR, &[CITIZEN, SUPERVISOR], 4000..6000);
    room.assert_hears(SUPERVISOR, &[CITIZEN, OPERATOR], 4000..6000);
    (0..3).for_each(|n| room.assert_one_stream(n));
}

/// Everything the citizen is sent, to the bit and the millisecond, while a supervisor does `act`.
fn citizen_hears(act: impl Fn(&mut Room)) -> Vec<(u64, Vec<u8>)> {
    let mut room = Room::new(3);
    room.bridge(CITIZEN, OPERATOR);
    room.talk_to(1000);
    act(&mut room);
    room.talk_to(2000);
    room.bridge(CITIZEN, OPERATOR);
    room.talk_to(3000);
    room.sim.sent_on(room.leg(CITIZEN)).into_iter().map(|sent| (sent.at_ms, sent.bytes)).collect()
}

#[test]
fn the_citizen_cannot_tell_whether_anybody_listens_or_whispers() {
    let alone = citizen_hears(|_| {});
    assert_eq!(alone.len(), 150);
    let listened = citizen_hears(|room| {
        room.mix(&[(CITIZEN, &[OPERATOR]), (OPERATOR, &[CITIZEN]), (SUPERVISOR, &[CITIZEN, OPERATOR])]);
    });
    assert!(listened == alone, "listening changes a packet");
    let whispered = citizen_hears(|room| {
        room.mix(&[(CITIZEN, &[OPERATOR]), (OPERATOR, &[CITIZEN, SUPERVISOR]), (SUPERVISOR, &[CITIZEN, OPERATOR])]);
    });
    assert!(whispered == alone, "a whisper changes a packet");
}

#[test]
fn a_whisper_leaves_a_mixed_listener_to_the_bit_as_it_was() {
    let run = |is_whispering: bool| {
        let mut room = Room::new(4);
        room.parties[3].is_talking = is_whispering;
        // The citizen hears two, so everything it hears is mixed; party 3 whispers to the operator.
        room.mix(&[(0, &[1, 2]), (1, &[0, 2, 3]), (2, &[0, 1]), (3, &[0, 1, 2])]);
        room.talk_to(3000);
        room.assert_hears(1, if is_whispering { &[0, 2, 3] } else { &[0, 2] }, 1000..3000);
        room.heard(0, 0..3000)
    };
    assert!(run(true) == run(false));
}

#[test]
fn eight_are_mixed_and_a_ninth_is_refused() {
    let mut room = Room::new(MIX_MEMBERS_MAX + 1);
    let rows: Vec<usize> = (0..MIX_MEMBERS_MAX).collect();
    // Seven sines at once: each is asked to be quieter, so that their sum needs no limiter.
    let pairs: Vec<(usize, [usize; 2])> = rows.iter().map(|&n| (n, [(n + 1) % 8, (n + 3) % 8])).collect();
    let rows: Vec<(usize, &[usize])> = pairs.iter().map(|(n, hears)| (*n, hears.as_slice())).collect();
    room.mix(&rows);
    room.talk_to(2000);
    for (n, hears) in &pairs {
        room.assert_hears(*n, hears, 1000..2000);
    }
    room.mix_all();
    let refused = Event::MixRefused { leg: room.leg(0), reason: MatrixError::TooMany };
    assert_eq!(room.sim.events.last().map(|(_, event)| event), Some(&refused));
    room.talk_to(3000);
    for (n, hears) in &pairs {
        room.assert_hears(*n, hears, 2000..3000);
    }
    room.assert_hears(8, &[], 0..3000);
}

#[test]
fn rows_that_are_no_mix_change_nothing() {
    let mut room = Room::new(3);
    room.bridge(0, 1);
    room.talk_to(1000);
    room.mix(&[(0, &[1, 2]), (1, &[0])]);
    room.mix(&[(0, &[1]), (1, &[0]), (0, &[])]);
    let reasons: Vec<_> = room
        .sim
        .events
        .iter()
        .filter_map(|(_, event)| if let Event::MixRefused { reason, .. } = event { Some(*reason) } else { None })
        .collect();
    assert_eq!(reasons, [MatrixError::Stranger, MatrixError::Twice]);
    room.talk_to(2000);
    room.assert_hears(0, &[1], 100..2000);
    room.assert_hears(1, &[0], 100..2000);
    room.assert_hears(2, &[], 0..2000);
}

#[test]
fn a_leg_that_closed_before_the_order_came_is_left_out() {
    let mut room = Room::new(3);
    let gone = room.leg(2);
    room.sim.command(Command::CloseLeg { leg: gone });
    room.mix_all();
    room.talk_to(1000);
    room.assert_hears(0, &[1], 100..1000);
    room.assert_hears(1, &[0], 100..1000);
    let times: Vec<u64> = room.sim.sent_on(room.leg(0)).iter().map(|sent| sent.at_ms % 20).collect();
    assert!(times.iter().all(|ms| *ms == 3), "two who are left are a plain bridge: packets leave as they come");
}

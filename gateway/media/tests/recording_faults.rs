//! What networks, clocks and phones do to a call, and what its recording makes of it: each second's tick
//! of both sides lies within 20 ms of its place, and the length is right.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]
mod common;

use std::sync::Arc;

use common::{
    params,
    world::{Habit, Network, World},
};
use hotline_media::{
    Clip, Codec, LegId,
    engine::{Command, MixRow},
    recorder::WavFormat,
    tone,
};

/// Where talkers stand in a call of two, and their channels.
const CITIZEN: usize = 0;
const OPERATOR: usize = 1;
const LEFT: usize = 0;
const RIGHT: usize = 1;

#[test]
fn loss_jitter_reordering_and_skew_together_for_ten_minutes() {
    let mut world = World::call();
    world.talkers[CITIZEN].ppm = 100;
    world.talkers[CITIZEN].network =
        Network { loss_percent: 15, jitter_us: 60_000, reorder_percent: 1, duplicate_percent: 2 };
    world.talkers[OPERATOR].ppm = -100;
    world.end(600_000);
    // In the first second the first packet's own delay is made up for.
    world.assert_ticks(LEFT, CITIZEN, 1..599, 480);
    world.assert_ticks(RIGHT, OPERATOR, 0..599, 599);
}

#[test]
fn either_side_may_be_the_lossy_one() {
    let mut world = World::call();
    world.talkers[OPERATOR].network =
        Network { loss_percent: 15, jitter_us: 60_000, reorder_percent: 1, duplicate_percent: 5 };
    world.end(60_000);
    world.assert_ticks(LEFT, CITIZEN, 0..59, 59);
    world.assert_ticks(RIGHT, OPERATOR, 1..59, 40);
}

#[test]
fn skewed_clocks_keep_their_places_for_ten_minutes() {
    for ppm in [100, 500] {
        let mut world = World::call();
        (world.talkers[CITIZEN].ppm, world.talkers[OPERATOR].ppm) = (ppm, -ppm);
        world.end(600_000);
        world.assert_ticks(LEFT, CITIZEN, 0..599, 598);
        world.assert_ticks(RIGHT, OPERATOR, 0..599, 598);
    }
}

#[test]
fn both_channels_are_aligned_within_20_ms_after_an_hour() {
    let mut world = World::new(WavFormat::Alaw);
    world.join(2, 0);
    world.bridge(1, 2);
    let jitter = Network { jitter_us: 20_000, ..Network::default() };
    (world.talkers[CITIZEN].ppm, world.talkers[OPERATOR].ppm) = (120, -120);
    (world.talkers[CITIZEN].network, world.talkers[OPERATOR].network) = (jitter, jitter);
    world.end(3_600_000);
    // Both tick at the same instant.
    let (left, right) = (world.errors(LEFT, CITIZEN, 1..3599), world.errors(RIGHT, OPERATOR, 1..3599));
    assert_eq!((left.len(), right.len()), (3598, 3598));
    let worst = left.iter().zip(&right).map(|(left, right)| (left.1 - right.1).abs()).max().unwrap();
    assert!(worst <= 160, "{worst} samples apart");
    world.assert_ticks(LEFT, CITIZEN, 1..3599, 3598);
}

#[test]
fn a_tone_through_a_skewed_clock_has_no_click() {
    for ppm in [-500, 500] {
        let mut world = World::call();
        (world.talkers[CITIZEN].ppm, world.talkers[CITIZEN].hums) = (ppm, true);
        world.end(60_000);
        // A sine obeys x[n+1] = 2 cos(w) x[n] - x[n-1]; a sample doubled or left out breaks it by half the
        // amplitude, G.711 by a twentieth.
        let twice_cos = 2.0 * (1000.0 * std::f64::consts::TAU / 8000.0).cos();
        let at = |frame: usize| f64::from(world.sample(LEFT, frame));
        let mut worst = (0.0f64, 0);
        for frame in 8000..59 * 8000 {
            let off = (at(frame + 1) - twice_cos * at(frame) + at(frame - 1)).abs();
            worst = if off > worst.0 { (off, frame) } else { worst };
        }
        assert!(worst.0 < 0.12 * 8000.0, "{worst:?} at {ppm} ppm");
        let level = tone::amplitude_at(&(80_000..88_000).map(|n| world.sample(LEFT, n)).collect::<Vec<_>>(), 1000.0);
        assert!((7000.0..=8100.0).contains(&level), "{level}");
    }
}

#[test]
fn jumps_of_ssrc_number_and_timestamp_shift_nothing() {
    let mut world = World::call();
    for step in 0..12u64 {
        world.run_to(3_250 + step * 4_000);
        for (side, talker) in world.talkers.iter_mut().enumerate() {
            let header = &mut talker.header;
            match step % 6 {
                0 => header.ssrc = 7_000 + step as u32,
                1 => header.timestamp = header.timestamp.wrapping_add(700_000),
                2 => header.timestamp = header.timestamp.wrapping_sub(5_000_000),
                3 => header.seq = header.seq.wrapping_add(20_000),
                // What we send the citizen stays ahead by as much; of packets lost right then the length is not known.
                4 if side == CITIZEN => header.timestamp = header.timestamp.wrapping_add(4_000),
                4 => {}
                _ => (header.ssrc, header.seq, header.timestamp) = (step as u32, 5, 5),
            }
        }
    }
    world.end(60_000);
    world.assert_ticks(LEFT, CITIZEN, 0..59, 59);
    world.assert_ticks(RIGHT, OPERATOR, 0..59, 59);
}

#[test]
fn a_reinvite_that_changes_direction_and_address_shifts_nothing() {
    let mut world = World::call();
    world.run_to(10_250);
    // The citizen goes to another address …
    let mut moved = params("10.9.9.9:5000", Codec::Pcma);
    world.configure(1, moved.clone());
    world.talkers[CITIZEN].address = common::addr("10.9.9.9:5000");
    world.run_to(20_250);
    // … is silenced for a while …
    (moved.recv, moved.send) = (false, false);
    world.configure(1, moved.clone());
    world.run_to(30_250);
    (moved.recv, moved.send) = (true, true);
    world.configure(1, moved);
    world.end(60_000);
    world.assert_ticks(LEFT, CITIZEN, 0..20, 20);
    world.assert_ticks(LEFT, CITIZEN, 31..59, 28);
    world.assert_ticks(RIGHT, OPERATOR, 0..20, 20);
    world.assert_ticks(RIGHT, OPERATOR, 31..59, 28);
    assert_eq!((world.peak(LEFT, 20_400, 30_200), world.peak(RIGHT, 20_400, 30_200)), (0, 0));
}

#[test]
fn a_hold_with_and_without_running_timestamps_has_the_music_on_the_right() {
    for habit in [Habit::Rests, Habit::Stops] {
        let mut world = World::call();
        world.run_to(10_250);
        world.command(Command::Unbridge { leg: LegId(1) });
        let clips = vec![Arc::new(Clip::from_samples(tone::sine(425.0, 1000)))];
        world.command(Command::Play { leg: LegId(1), play_id: 1, clips, repeat: true });
        (world.talkers[CITIZEN].habit, world.talkers[OPERATOR].habit) = (habit, habit);
        world.run_to(40_250);
        world.command(Command::StopPlay { leg: LegId(1) });
        world.bridge(1, 2);
        (world.talkers[CITIZEN].habit, world.talkers[OPERATOR].habit) = (Habit::Talks, Habit::Talks);
        world.end(60_000);
        for (channel, talker) in [(LEFT, CITIZEN), (RIGHT, OPERATOR)] {
            world.assert_ticks(channel, talker, 0..10, 10);
            world.assert_ticks(channel, talker, 42..59, 17);
        }
        assert_eq!(world.peak(LEFT, 10_400, 40_200), 0);
        let music: Vec<i16> = (12 * 8000..38 * 8000).map(|n| world.sample(RIGHT, n)).collect();
        let quiet = music.chunks(8000).filter(|second| tone::amplitude_at(second, 425.0) < 3000.0).count();
        assert_eq!(quiet, 0, "the music is there in every second");
    }
}

#[test]
fn a_transfer_replaces_the_operator_in_the_citizens_recording() {
    let mut world = World::call();
    world.run_to(20_250);
    world.command(Command::CloseLeg { leg: LegId(2) });
    world.talkers[OPERATOR].habit = Habit::Rests;
    world.run_to(23_250);
    world.join(3, 250_000);
    world.talkers[2].set_codec(Codec::Pcmu);
    world.talkers[2].ppm = 200;
    world.bridge(1, 3);
    world.end(60_000);
    world.assert_ticks(LEFT, CITIZEN, 0..59, 59);
    world.assert_ticks(RIGHT, OPERATOR, 0..19, 19);
    world.assert_ticks(RIGHT, 2, 25..59, 34);
    assert_eq!(world.peak(RIGHT, 20_600, 23_200), 0);
}

#[test]
fn a_change_of_law_during_the_call_shifts_nothing() {
    let mut world = World::call();
    for step in 1..12 {
        world.run_to(step * 5_000 + 250);
        let codec = if step % 2 == 0 { Codec::Pcma } else { Codec::Pcmu };
        world.talkers[CITIZEN].set_codec(codec);
        world.talkers[OPERATOR].set_codec(codec);
    }
    world.end(60_000);
    world.assert_ticks(LEFT, CITIZEN, 0..59, 59);
    world.assert_ticks(RIGHT, OPERATOR, 0..59, 59);
    // What is said in either law is as loud.
    for second in 0..59 {
        let peak = world.peak(LEFT, second * 1000, second * 1000 + 100);
        assert!((7600..=8300).contains(&peak), "{peak} in second {second}");
    }
}

#[test]
fn gaps_of_discontinuous_transmission_stay_silent_and_shift_nothing() {
    let mut world = World::call();
    world.talkers[CITIZEN].ppm = 100;
    // Talkspurts of some 0.2 s around each tick; in between comfort noise (RFC 3389) now and then.
    for second in 0..60u64 {
        world.run_to(second * 1000 + 110);
        world.talkers[CITIZEN].habit = Habit::Rests;
        world.run_to(second * 1000 + 500);
        let mut header = world.talkers[CITIZEN].header;
        header.payload_type = 13;
        let mut noise = Vec::new();
        header.write(&mut noise);
        noise.push(70);
        world.talkers[CITIZEN].header.seq = header.seq.wrapping_add(1);
        world.deliver(CITIZEN, &noise);
        world.run_to(second * 1000 + 890);
        world.talkers[CITIZEN].habit = Habit::Talks;
        world.talkers[CITIZEN].header.marker = true;
    }
    world.end(60_000);
    world.assert_ticks(LEFT, CITIZEN, 0..59, 59);
    assert_eq!(world.peak(LEFT, 30_200, 30_860), 0);
    world.assert_ticks(RIGHT, OPERATOR, 0..59, 59);
}

#[test]
fn packets_of_10_30_and_60_ms_find_their_places() {
    for ptime_ms in [10, 30, 60] {
        let mut world = World::call();
        (world.talkers[CITIZEN].ptime_ms, world.talkers[CITIZEN].ppm) = (ptime_ms, 300);
        (world.talkers[OPERATOR].ptime_ms, world.talkers[OPERATOR].ppm) = (ptime_ms, -300);
        world.run_to(60_250);
        // And a change during the call.
        (world.talkers[CITIZEN].ptime_ms, world.talkers[OPERATOR].ptime_ms) = (20, 20);
        world.end(120_000);
        world.assert_ticks(LEFT, CITIZEN, 0..119, 118);
        world.assert_ticks(RIGHT, OPERATOR, 0..119, 118);
    }
}

#[test]
fn what_is_said_in_a_pause_is_nowhere_even_if_it_comes_late() {
    let mut world = World::call();
    for talker in &mut world.talkers {
        talker.hums = true;
        talker.network = Network { jitter_us: 90_000, reorder_percent: 5, duplicate_percent: 5, loss_percent: 3 };
    }
    for round in 0..5u64 {
        world.run_to(round * 10_000 + 4_000);
        world.command(Command::PauseRecord { leg: LegId(1), paused: true });
        // Once more is no second pause.
        world.command(Command::PauseRecord { leg: LegId(1), paused: true });
        world.run_to(round * 10_000 + 6_000 + round);
        world.command(Command::PauseRecord { leg: LegId(1), paused: false });
    }
    world.end(60_000);
    let ranges = world.finish.as_ref().unwrap().paused_ranges.clone();
    let expected: Vec<_> = (0..5).map(|round| (round * 10_000 + 4_000, round * 10_000 + 6_000 + round)).collect();
    assert_eq!(ranges, expected);
    for (from, to) in ranges {
        assert_eq!((world.peak(LEFT, from, to), world.peak(RIGHT, from, to)), (0, 0));
        assert!(world.peak(LEFT, from - 200, from) > 7000 && world.peak(LEFT, to, to + 200) > 7000);
    }
}

#[test]
fn an_alaw_recording_of_an_alaw_call_is_that_call_bit_by_bit() {
    let mut world = World::new(WavFormat::Alaw);
    world.join(2, 0);
    world.bridge(1, 2);
    (world.talkers[CITIZEN].hums, world.talkers[OPERATOR].hums) = (true, false);
    world.end(10_000);
    assert_eq!(world.bytes().len(), 160_000);
    let hum = |n: usize| ((n as f64 / 8.0 * std::f64::consts::TAU).sin() * 8000.0) as i16;
    let wrong = world.bytes().as_chunks::<2>().0.iter().enumerate().take(79_000).filter(|(n, frame)| {
        let tick = if n % 8000 < 320 { hum(*n) } else { 0 };
        **frame != [hum(*n), tick].map(hotline_media::codec::linear_to_alaw)
    });
    assert_eq!(wrong.count(), 0);
}

#[test]
fn a_fast_clock_costs_no_word_when_a_mix_takes_over() {
    let mut world = World::call();
    world.talkers[OPERATOR].ppm = -500;
    world.talkers[OPERATOR].hums = true;
    // 300 ms ahead of our clock by then.
    world.run_to(600_000);
    world.join(3, 0);
    let row = |leg: u64, hears: [u64; 2]| MixRow { leg: LegId(leg), hears: hears.map(LegId).to_vec() };
    world.command(Command::Mix { rows: vec![row(1, [2, 3]), row(2, [1, 3]), row(3, [1, 2])] });
    world.run_to(610_000);
    world.bridge(1, 2);
    world.end(620_000);
    let silent: Vec<u64> = (1000..31_000).filter(|n| world.peak(RIGHT, n * 20, n * 20 + 20) < 4000).collect();
    assert!(silent.len() <= 4, "nothing of the operator at 20 ms x {silent:?}");
}

//! Loss, reordering, duplicates, jitter, jumps and late packets: the recording keeps its length and places.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]
mod common;

use common::*;
use hotline_media::{Codec, engine::Command};

const SECONDS: u64 = 20;

/// Sends one loud 200 ms burst each second through a bad network; returns the left channel.
fn through(mut network: impl FnMut(u64, &mut Phone, &mut Lcg) -> Vec<u64>) -> (Sim, Vec<i16>) {
    let mut sim = Sim::new();
    let a = sim.leg(1, "10.0.0.1:4000", Codec::Pcma);
    let mut phone = Phone::new("10.0.0.1:4000", Codec::Pcma, 440.0);
    let mut lcg = Lcg(7);
    let mut arrivals: Vec<(u64, Vec<u8>)> = Vec::new();
    for n in 0..SECONDS * 50 {
        let copies = network(n, &mut phone, &mut lcg);
        let packet = phone.packet_of(n % 50 < 10);
        arrivals.extend(copies.into_iter().map(|delay_ms| (n * 20 + delay_ms, packet.clone())));
    }
    arrivals.retain(|(at, _)| *at < SECONDS * 1000);
    arrivals.sort_by_key(|(at, _)| *at);
    sim.record(a, 600_000);
    for (at, packet) in arrivals {
        sim.advance_to(at);
        sim.rtp(a, phone.address, &packet);
    }
    sim.advance_to(SECONDS * 1000);
    sim.command(Command::StopRecord { leg: a });
    let left = channel(&sim.finished[0].1, 0);
    (sim, left)
}

fn assert_in_place(sim: &Sim, left: &[i16], tolerance_ms: u64) {
    assert_eq!(sim.finished[0].0.duration_ms(), SECONDS * 1000);
    assert_eq!(left.len() as u64, SECONDS * 8000);
    let onsets = onsets(left);
    assert_eq!(onsets.len() as u64, SECONDS, "{onsets:?}");
    for (second, onset) in onsets.iter().enumerate() {
        let off_ms = (*onset as i64 / 8 - second as i64 * 1000).unsigned_abs();
        assert!(off_ms <= tolerance_ms, "burst {second} is {off_ms} ms off");
    }
}

#[test]
fn fifteen_percent_loss_neither_shifts_nor_shortens() {
    // Packets are 20 ms: losing the first of a burst shows as an onset 20 ms late, or a few times that.
    let (sim, left) = through(|_, _, lcg| if lcg.below(100) < 15 { vec![] } else { vec![0] });
    assert_in_place(&sim, &left, 60);
    let lost = SECONDS * 50 - sim.engine.totals().packets_in;
    assert!(lost > 100, "{lost}");
}

#[test]
fn jitter_reordering_and_duplicates_change_nothing() {
    let (sim, left) = through(|_, _, lcg| {
        let delay_ms = u64::from(lcg.below(90));
        if lcg.below(10) == 0 { vec![delay_ms, delay_ms + 15] } else { vec![delay_ms] }
    });
    assert_in_place(&sim, &left, 90);
    let spacing: Vec<usize> = onsets(&left).windows(2).map(|pair| pair[1] - pair[0]).collect();
    // After the first packets have shown the least delay, every burst is exactly in its place.
    assert!(spacing[2..].iter().filter(|gap| **gap == 8000).count() >= spacing.len() - 4, "{spacing:?}");
    assert!(sim.engine.totals().dropped_other > 50, "duplicates are counted");
}

#[test]
fn ssrc_and_timestamp_jumps_keep_the_place() {
    let (sim, left) = through(|n, phone, _| {
        match n {
            275 => phone.header.ssrc = 999,
            425 => phone.header.timestamp = phone.header.timestamp.wrapping_add(700_000),
            575 => phone.header.timestamp = phone.header.timestamp.wrapping_sub(5_000_000),
            725 => phone.header.seq = phone.header.seq.wrapping_add(20_000),
            875 => (phone.header.ssrc, phone.header.seq, phone.header.timestamp) = (5, 5, 5),
            _ => {}
        }
        vec![0]
    });
    assert_in_place(&sim, &left, 20);
}

#[test]
fn a_packet_700_ms_late_is_still_placed_and_one_much_later_is_not() {
    let (sim, left) = through(|n, _, _| match n {
        250 => vec![700],
        500 => vec![1200],
        _ => vec![0],
    });
    assert_in_place(&sim, &left, 20);
    // A packet's audio lies before its arrival.
    let loud = |n: usize| left[(n - 1) * 160..n * 160].iter().any(|sample| sample.unsigned_abs() > 1500);
    assert!(loud(250), "placed although its second was on disk already");
    assert!(!loud(500) && loud(501));
    assert_eq!(sim.engine.totals().late, 1);
}

/// Frames of 20 ms that are not as loud as they were sent, the edges of bursts aside.
fn wrong_frames(left: &[i16], frames: std::ops::Range<usize>) -> Vec<usize> {
    let is_loud = |n: usize| left[(n - 1) * 160..n * 160].iter().any(|sample| sample.unsigned_abs() > 1500);
    let is_wrong = |n: &usize| match n % 50 {
        0 | 9 | 10 | 49 => false,
        into => is_loud(*n) != (into < 9),
    };
    frames.filter(is_wrong).collect()
}

#[test]
fn a_burst_after_a_stall_of_any_length_keeps_all_that_the_window_holds() {
    for stall_ms in [500u64, 780, 820, 1000, 2000, 5000] {
        let (begin, end) = (475, 475 + stall_ms / 20);
        let (sim, left) = through(|n, _, _| vec![if (begin..end).contains(&n) { (end - n) * 20 } else { 0 }]);
        assert_eq!(sim.finished[0].0.duration_ms(), SECONDS * 1000);
        // What is older than the window is lost, and nothing else lies there.
        let lost_until = begin.max(end.saturating_sub(800 / 20 - 1)) as usize;
        assert_eq!(wrong_frames(&left, 1..begin as usize), [0usize; 0], "before the stall of {stall_ms} ms");
        assert_eq!(wrong_frames(&left, lost_until..990), [0usize; 0], "after the stall of {stall_ms} ms");
        let onsets = onsets(&left);
        assert!(onsets.iter().all(|onset| (onset / 8 + 40) % 1000 <= 60), "{stall_ms} ms: {onsets:?}");
    }
}

#[test]
fn a_burst_at_the_start_of_a_recording_keeps_its_order_and_finds_its_place() {
    for new_ssrc in [false, true] {
        let begin = if new_ssrc { 500 } else { 0 };
        let (sim, left) = through(|n, phone, _| {
            phone.header.ssrc = if new_ssrc && n >= begin { 77 } else { 5 };
            vec![if (begin..begin + 15).contains(&n) { (begin + 15 - n) * 20 } else { 0 }]
        });
        assert_eq!(sim.finished[0].0.duration_ms(), SECONDS * 1000);
        assert_eq!(onsets(&left).len() as u64, SECONDS);
        let first = &left[begin as usize * 160..][..50 * 160];
        let loud = first.chunks(160).filter(|frame| frame.iter().any(|sample| sample.unsigned_abs() > 1500)).count();
        assert!((9..=11).contains(&loud), "{loud} frames of the first burst");
        assert_eq!(wrong_frames(&left, begin as usize + 50..990), [0usize; 0]);
    }
}

#[test]
fn what_a_crash_can_lose_is_less_than_half_a_second() {
    let mut sim = Sim::new();
    let a = sim.leg(1, "10.0.0.1:4000", Codec::Pcma);
    let mut phone = Phone::new("10.0.0.1:4000", Codec::Pcma, 440.0);
    sim.record(a, 600_000);
    let mut worst = 0;
    for n in 0..500 {
        sim.advance_to(n * 20);
        let packet = phone.packet();
        sim.rtp(a, phone.address, &packet);
        worst = worst.max(sim.ms() - sim.stored_ms());
    }
    assert!(worst <= 400, "{worst} ms only in memory");
}

#[test]
fn the_recording_ends_by_itself_at_its_maximum() {
    let mut sim = Sim::new();
    let a = sim.leg(1, "10.0.0.1:4000", Codec::Pcma);
    sim.advance_to(30);
    sim.record(a, 1500);
    sim.record(a, 1500);
    assert!(matches!(sim.events[0].1, hotline_media::engine::Event::RecordingRefused { .. }), "one recording per leg");
    sim.advance_to(4000);
    assert_eq!(sim.finished.len(), 1);
    assert_eq!(sim.finished[0].0.duration_ms(), 1500);
    assert_eq!(sim.engine.totals().recordings, 0);
}

#[test]
fn closing_a_leg_finishes_its_recording() {
    let mut sim = Sim::new();
    let a = sim.leg(1, "10.0.0.1:4000", Codec::Pcma);
    sim.record(a, 60_000);
    sim.command(Command::PauseRecord { leg: a, paused: true });
    sim.advance_to(777);
    sim.command(Command::CloseLeg { leg: a });
    assert_eq!(sim.finished[0].0.duration_ms(), 777);
    assert_eq!(sim.finished[0].0.paused_ranges, [(0, 777)]);
    assert!(sim.engine.poll_timeout().is_none());
}

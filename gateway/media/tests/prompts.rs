//! Prompts: exact pacing, no bleed of bridged audio, ends reported, recorded on the right.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]
mod common;

use common::*;
use hotline_media::{
    Codec, codec,
    engine::{Command, Event},
    tone::{amplitude_at, sine},
};

#[test]
fn a_prompt_is_paced_by_the_clock_without_drift() {
    let mut sim = Sim::new();
    let a = sim.leg(1, "10.0.0.1:4000", Codec::Pcma);
    sim.advance_to(13);
    sim.play(a, 7, sine(450.0, 60_000), false);
    sim.advance_to(70_000);
    let sent = sim.sent_on(a);
    assert_eq!(sent.len(), 3000);
    let (first_at, first) = (sent[0].at_ms, sent[0].packet().header);
    assert!(first_at <= 33, "starts at once: {first_at}");
    for (n, sent) in sent.iter().enumerate() {
        assert_eq!(sent.at_ms, first_at + n as u64 * 20);
        assert_eq!(sent.packet().header.timestamp, first.timestamp.wrapping_add(n as u32 * 160));
        assert_eq!(sent.packet().header.marker, n == 0);
    }
    assert!(sim.events.contains(&(first_at + 60_000, Event::PlayDone { leg: a, play_id: 7 })));
}

#[test]
fn a_late_thread_catches_up_by_schedule() {
    let mut sim = Sim::new();
    let a = sim.leg(1, "10.0.0.1:4000", Codec::Pcma);
    sim.play(a, 7, sine(450.0, 2000), false);
    sim.advance_to(100);
    let before = sim.sent_on(a).len();
    sim.stall_to(200);
    let sent = sim.sent_on(a);
    assert_eq!(sent.len() - before, 5);
    let timestamps: Vec<u32> = sent
        .windows(2)
        .map(|pair| pair[1].packet().header.timestamp.wrapping_sub(pair[0].packet().header.timestamp))
        .collect();
    assert!(timestamps.iter().all(|step| *step == 160), "{timestamps:?}");
}

#[test]
fn bridged_audio_waits_while_a_prompt_plays_and_both_are_recorded() {
    let mut sim = Sim::new();
    let a = sim.leg(1, "10.0.0.1:4000", Codec::Pcma);
    let b = sim.leg(2, "10.0.0.2:4000", Codec::Pcma);
    let mut operator = Phone::new("10.0.0.2:4000", Codec::Pcma, 1000.0);
    sim.command(Command::Bridge { a, b });
    sim.record(a, 60_000);
    for n in 0..200u64 {
        sim.advance_to(n * 20);
        if n == 50 {
            sim.play(a, 1, sine(450.0, 10_000), true);
        }
        if n == 100 {
            sim.command(Command::StopPlay { leg: a });
        }
        let packet = operator.packet();
        sim.rtp(b, operator.address, &packet);
    }
    sim.advance_to(4000);
    sim.command(Command::StopRecord { leg: a });
    let right = channel(&sim.finished[0].1, 1);
    let strength = |from_ms: usize, hz| amplitude_at(&right[from_ms * 8..(from_ms + 800) * 8], hz);
    assert!(strength(100, 1000.0) > 7500.0 && strength(100, 450.0) < 200.0);
    assert!(strength(1100, 450.0) > 5500.0 && strength(1100, 1000.0) < 200.0);
    assert!(strength(2100, 1000.0) > 7500.0 && strength(2100, 450.0) < 200.0);
    assert!(!sim.events.iter().any(|(_, event)| matches!(event, Event::PlayDone { .. })), "stopped, not done");

    let sent = sim.sent_on(a);
    let mut samples = Vec::new();
    for pair in sent.windows(2) {
        let (one, two) = (pair[0].packet().header, pair[1].packet().header);
        assert_eq!(two.seq, one.seq.wrapping_add(1), "one unbroken stream");
        assert!((two.timestamp.wrapping_sub(one.timestamp) as i32) > 0);
        codec::decode_into(Codec::Pcma, pair[0].packet().payload, &mut samples);
    }
    assert!((190..=201).contains(&sent.len()), "{}", sent.len());
}

#[test]
fn a_prompt_passes_silently_while_sending_is_forbidden() {
    let mut sim = Sim::new();
    let a = sim.leg(1, "10.0.0.1:4000", Codec::Pcma);
    let mut held = params("10.0.0.1:4000", Codec::Pcma);
    held.send = false;
    sim.command(Command::Configure { leg: a, params: held });
    sim.play(a, 3, sine(450.0, 400), false);
    sim.advance_to(1000);
    assert_eq!(sim.sent_on(a).len(), 0);
    assert!(sim.events.iter().any(|(_, event)| *event == Event::PlayDone { leg: a, play_id: 3 }));
    sim.command(Command::Play { leg: a, play_id: 4, clips: vec![], repeat: true });
    sim.advance_to(1100);
    assert!(
        sim.events.iter().any(|(_, event)| *event == Event::PlayDone { leg: a, play_id: 4 }),
        "nothing to play is done"
    );
}

//! Digits that arrive as tones, on legs that ask for it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]
mod common;

use common::*;
use hotline_media::{
    Codec, LegId, LegParams,
    codec::encode_into,
    dtmf::EventPayload,
    engine::{Command, Event},
    rtp::Header,
    tone::Dual,
};

const PEER: &str = "10.0.0.1:4000";

struct Caller {
    header: Header,
}

impl Caller {
    fn send(&mut self, sim: &mut Sim, leg: LegId, samples: &[i16; 160]) {
        let mut bytes = Vec::new();
        self.header.write(&mut bytes);
        encode_into(Codec::Pcma, samples, &mut bytes);
        sim.advance_to(sim.ms() + 20);
        sim.rtp(leg, addr(PEER), &bytes);
        self.header.seq = self.header.seq.wrapping_add(1);
        self.header.timestamp = self.header.timestamp.wrapping_add(160);
    }

    /// 100 ms of the key's tones, 100 ms of silence.
    fn press(&mut self, sim: &mut Sim, leg: LegId, key: char) {
        let mut tones = Dual::dtmf(key);
        for n in 0..10 {
            let mut samples = [0; 160];
            if n < 5 {
                tones.fill(&mut samples);
            }
            self.send(sim, leg, &samples);
        }
    }

    fn event(&mut self, sim: &mut Sim, leg: LegId, timestamp: u32, end: bool, duration: u16) {
        let mut bytes = Vec::new();
        Header { payload_type: 101, timestamp, ..self.header }.write(&mut bytes);
        bytes.extend_from_slice(&EventPayload { event: 7, end, volume: 10, duration }.bytes());
        sim.rtp(leg, addr(PEER), &bytes);
        self.header.seq = self.header.seq.wrapping_add(1);
    }
}

fn world(inband_dtmf: bool) -> (Sim, LegId, Caller) {
    let mut sim = Sim::new();
    let leg = sim.leg(1, PEER, Codec::Pcma);
    sim.command(Command::Configure { leg, params: LegParams { inband_dtmf, ..params(PEER, Codec::Pcma) } });
    let header = Header { marker: false, payload_type: 8, seq: 65_530, timestamp: u32::MAX - 2000, ssrc: 5 };
    (sim, leg, Caller { header })
}

#[test]
fn keys_pressed_as_tones_are_digits_where_asked_for() {
    let (mut sim, leg, mut caller) = world(true);
    for key in "12319#*0".chars() {
        caller.press(&mut sim, leg, key);
    }
    assert_eq!(sim.digits(), "12319#*0");
    let durations = sim.events.iter().filter_map(|(_, event)| match event {
        Event::Digit { duration_ms, .. } => Some(*duration_ms),
        _ => None,
    });
    for duration_ms in durations {
        assert!((80..=130).contains(&duration_ms), "{duration_ms}");
    }
    let (mut sim, leg, mut caller) = world(false);
    caller.press(&mut sim, leg, '5');
    assert_eq!(sim.digits(), "", "nobody asked");
}

#[test]
fn a_key_that_comes_as_tone_and_event_counts_once_and_only_events_from_then_on() {
    let (mut sim, leg, mut caller) = world(true);
    let (mut tones, timestamp) = (Dual::dtmf('7'), caller.header.timestamp);
    for n in 0..5u16 {
        let mut samples = [0; 160];
        tones.fill(&mut samples);
        caller.send(&mut sim, leg, &samples);
        caller.event(&mut sim, leg, timestamp, n == 4, (n + 1) * 160);
    }
    for _ in 0..10 {
        caller.send(&mut sim, leg, &[0; 160]);
    }
    assert_eq!(sim.digits(), "7");
    sim.command(Command::Configure { leg, params: LegParams { inband_dtmf: true, ..params(PEER, Codec::Pcma) } });
    caller.press(&mut sim, leg, '8');
    assert_eq!(sim.digits(), "7", "a re-INVITE doesn't bring the tones back");
}

#[test]
fn a_tone_after_which_nothing_is_sent_is_a_digit_too() {
    let (mut sim, leg, mut caller) = world(true);
    let mut tones = Dual::dtmf('9');
    for _ in 0..5 {
        let mut samples = [0; 160];
        tones.fill(&mut samples);
        caller.send(&mut sim, leg, &samples);
    }
    assert_eq!(sim.digits(), "");
    sim.advance_to(sim.ms() + 400);
    assert_eq!(sim.digits(), "9");
    for _ in 0..5 {
        let mut samples = [0; 160];
        tones.fill(&mut samples);
        caller.send(&mut sim, leg, &samples);
    }
    sim.command(Command::CloseLeg { leg });
    assert_eq!(sim.digits(), "99", "nor is one lost when the leg closes");
}

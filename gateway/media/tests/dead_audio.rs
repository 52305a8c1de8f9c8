//! Legs that can't be heard are told of within five seconds, and quiet people are left alone.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]
mod common;

use common::*;
use hotline_media::{
    Codec, LegId, LegParams,
    engine::{AudioFault, Command, Event},
    rtcp::{self, CompoundReport, ReportBlock, SenderInfo},
};

const CITIZEN: &str = "10.0.0.1:4000";
const OPERATOR: &str = "10.0.0.2:4000";

struct Talk {
    sim: Sim,
    citizen: Phone,
    operator: Phone,
    ms: u64,
}

/// What a side sends: nothing, digital silence, a quiet room, or a voice.
#[derive(Clone, Copy, PartialEq)]
enum Says {
    Nothing,
    Silence,
    Room,
    Voice,
}

impl Talk {
    fn new() -> Self {
        let mut sim = Sim::new();
        sim.leg(1, CITIZEN, Codec::Pcma);
        sim.leg(2, OPERATOR, Codec::Pcma);
        let (citizen, operator) = (Phone::new(CITIZEN, Codec::Pcma, 440.0), Phone::new(OPERATOR, Codec::Pcma, 1000.0));
        Self { sim, citizen, operator, ms: 0 }
    }

    fn bridge(&mut self) {
        self.sim.command(Command::Bridge { a: LegId(1), b: LegId(2) });
    }

    fn run(&mut self, ms: u64, citizen: Says, operator: Says) {
        for _ in 0..ms / 20 {
            self.ms += 20;
            self.sim.advance_to(self.ms);
            for (leg, phone, says) in [(1, &mut self.citizen, citizen), (2, &mut self.operator, operator)] {
                let mut packet = phone.packet_of(says == Says::Voice);
                if says == Says::Room {
                    // ±40 of 32768: the noise of a microphone, −58 dBFS.
                    packet[12..].iter_mut().step_by(7).for_each(|code| *code = 0xD7);
                    packet[15..].iter_mut().step_by(7).for_each(|code| *code = 0x57);
                }
                if says != Says::Nothing {
                    self.sim.rtp(LegId(leg), phone.address, &packet);
                }
            }
        }
    }

    fn faults(&self) -> Vec<(u64, u64, AudioFault, bool)> {
        let of = |(at, event): &(u64, Event)| match event {
            Event::Audio { leg, fault, lasted_ms } => Some((*at, leg.0, *fault, lasted_ms.is_some())),
            _ => None,
        };
        self.sim.events.iter().filter_map(of).collect()
    }
}

#[test]
fn a_dead_microphone_is_noticed_within_five_seconds_and_its_repair_too() {
    let mut talk = Talk::new();
    talk.run(3_000, Says::Voice, Says::Nothing);
    let start = talk.ms;
    talk.bridge();
    talk.run(8_000, Says::Voice, Says::Silence);
    let faults = talk.faults();
    assert_eq!(faults.len(), 1, "{faults:?}");
    let (at, leg, fault, over) = faults[0];
    assert_eq!((leg, fault, over), (2, AudioFault::Muted, false));
    assert!((4_000..=5_000).contains(&(at - start)), "{} ms", at - start);
    talk.run(200, Says::Voice, Says::Voice);
    let (at, leg, fault, over) = talk.faults()[1];
    assert_eq!((leg, fault, over), (2, AudioFault::Muted, true));
    assert!(at - start <= 8_100);
}

#[test]
fn quiet_people_raise_no_alarm() {
    // A listener whose microphone lives.
    let mut talk = Talk::new();
    talk.bridge();
    talk.run(20_000, Says::Voice, Says::Room);
    assert_eq!(talk.faults(), []);
    // Nobody speaks: nobody misses anything yet.
    let mut talk = Talk::new();
    talk.bridge();
    talk.run(20_000, Says::Silence, Says::Silence);
    assert_eq!(talk.faults(), []);
    // Who has been heard may mute the microphone and listen, also in the next talk.
    let mut talk = Talk::new();
    talk.bridge();
    talk.run(2_000, Says::Voice, Says::Voice);
    talk.run(20_000, Says::Voice, Says::Silence);
    talk.bridge();
    talk.run(20_000, Says::Voice, Says::Silence);
    assert_eq!(talk.faults(), []);
    // Who hears a prompt is in no talk.
    let mut talk = Talk::new();
    talk.sim.play(LegId(1), 1, vec![9000; 8000], true);
    talk.run(20_000, Says::Silence, Says::Silence);
    assert_eq!(talk.faults(), []);
}

#[test]
fn a_leg_without_packets_is_dead_within_five_seconds_until_they_come_again() {
    let mut talk = Talk::new();
    talk.bridge();
    talk.run(3_000, Says::Voice, Says::Voice);
    let stopped = talk.ms;
    talk.run(7_000, Says::Voice, Says::Nothing);
    talk.run(100, Says::Voice, Says::Voice);
    let faults = talk.faults();
    assert_eq!(faults.len(), 2, "{faults:?}");
    let (at, leg, fault, over) = faults[0];
    assert_eq!((leg, fault, over), (2, AudioFault::NoRtp, false));
    assert!(at - stopped <= 5_050, "{} ms", at - stopped);
    assert_eq!((faults[1].1, faults[1].2, faults[1].3), (2, AudioFault::NoRtp, true));
}

#[test]
fn who_need_not_send_any_more_is_silent_no_longer() {
    let mut talk = Talk::new();
    let silences = |talk: &Talk| {
        let of = |(_, event): &(u64, Event)| match event {
            Event::Silent { leg: LegId(1) } => Some(true),
            Event::Resumed { leg: LegId(1) } => Some(false),
            _ => None,
        };
        talk.sim.events.iter().filter_map(of).collect::<Vec<_>>()
    };
    let configure = |talk: &mut Talk, recv: bool| {
        let params = LegParams { recv, ..params(CITIZEN, Codec::Pcma) };
        talk.sim.command(Command::Configure { leg: LegId(1), params });
    };
    talk.bridge();
    talk.run(1_000, Says::Voice, Says::Voice);
    talk.run(6_000, Says::Nothing, Says::Voice);
    assert_eq!(silences(&talk), [true]);
    // A hold by re-INVITE: no packets are due, so nothing is wrong.
    configure(&mut talk, false);
    assert_eq!(silences(&talk), [true, false]);
    talk.run(20_000, Says::Nothing, Says::Voice);
    configure(&mut talk, true);
    talk.run(3_000, Says::Voice, Says::Voice);
    // The same words once more change nothing.
    configure(&mut talk, true);
    assert_eq!(silences(&talk), [true, false]);
    // Silence after the hold counts from its end.
    talk.run(6_000, Says::Nothing, Says::Voice);
    assert_eq!(silences(&talk), [true, false, true]);
    let faults: Vec<bool> = talk.faults().iter().filter(|(_, leg, ..)| *leg == 1).map(|(.., over)| *over).collect();
    assert_eq!(faults, [false, true, false]);
}

#[test]
fn a_pause_after_comfort_noise_is_not_dead_at_once() {
    let mut talk = Talk::new();
    talk.bridge();
    talk.run(1_000, Says::Voice, Says::Voice);
    let mut noise = talk.operator.packet()[..13].to_vec();
    noise[1] = 13;
    noise[12] = 50;
    talk.sim.rtp(LegId(2), talk.operator.address, &noise);
    talk.run(15_000, Says::Voice, Says::Nothing);
    assert_eq!(talk.faults(), []);
    talk.run(10_000, Says::Voice, Says::Nothing);
    assert_eq!(talk.faults().len(), 1);
}

#[test]
fn a_gateway_that_never_reports_on_us_is_not_deaf() {
    let mut talk = Talk::new();
    talk.bridge();
    let (sender, mut bytes) = (Some(SenderInfo::default()), Vec::new());
    let compound = CompoundReport { ssrc: 440, sender, report: None, cname: "x", xr: &[], bye: false };
    rtcp::write_report(&compound, &mut bytes);
    for _ in 0..6 {
        talk.run(5_000, Says::Voice, Says::Voice);
        talk.sim.rtcp(LegId(1), addr("10.0.0.1:4001"), &bytes);
    }
    assert_eq!(talk.faults(), []);
}

#[test]
fn a_peer_whose_reports_stand_still_does_not_hear_us() {
    let mut talk = Talk::new();
    talk.bridge();
    talk.run(1_000, Says::Voice, Says::Voice);
    let own = talk.sim.sent_on(LegId(1))[0].packet().header.ssrc;
    let report = |max: u32| {
        let mut bytes = Vec::new();
        let block = ReportBlock { ssrc: own, extended_max: max, ..ReportBlock::default() };
        let sender = Some(SenderInfo::default());
        let compound = CompoundReport { ssrc: 440, sender, report: Some(block), cname: "x", xr: &[], bye: false };
        rtcp::write_report(&compound, &mut bytes);
        bytes
    };
    for max in [100, 350, 600, 600, 600, 600, 1600] {
        talk.run(5_000, Says::Voice, Says::Voice);
        talk.sim.rtcp(LegId(1), addr("10.0.0.1:4001"), &report(max));
    }
    let faults: Vec<_> = talk.faults().into_iter().map(|(_, leg, fault, over)| (leg, fault, over)).collect();
    assert_eq!(faults, [(1, AudioFault::NotHeard, false), (1, AudioFault::NotHeard, true)]);
}

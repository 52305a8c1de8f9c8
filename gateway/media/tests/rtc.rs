//! A browser's leg: nothing goes to an address it has not checked, nothing before there are keys, and what it
//! says afterwards is bridged like anybody's.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]
mod common;

use std::{net::SocketAddr, sync::Arc};

use common::*;
use hotline_media::{
    Codec, LegId, LegParams,
    engine::{AudioFault, Command, DtlsOp, Event, Port},
    limits::{DTLS_DATAGRAMS_MAX, ICE_CONSENT_MS},
    rtc::{Fingerprint, IceCredentials, RtcParams, request},
    srtp::{MasterKey, Protector, SrtpParams, Suite, Unprotector},
};

const BROWSER: &str = "10.0.0.7:50000";
const CITIZEN: &str = "10.0.0.1:4000";

fn keys(local: u8, remote: u8) -> SrtpParams {
    let key = |byte| MasterKey::of(Suite::Gcm256, &[byte; 32], &[byte; 12]).unwrap();
    SrtpParams { suite: Suite::Gcm256, local: key(local), remote: key(remote) }
}

fn rtc(pwd: &str, remote_ufrag: &str, certificate: u8) -> LegParams {
    let local = Arc::new(IceCredentials { ufrag: "ours".into(), pwd: pwd.into() });
    let fingerprint = Fingerprint([certificate; 32]);
    let rtc = RtcParams { local, remote_ufrag: remote_ufrag.into(), fingerprint, is_client: false };
    LegParams { rtc: Some(Arc::new(rtc)), ..params("0.0.0.0:9", Codec::Pcma) }
}

fn browser_leg(sim: &mut Sim) -> LegId {
    let leg = LegId(7);
    assert!(sim.engine.open_leg(sim.now, leg));
    sim.command(Command::Configure { leg, params: rtc("secret", "theirs", 1) });
    leg
}

fn check_from(sim: &mut Sim, leg: LegId, from: &str, nominates: bool) {
    sim.rtp(leg, addr(from), &request([9; 12], "ours:theirs", "secret", nominates));
}

fn to(sim: &Sim, leg: LegId, port: Port) -> Vec<SocketAddr> {
    sim.sent.iter().filter(|sent| sent.leg == leg && sent.port == port).map(|sent| sent.to).collect()
}

#[test]
fn a_check_is_answered_to_where_it_came_from_and_starts_the_handshake_once() {
    let mut sim = Sim::new();
    let leg = browser_leg(&mut sim);
    check_from(&mut sim, leg, BROWSER, false);
    check_from(&mut sim, leg, "10.0.0.8:50001", true);
    assert_eq!(to(&sim, leg, Port::Aside), [addr(BROWSER), addr("10.0.0.8:50001")]);
    assert!(matches!(sim.dtls.as_slice(), [(_, DtlsOp::Start(_))]), "{:?}", sim.dtls);
    // Handshakes go to the address that was chosen.
    sim.command(Command::SendDtls { leg, bytes: vec![22, 1] });
    assert_eq!(to(&sim, leg, Port::Aside)[2], addr("10.0.0.8:50001"));
}

#[test]
fn strangers_cost_nothing_and_hear_nothing() {
    let mut sim = Sim::new();
    let leg = browser_leg(&mut sim);
    let stranger = addr("198.51.100.7:4000");
    sim.rtp(leg, stranger, &request([9; 12], "ours:theirs", "guess", true));
    sim.rtp(leg, stranger, &[22, 254, 253, 0]);
    sim.rtp(leg, stranger, &Phone::new("198.51.100.7:4000", Codec::Pcma, 440.0).packet());
    sim.rtp(leg, stranger, &[]);
    sim.command(Command::SendDtls { leg, bytes: vec![22, 1] });
    assert!(sim.sent.is_empty() && sim.dtls.is_empty() && sim.events.is_empty());
    let totals = sim.engine.totals();
    assert_eq!((totals.stun_refused, totals.dropped_foreign, totals.malformed), (1, 2, 1));
}

#[test]
fn nothing_is_said_before_there_are_keys_and_then_both_hear_each_other() {
    let mut sim = Sim::new();
    let citizen = sim.leg(1, CITIZEN, Codec::Pcma);
    let leg = browser_leg(&mut sim);
    sim.command(Command::Bridge { a: citizen, b: leg });
    check_from(&mut sim, leg, BROWSER, true);
    let mut phone = Phone::new(CITIZEN, Codec::Pcma, 440.0);
    phone.header.seq = 100;
    sim.rtp(citizen, phone.address, &phone.packet());
    assert_eq!(to(&sim, leg, Port::Rtp), [], "no plain packet, not even to a proven address");

    sim.command(Command::Secure { leg, srtp: keys(1, 2) });
    assert!(matches!(sim.events.last(), Some((_, Event::Secured { .. }))), "{:?}", sim.events);
    sim.rtp(citizen, phone.address, &phone.packet());
    assert_eq!(to(&sim, leg, Port::Rtp), [addr(BROWSER)]);
    let mut bytes = sim.sent.iter().find(|sent| sent.leg == leg && sent.port == Port::Rtp).unwrap().bytes.clone();
    assert!(Unprotector::new(Suite::Gcm256, &keys(2, 1).remote).unprotect_rtp(&mut bytes).is_ok());

    let mut browser = Phone::new(BROWSER, Codec::Pcma, 1000.0);
    browser.header.seq = 500;
    let mut protector = Protector::new(Suite::Gcm256, &keys(2, 1).local);
    let before = to(&sim, citizen, Port::Rtp).len();
    let mut packet = browser.packet();
    protector.protect_rtp(&mut packet, 0).unwrap();
    sim.rtp(leg, addr("198.51.100.7:1"), &packet);
    assert_eq!(to(&sim, citizen, Port::Rtp).len(), before, "a right packet from an address nobody checked");
    sim.rtp(leg, addr(BROWSER), &packet);
    assert_eq!(to(&sim, citizen, Port::Rtp).len(), before + 1);
}

#[test]
fn a_browser_that_moves_is_followed_and_one_that_stops_asking_is_sent_nothing() {
    let mut sim = Sim::new();
    let citizen = sim.leg(1, CITIZEN, Codec::Pcma);
    let leg = browser_leg(&mut sim);
    sim.command(Command::Bridge { a: citizen, b: leg });
    check_from(&mut sim, leg, BROWSER, true);
    sim.command(Command::Secure { leg, srtp: keys(1, 2) });
    let mut phone = Phone::new(CITIZEN, Codec::Pcma, 440.0);
    phone.header.seq = 100;
    let mut say = |sim: &mut Sim| {
        let before = sim.sent.len();
        sim.rtp(citizen, phone.address, &phone.packet());
        sim.sent[before..].iter().filter(|sent| sent.leg == leg && sent.port == Port::Rtp).map(|sent| sent.to).next()
    };
    assert_eq!(say(&mut sim), Some(addr(BROWSER)));
    sim.advance_to(10_000);
    check_from(&mut sim, leg, "10.0.9.9:40000", true);
    assert_eq!(say(&mut sim), Some(addr("10.0.9.9:40000")));
    sim.advance_to(10_000 + ICE_CONSENT_MS - 100);
    assert_eq!(say(&mut sim), Some(addr("10.0.9.9:40000")));
    sim.advance_to(10_100 + ICE_CONSENT_MS);
    assert_eq!(say(&mut sim), None);
    check_from(&mut sim, leg, "10.0.9.9:40000", true);
    assert_eq!(say(&mut sim), Some(addr("10.0.9.9:40000")), "it is back");
}

#[test]
fn keys_outlive_an_ice_restart_and_end_with_another_certificate() {
    let mut sim = Sim::new();
    let leg = browser_leg(&mut sim);
    check_from(&mut sim, leg, BROWSER, true);
    sim.command(Command::Secure { leg, srtp: keys(1, 2) });
    sim.play(leg, 1, vec![1000; 8000 * 30], true);
    let heard = |sim: &mut Sim, ms: u64| {
        let before = to(sim, leg, Port::Rtp).len();
        sim.advance_to(sim.ms() + ms);
        to(sim, leg, Port::Rtp).len() > before
    };
    assert!(heard(&mut sim, 100));
    sim.command(Command::Configure { leg, params: rtc("fresh", "other", 1) });
    assert!(heard(&mut sim, 100), "the path stays until another one is chosen");
    check_from(&mut sim, leg, "10.0.0.8:1", true);
    assert_eq!(sim.engine.totals().stun_refused, 1, "the old password is over");
    sim.rtp(leg, addr("10.0.0.8:1"), &request([1; 12], "ours:other", "fresh", true));
    assert!(heard(&mut sim, 100));
    assert_eq!(to(&sim, leg, Port::Rtp).last(), Some(&addr("10.0.0.8:1")));
    assert_eq!(sim.dtls.len(), 1, "no second handshake");

    sim.command(Command::Configure { leg, params: rtc("fresh", "other", 2) });
    assert!(!heard(&mut sim, 100), "other keys are needed");
    sim.rtp(leg, addr("10.0.0.8:1"), &request([2; 12], "ours:other", "fresh", true));
    assert!(matches!(sim.dtls.as_slice(), [_, (_, DtlsOp::Start(_))]));
    sim.command(Command::Secure { leg, srtp: keys(3, 4) });
    assert!(heard(&mut sim, 100));
    sim.command(Command::CloseLeg { leg });
    assert!(matches!(sim.dtls.last(), Some((_, DtlsOp::End))));
}

#[test]
fn a_browser_that_never_comes_to_keys_is_cut_off() {
    let mut sim = Sim::new();
    let leg = browser_leg(&mut sim);
    check_from(&mut sim, leg, BROWSER, true);
    for _ in 0..DTLS_DATAGRAMS_MAX + 50 {
        sim.rtp(leg, addr(BROWSER), &[22; 100]);
    }
    assert_eq!(sim.dtls.len(), 1 + DTLS_DATAGRAMS_MAX as usize);
    sim.command(Command::SecureFailed { leg, why: "test" });
    assert!(matches!(sim.events.last(), Some((_, Event::SecureFailed { why: "test", .. }))));
}

#[test]
fn a_browser_on_hold_is_gone_when_its_checks_end_and_back_with_the_next() {
    let mut sim = Sim::new();
    let leg = browser_leg(&mut sim);
    check_from(&mut sim, leg, BROWSER, true);
    sim.command(Command::Secure { leg, srtp: keys(1, 2) });
    sim.command(Command::Configure {
        leg,
        params: LegParams { recv: false, send: false, ..rtc("secret", "theirs", 1) },
    });
    let faults = |sim: &Sim| -> Vec<bool> {
        let begins = |event: &Event| match event {
            Event::Audio { fault: AudioFault::NoRtp, lasted_ms, .. } => Some(lasted_ms.is_none()),
            _ => None,
        };
        sim.events.iter().filter_map(|(_, event)| begins(event)).collect()
    };
    sim.advance_to(20_000);
    check_from(&mut sim, leg, BROWSER, true);
    sim.advance_to(20_000 + ICE_CONSENT_MS - 100);
    assert_eq!(faults(&sim), [], "a phone on hold may send nothing");
    sim.advance_to(20_100 + ICE_CONSENT_MS);
    assert_eq!(faults(&sim), [true]);
    check_from(&mut sim, leg, BROWSER, true);
    assert_eq!(faults(&sim), [true, false]);
    // The hold is over: packets count again.
    sim.command(Command::Configure { leg, params: rtc("secret", "theirs", 1) });
    sim.advance_to(90_000);
    assert_eq!(faults(&sim), [true, false, true]);
}

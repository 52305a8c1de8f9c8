//! Encrypted legs in the engine: bridged to a plain one, guarded before the latch, recorded plain.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]
mod common;

use std::net::SocketAddr;

use common::*;
use hotline_media::{
    Codec, LegId, LegParams, codec,
    engine::{Command, Event, Port},
    rtcp::{self, CompoundReport, Rtcp},
    rtp::Packet,
    srtp::{MasterKey, Protector, SrtpParams, Suite, Unprotector},
    tone::amplitude_at,
};

fn key(byte: u8) -> MasterKey {
    MasterKey::new([byte; 30])
}

fn srtp(suite: Suite, local: u8, remote: u8) -> Option<SrtpParams> {
    Some(SrtpParams { suite, local: key(local), remote: key(remote) })
}

/// A phone that encrypts.
struct SecurePhone {
    phone: Phone,
    protector: Protector,
    unprotector: Unprotector,
}

impl SecurePhone {
    fn new(address: &str, hz: f64, suite: Suite, own: u8, theirs: u8) -> Self {
        let mut phone = Phone::new(address, Codec::Pcma, hz);
        phone.header.seq = 300;
        Self { phone, protector: Protector::new(suite, &key(own)), unprotector: Unprotector::new(suite, &key(theirs)) }
    }

    fn packet(&mut self) -> Vec<u8> {
        let mut bytes = self.phone.packet();
        self.protector.protect_rtp(&mut bytes, 0).unwrap();
        bytes
    }

    fn send(&mut self, sim: &mut Sim, leg: LegId) {
        let bytes = self.packet();
        sim.rtp(leg, self.phone.address, &bytes);
    }

    /// What it hears of everything sent to it.
    fn heard(&mut self, sim: &Sim, leg: LegId) -> Vec<i16> {
        let mut samples = Vec::new();
        for sent in sim.sent_on(leg) {
            let mut bytes = sent.bytes;
            let len = self.unprotector.unprotect_rtp(&mut bytes).expect("authentic");
            let packet = Packet::parse(&bytes[..len]).unwrap();
            if packet.header.payload_type == 8 {
                codec::decode_into(Codec::Pcma, packet.payload, &mut samples);
            }
        }
        samples
    }
}

fn secure_leg(sim: &mut Sim, id: u64, remote: &str, suite: Suite, local: u8, peer: u8) -> LegId {
    let leg = sim.leg(id, remote, Codec::Pcma);
    configure(sim, leg, LegParams { srtp: srtp(suite, local, peer), ..params(remote, Codec::Pcma) });
    leg
}

fn configure(sim: &mut Sim, leg: LegId, params: LegParams) {
    sim.command(Command::Configure { leg, params });
}

#[test]
fn an_encrypted_and_a_plain_leg_hear_each_other_and_the_recording_is_plain() {
    for suite in Suite::SDES {
        let mut sim = Sim::new();
        let a = secure_leg(&mut sim, 1, "10.0.0.1:4000", suite, 1, 2);
        let b = sim.leg(2, "10.0.0.2:4000", Codec::Pcma);
        let mut citizen = SecurePhone::new("10.0.0.1:4000", 440.0, suite, 2, 1);
        let mut operator = Phone::new("10.0.0.2:4000", Codec::Pcma, 1000.0);
        sim.record(a, 60_000);
        sim.command(Command::Bridge { a, b });
        for n in 0..250u64 {
            sim.advance_to(n * 20);
            citizen.send(&mut sim, a);
            let packet = operator.packet();
            sim.rtp(b, operator.address, &packet);
        }
        sim.command(Command::SendDigit { leg: a, digit: '5', ms: 100 });
        sim.advance_to(6_000);
        sim.command(Command::StopRecord { leg: a });
        let mut plain = Vec::new();
        for sent in sim.sent_on(b) {
            codec::decode_into(Codec::Pcma, sent.packet().payload, &mut plain);
        }
        assert!(amplitude_at(&plain, 440.0) > 7500.0);
        assert!(amplitude_at(&citizen.heard(&sim, a), 1000.0) > 7500.0);
        let frames = &sim.finished[0].1;
        assert!(amplitude_at(&channel(frames, 0)[4000..36_000], 440.0) > 7500.0);
        assert!(amplitude_at(&channel(frames, 1)[4000..36_000], 1000.0) > 7500.0);
        sim.command(Command::CloseLeg { leg: a });
        let Some((_, Event::LegClosed { stats, .. })) = sim.events.last() else { panic!("not closed") };
        assert_eq!((stats.srtp, stats.srtp_refused, stats.packets_in), (Some(suite), 0, 250));
    }
}

#[test]
fn what_is_not_authentic_moves_no_latch_and_reaches_nobody() {
    let mut sim = Sim::new();
    let remote = "10.0.0.1:4000";
    let a = sim.leg(1, remote, Codec::Pcma);
    let open = LegParams { srtp: srtp(Suite::Sha1Tag80, 1, 2), ..params(remote, Codec::Pcma) };
    configure(&mut sim, a, open);
    let b = sim.leg(2, "10.0.0.2:4000", Codec::Pcma);
    sim.command(Command::Bridge { a, b });
    let mut stranger = SecurePhone::new("198.51.100.66:4000", 2000.0, Suite::Sha1Tag80, 9, 9);
    let mut plain = Phone::new("198.51.100.67:4000", Codec::Pcma, 3000.0);
    let mut citizen = SecurePhone::new("203.0.113.5:7777", 440.0, Suite::Sha1Tag80, 2, 1);
    let mut operator = Phone::new("10.0.0.2:4000", Codec::Pcma, 1000.0);
    for _ in 0..50 {
        stranger.send(&mut sim, a);
        let packet = plain.packet();
        sim.rtp(a, plain.address, &packet);
    }
    assert!(sim.events.iter().all(|(_, event)| !matches!(event, Event::FirstPacket { .. })));
    assert_eq!(sim.engine.totals().srtp_refused, 100);
    let packet = operator.packet();
    sim.rtp(b, operator.address, &packet);
    assert_eq!(sim.sent_on(a).last().unwrap().to, addr(remote), "media goes where the description says");

    citizen.send(&mut sim, a);
    assert_eq!(sim.sent_on(b).len(), 1);
    let replayed = citizen.packet();
    sim.rtp(a, citizen.phone.address, &replayed);
    sim.rtp(a, citizen.phone.address, &replayed);
    sim.rtp(a, citizen.phone.address, &replayed[..9]);
    assert_eq!(sim.sent_on(b).len(), 2, "a replay reaches nobody");
    let packet = operator.packet();
    sim.rtp(b, operator.address, &packet);
    assert_eq!(sim.sent_on(a).last().unwrap().to, citizen.phone.address);
}

fn reports_to(sim: &Sim, leg: LegId, port: Port, to: SocketAddr) -> Vec<Vec<u8>> {
    let to_peer = |sent: &&Sent| sent.leg == leg && sent.port == port && sent.to == to && sent.bytes[1] == 200;
    sim.sent.iter().filter(to_peer).map(|sent| sent.bytes.clone()).collect()
}

#[test]
fn reports_are_encrypted_both_ways_also_on_a_shared_port() {
    for shared in [false, true] {
        let mut sim = Sim::new();
        let remote = "10.0.0.1:4000";
        let a = sim.leg(1, remote, Codec::Pcma);
        let remote_rtcp = shared.then(|| addr(remote));
        let secured = LegParams { remote_rtcp, srtp: srtp(Suite::Sha1Tag32, 1, 2), ..params(remote, Codec::Pcma) };
        configure(&mut sim, a, secured);
        let mut citizen = SecurePhone::new(remote, 440.0, Suite::Sha1Tag32, 2, 1);
        sim.play(a, 1, vec![1000; 8000], true);
        let mut report = Vec::new();
        let compound = CompoundReport {
            ssrc: citizen.phone.header.ssrc,
            sender: None,
            report: None,
            cname: "someone@example",
            xr: &[],
            bye: false,
        };
        rtcp::write_report(&compound, &mut report);
        let plain_report = report.clone();
        citizen.protector.protect_rtcp(&mut report, 0).unwrap();
        citizen.send(&mut sim, a);
        let from = if shared { addr(remote) } else { addr("10.0.0.1:4001") };
        if shared {
            sim.rtp(a, from, &plain_report);
            sim.rtp(a, from, &report);
        } else {
            sim.rtcp(a, from, &plain_report);
            sim.rtcp(a, from, &report);
        }
        assert_eq!(sim.engine.totals().srtp_refused, 1, "the plain one is refused");
        assert_eq!(sim.engine.totals().malformed + sim.engine.totals().dropped_foreign, 0, "the other is taken");
        sim.advance_to(12_000);
        let port = if shared { Port::Rtp } else { Port::Rtcp };
        let reports = reports_to(&sim, a, port, from);
        assert!(!reports.is_empty());
        for mut bytes in reports {
            let len = citizen.unprotector.unprotect_rtcp(&mut bytes).expect("authentic");
            let packets = rtcp::parse(&bytes[..len]).unwrap();
            assert!(matches!(packets[0], Rtcp::SenderReport { .. }));
        }
    }
}

#[test]
fn a_renegotiation_with_the_same_keys_changes_nothing_and_with_new_ones_goes_on() {
    let mut sim = Sim::new();
    let remote = "10.0.0.1:4000";
    let a = secure_leg(&mut sim, 1, remote, Suite::Sha1Tag80, 1, 2);
    let b = sim.leg(2, "10.0.0.2:4000", Codec::Pcma);
    sim.command(Command::Bridge { a, b });
    let mut citizen = SecurePhone::new(remote, 440.0, Suite::Sha1Tag80, 2, 1);
    let mut operator = Phone::new("10.0.0.2:4000", Codec::Pcma, 1000.0);
    let replayed = citizen.packet();
    sim.rtp(a, citizen.phone.address, &replayed);
    let same = LegParams { srtp: srtp(Suite::Sha1Tag80, 1, 2), ..params(remote, Codec::Pcma) };
    configure(&mut sim, a, same);
    sim.rtp(a, citizen.phone.address, &replayed);
    assert_eq!(sim.sent_on(b).len(), 1, "the window has survived");

    let changed = LegParams { srtp: srtp(Suite::Sha1Tag80, 1, 3), ..params(remote, Codec::Pcma) };
    configure(&mut sim, a, changed);
    citizen.send(&mut sim, a);
    assert_eq!(sim.sent_on(b).len(), 1, "the old key is over");
    citizen.protector = Protector::new(Suite::Sha1Tag80, &key(3));
    citizen.send(&mut sim, a);
    assert_eq!(sim.sent_on(b).len(), 2);
    let packet = operator.packet();
    sim.rtp(b, operator.address, &packet);
    assert_eq!(citizen.heard(&sim, a).len(), 160, "our own key is the same");

    configure(&mut sim, a, params(remote, Codec::Pcma));
    let packet = citizen.phone.packet();
    sim.rtp(a, citizen.phone.address, &packet);
    assert_eq!(sim.sent_on(b).len(), 3, "plain from now on, as agreed");
}

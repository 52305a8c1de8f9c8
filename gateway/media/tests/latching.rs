//! Latching: strangers neither hear nor speak; holds, silence and RTCP.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]
mod common;

use common::*;
use hotline_media::{
    Codec, LegParams,
    engine::{Command, Event, Port},
    latch::{Network, Trust},
    rtcp::{self, CompoundReport, Rtcp, SenderInfo},
    tone::amplitude_at,
};

#[test]
fn a_stranger_neither_hears_nor_speaks() {
    let mut sim = Sim::new();
    let a = sim.leg(1, "10.0.0.1:4000", Codec::Pcma);
    let b = sim.leg(2, "10.0.0.2:4000", Codec::Pcma);
    let mut citizen = Phone::new("10.0.0.1:4000", Codec::Pcma, 440.0);
    let mut stranger = Phone::new("198.51.100.66:4000", Codec::Pcma, 2000.0);
    let mut neighbour = Phone::new("10.0.0.1:4999", Codec::Pcma, 440.0);
    let mut operator = Phone::new("10.0.0.2:4000", Codec::Pcma, 1000.0);
    sim.command(Command::Bridge { a, b });
    for n in 0..50u64 {
        sim.advance_to(n * 20);
        let packet = stranger.packet();
        sim.rtp(a, stranger.address, &packet);
        let packet = neighbour.packet();
        sim.rtp(a, neighbour.address, &packet);
        if n > 5 {
            let packet = citizen.packet();
            sim.rtp(a, citizen.address, &packet);
        }
        let packet = operator.packet();
        sim.rtp(b, operator.address, &packet);
    }
    assert!(sim.sent_on(a).iter().all(|sent| sent.to == citizen.address), "the strangers hear nothing");
    assert_eq!(sim.sent_on(b).len(), 44, "only the citizen's packets pass");
    assert_eq!(sim.engine.totals().dropped_foreign, 50 + 50);
    sim.command(Command::CloseLeg { leg: a });
    let Some((_, Event::LegClosed { stats, .. })) = sim.events.last() else { panic!() };
    assert_eq!((stats.packets_in, stats.dropped, stats.last_source), (44, 100, Some(citizen.address)));
    assert_eq!((stats.packets_out, stats.lost), (50, 0));
}

#[test]
fn a_prompt_waits_for_a_proven_address_and_is_then_heard_from_its_beginning() {
    let mut sim = Sim::new();
    let leg = sim.leg(1, "192.168.1.9:4000", Codec::Pcma);
    let trust = Trust::new(false, [Network::host(addr("203.0.113.5:0").ip())]);
    let natted = LegParams { trust, ..params("192.168.1.9:4000", Codec::Pcma) };
    sim.command(Command::Configure { leg, params: natted });
    sim.play(leg, 1, vec![500; 1600], false);
    sim.advance_to(3000);
    assert!(sim.sent.is_empty(), "to nobody");
    let mut phone = Phone::new("203.0.113.5:61000", Codec::Pcma, 440.0);
    let packet = phone.packet();
    sim.rtp(leg, phone.address, &packet);
    sim.advance_to(3300);
    let heard = sim.sent_on(leg);
    assert_eq!(heard.len(), 10, "all of it");
    assert!(heard.iter().all(|sent| sent.to == phone.address));
    assert!(sim.events.iter().any(|(at, event)| *at > 3000 && matches!(event, Event::PlayDone { .. })));
}

#[test]
fn nothing_is_sent_for_an_invite_that_may_be_forged() {
    let mut sim = Sim::new();
    let leg = sim.leg(1, "10.0.0.1:4000", Codec::Pcma);
    let trust = Trust::new(true, []);
    let forged = LegParams { trust: trust.clone().unconfirmed(), ..params("10.0.0.1:4000", Codec::Pcma) };
    sim.command(Command::Configure { leg, params: forged });
    sim.play(leg, 1, vec![500; 1600], false);
    sim.advance_to(32_000);
    assert!(sim.sent.is_empty());
    sim.command(Command::Configure { leg, params: LegParams { trust, ..params("10.0.0.1:4000", Codec::Pcma) } });
    sim.advance_to(32_300);
    assert_eq!(sim.sent_on(leg).len(), 10, "all of it after the ACK");
}

#[test]
fn the_next_call_on_a_port_takes_nothing_of_the_stream_before() {
    let mut sim = Sim::new();
    let before = sim.leg(1, "10.0.0.1:4000", Codec::Pcma);
    let mut old = Phone::new("10.0.0.1:4000", Codec::Pcma, 440.0);
    for _ in 0..50 {
        let packet = old.packet();
        sim.rtp(before, old.address, &packet);
    }
    sim.command(Command::CloseLeg { leg: before });
    let Some((_, Event::LegClosed { stale: Some(stale), .. })) = sim.events.last() else { panic!() };
    let stale = *stale;
    sim.advance_to(1000);
    let leg = hotline_media::LegId(2);
    sim.engine.open_leg(sim.now, leg);
    sim.engine.remember_stale(leg, stale);
    sim.command(Command::Configure { leg, params: params("10.0.0.1:4000", Codec::Pcma) });
    sim.record(leg, 60_000);
    let mut new = Phone::new("10.0.0.1:4000", Codec::Pcma, 1000.0);
    for n in 0..200u64 {
        sim.advance_to(1000 + n * 20);
        let packet = old.packet();
        sim.rtp(leg, old.address, &packet);
        if n >= 20 {
            let packet = new.packet();
            sim.rtp(leg, new.address, &packet);
        }
    }
    sim.command(Command::StopRecord { leg });
    assert_eq!(sim.engine.totals().dropped_foreign, 200);
    let left = channel(&sim.finished[0].1, 0);
    assert!(amplitude_at(&left[8000..24_000], 440.0) < 10.0, "not a word of the call before");
    assert!(amplitude_at(&left[8000..24_000], 1000.0) > 7000.0);
}

#[test]
fn a_call_without_a_packet_hands_on_what_its_port_received_before() {
    let mut sim = Sim::new();
    let before = sim.leg(1, "10.0.0.1:4000", Codec::Pcma);
    let mut old = Phone::new("10.0.0.1:4000", Codec::Pcma, 440.0);
    let packet = old.packet();
    sim.rtp(before, old.address, &packet);
    sim.command(Command::CloseLeg { leg: before });
    let stale_of = |sim: &Sim| match sim.events.last() {
        Some((_, Event::LegClosed { stale, .. })) => *stale,
        other => panic!("{other:?}"),
    };
    let stale = stale_of(&sim).unwrap();
    let mut empty_call = |ms, is_configured| {
        let leg = hotline_media::LegId(ms);
        sim.advance_to(ms);
        sim.engine.open_leg(sim.now, leg);
        sim.engine.remember_stale(leg, stale);
        if is_configured {
            sim.command(Command::Configure { leg, params: params("10.0.0.1:4000", Codec::Pcma) });
        }
        sim.command(Command::CloseLeg { leg });
        stale_of(&sim)
    };
    assert_eq!(empty_call(5_000, true), Some(stale));
    assert_eq!(empty_call(10_000, false), Some(stale));
    assert_eq!(empty_call(40_000, true), None, "by then the stream has ended");
}

#[test]
fn reports_move_with_the_peer() {
    let mut sim = Sim::new();
    let leg = sim.leg(1, "10.0.0.1:4000", Codec::Pcma);
    let mut phone = Phone::new("10.0.0.1:4000", Codec::Pcma, 440.0);
    sim.play(leg, 1, vec![500; 8000], true);
    let (sender, mut report) = (Some(SenderInfo { ntp: 1 << 40, ..SenderInfo::default() }), Vec::new());
    let compound = CompoundReport { ssrc: 440, sender, report: None, cname: "x", xr: &[], bye: false };
    rtcp::write_report(&compound, &mut report);
    let packet = phone.packet();
    sim.rtp(leg, phone.address, &packet);
    sim.rtcp(leg, addr("10.0.0.1:4001"), &report);
    sim.advance_to(10_000);
    sim.command(Command::Configure { leg, params: params("10.0.0.1:5000", Codec::Pcma) });
    phone.address = addr("10.0.0.1:5000");
    let packet = phone.packet();
    sim.rtp(leg, phone.address, &packet);
    sim.advance_to(30_000);
    let (old, new): (Vec<_>, Vec<_>) =
        sim.sent.iter().filter(|sent| sent.port == Port::Rtcp).partition(|sent| sent.at_ms < 10_000);
    assert!(!old.is_empty() && old.iter().all(|sent| sent.to == addr("10.0.0.1:4001")));
    assert!(!new.is_empty() && new.iter().all(|sent| sent.to == addr("10.0.0.1:5001")), "not to another call's port");
    let Rtcp::SenderReport { reports, .. } = &rtcp::parse(&new[0].bytes).unwrap()[0] else { panic!() };
    assert_eq!((reports[0].last_sr, reports[0].delay_since_last_sr), (0, 0), "the new peer sent no report yet");
}

#[test]
fn unconfigured_legs_and_unknown_payload_types_take_nothing() {
    let mut sim = Sim::new();
    let leg = hotline_media::LegId(9);
    sim.engine.open_leg(sim.now, leg);
    let mut phone = Phone::new("10.0.0.1:4000", Codec::Pcma, 440.0);
    let packet = phone.packet();
    sim.rtp(leg, phone.address, &packet);
    sim.command(Command::Configure { leg, params: params("10.0.0.1:4000", Codec::Pcma) });
    phone.header.payload_type = 18;
    let packet = phone.packet();
    sim.rtp(leg, phone.address, &packet);
    assert!(sim.events.is_empty());
    phone.header.payload_type = 0;
    let packet = phone.packet();
    sim.rtp(leg, phone.address, &packet);
    assert_eq!(sim.events, [(0, Event::FirstPacket { leg })], "the other G.711 law is always understood");
}

#[test]
fn silence_is_reported_once_and_its_end_too_but_not_on_hold() {
    let mut sim = Sim::new();
    let leg = sim.leg(1, "10.0.0.1:4000", Codec::Pcma);
    let mut phone = Phone::new("10.0.0.1:4000", Codec::Pcma, 440.0);
    sim.advance_to(1000);
    let packet = phone.packet();
    sim.rtp(leg, phone.address, &packet);
    sim.advance_to(20_000);
    let packet = phone.packet();
    sim.rtp(leg, phone.address, &packet);
    let mut held = params("10.0.0.1:4000", Codec::Pcma);
    held.recv = false;
    sim.command(Command::Configure { leg, params: held });
    sim.advance_to(60_000);
    sim.command(Command::Configure { leg, params: params("10.0.0.1:4000", Codec::Pcma) });
    sim.advance_to(64_900);
    let silences: Vec<_> =
        sim.events.iter().filter(|(_, e)| matches!(e, Event::Silent { .. } | Event::Resumed { .. })).collect();
    assert_eq!(silences.len(), 2, "{silences:?}");
    assert!(matches!(silences[0], (6000..=6050, Event::Silent { .. })));
    assert!(matches!(silences[1], (20_000, Event::Resumed { .. })));
}

#[test]
fn rtcp_goes_to_the_medias_host_only_and_tells_the_truth() {
    let mut sim = Sim::new();
    let leg = sim.leg(1, "10.0.0.1:4000", Codec::Pcma);
    let mut phone = Phone::new("10.0.0.1:4000", Codec::Pcma, 440.0);
    sim.play(leg, 1, vec![500; 8000 * 30], false);
    let sender = SenderInfo { ntp: 0x1122_3344_5566_7788, timestamp: 1, packets: 2, octets: 3 };
    let mut report = Vec::new();
    rtcp::write_report(
        &CompoundReport { ssrc: 440, sender: Some(sender), report: None, cname: "x", xr: &[], bye: false },
        &mut report,
    );
    for n in 0..1000u64 {
        sim.advance_to(n * 20);
        let packet = phone.packet();
        if n % 10 != 3 {
            sim.rtp(leg, phone.address, &packet);
        }
        if n == 100 {
            sim.rtcp(leg, addr("198.51.100.66:5"), &report);
            sim.rtcp(leg, addr("10.0.0.1:4001"), &report);
        }
    }
    sim.command(Command::CloseLeg { leg });
    let reports: Vec<_> = sim.sent.iter().filter(|sent| sent.port == Port::Rtcp).collect();
    assert!((3..=9).contains(&reports.len()), "{}", reports.len());
    assert!(reports.iter().all(|sent| sent.to == addr("10.0.0.1:4001")));
    let last = rtcp::parse(&reports[reports.len() - 1].bytes).unwrap();
    let Rtcp::SenderReport { sender, reports: blocks, .. } = &last[0] else { panic!("{last:?}") };
    assert_eq!(u64::from(sender.packets), sim.sent_on(leg).len() as u64);
    assert_eq!(sender.ntp >> 32, 1_700_000_000 + 2_208_988_800 + 19);
    assert_eq!((blocks[0].ssrc, blocks[0].lost, blocks[0].last_sr), (440, 100, 0x3344_5566));
    assert!(matches!(&last[1], Rtcp::Bye { .. }));
}

#[test]
fn nothing_goes_to_a_held_or_impossible_address() {
    let mut sim = Sim::new();
    let leg = sim.leg(1, "0.0.0.0:4000", Codec::Pcma);
    sim.play(leg, 1, vec![500; 80_000], false);
    sim.advance_to(8000);
    assert!(sim.sent.is_empty());
}

//! A leg's figures: what RTCP and the packets themselves say of both directions.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]
mod common;

use common::*;
use hotline_media::{
    Codec, LegId, LegParams, LegStats, XrWish,
    engine::{Command, Event, Port},
    rtcp::{self, CompoundReport, ReportBlock, Rtcp, SenderInfo, VoipMetrics, XrBlock},
};

const PEER: &str = "10.0.0.1:4000";
const PEER_RTCP: &str = "10.0.0.1:4001";

fn closed(sim: &mut Sim, leg: LegId) -> LegStats {
    sim.command(Command::CloseLeg { leg });
    let stats = sim.events.iter().find_map(|(_, event)| match event {
        Event::LegClosed { stats, .. } => Some(*stats),
        _ => None,
    });
    stats.unwrap()
}

/// A minute on a leg that plays to its peer; the peer's packets come as `lossy` says, its reports as `report` says
/// after each of ours.
fn minute(
    params: LegParams,
    lossy: impl Fn(u64) -> bool,
    mut report: impl FnMut(&[Rtcp], u64) -> Option<Vec<u8>>,
) -> (Sim, LegId) {
    let mut sim = Sim::new();
    let leg = sim.leg(1, PEER, Codec::Pcma);
    sim.command(Command::Configure { leg, params });
    let mut phone = Phone::new(PEER, Codec::Pcma, 440.0);
    sim.play(leg, 1, vec![500; 8000], true);
    let mut answers: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut seen = 0;
    for n in 0..3000u64 {
        sim.advance_to(n * 20);
        for sent in &sim.sent[seen..] {
            if sent.port == Port::Rtcp {
                let packets = rtcp::parse(&sent.bytes).unwrap();
                // The peer answers 200 ms later.
                answers.extend(report(&packets, sent.at_ms).map(|bytes| (n * 20 + 200, bytes)));
            }
        }
        seen = sim.sent.len();
        for (_, bytes) in answers.extract_if(.., |(at, _)| *at <= n * 20) {
            sim.rtcp(leg, addr(PEER_RTCP), &bytes);
        }
        let packet = phone.packet();
        if !lossy(n) {
            sim.rtp(leg, phone.address, &packet);
        }
    }
    (sim, leg)
}

fn receiver_report(block: ReportBlock, xr: &[XrBlock]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let compound = CompoundReport { ssrc: 440, sender: None, report: Some(block), cname: "phone", xr, bye: false };
    rtcp::write_report(&compound, &mut bytes);
    bytes
}

fn sr(packets: &[Rtcp]) -> (u32, SenderInfo, Vec<ReportBlock>) {
    let Rtcp::SenderReport { ssrc, sender, reports } = &packets[0] else { panic!("{packets:?}") };
    (*ssrc, *sender, reports.clone())
}

#[test]
fn a_clean_leg_is_good_both_ways_and_its_round_trip_is_what_the_echo_took() {
    let mut max = 0;
    let (mut sim, leg) = minute(
        params(PEER, Codec::Pcma),
        |_| false,
        |packets, _| {
            let (ssrc, sender, _) = sr(packets);
            max += 200;
            // Of the 200 ms the report says 120 were the peer's own.
            let delay_since_last_sr = 120 * 65_536 / 1000;
            let block = ReportBlock {
                ssrc,
                extended_max: max,
                last_sr: sender.ntp_middle(),
                delay_since_last_sr,
                ..ReportBlock::default()
            };
            Some(receiver_report(block, &[]))
        },
    );
    let quality = closed(&mut sim, leg).quality;
    let rtt = quality.rtt_ms.unwrap();
    assert!((79..=100).contains(&rtt), "{rtt} ms");
    assert_eq!(quality.codec, Some(Codec::Pcma));
    for direction in [quality.received, quality.sent] {
        assert!((425..=441).contains(&direction.mos_x100.unwrap()), "{direction:?}");
        assert_eq!((direction.lost, direction.jitter_max_ms), (0, 0));
    }
}

#[test]
fn loss_on_the_way_to_us_lowers_what_we_hear_and_its_worst_stretch_is_kept() {
    // Clean, then 10 % from the 20th to the 30th second.
    let (mut sim, leg) = minute(params(PEER, Codec::Pcma), |n| (1000..1500).contains(&n) && n % 10 == 0, |_, _| None);
    let quality = closed(&mut sim, leg).quality;
    let (mean, worst) = (quality.received.mos_x100.unwrap(), quality.received.mos_min_x100.unwrap());
    assert_eq!(quality.received.lost, 50);
    assert!((410..438).contains(&mean), "{mean}");
    assert!((320..=345).contains(&worst), "{worst}");
    assert_eq!((quality.sent.mos_x100, quality.rtt_ms), (None, None), "the peer said nothing");
}

#[test]
fn what_the_peer_reports_is_how_it_hears_us() {
    let mut max = 0;
    let (mut sim, leg) = minute(
        params(PEER, Codec::Pcma),
        |_| false,
        |packets, _| {
            let (ssrc, _, _) = sr(packets);
            max += 200;
            // An echo of a clock we never sent measures nothing.
            let block = ReportBlock {
                ssrc,
                extended_max: max,
                fraction_lost: 26,
                lost: 20,
                jitter: 80,
                last_sr: 0x1234_5678,
                ..ReportBlock::default()
            };
            Some(receiver_report(block, &[]))
        },
    );
    let quality = closed(&mut sim, leg).quality;
    assert_eq!((quality.sent.lost, quality.sent.jitter_ms, quality.rtt_ms), (20, 10, None));
    assert!((320..=345).contains(&quality.sent.mos_x100.unwrap()), "{:?}", quality.sent);
    assert!(quality.received.mos_x100.unwrap() >= 435);
}

#[test]
fn extended_reports_go_to_who_asks_and_echo_the_peers_clock() {
    let wish = XrWish { voip_metrics: true, reference_time: true };
    let asking = LegParams { xr: wish, ..params(PEER, Codec::Pcma) };
    let mut seen: Vec<XrBlock> = Vec::new();
    let (mut sim, leg) = minute(
        asking,
        |n| n % 50 == 3,
        |packets, _| {
            let blocks = packets.iter().find_map(|packet| match packet {
                Rtcp::ExtendedReport { blocks, .. } => Some(blocks.clone()),
                _ => None,
            });
            let blocks = blocks.unwrap();
            let (ssrc, _, _) = sr(packets);
            let clock = blocks.iter().find_map(|block| match block {
                XrBlock::ReferenceTime { ntp } => Some((*ntp >> 16) as u32),
                _ => None,
            });
            seen = blocks;
            let dlrr = XrBlock::Dlrr { ssrc, last_rr: clock.unwrap(), delay_since_last_rr: 100 * 65_536 / 1000 };
            let own = XrBlock::ReferenceTime { ntp: 0x0000_1111_2222_0000 };
            let metrics = VoipMetrics { ssrc, discard_rate: 0, playout_ms: 60, ..VoipMetrics::default() };
            Some(receiver_report(ReportBlock::default(), &[own, dlrr, XrBlock::VoipMetrics(metrics)]))
        },
    );
    let rtt = closed(&mut sim, leg).quality.rtt_ms.unwrap();
    assert!((99..=120).contains(&rtt), "{rtt} ms");
    assert!(seen.iter().any(|b| matches!(b, XrBlock::Dlrr { ssrc: 440, last_rr: 0x1111_2222, .. })), "{seen:?}");
    let metrics = seen.iter().find_map(|block| if let XrBlock::VoipMetrics(m) = block { Some(*m) } else { None });
    let metrics = metrics.unwrap();
    assert_eq!(metrics.ssrc, 440);
    assert!((4..=6).contains(&metrics.loss_rate), "2 %: {metrics:?}");
    assert!((35..=43).contains(&metrics.mos_cq_x10), "{metrics:?}");

    let (sim, _) = minute(params(PEER, Codec::Pcma), |_| false, |_, _| None);
    let reports = sim.sent.iter().filter(|sent| sent.port == Port::Rtcp).map(|sent| rtcp::parse(&sent.bytes).unwrap());
    assert!(!reports.into_iter().flatten().any(|packet| matches!(packet, Rtcp::ExtendedReport { .. })));
}

#[test]
fn reports_come_at_the_intervals_of_the_rfc() {
    let mut at = Vec::new();
    let _ = minute(
        params(PEER, Codec::Pcma),
        |_| false,
        |_, ms| {
            at.push(ms);
            None
        },
    );
    let gaps: Vec<u64> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!((8..=28).contains(&gaps.len()), "{gaps:?}");
    assert!(gaps.iter().all(|gap| (2050..=6250).contains(gap)), "{gaps:?}");
    assert!(gaps.iter().max() > gaps.iter().min(), "spread by chance");
}

#[test]
fn a_stream_that_said_goodbye_is_not_reported_on_until_it_comes_again() {
    let mut sim = Sim::new();
    let leg = sim.leg(1, PEER, Codec::Pcma);
    let mut phone = Phone::new(PEER, Codec::Pcma, 440.0);
    sim.play(leg, 1, vec![500; 8000], true);
    for _ in 0..5 {
        let packet = phone.packet();
        sim.rtp(leg, phone.address, &packet);
    }
    let mut bye = Vec::new();
    let compound = CompoundReport { ssrc: 440, sender: None, report: None, cname: "x", xr: &[], bye: true };
    rtcp::write_report(&compound, &mut bye);
    sim.rtcp(leg, addr(PEER_RTCP), &bye);
    sim.advance_to(7_000);
    let packet = phone.packet();
    sim.rtp(leg, phone.address, &packet);
    sim.advance_to(20_000);
    let reports: Vec<usize> = sim
        .sent
        .iter()
        .filter(|sent| sent.port == Port::Rtcp)
        .map(|sent| sr(&rtcp::parse(&sent.bytes).unwrap()).2.len())
        .collect();
    assert_eq!((reports[0], *reports.last().unwrap()), (0, 1), "{reports:?}");
}

/// A phone's next packet as another type, with the timestamp of `at` packets ago.
fn as_type(phone: &mut Phone, payload_type: u8, at: u32) -> Vec<u8> {
    let mut packet = phone.packet();
    let timestamp = u32::from_be_bytes(packet[4..8].try_into().unwrap()).wrapping_sub(at * 160);
    packet[1] = payload_type;
    packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
    packet
}

#[test]
fn keys_comfort_noise_and_unknown_types_are_neither_jitter_nor_loss() {
    let mut sim = Sim::new();
    let (leg, listener) = (sim.leg(1, PEER, Codec::Pcma), sim.leg(2, "10.0.0.2:4000", Codec::Pcma));
    // The listener has agreed on no events.
    let params = LegParams { dtmf_pt: None, ..params("10.0.0.2:4000", Codec::Pcma) };
    sim.command(Command::Configure { leg: listener, params });
    sim.command(Command::Bridge { a: leg, b: listener });
    let mut phone = Phone::new(PEER, Codec::Pcma, 440.0);
    for n in 0..500u32 {
        sim.advance_to(u64::from(n) * 20);
        let packet = match n {
            200..208 => as_type(&mut phone, 101, n - 200),
            300 => as_type(&mut phone, 13, 0),
            350..355 => as_type(&mut phone, 99, 0),
            _ => phone.packet(),
        };
        // Two are lost: one amid audio, one just before what is left out.
        if n != 100 && n != 299 {
            sim.rtp(leg, addr(PEER), &packet);
        }
    }
    let numbers: Vec<u16> = sim.sent_on(listener).iter().map(|sent| sent.packet().header.seq).collect();
    let steps: Vec<u16> =
        numbers.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).filter(|step| *step != 1).collect();
    assert_eq!((numbers.len(), steps), (500 - 8 - 1 - 5 - 2, vec![2, 2]), "only what was lost is missing");
    let stats = closed(&mut sim, leg);
    let received = stats.quality.received;
    assert_eq!((stats.lost, received.lost, received.jitter_max_ms), (2, 2, 0), "{received:?}");
}

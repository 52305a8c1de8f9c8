//! Strangers on a call's media ports neither hear nor speak, whatever they know about the call.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use common::{Desk, NUMBER, call_of};
use hotline_tests::gateway::GatewayConfig;
use hotline_tests::net::{STRANGER_IP, TRUNK_IP};
use hotline_tests::rtp::{PACKET_SAMPLES, Source, g711};
use hotline_tests::sip::{Citizen, CitizenConfig};
use hotline_tests::tone::{RATE_HZ, sine};
use hotline_tests::until;
use hotline_tests::wav::Wav;

const STRANGERS_HZ: f64 = 2_000.0;

/// Sends what looks like the citizen's own stream, and listens.
struct Stranger {
    rtp: UdpSocket,
    audio: Vec<u8>,
    sent: u64,
}

impl Stranger {
    fn new(ip: IpAddr) -> Self {
        let rtp = UdpSocket::bind((ip, 0)).unwrap();
        rtp.set_nonblocking(true).unwrap();
        let samples = sine(STRANGERS_HZ, -10.0, 20, RATE_HZ);
        Self { rtp, audio: g711::encode(&samples[..PACKET_SAMPLES], 8), sent: 0 }
    }

    fn send(&mut self, gateway: SocketAddr, (ssrc, sequence, timestamp): (u32, u16, u32)) {
        let mut packet = vec![0x80, 8];
        packet.extend(sequence.to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend(ssrc.to_be_bytes());
        packet.extend(&self.audio);
        self.rtp.send_to(&packet, gateway).unwrap();
        // An empty receiver report, to the port beside.
        let mut report = vec![0x80, 201, 0, 1];
        report.extend(ssrc.to_be_bytes());
        let rtcp = SocketAddr::new(gateway.ip(), gateway.port() + 1);
        self.rtp.send_to(&report, rtcp).unwrap();
        self.sent += 2;
    }

    fn heard(&self) -> u64 {
        let mut buffer = [0; 2_048];
        let mut count = 0;
        while self.rtp.recv_from(&mut buffer).is_ok() {
            count += 1;
        }
        count
    }
}

async fn metric(desk: &Desk, name: &str) -> u64 {
    let text = desk.api.metrics().await.unwrap();
    let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_hear_nothing_and_reach_nobody_before_and_after_the_citizens_first_packet() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let phone = desk.phone().await;
    desk.ready().await;
    let mut config = CitizenConfig::new(desk.gateway.sip(), NUMBER);
    config.source = Source::Nothing;
    let citizen = Citizen::start(config).await.unwrap();
    let call = citizen.call_answered("12319", 5_000).await.unwrap();
    let gateway = call.remote_sdp().unwrap().rtp;
    let mut strangers = [Stranger::new(STRANGER_IP), Stranger::new(TRUNK_IP)];
    let operator = phone.next_call(10_000).await.unwrap();
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    // Well under the second after which another port of a silent peer's host would count.
    for turn in 0..20 {
        ticks.tick().await;
        // Nobody on a network sees this before the first packet; the worst stranger guesses it.
        let stamp = call.rtp().next_stamp();
        let stamp = (stamp.0, stamp.1.wrapping_add(turn), stamp.2.wrapping_add(u32::from(turn) * 160));
        strangers.iter_mut().for_each(|stranger| stranger.send(gateway, stamp));
    }
    call.rtp().play(Source::tone(440.0));
    operator.rtp().wait_for_tone(440.0, 300, 10_000).await.unwrap();
    for _ in 0..100 {
        ticks.tick().await;
        let stamp = call.rtp().next_stamp();
        strangers.iter_mut().for_each(|stranger| stranger.send(gateway, stamp));
    }
    call.rtp().clear_heard();
    call.rtp().wait_for_tone(1_000.0, 300, 5_000).await.unwrap();
    assert_eq!(strangers.each_ref().map(Stranger::heard), [0, 0], "packets to strangers");
    assert_eq!(operator.rtp().heard().packets.iter().filter(|p| p.samples[0] == 0).count(), 0);
    let sent: u64 = strangers.iter().map(|stranger| stranger.sent).sum();
    until("all of the strangers' packets counted", 5_000, || async {
        (metric(&desk, "hotline_rtp_dropped_foreign").await == sent).then_some(())
    })
    .await
    .unwrap();
    let pcm = operator.rtp().heard().pcm();
    assert_eq!(hotline_tests::tone::tone_ms(&pcm, RATE_HZ, STRANGERS_HZ), 0, "the operator hears the citizen only");
    let id = call_of(&desk, 1).await;
    call.hang_up().await.unwrap();
    desk.ended(&id).await;
    let path = until("the recording", 10_000, || async {
        let row = desk.api.get(&format!("/api/v1/calls/{id}")).await.ok()?;
        let done = row["recordings"].as_array()?.iter().find(|r| r["state"] == "done").cloned()?;
        Some(desk.gateway.recordings_dir().join(done["path"].as_str()?))
    })
    .await
    .unwrap();
    let wav = Wav::read(&path).unwrap();
    assert_eq!(wav.tone_ms(0, STRANGERS_HZ), 0);
    assert!(wav.tone_ms(0, 440.0) >= 1_500);
    assert_eq!(strangers.each_ref().map(Stranger::heard), [0, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_that_names_somebody_elses_address_makes_us_send_nothing_there() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let phone = desk.phone().await;
    phone.set_behaviour(hotline_tests::sip::Behaviour::Manual);
    desk.ready().await;
    let victim = Stranger::new(STRANGER_IP);
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
    let call = citizen.call_answered("12319", 5_000).await.unwrap();
    let operator = phone.next_call(10_000).await.unwrap();
    operator.rtp().play(Source::Nothing);
    operator.rtp().describe_as(victim.rtp.local_addr().unwrap());
    operator.ring(180, false).unwrap();
    operator.accept().unwrap();
    let id = call_of(&desk, 1).await;
    desk.api
        .wait_for(&format!("/api/v1/calls/{id}/events"), 10_000, |events| {
            events.as_array()?.iter().any(|e| e["kind"] == "talk_start").then_some(())
        })
        .await
        .unwrap();
    // A second of the citizen's voice has gone to the bridge by now.
    let sent = call.rtp().packets_sent();
    until("a second of talk", 5_000, || async { (call.rtp().packets_sent() >= sent + 50).then_some(()) })
        .await
        .unwrap();
    assert_eq!(victim.heard(), 0, "nothing goes to whom nobody vouches for");
    call.hang_up().await.unwrap();
    desk.ended(&id).await;
}

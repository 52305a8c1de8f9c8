//! SIPp plays what callers and phones do wrong, late or at the same moment; its verdict and our rows must agree.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use std::net::SocketAddr;

use common::sipp::{caller, event, nothing_left, sipp_phone};
use common::{Desk, NUMBER, call_of};
use hotline_tests::gateway::GatewayConfig;
use hotline_tests::impair::{Impairment, Loss, UdpRelay};
use hotline_tests::net::TRUNK_IP;
use hotline_tests::peer::{Sipp, SippConfig};
use hotline_tests::sip::{Citizen, CitizenConfig};
use hotline_tests::within;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

async fn desk() -> Desk {
    Desk::open(GatewayConfig::default().with("callback.enabled", false)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_right_behind_the_invite_ends_the_call_whichever_is_faster() {
    let desk = desk().await;
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
    let calls: Vec<_> = (0..20).map(|_| citizen.call("12319").unwrap()).collect();
    for call in &calls {
        call.cancel().await.unwrap();
    }
    for n in 1..=20 {
        let row = desk.ended(&call_of(&desk, n).await).await;
        assert_eq!(row["end_side"], "citizen", "{row}");
    }
    nothing_left(&desk).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_after_the_200_changes_nothing() {
    let desk = desk().await;
    let row = caller(&desk, SippConfig::scenario(desk.gateway.sip(), "cancel_late", 500)).await;
    assert_eq!((row["end_side"].as_str(), row["end_reason"].as_str()), (Some("citizen"), Some("bye")), "{row}");
    assert!(row["end_at"].as_i64().unwrap() - row["answer_at"].as_i64().unwrap() >= 450, "{row}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_ack_keeps_the_call() {
    let desk = desk().await;
    let mut config = SippConfig::scenario(desk.gateway.sip(), "late_ack", 1_000);
    config.retransmits = false;
    let row = caller(&desk, config).await;
    assert_eq!((row["end_side"].as_str(), row["end_reason"].as_str()), (Some("citizen"), Some("bye")), "{row}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invite_repeated_after_a_lost_200_is_the_same_call() {
    let desk = desk().await;
    let mut config = SippConfig::scenario(desk.gateway.sip(), "lost_200", 300);
    config.retransmits = false;
    let row = caller(&desk, config).await;
    assert_eq!(row["end_side"], "citizen", "{row}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reinvite_before_the_ack_gets_491_and_the_next_one_holds_and_resumes() {
    let desk = desk().await;
    let row = caller(&desk, SippConfig::scenario(desk.gateway.sip(), "crossing_reinvite", 300)).await;
    assert_eq!(row["end_reason"], "bye", "{row}");
    held_and_resumed(&desk).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn update_changes_the_session_and_refreshes_it() {
    let desk = desk().await;
    let row = caller(&desk, SippConfig::scenario(desk.gateway.sip(), "update", 300)).await;
    assert_eq!(row["end_reason"], "bye", "{row}");
    held_and_resumed(&desk).await;
}

async fn held_and_resumed(desk: &Desk) {
    let id = call_of(desk, 1).await;
    let events = desk.api.get(&format!("/api/v1/calls/{id}/events")).await.unwrap();
    let holds: Vec<bool> = events
        .as_array()
        .unwrap()
        .iter()
        .filter(|e| e["kind"] == "citizen_hold")
        .filter_map(|e| e["data"]["on"].as_bool())
        .collect();
    assert_eq!(holds, [true, false], "{events}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_leaves_cancels_the_ringing_phone() {
    let desk = desk().await;
    let phone = Sipp::start(&sipp_phone(&desk, "phone_cancelled").await).unwrap();
    desk.ready().await;
    leave_while_ringing(&desk).await;
    phone.wait_successful().await.unwrap();
    nothing_left(&desk).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_that_answers_into_our_cancel_is_acknowledged_and_hung_up() {
    let desk = desk().await;
    let phone = Sipp::start(&sipp_phone(&desk, "phone_answers_into_the_cancel").await).unwrap();
    desk.ready().await;
    leave_while_ringing(&desk).await;
    phone.wait_successful().await.unwrap();
    let row = desk.ended(&call_of(&desk, 1).await).await;
    assert!(row["operator_answer_at"].is_null(), "nobody talked: {row}");
    nothing_left(&desk).await;
}

async fn leave_while_ringing(desk: &Desk) {
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
    let call = citizen.call_answered("12319", 5_000).await.unwrap();
    let id = call_of(desk, 1).await;
    event(desk, &id, "operator_ring").await;
    call.hang_up().await.unwrap();
    let row = desk.ended(&id).await;
    assert_eq!((row["end_side"].as_str(), row["stage_abandoned"].as_str()), (Some("citizen"), Some("queue")), "{row}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_200s_of_a_forked_call_the_first_talks_and_the_second_is_hung_up() {
    let desk = desk().await;
    let phone = Sipp::start(&sipp_phone(&desk, "phone_forked").await).unwrap();
    desk.ready().await;
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
    let call = citizen.call_answered("12319", 5_000).await.unwrap();
    let id = call_of(&desk, 1).await;
    event(&desk, &id, "talk_start").await;
    call.hang_up().await.unwrap();
    phone.wait_successful().await.unwrap();
    let row = desk.ended(&id).await;
    assert_eq!(row["end_side"], "citizen", "{row}");
    assert!(row["operator_answer_at"].is_i64(), "{row}");
    nothing_left(&desk).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_per_cent_loss_fails_no_call() {
    let desk = desk().await;
    let lossy = Impairment { loss: Loss::Random(5.0), ..Impairment::default() };
    let relay = UdpRelay::start(TRUNK_IP, desk.gateway.sip(), lossy, 5).await.unwrap();
    // SIPp takes a repeated 200 of the INVITE for the BYE's: by then three chances of an ACK must have passed.
    let mut config = SippConfig::scenario(relay.address(), "setup", 2_300);
    (config.calls, config.rate, config.calls_at_once_max) = (200, 40, 200);
    let report = Sipp::start(&config).unwrap().wait_successful().await.unwrap();
    assert_eq!((report.successful, report.failed), (200, 0));
    assert!(relay.lost() > 20, "{} datagrams lost", relay.lost());
    nothing_left(&desk).await;
    let metrics = desk.api.metrics().await.unwrap();
    let calls_in = metrics.lines().find(|l| l.starts_with("hotline_calls_in_total")).unwrap();
    assert!(calls_in.ends_with(" 200"), "a repeated INVITE is no second call: {calls_in}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_over_tcp_survives_any_cut_of_its_messages() {
    let desk = desk().await;
    // Byte by byte, in pieces with a seam in the middle of a header, and two messages in one segment.
    for piece in [1, 7, usize::MAX] {
        tcp_call(desk.gateway.sip(), piece).await;
    }
    for n in 1..=3 {
        let row = desk.ended(&call_of(&desk, n).await).await;
        assert_eq!(row["end_reason"], "bye", "{row}");
    }
    nothing_left(&desk).await;
}

/// INVITE, ACK with BYE behind it, cut into pieces of `piece` bytes.
async fn tcp_call(gateway: SocketAddr, piece: usize) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(TRUNK_IP, 0)).unwrap();
    let mut stream = socket.connect(gateway).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let own = stream.local_addr().unwrap();
    let request = |method: &str, cseq: u32, to: &str, body: &str| {
        let (kind, length) = if body.is_empty() { ("", 0) } else { ("Content-Type: application/sdp\r\n", body.len()) };
        format!(
            "{method} sip:12319@{gateway} SIP/2.0\r\nVia: SIP/2.0/TCP {own};branch=z9hG4bK{method}{piece}\r\n\
             From: <sip:{NUMBER}@{own}>;tag=p{piece}\r\nTo: {to}\r\nCall-ID: pieces-{piece}\r\n\
             CSeq: {cseq} {method}\r\nContact: <sip:{NUMBER}@{own};transport=tcp>\r\nMax-Forwards: 70\r\n{kind}\
             Content-Length: {length}\r\n\r\n{body}"
        )
    };
    let sdp = format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8\r\n",
        ip = own.ip()
    );
    let to = format!("<sip:12319@{gateway}>");
    in_pieces(&mut stream, &request("INVITE", 1, &to, &sdp), piece).await;
    let mut heard = String::new();
    answer(&mut stream, &mut heard, "1 INVITE").await;
    let to = heard.lines().rev().find_map(|line| line.strip_prefix("To: ").filter(|to| to.contains("tag="))).unwrap();
    let both = request("ACK", 1, to, "") + "\r\n\r\n" + &request("BYE", 2, to, "");
    in_pieces(&mut stream, &both, piece).await;
    answer(&mut stream, &mut heard, "2 BYE").await;
}

async fn in_pieces(stream: &mut TcpStream, text: &str, piece: usize) {
    for part in text.as_bytes().chunks(piece) {
        stream.write_all(part).await.unwrap();
        tokio::task::yield_now().await;
    }
}

/// Reads on until a 200 with this CSeq has come.
async fn answer(stream: &mut TcpStream, heard: &mut String, cseq: &str) {
    let mut buffer = [0_u8; 4_096];
    let wanted = format!("CSeq: {cseq}\r\n");
    while !heard.split("SIP/2.0 ").any(|m| m.starts_with("200") && m.contains(&wanted) && m.contains("\r\n\r\n")) {
        let read = within("an answer over TCP", 10_000, stream.read(&mut buffer)).await.unwrap().unwrap();
        assert!(read > 0, "closed after {heard}");
        heard.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
}

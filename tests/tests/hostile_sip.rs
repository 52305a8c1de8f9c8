//! Attacks on the SIP port: the trunk is answered all the same, and memory stays where it was.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use common::Desk;
use hotline_tests::gateway::{GatewayConfig, NewUser};
use hotline_tests::net::TRUNK_IP;
use hotline_tests::sip::{Citizen, CitizenConfig, Credentials, Phone, PhoneConfig};
use hotline_tests::until;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

/// An answer that takes longer is late; the best of some tries counts, since others use this machine too.
const ANSWER_MS_MAX: u128 = 200;
const TRIES: u32 = 10;
const GROWTH_KIB_MAX: u64 = 64 * 1024;
const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.1.1\r\ns=-\r\nc=IN IP4 127.0.1.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n";

fn ip(net: u8, host: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, net, host))
}

fn request(method: &str, transport: &str, from: SocketAddr, id: &str, more: &str, body: &str) -> String {
    let type_ = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    format!(
        "{method} sip:12319@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/{transport} {from};branch=z9hG4bK{id};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:13800138000@{from}>;tag=t{id}\r\nTo: <sip:12319@127.0.0.1>\r\nCall-ID: {id}\r\n\
         CSeq: 1 {method}\r\nContact: <sip:x@{from}>\r\n{type_}{more}\r\n{body}"
    )
}

fn resident_kib(desk: &Desk) -> u64 {
    let id = desk.gateway.process_id().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

async fn udp(from: IpAddr) -> UdpSocket {
    UdpSocket::bind(SocketAddr::new(from, 0)).await.unwrap()
}

async fn tcp(from: IpAddr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(from, 0))?;
    socket.connect(to).await
}

/// Sends a request from the trunk and gives the fastest answer's first line and time, ms.
async fn fastest(desk: &Desk, method: &str, body: &str) -> (String, u128) {
    let socket = udp(TRUNK_IP).await;
    let from = socket.local_addr().unwrap();
    let mut best = (String::new(), u128::MAX);
    let mut buffer = vec![0; 65_535];
    for n in 0..TRIES {
        let length = format!("Content-Length: {}\r\n", body.len());
        let id = format!("probe{method}{n}p{}", from.port());
        let text = request(method, "UDP", from, &id, &length, body);
        let start = Instant::now();
        socket.send_to(text.as_bytes(), desk.gateway.sip()).await.unwrap();
        // What comes late for an earlier one is none of this one's.
        let answer = async {
            loop {
                let len = socket.recv(&mut buffer).await.unwrap();
                let text = String::from_utf8_lossy(&buffer[..len]);
                if text.contains(&id) {
                    return text.lines().next().unwrap_or("").to_owned();
                }
            }
        };
        let Ok(line) = tokio::time::timeout(Duration::from_secs(5), answer).await else { continue };
        let took = start.elapsed().as_millis();
        if took < best.1 {
            best = (line, took);
        }
    }
    best
}

async fn assert_trunk_is_served(desk: &Desk) {
    let (line, took) = fastest(desk, "OPTIONS", "").await;
    assert!(line.starts_with("SIP/2.0 200") && took <= ANSWER_MS_MAX, "OPTIONS: {line} after {took} ms");
    let (line, took) = fastest(desk, "INVITE", SDP).await;
    assert!(line.starts_with("SIP/2.0 100") && took <= ANSWER_MS_MAX, "INVITE: {line} after {took} ms");
}

/// Everything the other side sends until it closes or says nothing for a while.
async fn read_all(stream: &mut TcpStream) -> (String, bool) {
    let mut out = Vec::new();
    let mut buffer = vec![0; 65_535];
    loop {
        match tokio::time::timeout(Duration::from_secs(3), stream.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => return (String::from_utf8_lossy(&out).into_owned(), true),
            Ok(Ok(len)) => out.extend_from_slice(&buffer[..len]),
            Err(_) => return (String::from_utf8_lossy(&out).into_owned(), false),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn absurd_lengths_and_four_thousand_headers_are_refused_and_the_trunk_is_served() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let to = desk.gateway.sip();
    let many = "X-Filler: y\r\n".repeat(4_000);
    let cases = [
        ("huge", "Content-Length: 99999999999999999999\r\n".to_owned()),
        ("large", "Content-Length: 4294967295\r\n".to_owned()),
        ("negative", "Content-Length: -1\r\n".to_owned()),
        ("doubled", "Content-Length: 0\r\nContent-Length: 500\r\n".to_owned()),
        ("headers", many + "Content-Length: 0\r\n"),
    ];
    for (name, more) in &cases {
        let mut stream = tcp(TRUNK_IP, to).await.unwrap();
        let text = request("INVITE", "TCP", stream.local_addr().unwrap(), name, more, SDP);
        // The gateway may hang up in the middle of it.
        let _ = stream.write_all(text.as_bytes()).await;
        let (answer, is_closed) = read_all(&mut stream).await;
        let refused =
            answer.starts_with("SIP/2.0 4") || answer.starts_with("SIP/2.0 513") || (answer.is_empty() && is_closed);
        assert!(refused, "{name}: closed {is_closed}, {answer}");
        let socket = udp(TRUNK_IP).await;
        let text = request("INVITE", "UDP", socket.local_addr().unwrap(), &format!("u{name}"), more, SDP);
        socket.send_to(text.as_bytes(), to).await.unwrap();
        let mut buffer = vec![0; 65_535];
        let len = tokio::time::timeout(Duration::from_secs(20), socket.recv(&mut buffer)).await.expect(name).unwrap();
        let line = String::from_utf8_lossy(&buffer[..len]).lines().next().unwrap_or("").to_owned();
        assert!(line.starts_with("SIP/2.0 4") || line.starts_with("SIP/2.0 5"), "{name} over UDP: {line}");
    }
    assert_trunk_is_served(&desk).await;
    assert!(!desk.gateway.log().contains("panicked"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_half_open_connections_and_resets_keep_no_trunk_out() {
    let desk = Desk::open(GatewayConfig::default()).await;
    assert_trunk_is_served(&desk).await;
    let to = desk.gateway.sip();
    let before = resident_kib(&desk);
    let mut open = Vec::new();
    for n in 0..2_000_u32 {
        let from = ip(2, 50 + u8::try_from(n % 10).unwrap());
        let Ok(mut stream) = tcp(from, to).await else { continue };
        let text = request("INVITE", "TCP", stream.local_addr().unwrap(), &format!("half{n}"), "", "");
        let half = &text.as_bytes()[..text.len() / 2];
        if stream.write_all(half).await.is_ok() {
            open.push(stream);
        }
    }
    assert!(open.len() > 1_000, "{} connections stood", open.len());
    for n in 0..500_u32 {
        let stream = tcp(ip(1, 60), to).await.unwrap();
        let text = request("INVITE", "TCP", stream.local_addr().unwrap(), &format!("rst{n}"), "", "");
        let mut stream = stream;
        let _ = stream.write_all(&text.as_bytes()[..60 + usize::try_from(n % 100).unwrap()]).await;
        // Closed with linger 0 the kernel sends a reset.
        let _ = stream.set_zero_linger();
    }
    assert_trunk_is_served(&desk).await;
    let mut stream = tcp(TRUNK_IP, to).await.unwrap();
    let text = request("OPTIONS", "TCP", stream.local_addr().unwrap(), "tcp", "Content-Length: 0\r\n", "");
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut buffer = [0; 64];
    let len = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut buffer)).await.unwrap().unwrap();
    assert!(buffer[..len].starts_with(b"SIP/2.0 200"), "the trunk has connections of its own");
    let grown = resident_kib(&desk).saturating_sub(before);
    assert!(grown <= GROWTH_KIB_MAX, "{grown} KiB more");
    drop(open);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_calls_without_ack_cost_little_and_strangers_get_one_datagram() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), "13812345678")).await.unwrap();
    citizen.call_answered("12319", 10_000).await.unwrap().hang_up().await.unwrap();
    let to = desk.gateway.sip();
    let before = resident_kib(&desk);
    let length = format!("Content-Length: {}\r\n", SDP.len());
    let socket = udp(ip(1, 70)).await;
    let from = socket.local_addr().unwrap();
    for n in 0..5_000 {
        let text = request("INVITE", "UDP", from, &format!("unacked{n}"), &length, SDP);
        socket.send_to(text.as_bytes(), to).await.unwrap();
        if n % 50 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let mut strangers = Vec::new();
    for host in 1..=20 {
        let socket = udp(ip(9, host)).await;
        let from = socket.local_addr().unwrap();
        for n in 0..250 {
            let text = request("INVITE", "UDP", from, &format!("stranger{host}-{n}"), &length, SDP);
            socket.send_to(text.as_bytes(), to).await.unwrap();
            if n % 50 == 49 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        strangers.push(socket);
    }
    // Until the gateway has seen the last of them; a full socket buffer may have lost some.
    let count = |text: &str, name: &str| {
        let line = text.lines().find(|l| l.starts_with(name) && l.as_bytes().get(name.len()) == Some(&b' '));
        line.and_then(|l| l.rsplit(' ').next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    until("the strangers' datagrams", 60_000, || async {
        let text = desk.api.metrics().await.ok()?;
        let names = ["hotline_sip_refused_strangers", "hotline_sip_rate_limited", "hotline_sip_refused_banned"];
        let seen: u64 = names.iter().map(|name| count(&text, name)).sum();
        (seen >= 2_000).then_some(())
    })
    .await
    .unwrap();
    let grown = resident_kib(&desk).saturating_sub(before);
    assert!(grown <= GROWTH_KIB_MAX, "{grown} KiB more");
    for socket in &strangers {
        let mut buffer = [0; 2_048];
        let mut count = 0;
        while socket.try_recv(&mut buffer).is_ok() {
            count += 1;
        }
        assert!(count <= 1, "{count} datagrams to {}", socket.local_addr().unwrap());
    }
    let (line, took) = fastest(&desk, "OPTIONS", "").await;
    assert!(line.starts_with("SIP/2.0 200") && took <= ANSWER_MS_MAX, "{line} after {took} ms");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guesser_is_banned_visibly_until_somebody_lifts_it_and_phones_go_on() {
    let desk = Desk::open(GatewayConfig::default().with("sip.guard.failures_max", 10)).await;
    let mut chief = NewUser::operator("9001");
    chief.roles = vec!["admin".into()];
    desk.gateway.add_user(&chief).unwrap();
    let admin = desk.gateway.sign_in(&chief).await.unwrap();
    let guesser = ip(2, 66);
    let phone_at = |ip: IpAddr, password: &str| {
        let mut config = PhoneConfig::new(desk.gateway.sip(), Credentials::new("1001", password));
        config.ip = ip;
        config
    };
    let innocent = desk.phone().await;
    for n in 0..3 {
        let phone = Phone::unregistered(phone_at(guesser, &format!("guess{n}"))).await.unwrap();
        assert!(phone.register(300).await.unwrap_err().to_string().contains("403"), "{n}");
    }
    // From here on it has to wait; it doesn't, and its repetitions count.
    let bans = until("the ban", 30_000, || async {
        let phone = Phone::unregistered(phone_at(guesser, "guess")).await.ok()?;
        let _ = tokio::time::timeout(Duration::from_millis(1_500), phone.register(300)).await;
        let bans = admin.get("/api/v1/sip/bans").await.ok()?;
        (!bans.as_array()?.is_empty()).then_some(bans)
    })
    .await
    .unwrap();
    assert_eq!((bans[0]["source"].as_str(), bans[0]["reason"].as_str()), (Some("127.0.2.66"), Some("passwords")));
    assert!(desk.api.get("/api/v1/sip/bans").await.unwrap_err().to_string().contains("403"), "for admins only");
    assert_eq!(innocent.register(300).await.unwrap(), 300, "the user's own phone goes on");
    assert!(desk.api.metrics().await.unwrap().lines().any(|l| l == "hotline_sip_bans 1"));
    let listed = until("the ban's row", 10_000, || async {
        let text = desk.gateway.run_ok(&["ban", "list"]).ok()?;
        text.contains("127.0.2.66").then_some(text)
    });
    assert!(listed.await.unwrap().contains("passwords"));

    desk.gateway.run_ok(&["ban", "lift", "127.0.2.66"]).unwrap();
    until("the lifting", 15_000, || async {
        let bans = admin.get("/api/v1/sip/bans").await.ok()?;
        bans.as_array()?.is_empty().then_some(())
    })
    .await
    .unwrap();
    let phone = Phone::unregistered(phone_at(guesser, "phone-1001")).await.unwrap();
    assert_eq!(phone.register(300).await.unwrap(), 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registered_phone_rings_at_once_after_a_crash() {
    let mut desk = Desk::open(GatewayConfig::default()).await;
    let phone = desk.phone().await;
    desk.ready().await;
    until("the registration's row", 10_000, || async { desk.gateway.log().contains("contacts stored").then_some(()) })
        .await
        .unwrap();
    desk.gateway.crash_and_restart().await.unwrap();
    // The operator's own state may have been too young for a row; the phone's contact was not.
    assert_eq!(desk.api.set_state("ready").await.unwrap()["phone_registered"], true);
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), "13812345678")).await.unwrap();
    let call = citizen.call_answered("12319", 10_000).await.unwrap();
    phone.next_call(10_000).await.unwrap();
    call.rtp().wait_for_tone(1_000.0, 300, 10_000).await.unwrap();
    call.hang_up().await.unwrap();
}

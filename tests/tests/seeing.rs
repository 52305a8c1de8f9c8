//! What passed on the wire: the trace of a call in the API and on the command line, HEP, counters.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

mod common;

use common::{Desk, NUMBER, call_of};
use hotline_tests::gateway::GatewayConfig;
use hotline_tests::hep::{Collector, Packet};
use hotline_tests::sip::{Citizen, CitizenConfig};
use hotline_tests::until;
use serde_json::Value;

/// A call with a talk, ended by the citizen; its id.
async fn talked(desk: &Desk) -> String {
    let _phone = desk.phone().await;
    desk.ready().await;
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
    let call = citizen.call_answered("12319", 5_000).await.unwrap();
    call.rtp().wait_for_tone(1_000.0, 300, 10_000).await.unwrap();
    let id = call_of(desk, 1).await;
    call.hang_up().await.unwrap();
    desk.ended(&id).await;
    id
}

fn lines(trace: &Value, leg: u64) -> Vec<String> {
    let messages = trace["messages"].as_array().unwrap().iter().filter(|m| m["leg"] == leg);
    messages.map(|m| format!("{} {}", m["way"].as_str().unwrap(), m["first_line"].as_str().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_shows_both_its_legs_masked_and_raw_only_with_a_reason() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let id = talked(&desk).await;
    let path = format!("/api/v1/calls/{id}/trace");
    let trace = desk.api.get(&path).await.unwrap();
    assert_eq!(trace["legs"][0]["label"], "carrier");
    assert_eq!(trace["legs"][1]["label"], "1001");
    let citizen = lines(&trace, 0);
    assert!(citizen[0].starts_with("in INVITE sip:12319@"), "{citizen:?}");
    for wanted in ["out SIP/2.0 100", "out SIP/2.0 200", "in ACK", "in BYE"] {
        assert!(citizen.iter().any(|l| l.starts_with(wanted)), "{wanted}: {citizen:?}");
    }
    let operator = lines(&trace, 1);
    assert!(operator[0].starts_with("out INVITE sip:1001@") && operator.iter().any(|l| l.starts_with("out BYE")));
    assert!(!trace.to_string().contains(NUMBER), "numbers are masked");
    assert!(trace["messages"][0]["text"].as_str().unwrap().contains("138****5678"), "{}", trace["messages"][0]);

    let ladder = desk.api.get_raw(&format!("{path}?format=text")).await.unwrap().text().await.unwrap();
    assert!(ladder.lines().next().unwrap().contains("1001 127.0.2.1:"), "{ladder}");
    assert!(ladder.contains("<-- BYE") && !ladder.contains(NUMBER), "{ladder}");
    let diagram = desk.api.get_raw(&format!("{path}?format=mermaid")).await.unwrap().text().await.unwrap();
    assert!(diagram.starts_with("sequenceDiagram") && diagram.contains("P0->>H: +0 ms INVITE"), "{diagram}");

    let refused = desk.api.get(&format!("{path}?raw=true")).await.unwrap_err().to_string();
    assert!(refused.contains("400"), "a reason is missing: {refused}");
    let raw = desk.api.get(&format!("{path}?raw=true&reason=carrier+complaint")).await.unwrap();
    assert!(raw.to_string().contains(NUMBER));
    let (_phone, second) = desk.second_operator().await;
    let refused = second.get(&format!("{path}?raw=true&reason=curious")).await.unwrap_err().to_string();
    assert!(refused.contains("403"), "{refused}");
    assert!(second.get(&path).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_outlives_its_call_sealed_and_the_command_line_prints_it() {
    let mut desk = Desk::open(GatewayConfig::default()).await;
    let id = talked(&desk).await;
    // A clean stop stores at once what still waits.
    desk.gateway.sigterm(60_000).await.unwrap();
    let ladder = desk.gateway.run_ok(&["trace", "last"]).unwrap();
    assert!(
        ladder.contains(&id) && ladder.contains("INVITE sip:12319@") && ladder.contains("1001 127.0.2.1"),
        "{ladder}"
    );
    assert!(!ladder.contains(NUMBER), "{ladder}");
    let diagram = desk.gateway.run_ok(&["trace", &id, "--mermaid"]).unwrap();
    assert!(diagram.starts_with("sequenceDiagram"), "{diagram}");
    let whole = desk.gateway.run_ok(&["trace", &id, "--messages", "--raw", "asked by the carrier"]).unwrap();
    assert!(whole.contains(NUMBER) && whole.contains("Call-ID:"), "{whole}");
    assert!(desk.gateway.run(&["trace", "ffff"]).is_ok_and(|o| !o.status.success()));
    let rows = std::fs::read(desk.gateway.data_dir().join("hotline.db")).unwrap();
    let is_in = |what: &[u8]| rows.windows(what.len()).any(|w| w == what);
    assert!(!is_in(NUMBER.as_bytes()) && !is_in(b"SIP/2.0/UDP"), "the row is sealed");
    desk.gateway.boot().await.unwrap();
    let api = desk.gateway.sign_in(&desk.user).await.unwrap();
    let trace = api.get(&format!("/api/v1/calls/{id}/trace")).await.unwrap();
    assert!(lines(&trace, 0)[0].starts_with("in INVITE"), "after a restart it comes from its row");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_goes_to_the_hep_collector_masked_and_correlated_by_call() {
    let collector = Collector::start().await.unwrap();
    let config = GatewayConfig::default()
        .with("trace.hep.address", collector.address().unwrap().to_string())
        .with("trace.hep.capture_id", 77)
        .with("trace.hep.password", "hep-key");
    let desk = Desk::open(config).await;
    let id = talked(&desk).await;
    let of = |all: &[Packet], head: &str| all.iter().filter(|p| p.text().starts_with(head)).count();
    let all = collector.packets(15_000, |all| of(all, "BYE") >= 2).await.unwrap();
    assert!(of(&all, "REGISTER") >= 1, "messages of no call too");
    let invite = all.iter().find(|p| p.text().starts_with("INVITE sip:12319@")).unwrap();
    assert_eq!((invite.family, invite.protocol, invite.kind), (2, 17, 1));
    assert_eq!((invite.capture_id, invite.key.as_str()), (77, "hep-key"));
    assert_eq!(invite.destination, Some(desk.gateway.sip()));
    assert_eq!(invite.source.unwrap().ip().to_string(), "127.0.1.1");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros();
    assert!((now - u128::from(invite.at_us)) < 60_000_000);
    assert!(invite.text().contains("138****5678") && all.iter().all(|p| !p.text().contains(NUMBER)));
    let legs = all.iter().filter(|p| p.text().starts_with("INVITE"));
    assert!(legs.clone().count() >= 2 && legs.clone().all(|p| p.correlation == id), "both legs carry the call's id");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_counted_by_peer_method_and_code() {
    let desk = Desk::open(GatewayConfig::default()).await;
    talked(&desk).await;
    let nobody = Citizen::start(CitizenConfig::new(desk.gateway.sip(), NUMBER)).await.unwrap();
    assert!(nobody.call_answered("99999", 5_000).await.is_err());
    // At least so many: retransmissions count, too.
    let wanted = [
        (r#"hotline_sip_requests_total{direction="in",method="INVITE",peer="carrier"}"#, 2.0),
        (r#"hotline_sip_responses_total{code="404",direction="out",method="INVITE",peer="carrier"}"#, 1.0),
        (r#"hotline_sip_responses_total{code="401",direction="out",method="REGISTER",peer="phones"}"#, 1.0),
        (r#"hotline_sip_responses_total{code="200",direction="in",method="INVITE",peer="phones"}"#, 1.0),
    ];
    let counted = |text: &str, series: &str| {
        text.lines().find_map(|l| l.strip_prefix(series)?.trim().parse::<f64>().ok()).unwrap_or(0.0)
    };
    let text = until("the counters", 5_000, || async {
        let text = desk.gateway.api().get_raw("/metrics").await.ok()?.text().await.ok()?;
        wanted.iter().all(|(series, least)| counted(&text, series) >= *least).then_some(text)
    })
    .await;
    if text.is_err() {
        panic!("{}", desk.gateway.api().get_raw("/metrics").await.unwrap().text().await.unwrap());
    }
}

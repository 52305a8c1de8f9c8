//! Strangers, broken senders and broken input: a clear refusal, an answer in the protocol's own terms, no harm.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use std::time::Duration;

use common::{Desk, call_of};
use hotline_tests::gateway::GatewayConfig;
use hotline_tests::net::STRANGER_IP;
use hotline_tests::sip::{Agent, AgentConfig, Citizen, CitizenConfig, Message};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reqwest::Method;
use serde_json::json;

fn invite(desk: &Desk, agent: &Agent, user: &str, tag: u32) -> Message {
    let target = desk.gateway.sip();
    Message::request("INVITE", &format!("sip:{user}@{target}"))
        .with("Via", format!("SIP/2.0/UDP {};branch=z9hG4bK-x{tag}", agent.local()))
        .with("From", format!("<sip:x@{}>;tag=t{tag}", agent.local()))
        .with("To", format!("<sip:{user}@{target}>"))
        .with("Call-ID", format!("stranger-{tag}"))
        .with("CSeq", "1 INVITE")
        .with("Contact", format!("<sip:x@{}>", agent.local()))
        .with("Max-Forwards", "70")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_gets_one_answer_at_most_and_no_resend_storm() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let stranger = Agent::start(AgentConfig::new(STRANGER_IP, "x")).await.unwrap();
    for tag in 0..100 {
        stranger.send(desk.gateway.sip(), &invite(&desk, &stranger, "12319", tag)).unwrap();
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let answers = stranger.received(|m| m.code().is_some());
    assert!(answers.len() <= 1, "{} answers to a stranger", answers.len());
    assert!(answers.iter().all(|m| m.code() == Some(403)));
    assert!(desk.api.get("/api/v1/calls").await.unwrap().as_array().unwrap().is_empty(), "and no row");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_the_sip_port_harms_no_call() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let trunk = Agent::start(AgentConfig::new(hotline_tests::net::TRUNK_IP, "fuzz")).await.unwrap();
    let good = invite(&desk, &trunk, "12319", 1).with_body("application/sdp", "v=0\r\n").to_bytes().unwrap();
    let mut rng = StdRng::seed_from_u64(7);
    for round in 0..2_000 {
        let mut bytes = good.clone();
        for _ in 0..rng.random_range(1..20) {
            let at = rng.random_range(0..bytes.len());
            bytes[at] = rng.random();
        }
        bytes.truncate(rng.random_range(1..=bytes.len()));
        trunk.send_raw(desk.gateway.sip(), &bytes);
        if round % 200 == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), "13812345678")).await.unwrap();
    let call = citizen.call_answered("12319", 10_000).await.unwrap();
    call.hang_up().await.unwrap();
    assert!(!desk.gateway.log().contains("panicked"), "{}", desk.gateway.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unusable_offer_gets_488_and_an_unknown_number_404() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let trunk = Agent::start(AgentConfig::new(hotline_tests::net::TRUNK_IP, "x")).await.unwrap();
    let to = desk.gateway.sip();
    let cases = [
        (
            "12319",
            "v=0\r\no=- 1 1 IN IP4 127.0.1.1\r\ns=-\r\nc=IN IP4 127.0.1.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 18\r\n",
            488,
        ),
        ("12319", "nonsense", 488),
        (
            "99999",
            "v=0\r\no=- 1 1 IN IP4 127.0.1.1\r\ns=-\r\nc=IN IP4 127.0.1.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n",
            404,
        ),
    ];
    for (n, (user, sdp, code)) in (10..).zip(cases) {
        let request = invite(&desk, &trunk, user, n).with_body("application/sdp", sdp);
        let answer = trunk.request(&request, to).await.unwrap();
        assert_eq!(answer.code(), Some(code), "{user} {sdp}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_refuses_the_unsigned_the_oversized_and_the_malformed() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let open = desk.gateway.api();
    for path in ["/api/v1/calls", "/api/v1/items", "/api/v1/callbacks", "/api/v1/queues", "/api/v1/calls/live"] {
        assert_eq!(open.get_raw(path).await.unwrap().status(), 401, "{path}");
    }
    let big = json!({ "kind": "投诉", "title": "x", "detail": "长".repeat(200_000) });
    let status = |method, path: &'static str, body: Option<serde_json::Value>| {
        let api = desk.api.clone();
        async move { api.send(method, path, body.as_ref(), &[]).await.unwrap().status().as_u16() }
    };
    assert_eq!(status(Method::POST, "/api/v1/items", Some(big)).await, 413);
    assert_eq!(status(Method::POST, "/api/v1/items", Some(json!([1, 2]))).await, 422);
    assert_eq!(
        status(Method::POST, "/api/v1/items", Some(json!({"kind": "投诉", "title": "x", "lon": 500}))).await,
        400
    );
    assert_eq!(status(Method::GET, "/api/v1/calls/nonsense", None).await, 404);
    assert_eq!(status(Method::GET, "/api/v1/items/00000000", None).await, 404);
    assert_eq!(status(Method::GET, "/api/v1/recordings/..%2f..%2fetc/audio?reason=look", None).await, 404);
    let document = open.get("/openapi.json").await.unwrap();
    assert!(document["paths"]["/api/v1/items"]["post"].is_object());
    for _ in 0..10 {
        assert!(open.sign_in("1001", "wrong-password").await.is_err());
    }
    let blocked = open.sign_in("1001", &desk.user.password).await.unwrap_err().to_string();
    assert!(blocked.contains("429"), "{blocked}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_playback_needs_a_reason_and_no_log_or_answer_shows_a_number() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let _phone = desk.phone().await;
    desk.ready().await;
    let number = "13912345678";
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), number)).await.unwrap();
    let call = citizen.call_answered("12319", 5_000).await.unwrap();
    call.rtp().wait_for_tone(1_000.0, 300, 10_000).await.unwrap();
    call.hang_up().await.unwrap();
    let id = call_of(&desk, 1).await;
    let row = desk.ended(&id).await;
    let recording = row["recordings"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(desk.api.get_raw(&format!("/api/v1/recordings/{recording}/audio")).await.unwrap().status(), 400);
    assert!(desk.api.audio(&recording, "投诉复核").await.is_ok());
    let stranger = desk.gateway.sign_in(&hotline_tests::gateway::NewUser::operator("1002")).await.unwrap();
    assert!(stranger.audio(&recording, "curious").await.unwrap_err().to_string().contains("403"));
    let reveal = json!({ "reason": "回拨核实" });
    let shown = desk.api.post(&format!("/api/v1/calls/{id}/reveal"), &reveal).await.unwrap();
    assert_eq!(shown["number"], "+8613912345678");
    let events = desk.api.get(&format!("/api/v1/calls/{id}/events")).await.unwrap();
    for (what, text) in [("row", row.to_string()), ("events", events.to_string()), ("log", desk.gateway.log())] {
        assert!(!text.contains("3912345678"), "the {what} shows the number: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_configuration_names_file_line_and_remedy() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let path = desk.gateway.data_dir().join("broken.toml");
    std::fs::write(&path, "[http]\nlisten = \"nowhere\"\n").unwrap();
    let out = desk.gateway.run(&["doctor", "--config", path.to_str().unwrap()]).unwrap();
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success());
    assert!(text.contains("broken.toml") && text.contains("line 2") && text.contains("hotline.example.toml"), "{text}");
    let flow = desk.gateway.data_dir().join("broken-flow.toml");
    std::fs::write(&flow, "name = \"x\"\nstart = \"nowhere\"\n").unwrap();
    let out = desk.gateway.run(&["ivr", "check", flow.to_str().unwrap()]).unwrap();
    assert!(!out.status.success());
    assert!(String::from_utf8_lossy(&out.stderr).contains("broken-flow.toml:"), "{out:?}");
    assert!(desk.gateway.run_ok(&["ivr", "check"]).unwrap().contains("hotline"));
    assert!(desk.gateway.run_ok(&["ivr", "graph", "hotline"]).unwrap().contains("flowchart"));
}

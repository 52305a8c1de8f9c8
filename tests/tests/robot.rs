//! The self-test robot: it goes the ways citizens go, tells at the first miss, and reaches nobody.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use common::post::{CITIZEN, Post, raw_mail, rows};
use hotline_tests::gateway::{Gateway, GatewayConfig, NewUser};
use hotline_tests::net::TRUNK_IP;
use hotline_tests::peer::SinkTls;
use hotline_tests::sip::{Citizen, CitizenConfig};
use hotline_tests::until;
use serde_json::Value;

/// The robot's phone, in the trunk's network.
const ROBOT_IP: &str = "127.0.1.9";

fn calling(config: GatewayConfig) -> GatewayConfig {
    config
        .with("robot.every_s", 1)
        .with("robot.timeout_s", 10)
        .with("robot.call", "12319")
        .with("robot.call_from", ROBOT_IP)
}

/// Until a channel's self-test came through so often.
async fn passed(api: &hotline_tests::api::Api, channel: &str, times: usize) -> Value {
    let look = || async {
        let seen = api.get("/api/v1/robot").await.ok()?;
        let runs = seen[channel]["runs"].as_array()?;
        (runs.iter().filter(|r| r["ok"] == true).count() >= times).then_some(seen)
    };
    match until(&format!("{times} self-tests of {channel}"), 40_000, look).await {
        Ok(seen) => seen,
        Err(e) => panic!("{e}: {:#}", api.get("/api/v1/robot").await.unwrap()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_robots_call_is_answered_and_heard_and_reaches_nobody() {
    let desk = common::Desk::open(calling(GatewayConfig::default())).await;
    let phone = desk.phone().await;
    desk.ready().await;
    let seen = passed(&desk.api, "call", 3).await;
    assert!(seen["call"]["failing_since"].is_null(), "{seen:#}");
    // No phone rang, no call is in a list, owed, counted or waiting.
    assert!(phone.next_call(300).await.is_err(), "an operator's phone rang");
    for path in ["/api/v1/calls", "/api/v1/calls/live", "/api/v1/callbacks", "/api/v1/items"] {
        let listed = desk.api.get(path).await.unwrap();
        assert_eq!(hotline_tests::api::rows(&listed).len(), 0, "{path}: {listed:#}");
    }
    let metrics = desk.api.metrics().await.unwrap();
    assert!(metrics.contains("hotline_calls_in_total 0"), "{metrics}");
    assert!(metrics.contains("hotline_robot_up{channel=\"call\"} 1"), "{metrics}");
    assert!(
        rows(&desk.gateway, "SELECT id FROM contact WHERE channel = 'robot'").len() >= 3,
        "its numbers are given out"
    );
    assert!(rows(&desk.gateway, "SELECT id FROM contact WHERE channel <> 'robot'").is_empty());
    // A citizen's call beside it is an ordinary one.
    let citizen = Citizen::start(CitizenConfig::new(desk.gateway.sip(), common::NUMBER)).await.unwrap();
    let call = citizen.call_answered("12319", 5_000).await.unwrap();
    call.rtp().wait_for_tone(1_000.0, 300, 10_000).await.unwrap();
    call.hang_up().await.unwrap();
    assert_eq!(
        TRUNK_IP.to_string().rsplit_once('.').unwrap().0,
        ROBOT_IP.rsplit_once('.').unwrap().0,
        "the same trunk"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_mail_comes_through_both_servers_and_is_nobodys_item() {
    let mut post = Post::prepare(SinkTls::Plain, |config| {
        config
            .with("robot.every_s", 1)
            .with("robot.timeout_s", 12)
            .with("robot.mail", true)
            .with("robot.alarm_number", common::NUMBER)
    })
    .await;
    let user = leader();
    post.gateway.add_user(&user).unwrap();
    post.gateway.boot().await.unwrap();
    let api = post.gateway.sign_in(&user).await.unwrap();
    // Our mail server delivers to ourselves: what the sink gets goes into the mailbox.
    tokio::select! {
        _ = passed(&api, "mail", 1) => {}
        () = carry_on(&post, 0) => {}
    }
    let tests = post.rows("SELECT state, test, party, conversation, item FROM message");
    assert!(tests.iter().all(|m| m["test"] == 1 && m["party"].is_null() && m["item"].is_null()), "{tests:?}");
    assert!(tests.iter().all(|m| m["conversation"].is_null()), "{tests:?}");
    assert!(post.rows("SELECT id FROM item").is_empty() && post.rows("SELECT id FROM conversation").is_empty());
    assert!(post.rows("SELECT id FROM outgoing WHERE purpose <> 'test'").is_empty(), "nobody is answered");
    let items = api.get("/api/v1/items").await.unwrap();
    assert_eq!(hotline_tests::api::rows(&items).len(), 0);
    let told_before = post.rows("SELECT text FROM outgoing WHERE purpose = 'page'").len();
    // Nothing is delivered any more: the first miss is told, in the log, the figures, the health and by text.
    let problems = until("the alarm", 30_000, || async {
        let text = api.get("/healthz").await.ok()?["problems"].to_string();
        text.contains("robot: mail").then_some(text)
    })
    .await
    .unwrap();
    assert!(problems.contains("自检未通过"), "{problems}");
    assert!(api.metrics().await.unwrap().contains("hotline_robot_up{channel=\"mail\"} 0"));
    let told = post.rows("SELECT text FROM outgoing WHERE purpose = 'page'");
    assert!(
        told.len() == told_before + 1 && told[told_before]["text"].as_str().unwrap().contains("mail"),
        "once: {told:?}"
    );
    // It is delivered again: told as well.
    let carried = post.sink.mails().len();
    let mended = async {
        let look = || async {
            let seen = api.get("/api/v1/robot").await.ok()?;
            seen["mail"]["failing_since"].is_null().then_some(())
        };
        until("the end of the alarm", 40_000, look).await.unwrap();
    };
    tokio::select! {
        () = mended => {}
        () = carry_on(&post, carried) => {}
    }
    until("the second text", 10_000, || async {
        (post.rows("SELECT id FROM outgoing WHERE purpose = 'page'").len() == told_before + 2).then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_report_page_and_wechat_are_tried_and_make_nobody_an_item() {
    let config = GatewayConfig::default()
        .with("robot.every_s", 1)
        .with("robot.timeout_s", 10)
        .with("wechat.app_id", "wx1234567890abcdef")
        .with("wechat.app_secret", "secret")
        .with("wechat.base_url", "http://127.0.0.1:9")
        .with("wechat.token", "a-token-of-ours")
        .with("wechat.aes_key", "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG");
    let mut gateway = Gateway::prepare(config).unwrap();
    // Its own address is known only now.
    let text = std::fs::read_to_string(gateway.config_file()).unwrap();
    let mut table: toml::Table = text.parse().unwrap();
    let robot = table["robot"].as_table_mut().unwrap();
    robot.insert("web".into(), format!("http://{}/r", gateway.http()).into());
    robot.insert("wechat".into(), format!("http://{}/hooks/wechat", gateway.http()).into());
    std::fs::write(gateway.config_file(), table.to_string()).unwrap();
    let leader = leader();
    gateway.add_user(&leader).unwrap();
    gateway.boot().await.unwrap();
    let api = gateway.sign_in(&leader).await.unwrap();
    passed(&api, "web", 2).await;
    passed(&api, "wechat", 2).await;
    let messages = rows(&gateway, "SELECT channel, test, state, party, conversation, item FROM message");
    assert!(messages.len() >= 4 && messages.iter().all(|m| m["test"] == 1 && m["item"].is_null()), "{messages:?}");
    assert!(rows(&gateway, "SELECT id FROM item").is_empty() && rows(&gateway, "SELECT id FROM outgoing").is_empty());
    for path in ["/api/v1/items", "/api/v1/messages", "/api/v1/work"] {
        let listed = api.get(path).await.unwrap();
        assert_eq!(hotline_tests::api::rows(&listed).len(), 0, "{path}: {listed:#}");
    }
}

fn leader() -> NewUser {
    let mut user = NewUser::operator("1001");
    user.roles = ["operator", "leader"].map(String::from).to_vec();
    user
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_can_make_a_report_vanish_as_a_test() {
    let post = Post::open(SinkTls::Plain, |config| config).await;
    let forged = "自检 HT-mail-1795140000000-0123456789abcdef-0123456789abcdef0123456789abcdef";
    post.imap.deliver(&raw_mail("f1", CITIZEN, forged)).unwrap();
    post.sink.wait(1, 20_000).await.unwrap();
    let messages = post.rows("SELECT test, state FROM message");
    assert!(messages.len() == 1 && messages[0]["test"] == 0 && messages[0]["state"] == "已收", "{messages:?}");
    assert_eq!(post.rows("SELECT id FROM item").len(), 1);
}

/// Delivers the next mail the sink got to the mailbox.
async fn carry(post: &Post, n: usize) {
    let mail = post.sink.wait(n + 1, 30_000).await.unwrap().remove(n);
    post.imap.deliver(mail.raw.as_bytes()).unwrap();
}

async fn carry_on(post: &Post, from: usize) {
    for n in from.. {
        carry(post, n).await;
    }
}

//! sipvicious and its like find no extension, guess no password and get no call out, while the trunk goes on working.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use std::net::SocketAddr;

use common::{Desk, NUMBER};
use hotline_tests::gateway::{GatewayConfig, NewUser};
use hotline_tests::net::{PHONE_NETWORK, STRANGER_IP, TRUNK_IP, free_port};
use hotline_tests::peer::scan;
use hotline_tests::sip::{Agent, AgentConfig, Citizen, CitizenConfig, Credentials, Dial, Message, Phone};

/// The extensions scanned: 1000 to 1099.
const RANGE: &str = "1000-1099";
const METHODS: [&str; 3] = ["REGISTER", "INVITE", "OPTIONS"];

/// A gateway with a trunk that leads out, and everybody who must not be rung.
struct Site {
    desk: Desk,
    phone: Phone,
    outside: Citizen,
}

impl Site {
    async fn open(config: GatewayConfig) -> Self {
        let port = free_port(TRUNK_IP).unwrap();
        let mut config = config.with("callback.enabled", false);
        config.outbound = Some(SocketAddr::new(TRUNK_IP, port));
        let desk = Desk::open(config).await;
        let mut settings = CitizenConfig::new(desk.gateway.sip(), NUMBER);
        settings.port = port;
        let outside = Citizen::start(settings).await.unwrap();
        Self { phone: desk.phone().await, outside, desk }
    }

    /// A citizen's call, as any other day.
    async fn the_trunk_works(&self) {
        let call = self.outside.call_answered("12319", 5_000).await.unwrap();
        call.hang_up().await.unwrap();
    }

    /// Nobody was called, and there are no rows but those of `citizens` calls.
    async fn nothing_got_out(&self, citizens: usize) {
        let invited = |agent: &Agent| agent.received(|m| m.is_request() && m.method() == "INVITE").len();
        assert_eq!((invited(self.outside.agent()), invited(self.phone.agent())), (0, 0));
        let calls = self.desk.api.get("/api/v1/calls").await.unwrap();
        assert_eq!(calls.as_array().unwrap().len(), citizens, "{calls}");
    }
}

/// The scans run side by side, each beside a citizen's call.
async fn svwar_finds_nothing(site: &Site) {
    let one = async |method: &str| {
        let options = ["--force", "-e", RANGE, "-m", method];
        let (found, ()) = tokio::join!(scan("svwar", site.desk.gateway.sip(), &options), site.the_trunk_works());
        let found = found.unwrap();
        assert!(found.found_nothing(), "svwar {method}: {}", found.0);
    };
    let [first, second, third] = METHODS;
    tokio::join!(one(first), one(second), one(third));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_with_sipvicious_does_not_even_find_the_gateway() {
    let site = Site::open(GatewayConfig::default()).await;
    let gateway = site.desk.gateway.sip();
    let found = scan("svmap", gateway, &["-b", &STRANGER_IP.to_string()]).await.unwrap();
    assert!(found.found_nothing(), "svmap: {}", found.0);
    svwar_finds_nothing(&site).await;
    site.nothing_got_out(METHODS.len()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sipvicious_inside_the_phone_network_finds_none_of_fifty_extensions() {
    let site = Site::open(phones_on_loopback()).await;
    // Every second number exists.
    for extension in (1_004..1_100).step_by(2) {
        site.desk.gateway.add_user(&NewUser::operator(&extension.to_string())).unwrap();
    }
    svwar_finds_nothing(&site).await;
    site.nothing_got_out(METHODS.len()).await;
}

fn phones_on_loopback() -> GatewayConfig {
    GatewayConfig::default().with("sip.phone_networks", vec![PHONE_NETWORK, "127.0.0.1/32"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_to_an_extension_that_exists_is_given_to_one_that_does_not() {
    let site = Site::open(GatewayConfig::default()).await;
    let gateway = site.desk.gateway.sip();
    let scanner = Agent::start(AgentConfig::new(hotline_tests::net::PHONE_IP, "scanner")).await.unwrap();
    for method in ["REGISTER", "INVITE", "OPTIONS", "SUBSCRIBE", "MESSAGE", "BYE", "REFER"] {
        let mut answers = Vec::new();
        // 1001 is registered, 1002 exists, 1003 doesn't; each as the one called and as the caller.
        for extension in ["1001", "1002", "1003"] {
            let request = request(&scanner, gateway, method, extension);
            let answer = scanner.request(&request, gateway).await.unwrap();
            answers.push(without_chance(&answer, extension));
        }
        assert_eq!(answers[0], answers[2], "{method}: registered and unknown differ");
        assert_eq!(answers[1], answers[2], "{method}: existing and unknown differ");
    }
    site.nothing_got_out(0).await;
}

fn request(scanner: &Agent, gateway: SocketAddr, method: &str, extension: &str) -> Message {
    let uri = if method == "REGISTER" { format!("sip:{gateway}") } else { format!("sip:{extension}@{gateway}") };
    Message::request(method, &uri)
        .with("Via", format!("SIP/2.0/UDP {};branch=z9hG4bK{method}{extension};rport", scanner.local()))
        .with("From", format!("<sip:{extension}@{gateway}>;tag=s{extension}"))
        .with("To", format!("<sip:{extension}@{gateway}>"))
        .with("Call-ID", format!("{method}-{extension}"))
        .with("CSeq", format!("1 {method}"))
        .with("Contact", format!("<sip:{extension}@{}>", scanner.local()))
        .with("Max-Forwards", "70")
}

/// The answer without what differs from one request to the next.
fn without_chance(answer: &Message, extension: &str) -> Vec<String> {
    let mut lines = vec![format!("{:?} {}", answer.code(), answer.reason())];
    for (name, value) in &answer.headers {
        let value = value.replace(extension, "EXTENSION");
        let parts = value.split([';', ',']).map(|part| match part.split_once('=') {
            Some((key, value)) if ["tag", " nonce", "nonce"].contains(&key) => format!("{key}={} long", value.len()),
            _ => part.to_owned(),
        });
        lines.push(format!("{name}: {}", parts.collect::<Vec<_>>().join(";")));
    }
    lines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn svcrack_knows_a_password_it_was_given_and_guesses_none() {
    // svcrack knows MD5 only.
    let site = Site::open(phones_on_loopback().with("sip.digest", vec!["MD5"])).await;
    let known = crack(&site, "1001", vec!["phone-1001".into()]).await;
    assert!(known.contains("phone-1001"), "svcrack itself works: {known}");
    // The last guess would be right: it comes too late.
    let guesses = (0..300).map(|n| format!("secret-{n}")).chain(["phone-1002".into()]).collect();
    let (found, ()) = tokio::join!(crack(&site, "1002", guesses), site.the_trunk_works());
    assert!(!found.contains("phone-1002"), "svcrack: {found}");
    site.nothing_got_out(1).await;
}

async fn crack(site: &Site, user: &str, guesses: Vec<String>) -> String {
    let dir = tempfile::tempdir().unwrap();
    let words = dir.path().join("words");
    std::fs::write(&words, guesses.join("\n") + "\n").unwrap();
    let options = ["-u", user, "-d", words.to_str().unwrap(), "--maximumtime", "3"];
    scan("svcrack", site.desk.gateway.sip(), &options).await.unwrap().0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_a_stranger_nor_a_phone_gets_a_call_out() {
    let site = Site::open(GatewayConfig::default()).await;
    let gateway = site.desk.gateway.sip();
    let stranger = Agent::start(AgentConfig::new(STRANGER_IP, "x")).await.unwrap();
    let nobody = Agent::start(AgentConfig::new(hotline_tests::net::PHONE_IP, "1002")).await.unwrap();
    let mut known = AgentConfig::new(hotline_tests::net::PHONE_IP, "1002");
    known.credentials = Some(Credentials::new("1002", "phone-1002"));
    let known = Agent::start(known).await.unwrap();
    for number in ["13800000000", "0013800000000", "+8613800000000", "900123"] {
        for agent in [&nobody, &known] {
            let refused = agent.dial(Dial::new(gateway, number)).unwrap().wait_ended(5_000).await.unwrap();
            assert!((400..700).contains(&refused.code), "{number}: {refused:?}");
        }
        // A stranger may get no answer at all.
        stranger.dial(Dial::new(gateway, number)).unwrap();
    }
    site.the_trunk_works().await;
    assert!(stranger.received(|m| m.code().is_some_and(|code| code < 300)).is_empty());
    site.nothing_got_out(1).await;
}

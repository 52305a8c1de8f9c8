//! Several carriers: registration, health, fail-over and listeners of their own.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that isn't as it should be"
)]

mod common;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use common::{Desk, Town};
use hotline_tests::gateway::{GatewayConfig, NewUser};
use hotline_tests::net::{GATEWAY_IP, TRUNK_IP, free_port};
use hotline_tests::rtp::Source;
use hotline_tests::sip::{Agent, AgentConfig, Algorithm, Citizen, CitizenConfig, Credentials, Registrar};
use hotline_tests::tone;
use hotline_tests::until;
use serde_json::Value;
use toml::Table;

/// Another carrier's address.
const OTHER_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 1, 2));

fn with_trunks(config: GatewayConfig, trunks: &str) -> GatewayConfig {
    let table: Table = trunks.parse().unwrap();
    config.with("trunk", table["trunk"].clone())
}

/// The trunk's view once `wanted` holds.
async fn trunk_when(desk: &Desk, name: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let found = until(what, 20_000, || async {
        let all = desk.api.get("/api/v1/trunks").await.ok()?;
        all.as_array()?.iter().find(|t| t["name"] == name).filter(|t| wanted(t)).cloned()
    });
    found.await.unwrap()
}

fn free_address() -> SocketAddr {
    SocketAddr::new(TRUNK_IP, free_port(TRUNK_IP).unwrap())
}

async fn agent_at(address: SocketAddr) -> Agent {
    let mut config = AgentConfig::new(address.ip(), "carrier");
    config.port = address.port();
    Agent::start(config).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trunk_registers_refreshes_and_takes_its_registration_back() {
    let account = Credentials::new("12319", "carrier-pw");
    let config = AgentConfig::new(TRUNK_IP, "registrar");
    let carrier = Registrar::start(config, vec![account], vec![Algorithm::Sha256, Algorithm::Md5]).await.unwrap();
    carrier.set_terms(120, Some(2));
    let trunk = format!(
        "[[trunk]]\nname = \"ims\"\nsources = [\"127.0.1.0/24\"]\noutbound = \"{}\"\nuser = \"12319\"\n\
         password = \"carrier-pw\"\nregister = true\nregister_s = 60",
        carrier.agent().local()
    );
    let mut desk = Desk::open(with_trunks(GatewayConfig::default(), &trunk)).await;
    let binding = carrier.wait_registered("12319", 10_000).await.unwrap();
    assert!(binding.contact.contains(&desk.gateway.sip().to_string()), "{binding:?}");
    let view = trunk_when(&desk, "ims", "the registration", |t| t["registration"] == "registered").await;
    assert_eq!(view["up"], true, "{view}");

    // 60 s were too brief (423), 120 s are cut to 2 s, so a refresh comes within 2 s; each is challenged.
    let registers = || {
        let mut all = carrier.agent().received(|m| m.method() == "REGISTER");
        // Retransmissions are no requests of their own.
        all.dedup_by_key(|m| m.cseq());
        all
    };
    let asked = until("refreshes", 15_000, || async { Some(registers()).filter(|r| r.len() >= 8) }).await.unwrap();
    let expires = |n: usize| asked[n].header("Expires").unwrap().to_owned();
    assert_eq!((expires(0), expires(1), expires(2)), ("60".into(), "60".into(), "120".into()));
    assert!(asked.windows(2).all(|pair| pair[0].call_id() == pair[1].call_id() && pair[0].cseq() < pair[1].cseq()));

    assert!(desk.gateway.sigterm(30_000).await.unwrap().success());
    assert!(carrier.binding("12319").is_none(), "the carrier would go on sending calls");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_goes_out_by_the_next_trunk_when_carriers_fail() {
    let (dead, busy) = (free_address(), free_address());
    let overloaded = agent_at(busy).await;
    let refusing = tokio::spawn(async move {
        let call = overloaded.next_call(60_000).await.unwrap();
        call.reject(503, "Service Unavailable").unwrap();
        overloaded
    });
    let town = Town::open_with(GatewayConfig::default(), |config, citizen| {
        let trunk = |name: &str, outbound: SocketAddr, priority: u32, more: &str| {
            format!(
                "[[trunk]]\nname = \"{name}\"\noutbound = \"{outbound}\"\npriority = {priority}\n{more}\n"
            )
        };
        let all = [
            trunk("dead", dead, 1, "first_response_ms = 500"),
            trunk("busy", busy, 2, "first_response_ms = 5000"),
            trunk(
                "good",
                citizen,
                3,
                "first_response_ms = 5000\nsources = [\"127.0.1.0/24\"]\nnumbers.called_out = [{ prefix = \"1\", length = 11, add = \"+86\" }]",
            ),
        ];
        with_trunks(config, &all.concat())
    })
    .await;
    let item = town.reported().await;
    let story = town.story(&item).await;
    let case_no = story["handoffs"][0]["case_no"].as_str().unwrap().to_owned();
    town.desk.api.set_stage(&case_no, "已处置", "井盖已更换").await.unwrap();

    let call = town.citizen.next_call(15_000).await.unwrap();
    assert_eq!(call.called_user(), "+8613812345678", "as this carrier wants it");
    call.reject(486, "Busy Here").unwrap();
    refusing.await.unwrap();
    let failures = |view: &Value, code: &str| view["failures"][code].as_u64().unwrap_or(0);
    trunk_when(&town.desk, "good", "its failure and end", |t| failures(t, "486") >= 1 && t["live_out"] == 0).await;
    trunk_when(&town.desk, "dead", "its failure", |t| failures(t, "408") >= 1).await;
    trunk_when(&town.desk, "busy", "its failure", |t| failures(t, "503") >= 1).await;
    let id = town.newest_call().await;
    town.desk.ended(&id).await;
    let events = town.desk.api.get(&format!("/api/v1/calls/{id}/events")).await.unwrap().to_string();
    assert!(events.contains("trunk_failed") && events.contains("\"dead\"") && events.contains("\"busy\""), "{events}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trunk_that_stops_answering_options_is_down_until_it_answers_again() {
    let address = free_address();
    let trunk =
        format!("[[trunk]]\nname = \"ims\"\noutbound = \"{address}\"\noptions_s = 1\noptions_down = 2\noptions_up = 1");
    let carrier = agent_at(address).await;
    let desk = Desk::open(with_trunks(GatewayConfig::default(), &trunk)).await;
    until("an OPTIONS", 5_000, || async { carrier.received(|m| m.method() == "OPTIONS").first().cloned() })
        .await
        .unwrap();
    trunk_when(&desk, "ims", "up", |t| t["up"] == true).await;
    drop(carrier);
    let down = trunk_when(&desk, "ims", "down", |t| t["up"] == false).await;
    assert!(down["last_error"].as_str().unwrap().contains("OPTIONS"), "{down}");
    the_command_line_shows_it_down(&desk, address);
    let _carrier = agent_at(address).await;
    trunk_when(&desk, "ims", "up again", |t| t["up"] == true).await;
}

/// Who runs the machine alone may ask; a wrong password and a stopped gateway are told apart.
fn the_command_line_shows_it_down(desk: &Desk, address: SocketAddr) {
    let mut admin = NewUser::operator("root");
    (admin.roles, admin.sip) = (vec!["admin".into()], None);
    desk.gateway.add_user(&admin).unwrap();
    let list = ["trunk", "list", "--login", "root", "--password"];
    let table = desk.gateway.run_ok(&[&list[..], &[&admin.password]].concat()).unwrap();
    let row = table.lines().find(|l| l.starts_with("ims (udp)")).unwrap();
    for part in ["不可用 / down", &format!("{address} 断 / down"), "0/0", "OPTIONS"] {
        assert!(row.contains(part), "{part}: {table}");
    }
    let refused = |more: &[&str]| {
        let output = desk.gateway.run(&[&list[..], more].concat()).unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused(&["wrong"]).contains("wrong login or password"));
    let nowhere = format!("{GATEWAY_IP}:{}", free_port(GATEWAY_IP).unwrap());
    assert!(refused(&[&admin.password, "--http", &nowhere]).contains("no gateway answers"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_at_a_trunks_own_listener_belongs_to_it_alone() {
    let own = SocketAddr::new(GATEWAY_IP, free_port(GATEWAY_IP).unwrap());
    let trunks = format!(
        "[[trunk]]\nname = \"first\"\nsources = [\"{TRUNK_IP}\"]\n\
         [[trunk]]\nname = \"second\"\nlisten = \"{own}\"\nsources = [\"{OTHER_IP}\"]\n\
         numbers.called_in = [{{ prefix = \"+86519\", strip = 6 }}]"
    );
    let desk = Desk::open(with_trunks(GatewayConfig::default(), &trunks)).await;
    let shared = desk.gateway.sip();
    for (ip, to, number, answered) in [
        (OTHER_IP, own, "+8651912319", true),
        (TRUNK_IP, shared, "12319", true),
        (TRUNK_IP, own, "+8651912319", false),
        (OTHER_IP, shared, "12319", false),
    ] {
        let mut config = CitizenConfig::new(to, "13812345678");
        config.ip = ip;
        let citizen = Citizen::start(config).await.unwrap();
        let call = citizen.call_answered(number, 5_000).await;
        assert_eq!(call.is_ok(), answered, "{ip} at {to}: {:?}", call.err());
        if let Ok(call) = call {
            call.hang_up().await.unwrap();
        }
        let ok = citizen.agent().received(|m| m.code() == Some(200) && m.header("Contact").is_some());
        assert!(ok.iter().all(|m| m.header("Contact").unwrap().contains(&to.to_string())), "{to}");
    }
    let second = trunk_when(&desk, "second", "its call", |t| t["calls_in"] == 1).await;
    assert_eq!(second["live_out"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_arrive_as_tones_count_on_a_trunk_that_has_them_so() {
    for (dtmf, has_events) in [("inband", false), ("auto", true)] {
        let trunk = format!("[[trunk]]\nname = \"carrier\"\nsources = [\"127.0.1.0/24\"]\ndtmf = \"{dtmf}\"");
        let town = Town::open(with_trunks(GatewayConfig::default(), &trunk)).await;
        let call = town.citizen.call_answered("12319", 5_000).await.unwrap();
        let id = town.newest_call().await;
        town.asked(&id, "waiting").await;
        assert_eq!(call.remote_sdp().unwrap().dtmf_pt.is_some(), has_events, "{dtmf}");
        let (low, high) = (tone::sine(697.0, -16.0, 100, 8000), tone::sine(1209.0, -16.0, 100, 8000));
        let samples: Vec<i16> = low.iter().zip(high).map(|(low, high)| low + high).collect();
        call.rtp().play(Source::Pcm { samples: samples.into(), repeat: false });
        town.asked(&id, "callback_confirm").await;
        call.hang_up().await.unwrap();
    }
}

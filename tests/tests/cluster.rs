//! Two gateways on one PostgreSQL behind the dispatcher of `ops/kamailio`, each on a host of its own.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test ends at the first thing that is not as it should be"
)]

use std::time::{Duration, Instant};

use hotline_tests::api::Api;
use hotline_tests::gateway::{Gateway, GatewayConfig, NewUser};
use hotline_tests::lan::{Host, Lan};
use hotline_tests::peer::{Kamailio, Postgres};
use hotline_tests::sip::{Citizen, CitizenConfig, Credentials, Phone, PhoneConfig};
use hotline_tests::{Waiting, until};
use toml::{Table, Value};

/// A new call is answered by a living gateway within so long after another's end.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(4);

struct Node {
    gateway: Gateway,
    host: Host,
    _phone: Phone,
    api: Api,
}

async fn node(lan: &mut Lan, last: u8, database: &str, proxy: &Host, operator: &str) -> Node {
    let host = lan.host(last).unwrap();
    let mut trunk = Table::new();
    trunk.insert("name".into(), "carrier".into());
    trunk.insert("sources".into(), vec![proxy.ip().to_string()].into());
    trunk.insert("outbound".into(), format!("{}:5060", proxy.ip()).into());
    let config = GatewayConfig { database_url: database.into(), host: Some(host.clone()), ..GatewayConfig::default() };
    let config =
        config.with("trunk", vec![Value::from(trunk)]).with("sip.phone_networks", vec![lan.address(1).to_string()]);
    let mut gateway = Gateway::prepare(config).unwrap();
    let user = NewUser::operator(operator);
    gateway.add_user(&user).unwrap();
    gateway.boot().await.unwrap();
    let sip = Credentials::new(operator, format!("phone-{operator}"));
    let mut phone = PhoneConfig::new(gateway.sip(), sip);
    phone.ip = lan.address(1).into();
    let phone = Phone::start(phone).await.unwrap();
    let api = gateway.sign_in(&user).await.unwrap();
    api.set_state("ready").await.unwrap();
    Node { gateway, host, _phone: phone, api }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_one_of_two_gateways_dies_new_calls_reach_the_other_within_four_seconds() {
    let mut lan = match Lan::new() {
        Ok(lan) => lan,
        Err(e) => return eprintln!("SKIPPED: no network of our own (root only): {e}"),
    };
    let ours = lan.address(1).into();
    let postgres = Postgres::start_at(ours, Vec::new()).await.unwrap();
    let database = postgres.create_database("hotline").unwrap();
    let proxy = lan.host(2).unwrap();
    let mut first = node(&mut lan, 11, &database, &proxy, "1001").await;
    let second = node(&mut lan, 12, &database, &proxy, "1002").await;
    let mut settings = CitizenConfig::new(format!("{}:5060", proxy.ip()).parse().unwrap(), "13812345678");
    settings.ip = ours;
    let citizen = Citizen::start(settings).await.unwrap();
    let carrier = citizen.agent().local();
    let dispatcher = Kamailio::dispatch(&proxy, &[first.gateway.sip(), second.gateway.sip()], carrier).await.unwrap();

    // In turn: each gateway's operator talks to one of two citizens.
    for _ in 0..2 {
        let call = citizen.call_answered("12319", 10_000).await.unwrap();
        call.rtp().wait_for_tone(1_000.0, 500, 20_000).await.unwrap();
        call.hang_up().await.unwrap();
    }
    let answered = "SELECT count(DISTINCT node) FROM call WHERE answer_at IS NOT NULL";
    // A call's story is written beside it.
    until("the rows of both", 20_000, || async { (postgres.sql("hotline", answered).ok()? == "2").then_some(()) })
        .await
        .unwrap_or_else(|e| panic!("{e}: {}", dispatcher.log()));

    // A power cut: nothing answers any more, not even with an ICMP error.
    lan.unplug(&first.host).unwrap();
    first.gateway.kill9();
    for n in 0..6 {
        let waiting = Waiting::of(second.gateway.process_id());
        let began = Instant::now();
        let call = citizen.call_answered("12319", 10_000).await.unwrap_or_else(|e| panic!("{n}: {e}"));
        let took = began.elapsed();
        let within = TAKEN_OVER_WITHIN + Duration::from_millis(waiting.ms());
        assert!(took < within, "call {n} after the cut took {took:?}: {}", dispatcher.log());
        call.rtp().wait_for_tone(1_000.0, 300, 20_000).await.unwrap();
        call.hang_up().await.unwrap();
        let idle = || async {
            second.api.get("/api/v1/calls/live").await.ok().filter(|l| l.as_array().is_some_and(Vec::is_empty))
        };
        until("the end of that call", 20_000, idle).await.unwrap();
    }
}

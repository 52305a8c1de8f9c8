//! Two gateways on one PostgreSQL with one queue: a caller on either reaches an operator on either, and what a dead
//! one had is released.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use std::net::SocketAddr;

use common::stream;
use hotline_tests::Error;
use hotline_tests::api::{Api, rows};
use hotline_tests::chaos::{TcpMode, TcpProxy};
use hotline_tests::gateway::{Gateway, GatewayConfig, NewUser};
use hotline_tests::net::{GATEWAY_IP, free_port};
use hotline_tests::peer::Postgres;
use hotline_tests::sip::{Citizen, CitizenConfig, Credentials, Phone, PhoneConfig};
use hotline_tests::until;
use reqwest::Method;
use serde_json::{Value, json};

const PATIENCE_MS: u64 = 30_000;

struct Node {
    gateway: Gateway,
    /// What the other one dials.
    cable: TcpProxy,
    phone: Phone,
    api: Api,
    citizen: Citizen,
    operator: String,
}

async fn node(database: &str, operator: &str) -> Node {
    let link = SocketAddr::new(GATEWAY_IP, free_port(GATEWAY_IP).unwrap());
    let cable = TcpProxy::start(link).await.unwrap();
    let config = GatewayConfig { database_url: database.into(), ..GatewayConfig::default() };
    let config = config.with("cluster.listen", link.to_string()).with("cluster.secret", "a long shared secret");
    let config = config.with("cluster.advertise", cable.address().to_string());
    let mut gateway = Gateway::prepare(config).unwrap();
    let user = NewUser::operator(operator);
    gateway.add_user(&user).unwrap();
    gateway.boot().await.unwrap();
    let sip = Credentials::new(operator, format!("phone-{operator}"));
    let phone = Phone::start(PhoneConfig::new(gateway.sip(), sip)).await.unwrap();
    let api = gateway.sign_in(&user).await.unwrap();
    let citizen = Citizen::start(CitizenConfig::new(gateway.sip(), "13812345678")).await.unwrap();
    Node { gateway, cable, phone, api, citizen, operator: operator.into() }
}

impl Node {
    fn phone_of(&self) -> Credentials {
        Credentials::new(&self.operator, format!("phone-{}", self.operator))
    }

    async fn figure(&self, name: &str) -> Option<i64> {
        let metrics = self.gateway.api().metrics().await.ok()?;
        metrics.lines().find_map(|l| l.strip_prefix(name)?.trim().parse().ok())
    }

    /// What the console of this gateway shows of an operator.
    async fn sees(&self, operator: &str, what: &str, wanted: impl Fn(&Value) -> bool) {
        let look = || async {
            let queues = self.api.get("/api/v1/queues").await.ok()?;
            let people: Vec<Value> = rows(&queues).iter().flat_map(|q| rows(&q["operators"])).collect();
            people.into_iter().find(|o| o["name"] == format!("受理员{operator}") && wanted(o))
        };
        let found = until(&format!("{operator} {what}"), PATIENCE_MS, look).await;
        found.unwrap_or_else(|e| panic!("{e}: {}", self.gateway.log()));
    }

    /// A citizen's call here is answered by this gateway's or another's operator.
    async fn serves(&self) {
        let call = self.citizen.call_answered("12319", PATIENCE_MS).await;
        let call = call.unwrap_or_else(|e| panic!("{e}: {}", self.gateway.log()));
        let heard = call.rtp().wait_for_tone(1_000.0, 300, PATIENCE_MS).await;
        heard.unwrap_or_else(|e| panic!("{e}: {}", self.gateway.log()));
        call.hang_up().await.unwrap();
    }
}

/// The one that leads, and the other.
async fn two(database: &str) -> (Node, Node) {
    let first = node(database, "1001").await;
    let second = node(database, "1002").await;
    let term = "hotline_cluster_leader_term ";
    let leads = "hotline_cluster_leads ";
    let joined = || async {
        for node in [&first, &second] {
            if node.figure("hotline_cluster_peers ").await != Some(1) {
                return None;
            }
        }
        let terms = (first.figure(term).await?, second.figure(term).await?);
        // Usually the first: the other may have taken over from one that was starved of time.
        let leaders = (first.figure(leads).await?, second.figure(leads).await?);
        (terms.0 > 0 && terms.0 == terms.1 && leaders.0 + leaders.1 == 1).then_some(leaders.0 == 1)
    };
    let joined = until("one queue", PATIENCE_MS, joined).await;
    let is_first = joined.unwrap_or_else(|e| panic!("{e}: {}{}", first.gateway.log(), second.gateway.log()));
    if is_first { (first, second) } else { (second, first) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_on_either_gateway_talks_with_an_operator_on_either_and_a_dead_ones_are_released() {
    let postgres = Postgres::start().await.unwrap();
    let (first, mut second) = two(&postgres.create_database("hotline").unwrap()).await;
    // Only the other gateway's operator is there: both citizens reach them, and both consoles show it.
    second.api.set_state("ready").await.unwrap();
    for (node, other) in [(&first, &second), (&second, &first)] {
        let call = node.citizen.call_answered("12319", PATIENCE_MS).await.unwrap();
        call.rtp().wait_for_tone(1_000.0, 500, PATIENCE_MS).await.unwrap();
        for console in [node, other] {
            console.sees(&second.operator, "talking", |o| o["state"] == "talking").await;
        }
        call.hang_up().await.unwrap();
        first.sees(&second.operator, "ready again", |o| o["state"] == "ready").await;
    }
    // A caller waits at each gateway, then one of the gateways dies.
    second.api.set_state("break").await.unwrap();
    let waiting = || async {
        let queues = first.api.get("/api/v1/queues").await.ok()?;
        (rows(&queues).first()?["waiting"] == 2).then_some(())
    };
    let stays = first.citizen.call_answered("12319", PATIENCE_MS).await.unwrap();
    let _goes = second.citizen.call_answered("12319", PATIENCE_MS).await.unwrap();
    until("both callers in one queue", PATIENCE_MS, waiting).await.unwrap();
    let lost = first.figure("hotline_cluster_gateways_lost ").await.unwrap();
    second.gateway.kill9();
    first.sees(&second.operator, "without a phone", |o| o["registered"] == false).await;
    let one = || async {
        let queues = first.api.get("/api/v1/queues").await.ok()?;
        (rows(&queues).first()?["waiting"] == 1).then_some(())
    };
    until("the dead gateway's caller gone", PATIENCE_MS, one).await.unwrap();
    let counted = || async { (first.figure("hotline_cluster_gateways_lost ").await == Some(lost + 1)).then_some(()) };
    until("the loss counted", PATIENCE_MS, counted).await.unwrap();
    let row = || async { (postgres.sql("hotline", "SELECT count(*) FROM queue_entry").ok()? == "1").then_some(()) };
    until("the dead gateway's row gone", PATIENCE_MS, row).await.unwrap();
    first.api.set_state("ready").await.unwrap();
    stays.rtp().wait_for_tone(1_000.0, 300, PATIENCE_MS).await.unwrap();
    stays.hang_up().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_gateway_that_leads_dies_the_other_serves_its_callers() {
    let postgres = Postgres::start().await.unwrap();
    let (mut first, second) = two(&postgres.create_database("hotline").unwrap()).await;
    first.api.set_state("ready").await.unwrap();
    second.api.set_state("ready").await.unwrap();
    let talk = second.citizen.call_answered("12319", PATIENCE_MS).await.unwrap();
    talk.rtp().wait_for_tone(1_000.0, 300, PATIENCE_MS).await.unwrap();
    first.gateway.kill9();
    let leads = || async { (second.figure("hotline_cluster_leads ").await == Some(1)).then_some(()) };
    until("the other to lead", PATIENCE_MS, leads).await.unwrap_or_else(|e| panic!("{e}: {}", second.gateway.log()));
    // The talk went on; whoever's phone was at the dead gateway has none.
    talk.rtp().wait_for_tone(1_000.0, 300, PATIENCE_MS).await.unwrap();
    second.sees(&first.operator, "without a phone", |o| o["registered"] == false).await;
    talk.hang_up().await.unwrap();
    second.serves().await;
    // Its phone comes to the survivor: its operator goes on without signing in again.
    second.api.set_state("break").await.unwrap();
    let mut moved = PhoneConfig::new(second.gateway.sip(), first.phone_of());
    moved.ip = first.phone.agent().local().ip();
    let _moved = Phone::start(moved).await.unwrap();
    second.serves().await;
    assert!(postgres.sql("hotline", "SELECT term FROM queue_leader").unwrap().parse::<i64>().unwrap() > 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_link_the_gateway_that_does_not_lead_sends_calls_elsewhere_until_it_joins_again() {
    let postgres = Postgres::start().await.unwrap();
    let (leader, other) = two(&postgres.create_database("hotline").unwrap()).await;
    leader.api.set_state("ready").await.unwrap();
    let talk = other.citizen.call_answered("12319", PATIENCE_MS).await.unwrap();
    talk.rtp().wait_for_tone(1_000.0, 300, PATIENCE_MS).await.unwrap();
    let mut events = stream::stream(&leader.api, None).await;
    let snapshot = stream::until(&mut events, |e| e.kind == "snapshot").await.pop().unwrap();
    let own = snapshot.data["call"].clone();
    assert!(own.is_object(), "{snapshot:#?}");
    let path = |what: &str| format!("/api/v1/calls/{}/{what}", own["call"].as_str().unwrap());
    for node in [&leader, &other] {
        node.cable.set(TcpMode::Refuse);
    }
    let health = |node: &Node, healthy| {
        let api = node.gateway.api();
        async move { (api.is_healthy().await == healthy).then_some(()) }
    };
    let down = until("the other to say so", PATIENCE_MS, || health(&other, false)).await;
    down.unwrap_or_else(|e| panic!("{e}: {}", other.gateway.log()));
    assert_eq!(other.citizen.call("12319").unwrap().wait_ended(PATIENCE_MS).await.unwrap().code, 503);
    assert!(leader.gateway.api().is_healthy().await);
    // The talk goes on: it can't be reached, isn't over, and its operator isn't free for a caller here.
    let lost = || async { (leader.figure("hotline_cluster_gateways_lost ").await == Some(1)).then_some(()) };
    until("the other given up", PATIENCE_MS, lost).await.unwrap();
    let held = leader.api.post(&path("hold"), &json!({"on": true})).await;
    assert!(matches!(held, Err(Error::Http { status: 503, .. })), "{held:?}");
    let waits = leader.citizen.call_answered("12319", PATIENCE_MS).await.unwrap();
    let callers = |rows: &Value| (rows[0]["ringing"].is_null() && rows[0].is_object()).then_some(());
    leader.api.wait_for("/api/v1/queue/callers", PATIENCE_MS, callers).await.unwrap();
    leader.sees(&leader.operator, "talking", |o| o["state"] == "talking").await;
    waits.hang_up().await.unwrap();
    talk.rtp().wait_for_tone(1_000.0, 300, PATIENCE_MS).await.unwrap();
    for node in [&leader, &other] {
        node.cable.set(TcpMode::Pass);
    }
    let up = until("the other to join again", PATIENCE_MS, || health(&other, true)).await;
    up.unwrap_or_else(|e| panic!("{e}: {}", other.gateway.log()));
    leader.sees(&leader.operator, "talking still", |o| o["state"] == "talking").await;
    let again = stream::until(&mut events, |e| e.kind == "snapshot").await;
    assert!(again.iter().any(|e| e.kind == "reset"), "something may have been missed: {again:#?}");
    let mine = &again.last().unwrap().data["call"];
    assert_eq!((&mine["call"], &mine["held"]), (&own["call"], &json!(false)), "the wish was never carried out");

    // A link that falls silent over a wish: nobody knows what became of it, and under its key it is done once.
    let press = async || {
        let (body, key) = (json!({"digits": "19#"}), [("idempotency-key", "a-key-of-mine")]);
        leader.api.send(Method::POST, &path("digits"), Some(&body), &key).await.unwrap().status().as_u16()
    };
    for node in [&leader, &other] {
        node.cable.set(TcpMode::Blackhole);
    }
    assert_eq!(press().await, 504);
    for node in [&leader, &other] {
        node.cable.set(TcpMode::Pass);
    }
    let pressed = || async { (press().await == 200).then_some(()) };
    until("the wish carried out", PATIENCE_MS, pressed).await.unwrap();
    assert_eq!(press().await, 200);
    assert_eq!(talk.rtp().wait_for_digits(3, PATIENCE_MS).await.unwrap(), "19#", "once");
    talk.hang_up().await.unwrap();
    leader.sees(&leader.operator, "ready again", |o| o["state"] == "ready").await;
    other.serves().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copied_data_directory_is_refused_at_the_start() {
    let postgres = Postgres::start().await.unwrap();
    let database = postgres.create_database("hotline").unwrap();
    let original = node(&database, "1001").await;
    let link = format!("{GATEWAY_IP}:{}", free_port(GATEWAY_IP).unwrap());
    let config = GatewayConfig { database_url: database, ..GatewayConfig::default() };
    let config = config.with("cluster.listen", link).with("cluster.secret", "a long shared secret");
    let mut copy = Gateway::prepare(config).unwrap();
    std::fs::create_dir_all(copy.data_dir()).unwrap();
    for file in ["node", "secret.key"] {
        std::fs::copy(original.gateway.data_dir().join(file), copy.data_dir().join(file)).unwrap();
    }
    assert!(copy.boot().await.is_err());
    assert!(copy.log().contains("under this one's name"), "{}", copy.log());
    original.api.set_state("ready").await.unwrap();
    original.serves().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_database_is_away_for_long_links_stand_and_the_same_gateway_leads_on() {
    let postgres = Postgres::start().await.unwrap();
    let database = postgres.create_database("hotline").unwrap();
    let proxy = TcpProxy::start(postgres.address()).await.unwrap();
    let (leader, other) = two(&database.replace(&postgres.address().to_string(), &proxy.address().to_string())).await;
    leader.api.set_state("ready").await.unwrap();
    let talk = other.citizen.call_answered("12319", PATIENCE_MS).await.unwrap();
    talk.rtp().wait_for_tone(1_000.0, 300, PATIENCE_MS).await.unwrap();
    let figures = || async {
        let mut all = Vec::new();
        for node in [&leader, &other] {
            for name in ["leader_term ", "leads ", "links_ended ", "gateways_lost "] {
                all.push(node.figure(&format!("hotline_cluster_{name}")).await.unwrap());
            }
        }
        all
    };
    let before = figures().await;
    let youngest = || {
        let age = "SELECT min(extract(epoch FROM clock_timestamp()) * 1000 - beat_at)::bigint FROM gateway_node";
        postgres.sql("hotline", age).ok()?.trim().parse::<i64>().ok()
    };
    proxy.set(TcpMode::Refuse);
    // Beyond this a gateway whose row is as old is held to be none.
    let away = || async { youngest().filter(|ms| *ms > 11_000) };
    until("both rows old", PATIENCE_MS, away).await.unwrap();
    assert_eq!(figures().await, before);
    proxy.set(TcpMode::Pass);
    until("a beat again", PATIENCE_MS, || async { youngest().filter(|ms| *ms < 1_000) }).await.unwrap();
    let oldest =
        "SELECT count(*) FROM gateway_node WHERE extract(epoch FROM clock_timestamp()) * 1000 - beat_at > 1500";
    let all = || async { (postgres.sql("hotline", oldest).ok()?.trim() == "0").then_some(()) };
    until("all beats again", PATIENCE_MS, all).await.unwrap();
    talk.rtp().wait_for_tone(1_000.0, 300, PATIENCE_MS).await.unwrap();
    talk.hang_up().await.unwrap();
    leader.sees(&leader.operator, "ready again", |o| o["state"] == "ready").await;
    assert_eq!(figures().await, before, "term, leader, links ended, gateways lost");
    other.serves().await;
}

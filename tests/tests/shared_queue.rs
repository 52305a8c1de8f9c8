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

use hotline_tests::api::{Api, rows};
use hotline_tests::gateway::{Gateway, GatewayConfig, NewUser};
use hotline_tests::net::{GATEWAY_IP, free_port};
use hotline_tests::peer::Postgres;
use hotline_tests::sip::{Citizen, CitizenConfig, Credentials, Phone, PhoneConfig};
use hotline_tests::until;
use serde_json::Value;

const PATIENCE_MS: u64 = 30_000;

struct Node {
    gateway: Gateway,
    phone: Phone,
    api: Api,
    citizen: Citizen,
    operator: String,
}

async fn node(database: &str, operator: &str) -> Node {
    let link = format!("{GATEWAY_IP}:{}", free_port(GATEWAY_IP).unwrap());
    let config = GatewayConfig { database_url: database.into(), ..GatewayConfig::default() };
    let config = config.with("cluster.listen", link).with("cluster.secret", "a long shared secret");
    let mut gateway = Gateway::prepare(config).unwrap();
    let user = NewUser::operator(operator);
    gateway.add_user(&user).unwrap();
    gateway.boot().await.unwrap();
    let sip = Credentials::new(operator, format!("phone-{operator}"));
    let phone = Phone::start(PhoneConfig::new(gateway.sip(), sip)).await.unwrap();
    let api = gateway.sign_in(&user).await.unwrap();
    let citizen = Citizen::start(CitizenConfig::new(gateway.sip(), "13812345678")).await.unwrap();
    Node { gateway, phone, api, citizen, operator: operator.into() }
}

impl Node {
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

async fn two(database: &str) -> (Node, Node) {
    let leader = node(database, "1001").await;
    let other = node(database, "1002").await;
    for (node, leads) in [(&leader, 1), (&other, 0)] {
        let joined = || async {
            let is_so = node.figure("hotline_cluster_peers ").await == Some(1)
                && node.figure("hotline_cluster_leader_term ").await.is_some_and(|term| term > 0)
                && node.figure("hotline_cluster_leads ").await == Some(leads);
            is_so.then_some(())
        };
        let joined = until("one queue", PATIENCE_MS, joined).await;
        joined.unwrap_or_else(|e| panic!("{e}: {}", node.gateway.log()));
    }
    (leader, other)
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
    second.gateway.kill9();
    first.sees(&second.operator, "without a phone", |o| o["registered"] == false).await;
    let one = || async {
        let queues = first.api.get("/api/v1/queues").await.ok()?;
        (rows(&queues).first()?["waiting"] == 1).then_some(())
    };
    until("the dead gateway's caller gone", PATIENCE_MS, one).await.unwrap();
    let lost = || async { (first.figure("hotline_cluster_gateways_lost ").await == Some(1)).then_some(()) };
    until("the loss counted", PATIENCE_MS, lost).await.unwrap();
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
    let mut moved = PhoneConfig::new(second.gateway.sip(), Credentials::new("1001", "phone-1001"));
    moved.ip = first.phone.agent().local().ip();
    let _moved = Phone::start(moved).await.unwrap();
    second.serves().await;
    assert!(postgres.sql("hotline", "SELECT term FROM queue_leader").unwrap().parse::<i64>().unwrap() > 1);
}

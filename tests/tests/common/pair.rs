//! Two gateways on one PostgreSQL.

use hotline_tests::api::Api;
use hotline_tests::gateway::{Gateway, GatewayConfig, NewUser};
use hotline_tests::net::{GATEWAY_IP, PHONE_NETWORK, free_port};
use hotline_tests::peer::Postgres;
use hotline_tests::until;

pub(crate) struct Pair {
    /// It was there first.
    pub(crate) first: Gateway,
    pub(crate) second: Gateway,
    pub(crate) postgres: Postgres,
}

impl Pair {
    pub(crate) async fn open(users: &[NewUser]) -> Self {
        let postgres = Postgres::start().await.unwrap();
        let database = postgres.create_database("hotline").unwrap();
        let config = || {
            let listen = format!("{GATEWAY_IP}:{}", free_port(GATEWAY_IP).unwrap());
            GatewayConfig { database_url: database.clone(), ..GatewayConfig::default() }
                .with("cluster.listen", listen)
                .with("cluster.secret", "of both gateways alone")
                // The one hash all phones of these tests know.
                .with("sip.digest", vec!["MD5"])
                // baresip opens its connections from whatever address the system picks.
                .with("sip.phone_networks", vec![PHONE_NETWORK, "127.0.0.1/32"])
        };
        let mut first = Gateway::prepare(config()).unwrap();
        for user in users {
            first.add_user(user).unwrap();
        }
        first.boot().await.unwrap();
        let mut second = Gateway::prepare(config()).unwrap();
        std::fs::create_dir_all(second.data_dir()).unwrap();
        std::fs::copy(first.data_dir().join("secret.key"), second.data_dir().join("secret.key")).unwrap();
        second.boot().await.unwrap();
        Self { first, second, postgres }
    }

    /// Waits until each has a link to the other and the queues are led.
    pub(crate) async fn joined(&self) {
        for gateway in [&self.first, &self.second] {
            let joined = || async {
                let metrics = gateway.api().metrics().await.ok()?;
                let figure =
                    |name: &str| metrics.lines().find_map(|l| l.strip_prefix(name)?.trim().parse::<i64>().ok());
                let is_led = figure("hotline_cluster_leader_term ").is_some_and(|term| term > 0);
                (figure("hotline_cluster_peers ") == Some(1) && is_led).then_some(())
            };
            let joined = until("one queue", 30_000, joined).await;
            joined.unwrap_or_else(|e| panic!("{e}: {}", gateway.log()));
        }
    }
}

/// 示闲 at one of the consoles, once its gateway has heard of the phone.
pub(crate) async fn ready(api: &Api) {
    let ready = || async { api.set_state("ready").await.ok().filter(|state| state["phone_registered"] == true) };
    until("the phone to be known at this gateway", 40_000, ready).await.unwrap();
}

/// Asks something of a call whose gateway died until it is gone: what was answered before.
pub(crate) async fn gone(ask: impl AsyncFn() -> u16) -> Vec<u16> {
    let before = std::sync::Mutex::new(Vec::new());
    until("the dead gateway's call to be gone", 40_000, || async {
        let status = ask().await;
        if status != 404 {
            before.lock().unwrap().push(status);
        }
        (status == 404).then_some(())
    })
    .await
    .unwrap();
    before.into_inner().unwrap()
}

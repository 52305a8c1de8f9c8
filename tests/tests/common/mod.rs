//! One gateway with one operator: what most whole-call tests begin with.
#![allow(dead_code, reason = "each test file uses a part")]

pub(crate) mod heard;
pub(crate) mod hook;
pub(crate) mod messages;
pub(crate) mod pair;
pub(crate) mod picture;
pub(crate) mod post;
pub(crate) mod rows;
pub(crate) mod sipp;
pub(crate) mod sounds;
pub(crate) mod stream;

use std::net::SocketAddr;

use hotline_tests::api::Api;
use hotline_tests::gateway::{Gateway, GatewayConfig, NewUser};
use hotline_tests::net::TRUNK_IP;
use hotline_tests::sip::{Call, Citizen, CitizenConfig, Credentials, Phone, PhoneConfig};
use hotline_tests::until;
use serde_json::{Value, json};

pub(crate) struct Desk {
    pub(crate) gateway: Gateway,
    pub(crate) api: Api,
    pub(crate) user: NewUser,
}

impl Desk {
    /// Starts a gateway and signs in the operator 1001, who is shift leader and QA too.
    pub(crate) async fn open(config: GatewayConfig) -> Self {
        let mut gateway = Gateway::prepare(config).unwrap();
        let mut user = NewUser::operator("1001");
        user.roles = ["operator", "leader", "qa"].map(String::from).to_vec();
        gateway.add_user(&user).unwrap();
        gateway.add_user(&NewUser::operator("1002")).unwrap();
        gateway.boot().await.unwrap();
        let api = gateway.sign_in(&user).await.unwrap();
        Self { gateway, api, user }
    }

    /// The operator's phone, registered.
    pub(crate) async fn phone(&self) -> Phone {
        Phone::start(PhoneConfig::new(self.gateway.sip(), Credentials::new("1001", "phone-1001"))).await.unwrap()
    }

    /// 示闲.
    pub(crate) async fn ready(&self) {
        self.api.set_state("ready").await.unwrap();
    }

    /// Operator 1002: phone and sign-in.
    pub(crate) async fn second_operator(&self) -> (Phone, Api) {
        let phone =
            Phone::start(PhoneConfig::new(self.gateway.sip(), Credentials::new("1002", "phone-1002"))).await.unwrap();
        (phone, self.gateway.sign_in(&NewUser::operator("1002")).await.unwrap())
    }

    /// A call's row once it has ended.
    pub(crate) async fn ended(&self, call: &str) -> Value {
        let path = format!("/api/v1/calls/{call}");
        until("the end of the call in its row", 20_000, || async {
            let row = self.api.get(&path).await.ok()?;
            row["end_at"].is_i64().then_some(row)
        })
        .await
        .unwrap()
    }

    /// An item's story once the case core has it.
    pub(crate) async fn handed_off(&self, item: &str) -> Value {
        let path = format!("/api/v1/items/{item}");
        until("the hand-off", 20_000, || async {
            let story = self.api.get(&path).await.ok()?;
            story["handoffs"][0]["case_no"].is_string().then_some(story)
        })
        .await
        .unwrap()
    }
}

/// The id of the nth call (1 = first).
pub(crate) async fn call_of(desk: &Desk, n: usize) -> String {
    until("the call's row", 10_000, || async {
        let calls = desk.api.get("/api/v1/calls").await.ok()?;
        let calls = calls.as_array()?;
        let index = calls.len().checked_sub(n)?;
        Some(calls[index]["id"].as_str()?.to_owned())
    })
    .await
    .unwrap()
}

pub(crate) fn item_form(call: &str) -> Value {
    json!({
        "call": call, "kind": "投诉", "urgency": 2, "title": "人民路井盖缺失",
        "detail": "人民路88号门前井盖缺失,来电人电话13812345678", "location": "人民路88号"
    })
}

/// A gateway whose trunk leads out to a citizen's phone, with hours turned into seconds.
pub(crate) struct Town {
    pub(crate) desk: Desk,
    pub(crate) citizen: Citizen,
}

pub(crate) const NUMBER: &str = "13812345678";

impl Town {
    pub(crate) async fn open(config: GatewayConfig) -> Self {
        Self::open_with(config, |config, _| config).await
    }

    /// `settle` is told the citizen's address, where the trunk leads, and has the last word.
    pub(crate) async fn open_with(
        config: GatewayConfig,
        settle: impl FnOnce(GatewayConfig, SocketAddr) -> GatewayConfig,
    ) -> Self {
        let port = hotline_tests::net::free_port(TRUNK_IP).unwrap();
        let config = config
            .with("callback.windows", Vec::<String>::new())
            .with("callback.waking", "")
            .with("callback.time_factor", 43_200)
            .with("callback.poll_ms", 100)
            .with("callback.ring_s", 2)
            .with("casecore.poll_ms", 100)
            .with("casecore.retry_ms", 100);
        let mut config = settle(config, SocketAddr::new(TRUNK_IP, port));
        config.outbound = Some(SocketAddr::new(TRUNK_IP, port));
        let desk = Desk::open(config).await;
        let mut settings = CitizenConfig::new(desk.gateway.sip(), NUMBER);
        settings.port = port;
        Self { citizen: Citizen::start(settings).await.unwrap(), desk }
    }

    /// A talk with an operator who registers an item; returns the item's id once the case core has it.
    pub(crate) async fn reported(&self) -> String {
        let phone = self.desk.phone().await;
        self.desk.ready().await;
        let call = self.citizen.call_answered("12319", 5_000).await.unwrap();
        call.rtp().wait_for_tone(1_000.0, 300, 10_000).await.unwrap();
        let id = call_of(&self.desk, 1).await;
        let item = self.desk.api.post("/api/v1/items", &item_form(&id)).await.unwrap();
        call.hang_up().await.unwrap();
        self.desk.ended(&id).await;
        phone.unregister().await.unwrap();
        let item = item["id"].as_str().unwrap().to_owned();
        self.desk.handed_off(&item).await;
        item
    }

    pub(crate) async fn story(&self, item: &str) -> Value {
        self.desk.api.get(&format!("/api/v1/items/{item}")).await.unwrap()
    }

    /// The item's story once `wanted` holds for it.
    pub(crate) async fn story_when(&self, item: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let path = format!("/api/v1/items/{item}");
        let found = until(what, 30_000, || async { self.desk.api.get(&path).await.ok().filter(|s| wanted(s)) }).await;
        match found {
            Ok(story) => story,
            Err(e) => panic!("{e}: {:#}", self.story(item).await),
        }
    }

    /// Presses each key once its question is being asked.
    pub(crate) async fn answer(&self, call: &Call, keys: &[(&str, &str)]) {
        let id = self.newest_call().await;
        for (node, key) in keys {
            self.asked(&id, node).await;
            call.send_digits(key).unwrap();
        }
    }

    /// The id of the newest call.
    pub(crate) async fn newest_call(&self) -> String {
        let calls = self.desk.api.get("/api/v1/calls").await.unwrap();
        calls[0]["id"].as_str().unwrap().to_owned()
    }

    /// Waits until the flow has reached `node`.
    pub(crate) async fn asked(&self, call: &str, node: &str) {
        let path = format!("/api/v1/calls/{call}/events");
        until(&format!("the question {node}"), 60_000, || async {
            let events = self.desk.api.get(&path).await.ok()?;
            let at = |e: &Value| e["kind"] == "ivr_entered" && e["data"]["node"] == node;
            events.as_array()?.iter().any(at).then_some(())
        })
        .await
        .unwrap();
    }
}

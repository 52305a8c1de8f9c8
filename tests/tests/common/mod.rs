//! One gateway with one operator: what most whole-call tests begin with.
#![allow(dead_code, reason = "each test file uses a part")]

use hotline_tests::api::Api;
use hotline_tests::gateway::{Gateway, GatewayConfig, NewUser};
use hotline_tests::sip::{Credentials, Phone, PhoneConfig};
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
        Phone::start(PhoneConfig::new(
            self.gateway.sip(),
            Credentials::new("1001", "phone-1001"),
        ))
        .await
        .unwrap()
    }

    /// 示闲.
    pub(crate) async fn ready(&self) {
        self.api.set_state("ready").await.unwrap();
    }

    /// Operator 1002: phone and sign-in.
    pub(crate) async fn second_operator(&self) -> (Phone, Api) {
        let phone = Phone::start(PhoneConfig::new(
            self.gateway.sip(),
            Credentials::new("1002", "phone-1002"),
        ))
        .await
        .unwrap();
        (
            phone,
            self.gateway
                .sign_in(&NewUser::operator("1002"))
                .await
                .unwrap(),
        )
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

//! SIPp as the caller of a gateway, or as its operator's phone.
#![allow(dead_code, reason = "each test file uses a part")]

use std::net::SocketAddr;

use hotline_tests::net::{PHONE_IP, free_port};
use hotline_tests::peer::{Sipp, SippConfig};
use hotline_tests::sip::{Credentials, Phone, PhoneConfig};
use hotline_tests::until;
use serde_json::Value;

use super::{Desk, call_of};

/// One call by a scenario, and its row.
pub(crate) async fn caller(desk: &Desk, config: SippConfig) -> Value {
    Sipp::start(&config).unwrap().wait_successful().await.unwrap();
    let calls = desk.api.get("/api/v1/calls").await.unwrap();
    assert_eq!(calls.as_array().unwrap().len(), 1, "one call, one row: {calls}");
    desk.ended(&call_of(desk, 1).await).await
}

/// Registers operator 1001 from a port and leaves the port to SIPp, which becomes the phone.
pub(crate) async fn sipp_phone(desk: &Desk, scenario: &str) -> SippConfig {
    let mut config = PhoneConfig::new(desk.gateway.sip(), Credentials::new("1001", "phone-1001"));
    config.port = free_port(PHONE_IP).unwrap();
    let address = SocketAddr::new(PHONE_IP, config.port);
    drop(Phone::start(config).await.unwrap());
    until("the phone's port free again", 5_000, || async { std::net::UdpSocket::bind(address).ok().map(drop) })
        .await
        .unwrap();
    let mut config = SippConfig::scenario(desk.gateway.sip(), scenario, 0);
    (config.ip, config.port) = (PHONE_IP, address.port());
    config
}

pub(crate) async fn nothing_left(desk: &Desk) {
    let live = until("no live call", 5_000, || async {
        let live = desk.api.get("/api/v1/calls/live").await.ok()?;
        live.as_array()?.is_empty().then_some(())
    });
    live.await.unwrap();
}

pub(crate) async fn event(desk: &Desk, call: &str, kind: &str) {
    let path = format!("/api/v1/calls/{call}/events");
    let found = until(kind, 15_000, || async {
        let events = desk.api.get(&path).await.ok()?;
        events.as_array()?.iter().any(|e| e["kind"] == kind).then_some(())
    });
    found.await.unwrap();
}

//! Kamailio stands before the gateway as a carrier's proxy does: every request of a call passes it both ways.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use common::{Desk, NUMBER, call_of};
use hotline_tests::gateway::GatewayConfig;
use hotline_tests::net::{TRUNK_IP, free_port};
use hotline_tests::peer::{Kamailio, KamailioConfig};
use hotline_tests::sip::{Call, Citizen, CitizenConfig, Side};
use hotline_tests::until;
use toml::{Table, Value};

const PROXY_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 1, 40));

/// A gateway, the proxy before it, and a citizen behind the proxy.
struct Carrier {
    desk: Desk,
    proxy: Kamailio,
    citizen: Citizen,
}

impl Carrier {
    async fn open(gateway_tcp: bool) -> Self {
        let port = free_port(TRUNK_IP).unwrap();
        let config = GatewayConfig::default()
            .with("callback.windows", Vec::<String>::new())
            .with("callback.waking", "")
            .with("callback.time_factor", 43_200)
            .with("callback.poll_ms", 100);
        // The gateway needs the proxy's port for its own calls, the proxy the gateway's.
        let placed = free_port(PROXY_IP).unwrap();
        let mut trunk = Table::new();
        trunk.insert("name".into(), "carrier".into());
        trunk.insert("sources".into(), vec![PROXY_IP.to_string()].into());
        trunk.insert("outbound".into(), SocketAddr::new(PROXY_IP, placed).to_string().into());
        trunk.insert("transport".into(), if gateway_tcp { "tcp" } else { "udp" }.into());
        let desk = Desk::open(config.with("trunk", vec![Value::from(trunk)])).await;
        let citizen = SocketAddr::new(TRUNK_IP, port);
        let between = KamailioConfig { ip: PROXY_IP, port: placed, gateway: desk.gateway.sip(), gateway_tcp, citizen };
        let proxy = Kamailio::start(&between).await.unwrap();
        let mut settings = CitizenConfig::new(proxy.address(), NUMBER);
        settings.port = port;
        Self { citizen: Citizen::start(settings).await.unwrap(), desk, proxy }
    }

    /// Every message the citizen got came from the proxy, and none was answered by it alone.
    fn all_passed_the_proxy(&self) {
        let trace = self.citizen.agent().trace();
        let around: Vec<_> = trace.iter().filter(|t| t.peer != self.proxy.address()).collect();
        assert!(around.is_empty(), "around the proxy: {around:?}");
        let lost = trace.iter().filter(|t| matches!(t.message.code(), Some(404 | 408 | 481 | 500..)));
        assert_eq!(lost.count(), 0, "{trace:?}");
    }

    fn record_routes(&self) -> usize {
        let with = self.citizen.agent().trace().into_iter().find(|t| t.message.header("Record-Route").is_some());
        let values = with.map(|t| t.message.headers_named("Record-Route").map(str::to_owned).collect::<Vec<_>>());
        values.unwrap_or_default().iter().flat_map(|v| v.split(',')).count()
    }
}

async fn talk(carrier: &Carrier) -> (Call, String) {
    let call = carrier.citizen.call_answered("12319", 5_000).await.unwrap();
    call.rtp().wait_for_tone(1_000.0, 500, 10_000).await.unwrap();
    let calls = carrier.desk.api.get("/api/v1/calls").await.unwrap();
    let id = calls[0]["id"].as_str().unwrap().to_owned();
    (call, id)
}

/// Calls in: hold and resume by re-INVITE, once hung up by the citizen and once by the gateway.
async fn calls_in(carrier: &Carrier) {
    let _phone = carrier.desk.phone().await;
    carrier.desk.ready().await;
    let (call, id) = talk(carrier).await;
    call.hold().await.unwrap();
    call.resume().await.unwrap();
    call.hang_up().await.unwrap();
    assert_eq!(carrier.desk.ended(&id).await["end_side"], "citizen");
    let (call, id) = talk(carrier).await;
    carrier.desk.api.end_call(&id, Some("harassment")).await.unwrap();
    assert_eq!(call.wait_ended(5_000).await.unwrap().by, Side::Remote);
    assert_eq!(carrier.desk.ended(&id).await["end_side"], "operator");
    carrier.all_passed_the_proxy();
}

/// A call back: the gateway dials through the proxy, the citizen hangs up.
async fn call_out(carrier: &Carrier) {
    let missed = carrier.citizen.call_answered("12319", 5_000).await.unwrap();
    missed.hang_up().await.unwrap();
    let _phone = carrier.desk.phone().await;
    carrier.desk.ready().await;
    let call = carrier.citizen.next_call(15_000).await.unwrap();
    call.ring(180, false).unwrap();
    call.accept().unwrap();
    call.wait_acknowledged(5_000).await.unwrap();
    call.rtp().wait_for_tone(1_000.0, 500, 30_000).await.unwrap();
    call.hold().await.unwrap();
    call.resume().await.unwrap();
    call.hang_up().await.unwrap();
    let row = carrier.desk.ended(&call_of(&carrier.desk, 2).await).await;
    assert_eq!((row["direction"].as_str(), row["end_side"].as_str()), (Some("outbound"), Some("citizen")), "{row}");
    until("the debt paid", 10_000, || async {
        let tasks = carrier.desk.api.get("/api/v1/callbacks").await.ok()?;
        (tasks[0]["result"] == "已回访").then_some(())
    })
    .await
    .unwrap();
    carrier.all_passed_the_proxy();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_one_record_route_every_request_of_a_call_passes_kamailio() {
    let carrier = Carrier::open(false).await;
    calls_in(&carrier).await;
    assert_eq!(carrier.record_routes(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_udp_and_tcp_both_record_routes_are_followed() {
    let carrier = Carrier::open(true).await;
    calls_in(&carrier).await;
    assert_eq!(carrier.record_routes(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callback_goes_out_through_kamailio_and_stays_on_its_route() {
    let carrier = Carrier::open(false).await;
    call_out(&carrier).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callback_over_tcp_reaches_a_citizen_on_udp() {
    let carrier = Carrier::open(true).await;
    call_out(&carrier).await;
}

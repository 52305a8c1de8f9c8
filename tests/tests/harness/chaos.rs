//! The impairments do what their names say.

use std::time::{Duration, Instant};

use hotline_tests::casecore::CaseCore;
use hotline_tests::chaos::{TcpMode, TcpProxy};
use hotline_tests::impair::{Impairment, Jitter, Loss, UdpRelay};
use hotline_tests::net::{PHONE_IP, TRUNK_IP};
use hotline_tests::rtp::Source;
use hotline_tests::sip::{Agent, AgentConfig, Dial};

async fn get(proxy: &TcpProxy) -> Result<String, reqwest::Error> {
    let url = format!("http://{}/events", proxy.address());
    let request = hotline_tests::api::client().unwrap().get(url);
    request.timeout(Duration::from_millis(2_000)).send().await?.text().await
}

#[tokio::test]
async fn the_tcp_proxy_passes_refuses_loses_delays_and_cuts() {
    let core = CaseCore::start().await.unwrap();
    let proxy = TcpProxy::start(core.address()).await.unwrap();
    let whole = get(&proxy).await.unwrap();
    proxy.set(TcpMode::Refuse);
    assert!(get(&proxy).await.is_err());
    for mode in [TcpMode::Blackhole, TcpMode::LoseAnswers] {
        proxy.set(mode);
        assert!(get(&proxy).await.unwrap_err().is_timeout(), "{mode:?}");
    }
    proxy.set(TcpMode::CutAnswerAfter { bytes: 30 });
    assert!(!get(&proxy).await.unwrap_err().is_timeout());
    proxy.set(TcpMode::Delay { ms: 100 });
    let before = Instant::now();
    assert_eq!(get(&proxy).await.unwrap(), whole);
    assert!(before.elapsed().as_millis() >= 200);
    proxy.set(TcpMode::RepeatAnswers);
    assert_eq!(get(&proxy).await.unwrap(), whole);
}

#[tokio::test]
async fn a_call_survives_a_lossy_relay_through_retransmission() {
    let caller = Agent::start(AgentConfig::new(TRUNK_IP, "138")).await.unwrap();
    let callee = Agent::start(AgentConfig::new(PHONE_IP, "12319")).await.unwrap();
    let bad = Impairment {
        loss: Loss::Random(30.0),
        duplicate_percent: 10.0,
        delay_ms: 5.0,
        jitter: Jitter::Even(30.0),
        overtaking: true,
        ..Impairment::default()
    };
    let relay = UdpRelay::start(TRUNK_IP, callee.local(), bad, 11).await.unwrap();
    for _ in 0..3 {
        let dial = Dial::new(relay.address(), "12319").sending(Source::tone(440.0));
        let out = caller.dial(dial).unwrap();
        let inn = callee.next_call(20_000).await.unwrap();
        inn.accept().unwrap();
        out.wait_answered(20_000).await.unwrap();
        inn.rtp().wait_for_tone(440.0, 200, 5_000).await.unwrap();
        out.hang_up().await.unwrap();
        inn.wait_ended(20_000).await.unwrap();
    }
    assert!(relay.lost() > 0);
    assert!(callee.next_call(200).await.is_err(), "duplicates opened no call");
}

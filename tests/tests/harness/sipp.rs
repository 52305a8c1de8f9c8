//! SIPp against the harness's phone.

use hotline_tests::net::{PHONE_IP, TRUNK_IP};
use hotline_tests::peer::{Sipp, SippConfig, scenario};
use hotline_tests::rtp::Source;
use hotline_tests::sip::{Agent, AgentConfig, Side};
use hotline_tests::tone;

async fn callee() -> Agent {
    Agent::start(AgentConfig::new(PHONE_IP, "12319")).await.unwrap()
}

#[tokio::test]
async fn the_citizen_of_sipp_is_heard_at_440_hz_and_hangs_up_first() {
    let callee = callee().await;
    let sipp = Sipp::start(&SippConfig::citizen(callee.local(), 2_000)).unwrap();
    let call = callee.next_call(10_000).await.unwrap();
    call.rtp().play(Source::tone(1_000.0));
    call.ring(180, false).unwrap();
    call.accept().unwrap();
    call.rtp().wait_for_tone(440.0, 500, 5_000).await.unwrap();
    let end = call.wait_ended(10_000).await.unwrap();
    assert_eq!(end.by, Side::Remote);
    let heard = tone::tone_ms(&call.rtp().heard().pcm(), tone::RATE_HZ, 440.0);
    assert!(heard >= 1_500, "{heard} ms of 440 Hz");
    assert!(call.rtp().heard().source.is_some_and(|source| source.ip() == TRUNK_IP));
    let report = sipp.wait_successful().await.unwrap();
    assert_eq!((report.successful, report.failed), (1, 0));
    assert_eq!(report.answer_ms.len(), 1);
}

#[tokio::test]
async fn a_failing_run_is_reported_as_one() {
    let callee = callee().await;
    let sipp = Sipp::start(&SippConfig::citizen(callee.local(), 500)).unwrap();
    callee.next_call(10_000).await.unwrap().reject(486, "Busy Here").unwrap();
    let report = sipp.wait().await.unwrap();
    assert_eq!((report.successful, report.failed), (0, 1));
    assert!(report.errors.contains("486"), "{}", report.errors);
}

#[tokio::test]
async fn the_impatient_citizen_cancels_while_it_rings() {
    let callee = callee().await;
    let mut config = SippConfig::citizen(callee.local(), 300);
    config.scenario = scenario("abandon");
    let sipp = Sipp::start(&config).unwrap();
    let call = callee.next_call(10_000).await.unwrap();
    call.ring(180, false).unwrap();
    assert_eq!(call.wait_ended(10_000).await.unwrap().code, 487);
    sipp.wait_successful().await.unwrap();
}

#[tokio::test]
async fn options_and_tcp_work_too() {
    let callee = callee().await;
    let mut config = SippConfig::citizen(callee.local(), 0);
    config.scenario = scenario("options");
    (config.calls, config.rate, config.calls_at_once_max) = (5, 50, 5);
    let report = Sipp::start(&config).unwrap().wait_successful().await.unwrap();
    assert_eq!((report.successful, report.answer_ms.len()), (5, 5));

    let mut over_tcp = AgentConfig::new(PHONE_IP, "12319");
    over_tcp.transport = hotline_tests::sip::Transport::Tcp;
    let callee = Agent::start(over_tcp).await.unwrap();
    let mut config = SippConfig::citizen(callee.local(), 300);
    (config.scenario, config.tcp) = (scenario("setup"), true);
    let sipp = Sipp::start(&config).unwrap();
    callee.next_call(10_000).await.unwrap().accept().unwrap();
    sipp.wait_successful().await.unwrap();
}

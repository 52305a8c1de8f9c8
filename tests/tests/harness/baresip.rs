//! baresip against the harness's registrar.

use hotline_tests::net::GATEWAY_IP;
use hotline_tests::peer::{Baresip, BaresipConfig};
use hotline_tests::rtp::Source;
use hotline_tests::sip::{AgentConfig, Algorithm, Credentials, Registrar, Side};
use hotline_tests::until;

#[tokio::test]
async fn baresip_registers_answers_says_1000_hz_and_records_440() {
    let who = Credentials::new("8001", "secret");
    let config = AgentConfig::new(GATEWAY_IP, "hotline");
    let registrar = Registrar::start(config, vec![who.clone()], vec![Algorithm::Md5]).await.unwrap();
    let mut baresip = Baresip::start(&BaresipConfig::new(registrar.agent().local(), who)).unwrap();
    registrar.wait_registered("8001", 10_000).await.unwrap();
    baresip.wait_registered(5_000).await.unwrap();

    let call = registrar.call("8001", Source::tone(440.0)).unwrap();
    call.wait_answered(10_000).await.unwrap();
    call.rtp().wait_for_tone(1_000.0, 500, 10_000).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    baresip.hang_up().await.unwrap();
    assert_eq!(call.wait_ended(5_000).await.unwrap().by, Side::Remote);

    let heard = until("baresip's recording", 5_000, || async {
        baresip.heard().into_iter().next().filter(|wav| wav.duration_ms() > 0)
    });
    let heard = heard.await.unwrap();
    assert!(heard.tone_ms(0, 440.0) >= 1_000, "{} ms of 440 Hz", heard.tone_ms(0, 440.0));
    baresip.quit().await.unwrap();
    let gone = || async { registrar.binding("8001").is_none().then_some(()) };
    until("the end of its registration", 5_000, gone).await.unwrap();
}

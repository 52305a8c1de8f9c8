//! Phones register with both hashes and are called.

use hotline_tests::net::GATEWAY_IP;
use hotline_tests::rtp::Source;
use hotline_tests::sip::{AgentConfig, Algorithm, Behaviour, Credentials, Phone, PhoneConfig, Registrar, Transport};

async fn registrar(transport: Transport) -> Registrar {
    let mut config = AgentConfig::new(GATEWAY_IP, "hotline");
    config.transport = transport;
    let users = vec![Credentials::new("8001", "secret")];
    Registrar::start(config, users, vec![Algorithm::Sha256, Algorithm::Md5]).await.unwrap()
}

fn phone(registrar: &Registrar, password: &str) -> PhoneConfig {
    PhoneConfig::new(registrar.agent().local(), Credentials::new("8001", password))
}

#[tokio::test]
async fn a_phone_registers_with_the_hash_it_prefers_and_is_called() {
    for (transport, algorithm) in [(Transport::Udp, Algorithm::Md5), (Transport::Tcp, Algorithm::Sha256)] {
        let registrar = registrar(transport).await;
        let mut config = phone(&registrar, "secret");
        (config.transport, config.prefer) = (transport, Some(algorithm));
        let phone = Phone::start(config).await.unwrap();
        assert_eq!(registrar.binding("8001").unwrap().algorithm, algorithm);
        let out = registrar.call("8001", Source::tone(440.0)).unwrap();
        out.wait_answered(5_000).await.unwrap();
        let inn = phone.next_call(5_000).await.unwrap();
        inn.rtp().wait_for_tone(440.0, 200, 5_000).await.unwrap();
        out.rtp().wait_for_tone(1_000.0, 200, 5_000).await.unwrap();
        phone.unregister().await.unwrap();
        assert!(registrar.binding("8001").is_none());
    }
}

#[tokio::test]
async fn a_wrong_password_is_refused() {
    let registrar = registrar(Transport::Udp).await;
    let error = Phone::start(phone(&registrar, "wrong")).await.err().unwrap();
    assert_eq!(error.sip_code(), Some(401));
    assert!(registrar.binding("8001").is_none());
}

#[tokio::test]
async fn behaviours_answer_late_reject_or_ring_for_ever() {
    let registrar = registrar(Transport::Udp).await;
    let phone = Phone::start(phone(&registrar, "secret")).await.unwrap();
    phone.set_behaviour(Behaviour::Reject { after_ms: 100, code: 486 });
    let rejected = registrar.call("8001", Source::Silence).unwrap();
    assert_eq!(rejected.wait_answered(5_000).await.unwrap_err().sip_code(), Some(486));
    phone.set_behaviour(Behaviour::Answer { after_ms: 400 });
    let before = std::time::Instant::now();
    let late = registrar.call("8001", Source::Silence).unwrap();
    late.wait_answered(5_000).await.unwrap();
    assert!(before.elapsed().as_millis() >= 400);
    phone.set_behaviour(Behaviour::Ring);
    let endless = registrar.call("8001", Source::Silence).unwrap();
    assert_eq!(endless.wait_ringing(5_000).await.unwrap(), 180);
    assert!(endless.wait_answered(500).await.is_err());
    endless.cancel().await.unwrap();
}

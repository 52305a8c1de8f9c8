//! Start, sign-in, drain on SIGTERM, crash and start on the same data.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that isn't as it should be"
)]

use hotline_tests::gateway::{Gateway, GatewayConfig, NewUser};

async fn with_operator() -> (Gateway, NewUser) {
    let mut gateway = Gateway::prepare(GatewayConfig::default()).unwrap();
    let operator = NewUser::operator("8001");
    gateway.add_user(&operator).unwrap();
    gateway.boot().await.unwrap();
    (gateway, operator)
}

#[tokio::test]
async fn it_starts_drains_on_sigterm_and_survives_kill_9() {
    let (mut gateway, operator) = with_operator().await;
    gateway.sign_in(&operator).await.unwrap();
    assert!(gateway.api().sign_in("8001", "wrong-password").await.is_err());
    assert!(gateway.sigterm(15_000).await.unwrap().success());
    gateway.boot().await.unwrap();
    gateway.crash_and_restart().await.unwrap();
    gateway.sign_in(&operator).await.unwrap();
}

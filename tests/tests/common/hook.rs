//! Citizens who write by mail, pushed to the gateway by a signed hook.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use hotline_tests::api::client;
use hotline_tests::gateway::{Gateway, GatewayConfig};
use serde_json::json;
use sha2::Sha256;

const SECRET: &str = "s3cret-of-the-mail-hook";

/// With the hook, and receipts at once.
pub(crate) fn hooked(config: GatewayConfig) -> GatewayConfig {
    config
        .with("mail.address", "12319@city.example")
        .with("mail.hook_secret", SECRET)
        .with("intake.receipt_quiet_s", 0)
        .with("intake.receipt_latest_s", 0)
}

/// A citizen's mail, acknowledged.
pub(crate) async fn write(gateway: &Gateway, citizen: &str, text: &str) {
    let raw = format!(
        "From: {citizen}@citizen.example\r\nTo: 12319@city.example\r\nMessage-ID: <{citizen}-{}@x>\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n",
        text.len()
    );
    let body = json!({"raw": STANDARD.encode(raw)}).to_string();
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("{time}.{body}").as_bytes());
    let sign: String = mac.finalize().into_bytes().iter().map(|b| format!("{b:02x}")).collect();
    let request = client().unwrap().post(format!("http://{}/hooks/mail", gateway.http())).body(body);
    let request = request.header("x-hotline-timestamp", time.to_string());
    let answer = request.header("x-hotline-signature", format!("sha256={sign}")).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
}

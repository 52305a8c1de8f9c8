//! 微信客服: a callback only hints; messages are fetched behind a cursor that survives a crash.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::Desk;
use common::rows::rows;
use hotline_tests::gateway::GatewayConfig;
use hotline_tests::peer::python;
use hotline_tests::wechat::{self, Fault, Platform};
use hotline_tests::{api, until};
use serde_json::{Value, json};

const AES_KEY: &str = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG";

async fn open(platform: &Platform, poll_s: i64) -> Desk {
    let config = GatewayConfig::default()
        .with("wechat.kf.corp_id", "ww1234567890abcdef")
        .with("wechat.kf.secret", "corp-secret")
        .with("wechat.kf.token", "kftoken")
        .with("wechat.kf.aes_key", AES_KEY)
        .with("wechat.kf.base_url", platform.url())
        .with("wechat.kf.poll_s", poll_s)
        .with("intake.receipt_quiet_s", 0)
        .with("intake.receipt_latest_s", 0);
    Desk::open(config).await
}

async fn items(desk: &Desk) -> Vec<Value> {
    api::rows(&desk.api.get("/api/v1/items").await.unwrap())
}

async fn texts(desk: &Desk, platform: &Platform, to: &str, count: usize) -> Vec<String> {
    let look = || async { Some(platform.texts(to)).filter(|t| t.len() >= count) };
    let found = until(&format!("{count} texts to {to}"), 20_000, look).await;
    found.unwrap_or_else(|e| panic!("{e}: {}", desk.gateway.log()))
}

/// The sealed callback as 企业微信 sends it.
async fn hint(desk: &Desk, account: &str) -> u16 {
    let script = "import sys,json,time\nfrom wechatpy.crypto import WeChatCrypto\nimport xmltodict\n\
        c=WeChatCrypto('kftoken',sys.stdin.read(),'ww1234567890abcdef')\nt=str(int(time.time()))\n\
        b='<xml><ToUserName>ww1234567890abcdef</ToUserName><CreateTime>'+t+'</CreateTime><MsgType>event</MsgType>'\\\n\
        '<Event>kf_msg_or_event</Event><Token>ENC1</Token><OpenKfId>ACCOUNT</OpenKfId></xml>'\n\
        x=c.encrypt_message(b,'n1',t)\nprint(json.dumps([x,xmltodict.parse(x)['xml']['MsgSignature'],t]))";
    let script = script.replace("ACCOUNT", account);
    let made: Value = serde_json::from_str(&python(&script, AES_KEY).unwrap()).unwrap();
    let (signature, at) = (made[1].as_str().unwrap(), made[2].as_str().unwrap());
    let http = desk.gateway.http();
    let url = format!("http://{http}/hooks/wechat/kf?msg_signature={signature}&timestamp={at}&nonce=n1");
    let request = api::client().unwrap().post(url).body(made[0].as_str().unwrap().to_owned());
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_hint_brings_all_pages_and_each_message_is_taken_once() {
    let platform = Platform::start().await.unwrap();
    let desk = open(&platform, 3_600).await;
    platform.wait_seen(wechat::KF_SYNC, 1, 10_000).await.unwrap();
    for n in 0..5 {
        platform.add_kf_text(&format!("m{n}"), "wk1", &format!("wmCitizen{n}"), "人民路88号门前井盖缺失");
    }
    assert_eq!(hint(&desk, "wk1").await, 200);
    for n in 0..5 {
        let texts = texts(&desk, &platform, &format!("wmCitizen{n}"), 1).await;
        assert!(texts[0].contains("受理编号"), "{texts:?}");
    }
    assert_eq!(items(&desk).await.len(), 5);
    let sent = platform.seen(wechat::KF_SEND);
    assert!(sent.iter().all(|s| s.body["open_kfid"] == "wk1" && s.body["msgid"].as_str().unwrap().len() == 32));
    let asked = platform.seen(wechat::KF_SYNC);
    assert!(asked.iter().any(|s| s.body["token"] == "ENC1"), "the callback's token is used");
    // Another account has its own cursor; what came for it is fetched at its own hint.
    platform.add_kf_text("m9", "wk2", "wmCitizen9", "解放路积水");
    assert_eq!(hint(&desk, "wk2").await, 200);
    texts(&desk, &platform, "wmCitizen9", 1).await;
    let asked = platform.seen(wechat::KF_SYNC);
    let of_second: Vec<_> = asked.iter().filter(|s| s.body["open_kfid"] == "wk2").collect();
    assert_eq!(of_second[0].body["cursor"], "", "{of_second:?}");
    assert!(asked.iter().all(|s| s.body["open_kfid"] != "wkOthers"), "an account that isn't ours is left alone");
}

const CURSOR_KEPT: &str = "SELECT key FROM setting WHERE key LIKE 'wechat.kf.cursor%' AND value LIKE '%cursor-3%'";

#[tokio::test]
async fn the_cursor_survives_a_crash_and_a_busy_platform() {
    let platform = Platform::start().await.unwrap();
    let mut desk = open(&platform, 1).await;
    platform.plan(wechat::KF_SYNC, Fault::Code(-1), 2);
    platform.add_kf_text("m1", "wk1", "wmCitizen1", "人民路88号门前井盖缺失");
    platform.add_kf(json!({"origin": 3, "msgtype": "text"}));
    platform.add_kf_text("m2", "wk1", "wmCitizen2", "建设路路灯不亮");
    texts(&desk, &platform, "wmCitizen2", 1).await;
    // The messages are rows first, the cursor follows: a crash in between asks again, rightly.
    let kept = || async { (!rows(&desk.gateway, CURSOR_KEPT).is_empty()).then_some(()) };
    until("the cursor's row", 20_000, kept).await.unwrap();
    desk.gateway.crash_and_restart().await.unwrap();
    desk.api = desk.gateway.sign_in(&desk.user).await.unwrap();
    let before = platform.seen(wechat::KF_SYNC).len();
    platform.add_kf_text("m3", "wk1", "wmCitizen3", "解放路积水");
    texts(&desk, &platform, "wmCitizen3", 1).await;
    assert_eq!(items(&desk).await.len(), 3);
    let first = &platform.seen(wechat::KF_SYNC)[before].body;
    assert_eq!(first["cursor"], "cursor-3", "it goes on where it was");
}

#[tokio::test]
async fn a_forged_callback_is_refused() {
    let platform = Platform::start().await.unwrap();
    let desk = open(&platform, 3_600).await;
    let url = format!("http://{}/hooks/wechat/kf?msg_signature=0&timestamp=1&nonce=n", desk.gateway.http());
    let body = "<xml><ToUserName>ww1</ToUserName><Encrypt>AAAA</Encrypt></xml>";
    let status = api::client().unwrap().post(url).body(body).send().await.unwrap().status().as_u16();
    assert_eq!(status, 403);
}

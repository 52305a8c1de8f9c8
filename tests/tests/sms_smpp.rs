//! SMPP 3.4 with peers nobody here wrote: an SMSC of the npm package `smpp`, and a phone of the PyPI package
//! `smpplib` behind it.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use common::Desk;
use common::rows::rows;
use hotline_tests::gateway::GatewayConfig;
use hotline_tests::peer::{SmppPhone, Smsc};
use hotline_tests::tls::Certificates;
use hotline_tests::until;
use serde_json::{Value, json};
use toml::toml;

const CITIZEN: &str = "8613812345678";
const TIP: &str = "人民路88号门前井盖缺失,夜里很危险😀,昨天有位老人差点掉下去,请尽快派人来处理。旁边的路灯也不亮,\
                   从公交站到菜市场这一段都是黑的,晚上接孩子放学的家长很多,希望一起解决,谢谢你们!";

fn config(smsc: &Smsc, more: toml::Table) -> GatewayConfig {
    let mut smpp = toml! {
        system_id = "hotline"
        password = "secret"
        from = "12319"
        response_ms = 6000
    };
    smpp.insert("address".into(), smsc.address().into());
    smpp.extend(more);
    let mut line = toml::Table::new();
    line.insert("name".into(), "smsc".into());
    line.insert("kind".into(), "smpp".into());
    line.insert("smpp".into(), smpp.into());
    GatewayConfig::default()
        .with("sms.line", toml::Value::Array(vec![line.into()]))
        .with("sms.retry_ms", 100)
        .with("sms.retry_max_ms", 500)
        .with("intake.receipt_quiet_s", 0)
        .with("intake.receipt_latest_s", 1)
        // Long enough for two parts.
        .with("intake.signature", "城市管理监督指挥中心热线服务")
}

/// The texts the phone has, its parts put together.
async fn texts(phone: &SmppPhone, containing: &str) -> String {
    until(&format!("a text with {containing}"), 30_000, || async {
        let parts = phone.wait("received", 1, 1_000).await.ok()?;
        let mut messages = std::collections::BTreeMap::<String, Vec<(u64, String)>>::new();
        for (n, part) in parts.iter().enumerate() {
            let header: Vec<u64> = part["part"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
            let (key, total, number) = match header[..] {
                [0, 3, reference, total, number] => (format!("{reference}"), total, number),
                _ => (format!("single {n}"), 1, 1),
            };
            let text = part["text"].as_str()?.to_owned();
            messages.entry(format!("{key} {total}")).or_default().push((number, text));
        }
        messages.into_values().find_map(|mut pieces| {
            pieces.sort();
            let whole: String = pieces.into_iter().map(|(_, text)| text).collect();
            whole.contains(containing).then_some(whole)
        })
    })
    .await
    .unwrap()
}

async fn item_with(desk: &Desk, words: &str) -> Value {
    until("the item", 20_000, || async {
        let list = rows(&desk.gateway, "SELECT acceptance_no, query_code, detail FROM item");
        list.into_iter().find(|row| row["detail"].as_str().is_some_and(|d| d.contains(words)))
    })
    .await
    .unwrap()
}

async fn states(desk: &Desk, wanted: &str) -> Vec<Value> {
    until(&format!("every text {wanted}"), 20_000, || async {
        let list = rows(&desk.gateway, "SELECT state, sent_line, purpose FROM outgoing");
        (!list.is_empty() && list.iter().all(|row| row["state"] == wanted)).then_some(list)
    })
    .await
    .unwrap_or_else(|e| panic!("{e}: {:?}\n{}", rows(&desk.gateway, "SELECT * FROM outgoing"), desk.gateway.log()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_tip_from_smpplib_is_one_item_and_its_receipt_reaches_the_phone_whole() {
    let smsc = Smsc::start().await.unwrap();
    let desk = Desk::open(config(&smsc, toml::Table::new())).await;
    let bound = smsc.wait("bound", 1, 20_000).await.unwrap();
    assert_eq!((&bound[0]["mode"], &bound[0]["version"]), (&json!("transceiver"), &json!(0x34)));
    let mut phone = SmppPhone::start(&smsc).await.unwrap();
    phone.send(CITIZEN, "12319", TIP).unwrap();
    let item = item_with(&desk, TIP).await;
    let receipt = texts(&phone, item["acceptance_no"].as_str().unwrap()).await;
    assert!(receipt.contains(item["query_code"].as_str().unwrap()), "{receipt}");
    let sent = states(&desk, "已送达").await;
    assert_eq!((sent.len(), &sent[0]["purpose"], &sent[0]["sent_line"]), (1, &json!("receipt"), &json!("smsc")));
    // The carrier's own view: everything of ours was asked to be reported, everything of theirs acknowledged.
    let ours: Vec<Value> = smsc.events("submitted").into_iter().filter(|e| e["who"] == "hotline").collect();
    assert!(ours.len() >= 2 && ours.iter().all(|e| e["receipts"] == 1 && e["coding"] == 8), "{ours:?}");
    assert!(smsc.events("answered").iter().all(|e| e["status"] == 0), "{:?}", smsc.events("answered"));
    let log = desk.gateway.log();
    assert!(!log.contains("井盖") && !log.contains("13812345678"), "texts and numbers stay out of the log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throttling_early_reports_and_silence_lose_no_text() {
    let mut smsc = Smsc::start().await.unwrap();
    let desk = Desk::open(config(&smsc, toml! { bind = "pair" long = "sar" })).await;
    smsc.wait("bound", 2, 20_000).await.unwrap();
    smsc.order(&json!({"set": {"throttle": 2, "early": true}})).unwrap();
    smsc.order(&json!({"deliver": {"source_addr": CITIZEN, "source_addr_ton": 1, "destination_addr": "12319",
        "data_coding": 8, "message_payload": {"message": TIP}}}))
        .unwrap();
    let item = item_with(&desk, TIP).await;
    states(&desk, "已送达").await;
    let ours = smsc.events("submitted");
    assert_eq!(smsc.events("throttled").len(), 2);
    let whole: String = ours.iter().map(|e| e["text"].as_str().unwrap()).collect();
    assert!(whole.contains(item["acceptance_no"].as_str().unwrap()) && ours[0]["sar"] == ours.len(), "{ours:?}");
    // Its answer is lost: nobody knows whether it left, so it leaves again.
    let before = ours.len();
    smsc.order(&json!({"set": {"silent": 1}})).unwrap();
    smsc.order(&json!({"deliver": {"source_addr": CITIZEN, "source_addr_ton": 1, "destination_addr": "12319",
        "short_message": "CX00000000"}}))
        .unwrap();
    smsc.wait("submitted", before + 2, 30_000).await.unwrap();
    states(&desk, "已送达").await;
}

async fn answered(smsc: &Smsc, sequence: u64) -> Value {
    let look = || async { smsc.events("raw_answer").into_iter().find(|e| e["sequence"] == sequence) };
    until("the answer", 20_000, look).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_carrier_that_goes_away_or_talks_nonsense_costs_nothing() {
    let mut smsc = Smsc::start().await.unwrap();
    smsc.order(&json!({"set": {"password": "other"}})).unwrap();
    let desk = Desk::open(config(&smsc, toml::Table::new())).await;
    smsc.wait("refused", 1, 20_000).await.unwrap();
    smsc.order(&json!({"set": {"password": "secret"}})).unwrap();
    smsc.wait("bound", 1, 20_000).await.unwrap();
    // A deliver_sm without an end, one with an unreadable parameter, and a command nobody knows.
    let command =
        |id: &str, sequence: u32, body: &str| format!("{:08x}{id}00000000{sequence:08x}{body}", 16 + body.len() / 2);
    let mobile = b"\0\x01\x018613812345678\0\0\x0112319\0\0\0\0\0\0\0\0\0\0\x0bgas  leak!!";
    let good: String = mobile.iter().map(|b| format!("{b:02x}")).collect();
    for (id, sequence, body) in [
        ("00000005", 900, "00010138363133".to_owned()),
        ("00000005", 901, good.clone() + "0427000201020a"),
        ("00000777", 902, "00".into()),
    ] {
        smsc.order(&json!({"raw": command(id, sequence, &body)})).unwrap();
    }
    assert_eq!(answered(&smsc, 900).await["status"], 2, "ESME_RINVCMDLEN");
    assert_eq!(answered(&smsc, 901).await["status"], 0, "what can be read of it is taken");
    smsc.wait("nacked", 1, 20_000).await.unwrap();
    // The same message again after a cut: its first answer may have been lost.
    smsc.order(&json!({"drop": true})).unwrap();
    smsc.wait("bound", 2, 30_000).await.unwrap();
    smsc.order(&json!({"raw": command("00000005", 903, &good)})).unwrap();
    assert_eq!(answered(&smsc, 903).await["status"], 0);
    let kept = rows(&desk.gateway, "SELECT text FROM message");
    assert_eq!(kept.len(), 1, "{kept:?}");
    let metrics = desk.api.get_raw("/metrics").await.unwrap().text().await.unwrap();
    assert!(metrics.contains("hotline_sms_warnings_total{kind=\"malformed\",line=\"smsc\"}"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_texts_come_and_go_and_a_certificate_of_another_name_gets_no_password() {
    let certificates = Certificates::new(&["smsc.example"]).unwrap();
    let mut smsc = Smsc::start_tls(&certificates).await.unwrap();
    let tls = |name: &str| {
        let mut more = toml! { tls = true };
        more.insert("ca".into(), certificates.ca().display().to_string().into());
        more.insert("server_name".into(), name.into());
        more
    };
    let stranger = Desk::open(config(&smsc, tls("another.example"))).await;
    until("the handshake's end", 20_000, || async {
        stranger.gateway.log().contains("SMPP connection ended").then_some(())
    })
    .await
    .unwrap();
    assert!(smsc.events("bound").is_empty() && smsc.events("refused").is_empty(), "nothing was said to it");
    drop(stranger);
    let desk = Desk::open(config(&smsc, tls("smsc.example"))).await;
    smsc.wait("bound", 1, 20_000).await.unwrap();
    smsc.order(&json!({"deliver": {"source_addr": CITIZEN, "source_addr_ton": 1, "destination_addr": "12319",
        "data_coding": 8, "message_payload": {"message": TIP}}}))
        .unwrap();
    item_with(&desk, TIP).await;
    states(&desk, "已送达").await;
}

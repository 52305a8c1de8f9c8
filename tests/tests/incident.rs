//! One incident, several citizens: one item, the right first reporter, one person paid; and the
//! caller who only wants to say the same joins in by a key.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use common::{Desk, NUMBER, Town, call_of};
use hotline_tests::api::Api;
use hotline_tests::gateway::{GatewayConfig, NewUser};
use hotline_tests::ismg::{Ismg, IsmgConfig};
use hotline_tests::sip::{Citizen, CitizenConfig};
use hotline_tests::wechat::{Account, Platform, Push};
use hotline_tests::{Error, until};
use serde_json::{Value, json};

const RULES: &str = "version = \"t1\"\n[[rule]]\nid = \"hole\"\nfrom = \"2020-01-01\"\nto = \"2099-12-31\"\n\
    classes = [\"011\"]\nfirst_fen = 2000\n";

async fn citizen(desk: &Desk, number: &str) -> Citizen {
    Citizen::start(CitizenConfig::new(desk.gateway.sip(), number)).await.unwrap()
}

/// A citizen's talk with the operator, who files the missing manhole cover; the item's id.
async fn reports(desk: &Desk, citizen: &Citizen, nth: usize, north_m: f64) -> String {
    let call = citizen.call_answered("12319", 5_000).await.unwrap();
    call.rtp().wait_for_tone(1_000.0, 300, 20_000).await.unwrap();
    let id = call_of(desk, nth).await;
    let form = json!({
        "call": id, "kind": "举报", "urgency": 3, "title": "井盖缺失", "detail": "人行道井盖缺失",
        "class_code": "01101", "location": "人民路88号", "lon": 119.9741, "lat": 31.8112 + north_m / 111_320.0,
    });
    let item = desk.api.post("/api/v1/items", &form).await.unwrap();
    call.hang_up().await.unwrap();
    desk.ended(&id).await;
    item["id"].as_str().unwrap().to_owned()
}

async fn first(api: &Api, item: &str) -> Value {
    api.get(&format!("/api/v1/items/{item}/first")).await.unwrap()
}

fn seqs(view: &Value) -> Vec<i64> {
    view["reporters"].as_array().unwrap().iter().map(|r| r["seq"].as_i64().unwrap()).collect()
}

async fn manager(desk: &Desk, login: &str) -> Api {
    let user = NewUser {
        login: login.into(),
        name: login.into(),
        password: format!("console-{login}"),
        roles: vec!["manager".into()],
        sip: None,
    };
    desk.gateway.add_user(&user).unwrap();
    desk.gateway.sign_in(&user).await.unwrap()
}

/// The item's last decision, once there is one that `wanted` holds for.
async fn decision(api: &Api, item: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let path = format!("/api/v1/items/{item}/reward");
    until("the decision about the reward", 20_000, || async {
        let story = api.get(&path).await.ok()?;
        story["decisions"].as_array()?.last().filter(|d| wanted(d)).cloned()
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_reports_are_one_incident_and_the_batch_names_the_first_also_after_merge_split_and_merge() {
    let rules = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(rules.path(), RULES).unwrap();
    let config = GatewayConfig::default()
        .with("incident.merge", "auto")
        .with("reward.enabled", true)
        .with("reward.rules_file", rules.path().display().to_string())
        .with("reward.poll_ms", 100)
        .with("callback.enabled", false)
        .with("casecore.poll_ms", 100);
    let desk = Desk::open(config).await;
    let _phone = desk.phone().await;
    desk.ready().await;
    let (ann, ben) = (citizen(&desk, NUMBER).await, citizen(&desk, "13912345679").await);
    let one = reports(&desk, &ann, 1, 0.0).await;
    let two = reports(&desk, &ben, 2, 12.0).await;
    let view = first(&desk.api, &two).await;
    assert_eq!(view["item"]["id"], one.as_str(), "merged into the earlier one: {view:#}");
    assert_eq!((view["first"].as_str(), seqs(&view).len()), (Some("citizen"), 2));
    assert_eq!(view["history"][0]["action"], "并案");
    let order = seqs(&view);
    assert!(order[0] < order[1]);
    let case = desk.handed_off(&one).await["handoffs"][0]["case_no"].as_str().unwrap().to_owned();
    // A person takes them apart, and puts the earlier one into the later one.
    let split = desk.api.post(&format!("/api/v1/items/{two}/split"), &json!({"reason": "另一处"})).await.unwrap();
    assert_eq!(split["link"]["action"], "撤并");
    assert_eq!(seqs(&first(&desk.api, &two).await), order[1..]);
    let shown = desk.api.get(&format!("/api/v1/items/{two}/candidates")).await.unwrap();
    assert_eq!(
        (shown[0]["item"].as_str(), shown[0]["score"]["is_certain"].as_bool()),
        (Some(one.as_str()), Some(true))
    );
    desk.api.set_stage(&case, "已结案", "").await.unwrap();
    let alone = decision(&desk.api, &one, |_| true).await;
    assert_eq!(alone["lines"][0]["amount_fen"], 2000);
    let merged = desk.api.post(&format!("/api/v1/items/{two}/merge"), &json!({"into": one, "reason": "同一处"})).await;
    assert_eq!(merged.unwrap()["action"], "并案");
    let whole = |d: &Value| d["decision"]["evidence"]["reporters"].as_array().is_some_and(|r| r.len() == 2);
    decision(&desk.api, &one, whole).await;
    let view = first(&desk.api, &one).await;
    assert_eq!(seqs(&view)[0], order[0], "{view:#}");

    let (maker, checker) = (manager(&desk, "9001").await, manager(&desk, "9002").await);
    let month = alone["decision"]["month"].as_str().unwrap();
    let early = maker.post("/api/v1/rewards/batches", &json!({"month": month})).await;
    assert!(early.is_err(), "a month that isn't over, by mistake: {early:?}");
    let month = json!({"month": month, "early": true});
    let batch = maker.post("/api/v1/rewards/batches", &month).await.unwrap();
    let again = maker.post("/api/v1/rewards/batches", &month).await.unwrap();
    assert_eq!(batch["id"], again["id"], "one batch a month");
    let id = batch["id"].as_str().unwrap();
    assert_eq!((batch["payments"].as_i64(), batch["total_fen"].as_i64()), (Some(1), Some(2000)), "{batch:#}");
    let export = format!("/api/v1/rewards/batches/{id}/export?format=csv&reason=%E5%8F%91%E6%94%BE");
    assert_eq!(maker.get_raw(&export).await.unwrap().status().as_u16(), 409, "not approved yet");
    assert!(maker.post(&format!("/api/v1/rewards/batches/{id}/approve"), &json!({})).await.is_err(), "a second person");
    checker.post(&format!("/api/v1/rewards/batches/{id}/approve"), &json!({})).await.unwrap();
    assert_eq!(checker.get_raw(&export).await.unwrap().status().as_u16(), 409, "who approved doesn't export");
    let csv = maker.get_raw(&export).await.unwrap().text().await.unwrap();
    let lines: Vec<&str> = csv.lines().collect();
    assert!(lines.len() == 2 && lines[1].contains(NUMBER) && lines[1].ends_with("20.00"), "{csv}");
    let sheet = maker.get_raw(&export.replace("csv", "xlsx")).await.unwrap().bytes().await.unwrap();
    assert!(sheet.starts_with(b"PK"), "a workbook");
    assert_eq!(maker.get_raw(&export.replace("&reason=%E5%8F%91%E6%94%BE", "")).await.unwrap().status().as_u16(), 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_about_an_announced_incident_joins_by_key_1_without_an_operator() {
    let town = Town::open(GatewayConfig::default()).await;
    let form = json!({
        "kind": "求助", "urgency": 2, "title": "人民路积水", "detail": "积水很深", "location": "人民路下穿通道",
    });
    let item = town.desk.api.post("/api/v1/items", &form).await.unwrap()["id"].as_str().unwrap().to_owned();
    let announce = format!("/api/v1/incidents/{item}/announce");
    let bad = town.desk.api.post(&announce, &json!({"prompt": "greeting"})).await;
    assert!(bad.is_err(), "only prompts about incidents");
    let made = town.desk.api.post(&announce, &json!({})).await.unwrap();
    assert_eq!(made["prompt"], "incident_flood", "what fits the item");
    let call = town.citizen.call_answered("12319", 5_000).await.unwrap();
    let id = town.newest_call().await;
    town.asked(&id, "incident_notice").await;
    call.send_digits("1").unwrap();
    town.asked(&id, "incident_joined").await;
    call.wait_ended(30_000).await.unwrap();
    let row = town.desk.ended(&id).await;
    assert!(row["stage_abandoned"].is_null(), "{row:#}");
    let view = first(&town.desk.api, &item).await;
    assert_eq!((seqs(&view).len(), view["reporters"][0]["role"].as_str()), (1, Some("共报")), "{view:#}");
    let tasks = town.desk.api.get("/api/v1/callbacks").await.unwrap();
    assert!(!tasks.as_array().unwrap().iter().any(|t| t["kind"] == "漏接回拨"), "{tasks:#}");
    // Ended, the next caller hears nothing of it.
    let end = town.desk.api.json(reqwest::Method::DELETE, &announce, None).await;
    assert!(end.is_ok(), "{end:?}");
    let next = town.citizen.call_answered("12319", 5_000).await.unwrap();
    let id = town.newest_call().await;
    town.asked(&id, "waiting").await;
    let events = town.desk.api.get(&format!("/api/v1/calls/{id}/events")).await.unwrap();
    assert!(!events.to_string().contains("incident_notice"), "{events}");
    next.hang_up().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn citizen_before_inspector_is_answered_by_the_arrival_numbers() {
    let config = GatewayConfig::default().with("casecore.webhook_secret", "s3cret");
    let desk = Desk::open(config).await;
    let _phone = desk.phone().await;
    desk.ready().await;
    let ann = citizen(&desk, NUMBER).await;
    let item = reports(&desk, &ann, 1, 0.0).await;
    let no = first(&desk.api, &item).await["item"]["acceptance_no"].as_str().unwrap().to_owned();
    // The inspector's clock says earlier; the number says later.
    let body = json!({"external_id": "X1", "inspector": "巡查一队", "found_at_ms": 1, "acceptance_no": no});
    let unsigned = desk.api.send(reqwest::Method::POST, "/api/v1/casecore/inspections", Some(&body), &[]).await;
    assert_eq!(unsigned.unwrap().status().as_u16(), 401);
    let signature = format!("sha256={}", hotline_tests::casecore::sign(&body.to_string(), "s3cret"));
    let sent = desk
        .api
        .send(
            reqwest::Method::POST,
            "/api/v1/casecore/inspections",
            Some(&body),
            &[("x-signature", signature.as_str())],
        )
        .await
        .unwrap();
    assert_eq!(sent.status().as_u16(), 201);
    let view = first(&desk.api, &item).await;
    assert_eq!(view["citizen_before_inspector"], true, "{view:#}");
    assert_eq!(view["first"], "citizen");
    assert!(view["inspection"]["seq"].as_i64().unwrap() > seqs(&view)[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_incident_by_phone_sms_and_wechat_is_one_item_with_the_right_first_reporter() {
    let ismg = Ismg::start(IsmgConfig::default()).await.unwrap();
    let platform = Platform::start().await.unwrap();
    let mut cmpp = toml::Table::new();
    for (key, value) in [
        ("address", ismg.address().to_string()),
        ("user", "901234".into()),
        ("password", "s3cret".into()),
        ("src_id", "10629100".into()),
        ("service_id", "HOTLINE".into()),
        ("version", "3.0".into()),
    ] {
        cmpp.insert(key.into(), value.into());
    }
    let mut line = toml::Table::new();
    line.insert("name".into(), "mobile".into());
    line.insert("kind".into(), "cmpp".into());
    line.insert("cmpp".into(), cmpp.into());
    let config = GatewayConfig::default()
        .with("incident.merge", "auto")
        .with("sms.line", toml::Value::Array(vec![line.into()]))
        .with("wechat.app_id", "wx2c2769f8efd9abc2")
        .with("wechat.app_secret", "app-secret")
        .with("wechat.token", "spamtest")
        .with("wechat.base_url", platform.url())
        .with("intake.receipt_quiet_s", 0)
        .with("intake.receipt_latest_s", 0);
    let desk = Desk::open(config).await;
    ismg.wait_links(1, 15_000).await.unwrap();
    let _phone = desk.phone().await;
    desk.ready().await;
    // The call arrives first and is filed last.
    let ann = citizen(&desk, NUMBER).await;
    let call = ann.call_answered("12319", 5_000).await.unwrap();
    call.rtp().wait_for_tone(1_000.0, 300, 20_000).await.unwrap();
    let id = call_of(&desk, 1).await;
    ismg.write("13912345679", "10629100", "人民路88号门前井盖缺失,很危险", 1);
    let texted = ismg.wait_texts("13912345679", 1, 20_000).await.unwrap().remove(0);
    let account = Account { hook: format!("http://{}/hooks/wechat", desk.gateway.http()), token: "spamtest".into() };
    assert!(account.push(&Push::text("oCitizen1", 6_001, "人民路88号门前井盖缺失,快来修")).await.unwrap().is_success());
    until("the receipt by WeChat", 20_000, || async { platform.texts("oCitizen1").pop() }).await.unwrap();
    let items = desk.api.get("/api/v1/items").await.unwrap();
    let by_sms = items.as_array().unwrap().iter().find(|i| i["channel"] == 2).unwrap().clone();
    assert!(texted.contains(by_sms["acceptance_no"].as_str().unwrap()));
    let form = json!({
        "call": id, "kind": "投诉", "urgency": 3, "title": "井盖缺失", "detail": "门前井盖缺失",
        "class_code": by_sms["class_code"], "location": "人民路88号",
    });
    let filed = desk.api.post("/api/v1/items", &form).await.unwrap();
    call.hang_up().await.unwrap();
    let filed = filed["id"].as_str().unwrap();
    let view = desk
        .api
        .wait_for(&format!("/api/v1/items/{filed}/first"), 20_000, |v| {
            (v["members"].as_array()?.len() == 3).then(|| v.clone())
        })
        .await
        .unwrap();
    assert_eq!(view["item"]["id"], filed, "the earliest report leads, though it was filed last: {view:#}");
    let channels: Vec<&str> =
        view["reporters"].as_array().unwrap().iter().map(|r| r["channel"].as_str().unwrap()).collect();
    assert_eq!(channels, ["phone", "sms", "wechat"]);
    let order = seqs(&view);
    // Merge, split and merge again: still the caller.
    let by_sms = by_sms["id"].as_str().unwrap();
    let root = view["members"].as_array().unwrap().iter().find(|m| m["id"] == by_sms).unwrap()["merged_into"].clone();
    assert!(root.is_string());
    desk.api.post(&format!("/api/v1/items/{by_sms}/split"), &json!({"reason": "另一处"})).await.unwrap();
    desk.api.post(&format!("/api/v1/items/{filed}/merge"), &json!({"into": by_sms, "reason": "同一处"})).await.unwrap();
    let again = first(&desk.api, by_sms).await;
    assert_eq!((seqs(&again), again["reporters"][0]["channel"].as_str()), (order, Some("phone")), "{again:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_complained_about_learns_nothing_of_it_from_its_incident() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let mut items = Vec::new();
    for n in 0..3 {
        let form = json!({
            "kind": "投诉", "title": "井盖缺失", "detail": "人行道井盖缺失", "class_code": "01101",
            "location": "人民路88号", "lon": 119.9741, "lat": 31.8112 + f64::from(n) * 0.000_1,
        });
        let item = desk.api.post("/api/v1/items", &form).await.unwrap();
        items.push(item["id"].as_str().unwrap().to_owned());
    }
    let [hidden, known, other] = &items[..] else { panic!("three") };
    let theirs = desk.gateway.sign_in(&NewUser::operator("1002")).await.unwrap();
    let file = desk.gateway.data_dir().join("hotline.db");
    let mark = move |item: &str, login: &str| {
        let rows = rusqlite::Connection::open(&file).unwrap();
        rows.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
        let insert =
            "INSERT INTO work (id, kind, dedup_key, item, channel, lane, urgency, due_at, seq, arrived_at, desk,
             excluded, created_at) SELECT '01900000-0000-7000-8000-000000000001', '核对', ?1, ?1, 'phone', 2, 4, 1, 1,
             1, '值班长', u.id, 1 FROM account u WHERE u.login = ?2";
        assert_eq!(rows.execute(insert, [item, login]).unwrap(), 1);
    };
    let found = |of: Value| -> Vec<String> {
        of.as_array().unwrap().iter().map(|c| c["item"].as_str().unwrap().to_owned()).collect()
    };
    let path = |item: &str, step: &str| format!("/api/v1/items/{item}/{step}");
    assert_eq!(found(theirs.get(&path(known, "candidates")).await.unwrap()).len(), 2, "nobody is hidden from yet");
    mark(hidden, "1002");
    assert_eq!(found(theirs.get(&path(known, "candidates")).await.unwrap()), std::slice::from_ref(other));
    assert_eq!(found(desk.api.get(&path(known, "candidates")).await.unwrap()).len(), 2, "others see it");
    let reason = json!({"reason": "同一处"});
    let into = |item: &str| json!({"into": item, "reason": "同一处"});
    for refused in [
        theirs.get(&path(hidden, "candidates")).await,
        theirs.get(&path(hidden, "first")).await,
        theirs.post(&path(hidden, "merge"), &into(known)).await,
        theirs.post(&path(known, "merge"), &into(hidden)).await,
        theirs.post(&path(hidden, "split"), &reason).await,
    ] {
        assert!(matches!(refused, Err(Error::Http { status: 404, .. })), "{refused:?}");
    }
    // As part of an incident it stays hidden, and so does who reported that.
    desk.api.post(&path(hidden, "merge"), &into(known)).await.unwrap();
    let whole = theirs.get(&path(known, "first")).await;
    assert!(matches!(whole, Err(Error::Http { status: 404, .. })), "{whole:?}");
    let shown = theirs.get(&path(other, "candidates")).await.unwrap();
    assert!(!shown.to_string().contains(hidden.as_str()), "{shown:#}");
    assert_eq!(first(&desk.api, known).await["members"].as_array().unwrap().len(), 2);
    let kept = desk.api.get("/api/v1/work?view=done").await.unwrap();
    assert_eq!(kept[0]["result"], "合并", "the absorbed item's check is done with: {kept:#}");
}

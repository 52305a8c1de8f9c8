//! Short messages over CMPP: what a carrier does wrong costs no message and doubles none.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use common::Desk;
use common::messages::{count, messages, wait_messages};
use hotline_tests::gateway::{Gateway, GatewayConfig};
use hotline_tests::ismg::{Fault, Ismg, IsmgConfig};
use hotline_tests::until;
use toml::{Table, Value};

const OURS: &str = "10629100";

/// A line's block of the configuration.
fn line(name: &str, address: SocketAddr, set: &[(&str, Value)]) -> Value {
    let mut cmpp = Table::new();
    for (key, value) in [
        ("address", Value::from(address.to_string())),
        ("user", "901234".into()),
        ("password", "s3cret".into()),
        ("src_id", OURS.into()),
        ("service_id", "HOTLINE".into()),
        ("response_ms", 2_000.into()),
        ("idle_ms", 1_000.into()),
        ("rate", 0.into()),
    ] {
        cmpp.insert(key.into(), value);
    }
    let mut line = Table::new();
    line.insert("name".into(), name.into());
    line.insert("kind".into(), "cmpp".into());
    for (key, value) in set {
        let table = if ["priority", "weight"].contains(key) { &mut line } else { &mut cmpp };
        table.insert((*key).into(), value.clone());
    }
    line.insert("cmpp".into(), cmpp.into());
    line.into()
}

fn config(lines: Vec<Value>) -> GatewayConfig {
    GatewayConfig::default()
        .with("sms.line", Value::Array(lines))
        .with("sms.join_s", 2)
        .with("sms.retry_ms", 200)
        .with("sms.retry_max_ms", 1_000)
        .with("intake.receipt_quiet_s", 0)
        .with("intake.receipt_latest_s", 0)
        .with("intake.per_sender_hour", 0)
}

async fn gateway_at(ismg: &Ismg, set: &[(&str, Value)]) -> Gateway {
    let gateway = Gateway::start(config(vec![line("mobile", ismg.address(), set)])).await.unwrap();
    ismg.wait_links(1, 10_000).await.unwrap();
    gateway
}

/// A counter's value.
async fn counted(gateway: &Gateway, series: &str) -> u64 {
    let text = gateway.api().metrics().await.unwrap();
    let line = text.lines().find_map(|l| l.strip_prefix(series).and_then(|rest| rest.strip_prefix(' ')));
    line.map_or(0, |v| v.trim().parse::<f64>().unwrap() as u64)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tip_becomes_an_item_and_its_receipt_is_delivered() {
    for (version, asked) in [(0x30, "3.0"), (0x20, "2.0"), (0x20, "3.0")] {
        let ismg = Ismg::start(IsmgConfig { version, ..IsmgConfig::default() }).await.unwrap();
        let desk = Desk::open(config(vec![line("mobile", ismg.address(), &[("version", asked.into())])])).await;
        ismg.wait_links(1, 15_000).await.unwrap();
        ismg.write("13812345678", OURS, "人民路88号门前井盖缺失,很危险", 1);
        let texts = ismg.wait_texts("13812345678", 1, 20_000).await.unwrap();
        assert!(texts[0].contains("受理编号") && texts[0].contains("查询码"), "{texts:?}");
        ismg.wait_acknowledged(10_000).await.unwrap();
        let submit = &ismg.submits()[0];
        assert_eq!((submit.src_id.as_str(), submit.service_id.as_str(), submit.fmt), (OURS, "HOTLINE", 8));
        let item = desk.api.wait_for("/api/v1/items", 10_000, |v| {
            v.as_array()?.iter().find(|i| i["detail"].as_str().is_some_and(|d| d.contains("井盖缺失"))).cloned()
        });
        let item = item.await.unwrap();
        assert!(texts[0].contains(item["acceptance_no"].as_str().unwrap()), "{texts:?} {item}");
        // Its report may be faster than the row that says it was sent: either way it is found.
        let delivered = "SELECT COUNT(*) FROM outgoing WHERE state = '已送达' AND sent_line = 'mobile'";
        until("the report", 10_000, || async { (count(&desk.gateway, delivered) == 1).then_some(()) }).await.unwrap();
    }
}

/// What a citizen writes on a faulty line: short, long and in between, each text once.
fn tips(of: usize) -> Vec<String> {
    (0..12)
        .map(|n| {
            let filler = if n % 4 == 3 { "路面塌陷需要尽快处理".repeat(12) } else { String::new() };
            format!("线路{of}第{n}条 人民路{n}号路灯不亮{filler}")
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_a_carrier_does_wrong_every_message_is_there_once_and_in_order() {
    let scripts: [(&[Fault], Option<&str>); 11] = [
        (&[Fault::HalfPackets], None),
        (&[Fault::OtherLayout], None),
        (&[Fault::RepeatedSequence], None),
        (&[Fault::ReportFirst], None),
        (&[Fault::WrongDigest], Some("wrong_digest")),
        (&[Fault::OrphanReports], None),
        (&[Fault::NoResponse(2)], None),
        (&[Fault::Throttle(3)], None),
        (&[Fault::CutMidWindow(2)], None),
        (&[Fault::WrongLengths], Some("unreadable")),
        (&[Fault::Doubled], None),
    ];
    let mut carriers = Vec::new();
    for (faults, _) in &scripts {
        let config = IsmgConfig { faults: faults.to_vec(), ..IsmgConfig::default() };
        carriers.push(Ismg::start(config).await.unwrap());
    }
    let lines = carriers.iter().enumerate().map(|(n, c)| {
        let version = if n % 2 == 0 { "2.0" } else { "3.0" };
        // Only where an answer is really missing may its time be over; a slow machine's answers come late.
        let patience = if matches!(scripts[n].0[0], Fault::NoResponse(_)) { 2_000 } else { 30_000 };
        line(&format!("l{n}"), c.address(), &[("version", version.into()), ("response_ms", patience.into())])
    });
    // Longer than a cut link takes to come back with the rest of a text.
    let gateway = Gateway::start(config(lines.collect()).with("sms.join_s", 30)).await.unwrap();
    for (n, carrier) in carriers.iter().enumerate() {
        carrier.wait_links(1, 15_000).await.unwrap();
        for (i, tip) in tips(n).iter().enumerate() {
            // Another citizen each time: a receipt each.
            carrier.write(&number(n, i), OURS, tip, u8::try_from(i).unwrap());
        }
    }
    let total = scripts.len() * 12;
    wait_messages(&gateway, total, 60_000).await;
    for (n, carrier) in carriers.iter().enumerate() {
        let fault = scripts[n].0;
        let stored: Vec<String> =
            messages(&gateway).into_iter().filter(|m| m.line == format!("l{n}")).map(|m| m.text).collect();
        assert_eq!(sorted(&stored), sorted(&tips(n)), "{fault:?}");
        for i in 0..12 {
            // While this line was down another one may have served.
            let texts = until("a receipt of each citizen", 60_000, || async {
                let came: Vec<String> = carriers.iter().flat_map(|c| c.texts_to(&number(n, i))).collect();
                (!came.is_empty()).then_some(came)
            });
            let texts = texts.await.unwrap();
            // Nobody can know whether an unanswered text arrived: it may come twice, never not at all.
            let may_double = matches!(fault[0], Fault::NoResponse(_) | Fault::CutMidWindow(_));
            assert!(texts.len() == 1 || may_double, "{fault:?}: {texts:?}");
        }
        let acknowledged = carrier.wait_acknowledged(30_000).await;
        acknowledged.unwrap_or_else(|e| panic!("{fault:?}: {e}"));
        if let Some(kind) = scripts[n].1 {
            let series = format!("hotline_sms_warnings_total{{kind=\"{kind}\",line=\"l{n}\"}}");
            assert!(counted(&gateway, &series).await > 0, "{fault:?} isn't counted as {kind}");
        }
    }
    let seqs: Vec<i64> = messages(&gateway).iter().map(|m| m.seq).collect();
    assert_eq!(seqs.len(), total, "none came twice");
    // Where the carrier repeats nothing and breaks nothing, the order is that of its DELIVERs; long texts
    // take their place when they are whole.
    for n in [0, 1, 2, 3, 4, 5] {
        let short: Vec<String> = messages(&gateway)
            .into_iter()
            .filter(|m| m.line == format!("l{n}") && m.text.chars().count() <= 70)
            .map(|m| m.text)
            .collect();
        let wanted: Vec<String> = tips(n).into_iter().filter(|t| t.chars().count() <= 70).collect();
        assert_eq!(short, wanted, "{:?}", scripts[n].0);
    }
    // Reports that came before their answer found their text; those of nobody are kept apart.
    let sent = |line: &str| count(&gateway, &format!("SELECT COUNT(*) FROM outgoing WHERE sent_line = '{line}'"));
    let series = "hotline_sms_reports_total{line=\"l5\",state=\"orphan\"}";
    until("the reports of nobody", 30_000, || async {
        let orphans = counted(&gateway, series).await;
        (orphans > 0 && orphans >= sent("l5") as u64).then_some(())
    })
    .await
    .unwrap();
    // How many l3 sent depends on which lines were down when.
    let delivered = "SELECT COUNT(*) FROM outgoing WHERE sent_line = 'l3' AND state = '已送达'";
    until("all reports of l3", 30_000, || async {
        let sent = sent("l3");
        (sent > 0 && count(&gateway, delivered) == sent).then_some(())
    })
    .await
    .unwrap();
}

fn number(line: usize, n: usize) -> String {
    format!("139{line:04}{n:04}")
}

fn sorted(texts: &[String]) -> Vec<String> {
    let mut sorted = texts.to_vec();
    sorted.sort();
    sorted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_that_tell_nothing_lose_no_message_and_a_repetition_counts_once() {
    let config = IsmgConfig { faults: vec![Fault::SameId, Fault::Doubled], ..IsmgConfig::default() };
    let ismg = Ismg::start(config).await.unwrap();
    let gateway = gateway_at(&ismg, &[]).await;
    for n in 0..10 {
        ismg.write("13812345678", OURS, &format!("第{n}条 路灯不亮"), 1);
    }
    wait_messages(&gateway, 10, 20_000).await;
    ismg.wait_acknowledged(20_000).await.unwrap();
    assert_eq!(messages(&gateway).len(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_never_comes_holds_the_rest_back_for_its_time_only() {
    let ismg = Ismg::start(IsmgConfig::default()).await.unwrap();
    let gateway = gateway_at(&ismg, &[]).await;
    let parts = hotline_tests::ismg::parts_of(&"人民路井盖缺失".repeat(25), 9);
    for (n, part) in parts.iter().enumerate().rev() {
        if n != 1 {
            ismg.hand_over("13812345678", OURS, 8, true, part.clone());
        }
    }
    // Acknowledged at once: they are rows.
    ismg.wait_acknowledged(5_000).await.unwrap();
    let stored = wait_messages(&gateway, 1, 20_000).await;
    assert!(stored[0].text.starts_with("人民路") && stored[0].text.contains("〔缺第2段〕"), "{}", stored[0].text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_codings_are_read_and_never_lost() {
    let ismg = Ismg::start(IsmgConfig::default()).await.unwrap();
    let gateway = gateway_at(&ismg, &[]).await;
    // 井盖缺失 in GBK, announced as GBK and as ASCII.
    let gbk = [0xBE, 0xAE, 0xB8, 0xC7, 0xC8, 0xB1, 0xCA, 0xA7];
    ismg.hand_over("13812345678", OURS, 15, false, gbk.to_vec());
    ismg.hand_over("13812345679", OURS, 0, false, gbk.to_vec());
    ismg.hand_over("13812345670", OURS, 21, false, vec![0xFF, 1, 2]);
    ismg.hand_over("13812345671", OURS, 0, false, b"street light is out".to_vec());
    let stored = wait_messages(&gateway, 4, 20_000).await;
    let texts: Vec<&str> = stored.iter().map(|m| m.text.as_str()).collect();
    assert_eq!(texts, ["井盖缺失", "井盖缺失", "〔未知编码 21〕ff0102", "street light is out"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_burst_and_a_steady_stream_are_taken_without_loss_or_doubles() {
    let ismg = Ismg::start(IsmgConfig { repeat_ms: 30_000, ..IsmgConfig::default() }).await.unwrap();
    let gateway = gateway_at(&ismg, &[]).await;
    let burst = 400;
    for n in 0..burst {
        ismg.write(&format!("1380000{n:04}"), OURS, &format!("突发第{n}条 路灯不亮"), 1);
    }
    wait_messages(&gateway, burst, 60_000).await;
    for n in 0..60 {
        ismg.write(&format!("1370000{n:04}"), OURS, &format!("平稳第{n}条 路灯不亮"), 1);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let stored = wait_messages(&gateway, burst + 60, 60_000).await;
    ismg.wait_acknowledged(30_000).await.unwrap();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for m in &stored {
        *counts.entry(&m.text).or_default() += 1;
    }
    assert!(counts.len() == burst + 60 && counts.values().all(|n| *n == 1));
    let wanted: Vec<String> = (0..burst).map(|n| format!("突发第{n}条 路灯不亮")).collect();
    let order: Vec<&String> = stored.iter().map(|m| &m.text).take(burst).collect();
    assert!(order.into_iter().eq(wanted.iter()), "in the order of their arrival");
    // Every citizen has a receipt.
    for n in [0, burst - 1] {
        ismg.wait_texts(&format!("1380000{n:04}"), 1, 60_000).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_or_deaf_link_comes_back_and_another_line_serves_meanwhile() {
    let first = Ismg::start(IsmgConfig { faults: vec![Fault::DeafToTests], ..IsmgConfig::default() }).await.unwrap();
    let second = Ismg::start(IsmgConfig::default()).await.unwrap();
    let lines = vec![
        line("first", first.address(), &[("priority", 1.into()), ("response_ms", 300.into()), ("idle_ms", 300.into())]),
        line("second", second.address(), &[("priority", 2.into()), ("links", 2.into())]),
    ];
    let gateway = Gateway::start(config(lines)).await.unwrap();
    second.wait_links(2, 10_000).await.unwrap();
    // Three tests without an answer end it, and it connects again.
    until("a second connection", 20_000, || async { (first.links_seen() >= 2).then_some(()) }).await.unwrap();
    assert!(first.tests() >= 3);
    let address = first.address();
    drop(first);
    second.cut();
    second.wait_links(2, 20_000).await.unwrap();
    second.write("13812345678", OURS, "人民路1号路灯不亮", 1);
    second.wait_texts("13812345678", 1, 30_000).await.unwrap();
    let health = gateway.api().get("/healthz").await.unwrap();
    assert!(health.to_string().contains("sms line first"), "{health}");
    let doctor = gateway.run(&["doctor"]).unwrap();
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(said.contains("first") && said.contains("second"), "{said}");
    let first = Ismg::start_on(address, IsmgConfig::default()).await.unwrap();
    first.wait_links(1, 90_000).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_connections_cut_while_texts_wait_lose_none_and_double_only_what_was_on_its_way() {
    const CITIZENS: usize = 60;
    const WINDOW: usize = 2;
    let ismg = Ismg::start(IsmgConfig::default()).await.unwrap();
    let links = [("links", 2.into()), ("window", (WINDOW as i64).into()), ("rate", 10.into())];
    let gateway = Gateway::start(config(vec![line("mobile", ismg.address(), &links)])).await.unwrap();
    ismg.wait_links(2, 15_000).await.unwrap();
    let citizen = |n: usize| format!("1380000{n:04}");
    for n in 0..CITIZENS {
        ismg.write(&citizen(n), OURS, &format!("人民路{n}号路灯不亮"), 1);
    }
    wait_messages(&gateway, CITIZENS, 60_000).await;
    until("some texts to leave", 30_000, || async { (ismg.submits().len() >= 10).then_some(()) }).await.unwrap();
    ismg.cut();
    let left = ismg.submits().len();
    assert!(left < CITIZENS, "texts still wait: {left} have left");
    ismg.wait_links(2, 60_000).await.unwrap();
    for n in 0..CITIZENS {
        ismg.wait_texts(&citizen(n), 1, 60_000).await.unwrap();
    }
    // As the rows say: nothing is still to be sent.
    let open = "SELECT COUNT(*) FROM outgoing WHERE state IN ('待发', '发送中')";
    until("the last row", 30_000, || async { (count(&gateway, open) == 0).then_some(()) }).await.unwrap();
    let came: usize = (0..CITIZENS).map(|n| ismg.texts_to(&citizen(n)).len()).sum();
    assert!((CITIZENS..=CITIZENS + 2 * WINDOW).contains(&came), "{came} texts came");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_text_the_carrier_throttles_in_its_middle_arrives_once_and_whole() {
    let config_of = IsmgConfig { faults: vec![Fault::Throttle(3)], ..IsmgConfig::default() };
    let ismg = Ismg::start(config_of).await.unwrap();
    let more = "请保持电话畅通,工作人员会与您联系。".repeat(14);
    let own = format!("已受理,编号{{acceptance_no}},查询码{{query_code}}。{more}");
    let config = config(vec![line("mobile", ismg.address(), &[])])
        .with("texts.own.zh-CN.receipt", own.as_str())
        .with("texts.own.zh-CN.receipt_ask_place", own.as_str());
    let gateway = Gateway::start(config).await.unwrap();
    ismg.wait_links(1, 15_000).await.unwrap();
    ismg.write("13812345678", OURS, "人民路1号路灯不亮", 1);
    let texts = ismg.wait_texts("13812345678", 1, 60_000).await.unwrap();
    assert!(texts.len() == 1 && texts[0].ends_with(&more), "{texts:?}");
    let sent = "SELECT COUNT(*) FROM outgoing WHERE state IN ('已提交', '已送达')";
    until("the row", 30_000, || async { (count(&gateway, sent) == 1).then_some(()) }).await.unwrap();
    let submits = ismg.submits();
    let with = |result: u32| submits.iter().filter(|s| s.result == Some(result)).count();
    let parts = usize::from(submits[0].part.0);
    assert!(parts > 3 && with(8) == 3 && with(0) == parts, "{parts} parts, {} taken, {} throttled", with(0), with(8));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_kill_9_and_nothing_comes_twice() {
    let ismg = Ismg::start(IsmgConfig::default()).await.unwrap();
    let mut gateway = gateway_at(&ismg, &[]).await;
    for n in 0..200 {
        ismg.write(
            &format!("1380000{n:04}"),
            OURS,
            &format!("第{n}条 {}", "路灯不亮".repeat(if n % 5 == 0 { 25 } else { 1 })),
            3,
        );
    }
    until("half of them", 30_000, || async { (ismg.unacknowledged() < 130).then_some(()) }).await.unwrap();
    gateway.crash_and_restart().await.unwrap();
    let stored = wait_messages(&gateway, 200, 60_000).await;
    ismg.wait_acknowledged(30_000).await.unwrap();
    let texts: std::collections::BTreeSet<&String> = stored.iter().map(|m| &m.text).collect();
    assert_eq!((stored.len(), texts.len()), (200, 200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_secret_is_refused_and_said() {
    let ismg = Ismg::start(IsmgConfig { secret: "other".into(), ..IsmgConfig::default() }).await.unwrap();
    let gateway = Gateway::start(config(vec![line("mobile", ismg.address(), &[])])).await.unwrap();
    until("the refusal", 15_000, || async { (ismg.refused() > 0).then_some(()) }).await.unwrap();
    until("its reason", 15_000, || async {
        let health = gateway.api().get("/healthz").await.ok()?.to_string();
        (health.contains("认证错") && !gateway.log().contains("s3cret")).then_some(())
    })
    .await
    .unwrap();
}

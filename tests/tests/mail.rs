//! Mail as a channel: a real mailbox (Dovecot) and a real mail server (aiosmtpd) around the gateway.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::post::{CITIZEN, OWN, Post, raw_mail};
use hotline_tests::gateway::{Gateway, GatewayConfig};
use hotline_tests::peer::SinkTls;
use hotline_tests::until;
use serde_json::{Value, json};

/// Four by four pixels.
const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAQAAAAECAIAAAAmkwkpAAAAEElEQVR4nGM4kWIERwzEcQBCchXhIRsTawAAAABJRU5ErkJggg==";
const HOOK_SECRET: &str = "a-secret-of-the-mail-hook";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_in_gbk_comes_by_idle_and_its_receipt_answers_it() {
    let post = Post::open(SinkTls::Tls, |config| config).await;
    post.waits().await;
    let gbk = common::post::python_text(
        "print(__import__('base64').b64encode('人民路88号门前井盖缺失'.encode('gbk')).decode())",
    );
    let raw = format!(
        "From: =?gbk?B?1cXI/Q==?= <{CITIZEN}>\r\nTo: {OWN}\r\nSubject: Hallo\r\nMessage-ID: <a1@citizen.example>\r\n\
         Content-Type: text/plain; charset=gb2312\r\nContent-Transfer-Encoding: base64\r\n\r\n{gbk}\r\n"
    );
    post.imap.deliver(raw.as_bytes()).unwrap();
    // With an IDLE of 28 minutes and no polling only the server's push can bring it so soon.
    let receipt = post.sink.wait(1, 20_000).await.unwrap().remove(0);
    assert_eq!((receipt.to.as_slice(), receipt.from.as_str()), ([CITIZEN.to_owned()].as_slice(), OWN));
    assert!(receipt.tls && receipt.authenticated);
    for (name, value) in [
        ("Auto-Submitted", "auto-replied"),
        ("X-Loop", OWN),
        ("In-Reply-To", "<a1@citizen.example>"),
        ("References", "<a1@citizen.example>"),
    ] {
        assert_eq!(receipt.header(name), value, "{name}: {}", receipt.raw);
    }
    assert!(receipt.header("Message-ID").starts_with("<hl."), "{}", receipt.raw);
    let messages = post.rows("SELECT text, state, sender_mask FROM message");
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(messages[0]["text"].as_str().unwrap().contains("人民路88号门前井盖缺失"), "{messages:?}");
    assert!(!messages[0]["sender_mask"].as_str().unwrap().contains("zhang"), "{messages:?}");
    let item = &post.rows("SELECT acceptance_no, query_code FROM item")[0];
    let text = post.body(&receipt);
    assert!(
        text.contains(item["acceptance_no"].as_str().unwrap()) && text.contains(item["query_code"].as_str().unwrap())
    );
    until("the mark in the mailbox", 5_000, || async { (post.imap.marked('S') == 1).then_some(()) }).await.unwrap();
    let log = post.gateway.log();
    assert!(
        !log.contains("井盖") && !log.contains(CITIZEN) && !log.contains("imap-secret"),
        "no text, address or password in a log"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_photo_is_kept_and_what_is_no_photo_stays_in_the_mailbox() {
    let post = Post::open(SinkTls::Plain, |config| config).await;
    let raw = format!(
        "From: {CITIZEN}\r\nTo: {OWN}\r\nSubject: x\r\nMessage-ID: <p1@x>\r\nContent-Type: multipart/mixed; boundary=m\r\n\r\n\
         --m\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n人民路3号路面塌陷\r\n\
         --m\r\nContent-Type: image/png\r\nContent-Disposition: attachment; filename=a.png\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{PNG}\r\n\
         --m\r\nContent-Type: image/jpeg\r\nContent-Disposition: attachment; filename=b.jpg\r\n\
         Content-Transfer-Encoding: base64\r\n\r\nTVqQAAMAAAAEAAAA//8AALgAAAAAAAAAQA==\r\n--m--\r\n"
    );
    post.imap.deliver(raw.as_bytes()).unwrap();
    post.sink.wait(1, 20_000).await.unwrap();
    let media = post.rows("SELECT sha256, state FROM message_media");
    assert!(media.len() == 1 && media[0]["sha256"].as_str().is_some_and(|s| s.len() == 64), "{media:?}");
    let text = post.rows("SELECT text FROM message");
    assert!(text[0]["text"].as_str().unwrap().contains("still in the mailbox"), "a program is no photo: {text:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_to_our_receipt_adds_to_its_item() {
    let post = Post::open(SinkTls::Plain, |config| config).await;
    post.imap.deliver(&raw_mail("q1", CITIZEN, "人民路88号门前路灯不亮")).unwrap();
    let receipt = post.sink.wait(1, 20_000).await.unwrap().remove(0);
    let answer = |id: &str, from: &str| {
        format!(
            "From: {from}\r\nTo: {OWN}\r\nSubject: Re: {OWN}\r\nMessage-ID: <{id}@x>\r\nIn-Reply-To: {}\r\n\
             Content-Type: text/plain; charset=utf-8\r\n\r\n是东侧第二盏,旁边有报刊亭\r\n\r\n\
             ------------------ 原始邮件 ------------------\r\n发件人: 12319\r\n已收到您的反映\r\n",
            receipt.header("Message-ID")
        )
    };
    post.imap.deliver(answer("q2", CITIZEN).as_bytes()).unwrap();
    post.sink.wait(2, 20_000).await.unwrap();
    assert_eq!(post.rows("SELECT id FROM item").len(), 1);
    let roles = post.rows("SELECT role FROM item_contact ORDER BY rank");
    assert_eq!(roles, [json!({"role": "首报"}), json!({"role": "补充"})]);
    let texts = post.rows("SELECT text FROM message ORDER BY seq");
    assert!(!texts[1]["text"].as_str().unwrap().contains("已收到您的反映"), "{texts:?}");
    // Who knows the Message-ID but isn't the one it went to reports something of their own.
    post.imap.deliver(answer("q3", "other@citizen.example").as_bytes()).unwrap();
    post.sink.wait(3, 20_000).await.unwrap();
    assert_eq!(post.rows("SELECT id FROM item").len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_programs_write_is_stored_and_never_answered() {
    let post = Post::open(SinkTls::Starttls, |config| config).await;
    let robots = [
        format!("From: {CITIZEN}\r\nAuto-Submitted: auto-replied"),
        format!("From: {CITIZEN}\r\nPrecedence: bulk"),
        "From: news@shop.example\r\nList-Id: <news.shop.example>".into(),
        "From: MAILER-DAEMON@mx.example\r\nReturn-Path: <>".into(),
        format!("From: {CITIZEN}\r\nX-Loop: {OWN}"),
        format!("From: {OWN}"),
    ];
    for (n, headers) in robots.iter().enumerate() {
        let raw =
            format!("{headers}\r\nTo: {OWN}\r\nSubject: Re\r\nMessage-ID: <r{n}@x>\r\n\r\n路灯不亮,人民路{n}号\r\n");
        post.imap.deliver(raw.as_bytes()).unwrap();
    }
    post.taken("automatic", robots.len()).await;
    post.imap.deliver(&raw_mail("h1", CITIZEN, "解放路12号门口路灯不亮")).unwrap();
    post.sink.wait(1, 20_000).await.unwrap();
    let states = post.rows("SELECT state, COUNT(*) AS n FROM message GROUP BY state ORDER BY state");
    assert_eq!(states, [json!({"state": "已收", "n": 1}), json!({"state": "自动", "n": 6})]);
    assert_eq!(post.rows("SELECT id FROM item").len(), 1);
    assert_eq!(post.rows("SELECT id FROM outgoing").len(), 1, "nobody else is owed an answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_over_a_crash_and_a_renumbered_mailbox() {
    let mut post = Post::open(SinkTls::Plain, |config| config).await;
    for n in 0..3 {
        post.imap.deliver(&raw_mail(&format!("m{n}"), CITIZEN, &format!("中山路{n}号垃圾未清运"))).unwrap();
    }
    post.sink.wait(3, 20_000).await.unwrap();
    post.gateway.kill9();
    for n in 3..5 {
        post.imap.deliver(&raw_mail(&format!("m{n}"), CITIZEN, &format!("中山路{n}号垃圾未清运"))).unwrap();
    }
    // A new UIDVALIDITY: every mail looks new.
    post.imap.renumber().await.unwrap();
    post.gateway.boot().await.unwrap();
    post.taken("duplicate", 3).await;
    post.taken("new", 2).await;
    post.sink.wait(5, 20_000).await.unwrap();
    assert_eq!(post.rows("SELECT DISTINCT dedup_key FROM message").len(), 5);
    assert_eq!(post.rows("SELECT id FROM message").len(), 5);
    assert_eq!(post.sink.mails().len(), 5);
    // An outage of the server is no loss either.
    post.imap.stop();
    post.imap.deliver(&raw_mail("m5", CITIZEN, "中山路5号垃圾未清运")).unwrap();
    post.imap.restart().await.unwrap();
    post.sink.wait(6, 60_000).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_nobody_can_read_is_flagged_and_holds_up_nothing() {
    let post = Post::open(SinkTls::Plain, |config| config.with("mail.message_max_bytes", 65_536)).await;
    post.imap.deliver(&[0xfe; 3_000]).unwrap();
    let large = format!(
        "From: {CITIZEN}\r\nTo: {OWN}\r\nSubject: x\r\nMessage-ID: <big@x>\r\nContent-Type: multipart/mixed; boundary=m\r\n\r\n\
         --m\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n新华路3号水管爆裂\r\n--m\r\nContent-Type: image/jpeg\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{}\r\n--m--\r\n",
        "QUJD\r\n".repeat(50_000)
    );
    post.imap.deliver(large.as_bytes()).unwrap();
    post.imap.deliver(&raw_mail("ok", CITIZEN, "新华路5号水管爆裂")).unwrap();
    post.sink.wait(2, 20_000).await.unwrap();
    post.taken("aside", 1).await;
    until("the flag", 5_000, || async { (post.imap.marked('F') == 1).then_some(()) }).await.unwrap();
    let texts = post.rows("SELECT text FROM message ORDER BY seq");
    assert!(texts[0]["text"].as_str().unwrap().contains("still in the mailbox"), "{texts:?}");
    assert!(texts[0]["text"].as_str().unwrap().contains("新华路3号"), "{texts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_address_is_final_and_everything_else_is_tried_again() {
    let mut post = Post::open(SinkTls::Tls, |config| config).await;
    for fault in ["data 451 4.3.0 busy", "drop before", "data 421 4.4.2 later"] {
        post.sink.plan(fault).await.unwrap();
    }
    post.imap.deliver(&raw_mail("t1", CITIZEN, "建设路1号井盖缺失")).unwrap();
    post.sink.wait(1, 30_000).await.unwrap();
    assert_eq!(post.sink.refusals(), 3, "busy, cut off, later");
    post.sink.plan("rcpt 550 5.1.1 nobody here").await.unwrap();
    post.imap.deliver(&raw_mail("t2", "gone@citizen.example", "建设路2号井盖缺失")).unwrap();
    post.outgoing("失败", 1).await;
    post.sink.plan("drop after").await.unwrap();
    post.imap.deliver(&raw_mail("t3", "li@citizen.example", "建设路3号井盖缺失")).unwrap();
    let mails = post.sink.wait(3, 30_000).await.unwrap();
    let ids: Vec<String> = mails.iter().skip(1).map(|m| m.header("Message-ID")).collect();
    assert_eq!(ids[0], ids[1], "whether it arrived is unknown: the same mail again, by its id");
    post.outgoing("已提交", 2).await;
    let errors = post.rows("SELECT last_error FROM outgoing WHERE state = '失败'");
    assert!(errors[0]["last_error"].as_str().unwrap().contains("550"), "{errors:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clear_no_uses_up_no_only_try() {
    const REFUSALS: usize = 20;
    let mut post = Post::open(SinkTls::Plain, |config| config).await;
    for _ in 0..REFUSALS {
        post.sink.plan("data 451 4.3.0 busy").await.unwrap();
    }
    post.imap.deliver(&raw_mail("o1", CITIZEN, "建设路4号井盖缺失")).unwrap();
    until("a first try", 30_000, || async { (post.sink.refusals() > 0).then_some(()) }).await.unwrap();
    let file = post.gateway.data_dir().join("hotline.db").display().to_string();
    let once = "import sqlite3, sys\n\
        c = sqlite3.connect(sys.stdin.read(), timeout=10)\n\
        c.execute('UPDATE outgoing SET once = 1')\n\
        c.commit()";
    hotline_tests::peer::python(once, &file).unwrap();
    assert!(post.sink.refusals() + 1 < REFUSALS, "some are still to come");
    post.sink.wait(1, 60_000).await.unwrap();
    assert_eq!(post.sink.refusals(), REFUSALS);
    post.outgoing("已提交", 1).await;
    assert_eq!(post.sink.mails().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_proves_nothing_gets_no_password_and_no_mail() {
    let stranger = hotline_tests::tls::Certificates::new(&["127.0.0.1"]).unwrap();
    let ca = stranger.ca().display().to_string();
    let post = Post::open(SinkTls::Tls, |config| config.with("mail.smtp.ca", ca.as_str())).await;
    post.imap.deliver(&raw_mail("c1", CITIZEN, "和平路1号井盖缺失")).unwrap();
    let problems = until("the alarm", 20_000, || async {
        let health = post.gateway.api().get("/healthz").await.ok()?;
        let text = health["problems"].to_string();
        text.contains("mail:").then_some(text)
    })
    .await
    .unwrap();
    assert!(problems.contains("发信"), "{problems}");
    assert!(post.sink.mails().is_empty());
    post.outgoing("失败", 0).await;
    assert!(post.gateway.api().metrics().await.unwrap().contains("hotline_mail_smtp_up 0"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_robots_that_answer_each_other_stop_after_the_answers_of_the_day() {
    let post = Post::open(SinkTls::Plain, |config| config.with("mail.answers_per_day", 2)).await;
    for n in 0..4 {
        post.imap.deliver(&raw_mail(&format!("l{n}"), CITIZEN, &format!("长江路{n}号路灯不亮"))).unwrap();
    }
    post.outgoing("失败", 2).await;
    assert_eq!(post.sink.mails().len(), 2);
    assert_eq!(post.rows("SELECT id FROM message WHERE state = '已收'").len(), 4, "all of them are taken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hook_takes_signed_mail_once_and_nothing_else() {
    let config = GatewayConfig::default().with("mail.address", OWN).with("mail.hook_secret", HOOK_SECRET);
    let gateway = Gateway::start(config).await.unwrap();
    let body = |raw: &[u8]| json!({"raw": STANDARD.encode(raw)}).to_string();
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    let good = body(&raw_mail("k1", CITIZEN, "淮海路1号井盖缺失"));
    let (status, answer) = push(&gateway, &good, now(), HOOK_SECRET).await;
    assert_eq!((status, &answer["duplicate"]), (200, &json!(false)), "{answer}");
    let (status, answer) = push(&gateway, &good, now(), HOOK_SECRET).await;
    assert_eq!((status, &answer["duplicate"]), (200, &json!(true)), "a replay changes nothing: {answer}");
    assert_eq!(push(&gateway, &good, now(), "another-secret-of-a-hook").await.0, 401);
    assert_eq!(push(&gateway, &good, now() - 3_600, HOOK_SECRET).await.0, 401, "an old one");
    assert_eq!(push(&gateway, &good, now() + 3_600, HOOK_SECRET).await.0, 401, "one of the future");
    assert_eq!(push(&gateway, "{\"raw\": \"***\"}", now(), HOOK_SECRET).await.0, 400);
    assert_eq!(push(&gateway, &body(&[0xfe; 2_000]), now(), HOOK_SECRET).await.0, 422);
    assert_eq!(common::post::rows(&gateway, "SELECT id FROM message").len(), 1);
}

async fn push(gateway: &Gateway, body: &str, stamp: i64, secret: &str) -> (u16, Value) {
    let signature = format!("sha256={}", hotline_tests::casecore::sign(&format!("{stamp}.{body}"), secret));
    let request = hotline_tests::api::client().unwrap().post(format!("http://{}/hooks/mail", gateway.http()));
    let request = request.header("x-hotline-timestamp", stamp.to_string()).header("x-hotline-signature", signature);
    let response = request.body(body.to_owned()).send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or(Value::Null))
}

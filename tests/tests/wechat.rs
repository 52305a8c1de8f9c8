//! WeChat: what is pushed is checked, taken once and acknowledged after the commit; what we owe goes
//! back by the cheapest way that is open.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::Desk;
use common::rows::rows;
use hotline_tests::gateway::GatewayConfig;
use hotline_tests::peer::{node, python};
use hotline_tests::wechat::{self, Account, Fault, Platform, Push};
use hotline_tests::{api, until};
use serde_json::{Value, json};

const AES_KEY: &str = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG";

struct Site {
    desk: Desk,
    platform: Platform,
    account: Account,
}

impl Site {
    async fn open(settle: impl FnOnce(GatewayConfig) -> GatewayConfig) -> Self {
        let platform = Platform::start().await.unwrap();
        let config = GatewayConfig::default()
            .with("wechat.app_id", "wx2c2769f8efd9abc2")
            .with("wechat.app_secret", "app-secret")
            .with("wechat.token", "spamtest")
            .with("wechat.base_url", platform.url())
            .with("wechat.timeout_ms", 2_000)
            .with("intake.receipt_quiet_s", 0)
            .with("intake.receipt_latest_s", 0);
        let desk = Desk::open(settle(config)).await;
        let account =
            Account { hook: format!("http://{}/hooks/wechat", desk.gateway.http()), token: "spamtest".into() };
        Self { desk, platform, account }
    }

    async fn push(&self, push: &Push) -> wechat::Answer {
        self.account.push(push).await.unwrap()
    }

    async fn items(&self) -> Vec<Value> {
        api::rows(&self.desk.api.get("/api/v1/items").await.unwrap())
    }

    /// The texts a citizen has got, once `count` have come.
    async fn texts(&self, openid: &str, count: usize) -> Vec<String> {
        let look = || async { Some(self.platform.texts(openid)).filter(|t| t.len() >= count) };
        let found = until(&format!("{count} texts to {openid}"), 20_000, look).await;
        found.unwrap_or_else(|e| panic!("{e}: {:?}\n{}", self.platform.texts(openid), self.desk.gateway.log()))
    }

    async fn counted(&self, line: &str) -> bool {
        self.desk.api.metrics().await.unwrap().lines().any(|l| l.starts_with(line) && !l.ends_with(" 0"))
    }
}

#[tokio::test]
async fn a_report_is_taken_once_and_gets_its_receipt() {
    let site = Site::open(|c| c).await;
    let push = Push::text("oCitizen1", 6_001, "人民路88号门前井盖缺失,很危险");
    for _ in 0..3 {
        // The platform pushes again when an answer got lost.
        assert!(site.push(&push).await.is_success());
    }
    let texts = site.texts("oCitizen1", 1).await;
    assert!(texts[0].contains("受理编号") && texts[0].contains("查询码"), "{texts:?}");
    let items = site.items().await;
    assert_eq!(items.len(), 1, "{items:?}");
    assert!(!site.desk.gateway.log().contains("人民路88号"), "no log shows what a citizen wrote");
    assert!(!site.desk.gateway.log().contains("app-secret") && !site.desk.gateway.log().contains("token-1"));
}

#[tokio::test]
async fn what_is_forged_too_old_or_absurd_is_refused_and_counted() {
    let site = Site::open(|c| c).await;
    let good = Push::text("oCitizen1", 1, "漏水");
    assert_eq!(site.account.push_signed(&good, &"0".repeat(40)).await.unwrap().status, 403);
    assert!(site.counted("hotline_wechat_refused_total{reason=\"signature\"}").await);
    let old = Push { timestamp: good.timestamp - 3_600, ..good.clone() };
    assert_eq!(site.push(&old).await.status, 403);
    let ahead = Push { timestamp: good.timestamp + 3_600, ..good.clone() };
    assert_eq!(site.push(&ahead).await.status, 403);
    assert!(site.counted("hotline_wechat_refused_total{reason=\"replay\"}").await);
    let bomb = "<?xml version=\"1.0\"?><!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;\">]>\
        <xml><Content>&b;</Content></xml>";
    assert_eq!(site.push(&Push { body: bomb.into(), ..good.clone() }).await.status, 400);
    assert_eq!(site.push(&Push { body: "<xml><ToUserName>".into(), ..good.clone() }).await.status, 400);
    let huge = format!("<xml><Content>{}</Content></xml>", "x".repeat(10 * 1024 * 1024));
    // The gateway may close before the client has sent all of it.
    if let Ok(answer) = site.account.push(&Push { body: huge, ..good.clone() }).await {
        assert_eq!(answer.status, 413);
    }
    assert!(site.counted("hotline_wechat_refused_total{reason=\"size\"}").await);
    assert!(site.items().await.is_empty());
    assert!(site.push(&good).await.is_success(), "and the good one is still taken");
}

#[tokio::test]
async fn the_platforms_check_is_echoed_to_who_knows_the_token() {
    let site = Site::open(|c| c).await;
    let (at, nonce) = (1_700_000_000, "n1");
    let get = |signature: String| {
        let url = format!("{}?signature={signature}&timestamp={at}&nonce={nonce}&echostr=4711", site.account.hook);
        async move { api::client().unwrap().get(url).send().await.unwrap() }
    };
    let answer = get(site.account.sign(at, nonce)).await;
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (200, "4711"));
    assert_eq!(get("x".into()).await.status().as_u16(), 403);
}

#[tokio::test]
async fn progress_and_menu_are_answered_in_the_push_itself() {
    let site = Site::open(|c| c).await;
    assert!(site.push(&Push::text("oCitizen1", 1, "人民路88号路灯不亮")).await.is_success());
    let receipt = site.texts("oCitizen1", 1).await.remove(0);
    let code: String = receipt.split("查询码").nth(1).unwrap().chars().filter(char::is_ascii_digit).take(8).collect();
    let ask = Push::text("oCitizen1", 2, &format!("CX{code}"));
    let answer = site.push(&ask).await;
    assert!(answer.text().is_some_and(|t| t.contains(&code)), "{answer:?}");
    assert_eq!(site.push(&ask).await.text(), answer.text(), "a repeated push gets the same answer");
    let mine = site.push(&Push::click("oCitizen1", "mine")).await.text().unwrap();
    assert!(mine.contains("受理编号") && !mine.contains("路灯"), "numbers and states, never the text: {mine}");
    assert!(site.push(&Push::click("oStranger", "mine")).await.text().unwrap().contains("还没有"));
    assert!(site.push(&Push::click("oCitizen1", "report")).await.text().unwrap().contains("照片"));
    assert!(site.push(&Push::click("oCitizen1", "progress")).await.text().unwrap().contains("CX"));
    assert!(site.push(&Push::click("oCitizen1", "nonsense")).await.is_success());
    assert!(site.push(&Push::event("oNew", "subscribe", "")).await.text().unwrap().contains("欢迎"));
    assert_eq!(site.platform.texts("oCitizen1").len(), 1, "none of this cost a customer-service message");
}

#[tokio::test]
async fn who_is_known_by_wechat_alone_is_asked_there_how_it_was() {
    let site = Site::open(|c| {
        c.with("web.public_url", "https://12319.example.cn")
            .with("intake.gap_s", 1)
            .with("intake.span_s", 1)
            // At any hour.
            .with("callback.windows", Vec::<String>::new())
            .with("callback.waking", "")
    })
    .await;
    assert!(site.push(&Push::text("oCitizen1", 1, "人民路88号路灯不亮")).await.is_success());
    let case_no = until("the case", 30_000, || async {
        let found = rows(&site.desk.gateway, "SELECT case_no FROM handoff WHERE case_no IS NOT NULL");
        found.first().and_then(|row| row["case_no"].as_str().map(str::to_owned))
    })
    .await
    .unwrap();
    site.desk.api.set_stage(&case_no, "已处置", "路灯已修好").await.unwrap();
    let texts = site.texts("oCitizen1", 2).await;
    assert!(texts[1].contains("已办理") && texts[1].contains("https://12319.example.cn/s/"), "{texts:?}");
    assert!(!texts[1].contains("致电"), "nobody tried to call: {texts:?}");
    let sent = rows(&site.desk.gateway, "SELECT channel, once FROM outgoing WHERE purpose = 'survey'");
    assert_eq!(sent, [json!({"channel": "wechat", "once": 1})]);
    let tasks = rows(&site.desk.gateway, "SELECT result FROM callback_task");
    assert_eq!(tasks, [json!({"result": null})], "its answer is waited for");
}

#[tokio::test]
async fn texts_follow_the_platforms_refusals() {
    let site = Site::open(|c| {
        c.with("wechat.template.receipt.id", "tmpl-1")
            .with("wechat.template.receipt.data.character_string1", "{acceptance_no}")
            .with("wechat.template.receipt_ask_place.id", "tmpl-1")
            .with("wechat.template.receipt_ask_place.data.character_string1", "{acceptance_no}")
            .with("wechat.template.receipt_ask_photo.id", "tmpl-1")
            .with("wechat.template.receipt_ask_photo.data.character_string1", "{acceptance_no}")
    })
    .await;
    // A token that ran out and a busy platform cost a retry, no text.
    site.platform.plan(wechat::CUSTOM, Fault::Code(-1), 1);
    site.platform.plan(wechat::CUSTOM, Fault::Garbage, 1);
    assert!(site.push(&Push::text("oBusy", 1, "人民路88号路灯不亮")).await.is_success());
    assert!(!site.texts("oBusy", 1).await.is_empty());
    site.platform.expire_token();
    assert!(site.push(&Push::text("oExpired", 2, "人民路88号路灯不亮")).await.is_success());
    site.texts("oExpired", 1).await;
    assert!(site.platform.seen(wechat::TOKEN).len() >= 2);
    // Too late, or too many: the template message takes over, and its report settles it.
    for (id, code) in [(3, 45_015), (4, 45_047)] {
        site.platform.plan(wechat::CUSTOM, Fault::Code(code), 1);
        let openid = format!("oClosed{id}");
        assert!(site.push(&Push::text(&openid, id, "人民路88号路灯不亮")).await.is_success());
        let count = usize::try_from(id).unwrap() - 2;
        let seen = site.platform.wait_seen(wechat::TEMPLATE, count, 20_000).await.unwrap();
        let body = &seen[count - 1].body;
        assert_eq!((&body["touser"], &body["template_id"]), (&json!(openid), &json!("tmpl-1")));
        assert!(body["data"]["character_string1"]["value"].as_str().is_some_and(|v| v.len() >= 12), "{body}");
        let done = format!("<MsgID>{}</MsgID><Status><![CDATA[success]]></Status>", 200_228_000 + count);
        assert!(site.push(&Push::event(&openid, "TEMPLATESENDJOBFINISH", &done)).await.is_success());
    }
    // Unfollowed: nothing reaches them, and nothing is tried for ever.
    site.platform.plan(wechat::CUSTOM, Fault::Code(43_004), 1);
    site.platform.plan(wechat::TEMPLATE, Fault::Code(43_004), 1);
    assert!(site.push(&Push::text("oGone", 9, "人民路88号路灯不亮")).await.is_success());
    site.platform.wait_seen(wechat::TEMPLATE, 3, 20_000).await.unwrap();
    assert!(site.platform.texts("oGone").is_empty());
}

#[tokio::test]
async fn a_place_sent_by_wechat_is_moved_to_the_national_datum() {
    let site = Site::open(|c| c).await;
    let place = "<MsgType>location</MsgType><Location_X>39.91334545536069</Location_X>\
        <Location_Y>116.38404722455657</Location_Y><Scale>16</Scale><Label>路口</Label><MsgId>21</MsgId>";
    assert!(site.push(&Push::of("oCitizen1", place)).await.is_success());
    assert!(site.push(&Push::text("oCitizen1", 22, "这里路灯不亮")).await.is_success());
    site.texts("oCitizen1", 1).await;
    let item = site.items().await.remove(0);
    let near = |key: &str, wanted: f64| item[key].as_f64().is_some_and(|v| (v - wanted).abs() < 1e-5);
    assert!(near("lon", 116.377_817) && near("lat", 39.911_954), "{item}");
}

/// One sealed push: the XML a library made of it, with what goes into the address.
fn sealed_by_wechatpy(push: &Push) -> Push {
    let script = "import sys,json\nfrom wechatpy.crypto import WeChatCrypto\nimport xmltodict\na=json.load(sys.stdin)\n\
        c=WeChatCrypto('spamtest',a['key'],'wx2c2769f8efd9abc2')\n\
        x=c.encrypt_message(a['body'],a['nonce'],a['timestamp'])\n\
        print(json.dumps([x,xmltodict.parse(x)['xml']['MsgSignature']]))";
    let input =
        json!({"key": AES_KEY, "body": push.body, "nonce": push.nonce, "timestamp": push.timestamp.to_string()});
    sealed(push, &python(script, &input.to_string()).unwrap())
}

fn sealed_by_npm(push: &Push) -> Push {
    let script = "const C=require('wechat-crypto');const a=JSON.parse(require('fs').readFileSync(0));\
        const c=new C('spamtest',a.key,'wx2c2769f8efd9abc2');const e=c.encrypt(a.body);\
        console.log(JSON.stringify(['<xml><ToUserName>gh</ToUserName><Encrypt>'+e+'</Encrypt></xml>',\
        c.getSignature(a.timestamp,a.nonce,e)]))";
    let input =
        json!({"key": AES_KEY, "body": push.body, "nonce": push.nonce, "timestamp": push.timestamp.to_string()});
    sealed(push, &node(script, &input.to_string()).unwrap())
}

fn sealed(push: &Push, made: &str) -> Push {
    let made: Value = serde_json::from_str(made).unwrap();
    let more = format!("&encrypt_type=aes&msg_signature={}", made[1].as_str().unwrap());
    Push { body: made[0].as_str().unwrap().into(), more, ..push.clone() }
}

/// What both libraries read in a sealed answer: the text, the same to both.
fn opened_by_both(answer: &wechat::Answer) -> String {
    let script = "import sys,json\nfrom wechatpy.crypto import WeChatCrypto\nimport xmltodict\nb=sys.stdin.read()\n\
        x=xmltodict.parse(b)['xml']\nc=WeChatCrypto('spamtest','abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG','wx2c2769f8efd9abc2')\n\
        print(xmltodict.parse(c.decrypt_message(b,x['MsgSignature'],x['TimeStamp'],x['Nonce']))['xml']['Content'])";
    let by_python = python(script, &answer.body).unwrap();
    let script = "const C=require('wechat-crypto');const b=require('fs').readFileSync(0).toString();\
        const c=new C('spamtest','abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG','wx2c2769f8efd9abc2');\
        const f=n=>(new RegExp('<'+n+'>(?:<!\\\\[CDATA\\\\[)?(.*?)(?:\\\\]\\\\]>)?</'+n+'>')).exec(b)[1];\
        if(c.getSignature(f('TimeStamp'),f('Nonce'),f('Encrypt'))!==f('MsgSignature'))throw new Error('signature');\
        const d=c.decrypt(f('Encrypt'));if(d.id!=='wx2c2769f8efd9abc2')throw new Error('appid');\
        console.log(/<Content><!\\[CDATA\\[([\\s\\S]*?)\\]\\]>/.exec(d.message)[1])";
    assert_eq!(by_python, node(script, &answer.body).unwrap());
    by_python
}

#[tokio::test]
async fn in_safe_mode_two_public_libraries_and_we_understand_each_other() {
    let site = Site::open(|c| c.with("wechat.aes_key", AES_KEY)).await;
    let text = |id: u64| Push::text("oCitizen1", id, "人民路88号门前井盖缺失");
    assert!(site.push(&sealed_by_wechatpy(&text(1))).await.is_success());
    site.texts("oCitizen1", 1).await;
    assert!(site.push(&sealed_by_npm(&text(2))).await.is_success());
    assert_eq!(site.items().await.len(), 1, "two messages of one citizen within a minute");
    let answer = site.push(&sealed_by_npm(&Push::click("oCitizen1", "mine"))).await;
    assert!(opened_by_both(&answer).contains("受理编号"), "{answer:?}");
    // Plain, of another account, or changed on its way.
    assert_eq!(site.push(&text(3)).await.status, 403);
    let mut moved = sealed_by_wechatpy(&text(4));
    moved.more = moved.more.replace("msg_signature=", "msg_signature=0");
    assert_eq!(site.push(&moved).await.status, 403);
    assert!(site.counted("hotline_wechat_refused_total{reason=\"plain\"}").await);
}

// The command line blocks a thread; the platform answers on another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_menu_is_published_by_the_command_line() {
    let site = Site::open(|c| c).await;
    let said = site.desk.gateway.run_ok(&["wechat", "menu"]).unwrap();
    assert!(said.contains("我的诉求") && site.platform.seen(wechat::MENU).is_empty());
    site.desk.gateway.run_ok(&["wechat", "menu", "--create"]).unwrap();
    let menu = site.platform.seen(wechat::MENU).remove(0).body;
    assert_eq!(menu["button"].as_array().unwrap().len(), 3);
}

/// A PNG of 8 by 8 red pixels.
#[rustfmt::skip]
const PIXEL: &[u8] = &[
    137, 80, 78, 71, 13, 10, 26, 10, 0, 0, 0, 13, 73, 72, 68, 82, 0, 0, 0, 8, 0, 0, 0, 8, 8, 2, 0, 0, 0, 75, 109, 41,
    220, 0, 0, 0, 17, 73, 68, 65, 84, 120, 156, 99, 56, 33, 39, 135, 21, 49, 12, 45, 9, 0, 144, 191, 65, 1, 178, 159,
    62, 34, 0, 0, 0, 0, 73, 69, 78, 68, 174, 66, 96, 130,
];

/// Speech as WeChat's phones send it: one of our prompts, coded by sox.
fn spoken_amr() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let amr = dir.path().join("voice.amr");
    let prompt = hotline_tests::repo_root().join("sounds/zh-CN/greeting.wav");
    let mut sox = std::process::Command::new("sox");
    sox.arg(prompt).args(["-r", "8000", "-c", "1", "-t", "amr-nb"]).arg(&amr);
    let status = sox.status().expect("sox is missing: run ops/install --test");
    assert!(status.success(), "sox can't write AMR: run ops/install --test");
    std::fs::read(amr).unwrap()
}

impl Site {
    /// The media of all messages, once `wanted` holds for them.
    async fn media(&self, what: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let look = || async {
            let mut all = Vec::new();
            for message in api::rows(&self.desk.api.get("/api/v1/messages").await.ok()?) {
                let contact = message["contact"].as_str()?.to_owned();
                let story = self.desk.api.get(&format!("/api/v1/messages/{contact}")).await.ok()?;
                for message in story["messages"].as_array()? {
                    for one in message["media"].as_array()? {
                        if !all.contains(one) {
                            all.push(one.clone());
                        }
                    }
                }
            }
            wanted(&all).then_some(all)
        };
        let found = until(what, 60_000, look).await;
        found.unwrap_or_else(|e| panic!("{e}\n{}", self.desk.gateway.log()))
    }
}

#[tokio::test]
async fn media_are_fetched_after_the_commit_and_again_after_a_refusal() {
    let mut site = Site::open(|c| c).await;
    site.platform.add_media("photo", "image/png", PIXEL.to_vec());
    let mut video = b"\0\0\0\x18ftypmp42".to_vec();
    video.resize(2_000, 7);
    site.platform.add_media("film", "video/mp4", video);
    site.platform.add_media("page", "image/jpeg", b"<html><script>alert(1)</script>".to_vec());
    site.platform.plan(wechat::MEDIA, Fault::Code(-1), 1);
    site.platform.plan(wechat::MEDIA, Fault::BadGateway, 1);
    assert!(site.push(&Push::media("oCitizen1", 1, "image", "photo")).await.is_success());
    // A crash right after the acknowledgement loses nothing: the row asks again.
    site.desk.gateway.crash_and_restart().await.unwrap();
    site.desk.api = site.desk.gateway.sign_in(&site.desk.user).await.unwrap();
    assert!(site.push(&Push::media("oCitizen1", 2, "shortvideo", "film")).await.status == 200);
    assert!(site.push(&Push::media("oCitizen1", 3, "image", "page")).await.status == 200);
    assert!(site.push(&Push::media("oCitizen1", 4, "image", "forgotten")).await.status == 200);
    let settled = |all: &[Value]| all.len() == 4 && all.iter().all(|m| m["state"] != "待取");
    let media = site.media("all media fetched or given up", settled).await;
    let stored = media.iter().filter(|m| m["state"] == "已存").count();
    assert_eq!(stored, 2, "the photo and the film: {media:?}");
    assert!(media.iter().all(|m| m["reference"].is_null()), "the platform's ids are nobody's business");
    let path = site.desk.gateway.data_dir().join("attachments");
    assert!(path.is_dir());
}

#[tokio::test]
async fn a_voice_is_decoded_transcribed_and_its_words_are_in_the_item() {
    let site = Site::open(|c| c).await;
    site.platform.add_media("voice", "audio/amr", spoken_amr());
    let push = Push::media("oCitizen1", 1, "voice", "voice");
    assert!(site.push(&push).await.is_success());
    let receipt = site.texts("oCitizen1", 1).await.remove(0);
    assert!(receipt.contains("受理编号"), "{receipt}");
    let heard = until("the voice's words in the item", 40_000, || async {
        let item = site.items().await.into_iter().next()?;
        let story = site.desk.api.get(&format!("/api/v1/items/{}", item["id"].as_str()?)).await.ok()?;
        let text = story.to_string();
        (text.contains("[语音] ") && !text.contains("语音待听")).then_some(())
    });
    heard.await.unwrap_or_else(|e| panic!("{e}\n{}", site.desk.gateway.log()));
}

//! kill -9 while messages come in by mail, WeChat, CMPP, an aggregator's push and the report page, and a database that goes away: what was acknowledged is
//! there once, in the order it came.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use hotline_tests::api::{Api, client};
use hotline_tests::chaos::{moments, seed_or};
use hotline_tests::gateway::{Gateway, GatewayConfig, NewUser};
use hotline_tests::ismg::{Ismg, IsmgConfig};
use hotline_tests::peer::Postgres;
use hotline_tests::until;
use hotline_tests::wechat::{Account, Platform, Push};
use reqwest::multipart::Form;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use toml::toml;

const SECRET: &str = "s3cret-of-all-hooks";
/// Messages a second, all channels together.
const RATE: u32 = 100;
/// A carrier without an acknowledgement sends the same message again.
const AGAIN: Duration = Duration::from_millis(50);
/// Citizens on each channel.
const CITIZENS: usize = 40;

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn signature(over: &str) -> String {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(over.as_bytes());
    mac.finalize().into_bytes().iter().map(|b| format!("{b:02x}")).collect()
}

/// A sender whose messages are pushed one after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Way {
    channel: &'static str,
    /// Several senders of a channel are several connections: order holds within each.
    lane: usize,
}

const WAYS: [Way; 7] = [
    Way { channel: "mail", lane: 0 },
    Way { channel: "mail", lane: 1 },
    Way { channel: "wechat", lane: 0 },
    Way { channel: "wechat", lane: 1 },
    Way { channel: "pushed", lane: 0 },
    Way { channel: "pushed", lane: 1 },
    WEB,
];
/// The report page: a form is asked for, lies open for a while, and is sent.
const WEB: Way = Way { channel: "web", lane: 0 };
/// Nobody fills in a form faster.
const FILLING: Duration = Duration::from_millis(2_200);
/// Forms that lie open.
const FORMS: usize = 48;
/// A carrier's line: it keeps what isn't acknowledged and repeats it.
const CARRIER: Way = Way { channel: "sms", lane: 0 };
const OURS: &str = "10629100";
const TOKEN: &str = "spamtest";

impl Way {
    fn text(self, n: usize) -> String {
        format!("{}{}第{n}条 路灯不亮", self.channel, self.lane)
    }

    /// True once it is acknowledged.
    async fn push(self, http: SocketAddr, n: usize) -> bool {
        match self.channel {
            "wechat" => wechat(http, self.lane, n, &self.text(n)).await,
            "pushed" => pushed(http, self.lane, n, &self.text(n)).await,
            _ => mail(http, self.lane, n, &self.text(n)).await,
        }
    }
}

async fn wechat(http: SocketAddr, lane: usize, n: usize, text: &str) -> bool {
    let account = Account { hook: format!("http://{http}/hooks/wechat"), token: TOKEN.into() };
    let id = u64::try_from(lane * 1_000_000 + n + 1).unwrap();
    let push = Push::text(&format!("oCitizen{lane}x{}", n % CITIZENS), id, text);
    account.push(&push).await.is_ok_and(|answer| answer.status == 200)
}

async fn mail(http: SocketAddr, lane: usize, n: usize, text: &str) -> bool {
    let raw = format!(
        "From: c{lane}-{}@citizen.example\r\nTo: 12319@city.example\r\nMessage-ID: <{lane}-{n}@citizen.example>\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n",
        n % CITIZENS
    );
    let body = json!({"raw": STANDARD.encode(raw)}).to_string();
    let time = now_s();
    let sign = format!("sha256={}", signature(&format!("{time}.{body}")));
    let request = client().unwrap().post(format!("http://{http}/hooks/mail")).body(body);
    let request = request.header("x-hotline-timestamp", time.to_string()).header("x-hotline-signature", sign);
    request.send().await.is_ok_and(|answer| answer.status().is_success())
}

/// A short message that an aggregator pushes.
async fn pushed(http: SocketAddr, lane: usize, n: usize, text: &str) -> bool {
    let body = json!({
        "phone": format!("139{lane:04}{:04}", n % CITIZENS), "to": "106912319", "id": format!("{lane}-{n}"), "content": text,
    });
    let request = client().unwrap().post(format!("http://{http}/hooks/sms/aggregator")).header("x-token", SECRET);
    request.body(body.to_string()).send().await.is_ok_and(|answer| answer.status().is_success())
}

/// A fresh form of the report page.
async fn form(http: SocketAddr) -> Option<String> {
    let page = client().unwrap().get(format!("http://{http}/r")).send().await.ok()?.text().await.ok()?;
    let form = page.split_once("name=\"form\" value=\"")?.1;
    Some(form.split_once('"')?.0.to_owned())
}

/// The same form again if it has to be: the citizen presses the button until there is an answer.
async fn report(http: SocketAddr, n: usize, form: &str, text: &str) -> bool {
    let fields = Form::new().text("form", form.to_owned()).text("website", "").text("text", text.to_owned());
    let fields = fields.text("place", "文三路与学院路口").text("class", "1");
    let request = client().unwrap().post(format!("http://{http}/r")).header("accept", "application/json");
    // One address sends no more than some hundred forms an hour.
    let request = request.header("x-forwarded-for", format!("198.51.100.{}", n % CITIZENS));
    request.multipart(fields).send().await.is_ok_and(|answer| answer.status() == 200)
}

/// Forms that lie open, in the order in which they were asked for.
#[derive(Default)]
struct Forms(VecDeque<(Instant, String)>);

impl Forms {
    /// One that has been open for long enough.
    async fn next(&mut self, http: SocketAddr) -> String {
        while self.0.len() < FORMS {
            match form(http).await {
                Some(form) => self.0.push_back((Instant::now(), form)),
                None if self.0.is_empty() => tokio::time::sleep(AGAIN).await,
                None => break,
            }
        }
        let (since, form) = self.0.pop_front().unwrap();
        tokio::time::sleep_until((since + FILLING).into()).await;
        form
    }
}

fn lines(ismg: &Ismg) -> toml::Value {
    let mut aggregator = toml! {
        name = "aggregator"
        kind = "http"
        [http]
        account = "hotline"
        from = "106912319"
        timeout_ms = 1000
        url = "http://127.0.0.1:9/send"
        body = { phone = "{to}", content = "{text}" }
        push = { from = "/phone", to = "/to", text = "/content", id = "/id" }
        trust = { token = "header.x-token", allow = ["127.0.0.0/8"] }
    };
    aggregator["http"].as_table_mut().unwrap().insert("secret".into(), SECRET.into());
    let mut line = toml! {
        name = "mobile"
        kind = "cmpp"
        [cmpp]
        user = "901234"
        password = "s3cret"
        src_id = "10629100"
        response_ms = 2000
        idle_ms = 1000
        rate = 0
    };
    let cmpp = line["cmpp"].as_table_mut().unwrap();
    cmpp.insert("address".into(), ismg.address().to_string().into());
    toml::Value::Array(vec![line.into(), aggregator.into()])
}

struct Site {
    gateway: Gateway,
    user: NewUser,
    ismg: Arc<Ismg>,
    _platform: Platform,
}

impl Site {
    async fn open(database_url: String) -> Self {
        let ismg = Ismg::start(IsmgConfig { repeat_ms: 1_000, ..IsmgConfig::default() }).await.unwrap();
        let platform = Platform::start().await.unwrap();
        let config = GatewayConfig { database_url, ..GatewayConfig::default() }
            .with("sms.line", lines(&ismg))
            .with("web.proxies", toml::Value::Array(vec!["127.0.0.0/8".into()]))
            .with("web.open_hour_max", 1_000_000)
            .with("web.address_hour_max", 1_000_000)
            .with("wechat.app_id", "wx2c2769f8efd9abc2")
            .with("wechat.app_secret", "app-secret")
            .with("wechat.token", TOKEN)
            .with("wechat.base_url", platform.url())
            .with("mail.address", "12319@city.example")
            .with("mail.hook_secret", SECRET)
            .with("callback.enabled", false)
            .with("intake.receipt_quiet_s", 0)
            .with("intake.receipt_latest_s", 0)
            .with("intake.per_sender_hour", 0)
            .with("log.level", "info");
        let mut gateway = Gateway::prepare(config).unwrap();
        let mut user = NewUser::operator("1001");
        user.roles = ["operator", "leader"].map(String::from).to_vec();
        gateway.add_user(&user).unwrap();
        gateway.boot().await.unwrap();
        ismg.wait_links(1, 15_000).await.unwrap();
        Self { gateway, user, ismg: Arc::new(ismg), _platform: platform }
    }

    async fn api(&self) -> Api {
        self.gateway.sign_in(&self.user).await.unwrap()
    }

    /// What is stored, in the order of its arrival numbers.
    async fn stored(&self) -> Vec<String> {
        let api = self.api().await;
        let (mut all, mut before): (Vec<Value>, Option<i64>) = (Vec::new(), None);
        loop {
            let path = before.map_or("/api/v1/messages?limit=200".into(), |seq| {
                format!("/api/v1/messages?limit=200&before_seq={seq}")
            });
            let page = api.get(&path).await.unwrap().as_array().unwrap().clone();
            let Some(last) = page.last() else { break };
            before = last["seq"].as_i64();
            all.extend(page);
        }
        all.reverse();
        // The report page adds the place below.
        let first =
            |m: &Value| m["redacted_text"].as_str().unwrap().trim().lines().next().unwrap_or_default().to_owned();
        all.iter().map(first).collect()
    }
}

/// All ways at work; each sends its next message once the one before is acknowledged.
struct Flood {
    stop: Arc<AtomicBool>,
    senders: Vec<(Way, JoinHandle<usize>)>,
    ismg: Arc<Ismg>,
    since: Instant,
}

impl Flood {
    fn begin(site: &Site) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let http = site.gateway.http();
        let pace = Duration::from_secs(1) * u32::try_from(WAYS.len() + 1).unwrap() / RATE;
        let every = move || {
            let mut every = tokio::time::interval(pace);
            every.set_missed_tick_behavior(MissedTickBehavior::Delay);
            every
        };
        let pour = |way: Way| {
            let stop = Arc::clone(&stop);
            let sender = tokio::spawn(async move {
                let (mut sent, mut every, mut forms) = (0, every(), Forms::default());
                while !stop.load(Ordering::Relaxed) {
                    every.tick().await;
                    if way == WEB {
                        let form = forms.next(http).await;
                        while !report(http, sent, &form, &way.text(sent)).await {
                            tokio::time::sleep(AGAIN).await;
                        }
                    } else {
                        while !way.push(http, sent).await {
                            tokio::time::sleep(AGAIN).await;
                        }
                    }
                    sent += 1;
                }
                sent
            });
            (way, sender)
        };
        let mut senders: Vec<_> = WAYS.into_iter().map(pour).collect();
        let (ended, carrier) = (Arc::clone(&stop), Arc::clone(&site.ismg));
        let sender = tokio::spawn(async move {
            let (mut sent, mut every) = (0, every());
            while !ended.load(Ordering::Relaxed) {
                every.tick().await;
                carrier.write(&format!("1380001{:04}", sent % CITIZENS), OURS, &CARRIER.text(sent), 1);
                sent += 1;
            }
            sent
        });
        senders.push((CARRIER, sender));
        Self { stop, senders, ismg: Arc::clone(&site.ismg), since: Instant::now() }
    }

    /// Ends it with everything acknowledged: what each way sent, in its order.
    async fn end(self) -> Vec<(Way, Vec<String>)> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for (way, sender) in self.senders {
            let sent = sender.await.unwrap();
            all.push((way, (0..sent).map(|n| way.text(n)).collect::<Vec<_>>()));
        }
        let seconds = self.since.elapsed().as_secs_f64();
        self.ismg.wait_acknowledged(60_000).await.unwrap();
        for (way, sent) in &all {
            println!("{}{}: {} messages, {:.1}/s", way.channel, way.lane, sent.len(), sent.len() as f64 / seconds);
        }
        all
    }
}

async fn judge(site: &Site, sent: &[(Way, Vec<String>)]) {
    let total: usize = sent.iter().map(|(_, wanted)| wanted.len()).sum();
    // What waits in the journal comes in behind; should some be lost, what there is tells which.
    let _ = until("the journal's messages in the database", 60_000, || async {
        (site.stored().await.len() >= total).then_some(())
    })
    .await;
    let stored = site.stored().await;
    for (way, wanted) in sent {
        let mark = format!("{}{}第", way.channel, way.lane);
        let got: Vec<&String> = stored.iter().filter(|text| text.starts_with(&mark)).collect();
        let wanted: Vec<&String> = wanted.iter().collect();
        let odd = got.iter().zip(&wanted).position(|(got, wanted)| got != wanted);
        assert!(
            odd.is_none() && got.len() == wanted.len(),
            "{way:?}: {} acknowledged, {} stored, first difference at {odd:?}: {:?} for {:?}",
            wanted.len(),
            got.len(),
            odd.map(|n| got[n]),
            odd.map(|n| &wanted[n]),
        );
        assert!(wanted.len() > 1, "{way:?}: only {} messages came through", wanted.len());
    }
    println!("{total} messages, each once and in the order of its channel");
    assert_eq!(stored.len(), total, "nothing that nobody sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_kill_9_once_and_in_order() {
    let rounds = if std::env::var_os("HOTLINE_TEST_LONG").is_some() { 50 } else { 5 };
    let seed = seed_or(20_261_122);
    println!("HOTLINE_TEST_SEED={seed} repeats this run");
    let mut site = Site::open(String::new()).await;
    let flood = Flood::begin(&site);
    for moment in moments(seed, rounds, 100, 1_500) {
        tokio::time::sleep(moment).await;
        site.gateway.crash_and_restart().await.unwrap();
    }
    let sent = flood.end().await;
    judge(&site, &sent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_goes_away_loses_and_doubles_nothing() {
    let away = if std::env::var_os("HOTLINE_TEST_LONG").is_some() { 60 } else { 8 };
    let mut server = Postgres::start().await.unwrap();
    let site = Site::open(server.create_database("chaos").unwrap()).await;
    let flood = Flood::begin(&site);
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.kill9();
    tokio::time::sleep(Duration::from_secs(away)).await;
    server.restart().await.unwrap();
    let sent = flood.end().await;
    judge(&site, &sent).await;
}

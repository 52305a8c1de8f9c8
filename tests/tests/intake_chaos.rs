//! kill -9 while messages come in on every channel, and a database that goes away: what was acknowledged is
//! there once, in the order it came.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use hotline_tests::api::{Api, client};
use hotline_tests::chaos::{moments, seed_or};
use hotline_tests::gateway::{Gateway, GatewayConfig, NewUser};
use hotline_tests::ismg::{Ismg, IsmgConfig};
use hotline_tests::peer::Postgres;
use hotline_tests::wechat::{Account, Platform, Push};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::task::JoinHandle;
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

const WAYS: [Way; 4] = [
    Way { channel: "mail", lane: 0 },
    Way { channel: "mail", lane: 1 },
    Way { channel: "wechat", lane: 0 },
    Way { channel: "wechat", lane: 1 },
];
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

fn line(ismg: &Ismg) -> toml::Value {
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
    toml::Value::Array(vec![line.into()])
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
            .with("sms.line", line(&ismg))
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
        all.iter().map(|m| m["redacted_text"].as_str().unwrap().trim().to_owned()).collect()
    }
}

/// All ways at work; each sends its next message once the one before is acknowledged.
struct Flood {
    stop: Arc<AtomicBool>,
    senders: Vec<(Way, JoinHandle<usize>)>,
    ismg: Arc<Ismg>,
}

impl Flood {
    fn begin(site: &Site) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let http = site.gateway.http();
        let pause = Duration::from_secs(1) * u32::try_from(WAYS.len() + 1).unwrap() / RATE;
        let pour = |way: Way| {
            let stop = Arc::clone(&stop);
            let sender = tokio::spawn(async move {
                let mut sent = 0;
                while !stop.load(Ordering::Relaxed) {
                    while !way.push(http, sent).await {
                        tokio::time::sleep(AGAIN).await;
                    }
                    sent += 1;
                    tokio::time::sleep(pause).await;
                }
                sent
            });
            (way, sender)
        };
        let mut senders: Vec<_> = WAYS.into_iter().map(pour).collect();
        let (ended, carrier) = (Arc::clone(&stop), Arc::clone(&site.ismg));
        let sender = tokio::spawn(async move {
            let mut sent = 0;
            while !ended.load(Ordering::Relaxed) {
                carrier.write(&format!("1380001{:04}", sent % CITIZENS), OURS, &CARRIER.text(sent), 1);
                sent += 1;
                tokio::time::sleep(pause).await;
            }
            sent
        });
        senders.push((CARRIER, sender));
        Self { stop, senders, ismg: Arc::clone(&site.ismg) }
    }

    /// Ends it with everything acknowledged: what each way sent, in its order.
    async fn end(self) -> Vec<(Way, Vec<String>)> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for (way, sender) in self.senders {
            let sent = sender.await.unwrap();
            all.push((way, (0..sent).map(|n| way.text(n)).collect()));
        }
        self.ismg.wait_acknowledged(60_000).await.unwrap();
        all
    }
}

/// `repeats` may come in any order: what a carrier was refused it sends again when it likes.
async fn judge(site: &Site, sent: &[(Way, Vec<String>)], repeats: Option<Way>) {
    let stored = site.stored().await;
    for (way, wanted) in sent {
        let mark = format!("{}{}第", way.channel, way.lane);
        let mut got: Vec<&String> = stored.iter().filter(|text| text.starts_with(&mark)).collect();
        let mut wanted: Vec<&String> = wanted.iter().collect();
        if repeats == Some(*way) {
            got.sort_unstable();
            wanted.sort_unstable();
        }
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
    let total: usize = sent.iter().map(|(_, wanted)| wanted.len()).sum();
    println!("{total} messages, each once and in order");
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
    judge(&site, &sent, None).await;
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
    judge(&site, &sent, Some(CARRIER)).await;
}

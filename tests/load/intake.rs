//! Messages through the door: pushed by an aggregator over HTTP, acknowledged after the commit.
//!
//! Every message is another citizen's, so each becomes an item of its own. Two loads: as many as go with
//! [`AT_ONCE`] requests under way, and a steady rate whose delays are those a carrier sees. With a slowed disk
//! every fsync and fdatasync of the process that commits takes 15 ms longer (`ops/bench/slowsync.c`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hotline_tests::gateway::{Gateway, GatewayConfig};
use hotline_tests::peer::Postgres;
use hotline_tests::{Error, Result};
use reqwest::Client;
use serde_json::json;
use tokio::task::JoinSet;
use toml::toml;

use crate::disk;
use crate::fill::Target;
use crate::options::Options;
use crate::table::{head, note, row};
use crate::times::Times;

const SECRET: &str = "s3cret-of-the-aggregator";
/// Requests under way where as many go as can.
const AT_ONCE: usize = 256;
/// Requests under way of a steady rate; more are not sent and counted as refused.
const UNDER_WAY_MAX: usize = 4_000;
/// A slowed disk.
const SLOW_MS: u32 = 15;
/// Messages a second on it.
const SLOW_RATE: u32 = 500;
/// Messages of one load: a region, day and channel has 99,999 numbers for items, and an item more would be refused.
const MESSAGES_MAX: u64 = 95_000;
/// All conversations have become items within so long.
const SETTLE_S: u32 = 120;

const COLUMNS: [&str; 8] = ["", "acked", "acked/s", "p50 ms", "p95 ms", "p99 ms", "refused", "items/s"];

pub(crate) async fn run(options: &Options) -> Result<()> {
    let seconds = options.quick_or(options.seconds, 4);
    let rate = options.rate;
    let command = format!("ops/bench/run intake --rate {rate} --seconds {seconds}");
    head("intake: messages pushed over HTTP, acknowledged after their commit", &command, &COLUMNS);
    for slow in [false, true] {
        let environment = if slow { Some(slow_environment()?) } else { None };
        for postgres in [false, true] {
            one(options, seconds, postgres, environment.clone()).await?;
        }
    }
    note("items/s: until the last conversation has its item, receipt and hand-off, over the messages");
    Ok(())
}

fn slow_environment() -> Result<Vec<(String, String)>> {
    let library = std::env::var("HOTLINE_SLOWSYNC").map_err(|_| Error::Missing {
        program: "HOTLINE_SLOWSYNC, the library that slows a disk".into(),
        remedy: "run ops/bench/run intake".into(),
    })?;
    Ok(vec![("LD_PRELOAD".into(), library), ("HOTLINE_SYNC_MS".into(), SLOW_MS.to_string())])
}

async fn one(options: &Options, seconds: u32, postgres: bool, slow: Option<Vec<(String, String)>>) -> Result<()> {
    let name = match (postgres, slow.is_some()) {
        (false, false) => "SQLite",
        (true, false) => "PostgreSQL",
        (false, true) => "SQLite, fdatasync + 15 ms",
        (true, true) => "PostgreSQL, + 15 ms",
    };
    let environment = slow.clone().unwrap_or_default();
    let server = if postgres { Some(Postgres::start_with(environment.clone()).await?) } else { None };
    let steady = |rate: u32| (format!("{name}, {rate}/s"), Some(rate));
    let loads = if slow.is_some() {
        vec![steady(SLOW_RATE)]
    } else {
        vec![(format!("{name}, {AT_ONCE} at once"), None), steady(options.rate)]
    };
    // Each on a site of its own: a day has only so many numbers, and none waits for another's backlog.
    for (n, (name, rate)) in loads.into_iter().enumerate() {
        let database = format!("intake_{n}");
        let database_url = match &server {
            Some(server) => server.create_database(&database)?,
            None => String::new(),
        };
        // The server commits, so the gateway's own files stay as fast as they are.
        let environment = if postgres { Vec::new() } else { environment.clone() };
        let gateway = Gateway::start(GatewayConfig { environment, ..config(database_url) }).await?;
        let target = match &server {
            Some(server) => Counted::Postgres(server, database),
            None => Counted::Sqlite(&gateway),
        };
        let load = Load { gateway: &gateway, target: &target, seconds, settle_s: options.quick_or(SETTLE_S, 10) };
        load.run(&name, rate).await?;
        if slow.is_none() && rate.is_some() {
            let (p50, p95) = disk::sync_ms(&gateway.data_dir())?;
            note(&format!("one 4 KiB page to this disk, synced: p50 {p50:.2} ms, p95 {p95:.2} ms"));
        }
    }
    Ok(())
}

fn config(database_url: String) -> GatewayConfig {
    let mut http = toml! {
        account = "hotline"
        from = "10629100"
        timeout_ms = 1000
        url = "http://127.0.0.1:9/send"
        body = { phone = "{to}", content = "{text}" }
        push = { from = "/phone", to = "/to", text = "/content", id = "/id" }
        trust = { token = "header.x-token", allow = ["127.0.0.0/8"] }
    };
    http.insert("secret".into(), SECRET.into());
    let mut line = toml::Table::new();
    line.insert("name".into(), "aggregator".into());
    line.insert("kind".into(), "http".into());
    line.insert("http".into(), http.into());
    GatewayConfig { database_url, ..GatewayConfig::default() }
        .with("sms.line", toml::Value::Array(vec![line.into()]))
        // Nobody takes our texts: their tries stay out of the figures.
        .with("sms.retry_ms", 120_000)
        .with("sms.retry_max_ms", 120_000)
        .with("callback.enabled", false)
        .with("intake.receipt_quiet_s", 0)
        .with("intake.receipt_latest_s", 0)
        .with("intake.per_sender_hour", 0)
        .with("intake.per_second_max", 0)
        .with("log.level", "error")
}

enum Counted<'a> {
    Sqlite(&'a Gateway),
    Postgres(&'a Postgres, String),
}

impl Counted<'_> {
    fn items(&self) -> Result<u64> {
        let query = "SELECT COUNT(*) FROM item";
        let text = match self {
            Self::Sqlite(gateway) => Target::Sqlite(&gateway.data_dir().join("hotline.db")).run(query)?,
            Self::Postgres(server, database) => Target::Postgres(server, database).run(query)?,
        };
        Ok(text.trim().parse().unwrap_or(0))
    }
}

struct Load<'a> {
    gateway: &'a Gateway,
    target: &'a Counted<'a>,
    seconds: u32,
    settle_s: u32,
}

/// Every message is somebody's own.
static NEXT: AtomicU64 = AtomicU64::new(0);

impl Load<'_> {
    async fn run(&self, name: &str, rate: Option<u32>) -> Result<()> {
        let before = self.target.items()?;
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(30)).build();
        let client = client.map_err(|e| Error::Sip(e.to_string()))?;
        let url = Arc::new(format!("http://{}/hooks/sms/aggregator", self.gateway.http()));
        let started = Instant::now();
        let (mut times, refused) = match rate {
            None => closed(&client, &url, started + Duration::from_secs(self.seconds.into())).await,
            Some(rate) => steady(&client, &url, rate, self.seconds).await,
        };
        let elapsed = started.elapsed().as_secs_f64();
        let acked = times.len();
        let items = self.settled(before + acked as u64).await? - before;
        let item_rate = items as f64 / started.elapsed().as_secs_f64();
        let [p50, p95, p99, _] = times.cells();
        let per_second = format!("{:.0}", acked as f64 / elapsed);
        let cells = [name.into(), acked.to_string(), per_second, p50, p95, p99, refused.to_string()];
        row(&[cells.as_slice(), &[format!("{item_rate:.0}")]].concat());
        Ok(())
    }

    /// Waits until there are `wanted` items, or no more come.
    async fn settled(&self, wanted: u64) -> Result<u64> {
        let ends = Instant::now() + Duration::from_secs(self.settle_s.into());
        let mut last = self.target.items()?;
        let mut still = 0;
        while last < wanted && still < 5 && Instant::now() < ends {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let now = self.target.items()?;
            still = if now == last { still + 1 } else { 0 };
            last = now;
        }
        Ok(last)
    }
}

async fn push(client: &Client, url: &str) -> Option<Duration> {
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let body = json!({
        "phone": format!("139{:08}", n % 100_000_000), "to": "10629100", "id": format!("m{n}"),
        "content": format!("人民路{}号门前井盖缺失,请尽快处理", n % 10_000),
    });
    let asked = Instant::now();
    let answer = client.post(url).header("x-token", SECRET).body(body.to_string()).send().await.ok()?;
    let taken = answer.status().is_success();
    // The connection is free again once the body is read.
    let _ = answer.bytes().await;
    taken.then(|| asked.elapsed())
}

async fn closed(client: &Client, url: &Arc<String>, ends: Instant) -> (Times, u64) {
    let mut senders = JoinSet::new();
    let last = NEXT.load(Ordering::Relaxed) + MESSAGES_MAX;
    for _ in 0..AT_ONCE {
        let (client, url) = (client.clone(), Arc::clone(url));
        senders.spawn(async move {
            let (mut times, mut refused) = (Times::default(), 0);
            while Instant::now() < ends && NEXT.load(Ordering::Relaxed) < last {
                match push(&client, &url).await {
                    Some(time) => times.add(time),
                    None => refused += 1,
                }
            }
            (times, refused)
        });
    }
    let (mut times, mut refused) = (Times::default(), 0);
    while let Some(Ok((t, r))) = senders.join_next().await {
        times.extend(t);
        refused += r;
    }
    (times, refused)
}

async fn steady(client: &Client, url: &Arc<String>, rate: u32, seconds: u32) -> (Times, u64) {
    let mut every = tokio::time::interval(Duration::from_secs(1) / rate);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    let mut under_way = JoinSet::new();
    let (mut times, mut refused) = (Times::default(), 0);
    let mut note = |answer: Option<Duration>| match answer {
        Some(time) => times.add(time),
        None => refused += 1,
    };
    for _ in 0..(u64::from(rate) * u64::from(seconds)).min(MESSAGES_MAX) {
        every.tick().await;
        while let Some(Ok(answer)) = under_way.try_join_next() {
            note(answer);
        }
        if under_way.len() >= UNDER_WAY_MAX {
            note(None);
            continue;
        }
        let (client, url) = (client.clone(), Arc::clone(url));
        under_way.spawn(async move { push(&client, &url).await });
    }
    while let Some(Ok(answer)) = under_way.join_next().await {
        note(answer);
    }
    (times, refused)
}

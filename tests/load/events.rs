//! From something that happens to the sockets of all whom it concerns.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hotline_tests::api::Api;
use hotline_tests::gateway::{Gateway, GatewayConfig, NewUser};
use hotline_tests::{Error, Result};
use reqwest::Method;
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::memory::process_id;
use crate::options::Options;
use crate::process::Cpu;
use crate::table::{head, note, row};
use crate::times::Times;

/// Sockets in all.
const SOCKETS: usize = 200;
/// Of one person; the gateway allows eight.
const SOCKETS_EACH: usize = 8;
/// Events on their way when the last one was caused.
const SETTLE: Duration = Duration::from_secs(2);

/// An event as a socket got it.
struct Heard {
    kind: String,
    /// When the gateway published it, epoch ms.
    at: i64,
    /// What tells it from the others.
    mark: String,
    now: Instant,
    now_ms: i64,
}

pub(crate) async fn run(options: &Options) -> Result<()> {
    let (rate, seconds) = (options.rate.min(100), options.seconds);
    let command = format!("ops/bench/run events --rate {rate} --seconds {seconds}");
    let title = format!("events: {rate} changes of an operator's state a second to {SOCKETS} sockets of shift leaders");
    head(&title, &command, &["", "events", "p50 ms", "p95 ms", "p99 ms", "max ms"]);
    let (gateway, leaders) = open().await?;
    let (told, mut heard) = unbounded_channel();
    let mut readers = tokio::task::JoinSet::new();
    for n in 0..SOCKETS {
        let api = leaders[n / SOCKETS_EACH].clone();
        let stream = api.send(Method::GET, "/api/v1/events", None, &[]).await?;
        readers.spawn(read(stream, told.clone()));
    }
    drop(told);
    tokio::time::sleep(SETTLE).await;
    while heard.try_recv().is_ok() {}
    let id = process_id(&gateway)?;
    let (before, began) = (Cpu::of(id)?, Instant::now());
    let asked = cause(&leaders, rate, seconds).await?;
    let (cpu, span) = (Cpu::of(id)?, began.elapsed());
    tokio::time::sleep(SETTLE).await;
    print(&mut heard, &asked);
    let percent = 100.0 * Duration::from_millis(cpu.since_ms(&before)).as_secs_f64() / span.as_secs_f64();
    note(&format!("gateway {percent:.0} % of a core; {}; goal: p99 < 50 ms", cpu.shares_since(&before)));
    readers.abort_all();
    Ok(())
}

/// The gateway, and its shift leaders signed in: what happens to one of them concerns all.
async fn open() -> Result<(Gateway, Vec<Api>)> {
    let mut gateway = Gateway::prepare(GatewayConfig::default().with("log.level", "info"))?;
    let count = SOCKETS.div_ceil(SOCKETS_EACH);
    let roles: Vec<String> = ["operator", "leader"].map(String::from).to_vec();
    let users: Vec<NewUser> =
        (0..count).map(|n| NewUser { roles: roles.clone(), ..NewUser::operator(&format!("30{n:02}")) }).collect();
    for user in &users {
        gateway.add_user(user)?;
    }
    gateway.boot().await?;
    let mut leaders = Vec::new();
    for user in &users {
        leaders.push(gateway.sign_in(user).await?);
    }
    Ok((gateway, leaders))
}

/// Each in turn changes between two kinds of break; the reason names the change, and its moment is kept.
async fn cause(leaders: &[Api], rate: u32, seconds: u32) -> Result<Vec<Instant>> {
    let mut every = tokio::time::interval(Duration::from_secs(1) / rate);
    let mut asked = Vec::new();
    let mut asking = tokio::task::JoinSet::new();
    for n in 0..(rate * seconds) as usize {
        every.tick().await;
        let api = leaders[n % leaders.len()].clone();
        let state = if (n / leaders.len()).is_multiple_of(2) { "break" } else { "busy" };
        asked.push(Instant::now());
        asking.spawn(async move {
            let form = json!({ "state": state, "reason": format!("m{n}") });
            api.post("/api/v1/operators/me/state", &form).await
        });
    }
    while let Some(answer) = asking.join_next().await {
        answer.map_err(|e| Error::Sip(e.to_string()))??;
    }
    Ok(asked)
}

async fn read(mut stream: reqwest::Response, told: UnboundedSender<Heard>) {
    let mut text = String::new();
    while let Ok(Some(chunk)) = stream.chunk().await {
        let (now, now_ms) = (Instant::now(), now_ms());
        text.push_str(&String::from_utf8_lossy(&chunk));
        while let Some((block, rest)) = text.split_once("\n\n") {
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("").to_owned();
            let data: serde_json::Value = serde_json::from_str(&field("data: ")).unwrap_or_default();
            let mark = data["reason"].as_str().unwrap_or("").to_owned();
            let heard = Heard { kind: field("event: "), at: data["at"].as_i64().unwrap_or(0), mark, now, now_ms };
            if told.send(heard).is_err() {
                return;
            }
            text = rest.to_owned();
        }
    }
}

fn print(heard: &mut UnboundedReceiver<Heard>, asked: &[Instant]) {
    let (mut published, mut caused) = (Times::default(), Times::default());
    while let Ok(one) = heard.try_recv() {
        if one.kind != "state" {
            continue;
        }
        let late_ms = u64::try_from(one.now_ms - one.at).unwrap_or(0);
        published.add(Duration::from_millis(late_ms));
        let begun = one.mark.strip_prefix('m').and_then(|n| asked.get(n.parse::<usize>().ok()?));
        if let Some(begun) = begun {
            caused.add(one.now.saturating_duration_since(*begun));
        }
    }
    for (name, mut times) in [("published → socket", published), ("asked by REST → socket", caused)] {
        let [p50, p95, p99, max] = times.cells();
        row(&[name.into(), times.len().to_string(), p50, p95, p99, max]);
    }
    let expected = asked.len() * SOCKETS;
    note(&format!("{expected} were to come; two changes of one operator within 10 ms are told as one"));
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

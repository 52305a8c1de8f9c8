//! From an operator who is free again to the INVITE at their phone, while many talk and many wait.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use hotline_tests::{Error, Result};
use tokio::net::UdpSocket;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::bank::{Bank, Told};
use crate::memory::metric;
use crate::options::Options;
use crate::process::Cpu;
use crate::profile::{Bench, PHONES, SIP, address};
use crate::table::{head, note, row};
use crate::times::Times;

/// Operators, unless `--quick` asks for fewer.
const OPERATORS: u32 = 200;
/// With `--quick`.
const QUICK_OPERATORS: u32 = 20;
/// The first callers come at this rate.
const FILL_RATE: u32 = 100;
/// Talks are up, and music plays to those who wait, within this time.
const SETTLE: Duration = Duration::from_secs(3);
/// The hotline whose callers wait for operators and aren't recorded: files are another benchmark's business.
const HOTLINE: &str = "w2n";

pub(crate) async fn run(options: &Options) -> Result<()> {
    let operators = options.quick_or(OPERATORS, QUICK_OPERATORS);
    let waiting = options.quick_or(options.waiting, QUICK_OPERATORS * 2);
    let (rate, seconds) = (options.rate.min(operators), options.seconds);
    let command = format!("ops/bench/run ring --waiting {waiting} --rate {rate} --seconds {seconds}");
    let title = format!("ring: an operator of {operators} hangs up, the first of {waiting} who wait rings, {rate}/s");
    head(&title, &command, &["", "rings", "p50 ms", "p95 ms", "p99 ms", "max ms", "CPU %"]);
    let bench = Bench::open_with(operators, silent).await?;
    let silence = UdpSocket::bind("127.0.0.1:0").await.map_err(Error::io("bind"))?;
    let media = silence.local_addr().map_err(Error::io("local_addr"))?;
    let (phones, mut rings) = Bank::open(address(PHONES)?, address(SIP)?, media).await?;
    let (callers, _answers) = Bank::open(address("127.0.0.1:0")?, address(SIP)?, media).await?;
    let mut every = tokio::time::interval(Duration::from_secs(1) / FILL_RATE);
    for _ in 0..operators + waiting {
        every.tick().await;
        callers.call(HOTLINE).await?;
    }
    tokio::time::sleep(SETTLE).await;
    let mut talks = Talks::default();
    talks.take(&mut rings);
    if talks.since.len() < operators as usize {
        note(&format!("only {} of {operators} operators talk", talks.since.len()));
    }
    let before = (Cpu::of(bench.id()?)?, Instant::now());
    let mut every = tokio::time::interval(Duration::from_secs(1) / rate);
    for _ in 0..rate * seconds {
        every.tick().await;
        talks.take(&mut rings);
        // One ends, one more comes: as many wait as before.
        if let Some(call) = talks.oldest() {
            talks.freed(&call);
            phones.hang_up(&call).await?;
        }
        callers.call(HOTLINE).await?;
    }
    let (cpu, span) = (Cpu::of(bench.id()?)?, before.1.elapsed());
    tokio::time::sleep(SETTLE).await;
    talks.take(&mut rings);
    let percent = 100.0 * Duration::from_millis(cpu.since_ms(&before.0)).as_secs_f64() / span.as_secs_f64();
    let [p50, p95, p99, max] = talks.times.cells();
    row(&["gateway".into(), talks.times.len().to_string(), p50, p95, p99, max, format!("{percent:.0}")]);
    let live = metric(&bench.gateway, "hotline_calls_live").await?;
    note(&format!("{live} calls live at the end; {} phones never rang again; goal: p99 < 50 ms", talks.freed.len()));
    note(&format!("CPU by thread: {}", cpu.shares_since(&before.0)));
    callers.hang_up_all().await?;
    drop(silence);
    Ok(())
}

/// Nobody says anything here, which ends no talk.
fn silent(config: hotline_tests::gateway::GatewayConfig) -> hotline_tests::gateway::GatewayConfig {
    config.with("media.phone_dead_ms", 600_000).with("media.rtp_dead_ms", 600_000).with("queue.main.waiting_max", 2_000)
}

/// Who talks since when, and who was freed when.
#[derive(Default)]
struct Talks {
    /// By call.
    since: HashMap<String, (String, Instant)>,
    /// By user.
    freed: HashMap<String, Instant>,
    times: Times,
}

impl Talks {
    fn take(&mut self, rings: &mut UnboundedReceiver<Told>) {
        while let Ok(told) = rings.try_recv() {
            match told {
                Told::Called { user, call, at } => {
                    if let Some(freed) = self.freed.remove(&user) {
                        self.times.add(at.saturating_duration_since(freed));
                    }
                    self.since.insert(call, (user, at));
                }
                Told::Ended { call } => {
                    self.since.remove(&call);
                }
            }
        }
    }

    /// The longest talk.
    fn oldest(&self) -> Option<String> {
        self.since.iter().min_by_key(|(_, (_, at))| *at).map(|(call, _)| call.clone())
    }

    /// Its operator hangs up now.
    fn freed(&mut self, call: &str) {
        if let Some((user, _)) = self.since.remove(call) {
            self.freed.insert(user, Instant::now());
        }
    }
}

//! Texts over a carrier's CMPP links: taken until acknowledged, and their receipts sent, steady and in bursts.

use std::time::{Duration, Instant};

use hotline_tests::Result;
use hotline_tests::gateway::{Gateway, GatewayConfig};
use hotline_tests::ismg::{Ismg, IsmgConfig};
use hotline_tests::peer::Postgres;
use toml::toml;

use crate::options::Options;
use crate::table::{head, note, row};
use crate::times::Times;

/// Texts a second on one link, hour after hour.
const STEADY: u32 = 20;
/// Texts a second on one link, when a street goes dark.
const BURST: u32 = 200;
/// A burst lasts so long at most, seconds.
const BURST_S: u32 = 5;
/// Links of the line.
const LINKS: [u32; 2] = [1, 2];
const UP_MS: u64 = 15_000;
/// Everything is acknowledged, and every receipt sent, within so long after the last text.
const SETTLE: Duration = Duration::from_secs(60);
const OURS: &str = "10629100";
const COLUMNS: [&str; 8] = ["", "texts", "acked/s", "p50 ms", "p95 ms", "p99 ms", "receipts", "receipts/s"];

pub(crate) async fn run(options: &Options) -> Result<()> {
    let seconds = options.quick_or(options.seconds, 5);
    let command = format!("ops/bench/run sms --seconds {seconds}");
    head("sms: texts over CMPP until acknowledged, and their receipts out", &command, &COLUMNS);
    for postgres in [false, true] {
        for links in LINKS {
            line(postgres, links, seconds).await?;
        }
    }
    note("ms: from the text's leaving the carrier to its DELIVER_RESP; the carrier keeps 16 open on a link");
    note("receipts/s: submitted and acknowledged by the carrier, from the first text to the last receipt");
    Ok(())
}

async fn line(postgres: bool, links: u32, seconds: u32) -> Result<()> {
    let server = if postgres { Some(Postgres::start().await?) } else { None };
    let (engine, database_url) = match &server {
        Some(server) => ("PostgreSQL", server.create_database("sms")?),
        None => ("SQLite", String::new()),
    };
    let ismg = Ismg::start(IsmgConfig { repeat_ms: 30_000, ..IsmgConfig::default() }).await?;
    let _gateway = Gateway::start(config(database_url, &ismg, links)).await?;
    ismg.wait_links(links as usize, UP_MS).await?;
    let mut pour = Pour { ismg: &ismg, next: 0 };
    for (rate, seconds) in [(STEADY, seconds), (BURST, seconds.min(BURST_S))] {
        pour.run(&format!("{engine}, {links} x {rate}/s"), rate * links, seconds).await;
    }
    Ok(())
}

fn config(database_url: String, ismg: &Ismg, links: u32) -> GatewayConfig {
    let mut line = toml! {
        name = "mobile"
        kind = "cmpp"
        [cmpp]
        user = "901234"
        password = "s3cret"
        src_id = "10629100"
        rate = 0
    };
    if let Some(cmpp) = line.get_mut("cmpp").and_then(toml::Value::as_table_mut) {
        cmpp.insert("address".into(), ismg.address().to_string().into());
        cmpp.insert("links".into(), i64::from(links).into());
    }
    GatewayConfig { database_url, ..GatewayConfig::default() }
        .with("sms.line", toml::Value::Array(vec![line.into()]))
        .with("callback.enabled", false)
        .with("intake.receipt_quiet_s", 0)
        .with("intake.receipt_latest_s", 0)
        .with("intake.per_sender_hour", 0)
        .with("intake.per_second_max", 0)
        .with("log.level", "error")
}

struct Pour<'a> {
    ismg: &'a Ismg,
    /// Every text is another citizen's.
    next: u32,
}

impl Pour<'_> {
    async fn run(&mut self, name: &str, rate: u32, seconds: u32) {
        let (acked_before, receipts_before) = (self.ismg.delays().len(), self.ismg.submits().len());
        let texts = (rate * seconds) as usize;
        let mut every = tokio::time::interval(Duration::from_secs(1) / rate);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
        let started = Instant::now();
        for _ in 0..texts {
            every.tick().await;
            let n = self.next;
            self.next += 1;
            let text = format!("人民路{}号门前井盖缺失,请尽快处理", n % 10_000);
            self.ismg.write(&format!("139{n:08}"), OURS, &text, 1);
        }
        let ends = Instant::now() + SETTLE;
        let acked = |ismg: &Ismg| ismg.delays().len() - acked_before;
        while acked(self.ismg) < texts && Instant::now() < ends {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let acked_s = started.elapsed().as_secs_f64();
        let sent = |ismg: &Ismg| ismg.submits().len() - receipts_before;
        while sent(self.ismg) < texts && Instant::now() < ends {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let receipts = sent(self.ismg);
        let receipts_s = started.elapsed().as_secs_f64();
        let mut times = Times::default();
        for delay in self.ismg.delays().into_iter().skip(acked_before) {
            times.add(delay);
        }
        let [p50, p95, p99, _] = times.cells();
        row(&[
            name.into(),
            times.len().to_string(),
            format!("{:.0}", times.len() as f64 / acked_s),
            p50,
            p95,
            p99,
            receipts.to_string(),
            format!("{:.0}", receipts as f64 / receipts_s),
        ]);
    }
}

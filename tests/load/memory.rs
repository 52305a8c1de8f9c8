//! Resident memory per call that waits in the queue.

use std::time::Duration;

use hotline_tests::gateway::Gateway;
use hotline_tests::peer::{Sipp, SippConfig, scenario};
use hotline_tests::{Error, Result, until};

use crate::options::Options;
use crate::process::resident_kib;
use crate::setup::config;
use crate::table::{head, note, row};

/// Legs beyond those that wait: a port just given back rests a while.
pub(crate) const LEGS_SPARE: u32 = 50;
/// New calls a second.
const RATE: u32 = 50;
/// Time the calls wait beyond the last one's arrival, milliseconds.
const WAIT_MS: u64 = 10_000;
/// SIP over UDP keeps transactions for 32 s (RFC 3261 timers H, J).
const TRANSACTIONS_GONE_MS: u64 = 60_000;

/// Legs the gateway may need at once.
fn legs(options: &Options) -> u32 {
    options.waiting + LEGS_SPARE
}

pub(crate) async fn run(options: &Options) -> Result<()> {
    let waiting = options.waiting;
    let command = format!("ops/bench/run memory --waiting {waiting}");
    let title = format!("memory: VmRSS with {waiting} calls that hear the waiting prompts");
    head(&title, &command, &["", "before KiB", "during KiB", "KiB/call", "after KiB"]);
    let gateway = Gateway::start(config(legs(options))?).await?;
    let id = process_id(&gateway)?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    for round in 1..=options.rounds() {
        let before = resident_kib(id)?;
        let sipp = SippConfig {
            scenario: scenario("setup"),
            calls: waiting,
            rate: RATE,
            calls_at_once_max: waiting,
            ..SippConfig::citizen(gateway.sip(), u64::from(waiting / RATE) * 1_000 + WAIT_MS)
        };
        let sipp = Sipp::start(&sipp)?;
        let all = f64::from(waiting);
        wait_for(&gateway, "hotline_calls_live", all, u64::from(waiting / RATE) * 1_000 + WAIT_MS / 2).await?;
        // Let the last of them reach the music.
        tokio::time::sleep(Duration::from_millis(WAIT_MS / 4)).await;
        let during = resident_kib(id)?;
        let report = sipp.wait().await?;
        wait_for(&gateway, "hotline_calls_live", 0.0, WAIT_MS).await?;
        wait_for(&gateway, "hotline_sip_transactions", 0.0, TRANSACTIONS_GONE_MS).await?;
        let after = resident_kib(id)?;
        row(&[
            format!("round {round}  gateway"),
            before.to_string(),
            during.to_string(),
            format!("{:.1}", (kib(during) - kib(before)) / all),
            after.to_string(),
        ]);
        if report.failed > 0 {
            note(&format!("{} of the calls failed: {}", report.failed, report.errors));
        }
    }
    note("round 1 includes what the first calls load once; the growth from one `after` to the next is what stays");
    Ok(())
}

pub(crate) fn kib(value: u64) -> f64 {
    f64::from(u32::try_from(value).unwrap_or(u32::MAX))
}

/// The gateway's process id.
pub(crate) fn process_id(gateway: &Gateway) -> Result<u32> {
    gateway.process_id().ok_or_else(|| Error::Missing {
        program: "the gateway's process".into(),
        remedy: "read hotline.log in its folder (HOTLINE_TEST_KEEP=1 keeps it)".into(),
    })
}

/// One figure of `/metrics`.
pub(crate) async fn metric(gateway: &Gateway, name: &str) -> Result<f64> {
    let text = gateway.api().metrics().await?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = line.and_then(|value| value.trim().parse().ok());
    value.ok_or_else(|| Error::Missing { program: format!("{name} in /metrics"), remedy: "see observe/metrics".into() })
}

async fn wait_for(gateway: &Gateway, name: &str, value: f64, timeout_ms: u64) -> Result<()> {
    let what = format!("{name} = {value}");
    until(&what, timeout_ms, || async {
        // Looking costs the gateway some CPU but no memory that stays.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = metric(gateway, name).await.ok()?;
        ((now - value).abs() < 0.5).then_some(())
    })
    .await
}

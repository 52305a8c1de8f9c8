//! Three times the rated load: what is refused, how long the admitted wait, and the rest after it.

use hotline_tests::Result;
use hotline_tests::gateway::Gateway;

use crate::memory;
use crate::options::Options;
use crate::process::Cpu;
use crate::setup::{SETTLE, config, drive, legs};
use crate::table::{head, note, row};

pub(crate) async fn run(options: &Options) -> Result<()> {
    let command = format!("ops/bench/run overload --rate {} --seconds {}", options.rate, options.seconds);
    let title =
        format!("overload: {} s each at the rated {}/s, three times it, and it again", options.seconds, options.rate);
    head(
        &title,
        &command,
        &["calls/s", "admitted", "p50 ms", "p95 ms", "503 etc.", "failed", "CPU ms/call", "repeats"],
    );
    let gateway = Gateway::start(config(legs(options))?).await?;
    let id = memory::process_id(&gateway)?;
    for times in [1, 3, 1] {
        let rate = options.rate * times;
        let taken_before = memory::metric(&gateway, "hotline_calls_in_total").await?;
        let before = Cpu::of(id)?;
        let report = drive(gateway.sip(), "overload", rate, options).await?;
        tokio::time::sleep(SETTLE).await;
        let used_ms = Cpu::of(id)?.since_ms(&before);
        let taken = memory::metric(&gateway, "hotline_calls_in_total").await? - taken_before;
        let offered = report.sipp.successful + report.sipp.failed + report.timed_ms.len() as u64 + report.timed_failed;
        let offered = f64::from(u32::try_from(offered).unwrap_or(u32::MAX));
        let used_ms = f64::from(u32::try_from(used_ms).unwrap_or(u32::MAX));
        row(&[
            rate.to_string(),
            format!("{taken:.0}"),
            format!("{:.2}", report.timed_percentile(50)),
            format!("{:.2}", report.timed_percentile(95)),
            format!("{:.0}", offered - taken),
            report.sipp.failed.to_string(),
            format!("{:.2}", used_ms / offered.max(1.0)),
            report.sipp.retransmissions.to_string(),
        ]);
        if report.sipp.failed > 0 {
            note(&format!("SIPp: {}", report.sipp.errors.lines().last().unwrap_or_default()));
        }
    }
    note(
        "503 etc.: calls SIPp offered and the gateway wrote no row for; failed: neither answered nor refused as it should",
    );
    Ok(())
}

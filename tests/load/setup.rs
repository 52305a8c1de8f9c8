//! INVITE to 200 OK, and the CPU of a whole short call, beside SIPp's own answering side.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use hotline_tests::gateway::{Gateway, GatewayConfig};
use hotline_tests::net::{GATEWAY_IP, free_port, free_ports};
use hotline_tests::peer::{Sipp, SippConfig, SippReport, program, scenario};
use hotline_tests::{Error, Process, Result};

use crate::options::Options;
use crate::process::Cpu;
use crate::table::{head, median, note, ratio, row};
use crate::{disk, memory};

/// From the answer to the BYE: long enough that both are separate, too short for much audio.
const TALK_MS: u64 = 100;
/// Rows of the last calls are written within this time of their BYE.
const SETTLE: Duration = Duration::from_millis(1_500);

/// One side's figures of one round.
struct Figures {
    p50_ms: f64,
    p95_ms: f64,
    cpu_ms: f64,
}

pub(crate) async fn run(options: &Options) -> Result<()> {
    let calls = options.rate * options.seconds;
    let command = format!("ops/bench setup --rate {} --seconds {}", options.rate, options.seconds);
    let title = format!("set-up: {calls} calls at {}/s, answered, BYE after {TALK_MS} ms", options.rate);
    let columns = ["", "p50 ms", "p95 ms", "CPU ms/call", "ok", "failed", "repeats"];
    head(&title, &command, &columns);
    let gateway = Gateway::start(config()?).await?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        ours.push(of_gateway(&gateway, options, round).await?);
        theirs.push(of_sipp(options, round).await?);
    }
    let middle = |of: &[Figures], pick: fn(&Figures) -> f64| median(&of.iter().map(pick).collect::<Vec<_>>());
    let picks: [fn(&Figures) -> f64; 3] = [|f| f.p50_ms, |f| f.p95_ms, |f| f.cpu_ms];
    let ratios = picks.map(|pick| ratio(middle(&ours, pick), middle(&theirs, pick)));
    let mut cells = vec!["medians, gateway : SIPp".to_owned()];
    cells.extend(ratios);
    row(&cells);
    let (p50, p95) = disk::sync_ms(&gateway.data_dir())?;
    note(&format!("one 4 KiB page to this disk, synced: p50 {p50:.2} ms, p95 {p95:.2} ms"));
    Ok(())
}

/// The whole product on SQLite; callbacks wait, so that a run at noon equals one at night.
pub(crate) fn config() -> Result<GatewayConfig> {
    let first = free_ports(GATEWAY_IP, memory::RTP_PORTS)?;
    Ok(GatewayConfig::default()
        .with("media.port_min", i64::from(first))
        .with("media.port_max", i64::from(first + memory::RTP_PORTS - 1))
        .with("callback.enabled", false)
        .with("log.level", "info"))
}

async fn of_gateway(gateway: &Gateway, options: &Options, round: u32) -> Result<Figures> {
    let id = memory::process_id(gateway)?;
    let taken_before = memory::metric(gateway, "hotline_calls_in_total").await?;
    let before = Cpu::of(id)?;
    let report = drive(gateway.sip(), options).await?;
    tokio::time::sleep(SETTLE).await;
    let after = Cpu::of(id)?;
    let taken = memory::metric(gateway, "hotline_calls_in_total").await? - taken_before;
    let figures = print(&format!("round {round}  gateway"), &report, &before, &after);
    note(&format!("{taken} calls in rows; CPU by thread: {}", after.shares_since(&before)));
    Ok(figures)
}

async fn of_sipp(options: &Options, round: u32) -> Result<Figures> {
    let dir = tempfile::TempDir::with_prefix("sipp-uas-").map_err(Error::io("temp dir"))?;
    let address = SocketAddr::new(GATEWAY_IP, free_port(GATEWAY_IP)?);
    let mut command = Command::new(program("sipp")?);
    command.current_dir(dir.path()).args(["-sn", "uas", "-nostdin"]);
    command.args(["-i", &address.ip().to_string(), "-p", &address.port().to_string()]);
    command.args(["-mp", &free_ports(GATEWAY_IP, 2)?.to_string()]);
    let mut server = Process::start("sipp", &mut command, &dir.path().join("screen.log"))?;
    // It has nothing to ask for its readiness; its first INVITEs would only be repeated.
    tokio::time::sleep(Duration::from_millis(500)).await;
    if !server.is_running() {
        return Err(server.failed("`sipp -sn uas` ended during its start"));
    }
    let before = Cpu::of(server.id())?;
    let report = drive(address, options).await?;
    tokio::time::sleep(SETTLE).await;
    let after = Cpu::of(server.id())?;
    server.kill9();
    Ok(print(&format!("round {round}  sipp -sn uas"), &report, &before, &after))
}

async fn drive(target: SocketAddr, options: &Options) -> Result<SippReport> {
    let calls = options.rate * options.seconds;
    let sipp = SippConfig {
        scenario: scenario("setup"),
        calls,
        rate: options.rate,
        calls_at_once_max: calls,
        ..SippConfig::citizen(target, TALK_MS)
    };
    Sipp::start(&sipp)?.wait().await
}

fn print(name: &str, report: &SippReport, before: &Cpu, after: &Cpu) -> Figures {
    let calls = u32::try_from(report.successful + report.failed).unwrap_or(u32::MAX).max(1);
    let used_ms = u32::try_from(after.since_ms(before)).unwrap_or(u32::MAX);
    let figures = Figures {
        p50_ms: report.answer_ms_percentile(50).unwrap_or(f64::NAN),
        p95_ms: report.answer_ms_percentile(95).unwrap_or(f64::NAN),
        cpu_ms: f64::from(used_ms) / f64::from(calls),
    };
    row(&[
        name.to_owned(),
        format!("{:.1}", figures.p50_ms),
        format!("{:.1}", figures.p95_ms),
        format!("{:.2}", figures.cpu_ms),
        report.successful.to_string(),
        report.failed.to_string(),
        report.retransmissions.to_string(),
    ]);
    figures
}

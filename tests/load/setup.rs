//! INVITE to 200 OK, and the CPU of a whole short call, beside SIPp's own answering side.
//!
//! SIPp makes the load. Its clock goes in steps of the kernel's tick (4 ms where HZ is 250), so
//! every fifth call comes from a citizen of this process, and those are timed to the microsecond.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use hotline_tests::gateway::{Gateway, GatewayConfig};
use hotline_tests::net::{GATEWAY_IP, free_port, free_ports};
use hotline_tests::peer::{Sipp, SippConfig, SippReport, program, scenario};
use hotline_tests::rtp::Source;
use hotline_tests::sip::{Agent, Citizen, CitizenConfig};
use hotline_tests::{Error, Process, Result};

use crate::options::Options;
use crate::process::{self, Cpu};
use crate::table::{head, median, note, ratio, row};
use crate::{disk, memory};

/// From the answer to the BYE: long enough that both are separate, too short for much audio.
pub(crate) const TALK_MS: u64 = 100;
/// One call in so many is a timed one …
const TIMED_ONE_IN: u32 = 5;
/// … up to so many a round: the harness gives their ports back to nobody.
const TIMED_MAX: u32 = 600;
/// A leg's ports are free again within so many seconds of its INVITE, on a slow disk too.
const LEGS_S: u32 = 4;
/// Longest wait for one timed answer.
const ANSWER_MS: u64 = 10_000;
/// Rows of the last calls are written within this time of their BYE.
pub(crate) const SETTLE: Duration = Duration::from_millis(1_500);

/// What each row of a set-up benchmark shows.
pub(crate) const COLUMNS: [&str; 8] = ["", "p50 ms", "p95 ms", "by SIPp ms", "CPU ms/call", "ok", "failed", "repeats"];

/// One side's figures of one round.
pub(crate) struct Figures {
    p50_ms: f64,
    p95_ms: f64,
    cpu_ms: f64,
}

/// What the callers saw.
pub(crate) struct Report {
    pub(crate) sipp: SippReport,
    /// INVITE to 200 of the timed calls, milliseconds, sorted.
    pub(crate) timed_ms: Vec<f64>,
    /// Timed calls that weren't answered.
    pub(crate) timed_failed: u64,
}

impl Report {
    /// The value below which `percent` of the timed answers came, milliseconds.
    pub(crate) fn timed_percentile(&self, percent: usize) -> f64 {
        let last = self.timed_ms.len().saturating_sub(1);
        self.timed_ms.get(last * percent / 100).copied().unwrap_or(f64::NAN)
    }
}

/// Legs the gateway may need at once.
pub(crate) fn legs(options: &Options) -> u32 {
    options.rate * LEGS_S
}

pub(crate) async fn run(options: &Options) -> Result<()> {
    let calls = options.rate * options.seconds;
    let command = format!("ops/bench/run setup --rate {} --seconds {}", options.rate, options.seconds);
    let title = format!("set-up: {calls} calls at {}/s, answered, BYE after {TALK_MS} ms", options.rate);
    head(&title, &command, &COLUMNS);
    let gateway = Gateway::start(config(legs(options))?).await?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=options.rounds() {
        ours.push(of_gateway(&gateway, options, round).await?);
        theirs.push(of_sipp(options, round).await?);
    }
    compare("medians, gateway : SIPp", &ours, &theirs);
    let (p50, p95) = disk::sync_ms(&gateway.data_dir())?;
    note(&format!("one 4 KiB page to this disk, synced: p50 {p50:.2} ms, p95 {p95:.2} ms"));
    Ok(())
}

/// The last row: the medians of both sides, one over the other.
pub(crate) fn compare(name: &str, ours: &[Figures], theirs: &[Figures]) {
    let middle = |of: &[Figures], pick: fn(&Figures) -> f64| median(&of.iter().map(pick).collect::<Vec<_>>());
    let picks: [fn(&Figures) -> f64; 3] = [|f| f.p50_ms, |f| f.p95_ms, |f| f.cpu_ms];
    let [p50, p95, cpu] = picks.map(|pick| ratio(middle(ours, pick), middle(theirs, pick)));
    row(&[name.into(), p50, p95, String::new(), cpu]);
}

/// The whole product on SQLite with RTP ports for `legs` legs; callbacks wait, so that a run at
/// noon equals one at night.
pub(crate) fn config(legs: u32) -> Result<GatewayConfig> {
    let ports = u16::try_from(legs * 2).unwrap_or(u16::MAX);
    let first = free_ports(GATEWAY_IP, ports)?;
    Ok(GatewayConfig::default()
        .with("media.port_min", i64::from(first))
        .with("media.port_max", i64::from(first + ports - 1))
        .with("callback.enabled", false)
        .with("log.level", "info"))
}

async fn of_gateway(gateway: &Gateway, options: &Options, round: u32) -> Result<Figures> {
    let id = memory::process_id(gateway)?;
    let taken_before = memory::metric(gateway, "hotline_calls_in_total").await?;
    let before = Cpu::of(id)?;
    let report = drive(gateway.sip(), "setup", options.rate, options).await?;
    tokio::time::sleep(SETTLE).await;
    let after = Cpu::of(id)?;
    let taken = memory::metric(gateway, "hotline_calls_in_total").await? - taken_before;
    let figures = print(&format!("round {round}  gateway"), &report, &before, &after);
    let mib = memory::kib(process::resident_kib(id)?) / 1024.0;
    note(&format!("{taken} calls in rows; memory {mib:.0} MiB; CPU by thread: {}", after.shares_since(&before)));
    Ok(figures)
}

pub(crate) async fn of_sipp(options: &Options, round: u32) -> Result<Figures> {
    let address = SocketAddr::new(GATEWAY_IP, free_port(GATEWAY_IP)?);
    let mut command = Command::new(program("sipp")?);
    command.args(["-sn", "uas", "-nostdin"]);
    command.args(["-i", &address.ip().to_string(), "-p", &address.port().to_string()]);
    command.args(["-mp", &free_ports(GATEWAY_IP, 2)?.to_string()]);
    of_program("sipp -sn uas", command, address, options, round).await
}

/// A program that answers calls at `address`, started for this round.
pub(crate) async fn of_program(
    name: &str,
    mut command: Command,
    address: SocketAddr,
    options: &Options,
    round: u32,
) -> Result<Figures> {
    let dir = tempfile::TempDir::with_prefix("uas-").map_err(Error::io("temp dir"))?;
    command.current_dir(dir.path());
    let mut server = Process::start("uas", &mut command, &dir.path().join("screen.log"))?;
    // It has nothing to ask for its readiness; its first INVITEs would only be repeated.
    tokio::time::sleep(Duration::from_millis(500)).await;
    if !server.is_running() {
        return Err(server.failed(format!("`{name}` ended during its start")));
    }
    let figures = of_running(&format!("round {round}  {name}"), server.id(), address, options).await?;
    server.kill9();
    Ok(figures)
}

/// The process `id`, which answers calls at `address`.
pub(crate) async fn of_running(name: &str, id: u32, address: SocketAddr, options: &Options) -> Result<Figures> {
    let before = Cpu::of(id)?;
    let report = drive(address, "setup", options.rate, options).await?;
    tokio::time::sleep(SETTLE).await;
    let after = Cpu::of(id)?;
    Ok(print(name, &report, &before, &after))
}

/// `rate` calls a second to `target` by a SIPp scenario, some of them timed.
pub(crate) async fn drive(target: SocketAddr, name: &str, rate: u32, options: &Options) -> Result<Report> {
    let timed_rate = (rate / TIMED_ONE_IN).min(TIMED_MAX / options.seconds).max(1);
    let sipp_rate = rate.saturating_sub(timed_rate).max(1);
    let calls = sipp_rate * options.seconds;
    let sipp = SippConfig {
        scenario: scenario(name),
        calls,
        rate: sipp_rate,
        calls_at_once_max: calls,
        ..SippConfig::citizen(target, TALK_MS)
    };
    let sipp = Sipp::start(&sipp)?;
    let mut citizen = CitizenConfig::new(target, "13900000000");
    citizen.source = Source::Nothing;
    let citizen = Citizen::start(citizen).await?;
    let mut every = tokio::time::interval(Duration::from_secs(1) / timed_rate);
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..timed_rate * options.seconds {
        every.tick().await;
        let citizen = citizen.clone();
        calls.spawn(async move {
            let call = citizen.call_answered("12319", ANSWER_MS).await?;
            tokio::time::sleep(Duration::from_millis(TALK_MS)).await;
            call.hang_up().await?;
            Ok::<String, Error>(call.call_id())
        });
    }
    let ended = calls.join_all().await;
    let timed_failed = ended.iter().filter(|end| end.is_err()).count() as u64;
    let mut timed_ms = answer_times_ms(citizen.agent());
    timed_ms.sort_by(f64::total_cmp);
    Ok(Report { sipp: sipp.wait().await?, timed_ms, timed_failed })
}

/// From each first INVITE to the first 200 that answers it.
fn answer_times_ms(agent: &Agent) -> Vec<f64> {
    let mut begun = std::collections::HashMap::new();
    let mut times_ms = Vec::new();
    for traced in agent.trace() {
        let message = &traced.message;
        if traced.sent && message.is_request() && message.method() == "INVITE" {
            begun.entry(message.call_id().to_owned()).or_insert(traced.at);
        } else if !traced.sent && message.code() == Some(200) && message.method() == "INVITE" {
            let started = begun.remove(message.call_id());
            times_ms.extend(started.map(|at| (traced.at - at).as_secs_f64() * 1_000.0));
        }
    }
    times_ms
}

fn print(name: &str, report: &Report, before: &Cpu, after: &Cpu) -> Figures {
    let sipp = &report.sipp;
    let ok = sipp.successful + report.timed_ms.len() as u64;
    let failed = sipp.failed + report.timed_failed;
    let calls = u32::try_from(ok + failed).unwrap_or(u32::MAX).max(1);
    let used_ms = u32::try_from(after.since_ms(before)).unwrap_or(u32::MAX);
    let at = |percent| report.timed_percentile(percent);
    let figures = Figures { p50_ms: at(50), p95_ms: at(95), cpu_ms: f64::from(used_ms) / f64::from(calls) };
    let by_sipp = |percent: usize| sipp.answer_ms_percentile(percent).unwrap_or(f64::NAN);
    row(&[
        name.to_owned(),
        format!("{:.2}", figures.p50_ms),
        format!("{:.2}", figures.p95_ms),
        format!("{:.0} / {:.0}", by_sipp(50), by_sipp(95)),
        format!("{:.2}", figures.cpu_ms),
        ok.to_string(),
        failed.to_string(),
        sipp.retransmissions.to_string(),
    ]);
    figures
}

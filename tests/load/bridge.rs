//! CPU of recorded talks between citizens and operators' phones, beside the bare relay.
//! Both are driven by the same streams of this process, whose CPU does not count.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hotline_tests::gateway::{Gateway, GatewayConfig, NewUser};
use hotline_tests::rtp::{PTIME_MS, RtpStream, Source};
use hotline_tests::sip::{Call, Citizen, CitizenConfig, Credentials, Phone, PhoneConfig};
use hotline_tests::tone;
use hotline_tests::{Result, until};

use crate::limit::{Limit, Relay};
use crate::memory::{LEGS_SPARE, metric, process_id};
use crate::options::Options;
use crate::process::Cpu;
use crate::setup::config;
use crate::table::{head, median, note, ratio, row};

/// Between two citizens' calls; spreads the phases of their packets over the 20 ms.
const CALL_EVERY: Duration = Duration::from_millis(53);
/// All talks stand within this time of the first call, milliseconds.
const TALKS_STAND_MS: u64 = 30_000;
/// From the last connection to the measurement.
const STEADY: Duration = Duration::from_secs(2);
/// A packet this long after the one before is at least one interval late.
const LATE: Duration = Duration::from_millis(2 * PTIME_MS);

/// An operator at a desk.
struct Desk {
    phone: Phone,
}

/// One measured window.
struct Figures {
    cpu_ms_per_call_minute: f64,
}

/// Legs the gateway may need at once.
fn legs(options: &Options) -> u32 {
    options.calls * 2 + LEGS_SPARE
}

pub(crate) async fn run(options: &Options) -> Result<()> {
    let (calls, hold_s) = (options.calls, options.hold_s);
    let command = format!("ops/bench/run bridge --calls {calls} --hold {hold_s}");
    let title = format!("recorded bridge: {calls} talks, {hold_s} s measured, G.711 A-law both ways");
    head(&title, &command, &["", "CPU ms/min", "packets in", "delivered %", "late %", "gap p99 ms"]);
    // Its ports now, while there are ranges.
    let relay = Relay::find(calls)?;
    if relay.is_none() {
        note(
            "skipped: iobench bridge (HOTLINE_IOBENCH names no program; ops/bench/run builds it from HOTLINE_BENCH_DIR)",
        );
    }
    let (gateway, desks) = open_desks(config(legs(options))?, calls).await?;
    idle(&gateway).await?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=options.rounds() {
        ours.push(of_gateway(&gateway, &desks, options, round).await?);
        if let Some(relay) = &relay {
            let limit = Limit::start(relay).await?;
            tokio::time::sleep(STEADY).await;
            let (figures, _) =
                measure(&format!("round {round}  iobench bridge"), limit.id(), &limit.streams, options).await?;
            theirs.push(figures);
        }
    }
    let middle = |of: &[Figures]| median(&of.iter().map(|f| f.cpu_ms_per_call_minute).collect::<Vec<_>>());
    row(&["medians, gateway : iobench".into(), ratio(middle(&ours), middle(&theirs))]);
    Ok(())
}

/// A second of speech-like sound, begun elsewhere in each stream. Made once: the driver
/// shares the processor with what it measures.
pub(crate) fn voice(stream: usize) -> Source {
    let (low, high) =
        (tone::sine(300.0, -22.0, 1_000, tone::RATE_HZ), tone::sine(1_100.0, -25.0, 1_000, tone::RATE_HZ));
    let mut samples: Vec<i16> = low.iter().zip(&high).map(|(a, b)| a.saturating_add(*b)).collect();
    let turn = stream * 977 % samples.len();
    samples.rotate_left(turn);
    Source::Pcm { samples: Arc::from(samples), repeat: true }
}

/// The gateway with an operator for every call, phones registered, all ready.
async fn open_desks(config: GatewayConfig, calls: u32) -> Result<(Gateway, Vec<Desk>)> {
    let mut gateway = Gateway::prepare(config)?;
    let users: Vec<NewUser> = (0..calls).map(|n| NewUser::operator(&format!("{}", 2_000 + n))).collect();
    let started = Instant::now();
    for user in &users {
        gateway.add_user(user)?;
    }
    let added_ms = started.elapsed().as_millis() / users.len().max(1) as u128;
    gateway.boot().await?;
    let mut desks = Vec::new();
    let started = Instant::now();
    for (n, user) in users.iter().enumerate() {
        let Some((sip_user, password)) = &user.sip else { continue };
        let credentials = Credentials::new(sip_user, password);
        let phone = PhoneConfig { source: voice(n), ..PhoneConfig::new(gateway.sip(), credentials) };
        let phone = Phone::start(phone).await?;
        gateway.sign_in(user).await?.set_state("ready").await?;
        desks.push(Desk { phone });
    }
    let opened_ms = started.elapsed().as_millis() / users.len().max(1) as u128;
    note(&format!(
        "{calls} operators: `hotline user add` {added_ms} ms each; REGISTER, sign-in and ready {opened_ms} ms each"
    ));
    Ok((gateway, desks))
}

/// What the gateway uses with nobody on the line.
async fn idle(gateway: &Gateway) -> Result<()> {
    const IDLE_S: u64 = 5;
    let id = process_id(gateway)?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = Cpu::of(id)?;
    tokio::time::sleep(Duration::from_secs(IDLE_S)).await;
    let after = Cpu::of(id)?;
    note(&format!("idle gateway: {} ms of CPU in {IDLE_S} s", after.since_ms(&before)));
    Ok(())
}

async fn of_gateway(gateway: &Gateway, desks: &[Desk], options: &Options, round: u32) -> Result<Figures> {
    let mut talks: Vec<Call> = Vec::new();
    let mut streams: Vec<RtpStream> = Vec::new();
    // Citizens stay until their calls are over: the call is theirs.
    let mut citizens = Vec::new();
    for n in 0..options.calls {
        let mut citizen = CitizenConfig::new(gateway.sip(), format!("138{round:02}{n:06}"));
        citizen.source = voice(n as usize + desks.len());
        let citizen = Citizen::start(citizen).await?;
        talks.push(citizen.call("12319")?);
        citizens.push(citizen);
        tokio::time::sleep(CALL_EVERY).await;
    }
    for desk in desks {
        let call = desk.phone.next_call(TALKS_STAND_MS).await?;
        call.wait_answered(TALKS_STAND_MS).await?;
        streams.push(call.rtp().clone());
    }
    for call in &talks {
        call.wait_answered(TALKS_STAND_MS).await?;
        streams.push(call.rtp().clone());
    }
    tokio::time::sleep(STEADY).await;
    let id = process_id(gateway)?;
    let gap_before = metric(gateway, "hotline_recording_gap_ms_total").await?;
    let (figures, shares) = measure(&format!("round {round}  gateway"), id, &streams, options).await?;
    let gap_ms = metric(gateway, "hotline_recording_gap_ms_total").await? - gap_before;
    note(&format!("CPU by thread: {shares}; recording gaps {gap_ms} ms"));
    for call in &talks {
        call.hang_up().await?;
    }
    until("the end of all talks", TALKS_STAND_MS, || async {
        let live = metric(gateway, "hotline_calls_live").await.ok()?;
        (live < 0.5).then_some(())
    })
    .await?;
    Ok(figures)
}

/// Watches process `id` for the hold time while `streams` talk through it; prints the row.
async fn measure(name: &str, id: u32, streams: &[RtpStream], options: &Options) -> Result<(Figures, String)> {
    let sent = || streams.iter().map(RtpStream::packets_sent).sum::<u64>();
    for stream in streams {
        stream.clear_heard();
    }
    let sent_before = sent();
    let (before, started) = (Cpu::of(id)?, Instant::now());
    tokio::time::sleep(Duration::from_secs(options.hold_s.into())).await;
    let (after, elapsed) = (Cpu::of(id)?, started.elapsed());
    let sent = sent() - sent_before;
    let heard = Arrivals::of(streams);
    let used_ms = f64::from(u32::try_from(after.since_ms(&before)).unwrap_or(u32::MAX));
    let call_minutes = f64::from(options.calls) * elapsed.as_secs_f64() / 60.0;
    let cpu_ms_per_call_minute = used_ms / call_minutes;
    let percent = |part: u64, whole: u64| 100.0 * part as f64 / whole.max(1) as f64;
    row(&[
        name.to_owned(),
        format!("{cpu_ms_per_call_minute:.1}"),
        sent.to_string(),
        format!("{:.2}", percent(heard.packets, sent)),
        format!("{:.2}", percent(heard.late, heard.packets)),
        format!("{:.1}", heard.gap_p99_ms),
    ]);
    Ok((Figures { cpu_ms_per_call_minute }, after.shares_since(&before)))
}

/// What arrived at all streams.
struct Arrivals {
    packets: u64,
    late: u64,
    gap_p99_ms: f64,
}

impl Arrivals {
    fn of(streams: &[RtpStream]) -> Self {
        let mut gaps_ms: Vec<f64> = Vec::new();
        let (mut packets, mut late) = (0, 0);
        for stream in streams {
            let heard = stream.heard();
            packets += heard.packets.len() as u64;
            for pair in heard.packets.windows(2) {
                let gap = pair[1].at.saturating_duration_since(pair[0].at);
                late += u64::from(gap >= LATE);
                gaps_ms.push(gap.as_secs_f64() * 1_000.0);
            }
        }
        gaps_ms.sort_by(f64::total_cmp);
        let at = gaps_ms.len().saturating_sub(1) * 99 / 100;
        Self { packets, late, gap_p99_ms: gaps_ms.get(at).copied().unwrap_or(0.0) }
    }
}

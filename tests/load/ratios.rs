//! The table of ratios: what a call costs beside a bare relay and beside rtpengine, how many calls are carried
//! without a late packet, and what a bad disk and a busy machine do to them. Sides are taken in turn.

use std::process::Command;

use hotline_tests::{Error, Process, Result};

use crate::callgen::{self, Figures, Load};
use crate::options::Options;
use crate::process::Cpu;
use crate::profile::Bench;
use crate::report::{Goal, Report, progress};
use crate::rivals::Rivals;
use crate::stall;

/// Calls at which the load beyond the goal is tried.
const BEYOND: [u32; 4] = [700, 800, 900, 1_000];
/// Calls of the disk's stall and of the busy machine.
const STALL_CALLS: u32 = 200;
const BUSY_CALLS: u32 = 100;
/// Short calls and how fast they come.
const SHORT_CALLS: u32 = 3_000;
const SHORT_CPS: u32 = 200;
/// Operators made ready in a second.
const OPERATORS_S: u32 = 12;
/// Between two measurements: the gateway ends its calls and files.
const BETWEEN_S: u32 = 4;

/// How much is measured.
struct Plan {
    levels: &'static [u32],
    beyond: &'static [u32],
    pairs: u32,
    window_s: u32,
    others: bool,
}

impl Plan {
    fn of(options: &Options) -> Self {
        if options.quick {
            let (levels, beyond) = (&[100, 600][..], &[][..]);
            Self { levels, beyond, pairs: options.rounds.unwrap_or(1), window_s: 8, others: false }
        } else {
            let (levels, beyond) = (&[100, 200, 600][..], &BEYOND[..]);
            Self { levels, beyond, pairs: options.rounds.unwrap_or(3), window_s: 12, others: true }
        }
    }

    fn most_calls(&self) -> u32 {
        self.levels.iter().chain(self.beyond).copied().max().unwrap_or(0)
    }

    /// Rough length of all of it, seconds.
    fn length_s(&self) -> u32 {
        let one = |calls: u32| Load::new("w2", calls, self.window_s).run_s() + BETWEEN_S;
        let sides =
            self.levels.iter().map(|calls| self.pairs * (2 * one(*calls) + self.window_s + BETWEEN_S)).sum::<u32>();
        let prompts = self.pairs * one(100) * if self.others { 3 } else { 1 };
        let rest = self.beyond.iter().map(|calls| one(*calls)).sum::<u32>() + 45 + one(BUSY_CALLS) + 20;
        sides + prompts + rest + self.most_calls() / OPERATORS_S
    }
}

/// The run's state.
struct Run {
    bench: Bench,
    rivals: Rivals,
    plan: Plan,
    report: Report,
}

pub(crate) async fn run(options: &Options) -> Result<()> {
    let plan = Plan::of(options);
    let rivals = Rivals::find();
    progress(&format!("about {} min", plan.length_s().div_ceil(60)));
    for (there, what) in [(rivals.has_relay(), "iobench bridge"), (rivals.has_proxy(), "rtpengine")] {
        if !there {
            progress(&format!("{what} isn't here: left out (ops/install --bench, HOTLINE_BENCH_DIR)"));
        }
    }
    if callgen::program().is_none() {
        let remedy = "HOTLINE_BENCH_DIR names the folder with its sources; ops/bench/run builds it".into();
        return Err(Error::Missing { program: "callgen".into(), remedy });
    }
    let bench = Bench::open(plan.most_calls()).await?;
    let mut run = Run { bench, rivals, plan, report: Report::default() };
    let mut late = Vec::new();
    for &calls in run.plan.levels {
        if calls >= 600 {
            // Memory is that of a process that has carried nothing yet.
            run.bench.restart().await?;
        }
        late.push(run.level(calls).await?);
        if calls == 100 {
            run.prompts(calls).await?;
        }
    }
    run.carried(late).await?;
    run.short_calls().await?;
    run.busy().await?;
    run.stalled().await?;
    println!("{}", run.report.table());
    Ok(())
}

impl Run {
    /// One run of the gateway, from quiet to quiet.
    async fn ours(&mut self, load: &Load) -> Result<Figures> {
        self.bench.ready().await?;
        let id = self.bench.id()?;
        let before = Cpu::of(id)?;
        let figures = callgen::gateway(load, id).await?;
        let after = Cpu::of(id)?;
        let shares = after.shares_since(&before);
        let (user, calls) = (load.user, load.calls);
        progress(&if load.media {
            format!(
                "{user} {calls} calls: {:.1} CPU ms/call-minute, {:.0} % of a core, {:.3} % late, longest gap {:.0} ms, \
                 driver {:.0} ms behind; set-up p95 {:.1} ms; by thread, set-up and end too: {shares}",
                figures.cpu_ms,
                figures.core,
                figures.late_percent(),
                figures.max_gap_ms,
                figures.driver_lag_ms,
                figures.setup_p95_ms
            )
        } else {
            format!("{user} {calls} calls: {:.2} CPU ms a call; by thread: {shares}", figures.call_ms)
        });
        if figures.answered < f64::from(load.calls) {
            progress(&format!("only {} of {} calls were answered", figures.answered, load.calls));
        }
        self.bench.quiet().await?;
        Ok(figures)
    }

    /// The recorded bridge beside both yardsticks.
    async fn level(&mut self, calls: u32) -> Result<(u32, Vec<Figures>)> {
        let (mut seen, mut relay, mut proxy) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.plan.pairs {
            let ours = self.ours(&Load::new("w2", calls, self.plan.window_s)).await?;
            let theirs = self.rivals.bare_relay(calls, self.plan.window_s).await?;
            progress(&format!("iobench bridge {calls} calls: {theirs:.1} CPU ms/call-minute"));
            relay.push((ours.cpu_ms, theirs));
            if let Some(theirs) = self.rivals.proxy(calls, self.plan.window_s).await? {
                progress(&format!(
                    "rtpengine {calls} calls: {:.1} CPU ms/call-minute, {:.3} % late",
                    theirs.cpu_ms,
                    theirs.late_percent()
                ));
                proxy.push((ours.cpu_ms, theirs.cpu_ms));
            }
            seen.push(ours);
        }
        self.report.pairs("recorded bridge : `iobench bridge`, CPU ms/call-minute", calls, &relay, Goal::AtMost(1.5));
        self.report.pairs("recorded bridge : rtpengine unrecorded", calls, &proxy, Goal::AtMost(0.7));
        Ok((calls, seen))
    }

    /// Answer, prompt and recording beside the recorded bridge; the unrecorded kinds for information.
    async fn prompts(&mut self, calls: u32) -> Result<()> {
        let window_s = self.plan.window_s;
        let (mut prompt, mut prompt_plain, mut bridge_plain) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.plan.pairs {
            let bridge = self.ours(&Load::new("w2", calls, window_s)).await?.cpu_ms;
            prompt.push((self.ours(&Load::new("w1", calls, window_s)).await?.cpu_ms, bridge));
            if self.plan.others {
                prompt_plain.push((self.ours(&Load::new("w1n", calls, window_s)).await?.cpu_ms, bridge));
                bridge_plain.push((self.ours(&Load::new("w2n", calls, window_s)).await?.cpu_ms, bridge));
            }
        }
        self.report.pairs("prompt and recording : recorded bridge", calls, &prompt, Goal::AtMost(0.5));
        if self.plan.others {
            self.report.pairs("prompt unrecorded : recorded bridge", calls, &prompt_plain, Goal::None);
            self.report.pairs("bridge unrecorded : recorded bridge", calls, &bridge_plain, Goal::None);
        }
        Ok(())
    }

    /// Memory, threads and late packets, and how many calls are carried.
    async fn carried(&mut self, late: Vec<(u32, Vec<Figures>)>) -> Result<()> {
        let mut threads = Vec::new();
        for (calls, seen) in &late {
            threads.extend(seen.iter().map(|f| f.threads));
            if *calls >= 600
                && let Some(first) = seen.first()
            {
                let (kib, answered) = (first.kib, first.answered);
                let beside = format!("{answered} calls on a fresh process");
                self.report.value("memory per recorded bridge", *calls, (kib, " KiB"), beside, Goal::AtMost(100.0));
            }
        }
        let (least, most) = threads.iter().copied().fold((f64::INFINITY, 0.0), |(l, h), t| (t.min(l), t.max(h)));
        let levels: Vec<String> = late.iter().map(|(calls, _)| calls.to_string()).collect();
        self.report.value(
            "threads: growth over the levels",
            late.last().map_or(0, |(calls, _)| *calls),
            (most - least, ""),
            format!("{least} to {most} at {} calls", levels.join(", ")),
            Goal::AtMost(0.0),
        );
        for (calls, seen) in &late {
            let goal = if *calls >= 600 { Goal::Below(0.1) } else { Goal::None };
            self.late_row("late packets, recorded bridges", *calls, seen, goal);
        }
        for &calls in self.plan.beyond {
            let seen = [self.ours(&Load::new("w2", calls, self.plan.window_s)).await?];
            self.late_row("late packets, recorded bridges", calls, &seen, Goal::Below(0.1));
        }
        Ok(())
    }

    fn late_row(&mut self, what: &str, calls: u32, seen: &[Figures], goal: Goal) {
        let sum = |pick: fn(&Figures) -> f64| seen.iter().map(pick).sum::<f64>();
        let most = |pick: fn(&Figures) -> f64| seen.iter().map(pick).fold(0.0, f64::max);
        let late = 100.0 * sum(|f| f.late) / sum(|f| f.packets).max(1.0);
        let beside = format!(
            "{} of {} packets, {} lost, longest gap {:.0} ms; gateway {:.0} % of a core, driver {:.0} ms behind",
            sum(|f| f.late),
            sum(|f| f.packets),
            sum(|f| f.lost),
            most(|f| f.max_gap_ms),
            most(|f| f.core),
            most(|f| f.driver_lag_ms)
        );
        self.report.value(what, calls, (late, " %"), beside, goal);
    }

    /// Set-up and hang-up alone.
    async fn short_calls(&mut self) -> Result<()> {
        // Not held over a window: the whole run is what counts.
        let load = Load { cps: SHORT_CPS, media: false, short_s: Some(1), ..Load::new("w3", SHORT_CALLS, 1) };
        let figures = self.ours(&load).await?;
        let beside = format!(
            "CPU per call from INVITE to its last row; answer p50 {:.1} ms, p95 {:.1} ms; {} answered",
            figures.setup_p50_ms, figures.setup_p95_ms, figures.answered
        );
        self.report.value("set-up and hang-up", SHORT_CALLS, (figures.call_ms, " ms"), beside, Goal::None);
        Ok(())
    }

    /// Both processors saturated by programs of the lowest priority.
    async fn busy(&mut self) -> Result<()> {
        let dir = tempfile::TempDir::with_prefix("busy-").map_err(Error::io("temp dir"))?;
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        let mut spinning = Vec::new();
        for n in 0..processors {
            let mut command = Command::new("nice");
            command.args(["-n", "19", "sh", "-c", "while :; do :; done"]);
            spinning.push(Process::start("nice", &mut command, &dir.path().join(format!("{n}.log")))?);
        }
        let seen = [self.ours_among(&Load::new("w2", BUSY_CALLS, self.plan.window_s)).await?];
        drop(spinning);
        self.bench.quiet().await?;
        let what = format!("late packets, {processors} processors saturated at nice 19");
        self.late_row(&what, BUSY_CALLS, &seen, Goal::Below(0.5));
        Ok(())
    }

    /// As [`Run::ours`] without waiting for quiet, which doesn't come beside a busy program.
    async fn ours_among(&mut self, load: &Load) -> Result<Figures> {
        self.bench.ready().await?;
        callgen::gateway(load, self.bench.id()?).await
    }

    async fn stalled(&mut self) -> Result<()> {
        let what = format!("late packets, disk frozen for {} s", stall::STALL.as_secs());
        if let Some(why) = stall::missing() {
            self.report.value(&what, STALL_CALLS, (f64::NAN, " %"), why, Goal::AtMost(0.0));
            return Ok(());
        }
        let seen = stall::run(&mut self.bench, STALL_CALLS).await?;
        let (gap_s, (shortest, longest)) = (seen.gap_ms / 1_000.0, seen.lengths_s);
        progress(&format!(
            "{} recordings of {shortest:.2} to {longest:.2} s; {gap_s:.1} s of audio marked as gaps",
            seen.files
        ));
        self.late_row(&what, STALL_CALLS, &[seen.figures], Goal::AtMost(0.0));
        let beside =
            format!("{} files of {shortest:.2} to {longest:.2} s; {} rows name their gap", seen.files, seen.marked);
        self.report.value("… recorded audio lost over all calls", STALL_CALLS, (gap_s, " s"), beside, Goal::None);
        Ok(())
    }
}

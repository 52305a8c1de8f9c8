//! `callgen`, the driver of all sides: its command line, and what it says.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use hotline_tests::{Error, Result};

/// SIP target of the gateway.
const TARGET: &str = "127.0.0.1:5060";
/// New calls a second.
const CPS: u32 = 50;
/// From the last call's start to the measured window, seconds.
const WARM_S: u32 = 2;
/// The window ends so long before the first call does, seconds.
const END_S: u32 = 1;

/// One run.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// User part, `w1` …; for the media proxy unused.
    pub(crate) user: &'static str,
    pub(crate) calls: u32,
    pub(crate) cps: u32,
    /// Length of the measured window, seconds.
    pub(crate) window_s: u32,
    pub(crate) media: bool,
    /// Length of each call where it isn't held over the window, seconds.
    pub(crate) short_s: Option<u32>,
}

impl Load {
    pub(crate) fn new(user: &'static str, calls: u32, window_s: u32) -> Self {
        // Many calls begin faster, or the run would be mostly ramp.
        Self { user, calls, cps: CPS.max(calls / 6), window_s, media: true, short_s: None }
    }

    /// Time from start to the first call's end, seconds.
    fn hold_s(&self) -> u32 {
        self.short_s.unwrap_or(self.calls.div_ceil(self.cps) + WARM_S + self.window_s + END_S)
    }

    /// How long it takes, seconds.
    pub(crate) fn run_s(&self) -> u32 {
        self.hold_s() + self.calls.div_ceil(self.cps) + 1
    }

    fn arguments(&self, id: u32) -> Vec<String> {
        let numbers = [
            ("--calls", self.calls),
            ("--cps", self.cps),
            ("--hold", self.hold_s()),
            ("--warm", WARM_S),
            ("--pid", id),
        ];
        numbers.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value.to_string()]).collect()
    }
}

/// What a run showed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Figures {
    /// CPU of the side measured in the window, ms per call-minute.
    pub(crate) cpu_ms: f64,
    /// Share of one core in the window, percent.
    pub(crate) core: f64,
    /// Resident memory over that before the first call, KiB per call.
    pub(crate) kib: f64,
    pub(crate) threads: f64,
    pub(crate) answered: f64,
    pub(crate) up: f64,
    pub(crate) setup_p50_ms: f64,
    pub(crate) setup_p95_ms: f64,
    /// CPU of the whole run per call, ms.
    pub(crate) call_ms: f64,
    pub(crate) packets: f64,
    pub(crate) lost: f64,
    /// Packets more than 40 ms after the one before.
    pub(crate) late: f64,
    pub(crate) max_gap_ms: f64,
    pub(crate) driver_lag_ms: f64,
}

impl Figures {
    /// Late packets, percent.
    pub(crate) fn late_percent(&self) -> f64 {
        100.0 * self.late / self.packets.max(1.0)
    }

    fn read(text: &str) -> Self {
        let after = |mark: &str| number_after(text, mark);
        let before = |mark: &str| number_before(text, mark);
        Self {
            cpu_ms: before(" CPU ms per call-minute"),
            core: before("% of a core"),
            kib: before(" KB/call over start"),
            threads: after("over start), threads "),
            answered: after(" answered "),
            up: after("up at end of window: "),
            setup_p50_ms: after("set-up ms p50 "),
            setup_p95_ms: after("p95 "),
            call_ms: before(" ms/call;"),
            packets: after(" got "),
            lost: after(" lost "),
            late: after("gaps>40ms "),
            max_gap_ms: after("max gap "),
            driver_lag_ms: after("driver lag at end "),
        }
    }
}

/// The built program, from the environment.
pub(crate) fn program() -> Option<PathBuf> {
    std::env::var_os("HOTLINE_CALLGEN").map(PathBuf::from).filter(|path| path.is_file())
}

/// Runs it against the gateway's process `id`.
pub(crate) async fn gateway(load: &Load, id: u32) -> Result<Figures> {
    let mut arguments = load.arguments(id);
    arguments.extend(["--target", TARGET, "--user", load.user].map(str::to_owned));
    if load.user.starts_with("w2") {
        arguments.extend(["--uas", "5090"].map(str::to_owned));
    }
    if !load.media {
        arguments.push("--no-media".into());
    }
    run(arguments).await
}

/// Runs it against a media proxy at `control`, process `id`.
pub(crate) async fn proxy(load: &Load, id: u32, control: &str) -> Result<Figures> {
    let mut arguments = load.arguments(id);
    arguments.extend(["--ng", control].map(str::to_owned));
    run(arguments).await
}

async fn run(arguments: Vec<String>) -> Result<Figures> {
    let program = program().ok_or_else(|| Error::Missing {
        program: "callgen".into(),
        remedy: "ops/bench/run builds it from HOTLINE_BENCH_DIR".into(),
    })?;
    let shown = arguments.join(" ");
    let ran = tokio::task::spawn_blocking(move || Command::new(program).args(arguments).stdin(Stdio::null()).output());
    let output: Output =
        ran.await.map_err(|e| Error::Sip(format!("callgen: {e}")))?.map_err(Error::io(format!("callgen {shown}")))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if std::env::var_os("HOTLINE_BENCH_VERBOSE").is_some() {
        eprintln!("callgen {shown}\n{text}");
    }
    if output.status.success() && text.contains("peer cpu whole run ") {
        return Ok(Figures::read(&text));
    }
    Err(Error::Process {
        program: format!("callgen {shown}"),
        detail: format!("ended with {} and measured nothing", output.status),
        log: text + &String::from_utf8_lossy(&output.stderr),
    })
}

/// The number that follows the first `mark`; NaN without one.
pub(crate) fn number_after(text: &str, mark: &str) -> f64 {
    let rest = text.split_once(mark).map_or("", |(_, rest)| rest);
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-').unwrap_or(rest.len());
    rest[..end].parse().unwrap_or(f64::NAN)
}

/// The number that stands before the first `mark`; NaN without one.
pub(crate) fn number_before(text: &str, mark: &str) -> f64 {
    let head = text.split_once(mark).map_or("", |(head, _)| head);
    let start = head.rfind(|c: char| !c.is_ascii_digit() && c != '.' && c != '-').map_or(0, |at| at + 1);
    head.get(start..).and_then(|number| number.parse().ok()).unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "\
up at end of window: 100 of 100
calls 100 answered 100 failed 0 done 99 bye-from-peer 0 operator-legs 100; set-up ms p50 3.1 p95 9.7 max 20.0
peer cpu whole run 1530 ms = 15.30 ms/call; rss 40.0 -> 52.5 MB
steady 11.0s: peer cpu 900 ms (user 300 sys 600) = 8.2% of a core; 49.1 CPU ms per call-minute; rss 52.0 MB (120 KB/call over start), threads 9; rx 10000 pps
rtp sent 200000 got 199990 lost 3, gaps>40ms 12 (0.006%), >80ms 1, max gap 91 ms, mean jitter 0.20 ms; driver lag at end 2 ms
";

    #[test]
    fn what_callgen_says_is_read() {
        let figures = Figures::read(SAID);
        let expected = Figures {
            cpu_ms: 49.1,
            core: 8.2,
            kib: 120.0,
            threads: 9.0,
            answered: 100.0,
            up: 100.0,
            setup_p50_ms: 3.1,
            setup_p95_ms: 9.7,
            call_ms: 15.3,
            packets: 199_990.0,
            lost: 3.0,
            late: 12.0,
            max_gap_ms: 91.0,
            driver_lag_ms: 2.0,
        };
        assert_eq!(figures, expected);
        assert!((figures.late_percent() - 0.006).abs() < 0.000_1);
    }

    #[test]
    fn a_number_that_is_not_there_is_none() {
        assert!(number_after("a 5", "b ").is_nan());
        assert!(number_before("5 a", " b").is_nan());
        assert!(number_before("x a", " a").is_nan());
    }

    #[test]
    fn a_run_holds_its_calls_over_ramp_and_window() {
        let load = Load::new("w2", 600, 12);
        assert_eq!((load.cps, load.hold_s(), load.run_s()), (100, 6 + 2 + 12 + 1, 28));
        assert_eq!(Load::new("w2", 100, 10).cps, 50);
    }
}

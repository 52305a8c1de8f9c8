//! SIPp as the citizen, or as a phone that is called: one scenario run, its counts and
//! response times.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::net::{TRUNK_IP, free_ports};
use crate::process::{Process, Signal};
use crate::rtp::g711;
use crate::{Error, Result, repo_root, tone};

/// The audio file's name in every scenario: raw A-law in SIPp's working folder.
const AUDIO_FILE: &str = "audio.alaw";
/// Time SIPp gets beyond the calls themselves before its own time limit, seconds; also [`SippConfig`]'s default.
const SPARE_S: u64 = 30;

/// A scenario of this package by name: `citizen`, `abandon`, `setup` … (`tests/sipp`).
#[must_use]
pub fn scenario(name: &str) -> PathBuf {
    repo_root().join("tests/sipp").join(format!("{name}.xml"))
}

/// One SIPp run.
#[derive(Clone, Debug)]
pub struct SippConfig {
    /// XML file; see [`scenario`].
    pub scenario: PathBuf,
    /// Whom it calls.
    pub target: SocketAddr,
    /// Address it lives on; the default lies in the trunk network.
    pub ip: IpAddr,
    /// Its SIP port; 0 takes a free one.
    pub port: u16,
    /// Number it dials.
    pub number: String,
    /// Calls in all.
    pub calls: u32,
    /// New calls a second.
    pub rate: u32,
    /// Calls at once.
    pub calls_at_once_max: u32,
    /// Time between the answer and the BYE, milliseconds.
    pub talk_ms: u64,
    /// True for TCP.
    pub tcp: bool,
    /// What it says, 8 kHz; repeated for ever. Default: a sine of 440 Hz.
    pub audio: Vec<i16>,
    /// Values of `[name]` in the scenario (`-key`).
    pub keys: Vec<(String, String)>,
    /// Datagrams it loses in both directions, per cent (`-lost`).
    pub loss_percent: u8,
    /// False (`-nr`) sends nothing twice and shows the scenario every repeated message.
    pub retransmits: bool,
    /// Time it may take beyond the calls themselves, seconds.
    pub spare_s: u64,
}

impl SippConfig {
    /// One call to 12319 that says 440 Hz and hangs up after `talk_ms`.
    #[must_use]
    pub fn citizen(target: SocketAddr, talk_ms: u64) -> Self {
        Self {
            scenario: scenario("citizen"),
            target,
            ip: TRUNK_IP,
            port: 0,
            number: "12319".into(),
            calls: 1,
            rate: 1,
            calls_at_once_max: 1,
            talk_ms,
            tcp: false,
            audio: tone::sine(440.0, -16.0, 10_000, tone::RATE_HZ),
            keys: Vec::new(),
            loss_percent: 0,
            retransmits: true,
            spare_s: SPARE_S,
        }
    }

    /// As [`SippConfig::citizen`] with another scenario of this package.
    #[must_use]
    pub fn scenario(target: SocketAddr, name: &str, pause_ms: u64) -> Self {
        Self { scenario: scenario(name), ..Self::citizen(target, pause_ms) }
    }
}

/// A finished run.
#[derive(Clone, Debug)]
pub struct SippReport {
    /// Calls that went as the scenario says.
    pub successful: u64,
    /// The others.
    pub failed: u64,
    /// Retransmissions SIPp sent.
    pub retransmissions: u64,
    /// INVITE to 200, milliseconds, sorted.
    pub answer_ms: Vec<f64>,
    /// What SIPp found unexpected.
    pub errors: String,
}

impl SippReport {
    /// The value below which `percent` of the answers came, milliseconds.
    #[must_use]
    pub fn answer_ms_percentile(&self, percent: usize) -> Option<f64> {
        let last = self.answer_ms.len().checked_sub(1)?;
        self.answer_ms.get(last * percent.min(100) / 100).copied()
    }
}

/// A running SIPp.
#[derive(Debug)]
pub struct Sipp {
    process: Process,
    dir: TempDir,
    time_limit_s: u64,
}

impl Sipp {
    /// Starts SIPp in a folder of its own.
    ///
    /// # Errors
    /// [`Error::Missing`] without SIPp, [`Error::Io`].
    pub fn start(config: &SippConfig) -> Result<Self> {
        let program = super::program("sipp")?;
        let dir = TempDir::with_prefix("sipp-").map_err(Error::io("temp dir for SIPp"))?;
        write_alaw(&dir.path().join(AUDIO_FILE), &config.audio)?;
        let starting_s = u64::from(config.calls / config.rate.max(1));
        let time_limit_s = starting_s + config.talk_ms / 1_000 + config.spare_s;
        let port = if config.port == 0 { free_ports(config.ip, 2)? } else { config.port };
        let media_port = free_ports(config.ip, 2)?;
        let mut command = Command::new(program);
        command
            .current_dir(dir.path())
            .arg(config.target.to_string())
            .arg("-sf")
            .arg(&config.scenario)
            .args(["-s", &config.number, "-i", &config.ip.to_string(), "-p", &port.to_string()])
            .args(["-mi", &config.ip.to_string(), "-mp", &media_port.to_string()])
            .args(["-m", &config.calls.to_string(), "-r", &config.rate.to_string()])
            .args(["-l", &config.calls_at_once_max.to_string()])
            .args(["-d", &config.talk_ms.to_string(), "-t", if config.tcp { "t1" } else { "u1" }])
            .args(["-timeout", &format!("{time_limit_s}s"), "-timeout_error", "-nostdin"])
            .args(["-trace_stat", "-stf", "stat.csv", "-fd", "1"])
            .args(["-trace_rtt", "-rtt_freq", "1"])
            .args(["-trace_err", "-error_file", "errors.log"]);
        if !config.retransmits {
            command.arg("-nr");
        }
        if config.loss_percent > 0 {
            command.args(["-lost", &config.loss_percent.to_string()]);
        }
        for (name, value) in &config.keys {
            command.args(["-key", name, value]);
        }
        let process = Process::start("sipp", &mut command, &dir.path().join("screen.log"))?;
        Ok(Self { process, dir, time_limit_s })
    }

    /// Waits for the end and reads the counts. A call that failed is in the report,
    /// not an error.
    ///
    /// # Errors
    /// [`Error::Process`] when SIPp didn't run at all.
    pub async fn wait(mut self) -> Result<SippReport> {
        let status = self.process.wait((self.time_limit_s + SPARE_S) * 1_000).await?;
        let report = self.report();
        // 0: all well, 1: a call failed; anything else: it couldn't run.
        if matches!(status.code(), Some(0 | 1)) && report.successful + report.failed > 0 {
            return Ok(report);
        }
        Err(self.process.failed(format!("ended with {status}; {}", report.errors)))
    }

    /// Waits for the end and demands that every call went well.
    ///
    /// # Errors
    /// [`Error::Process`] with SIPp's own words when one didn't.
    pub async fn wait_successful(self) -> Result<SippReport> {
        let report = self.wait().await?;
        if report.failed == 0 {
            return Ok(report);
        }
        let detail = format!("{} of the calls failed", report.failed);
        Err(Error::Process { program: "sipp".into(), detail, log: report.errors })
    }

    /// Asks SIPp to start no more calls and end when the running ones are over.
    ///
    /// # Errors
    /// [`Error::Process`] when it is gone.
    pub fn finish(&mut self) -> Result<()> {
        self.process.signal(Signal::Usr1)
    }

    fn report(&self) -> SippReport {
        let read = |name: &str| {
            let bytes = std::fs::read(self.dir.path().join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let stat = read("stat.csv");
        let value = |column: &str| last_value(&stat, column).unwrap_or(0);
        let mut answer_ms = response_times(self.dir.path());
        answer_ms.sort_by(f64::total_cmp);
        SippReport {
            successful: value("SuccessfulCall(C)"),
            failed: value("FailedCall(C)"),
            retransmissions: value("Retransmissions(C)"),
            answer_ms,
            errors: crate::process::tail(&read("errors.log"), crate::limits::LOG_TAIL_BYTES),
        }
    }
}

/// Writes raw A-law, as SIPp's `rtp_stream` plays it.
///
/// # Errors
/// [`Error::Io`].
pub fn write_alaw(path: &Path, samples: &[i16]) -> Result<()> {
    let bytes = g711::encode(samples, 8);
    std::fs::write(path, bytes).map_err(Error::io(format!("write {}", path.display())))
}

/// The last row's value of a column in SIPp's statistics.
fn last_value(csv: &str, column: &str) -> Option<u64> {
    let mut lines = csv.lines();
    let index = lines.next()?.split(';').position(|name| name == column)?;
    lines.last()?.split(';').nth(index)?.trim().parse().ok()
}

/// All rows of `*_rtt.csv`: date; response time; name.
fn response_times(dir: &Path) -> Vec<f64> {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    files
        .filter(|path| path.to_string_lossy().ends_with("_rtt.csv"))
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .flat_map(|text| {
            let rows = text.lines().skip(1);
            rows.filter_map(|row| row.split(';').nth(1)?.trim().parse().ok()).collect::<Vec<f64>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_row_of_the_statistics_counts() {
        let csv = "A;FailedCall(C);B\n1;2;3\n4;5;6\n";
        assert_eq!(last_value(csv, "FailedCall(C)"), Some(5));
        assert_eq!(last_value(csv, "Nothing"), None);
        assert_eq!(last_value("", "A"), None);
    }

    #[test]
    fn percentiles_of_nothing_are_nothing() {
        let mut report =
            SippReport { successful: 0, failed: 0, retransmissions: 0, answer_ms: Vec::new(), errors: String::new() };
        assert_eq!(report.answer_ms_percentile(50), None);
        report.answer_ms = (0..=100).map(f64::from).collect();
        assert_eq!(report.answer_ms_percentile(95), Some(95.0));
    }
}

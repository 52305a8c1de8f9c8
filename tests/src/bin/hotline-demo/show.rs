//! What the person at the terminal sees: one line per step, written when it has happened.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a demonstration speaks to a terminal")]

use std::future::Future;
use std::io::{IsTerminal, Write, stdout};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hotline_tests::{Error, Result};

/// The site's clock, UTC+8: the same times as in `hotline show`.
const UTC_OFFSET_S: u64 = 8 * 3_600;
/// The running line of a terminal is redrawn so often.
const REDRAW_MS: u64 = 250;
/// Without a terminal a step that takes longer is announced once.
const ANNOUNCE_AFTER_MS: u64 = 15_000;

/// A step that didn't happen.
#[derive(Debug)]
pub(crate) struct Failed {
    number: usize,
    name: String,
    why: Error,
}

/// The steps so far.
pub(crate) struct Show {
    total: usize,
    number: usize,
    started: Instant,
    terminal: bool,
}

impl Show {
    pub(crate) fn new(total: usize) -> Self {
        Self { total, number: 0, started: Instant::now(), terminal: stdout().is_terminal() }
    }

    pub(crate) fn line(&self, text: &str) {
        println!("{text}");
    }

    /// Awaits `work` for at most `timeout_ms` and ticks the step off with the detail it returns.
    pub(crate) async fn step<T>(
        &mut self,
        zh: &str,
        en: &str,
        timeout_ms: u64,
        work: impl Future<Output = Result<(T, String)>>,
    ) -> std::result::Result<T, Failed> {
        self.number += 1;
        let name = format!("[{:>2}/{}] {zh} / {en}", self.number, self.total);
        match self.watch(&name, timeout_ms, work).await {
            Ok((value, detail)) => {
                println!("{}  ✓ {name}", clock());
                for line in detail.lines() {
                    println!("                 {line}");
                }
                Ok(value)
            }
            Err(why) => Err(Failed { number: self.number, name, why }),
        }
    }

    /// The wait itself, with something moving meanwhile.
    async fn watch<T>(&self, name: &str, timeout_ms: u64, work: impl Future<Output = Result<T>>) -> Result<T> {
        let began = Instant::now();
        let mut announced = false;
        let mut ticks = tokio::time::interval(Duration::from_millis(REDRAW_MS));
        let deadline = tokio::time::sleep(Duration::from_millis(timeout_ms));
        tokio::pin!(work, deadline);
        let ended = loop {
            tokio::select! {
                ended = &mut work => break ended,
                () = &mut deadline => break Err(Error::Timeout { what: "本步骤 / this step".into(), after_ms: timeout_ms }),
                _ = ticks.tick() => {}
            }
            if self.terminal {
                print!("\r\x1b[2K{}  … {name} ({} s)", clock(), began.elapsed().as_secs());
                // A terminal that went away is no reason to stop.
                let _ = stdout().flush();
            } else if !announced && began.elapsed() >= Duration::from_millis(ANNOUNCE_AFTER_MS) {
                announced = true;
                println!("{}  … {name}", clock());
            }
        };
        if self.terminal {
            print!("\r\x1b[2K");
            let _ = stdout().flush();
        }
        ended
    }

    /// Says which step failed, why, and where to look.
    pub(crate) fn failure(&self, failed: &Failed, log: &str) {
        println!("{}  ✗ {}", clock(), failed.name);
        println!();
        eprintln!("第 {} 步失败 / step {} failed: {}", failed.number, failed.number, failed.name);
        eprintln!("  原因 / why: {}", plain(&failed.why));
        eprintln!("  网关日志 / the gateway's log: {log}");
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.number == self.total
    }

    pub(crate) fn total(&self) -> usize {
        self.total
    }

    pub(crate) fn elapsed_s(&self) -> u64 {
        self.started.elapsed().as_secs()
    }
}

/// The error's text; a judgement of the demonstration itself has no program's log.
pub(crate) fn plain(error: &Error) -> String {
    match error {
        Error::Process { detail, log, .. } if log.is_empty() => detail.clone(),
        other => other.to_string(),
    }
}

/// To the error stream.
pub(crate) fn complain(text: &str) {
    eprintln!("{text}");
}

/// `HH:MM:SS.mmm` in UTC+8.
fn clock() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let of_day = (now.as_secs() + UTC_OFFSET_S) % 86_400;
    let (h, m, s) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{h:02}:{m:02}:{s:02}.{:03}", now.subsec_millis())
}

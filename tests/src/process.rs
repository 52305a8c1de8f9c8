//! Child processes with their output in a file, stopped when dropped.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::limits::{LOG_TAIL_BYTES, STOP_GRACE_MS};
use crate::{Error, Result};

/// The signals a test sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Ask to end (SIGTERM).
    Term,
    /// Ask to end, as Ctrl-C does (SIGINT).
    Int,
    /// Freeze (SIGSTOP).
    Stop,
    /// Thaw (SIGCONT).
    Cont,
    /// SIGUSR1: SIPp ends gracefully on it.
    Usr1,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Term => "TERM",
            Self::Int => "INT",
            Self::Stop => "STOP",
            Self::Cont => "CONT",
            Self::Usr1 => "USR1",
        }
    }
}

/// A running child. Dropping it kills the child and collects it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with no input, both outputs appended to the file `log`.
    ///
    /// # Errors
    /// [`Error::Missing`] when the program isn't installed, [`Error::Io`] otherwise.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        Self::spawn(name, command.stdin(Stdio::null()), log)
    }

    /// As [`Process::start`] for a program that is spoken to by [`Process::say`].
    ///
    /// # Errors
    /// As [`Process::start`].
    pub fn start_listening(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        Self::spawn(name, command.stdin(Stdio::piped()), log)
    }

    fn spawn(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let open = || {
            File::options()
                .create(true)
                .append(true)
                .open(log)
                .map_err(Error::io(format!("open log {}", log.display())))
        };
        command.stdout(open()?).stderr(open()?);
        let child = command.spawn().map_err(|source| {
            if source.kind() == std::io::ErrorKind::NotFound {
                Error::Missing { program: name.into(), remedy: "run ops/install --test".into() }
            } else {
                Error::Io { what: format!("start {name}"), source }
            }
        })?;
        Ok(Self { name: name.into(), child, log: log.into() })
    }

    /// Writes a line to its input.
    ///
    /// # Errors
    /// [`Error::Process`] when it was started without input or doesn't read any more.
    pub fn say(&mut self, line: &str) -> Result<()> {
        let written = self.child.stdin.as_mut().map(|input| writeln!(input, "{line}"));
        match written {
            Some(Ok(())) => Ok(()),
            _ => Err(self.failed(format!("doesn't listen to `{line}`"))),
        }
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The whole log so far, invalid bytes replaced.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The end of the log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        tail(&self.log(), LOG_TAIL_BYTES)
    }

    /// The exit status, if the child has ended.
    pub fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// True while the child runs.
    pub fn is_running(&mut self) -> bool {
        self.status().is_none()
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// [`Error::Process`] when the child is gone.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if !self.is_running() {
            return Err(self.failed(format!("is gone, no SIG{} sent", signal.name())));
        }
        // The shell's own `kill`: no unsafe call and no extra package.
        let line = format!("kill -{} {}", signal.name(), self.child.id());
        let sent = Command::new("sh").args(["-c", &line]).status().map_err(Error::io("kill"))?;
        if sent.success() { Ok(()) } else { Err(self.failed(format!("`{line}` failed"))) }
    }

    /// Ends the child at once with SIGKILL and collects it.
    pub fn kill9(&mut self) {
        // Both fail only when the child is already gone, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for the end, looking every 10 ms.
    ///
    /// # Errors
    /// [`Error::Timeout`] when it still runs after `timeout_ms`; it is left running.
    pub async fn wait(&mut self, timeout_ms: u64) -> Result<ExitStatus> {
        let deadline = Instant::now() + crate::wait::patient(timeout_ms);
        loop {
            if let Some(status) = self.status() {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                let what = format!("end of {}", self.name);
                return Err(Error::Timeout { what, after_ms: timeout_ms });
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// SIGTERM, then SIGKILL after a grace of 5 s. Blocks; meant for `Drop`.
    pub fn stop(&mut self) {
        if self.signal(Signal::Term).is_ok() {
            let deadline = Instant::now() + Duration::from_millis(STOP_GRACE_MS);
            while self.is_running() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        self.kill9();
    }

    /// An [`Error::Process`] that carries the end of the log.
    #[must_use]
    pub fn failed(&self, detail: impl Into<String>) -> Error {
        Error::Process { program: self.name.clone(), detail: detail.into(), log: self.log_tail() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// The last `bytes` of `text`, cut at a character.
pub(crate) fn tail(text: &str, bytes: usize) -> String {
    let mut start = text.len().saturating_sub(bytes);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text[start..].to_owned()
}

//! Starts, feeds, watches and kills the child.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use super::protocol::{FaultKind, Reply, Request, line, parse};
use crate::config::Config;
use crate::limits;
use crate::segment::Transcript;

/// How the child is started.
#[derive(Debug, Clone)]
pub struct WorkerCommand {
    /// The program.
    pub exe: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Additional environment.
    pub env: Vec<(String, String)>,
}

impl WorkerCommand {
    /// `<exe> transcribe-worker`.
    #[must_use]
    pub fn hotline(exe: PathBuf) -> Self {
        Self { exe, args: vec!["transcribe-worker".into()], env: Vec::new() }
    }
}

/// Why a recording has no transcript.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The program can't be started.
    #[error("{exe} can't be started: {source}")]
    Spawn {
        /// The program.
        exe: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The child ended or was killed by the system.
    #[error("the transcription worker died ({status}): {said}")]
    Died {
        /// Exit status.
        status: String,
        /// Its last line on standard error.
        said: String,
    },
    /// The child took too long and was killed.
    #[error("the transcription worker was killed after {ms} ms")]
    Overrun {
        /// The time it had.
        ms: u64,
    },
    /// The child reported a failure.
    #[error("{message}")]
    Fault {
        /// What it means for the job.
        kind: FaultKind,
        /// For people.
        message: String,
    },
}

impl WorkerError {
    /// What the failure means for the job.
    #[must_use]
    pub fn kind(&self) -> FaultKind {
        match self {
            Self::Spawn { .. } => FaultKind::Unavailable,
            Self::Died { .. } | Self::Overrun { .. } => FaultKind::Retry,
            Self::Fault { kind, .. } => *kind,
        }
    }
}

/// One child process and its restarts. Dropping it kills the child.
pub struct Worker {
    command: WorkerCommand,
    cfg: Config,
    child: Option<Running>,
    /// Pause before the next start; 0 while all is well.
    backoff_ms: u64,
    next_id: u64,
}

struct Running {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    /// Lines of standard error that may still be logged, and the last one.
    quota: Arc<AtomicUsize>,
    said: Arc<std::sync::Mutex<String>>,
    served: u32,
}

impl Worker {
    /// Nothing is started before the first request.
    #[must_use]
    pub fn new(command: WorkerCommand, cfg: Config) -> Self {
        Self { command, cfg, child: None, backoff_ms: 0, next_id: 0 }
    }

    /// Transcribes `path`, whose audio lasts `audio_ms`. `progress` gets the
    /// milliseconds done and to do. When this future is dropped half-way, call
    /// [`Worker::kill`]: the child still works on the old request.
    ///
    /// # Errors
    /// [`WorkerError`]; after `Died` and `Overrun` the next call starts a new
    /// child, after a pause that doubles with each death.
    pub async fn transcribe(
        &mut self,
        path: &Path,
        audio_ms: u64,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<Transcript, WorkerError> {
        self.next_id += 1;
        let id = self.next_id;
        // One that died while idle costs no attempt.
        let alive = |mut r: Running| matches!(r.child.try_wait(), Ok(None)).then_some(r);
        let mut running = match self.child.take().and_then(alive) {
            Some(running) => running,
            None => self.start().await?,
        };
        let limit_ms = self.limit_ms(audio_ms);
        running.quota.store(limits::STDERR_LINES_MAX, Ordering::Relaxed);
        let request = line(&Request::Transcribe { id, path: path.into() });
        let work = running.ask(&request, Some(id), progress);
        match tokio::time::timeout(Duration::from_millis(limit_ms), work).await {
            Ok(Some(Reply::Result { transcript, .. })) => {
                self.keep(running);
                Ok(*transcript)
            }
            Ok(Some(Reply::Fault { kind, message, .. })) => {
                // A child that lost its server or model begins anew.
                if kind == FaultKind::Unavailable {
                    running.end().await
                } else {
                    self.keep(running)
                }
                Err(WorkerError::Fault { kind, message })
            }
            Ok(_) => Err(self.died(running).await),
            Err(_) => {
                running.end().await;
                self.grow();
                Err(WorkerError::Overrun { ms: limit_ms })
            }
        }
    }

    /// Ends the child now, if there is one.
    pub async fn kill(&mut self) {
        if let Some(running) = self.child.take() {
            running.end().await;
        }
    }

    /// The child's process id, for tests and operators.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(|r| r.child.id())
    }

    fn limit_ms(&self, audio_ms: u64) -> u64 {
        let factor =
            if self.cfg.timeout_factor.is_finite() { self.cfg.timeout_factor.clamp(0.0, 1_000.0) } else { 0.0 };
        // Far below 2^53: exact enough.
        let share = (audio_ms as f64 * factor) as u64;
        self.cfg.timeout_base_ms.saturating_add(share).max(1)
    }

    fn keep(&mut self, mut running: Running) {
        self.backoff_ms = 0;
        running.served += 1;
        // Dropping kills; native libraries leak a little per request.
        self.child = (running.served < limits::WORKER_REQUESTS_MAX).then_some(running);
    }

    fn grow(&mut self) {
        let doubled = self.backoff_ms.saturating_mul(2);
        self.backoff_ms = doubled.clamp(limits::WORKER_BACKOFF_MS_MIN, limits::WORKER_BACKOFF_MS_MAX);
    }

    async fn died(&mut self, mut running: Running) -> WorkerError {
        self.grow();
        let grace = Duration::from_millis(500);
        let status = match tokio::time::timeout(grace, running.child.wait()).await {
            Ok(Ok(status)) => status.to_string(),
            _ => "it broke the protocol".into(),
        };
        // The reader of standard error may be a moment behind.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let said = running.said.lock().map(|s| s.clone()).unwrap_or_default();
        running.end().await;
        WorkerError::Died { status, said }
    }

    async fn start(&mut self) -> Result<Running, WorkerError> {
        if self.backoff_ms > 0 {
            tokio::time::sleep(Duration::from_millis(self.backoff_ms)).await;
        }
        let mut running = self.spawn()?;
        let request = line(&Request::Configure { config: Box::new(self.cfg.clone()) });
        let limit = Duration::from_millis(limits::WORKER_START_MS_MAX);
        match tokio::time::timeout(limit, running.ask(&request, None, &mut |_, _| {})).await {
            Ok(Some(Reply::Ready { engine, model, vad })) => {
                tracing::info!(engine, model, vad, "transcription worker is ready");
                Ok(running)
            }
            Ok(Some(Reply::Fault { kind, message, .. })) => {
                running.end().await;
                self.grow();
                Err(WorkerError::Fault { kind, message })
            }
            Ok(_) => Err(self.died(running).await),
            Err(_) => {
                running.end().await;
                self.grow();
                Err(WorkerError::Overrun { ms: limits::WORKER_START_MS_MAX })
            }
        }
    }

    fn spawn(&mut self) -> Result<Running, WorkerError> {
        let exe = self.command.exe.clone();
        let spawned = Command::new(&exe)
            .args(&self.command.args)
            .envs(self.command.env.iter().map(|(k, v)| (k, v)))
            // A native abort would otherwise start a debugger on itself.
            .env("GGML_NO_BACKTRACE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let broken = |source| WorkerError::Spawn { exe: exe.clone(), source };
        let mut child = match spawned {
            Ok(child) => child,
            Err(source) => {
                self.grow();
                return Err(broken(source));
            }
        };
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(broken(std::io::Error::other("its pipes are missing")));
        };
        let quota = Arc::new(AtomicUsize::new(limits::STDERR_LINES_MAX));
        let said = Arc::default();
        tokio::spawn(listen(stderr, Arc::clone(&quota), Arc::clone(&said)));
        Ok(Running { child, stdin, stdout: BufReader::new(stdout), quota, said, served: 0 })
    }
}

impl Running {
    /// Sends one line and waits for the answer to it. `None`: the child ended
    /// or sent an endless line.
    async fn ask(
        &mut self,
        request: &[u8],
        id: Option<u64>,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Option<Reply> {
        self.stdin.write_all(request).await.ok()?;
        self.stdin.flush().await.ok()?;
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            let most = limits::LINE_BYTES_MAX as u64;
            let n = (&mut self.stdout).take(most).read_until(b'\n', &mut bytes).await.ok()?;
            if n == 0 || bytes.last() != Some(&b'\n') {
                return None;
            }
            match parse::<Reply>(&bytes) {
                Some(Reply::Progress { id: of, done_ms, total_ms }) if Some(of) == id => progress(done_ms, total_ms),
                Some(reply @ Reply::Result { id: of, .. }) if Some(of) == id => return Some(reply),
                Some(reply @ Reply::Fault { id: of, .. }) if of == id => return Some(reply),
                Some(reply @ Reply::Ready { .. }) if id.is_none() => return Some(reply),
                // Noise of native libraries, and answers nobody waits for.
                _ => {}
            }
        }
    }

    async fn end(mut self) {
        let _ = self.child.kill().await;
    }
}

/// Logs the child's standard error within the quota, and drains the rest.
async fn listen(stderr: ChildStderr, quota: Arc<AtomicUsize>, said: Arc<std::sync::Mutex<String>>) {
    let mut reader = BufReader::new(stderr);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        match (&mut reader).take(4_096).read_until(b'\n', &mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&bytes);
        let text: String = text.trim().chars().take(limits::ERROR_CHARS_MAX).collect();
        if text.is_empty() {
            continue;
        }
        let left = quota.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        if left.is_ok() {
            tracing::debug!(text, "transcription worker says");
        }
        if let Ok(mut last) = said.lock() {
            *last = text;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_allowed_grows_with_the_audio_and_never_overflows() {
        let of = |factor: f64, audio_ms| {
            let cfg = Config { timeout_base_ms: 1_000, timeout_factor: factor, ..Config::default() };
            Worker::new(WorkerCommand::hotline("x".into()), cfg).limit_ms(audio_ms)
        };
        assert_eq!(of(2.0, 500), 2_000);
        assert_eq!(of(f64::NAN, 500), 1_000);
        assert!(of(f64::MAX, u64::MAX) > 0);
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named() {
        let mut worker = Worker::new(WorkerCommand::hotline("/nonexistent/hotline".into()), Config::default());
        let err = worker.transcribe(Path::new("/x.wav"), 0, &mut |_, _| {}).await.unwrap_err();
        assert!(err.to_string().contains("/nonexistent/hotline"), "{err}");
        assert_eq!(err.kind(), FaultKind::Unavailable);
    }

    #[tokio::test]
    async fn a_program_that_is_no_worker_is_told_with_what_it_said() {
        let command = WorkerCommand {
            exe: "/bin/sh".into(),
            args: vec!["-c".into(), "echo noise; echo oh no >&2; exit 3".into()],
            env: Vec::new(),
        };
        let mut worker = Worker::new(command, Config::default());
        let err = worker.transcribe(Path::new("/x.wav"), 0, &mut |_, _| {}).await.unwrap_err();
        assert!(matches!(&err, WorkerError::Died { said, .. } if said == "oh no"), "{err}");
        assert!(err.to_string().contains('3'), "{err}");
        assert_eq!(worker.backoff_ms, limits::WORKER_BACKOFF_MS_MIN);
    }
}

//! The job loop: claims recordings, has them transcribed, stores the outcome.
//!
//! The rows are the queue: what a crash interrupts is claimed again when its
//! lease runs out, and a transcript is stored once, whoever finishes first.

mod gate;
mod row;
mod voice;

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gate::Gate;
use hotline_db::{DbError, Id, Job, Recording, RecordingState, Store};
use row::row;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::limits;
use crate::segment::Transcript;
use crate::worker::{FaultKind, Worker, WorkerCommand, WorkerError};

/// A recording's or a voice message's words are stored. Sent after the commit; a receiver that
/// was down finds the same in the transcript rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// The recording, or the medium of a message.
    pub recording: Id,
    /// The call a recording belongs to.
    pub call: Option<Id>,
    /// The whole text, unmasked.
    pub text: String,
}

/// Runs until `cancel`: [`Config::workers`] children, each with one job at a
/// time. `worker_exe` is started as `<exe> transcribe-worker`; recordings lie in
/// `recordings_dir`. Without an engine or model jobs are laid aside as
/// `waiting_model` and come back by themselves once there is one.
pub async fn run(
    store: Store,
    cfg: Config,
    worker_exe: PathBuf,
    recordings_dir: PathBuf,
    cancel: CancellationToken,
    done: mpsc::Sender<Done>,
) {
    run_command(store, cfg, WorkerCommand::hotline(worker_exe), recordings_dir, cancel, done).await;
}

/// As [`run`], with any command for the child.
pub async fn run_command(
    store: Store,
    cfg: Config,
    command: WorkerCommand,
    recordings_dir: PathBuf,
    cancel: CancellationToken,
    done: mpsc::Sender<Done>,
) {
    let gate = Arc::new(Gate::new(cfg.clone()));
    let mut loops = JoinSet::new();
    for n in 0..cfg.workers_bounded() {
        let one = Loop {
            name: format!("{}-{}-{n}", host(), std::process::id()),
            store: store.clone(),
            worker: Worker::new(command.clone(), cfg.clone()),
            cfg: cfg.clone(),
            dir: recordings_dir.clone(),
            gate: Arc::clone(&gate),
            cancel: cancel.clone(),
            done: done.clone(),
        };
        loops.spawn(one.run());
    }
    while let Some(ended) = loops.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a transcription loop ended");
        }
    }
}

struct Loop {
    name: String,
    store: Store,
    worker: Worker,
    cfg: Config,
    dir: PathBuf,
    gate: Arc<Gate>,
    cancel: CancellationToken,
    done: mpsc::Sender<Done>,
}

/// What became of one attempt.
enum Outcome {
    Text(Box<Transcript>),
    Fault(FaultKind, String),
    /// Another worker has the job.
    LeaseLost,
    /// We are asked to stop.
    Stopped,
}

impl Loop {
    async fn run(mut self) {
        while !self.cancel.is_cancelled() {
            let worked = match self.step().await {
                Ok(worked) => worked,
                Err(error) => {
                    // Nothing is lost: the lease runs out and the job comes back.
                    tracing::warn!(%error, "transcription can't reach its jobs");
                    false
                }
            };
            if !worked {
                let pause = Duration::from_millis(self.cfg.poll_ms.max(10));
                tokio::select! {
                    () = self.cancel.cancelled() => {}
                    () = tokio::time::sleep(pause) => {}
                }
            }
        }
        self.worker.kill().await;
    }

    /// One look for work; true where there was some.
    async fn step(&mut self) -> Result<bool, DbError> {
        let now = now_ms();
        let (open, looked) = self.gate.look(now);
        if open && looked {
            let released = self.store.jobs_release_waiting_model(now).await?;
            if released > 0 {
                tracing::info!(released, "recordings that waited are transcribed now");
            }
        }
        let Some(job) = self.store.job_claim(&self.name, now, self.cfg.lease_ms.max(1_000)).await? else {
            return if open { self.voice().await } else { Ok(false) };
        };
        if !open {
            self.store.job_wait_model(&job, now_ms()).await?;
            return Ok(true);
        }
        if job.attempts > limits::JOB_ATTEMPTS_MAX {
            let why = format!("given up: the worker ended {} times with this recording", job.attempts - 1);
            self.store.job_fail(&job, &why, now_ms()).await?;
            return Ok(true);
        }
        self.attempt(&job).await?;
        Ok(true)
    }

    async fn attempt(&mut self, job: &Job) -> Result<(), DbError> {
        let Some(recording) = self.store.recording_get(job.recording).await? else {
            return self.store.job_fail(job, "its recording's row is gone", now_ms()).await;
        };
        if recording.state == RecordingState::Lost {
            return self.store.job_fail(job, "the recording is lost", now_ms()).await;
        }
        let Some(path) = inside(&self.dir, &recording.path) else {
            return self.store.job_fail(job, "its path leaves the recordings folder", now_ms()).await;
        };
        let audio_ms = recording.duration_ms.and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0);
        // A recording without a length still gets the time of its file.
        let audio_ms = audio_ms.max(file_ms(&path, recording.channels));
        let (store, leased) = (self.store.clone(), job.clone());
        let renew = |until: i64| {
            let (store, leased) = (store.clone(), leased.clone());
            async move { store.job_renew(&leased, until).await }
        };
        match self.hear(&path, audio_ms, renew).await {
            Outcome::Text(transcript) => self.keep(job, &recording, *transcript).await,
            Outcome::LeaseLost => Ok(()),
            // Laid aside, not failed: stopping must not use up attempts.
            Outcome::Stopped => self.store.job_wait_model(job, now_ms()).await,
            Outcome::Fault(FaultKind::Unavailable, why) => {
                tracing::warn!(why, "the speech engine is unavailable");
                self.gate.shut(now_ms());
                self.store.job_wait_model(job, now_ms()).await
            }
            Outcome::Fault(FaultKind::Retry, why) if job.attempts < limits::JOB_ATTEMPTS_MAX => {
                let pause = backoff_ms(job.attempts);
                tracing::warn!(job = %job.id, why, pause, "transcription failed, trying again");
                self.store.job_retry(job, now_ms() + pause, &why).await
            }
            Outcome::Fault(_, why) => {
                tracing::error!(job = %job.id, why, "transcription given up");
                self.store.job_fail(job, &why, now_ms()).await
            }
        }
    }

    /// The child at work, the lease renewed beside it.
    async fn hear<F>(&mut self, path: &Path, audio_ms: u64, renew: impl Fn(i64) -> F) -> Outcome
    where
        F: Future<Output = Result<(), DbError>> + Send,
    {
        let lease_ms = self.cfg.lease_ms.max(1_000);
        let mut ticks = tokio::time::interval(Duration::from_millis(u64::try_from(lease_ms / 3).unwrap_or(1)));
        ticks.tick().await;
        let mut progress = |done_ms: u64, total_ms: u64| tracing::trace!(done_ms, total_ms, "transcribing");
        let ended = {
            let work = self.worker.transcribe(path, audio_ms, &mut progress);
            tokio::pin!(work);
            loop {
                tokio::select! {
                    result = &mut work => break Ok(result),
                    () = self.cancel.cancelled() => break Err(Outcome::Stopped),
                    _ = ticks.tick() => match renew(now_ms() + lease_ms).await {
                        Ok(()) => {}
                        Err(DbError::LeaseLost | DbError::NotFound) => break Err(Outcome::LeaseLost),
                        // The database may be back before the lease ends.
                        Err(error) => tracing::warn!(%error, "the job's lease can't be renewed now"),
                    },
                }
            }
        };
        match ended {
            Ok(Ok(transcript)) => Outcome::Text(Box::new(transcript)),
            Ok(Err(error)) => fault(&error),
            Err(outcome) => {
                self.worker.kill().await;
                outcome
            }
        }
    }

    async fn keep(&self, job: &Job, recording: &Recording, transcript: Transcript) -> Result<(), DbError> {
        let (new, whole) = row(transcript);
        // Idempotent: a commit whose answer got lost is simply repeated.
        let mut tries = 0;
        let first = loop {
            match self.store.job_done(job, new.clone(), now_ms()).await {
                Ok(first) => break first,
                Err(DbError::LeaseLost) => return Ok(()),
                Err(error) if error.is_transient() && tries < limits::STORE_TRIES_MAX => {
                    tries += 1;
                    tracing::warn!(%error, tries, "the transcript can't be stored now");
                    tokio::time::sleep(Duration::from_millis(200 << tries)).await;
                }
                Err(error) => return Err(error),
            }
        };
        tracing::info!(recording = %recording.id, again = !first, "recording transcribed");
        let done = Done { recording: recording.id, call: Some(recording.call), text: whole };
        // Nobody listening is fine, the row is the truth; a full channel must
        // not hold up the end.
        tokio::select! {
            _ = self.done.send(done) => {}
            () = self.cancel.cancelled() => {}
        }
        Ok(())
    }
}

fn fault(error: &WorkerError) -> Outcome {
    Outcome::Fault(error.kind(), error.to_string().chars().take(limits::ERROR_CHARS_MAX).collect())
}

/// 15 s, 1 min, 4 min, 16 min …
fn backoff_ms(attempts: i64) -> i64 {
    let power = u32::try_from(attempts.clamp(1, 20) - 1).unwrap_or(0);
    limits::JOB_RETRY_MS_MIN.saturating_mul(4_i64.saturating_pow(power)).min(limits::JOB_RETRY_MS_MAX)
}

/// `path` within `dir`, where it doesn't lead out of it.
fn inside(dir: &Path, path: &str) -> Option<PathBuf> {
    let path = Path::new(path);
    if path.components().any(|c| matches!(c, Component::ParentDir)) {
        return None;
    }
    if path.is_absolute() {
        return path.starts_with(dir).then(|| path.to_owned());
    }
    Some(dir.join(path))
}

/// Length by the file's size, 8 kHz and 16 bits.
fn file_ms(path: &Path, channels: i64) -> u64 {
    let bytes = std::fs::metadata(path).map_or(0, |m| m.len());
    bytes / (16 * u64::try_from(channels.clamp(1, 2)).unwrap_or(1))
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_bounded() {
        assert_eq!([1, 2, 3].map(backoff_ms), [15_000, 60_000, 240_000]);
        assert_eq!(backoff_ms(i64::MAX), limits::JOB_RETRY_MS_MAX);
        assert_eq!(backoff_ms(i64::MIN), limits::JOB_RETRY_MS_MIN);
    }

    #[test]
    fn paths_stay_in_the_recordings_folder() {
        let dir = Path::new("/var/rec");
        assert_eq!(inside(dir, "2026/a.wav"), Some("/var/rec/2026/a.wav".into()));
        assert_eq!(inside(dir, "/var/rec/a.wav"), Some("/var/rec/a.wav".into()));
        for bad in ["../a.wav", "/etc/passwd", "a/../../b", "/var/rec/../x"] {
            assert_eq!(inside(dir, bad), None, "{bad}");
        }
    }
}

//! Transcription jobs: durable, leased to one worker at a time.

use serde::Serialize;
use sqlx::FromRow;

use crate::{
    claim::IdRow,
    conn::Conn,
    error::{DbError, Result},
    id::Id,
    limits,
    pool::Store,
    sql::{Sql, sql, sql_claim},
    text::words,
    transcript::{self, NewTranscript},
};

words! {
    /// Where a transcription job is.
    JobState {
        /// Waits for a worker.
        Queued = "queued",
        /// A worker holds its lease.
        Running = "running",
        /// No model is installed.
        WaitingModel = "waiting_model",
        /// The transcript is stored.
        Done = "done",
        /// Given up.
        Failed = "failed",
    }
}

/// A transcription job.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct Job {
    /// Row id.
    pub id: Id,
    /// The recording.
    pub recording: Id,
    /// Where it is.
    pub state: JobState,
    /// Claims so far, this one included. With `worker` it is the fence: a worker whose lease was
    /// taken over holds an old number.
    pub attempts: i64,
    /// Not before.
    pub next_at: i64,
    /// End of the lease.
    pub lease_until: Option<i64>,
    /// Who holds the lease.
    pub worker: Option<String>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// When the recording was complete.
    pub created_at: i64,
    /// When it was done or given up.
    pub finished_at: Option<i64>,
}

crate::lite::row!(Job {
    id,
    recording,
    state,
    attempts,
    next_at,
    lease_until,
    worker,
    last_error,
    created_at,
    finished_at
});

/// How many jobs are in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields are the words of `JobState`")]
pub struct JobCounts {
    pub queued: i64,
    pub running: i64,
    pub waiting_model: i64,
    pub done: i64,
    pub failed: i64,
}

macro_rules! select_job {
    ($tail:literal) => {
        sql(concat!(
            "SELECT id, recording, state, attempts, next_at, lease_until, worker, last_error, \
             created_at, finished_at FROM transcription_job ",
            $tail
        ))
    };
}

/// Adds the job of a recording, unless it has one.
pub(crate) async fn enqueue(c: &mut Conn, recording: Id, at: i64) -> Result<()> {
    let query = sql("INSERT INTO transcription_job (id, recording, state, attempts, next_at, \
         created_at) VALUES ($1, $2, $3, 0, $4, $4) ON CONFLICT (recording) DO NOTHING")
    .bind(Id::new())
    .bind(recording)
    .bind(JobState::Queued)
    .bind(at);
    c.run(query).await.map(|_| ())
}

async fn claim(c: &mut Conn, worker: String, now: i64, lease_ms: i64) -> Result<Option<Job>> {
    let pick = sql_claim!(
        "SELECT id FROM transcription_job WHERE (state = $1 AND next_at <= $3) \
         OR (state = $2 AND lease_until <= $3) ORDER BY next_at, id LIMIT 1"
    )
    .bind(JobState::Queued)
    .bind(JobState::Running)
    .bind(now);
    let Some(IdRow { id }) = c.opt(pick).await? else {
        return Ok(None);
    };
    let take = sql("UPDATE transcription_job SET state = $2, attempts = attempts + 1, \
                    worker = $3, lease_until = $4 WHERE id = $1")
    .bind(id)
    .bind(JobState::Running)
    .bind(worker)
    .bind(now + lease_ms);
    c.run(take).await?;
    c.opt(select_job!("WHERE id = $1").bind(id)).await
}

/// Binds the fence to `$1` id, `$2` attempts, `$3` worker, `$4` state running.
fn fenced(query: Sql, job: &Job) -> Sql {
    query.bind(job.id).bind(job.attempts).bind(job.worker.clone()).bind(JobState::Running)
}

async fn held(c: &mut Conn, query: Sql) -> Result<()> {
    match c.run(query).await? {
        0 => Err(DbError::LeaseLost),
        _ => Ok(()),
    }
}

async fn done(c: &mut Conn, job: Job, new: NewTranscript, at: i64) -> Result<bool> {
    let update = fenced(
        sql("UPDATE transcription_job SET state = $5, finished_at = $6, lease_until = NULL, \
             last_error = NULL WHERE id = $1 AND attempts = $2 AND worker = $3 AND state = $4"),
        &job,
    )
    .bind(JobState::Done)
    .bind(at);
    if c.run(update).await? > 0 {
        transcript::insert(c, &job, new, at).await?;
        return Ok(true);
    }
    let row: Option<Job> = c.opt(select_job!("WHERE id = $1").bind(job.id)).await?;
    match row {
        Some(row) if row.state == JobState::Done && row.attempts == job.attempts && row.worker == job.worker => {
            Ok(false)
        }
        Some(_) => Err(DbError::LeaseLost),
        None => Err(DbError::NotFound),
    }
}

impl Store {
    /// Leases the job that is due longest: a queued one, or a running one whose lease ran out.
    ///
    /// # Errors
    /// As any write.
    pub async fn job_claim(&self, worker: &str, now: i64, lease_ms: i64) -> Result<Option<Job>> {
        let worker = worker.to_owned();
        self.write(move |c| Box::pin(claim(c, worker, now, lease_ms))).await
    }

    /// Prolongs the lease to `lease_until`.
    ///
    /// # Errors
    /// [`DbError::LeaseLost`] when somebody else took the job over.
    pub async fn job_renew(&self, job: &Job, lease_until: i64) -> Result<()> {
        let query = fenced(
            sql("UPDATE transcription_job SET lease_until = $5 \
                 WHERE id = $1 AND attempts = $2 AND worker = $3 AND state = $4"),
            job,
        )
        .bind(lease_until);
        self.write(|c| Box::pin(held(c, query))).await
    }

    /// Stores the transcript and finishes the job in one transaction. `false` when this very
    /// attempt had done so before.
    ///
    /// # Errors
    /// [`DbError::LeaseLost`] when somebody else took the job over.
    pub async fn job_done(&self, job: &Job, new: NewTranscript, at: i64) -> Result<bool> {
        limits::text("text", &new.text, limits::LONG_TEXT_CHARS_MAX)?;
        limits::text("redacted_text", &new.redacted_text, limits::LONG_TEXT_CHARS_MAX)?;
        let job = job.clone();
        self.write(move |c| Box::pin(done(c, job, new, at))).await
    }

    /// Gives the job back for another attempt at `next_at`.
    ///
    /// # Errors
    /// [`DbError::LeaseLost`] when somebody else took the job over.
    pub async fn job_retry(&self, job: &Job, next_at: i64, error: &str) -> Result<()> {
        let query = fenced(
            sql("UPDATE transcription_job SET state = $5, next_at = $6, last_error = $7, \
                 lease_until = NULL WHERE id = $1 AND attempts = $2 AND worker = $3 AND state = $4"),
            job,
        )
        .bind(JobState::Queued)
        .bind(next_at)
        .bind(limits::error_text(error));
        self.write(|c| Box::pin(held(c, query))).await
    }

    /// Gives the job up.
    ///
    /// # Errors
    /// [`DbError::LeaseLost`] when somebody else took the job over.
    pub async fn job_fail(&self, job: &Job, error: &str, at: i64) -> Result<()> {
        let query = fenced(
            sql("UPDATE transcription_job SET state = $5, finished_at = $6, last_error = $7, \
                 lease_until = NULL WHERE id = $1 AND attempts = $2 AND worker = $3 AND state = $4"),
            job,
        )
        .bind(JobState::Failed)
        .bind(at)
        .bind(limits::error_text(error));
        self.write(|c| Box::pin(held(c, query))).await
    }

    /// Lays the job aside until a model is there; the claim doesn't count as an attempt.
    ///
    /// # Errors
    /// [`DbError::LeaseLost`] when somebody else took the job over.
    pub async fn job_wait_model(&self, job: &Job, at: i64) -> Result<()> {
        let query = fenced(
            sql("UPDATE transcription_job SET state = $5, next_at = $6, lease_until = NULL, \
                 attempts = attempts - 1 \
                 WHERE id = $1 AND attempts = $2 AND worker = $3 AND state = $4"),
            job,
        )
        .bind(JobState::WaitingModel)
        .bind(at);
        self.write(|c| Box::pin(held(c, query))).await
    }

    /// Queues every job that waited for a model; how many there were.
    ///
    /// # Errors
    /// As any write.
    pub async fn jobs_release_waiting_model(&self, now: i64) -> Result<u64> {
        let query = sql("UPDATE transcription_job SET state = $1, next_at = $3 WHERE state = $2")
            .bind(JobState::Queued)
            .bind(JobState::WaitingModel)
            .bind(now);
        self.write(|c| Box::pin(async move { c.run(query).await })).await
    }

    /// How many jobs are in each state.
    ///
    /// # Errors
    /// As any read.
    pub async fn job_counts(&self) -> Result<JobCounts> {
        let query = sql("SELECT state, COUNT(*) FROM transcription_job GROUP BY state");
        let mut counts = JobCounts::default();
        for (state, n) in self.reader().await?.all::<(JobState, i64)>(query).await? {
            match state {
                JobState::Queued => counts.queued = n,
                JobState::Running => counts.running = n,
                JobState::WaitingModel => counts.waiting_model = n,
                JobState::Done => counts.done = n,
                JobState::Failed => counts.failed = n,
            }
        }
        Ok(counts)
    }

    /// The job of a recording.
    ///
    /// # Errors
    /// As any read.
    pub async fn job_of_recording(&self, recording: Id) -> Result<Option<Job>> {
        self.reader().await?.opt(select_job!("WHERE recording = $1").bind(recording)).await
    }
}

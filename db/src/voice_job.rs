//! Voices that came with messages: transcribed like recordings, and their words added to the message
//! and to the item it belongs to.

use serde::Serialize;
use sqlx::FromRow;

use crate::{
    claim::IdRow,
    conn::Conn,
    error::{DbError, Result},
    id::Id,
    job::JobState,
    limits::{self, LONG_TEXT_CHARS_MAX, SHORT_TEXT_CHARS_MAX},
    pool::Store,
    sql::{Sql, sql, sql_claim},
};

/// Stands in a message for the words of its voice until they are known; people hear the file meanwhile.
pub const VOICE_WAITING: &str = "[语音待听]";

/// A voice to transcribe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewVoiceJob {
    /// The message's medium.
    pub media: Id,
    /// The message.
    pub message: Id,
    /// WAV, relative to the recordings folder.
    pub path: String,
    /// Length.
    pub duration_ms: i64,
    /// Now.
    pub at: i64,
}

/// The job of a voice.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct VoiceJob {
    /// Row id.
    pub id: Id,
    /// The message's medium.
    pub media: Id,
    /// The message.
    pub message: Id,
    /// WAV, relative to the recordings folder.
    pub path: String,
    /// Length.
    pub duration_ms: i64,
    /// Where it is.
    pub state: JobState,
    /// Claims so far; with `worker` the fence.
    pub attempts: i64,
    /// Who holds the lease.
    pub worker: Option<String>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// The words, once done.
    pub text: Option<String>,
}

crate::lite::row!(VoiceJob { id, media, message, path, duration_ms, state, attempts, worker, last_error, text });

/// The words of a voice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoiceText {
    /// As heard; may be empty.
    pub text: String,
    /// With numbers of persons masked.
    pub redacted_text: String,
    /// They report danger.
    pub red: bool,
    /// Which engine heard them.
    pub engine: String,
    /// With which model.
    pub model: String,
}

macro_rules! select_voice {
    ($tail:literal) => {
        sql(concat!(
            "SELECT id, media, message, path, duration_ms, state, attempts, worker, last_error, text FROM voice_job ",
            $tail
        ))
    };
}

async fn claim(c: &mut Conn, worker: String, now: i64, lease_ms: i64) -> Result<Option<VoiceJob>> {
    let pick = sql_claim!(
        "SELECT id FROM voice_job WHERE (state = $1 AND next_at <= $3) OR (state = $2 AND lease_until <= $3) \
         ORDER BY next_at, id LIMIT 1"
    )
    .bind(JobState::Queued)
    .bind(JobState::Running)
    .bind(now);
    let Some(IdRow { id }) = c.opt(pick).await? else {
        return Ok(None);
    };
    let take = sql("UPDATE voice_job SET state = $2, attempts = attempts + 1, worker = $3, lease_until = $4 \
         WHERE id = $1")
    .bind(id)
    .bind(JobState::Running)
    .bind(worker)
    .bind(now.saturating_add(lease_ms));
    c.run(take).await?;
    c.opt(select_voice!("WHERE id = $1").bind(id)).await
}

/// Binds the fence to `$1` id, `$2` attempts, `$3` worker, `$4` state running.
fn fenced(query: Sql, job: &VoiceJob) -> Sql {
    query.bind(job.id).bind(job.attempts).bind(job.worker.clone()).bind(JobState::Running)
}

async fn held(c: &mut Conn, query: Sql) -> Result<()> {
    match c.run(query).await? {
        0 => Err(DbError::LeaseLost),
        _ => Ok(()),
    }
}

async fn done(c: &mut Conn, job: VoiceJob, heard: VoiceText, at: i64) -> Result<()> {
    let update = fenced(
        sql("UPDATE voice_job SET state = $5, finished_at = $6, lease_until = NULL, last_error = NULL, text = $7, \
             engine = $8, model = $9 WHERE id = $1 AND attempts = $2 AND worker = $3 AND state = $4"),
        &job,
    )
    .bind(JobState::Done)
    .bind(at)
    .bind(heard.text.as_str())
    .bind(heard.engine.as_str())
    .bind(heard.model.as_str());
    held(c, update).await?;
    if heard.text.trim().is_empty() {
        return Ok(());
    }
    say(c, job.message, &heard, at).await
}

/// The words take the placeholder's place in the message. A conversation's next step, due now, takes them into its
/// item, also when the conversation is over: what follows from them is decided there. A message without one is no part
/// of anything: a voice has no words yet that could make it a supplement. The message is written last: a
/// conversation's step holds conversation and item before it.
async fn say(c: &mut Conn, message: Id, heard: &VoiceText, at: i64) -> Result<()> {
    let told = sql("UPDATE conversation SET told_at = COALESCE(told_at, $2), red = (red OR $3), act_at = $2 \
         WHERE id = (SELECT conversation FROM message WHERE id = $1) \
         AND (item IS NOT NULL AND (act_at IS NULL OR act_at > $2) OR act_at > $2 AND (told_at IS NULL OR $3))")
    .bind(message)
    .bind(at)
    .bind(heard.red);
    c.run(told).await?;
    let text = sql("UPDATE message SET red = (red OR $4), text = REPLACE(text, $5, $2), \
         redacted_text = REPLACE(redacted_text, $5, $3) WHERE id = $1")
    .bind(message)
    .bind(format!("[语音] {}", heard.text))
    .bind(format!("[语音] {}", heard.redacted_text))
    .bind(heard.red)
    .bind(VOICE_WAITING);
    c.run(text).await.map(|_| ())
}

impl Store {
    /// Queues a voice, unless its medium is queued already.
    ///
    /// # Errors
    /// [`DbError::NotFound`] for an unknown message.
    pub async fn voice_job_add(&self, new: NewVoiceJob) -> Result<()> {
        limits::text("path", &new.path, SHORT_TEXT_CHARS_MAX)?;
        let query = sql("INSERT INTO voice_job (id, media, message, path, duration_ms, state, attempts, next_at, \
             created_at) VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $7) ON CONFLICT (media) DO NOTHING")
        .bind(Id::new())
        .bind(new.media)
        .bind(new.message)
        .bind(new.path)
        .bind(new.duration_ms)
        .bind(JobState::Queued)
        .bind(new.at);
        self.write(|c| Box::pin(async move { c.run(query).await.map(|_| ()) })).await
    }

    /// Leases the voice that is due longest.
    ///
    /// # Errors
    /// As any write.
    pub async fn voice_job_claim(&self, worker: &str, now: i64, lease_ms: i64) -> Result<Option<VoiceJob>> {
        // Looking costs no write.
        let any = sql("SELECT id FROM voice_job WHERE (state = $1 AND next_at <= $3) \
             OR (state = $2 AND lease_until <= $3) LIMIT 1")
        .bind(JobState::Queued)
        .bind(JobState::Running)
        .bind(now);
        if self.reader().await?.opt::<IdRow>(any).await?.is_none() {
            return Ok(None);
        }
        let worker = worker.to_owned();
        self.write(move |c| Box::pin(claim(c, worker, now, lease_ms))).await
    }

    /// Prolongs the lease to `lease_until`.
    ///
    /// # Errors
    /// [`DbError::LeaseLost`] when somebody else took the job over.
    pub async fn voice_job_renew(&self, job: &VoiceJob, lease_until: i64) -> Result<()> {
        let query = fenced(
            sql("UPDATE voice_job SET lease_until = $5 \
                 WHERE id = $1 AND attempts = $2 AND worker = $3 AND state = $4"),
            job,
        )
        .bind(lease_until);
        self.write(|c| Box::pin(held(c, query))).await
    }

    /// Stores the words, adds them to the message, wakes its conversation, and finishes the job, in one transaction.
    ///
    /// # Errors
    /// [`DbError::LeaseLost`] when somebody else took the job over or it was done.
    pub async fn voice_job_done(&self, job: &VoiceJob, heard: VoiceText, at: i64) -> Result<()> {
        limits::text("text", &heard.text, LONG_TEXT_CHARS_MAX)?;
        limits::text("redacted_text", &heard.redacted_text, LONG_TEXT_CHARS_MAX)?;
        let job = job.clone();
        self.write(move |c| Box::pin(done(c, job, heard, at))).await
    }

    /// Gives the job back for another attempt at `next_at`; `None`: given up.
    ///
    /// # Errors
    /// [`DbError::LeaseLost`] when somebody else took the job over.
    pub async fn voice_job_missed(&self, job: &VoiceJob, next_at: Option<i64>, error: &str, at: i64) -> Result<()> {
        let state = if next_at.is_some() { JobState::Queued } else { JobState::Failed };
        let query = fenced(
            sql("UPDATE voice_job SET state = $5, next_at = COALESCE($6, next_at), lease_until = NULL, last_error = $7, \
                 finished_at = $8 WHERE id = $1 AND attempts = $2 AND worker = $3 AND state = $4"),
            job,
        )
        .bind(state)
        .bind(next_at)
        .bind(limits::error_text(error))
        .bind(next_at.is_none().then_some(at));
        self.write(|c| Box::pin(held(c, query))).await
    }

    /// The voices of a message.
    ///
    /// # Errors
    /// As any read.
    pub async fn voice_jobs_of_message(&self, message: Id) -> Result<Vec<VoiceJob>> {
        self.reader().await?.all(select_voice!("WHERE message = $1 ORDER BY id").bind(message)).await
    }
}

//! Recordings: begun with the talk, finished with a hash in a chain, accessed under a reason.

use serde::Serialize;
use sha2::{Digest, Sha256};
use sqlx::FromRow;

use crate::{
    audit::{ChainCheck, hex, put},
    conn::Conn,
    error::{DbError, Result},
    id::Id,
    job,
    limits::{self, SHORT_TEXT_CHARS_MAX, VERIFY_STEP_LEN},
    pool::Store,
    sql::sql,
    text::{Json, words},
};

words! {
    /// What a recording holds.
    RecordingKind {
        /// The talk of citizen (L) and operator (R).
        Talk = "talk",
        /// A message left by the citizen (留言).
        Message = "message",
        /// The reasons given after a bad verdict.
        SurveyReason = "survey_reason",
        /// A callback.
        Callback = "callback",
    }
}

words! {
    /// Where a recording is in its life.
    RecordingState {
        /// Being written, or to be repaired at the next start.
        Open = "open",
        /// Complete, hashed and in the chain.
        Done = "done",
        /// The file is gone or beyond repair.
        Lost = "lost",
    }
}

/// A recording.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct Recording {
    /// Row id.
    pub id: Id,
    /// The call.
    pub call: Id,
    /// File, relative to the recordings folder.
    pub path: String,
    /// What it holds.
    pub kind: RecordingKind,
    /// Channels: 2 = L citizen, R operator.
    pub channels: i64,
    /// Where it is in its life.
    pub state: RecordingState,
    /// First sample.
    pub started_at: i64,
    /// When the file was completed.
    pub finished_at: Option<i64>,
    /// Length.
    pub duration_ms: Option<i64>,
    /// Size of the file in bytes.
    pub bytes: Option<i64>,
    /// SHA-256 of the file, hex.
    pub sha256: Option<String>,
    /// Time without samples (a stalled disk).
    pub gaps_ms: Option<i64>,
    /// Pauses, a JSON array of `[from_ms, to_ms]`.
    pub paused_ranges: Option<Json>,
    /// The citizen heard the recording notice.
    pub notice_played: bool,
    /// Why it is lost.
    pub lost_reason: Option<String>,
    /// Retention class.
    pub retention_class: String,
    /// Not to be deleted before.
    pub hold_until: Option<i64>,
    /// Place in the chain of finished recordings, from 1.
    pub chain_n: Option<i64>,
    /// Hash of the link before, hex.
    pub prev_hash: Option<String>,
    /// Hash of this link, hex.
    pub chain_hash: Option<String>,
}

crate::lite::row!(Recording {
    id,
    call,
    path,
    kind,
    channels,
    state,
    started_at,
    finished_at,
    duration_ms,
    bytes,
    sha256,
    gaps_ms,
    paused_ranges,
    notice_played,
    lost_reason,
    retention_class,
    hold_until,
    chain_n,
    prev_hash,
    chain_hash
});

/// A recording that begins.
#[derive(Debug, Clone)]
pub struct NewRecording {
    /// Row id, chosen by the caller: it names the file.
    pub id: Id,
    /// The call.
    pub call: Id,
    /// File, relative to the recordings folder.
    pub path: String,
    /// First sample.
    pub started_at: i64,
    /// Channels.
    pub channels: i64,
    /// What it holds.
    pub kind: RecordingKind,
    /// The citizen heard the recording notice.
    pub notice_played: bool,
}

/// A recording that is complete.
#[derive(Debug, Clone)]
pub struct RecordingDone {
    /// Length.
    pub duration_ms: i64,
    /// Size of the file in bytes.
    pub bytes: i64,
    /// SHA-256 of the file, hex.
    pub sha256: String,
    /// Time without samples.
    pub gaps_ms: i64,
    /// Pauses, a JSON array of `[from_ms, to_ms]`.
    pub paused_ranges: Json,
    /// Whether it is to be transcribed.
    pub transcribe: bool,
    /// Now.
    pub at: i64,
}

macro_rules! select_recording {
    ($tail:literal) => {
        sql(concat!(
            "SELECT id, call, path, kind, channels, state, started_at, finished_at, duration_ms, \
             bytes, sha256, gaps_ms, paused_ranges, notice_played, lost_reason, retention_class, \
             hold_until, chain_n, prev_hash, chain_hash FROM recording ",
            $tail
        ))
    };
}

/// The hash of a link over the one before and what the link vouches for.
fn link_hash(n: i64, prev: &str, id: Id, call: Id, started_at: i64, done: (i64, i64, &str)) -> String {
    let (duration_ms, bytes, sha256) = done;
    let mut hash = Sha256::new();
    put(&mut hash, prev);
    put(&mut hash, &n.to_string());
    put(&mut hash, &id.to_string());
    put(&mut hash, &call.to_string());
    put(&mut hash, &started_at.to_string());
    put(&mut hash, &duration_ms.to_string());
    put(&mut hash, &bytes.to_string());
    put(&mut hash, sha256);
    hex(hash)
}

async fn finish(c: &mut Conn, id: Id, done: RecordingDone) -> Result<bool> {
    let query = sql("UPDATE recording SET state = $2, finished_at = $3, duration_ms = $4, \
         bytes = $5, sha256 = $6, gaps_ms = $7, paused_ranges = $8 \
         WHERE id = $1 AND state <> $2")
    .bind(id)
    .bind(RecordingState::Done)
    .bind(done.at)
    .bind(done.duration_ms)
    .bind(done.bytes)
    .bind(done.sha256.as_str())
    .bind(done.gaps_ms)
    .bind(done.paused_ranges);
    let fresh = c.run(query).await? > 0;
    let row: Recording = c.one(select_recording!("WHERE id = $1").bind(id)).await?;
    if !fresh {
        return Ok(false);
    }
    // The counter's row is the lock of the chain.
    let n = c.next("recording_chain").await?;
    let last = sql("SELECT chain_hash FROM recording WHERE chain_n IS NOT NULL \
                    ORDER BY chain_n DESC LIMIT 1");
    let prev = c.opt::<(String,)>(last).await?.map(|(hash,)| hash).unwrap_or_default();
    let facts = (done.duration_ms, done.bytes, done.sha256.as_str());
    let hash = link_hash(n, &prev, id, row.call, row.started_at, facts);
    let link = sql("UPDATE recording SET chain_n = $2, prev_hash = $3, chain_hash = $4 \
                    WHERE id = $1")
    .bind(id)
    .bind(n)
    .bind(prev)
    .bind(hash);
    c.run(link).await?;
    if done.transcribe {
        job::enqueue(c, id, done.at).await?;
    }
    Ok(true)
}

impl Store {
    /// Stores a recording that begins. Again with the same id: nothing happens.
    ///
    /// # Errors
    /// [`DbError::NotFound`] when there is no such call.
    pub async fn recording_begin(&self, new: NewRecording) -> Result<()> {
        limits::text("path", &new.path, SHORT_TEXT_CHARS_MAX)?;
        let query = sql("INSERT INTO recording (id, call, path, kind, channels, state, \
             started_at, notice_played, retention_class) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'normal') ON CONFLICT (id) DO NOTHING")
        .bind(new.id)
        .bind(new.call)
        .bind(new.path)
        .bind(new.kind)
        .bind(new.channels)
        .bind(RecordingState::Open)
        .bind(new.started_at)
        .bind(new.notice_played);
        self.write(|c| Box::pin(async move { c.run(query).await.map(|_| ()) })).await
    }

    /// Completes a recording: the row, its link of the hash chain and, if wanted, its
    /// transcription job, in one transaction. `false` if it was complete before.
    ///
    /// # Errors
    /// [`DbError::NotFound`] when there is no such recording.
    pub async fn recording_finish(&self, id: Id, done: RecordingDone) -> Result<bool> {
        if done.sha256.len() != 64 || !done.sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(DbError::Invalid { field: "sha256", why: "64 hex digits expected".into() });
        }
        self.write(move |c| Box::pin(finish(c, id, done))).await
    }

    /// Marks a recording whose file is gone; `false` if it isn't open.
    ///
    /// # Errors
    /// As any write.
    pub async fn recording_lost(&self, id: Id, at: i64, why: &str) -> Result<bool> {
        let query = sql("UPDATE recording SET state = $2, finished_at = $3, lost_reason = $4 \
                         WHERE id = $1 AND state = $5")
        .bind(id)
        .bind(RecordingState::Lost)
        .bind(at)
        .bind(limits::error_text(why))
        .bind(RecordingState::Open);
        self.write(|c| Box::pin(async move { Ok(c.run(query).await? > 0) })).await
    }

    /// The recordings still open: after a crash, those to repair.
    ///
    /// # Errors
    /// As any read.
    pub async fn recordings_open(&self) -> Result<Vec<Recording>> {
        let query = select_recording!("WHERE state = $1 ORDER BY started_at, id");
        self.reader().await?.all(query.bind(RecordingState::Open)).await
    }

    /// A recording by id.
    ///
    /// # Errors
    /// As any read.
    pub async fn recording_get(&self, id: Id) -> Result<Option<Recording>> {
        self.reader().await?.opt(select_recording!("WHERE id = $1").bind(id)).await
    }

    /// The recordings of a call in order of time.
    ///
    /// # Errors
    /// As any read.
    pub async fn recordings_of_call(&self, call: Id) -> Result<Vec<Recording>> {
        let query = select_recording!("WHERE call = $1 ORDER BY started_at, id");
        self.reader().await?.all(query.bind(call)).await
    }

    /// Notes who did what with a recording (`play`, `download` …) and why.
    ///
    /// # Errors
    /// [`DbError::NotFound`] when there is no such recording, [`DbError::Invalid`] without a
    /// reason.
    pub async fn recording_access(&self, recording: Id, user: Id, action: &str, reason: &str, at: i64) -> Result<()> {
        limits::text("reason", reason, SHORT_TEXT_CHARS_MAX)?;
        if reason.trim().is_empty() {
            return Err(DbError::Invalid { field: "reason", why: "empty".into() });
        }
        let query = sql("INSERT INTO recording_access (id, recording, account, action, reason, \
                         at) VALUES ($1, $2, $3, $4, $5, $6)")
        .bind(Id::new())
        .bind(recording)
        .bind(user)
        .bind(action)
        .bind(reason)
        .bind(at);
        self.write(|c| Box::pin(async move { c.run(query).await.map(|_| ()) })).await
    }

    /// Recomputes the hash chain of the finished recordings.
    ///
    /// # Errors
    /// As any read; a broken chain is not an error but the answer.
    pub async fn recordings_verify(&self) -> Result<ChainCheck> {
        let mut c = self.reader().await?;
        let mut check = ChainCheck::default();
        let mut prev = String::new();
        loop {
            let query = select_recording!("WHERE chain_n > $1 ORDER BY chain_n LIMIT $2")
                .bind(check.count)
                .bind(VERIFY_STEP_LEN);
            let rows: Vec<Recording> = c.all(query).await?;
            if rows.is_empty() {
                return Ok(check);
            }
            for row in rows {
                let n = check.count + 1;
                let sha256 = row.sha256.as_deref().unwrap_or_default();
                let facts = (row.duration_ms.unwrap_or_default(), row.bytes.unwrap_or_default(), sha256);
                let hash = link_hash(n, &prev, row.id, row.call, row.started_at, facts);
                if row.chain_n != Some(n) || row.chain_hash.as_ref() != Some(&hash) {
                    check.first_broken = Some(n);
                    return Ok(check);
                }
                check.count = n;
                prev = hash;
            }
        }
    }
}

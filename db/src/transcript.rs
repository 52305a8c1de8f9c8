//! Transcripts of recordings.

use serde::Serialize;
use sqlx::FromRow;

use crate::{conn::Conn, error::Result, id::Id, job::Job, limits, pool::Store, sql::sql, text::Json};

/// A transcript.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct Transcript {
    /// Row id.
    pub id: Id,
    /// The recording.
    pub recording: Id,
    /// The job that made it.
    pub job: Id,
    /// Engine, for example `whisper`.
    pub engine: String,
    /// Model file or name.
    pub model: String,
    /// Version of the engine.
    pub version: String,
    /// Segments `{t0_ms, t1_ms, side, text, confidence}` in order of time.
    pub segments: Json,
    /// The whole text.
    pub text: String,
    /// The text with numbers of persons masked.
    pub redacted_text: String,
    /// When it was stored.
    pub at: i64,
}

crate::lite::row!(Transcript { id, recording, job, engine, model, version, segments, text, redacted_text, at });

/// A transcript to store.
#[derive(Debug, Clone)]
pub struct NewTranscript {
    /// Engine.
    pub engine: String,
    /// Model file or name.
    pub model: String,
    /// Version of the engine.
    pub version: String,
    /// Segments `{t0_ms, t1_ms, side, text, confidence}` in order of time.
    pub segments: Json,
    /// The whole text.
    pub text: String,
    /// The text with numbers of persons masked.
    pub redacted_text: String,
}

pub(crate) async fn insert(c: &mut Conn, job: &Job, new: NewTranscript, at: i64) -> Result<()> {
    let query = sql("INSERT INTO transcript (id, recording, job, engine, model, version, \
         segments, text, redacted_text, at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)")
    .bind(Id::new())
    .bind(job.recording)
    .bind(job.id)
    .bind(new.engine)
    .bind(new.model)
    .bind(new.version)
    .bind(limits::json("segments", &new.segments)?)
    .bind(new.text)
    .bind(new.redacted_text)
    .bind(at);
    c.run(query).await.map(|_| ())
}

impl Store {
    /// The newest transcript of a recording.
    ///
    /// # Errors
    /// As any read.
    pub async fn transcript_of(&self, recording: Id) -> Result<Option<Transcript>> {
        let query = sql("SELECT id, recording, job, engine, model, version, segments, text, \
             redacted_text, at FROM transcript WHERE recording = $1 \
             ORDER BY at DESC, id DESC LIMIT 1")
        .bind(recording);
        self.reader().await?.opt(query).await
    }
}

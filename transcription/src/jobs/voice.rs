//! Voices that came with messages: the same child, after the recordings of calls.

use hotline_db::{DbError, VoiceJob, VoiceText};

use super::{Done, Loop, Outcome, backoff_ms, inside, now_ms};
use crate::fields;
use crate::limits;
use crate::segment::Transcript;
use crate::text;
use crate::worker::FaultKind;

impl Loop {
    /// One look for a voice; true where there was one. Without an engine they stay queued.
    pub(super) async fn voice(&mut self) -> Result<bool, DbError> {
        let lease_ms = self.cfg.lease_ms.max(1_000);
        let Some(job) = self.store.voice_job_claim(&self.name, now_ms(), lease_ms).await? else {
            return Ok(false);
        };
        if job.attempts > limits::JOB_ATTEMPTS_MAX {
            let why = format!("given up: the worker ended {} times with this voice", job.attempts - 1);
            self.store.voice_job_missed(&job, None, &why, now_ms()).await?;
            return Ok(true);
        }
        let Some(path) = inside(&self.dir, &job.path) else {
            let why = "its path leaves the recordings folder";
            self.store.voice_job_missed(&job, None, why, now_ms()).await?;
            return Ok(true);
        };
        let audio_ms = u64::try_from(job.duration_ms).unwrap_or(0);
        let (store, leased) = (self.store.clone(), job.clone());
        let renew = |until: i64| {
            let (store, leased) = (store.clone(), leased.clone());
            async move { store.voice_job_renew(&leased, until).await }
        };
        let (next, why) = match self.hear(&path, audio_ms, renew).await {
            Outcome::Text(transcript) => return self.keep_voice(&job, *transcript).await.map(|()| true),
            Outcome::LeaseLost => return Ok(true),
            Outcome::Stopped => (Some(now_ms()), "the service stopped".to_owned()),
            Outcome::Fault(FaultKind::Unavailable, why) => {
                self.gate.shut(now_ms());
                (Some(now_ms() + limits::ENGINE_PAUSE_MS), why)
            }
            Outcome::Fault(FaultKind::Retry, why) if job.attempts < limits::JOB_ATTEMPTS_MAX => {
                (Some(now_ms() + backoff_ms(job.attempts)), why)
            }
            Outcome::Fault(_, why) => (None, why),
        };
        tracing::warn!(job = %job.id, why, given_up = next.is_none(), "a voice wasn't transcribed");
        self.store.voice_job_missed(&job, next, &why, now_ms()).await?;
        Ok(true)
    }

    async fn keep_voice(&self, job: &VoiceJob, transcript: Transcript) -> Result<(), DbError> {
        let whole: String =
            text::join(&transcript.segments).chars().take(hotline_db::limits::LONG_TEXT_CHARS_MAX).collect();
        let heard = VoiceText {
            redacted_text: text::redact(&whole),
            red: fields::extract(&whole).red,
            text: whole.clone(),
            engine: transcript.engine,
            model: transcript.model,
        };
        match self.store.voice_job_done(job, heard, now_ms()).await {
            Err(DbError::LeaseLost) => return Ok(()),
            other => other?,
        }
        tracing::info!(job = %job.id, "voice transcribed");
        let done = Done { recording: job.media, call: None, text: whole };
        tokio::select! {
            _ = self.done.send(done) => {}
            () = self.cancel.cancelled() => {}
        }
        Ok(())
    }
}

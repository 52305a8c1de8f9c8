//! Recordings of a call: their rows, their end.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hotline_db::{Id, NewRecording, RecordingDone, RecordingKind};
use hotline_ivr::Input;
use hotline_media::RecordingId;
use tokio::sync::mpsc;
use tracing::{error, warn};

use super::control::ControlError;
use super::driver::Driver;
use crate::app::Services;
use crate::clock::now_ms;
use crate::config::Record;
use crate::net::media::MediaEvent;
use crate::patience::patiently;

/// The longest talk a recording holds; 常州's longest call took 4,751 s.
pub(crate) const TALK_MAX_MS: u64 = 4 * 3600 * 1000;

/// A pause ends by itself after this long: nobody leaves the rest of a talk out by forgetting it.
const PAUSE_MAX: Duration = Duration::from_secs(10 * 60);

/// What a recording is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Talk,
    Message,
    Reason,
    Callback,
}

impl Purpose {
    pub(crate) fn from_flow(purpose: &str) -> Self {
        match purpose {
            "dissatisfaction_reason" => Self::Reason,
            _ => Self::Message,
        }
    }

    const fn kind(self) -> RecordingKind {
        match self {
            Self::Talk => RecordingKind::Talk,
            Self::Message => RecordingKind::Message,
            Self::Reason => RecordingKind::SurveyReason,
            Self::Callback => RecordingKind::Callback,
        }
    }
}

/// The recording that runs now.
pub(crate) struct ActiveRecording {
    id: String,
    /// It is paused, until then at the latest.
    paused: Option<Instant>,
}

/// Events a pause's ranges are found by, should the recording not live to its end.
pub(crate) const PAUSED: &str = "recording_paused";
pub(crate) const RESUMED: &str = "recording_resumed";

impl Driver {
    /// The call is answered: some hotlines record from here on.
    pub(crate) async fn record_answer(&mut self) {
        if self.record == Record::Answer {
            self.start_recording(Purpose::Talk, TALK_MAX_MS).await;
        }
    }

    /// A talk begins; what is recorded since the answer goes on.
    pub(crate) async fn record_talk(&mut self) {
        let goes_on = self.record == Record::Answer && self.recording.is_some();
        if self.record != Record::Off && !goes_on {
            self.start_recording(Purpose::Talk, TALK_MAX_MS).await;
        }
    }

    /// The row is on its way before the file begins; the repair at start reports a file whose row a crash swallowed.
    pub(crate) async fn start_recording(&mut self, purpose: Purpose, max_ms: u64) {
        if self.recording.is_some() {
            self.stop_recording();
        }
        let id = Id::new();
        let at = now_ms();
        let path = relative_path(&id, at, self.sv.config.site.utc_offset_min);
        let row = NewRecording {
            id,
            call: self.call,
            path: path.display().to_string(),
            started_at: at,
            channels: 2,
            kind: purpose.kind(),
            notice_played: self.notice_played,
        };
        self.story.recording_begun(row);
        let file = self.sv.config.storage.recordings().join(&path);
        if let Some(parent) = file.parent()
            && let Err(e) = tokio::fs::create_dir_all(parent).await
        {
            error!(call = %self.call, error = %e, "recording folder");
        }
        self.sv.media.record(self.citizen.id(), RecordingId(id.to_string()), file, max_ms);
        self.recordings_pending.insert(id.to_string(), purpose);
        self.recording = Some(ActiveRecording { id: id.to_string(), paused: None });
        if purpose == Purpose::Reason {
            self.verdict_recording = Some(id);
        }
    }

    /// A pause leaves silence in the file, its range in the row and both its ends, with who asked, among the
    /// call's events.
    pub(crate) fn pause_recording(&mut self, user: &str, paused: bool) -> Result<(), ControlError> {
        let recording = self.recording.as_mut().ok_or(ControlError::NotRecorded)?;
        if recording.paused.is_some() != paused {
            recording.paused = paused.then(|| Instant::now() + PAUSE_MAX);
            self.sv.media.pause_record(self.citizen.id(), paused);
            let kind = if paused { PAUSED } else { RESUMED };
            self.story.event(kind, serde_json::json!({ "recording": recording.id, "user": user }));
            self.tell_call();
        }
        Ok(())
    }

    /// Ends a pause nobody ended: a pause is its operator's, and a short one.
    pub(crate) fn end_pause(&mut self, why: &str) {
        let Some(recording) = self.recording.as_mut() else { return };
        if recording.paused.take().is_some() {
            self.sv.media.pause_record(self.citizen.id(), false);
            self.story.event(RESUMED, serde_json::json!({ "recording": recording.id, "why": why }));
        }
    }

    /// When a pause ends by itself.
    pub(crate) fn pause_ends(&self) -> Option<Instant> {
        self.recording.as_ref()?.paused
    }

    /// The talk is over, the call may go on: what is recorded since the answer goes on too.
    pub(crate) fn stop_talk_recording(&mut self) {
        if self.record == Record::Answer && self.line_ended_by.is_none() {
            return self.end_pause("operator_left");
        }
        self.stop_recording();
    }

    pub(crate) fn stop_recording(&mut self) {
        if self.recording.take().is_some() {
            self.sv.media.stop_record(self.citizen.id());
        }
    }

    /// The file is complete (or lost): its row, its job, and the flow that may wait for it.
    pub(crate) async fn recording_done(&mut self, event: MediaEvent) {
        let MediaEvent::RecordingDone { rec, duration_ms, .. } = &event else { return };
        let (rec, duration_ms) = (rec.clone(), *duration_ms);
        let purpose = self.recordings_pending.remove(&rec.0);
        self.story.recording_done(event);
        if self.recording.as_ref().is_some_and(|r| r.id == rec.0) {
            self.recording = None;
        }
        // The flow asked for this one and waits for its end.
        if matches!(purpose, Some(Purpose::Message | Purpose::Reason)) {
            self.input(Input::RecordDone { ms: duration_ms });
        }
    }
}

/// Finishes the rows of recordings whose calls no longer wait; runs until the media threads end.
pub async fn finish_orphans(sv: Arc<Services>, mut orphans: mpsc::Receiver<MediaEvent>) {
    while let Some(event) = orphans.recv().await {
        store_done(&sv, event).await;
    }
}

pub(crate) async fn store_done(sv: &Services, event: MediaEvent) {
    let MediaEvent::RecordingDone { rec, duration_ms, sha256, bytes, gaps_ms, paused_ranges, error, .. } = event else {
        return;
    };
    let Ok(id) = rec.0.parse::<Id>() else { return };
    let at = now_ms();
    let stored = match error {
        Some(why) => {
            error!(recording = %id, why, "recording failed");
            sv.metrics.recordings_failed.inc();
            patiently("end of recording", || sv.store.recording_lost(id, at, &why)).await
        }
        None => {
            let done = RecordingDone {
                duration_ms: signed(duration_ms),
                bytes: signed(bytes),
                sha256,
                gaps_ms: signed(gaps_ms),
                paused_ranges: serde_json::json!(paused_ranges).into(),
                transcribe: true,
                at,
            };
            patiently("end of recording", || sv.store.recording_finish(id, done.clone())).await
        }
    };
    if let Err(e) = stored {
        warn!(recording = %id, error = %e, "recording row not finished: the start-up repair will");
    }
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// `2026/11/21/ID.wav` in local time: a day's evidence is one folder.
fn relative_path(id: &Id, at: i64, utc_offset_min: i32) -> PathBuf {
    let (y, m, d) = crate::clock::local_date(at, utc_offset_min);
    PathBuf::from(format!("{y:04}/{m:02}/{d:02}/{id}.wav"))
}

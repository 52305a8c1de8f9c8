//! What the last stop cut off: recordings finished, calls ended, citizens to be called back.

use std::sync::Arc;

use hotline_db::{Call, CallEnd, CallbackKind, DbError, Direction, EndSide, NewCallback, RecordingDone};
use tracing::{info, warn};

use crate::app::{Services, now_ms};

/// Why recovery stopped.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] DbError),
    /// The recordings folder can't be read.
    #[error("recordings folder: {0}")]
    Folder(#[from] std::io::Error),
    /// The repair task died.
    #[error("repair did not finish")]
    Repair,
}

/// Runs once at start, before the first call.
pub async fn recover(sv: &Arc<Services>) -> Result<(), RecoverError> {
    let folder = sv.config.storage.recordings();
    let repaired = tokio::task::spawn_blocking(move || hotline_media::repair(&folder))
        .await
        .map_err(|_| RecoverError::Repair)??;
    for file in repaired.iter().filter(|f| f.was_broken) {
        info!(file = %file.path.display(), duration_ms = file.duration_ms, "recording repaired");
    }
    finish_recordings(sv).await?;
    for call in sv.store.calls_open(Some(&sv.node)).await? {
        end_cut_call(sv, &call).await?;
    }
    Ok(())
}

/// Rows without an end: their file is whole now, or there never was one.
async fn finish_recordings(sv: &Arc<Services>) -> Result<(), RecoverError> {
    let root = sv.config.storage.recordings();
    for row in sv.store.recordings_open().await? {
        // Another gateway on the same database may be writing it right now.
        if sv.store.call_get(row.call).await?.is_none_or(|c| c.node != sv.node) {
            continue;
        }
        let path = root.join(&row.path);
        let judged = tokio::task::spawn_blocking(move || judge(&path)).await.map_err(|_| RecoverError::Repair)?;
        match judged {
            Ok((duration_ms, bytes, sha256)) => {
                let done = RecordingDone {
                    duration_ms,
                    bytes,
                    sha256,
                    gaps_ms: 0,
                    paused_ranges: serde_json::json!([]).into(),
                    transcribe: true,
                    at: now_ms(),
                };
                sv.store.recording_finish(row.id, done).await?;
            }
            Err(why) => {
                warn!(recording = %row.id, why, "recording lost");
                sv.store.recording_lost(row.id, now_ms(), &why).await?;
            }
        }
    }
    Ok(())
}

fn judge(path: &std::path::Path) -> Result<(i64, i64, String), String> {
    let bytes = std::fs::read(path).map_err(|e| e.to_string())?;
    let reader = hound::WavReader::new(bytes.as_slice()).map_err(|e| e.to_string())?;
    let duration_ms = i64::from(reader.duration()) * 1000 / i64::from(reader.spec().sample_rate.max(1));
    Ok((duration_ms, i64::try_from(bytes.len()).unwrap_or(i64::MAX), crate::privacy::sha256_hex(&bytes)))
}

async fn end_cut_call(sv: &Arc<Services>, call: &Call) -> Result<(), RecoverError> {
    let at = now_ms();
    let missed = (call.direction == Direction::Inbound).then(|| NewCallback {
        call: Some(call.id),
        party: call.party,
        ..NewCallback::new(CallbackKind::Missed, sv.rules.next_awake(at))
    });
    let end = CallEnd {
        at,
        end_side: EndSide::System,
        end_reason: "crash".into(),
        stage_abandoned: call.operator_answer_at.is_none().then(|| "cut".into()),
        wait_ms: None,
        talk_ms: None,
        hold_ms: None,
        wrap_ms: None,
        missed,
        served: false,
    };
    if sv.store.call_end(call.id, end).await? {
        warn!(call = %call.id, "call cut by the last stop: the citizen is called back");
    }
    Ok(())
}

//! What the last stop cut off: calls ended, citizens to be called back, recordings finished.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use hotline_db::{
    Call, CallEnd, CallbackKind, DbError, Direction, EndSide, Id, Json, NewCallback, Recording, RecordingDone, Store,
};
use hotline_media::recorder::{HEADER_LEN, WavFormat, parse_header, part_path, sha256_file};
use hotline_media::{RepairError, Repaired};
use tracing::{error, info, warn};

use super::recording::{PAUSED, RESUMED};
use crate::app::Services;
use crate::callback::schedule::Rules;
use crate::clock::now_ms;
use crate::patience::patiently;

/// Why recovery stopped.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The store doesn't even list the open calls.
    #[error(transparent)]
    Store(#[from] DbError),
}

/// Runs once at start, before the first call. Citizens first: a cut call is ended and given back
/// whatever the recordings folder is like, and no recording keeps the hotline from starting.
pub async fn recover(sv: &Arc<Services>) -> Result<(), RecoverError> {
    end_cut_calls(&sv.store, &sv.rules, &sv.node).await?;
    let format = sv.config.media.recording_format.into();
    recover_recordings(&sv.store, &sv.config.storage.recordings(), format, &sv.node).await;
    Ok(())
}

async fn end_cut_calls(store: &Store, rules: &Rules, node: &str) -> Result<(), RecoverError> {
    for call in store.calls_open(Some(node)).await? {
        let end = cut_end(rules, &call, now_ms());
        match patiently("end of call", || store.call_end(call.id, end.clone())).await {
            Ok(true) => warn!(call = %call.id, "call cut by the last stop: the citizen is called back"),
            Ok(false) => {}
            Err(e) => error!(call = %call.id, error = %e, "cut call not ended: the next start tries again"),
        }
    }
    Ok(())
}

fn cut_end(rules: &Rules, call: &Call, at: i64) -> CallEnd {
    let missed = (call.direction == Direction::Inbound).then(|| NewCallback {
        call: Some(call.id),
        party: call.party,
        ..NewCallback::new(CallbackKind::Missed, rules.next_awake(at))
    });
    CallEnd {
        at,
        end_side: EndSide::System,
        end_reason: "crash".into(),
        stage_abandoned: call.operator_answer_at.is_none().then(|| "cut".into()),
        wait_ms: None,
        talk_ms: None,
        hold_ms: None,
        wrap_ms: None,
        mos: None,
        legs: Vec::new(),
        missed,
        served: false,
    }
}

/// Finishes files, then rows; whatever fails is logged with its path and left for the next start.
async fn recover_recordings(store: &Store, root: &Path, format: WavFormat, node: &str) {
    let folder = root.to_owned();
    let results = match tokio::task::spawn_blocking(move || hotline_media::repair(&folder, format)).await {
        Ok(results) => results,
        Err(e) => return error!(error = %e, "repair of recordings died: open rows stay open"),
    };
    let mut failed = Vec::new();
    for result in results {
        match result {
            Ok(file) => finish_repaired(store, file).await,
            Err(e) => {
                error!(path = %e.path.display(), error = %e.source, "recording not repaired");
                failed.push(e);
            }
        }
    }
    if let Err(e) = finish_open(store, root, node, &failed).await {
        error!(error = %e, "rows of recordings not finished: the next start tries again");
    }
}

/// The row of a repaired file, by the id in its name, whatever the row said before: also a recording
/// that was given up as lost is evidence once its file is whole.
async fn finish_repaired(store: &Store, file: Repaired) {
    let path = file.path.display();
    let Some(id) = file.path.file_stem().and_then(|stem| stem.to_str()?.parse::<Id>().ok()) else {
        return error!(%path, "repaired recording whose name is no id: no row can be finished");
    };
    let mut done = done(file.duration_ms, file.bytes, file.sha256);
    match store.recording_get(id).await {
        Ok(Some(row)) => done.paused_ranges = paused_ranges(store, &row, done.duration_ms).await,
        Ok(None) => {}
        Err(e) => warn!(%path, error = %e, "pauses of a repaired recording unknown"),
    }
    match patiently("end of recording", || store.recording_finish(id, done.clone())).await {
        Ok(true) if file.was_broken => info!(%path, duration_ms = done.duration_ms, "recording repaired"),
        Ok(true) => info!(%path, duration_ms = done.duration_ms, "recording finished"),
        Ok(false) => error!(%path, "repaired recording whose row was complete before: its hash is another's"),
        Err(DbError::NotFound) => error!(%path, "repaired recording without a row: it belongs to no call"),
        Err(e) => error!(%path, error = %e, "row of a repaired recording not finished"),
    }
}

fn done(duration_ms: u64, bytes: u64, sha256: String) -> RecordingDone {
    let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    RecordingDone {
        duration_ms: signed(duration_ms),
        bytes: signed(bytes),
        sha256,
        gaps_ms: 0,
        paused_ranges: serde_json::json!([]).into(),
        transcribe: true,
        at: now_ms(),
    }
}

/// The pauses of a recording that was cut off, from its call's events; the file is silent there anyway.
async fn paused_ranges(store: &Store, row: &Recording, duration_ms: i64) -> Json {
    let events = store.call_events(row.call).await.unwrap_or_else(|e| {
        warn!(recording = %row.id, error = %e, "pauses of a cut recording unknown");
        Vec::new()
    });
    let id = row.id.to_string();
    let (mut ranges, mut since) = (Vec::new(), None);
    for event in events.iter().filter(|event| event.data.0["recording"].as_str() == Some(&id)) {
        let at = (event.at - row.started_at).clamp(0, duration_ms);
        match event.kind.as_str() {
            PAUSED => since = since.or(Some(at)),
            RESUMED => ranges.extend(since.take().map(|since| (since, at))),
            _ => {}
        }
    }
    ranges.extend(since.map(|since| (since, duration_ms)));
    serde_json::json!(ranges).into()
}

/// Rows still without an end: their file was whole before the stop, or there never was one.
async fn finish_open(store: &Store, root: &Path, node: &str, failed: &[RepairError]) -> Result<(), DbError> {
    for row in store.recordings_open().await? {
        // Another gateway on the same database may be writing it right now.
        if store.call_get(row.call).await?.is_none_or(|c| c.node != node) {
            continue;
        }
        let path = root.join(&row.path);
        // What couldn't be looked into is not lost yet.
        if failed.iter().any(|e| path.starts_with(&e.path) || part_path(&path) == e.path) {
            continue;
        }
        let judged = tokio::task::spawn_blocking(move || judge(&path)).await;
        let judged = judged.unwrap_or_else(|e| Judged::Unknown(io::Error::other(e)));
        if let Err(e) = settle(store, &row, judged).await {
            error!(recording = %row.id, error = %e, "row of a recording not finished: the next start tries again");
        }
    }
    Ok(())
}

enum Judged {
    Whole(RecordingDone),
    Lost(String),
    Unknown(io::Error),
}

async fn settle(store: &Store, row: &Recording, judged: Judged) -> Result<(), DbError> {
    match judged {
        Judged::Whole(mut done) => {
            done.paused_ranges = paused_ranges(store, row, done.duration_ms).await;
            store.recording_finish(row.id, done).await.map(|_| ())
        }
        Judged::Lost(why) => {
            error!(recording = %row.id, path = row.path, why, "recording lost");
            store.recording_lost(row.id, now_ms(), &why).await.map(|_| ())
        }
        Judged::Unknown(e) => {
            error!(recording = %row.id, path = row.path, error = %e, "recording can't be read: its row stays open");
            Ok(())
        }
    }
}

fn judge(path: &Path) -> Judged {
    let look = || -> io::Result<Result<RecordingDone, String>> {
        let mut file = File::open(path)?;
        let bytes = file.metadata()?.len();
        let mut head = Vec::with_capacity(HEADER_LEN);
        file.by_ref().take(HEADER_LEN as u64).read_to_end(&mut head)?;
        Ok(match parse_header(&head) {
            Ok(head) => Ok(done(head.frames / hotline_media::limits::SAMPLES_PER_MS, bytes, sha256_file(path)?)),
            Err(why) => Err(why.to_string()),
        })
    };
    match look() {
        Ok(Ok(done)) => Judged::Whole(done),
        Ok(Err(why)) => Judged::Lost(why),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Judged::Lost("there is no file".into()),
        Err(e) => Judged::Unknown(e),
    }
}

#[cfg(test)]
mod tests {
    use hotline_db::{CallbackFilter, NewCall, NewRecording, RecordingKind, RecordingState};
    use hotline_media::recorder::WavFile;

    use super::*;
    use crate::config::Callback;

    const NODE: &str = "this-node";

    struct Stage {
        store: Store,
        folder: tempfile::TempDir,
    }

    impl Stage {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open(&format!("sqlite://{}", folder.path().join("h.db").display())).await.unwrap();
            std::fs::create_dir(folder.path().join("recordings")).unwrap();
            Self { store, folder }
        }

        fn root(&self) -> std::path::PathBuf {
            self.folder.path().join("recordings")
        }

        async fn call(&self, node: &str) -> Id {
            let new = NewCall {
                direction: Direction::Inbound,
                channel: "phone".into(),
                did: "12319".into(),
                caller_masked: "138****5678".into(),
                party: None,
                trunk: None,
                sip_call_id: Id::new().to_string(),
                node: node.into(),
                at: now_ms(),
            };
            self.store.call_begin(new).await.unwrap().id
        }

        async fn row(&self, call: Id, id: Id) {
            let new = NewRecording {
                id,
                call,
                path: format!("{id}.wav"),
                kind: RecordingKind::Talk,
                channels: 2,
                started_at: now_ms(),
                notice_played: true,
            };
            self.store.recording_begin(new).await.unwrap();
        }

        /// What a crash leaves: 100 ms of sound under the name of an open file.
        fn cut_file(&self, name: &str) {
            let mut file = WavFile::create(&self.root().join(name), WavFormat::Pcm16).unwrap();
            file.write_at(0, &[7; 3200]).unwrap();
        }

        async fn recover(&self, root: &Path) {
            let rules = Rules::new(&Callback::default(), crate::calendar::Calendar::default(), 480);
            end_cut_calls(&self.store, &rules, NODE).await.unwrap();
            recover_recordings(&self.store, root, WavFormat::Pcm16, NODE).await;
        }

        async fn recording(&self, id: Id) -> Recording {
            self.store.recording_get(id).await.unwrap().unwrap()
        }
    }

    #[tokio::test]
    async fn cut_calls_are_given_back_even_if_the_recordings_folder_is_gone() {
        let stage = Stage::new().await;
        let (ours, others, rec) = (stage.call(NODE).await, stage.call("another").await, Id::new());
        stage.row(ours, rec).await;
        stage.recover(&stage.root().join("not mounted")).await;
        let open: Vec<Id> = stage.store.calls_open(None).await.unwrap().iter().map(|c| c.id).collect();
        assert_eq!(open, [others], "another gateway's calls go on");
        let tasks = stage.store.callbacks(CallbackFilter { limit: 10, ..CallbackFilter::default() }).await.unwrap();
        assert_eq!(tasks.iter().map(|t| t.call).collect::<Vec<_>>(), [Some(ours)]);
        assert_eq!(stage.recording(rec).await.state, RecordingState::Open, "a folder that can't be read loses nothing");
        stage.store.close().await;
    }

    #[tokio::test]
    async fn a_repaired_file_finishes_its_row_open_or_lost_with_its_own_hash() {
        let stage = Stage::new().await;
        let call = stage.call(NODE).await;
        let (open, lost) = (Id::new(), Id::new());
        for id in [open, lost] {
            stage.row(call, id).await;
            stage.cut_file(&format!("{id}.wav"));
        }
        stage.store.recording_lost(lost, now_ms(), "can't finish the file").await.unwrap();
        stage.recover(&stage.root()).await;
        for id in [open, lost] {
            let row = stage.recording(id).await;
            let path = stage.root().join(&row.path);
            assert_eq!((row.state, row.duration_ms, row.bytes), (RecordingState::Done, Some(100), Some(3244)));
            assert_eq!(row.sha256, Some(sha256_file(&path).unwrap()));
            assert!(row.chain_n.is_some() && !part_path(&path).exists());
        }
        stage.store.close().await;
    }

    #[tokio::test]
    async fn pauses_of_a_cut_recording_are_found_in_the_calls_events() {
        let stage = Stage::new().await;
        let (call, rec, other) = (stage.call(NODE).await, Id::new(), Id::new());
        stage.row(call, rec).await;
        stage.cut_file(&format!("{rec}.wav"));
        let started = stage.recording(rec).await.started_at;
        for (after, kind, of) in [(20, PAUSED, rec), (30, PAUSED, other), (50, RESUMED, rec), (70, PAUSED, rec)] {
            let data = serde_json::json!({ "recording": of });
            stage.store.call_event(call, started + after, kind, data).await.unwrap();
        }
        stage.recover(&stage.root()).await;
        let ranges = stage.recording(rec).await.paused_ranges.unwrap().0;
        assert_eq!(ranges, serde_json::json!([[20, 50], [70, 100]]), "the last one never ended");
        stage.store.close().await;
    }

    #[tokio::test]
    async fn one_bad_file_stops_neither_the_others_nor_the_start() {
        let stage = Stage::new().await;
        let call = stage.call(NODE).await;
        // Nobody's name, nobody's row, and a file that can't be given any free name.
        stage.cut_file("notes.wav");
        stage.cut_file(&format!("{}.wav", Id::new()));
        let stem = "0".repeat(246);
        stage.cut_file(&format!("{stem}.wav"));
        std::fs::write(stage.root().join(format!("{stem}.wav")), "taken").unwrap();
        let [good, whole, garbage, missing] = [(); 4].map(|()| Id::new());
        for id in [good, whole, garbage, missing] {
            stage.row(call, id).await;
        }
        stage.cut_file(&format!("{good}.wav"));
        let file = WavFile::create(&stage.root().join(format!("{whole}.wav")), WavFormat::Pcm16).unwrap();
        file.finish(800).unwrap();
        std::fs::write(stage.root().join(format!("{garbage}.wav")), "no sound").unwrap();
        stage.recover(&stage.root()).await;
        let state = async |id| stage.recording(id).await.state;
        assert_eq!(state(good).await, RecordingState::Done);
        assert_eq!(state(whole).await, RecordingState::Done, "its row alone was missing");
        assert_eq!(stage.recording(whole).await.duration_ms, Some(100));
        assert_eq!(state(garbage).await, RecordingState::Lost);
        assert_eq!(state(missing).await, RecordingState::Lost);
        assert_eq!(stage.recording(missing).await.lost_reason.as_deref(), Some("there is no file"));
        stage.store.close().await;
    }
}

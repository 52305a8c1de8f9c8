//! The sync thread: the slow end of recordings.

use std::{
    fs::File,
    io,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use hotline_media::recorder::{Finish, WavFile, part_path};

use super::{
    MediaEvent,
    event::EventSink,
    limits::{RETRY_MS, SYNC_QUEUE_MAX, WAKE_MS_MAX},
};

/// How long the last events are offered to a full channel when the program ends.
const LAST_EVENTS_MS: u64 = 2000;

/// A job for the sync thread.
pub(super) enum Job {
    /// fdatasync of an open recording.
    Sync {
        file: Arc<File>,
        /// Dropped when done, which allows the next request.
        _pending: Arc<()>,
    },
    /// Finish a file and report it.
    Finish { finish: Box<Finish>, file: Option<WavFile>, error: Option<String> },
}

/// Starts the thread; it ends when the writer has.
pub(super) fn start(mut events: EventSink, legs_max: usize) -> io::Result<(SyncSender<Job>, JoinHandle<()>)> {
    let (tx, jobs) = sync_channel(SYNC_QUEUE_MAX + legs_max);
    let join = std::thread::Builder::new().name("media-sync".into()).spawn(move || run(&jobs, &mut events))?;
    Ok((tx, join))
}

fn run(jobs: &Receiver<Job>, events: &mut EventSink) {
    let mut events_wait = false;
    loop {
        let patience = if events_wait { RETRY_MS } else { WAKE_MS_MAX };
        match jobs.recv_timeout(Duration::from_millis(patience)) {
            Ok(Job::Sync { file, _pending }) => {
                if let Err(error) = file.sync_data() {
                    tracing::warn!(%error, "fdatasync of a recording failed");
                }
            }
            Ok(Job::Finish { finish, file, error }) => events.push(complete(*finish, file, error)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        events_wait = events.retry();
    }
    let deadline = Instant::now() + Duration::from_millis(LAST_EVENTS_MS);
    while events.retry() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(RETRY_MS));
    }
}

fn complete(finish: Finish, file: Option<WavFile>, error: Option<String>) -> MediaEvent {
    let duration_ms = finish.duration_ms();
    let frames = finish.frames;
    let (path, bytes, sha256, error) = match file.map(|file| file.finish(frames)) {
        Some(Ok(done)) => (finish.path, done.bytes, done.sha256, None),
        Some(Err(error)) => {
            tracing::error!(leg = %finish.leg, path = %finish.path.display(), %error, "recording can't be finished");
            (part_path(&finish.path), 0, String::new(), Some(format!("can't finish the file: {error}")))
        }
        None => (finish.path, 0, String::new(), error),
    };
    MediaEvent::RecordingDone {
        leg: finish.leg,
        rec: finish.rec,
        path,
        duration_ms,
        sha256,
        bytes,
        gaps_ms: finish.gaps_ms,
        paused_ranges: finish.paused_ranges,
        error,
    }
}

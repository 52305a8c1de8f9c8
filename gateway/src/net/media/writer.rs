//! The writer thread: stores blocks as they come. Whatever may block for long (fdatasync, hashing,
//! renaming) goes to the sync thread, so that one slow file never holds up the others. Headers are
//! written at both ends of a recording only: in between a file's own length is all that repair needs.

use std::{
    collections::HashMap,
    io,
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use hotline_media::{
    LegId,
    engine::RecorderOp,
    limits::{SAMPLES_PER_MS, SYNC_MS},
    recorder::{BlockPool, RecordingKey, WavFile, Write},
};
use tokio::sync::mpsc;

use super::{
    MediaConfig, MediaEvent,
    event::EventSink,
    limits::{RETRY_MS, SYNC_LOOK_MS, WRITER_QUEUE_EXTRA},
    stats::Shared,
    sync::{self, Job},
};

/// The media threads' way to the writer.
#[derive(Clone)]
pub(super) struct WriterHandle {
    tx: SyncSender<(usize, RecorderOp)>,
    source: usize,
    pool: BlockPool,
}

impl WriterHandle {
    /// The blocks recordings are filled into.
    pub(super) fn pool(&self) -> BlockPool {
        self.pool.clone()
    }

    /// The same writer for another media thread: its recordings have keys of their own.
    pub(super) fn for_thread(&self, source: usize) -> Self {
        Self { source, ..self.clone() }
    }

    /// Hands an operation over, or gives it back if the queue is full. Never waits. After the
    /// writer has died operations are lost, which it has logged.
    pub(super) fn post(&self, op: RecorderOp) -> Result<(), RecorderOp> {
        match self.tx.try_send((self.source, op)) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => Ok(()),
            Err(TrySendError::Full((_, op))) => Err(op),
        }
    }
}

#[cfg(test)]
impl WriterHandle {
    /// A handle whose writer is what the test makes of the receiver.
    pub(super) fn for_test(queue: usize) -> (Self, Receiver<(usize, RecorderOp)>) {
        let (tx, ops) = sync_channel(queue);
        (Self { tx, source: 0, pool: BlockPool::new(1) }, ops)
    }
}

type Key = (usize, RecordingKey);

struct Open {
    leg: LegId,
    path: PathBuf,
    /// `None`: the file could not be created; why is in `error`.
    file: Option<WavFile>,
    error: Option<String>,
    lost_ms: u64,
    synced_at: Instant,
    /// The last sync request is still on its way as long as this is shared.
    sync_pending: Arc<()>,
}

struct Writer {
    ops: Receiver<(usize, RecorderOp)>,
    sync: SyncSender<Job>,
    open: HashMap<Key, Open>,
    shared: Arc<Shared>,
    events: EventSink,
    looked_at: Instant,
}

/// Starts the writer and sync threads.
pub(super) fn start(
    cfg: &MediaConfig,
    shared: &Arc<Shared>,
    events: mpsc::Sender<MediaEvent>,
) -> io::Result<(WriterHandle, Vec<JoinHandle<()>>)> {
    let pool = BlockPool::new(cfg.legs_max);
    let (tx, ops) = sync_channel(pool.size() + WRITER_QUEUE_EXTRA);
    let (sync, sync_join) = sync::start(EventSink::new(events.clone(), Arc::clone(shared)), cfg.legs_max)?;
    let mut writer = Writer {
        ops,
        sync,
        open: HashMap::new(),
        shared: Arc::clone(shared),
        events: EventSink::new(events, Arc::clone(shared)),
        looked_at: Instant::now(),
    };
    let join = std::thread::Builder::new().name("media-writer".into()).spawn(move || writer.run())?;
    Ok((WriterHandle { tx, source: 0, pool }, vec![join, sync_join]))
}

impl Writer {
    fn run(&mut self) {
        let mut events_wait = false;
        loop {
            let patience = if events_wait { RETRY_MS } else { SYNC_LOOK_MS };
            match self.ops.recv_timeout(Duration::from_millis(patience)) {
                Ok((source, op)) => self.take(source, op),
                Err(RecvTimeoutError::Timeout) => {}
                // All media threads have ended, and each finished its recordings first.
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.looked_at.elapsed() >= Duration::from_millis(SYNC_LOOK_MS) {
                self.ask_for_syncs();
            }
            events_wait = self.events.retry();
        }
    }

    fn take(&mut self, source: usize, op: RecorderOp) {
        match op {
            RecorderOp::Open { key, leg, path, format } => {
                let (file, error) = match WavFile::create(&path, format) {
                    Ok(file) => (Some(file), None),
                    Err(error) => {
                        tracing::error!(%leg, path = %path.display(), %error, "recording can't be created");
                        (None, Some(format!("can't create the file: {error}")))
                    }
                };
                let synced_at = Instant::now();
                let open = Open { leg, path, file, error, lost_ms: 0, synced_at, sync_pending: Arc::new(()) };
                self.open.insert((source, key), open);
            }
            RecorderOp::Write(write) => self.store((source, write.key), &write),
            RecorderOp::Finish(mut finish) => {
                let Some(mut open) = self.open.remove(&(source, finish.key)) else {
                    return;
                };
                if let Some(file) = open.file.as_mut()
                    && let Err(error) = file.write_at(finish.tail_offset_frames, &finish.tail)
                {
                    let lost_ms = ms_of(file, &finish.tail);
                    lost(&mut open, lost_ms, &error, &self.shared, &mut self.events);
                }
                finish.tail = Vec::new();
                finish.gaps_ms += open.lost_ms;
                // The sync thread's queue holds one job per leg; waiting here is the lesser evil
                // to losing a finished recording.
                let job = Job::Finish { finish, file: open.file, error: open.error };
                if self.sync.send(job).is_err() {
                    tracing::error!("sync thread has ended; recording left for repair");
                }
            }
        }
    }

    fn store(&mut self, key: Key, write: &Write) {
        let Some(open) = self.open.get_mut(&key) else {
            return;
        };
        let bytes = write.block.bytes();
        if let Some(file) = open.file.as_mut()
            && let Err(error) = file.write_at(write.offset_frames, bytes)
        {
            let lost_ms = ms_of(file, bytes);
            lost(open, lost_ms, &error, &self.shared, &mut self.events);
        }
    }

    /// Asks for fdatasync where it is due.
    fn ask_for_syncs(&mut self) {
        let now = Instant::now();
        self.looked_at = now;
        for open in self.open.values_mut() {
            let Some(file) = open.file.as_ref() else {
                continue;
            };
            let is_due = now.saturating_duration_since(open.synced_at) >= Duration::from_millis(SYNC_MS);
            if is_due && Arc::strong_count(&open.sync_pending) == 1 {
                open.synced_at = now;
                let pending = Arc::clone(&open.sync_pending);
                // A full queue means the disk is behind already: asking again later is right.
                let _ = self.sync.try_send(Job::Sync { file: file.file(), _pending: pending });
            }
        }
    }
}

/// The disk refused audio (full, failing): the file keeps its length, with silence there.
fn lost(open: &mut Open, ms: u64, error: &io::Error, shared: &Shared, events: &mut EventSink) {
    if open.lost_ms == 0 {
        tracing::error!(leg = %open.leg, path = %open.path.display(), %error, "recording loses audio");
    }
    open.lost_ms += ms;
    shared.count_writer_gap(ms);
    events.push(MediaEvent::RecordingGap { leg: open.leg, ms });
}

fn ms_of(file: &WavFile, bytes: &[u8]) -> u64 {
    ((bytes.len() / file.frame_len()) as u64).div_ceil(SAMPLES_PER_MS)
}

//! What a recording asks of the writer.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use super::Block;
use crate::{LegId, RecordingId};

/// Names an open recording between engine and writer; unique per engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecordingKey(pub u64);

/// Counts the blocks of one recording that are not stored yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct InFlight(Arc<AtomicU32>);

impl InFlight {
    pub(crate) fn count(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }

    fn ticket(&self) -> Ticket {
        self.0.fetch_add(1, Ordering::AcqRel);
        Ticket(Arc::clone(&self.0))
    }
}

/// Given back by being dropped.
#[derive(Debug)]
struct Ticket(Arc<AtomicU32>);

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Store audio: whole stereo frames in the recording's format. Later writes may cover earlier ones (late packets).
/// Dropping it returns the block to its pool.
#[derive(Debug)]
pub struct Write {
    /// Which recording.
    pub key: RecordingKey,
    /// Where, in frames since the start.
    pub offset_frames: u64,
    /// What.
    pub block: Block,
    _ticket: Ticket,
}

impl Write {
    pub(crate) fn new(key: RecordingKey, offset_frames: u64, block: Block, in_flight: &InFlight) -> Self {
        Self { key, offset_frames, block, _ticket: in_flight.ticket() }
    }
}

/// Finish the file: store the tail, make it exactly `frames` long, give it its final name.
#[derive(Debug)]
pub struct Finish {
    /// Which recording.
    pub key: RecordingKey,
    /// The leg it belonged to.
    pub leg: LegId,
    /// The caller's id.
    pub rec: RecordingId,
    /// The final file name.
    pub path: PathBuf,
    /// Where the tail begins.
    pub tail_offset_frames: u64,
    /// The last audio.
    pub tail: Vec<u8>,
    /// Length of the recording: wall time from start to stop at 8 frames/ms.
    pub frames: u64,
    /// Audio lost because no block was free.
    pub gaps_ms: u64,
    /// Pauses as (start, end) in ms since the start.
    pub paused_ranges: Vec<(u64, u64)>,
}

impl Finish {
    /// Length in milliseconds.
    #[must_use]
    pub fn duration_ms(&self) -> u64 {
        self.frames / crate::limits::SAMPLES_PER_MS
    }
}

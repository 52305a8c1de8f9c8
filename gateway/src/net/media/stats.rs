//! Counters shared by the threads, read by `stats()` and the metrics page.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
};

use hotline_media::engine::Totals;

/// Counters over all media threads since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MediaStats {
    /// RTP packets accepted.
    pub packets_in: u64,
    /// RTP packets sent.
    pub packets_out: u64,
    /// Packets too late to be used.
    pub late: u64,
    /// Packets from addresses that are not the peer's.
    pub dropped_foreign: u64,
    /// Datagrams that are no RTP or RTCP.
    pub malformed: u64,
    /// Packets refused for other reasons: duplicates, unknown payload types, unproven streams.
    pub dropped_other: u64,
    /// Packets of encrypted legs refused: not authentic, replayed, or a key used up.
    pub srtp_refused: u64,
    /// STUN requests on browsers' legs without our password.
    pub stun_refused: u64,
    /// Datagrams the kernel did not take.
    pub send_errors: u64,
    /// Legs open now.
    pub legs: u64,
    /// Recordings open now.
    pub recordings: u64,
    /// Recordings refused because the disk was too far behind.
    pub recordings_refused: u64,
    /// Milliseconds of audio recordings lost because the disk could not keep up.
    pub gaps_ms: u64,
    /// Events lost because nobody took them; 0 unless the program hangs.
    pub events_lost: u64,
    /// Commands refused because a queue was full; 0 unless a media thread hangs.
    pub commands_refused: u64,
}

/// Counters of all threads, and the number of legs admitted.
#[derive(Debug)]
pub(super) struct Shared {
    threads: Vec<Mutex<Totals>>,
    /// Thousandths of a core each thread used in its last second.
    loads: Vec<AtomicU32>,
    legs_admitted: AtomicUsize,
    send_errors: AtomicU64,
    writer_gaps_ms: AtomicU64,
    events_lost: AtomicU64,
    commands_refused: AtomicU64,
    recordings_refused: AtomicU64,
}

impl Shared {
    pub(super) fn new(threads: usize) -> Self {
        Self {
            threads: (0..threads).map(|_| Mutex::default()).collect(),
            loads: (0..threads).map(|_| AtomicU32::new(0)).collect(),
            legs_admitted: AtomicUsize::new(0),
            send_errors: AtomicU64::new(0),
            writer_gaps_ms: AtomicU64::new(0),
            events_lost: AtomicU64::new(0),
            commands_refused: AtomicU64::new(0),
            recordings_refused: AtomicU64::new(0),
        }
    }

    /// Counts a leg in unless the limit is reached.
    pub(super) fn admit_leg(&self, legs_max: usize) -> bool {
        let more = |legs: usize| (legs < legs_max).then_some(legs + 1);
        self.legs_admitted.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok()
    }

    pub(super) fn release_leg(&self) {
        self.legs_admitted.fetch_sub(1, Ordering::AcqRel);
    }

    /// Stores a thread's totals; skipped while a reader looks, so a media thread never waits.
    pub(super) fn store(&self, thread: usize, totals: Totals) {
        if let Some(Ok(mut slot)) = self.threads.get(thread).map(Mutex::try_lock) {
            *slot = totals;
        }
    }

    pub(super) fn store_load(&self, thread: usize, permille: u32) {
        if let Some(load) = self.loads.get(thread) {
            load.store(permille, Ordering::Relaxed);
        }
    }

    pub(super) fn load(&self, thread: usize) -> u32 {
        self.loads.get(thread).map_or(0, |load| load.load(Ordering::Relaxed))
    }

    pub(super) fn count_send_error(&self) {
        self.send_errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_writer_gap(&self, ms: u64) {
        self.writer_gaps_ms.fetch_add(ms, Ordering::Relaxed);
    }

    pub(super) fn count_lost_event(&self) {
        self.events_lost.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_refused_command(&self) {
        self.commands_refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_refused_recording(&self) {
        self.recordings_refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self) -> MediaStats {
        let mut stats = MediaStats {
            legs: self.legs_admitted.load(Ordering::Acquire) as u64,
            send_errors: self.send_errors.load(Ordering::Relaxed),
            gaps_ms: self.writer_gaps_ms.load(Ordering::Relaxed),
            events_lost: self.events_lost.load(Ordering::Relaxed),
            commands_refused: self.commands_refused.load(Ordering::Relaxed),
            recordings_refused: self.recordings_refused.load(Ordering::Relaxed),
            ..MediaStats::default()
        };
        for thread in &self.threads {
            let totals = *thread.lock().unwrap_or_else(PoisonError::into_inner);
            stats.packets_in += totals.packets_in;
            stats.packets_out += totals.packets_out;
            stats.late += totals.late;
            stats.dropped_foreign += totals.dropped_foreign;
            stats.malformed += totals.malformed;
            stats.dropped_other += totals.dropped_other + totals.output_overflow;
            stats.srtp_refused += totals.srtp_refused;
            stats.stun_refused += totals.stun_refused;
            stats.gaps_ms += totals.gaps_ms;
            stats.recordings += totals.recordings;
        }
        stats
    }
}

//! What the media threads report, and the backlog that keeps reports from getting lost.

use std::{collections::VecDeque, path::PathBuf, sync::Arc};

use hotline_media::{
    LegId, LegStats, RecordingId,
    engine::{AudioFault, Event},
    mixer::MatrixError,
};
use tokio::sync::mpsc;

use super::{limits::EVENTS_BACKLOG_MAX, stats::Shared};

/// What happened on a leg.
#[derive(Clone, Debug, PartialEq)]
pub enum MediaEvent {
    /// A key was pressed (RFC 4733), reported once, when it is released.
    Digit {
        /// The leg it came from.
        leg: LegId,
        /// `0-9`, `*`, `#`, `A-D`.
        digit: char,
        /// How long it was held.
        duration_ms: u32,
    },
    /// The clips of a `play` ended by themselves.
    PlayDone {
        /// The leg.
        leg: LegId,
        /// The id given to `play`.
        play_id: u64,
    },
    /// The first packet was accepted; the leg is latched.
    FirstPacket {
        /// The leg.
        leg: LegId,
    },
    /// No RTP for `rtp_silence_ms` although the peer should send.
    Silent {
        /// The leg.
        leg: LegId,
    },
    /// RTP came again after [`MediaEvent::Silent`].
    Resumed {
        /// The leg.
        leg: LegId,
    },
    /// A browser's leg has its keys: media may go.
    Secured {
        /// The leg.
        leg: LegId,
    },
    /// A browser's leg will have no keys.
    SecureFailed {
        /// The leg.
        leg: LegId,
        /// Why.
        why: &'static str,
    },
    /// A leg can't be heard, or can again.
    Audio {
        /// The leg.
        leg: LegId,
        /// What is wrong.
        fault: AudioFault,
        /// `None`: it begins. Else it is over, after so many ms.
        lasted_ms: Option<u64>,
    },
    /// A recording is complete on disk, or failed. May come after [`MediaEvent::LegClosed`].
    RecordingDone {
        /// The leg it belonged to.
        leg: LegId,
        /// The caller's id.
        rec: RecordingId,
        /// The final file; with an `error` possibly the `.wav.part` that repair will finish.
        path: PathBuf,
        /// Wall time between start and stop.
        duration_ms: u64,
        /// Lower-case hex of the final file; empty with an `error`.
        sha256: String,
        /// Size of the file.
        bytes: u64,
        /// Audio lost because the disk could not keep up.
        gaps_ms: u64,
        /// Pauses as (start, end), ms since the recording's start.
        paused_ranges: Vec<(u64, u64)>,
        /// What went wrong, if anything.
        error: Option<String>,
    },
    /// Audio was lost because the disk could not keep up.
    RecordingGap {
        /// The leg.
        leg: LegId,
        /// How much.
        ms: u64,
    },
    /// A `mix` was no mix; everything stays connected as it was.
    MixRefused {
        /// The leg of its first row.
        leg: LegId,
        /// Why.
        reason: MatrixError,
    },
    /// The leg is gone.
    LegClosed {
        /// The leg.
        leg: LegId,
        /// Its counters.
        stats: LegStats,
    },
}

impl MediaEvent {
    /// A recording that was not begun.
    pub(super) fn refused(leg: LegId, rec: RecordingId, path: PathBuf, reason: &str) -> Self {
        Self::RecordingDone {
            leg,
            rec,
            path,
            duration_ms: 0,
            sha256: String::new(),
            bytes: 0,
            gaps_ms: 0,
            paused_ranges: Vec::new(),
            error: Some(reason.to_owned()),
        }
    }

    /// The leg it belongs to.
    #[must_use]
    pub const fn leg(&self) -> LegId {
        match self {
            Self::Digit { leg, .. }
            | Self::PlayDone { leg, .. }
            | Self::FirstPacket { leg }
            | Self::Silent { leg }
            | Self::Resumed { leg }
            | Self::Secured { leg }
            | Self::SecureFailed { leg, .. }
            | Self::Audio { leg, .. }
            | Self::RecordingDone { leg, .. }
            | Self::RecordingGap { leg, .. }
            | Self::MixRefused { leg, .. }
            | Self::LegClosed { leg, .. } => *leg,
        }
    }

    /// The variant's name: what a log may say of an event that may carry a digit.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Digit { .. } => "Digit",
            Self::PlayDone { .. } => "PlayDone",
            Self::FirstPacket { .. } => "FirstPacket",
            Self::Silent { .. } => "Silent",
            Self::Resumed { .. } => "Resumed",
            Self::Secured { .. } => "Secured",
            Self::SecureFailed { .. } => "SecureFailed",
            Self::Audio { .. } => "Audio",
            Self::RecordingDone { .. } => "RecordingDone",
            Self::RecordingGap { .. } => "RecordingGap",
            Self::MixRefused { .. } => "MixRefused",
            Self::LegClosed { .. } => "LegClosed",
        }
    }
}

impl From<Event> for MediaEvent {
    fn from(event: Event) -> Self {
        match event {
            Event::Digit { leg, digit, duration_ms } => Self::Digit { leg, digit, duration_ms },
            Event::PlayDone { leg, play_id } => Self::PlayDone { leg, play_id },
            Event::FirstPacket { leg } => Self::FirstPacket { leg },
            Event::Silent { leg } => Self::Silent { leg },
            Event::Resumed { leg } => Self::Resumed { leg },
            Event::Secured { leg } => Self::Secured { leg },
            Event::SecureFailed { leg, why } => Self::SecureFailed { leg, why },
            Event::Audio { leg, fault, lasted_ms } => Self::Audio { leg, fault, lasted_ms },
            Event::RecordingGap { leg, ms } => Self::RecordingGap { leg, ms },
            Event::RecordingRefused { leg, rec, path, reason } => Self::refused(leg, rec, path, reason),
            Event::MixRefused { leg, reason } => Self::MixRefused { leg, reason },
            Event::LegClosed { leg, stats, .. } => Self::LegClosed { leg, stats },
        }
    }
}

/// One thread's way to the events channel: keeps order, never waits, loses nothing before
/// [`EVENTS_BACKLOG_MAX`] events wait.
pub(super) struct EventSink {
    tx: mpsc::Sender<MediaEvent>,
    backlog: VecDeque<MediaEvent>,
    shared: Arc<Shared>,
}

impl EventSink {
    pub(super) fn new(tx: mpsc::Sender<MediaEvent>, shared: Arc<Shared>) -> Self {
        Self { tx, backlog: VecDeque::new(), shared }
    }

    pub(super) fn push(&mut self, event: MediaEvent) {
        if self.backlog.len() >= EVENTS_BACKLOG_MAX {
            self.shared.count_lost_event();
            // A pressed key may be part of a number: it is named, never shown.
            tracing::error!(leg = %event.leg(), event = event.name(), "event lost: nobody takes media events");
            return;
        }
        self.backlog.push_back(event);
        self.retry();
    }

    /// Tries again what waits. Returns whether anything still waits.
    pub(super) fn retry(&mut self) -> bool {
        while let Some(event) = self.backlog.pop_front() {
            match self.tx.try_send(event) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(event)) => {
                    self.backlog.push_front(event);
                    return true;
                }
                Err(mpsc::error::TrySendError::Closed(_)) => self.backlog.clear(),
            }
        }
        false
    }
}

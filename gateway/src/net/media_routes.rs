//! Carries events of the media threads to the call that owns the leg.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::media::{LegId, MediaEvent};

/// Events waiting for one call; a call that doesn't read so many has hung.
pub const CALL_EVENTS_MAX: usize = 256;

/// Recordings that ended after their call gave up waiting.
const ORPHANS_MAX: usize = 1_024;

/// Leg → the owning call's mailbox.
#[derive(Clone)]
pub struct MediaRoutes {
    routes: Arc<Mutex<HashMap<LegId, mpsc::Sender<Box<MediaEvent>>>>>,
    /// Finished recordings nobody waits for any more: their rows still want their end.
    orphans: mpsc::Sender<MediaEvent>,
}

impl MediaRoutes {
    /// Routes, and the receiver of recordings whose call has given up waiting.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<MediaEvent>) {
        let (orphans, rx) = mpsc::channel(ORPHANS_MAX);
        (Self { routes: Arc::default(), orphans }, rx)
    }

    /// Events of `leg` go to `to` from now on.
    pub fn add(&self, leg: LegId, to: mpsc::Sender<Box<MediaEvent>>) {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner).insert(leg, to);
    }

    /// The call is over and waits for nothing more of `leg`.
    pub fn remove(&self, leg: LegId) {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner).remove(&leg);
    }

    /// Spawns the carrier; it ends when the media threads do.
    pub fn carry(&self, mut events: mpsc::Receiver<MediaEvent>) {
        let routes = self.clone();
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                routes.deliver(event);
            }
        });
    }

    fn deliver(&self, event: MediaEvent) {
        let to = self.routes.lock().unwrap_or_else(PoisonError::into_inner).get(&event.leg()).cloned();
        let left = match to {
            Some(to) => match to.try_send(Box::new(event)) {
                Ok(()) => return,
                Err(mpsc::error::TrySendError::Full(event) | mpsc::error::TrySendError::Closed(event)) => *event,
            },
            None => event,
        };
        // A recording's end is evidence: it goes to the rows even past its call. Anything else was for the call alone.
        if matches!(left, MediaEvent::RecordingDone { .. }) {
            if let Err(e) = self.orphans.try_send(left) {
                warn!(error = %e, "recording's end dropped: the start-up repair will find it");
            }
        } else {
            debug!(leg = %left.leg(), event = left.name(), "media event without a call");
        }
    }
}

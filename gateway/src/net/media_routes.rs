//! Carries events of the media threads to the call that owns the leg.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;
use tracing::warn;

use super::media::{LegId, MediaEvent};

/// Events waiting for one call; a call that doesn't read so many has hung.
pub const CALL_EVENTS_MAX: usize = 256;

/// Leg → the owning call's mailbox.
#[derive(Clone, Default)]
pub struct MediaRoutes {
    routes: Arc<Mutex<HashMap<LegId, mpsc::Sender<MediaEvent>>>>,
}

impl MediaRoutes {
    /// Events of `leg` go to `to` from now on.
    pub fn add(&self, leg: LegId, to: mpsc::Sender<MediaEvent>) {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner).insert(leg, to);
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

    /// The call is over and waits for nothing more of `leg`.
    pub fn remove(&self, leg: LegId) {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner).remove(&leg);
    }

    fn deliver(&self, event: MediaEvent) {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(to) = routes.get(&leg_of(&event))
            && let Err(mpsc::error::TrySendError::Full(event)) = to.try_send(event)
        {
            warn!(?event, "a call's mailbox is full: media event dropped");
        }
    }
}

/// The leg an event belongs to.
#[must_use]
pub const fn leg_of(event: &MediaEvent) -> LegId {
    match event {
        MediaEvent::Digit { leg, .. }
        | MediaEvent::PlayDone { leg, .. }
        | MediaEvent::FirstPacket { leg }
        | MediaEvent::Silent { leg }
        | MediaEvent::Resumed { leg }
        | MediaEvent::RecordingDone { leg, .. }
        | MediaEvent::RecordingGap { leg, .. }
        | MediaEvent::LegClosed { leg, .. } => *leg,
    }
}

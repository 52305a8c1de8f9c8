//! Events of the endpoint on their way to their calls.

use std::time::Instant;

use hotline_sip::{Event, SessionId};
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use super::{Core, NewCall, Notice, SESSION_EVENTS_MAX, Sip};

impl Sip {
    pub(super) fn deliver(&self, core: &mut Core, event: Event) {
        match event {
            Event::Incoming { id, invite } => {
                let (events_tx, events) = mpsc::channel(SESSION_EVENTS_MAX);
                core.routes.insert(id, events_tx.clone());
                if self.inner.incoming.try_send(NewCall { id, invite, events_tx, events }).is_err() {
                    core.routes.remove(&id);
                    let _ = core.endpoint.reject(Instant::now(), id, 503, "Service Unavailable");
                }
            }
            Event::Replied { id, reply } => {
                // Who asked may have given up waiting.
                let _ = core.asks.remove(&id).map(|asker| asker.send(reply));
            }
            Event::Registered { user, .. } => self.notice(Notice::Registered { user }),
            Event::BindingsChanged { user } => self.notice(Notice::Contacts { user }),
            Event::Unregistered { user } => self.notice(Notice::Unregistered { user }),
            Event::AuthFailed { user, source } => info!(%user, %source, "digest refused"),
            Event::Banned { ban } => {
                warn!(source = %ban.source, reason = %ban.reason, times = ban.times, "SIP source banned");
                self.notice(Notice::Banned(ban));
            }
            Event::Refused { source, method, code } => debug!(%source, %method, ?code, "stranger refused"),
            event => to_call(core, event),
        }
    }

    fn notice(&self, notice: Notice) {
        if self.inner.notices.try_send(notice).is_err() {
            warn!("registration notice dropped: the queue is full");
        }
    }
}

/// Hands an event to its call. A full mailbox loses it, unless it is the session's last: a call that
/// never hears of its end would hold its legs, its operator and its row for ever.
fn to_call(core: &mut Core, event: Event) {
    let Some(id) = session_of(&event) else { return };
    let is_last = matches!(event, Event::Ended { .. } | Event::Failed { .. } | Event::Cancelled { .. });
    let to = if is_last { core.routes.remove(&id) } else { core.routes.get(&id).cloned() };
    let Some(to) = to else { return };
    // Digits, numbers and SDP stay out of the log: an event is named, never shown.
    match to.try_send(Box::new(event)) {
        Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
        Err(mpsc::error::TrySendError::Full(event)) if is_last => {
            warn!(?id, event = event.name(), "a call's mailbox is full: the session's end waits for room");
            // One task a session at most; it ends when the call reads on or is gone.
            tokio::spawn(async move {
                let _ = to.send(event).await;
            });
        }
        Err(mpsc::error::TrySendError::Full(event)) => {
            warn!(?id, event = event.name(), "a call's mailbox is full: session event dropped");
        }
    }
}

/// The session an event belongs to.
#[must_use]
pub fn session_of(event: &Event) -> Option<SessionId> {
    match event {
        Event::Progress { id, .. }
        | Event::Answered { id, .. }
        | Event::Confirmed { id, .. }
        | Event::Failed { id, .. }
        | Event::Cancelled { id, .. }
        | Event::Ended { id, .. }
        | Event::Reoffer { id, .. }
        | Event::ReofferAnswered { id, .. }
        | Event::Dtmf { id, .. }
        | Event::Transfer { id, .. } => Some(*id),
        _ => None,
    }
}

//! The gateway's end of the robot's call: the way every call takes up to its 200 OK, then a prompt instead
//! of the queue. No operator's phone rings, no call row is written, nothing of it is counted.

use std::sync::Arc;
use std::time::Duration;

use hotline_db::{Direction, NewContact};
use hotline_ivr::Say;
use hotline_sip::Event;
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use super::leg::{Leg, Speaks};
use super::security::security;
use super::start::hotline_of;
use super::trust::trust_in_caller;
use crate::app::Services;
use crate::clock::now_ms;
use crate::config::Srtp;
use crate::net::sip::NewCall;
use crate::robot;

/// Such a call lasts no longer.
const LASTS: Duration = Duration::from_secs(30);
/// What it hears: the first words of every call.
const PROMPT: &str = "greeting";
/// Its contact's channel: no list or figure of calls or messages looks at it.
const CHANNEL: &str = "robot";

/// Serves the call from its INVITE to its end.
pub(super) async fn serve(sv: Arc<Services>, new: NewCall, nonce: String) {
    let session = new.id;
    if let Err((code, why)) = answer(&sv, new, &nonce).await {
        info!(code, why, "self-test call refused");
        sv.sip.reject(session, code, why);
    }
}

async fn answer(sv: &Services, new: NewCall, nonce: &str) -> Result<(), (u16, &'static str)> {
    let invite = &new.invite;
    hotline_of(&sv.config, &invite.dialled).ok_or((404, "No such hotline number"))?;
    let offer = invite.sdp.as_deref().ok_or((488, "No offer"))?;
    let security = security(Srtp::Off, invite.flow.transport, false).map_err(|_| (488, "SRTP keys need TLS"))?;
    let media = sv.media.open_leg().map_err(|e| {
        warn!(error = %e, "no media leg");
        (503, "No media resources")
    })?;
    let carrier = invite.trunk.as_deref().and_then(|name| sv.trunks.named(name));
    let trust = trust_in_caller(carrier.map(|t| &t.config), invite);
    let leg = Leg::incoming(new.id, media, Speaks::trunk(&sv.config, invite.trunk.as_deref()), security, trust);
    let answered = match leg.answer(&sv.media, offer) {
        Ok((sdp, _)) => stored(sv).await.map(|()| sdp),
        Err(e) => Err((488, e.warning())),
    };
    let taken = match answered {
        Ok(sdp) => {
            if sv.sip.accept(new.id, &sdp).is_ok() {
                robot::arrived(sv, nonce);
                talk(sv, &leg, new.events).await;
            }
            Ok(())
        }
        Err(refused) => Err(refused),
    };
    sv.media.close_leg(leg.id());
    taken
}

/// The arrival number is given out and committed, as for any contact.
async fn stored(sv: &Services) -> Result<(), (u16, &'static str)> {
    let contact = NewContact {
        channel: CHANNEL.into(),
        direction: Direction::Inbound,
        arrived_at: now_ms(),
        provider_time: None,
        party: None,
        raw_ref: None,
    };
    sv.store.contact_add(contact).await.map(|_| ()).map_err(|e| {
        warn!(error = %e, "self-test call not accepted: no row");
        (503, "Service Unavailable")
    })
}

async fn talk(sv: &Services, leg: &Leg, mut events: mpsc::Receiver<Box<Event>>) {
    sv.media.play(leg.id(), 1, sv.voice.clips(&[Say::Prompt(PROMPT.into())]), true);
    let until_over = async {
        while let Some(event) = events.recv().await {
            match *event {
                Event::Confirmed { .. } => leg.confirm(&sv.media),
                Event::Ended { .. } | Event::Cancelled { .. } | Event::Failed { .. } => return,
                _ => {}
            }
        }
    };
    if tokio::time::timeout(LASTS, until_over).await.is_err() {
        sv.sip.hang_up(leg.session, "self-test over");
    }
    debug!("self-test call over");
}

//! 常通线路, a nailed-up leg: an operator's phone is rung once and its leg stays up. Between citizens it hears silence and
//! is heard by nobody; the next citizen is announced by a tone and connected without an INVITE. A call borrows the leg
//! ([`Loan`]) and gives it back, at the latest when it drops it; everything that happens on it meanwhile is that call's business.

mod line;
mod loan;
mod rise;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hotline_media::LegId;
use hotline_sip::{Event, SessionId};
use tokio::sync::{Notify, mpsc, oneshot};
use tracing::info;

use super::leg::Leg;
use crate::acd::OperatorRef;
use crate::app::Services;
use crate::net::media::MediaEvent;
use line::{Line, Mail};
pub(crate) use loan::Loan;

/// Why an operator is 离席 whose nailed-up leg is gone.
pub(crate) const LINE_LOST: &str = "line_lost";
/// Events waiting for one leg.
const MAIL_MAX: usize = 64;
/// Why a leg isn't up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// Each gateway would have to lend it to the others' calls.
    #[error("多台网关共用队列时不支持常通线路 / no nailed-up legs where gateways share the queues")]
    Shared,
    /// It is being rung already.
    #[error("正在振铃,请接听话机 / the phone rings: pick it up")]
    Rising,
    /// The phone is in use.
    #[error("您正在通话或振铃,请先结束 / your phone rings or talks: end that first")]
    Busy,
    /// The phone can't be rung, or wasn't picked up.
    #[error("话机未能建立常通线路,请检查话机后重试({0})/ the leg isn't up: look at the phone and ask again ({0})")]
    NotUp(String),
}

/// Why a leg comes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Down {
    /// The phone hung up, or its dialog broke.
    HungUp,
    /// The same in a talk: its operator was told already.
    HungUpTalking,
    /// Nothing came from it any more.
    NoMedia,
    /// The operator asked, or signed out.
    Asked,
    /// Its media lives on another thread than the citizen's: it is rung for the call instead.
    Elsewhere,
    /// The gateway stops.
    Shutdown,
}

impl Down {
    const fn as_str(self) -> &'static str {
        match self {
            Self::HungUp => "hung_up",
            Self::HungUpTalking => "hung_up_talking",
            Self::NoMedia => "no_media",
            Self::Asked => "asked",
            Self::Elsewhere => "elsewhere",
            Self::Shutdown => "shutdown",
        }
    }
}

/// All that are up or being rung, by user id: one each.
#[derive(Default)]
pub struct NailedUp(Mutex<HashMap<String, Arc<Line>>>);

/// What a call gets.
pub(crate) enum Borrowed {
    /// The leg.
    Leg(Box<Leg>),
    /// Somebody else has it, or its phone rings for it.
    InUse,
    /// Nobody would be heard there.
    Mute,
    /// There is none: the phone is rung.
    None,
}

impl NailedUp {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Line>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, user: &str) -> Option<Arc<Line>> {
        self.lock().get(user).cloned()
    }

    /// Whether the leg of this user id is up.
    #[must_use]
    pub fn is_up(&self, user: &str) -> bool {
        self.get(user).is_some_and(|line| line.lock().leg.is_some())
    }

    /// Takes the leg down, once its call has done with it; nobody's is no error.
    pub fn end(&self, user: &str) {
        if let Some(line) = self.get(user) {
            line.take_down(Down::Asked);
        }
    }

    /// The gateway stops: the phones hear of it while the sockets are open.
    pub fn end_all(&self) {
        let all: Vec<_> = self.lock().values().cloned().collect();
        for line in all {
            line.take_down(Down::Shutdown);
            line.hang_up("shutdown");
        }
    }

    /// Lends the leg of `who` to the call with this citizen. One that the phone has put on hold isn't lent, nor one whose
    /// browser is gone.
    pub(crate) fn borrow(
        &self,
        who: &OperatorRef,
        citizen: LegId,
        sip: &mpsc::Sender<Box<Event>>,
        media: &mpsc::Sender<Box<MediaEvent>>,
    ) -> Borrowed {
        let line = self.get(&who.id).filter(|line| line.who.sip_user == who.sip_user);
        let Some(line) = line else { return Borrowed::None };
        let together = {
            let mut state = line.lock();
            let state = &mut *state;
            if state.down.is_some() {
                return Borrowed::None;
            }
            // The phone rings for it.
            let Some(leg) = state.leg.as_ref() else { return Borrowed::InUse };
            if state.borrower.is_some() {
                return Borrowed::InUse;
            }
            if leg.settled().is_some_and(|settled| settled.they_hold) {
                return Borrowed::Mute;
            }
            if leg.is_browser() && state.watch.is_silent(leg.id()) {
                state.down = Some(Down::NoMedia);
                line.wake.notify_one();
                return Borrowed::Mute;
            }
            line.sv.media.are_beside(leg.id(), citizen)
        };
        if !together {
            line.take_down(Down::Elsewhere);
            line.hang_up("rung for a call");
            return Borrowed::None;
        }
        line.lend(sip, media).map_or(Borrowed::InUse, |leg| Borrowed::Leg(Box::new(leg)))
    }

    /// An event of a leg that went back a moment ago: it was in its last call's mailbox. False: no such leg.
    pub(crate) fn deliver(&self, id: SessionId, event: Event) -> bool {
        let all: Vec<_> = self.lock().values().cloned().collect();
        let line = all.into_iter().find(|line| line.lock().leg.as_ref().is_some_and(|leg| leg.session == id));
        line.map(|line| line.deliver(event)).is_some()
    }
}

/// Rings the phone of `who`; `Ok` once the leg is up, also where it was.
///
/// # Errors
/// [`LineError`]; the phone rings no more then.
pub async fn raise(sv: &Arc<Services>, who: OperatorRef) -> Result<(), LineError> {
    if sv.peers.is_some() {
        return Err(LineError::Shared);
    }
    if sv.lines.is_up(&who.id) {
        return Ok(());
    }
    if !sv.acd.calls_of(&who.id).await.is_empty() {
        return Err(LineError::Busy);
    }
    let (sip_tx, sip) = mpsc::channel(MAIL_MAX);
    let (media_tx, media) = mpsc::channel(MAIL_MAX);
    let line =
        Arc::new(Line { sv: Arc::clone(sv), who, sip_tx, media_tx, wake: Notify::new(), state: Mutex::default() });
    if let Entry::Vacant(place) = sv.lines.lock().entry(line.who.id.clone()) {
        place.insert(Arc::clone(&line));
    } else {
        return Err(LineError::Rising);
    }
    let (up, is_up) = oneshot::channel();
    // A console that goes away takes no phone's ring with it.
    tokio::spawn(Box::pin(run(line, Mail { sip, media }, up)));
    is_up.await.unwrap_or_else(|_| Err(LineError::NotUp("stopped".into())))
}

async fn run(line: Arc<Line>, mut mail: Mail, up: oneshot::Sender<Result<(), LineError>>) {
    let changes = line.sv.acd.changes();
    match line.rise(&mut mail).await {
        Ok(outside) => {
            info!(operator = line.who.id, "常通线路已建立 / a nailed-up leg is up");
            line.tell(true, "");
            let _ = up.send(Ok(()));
            let why = line.keep(&mut mail, changes).await;
            line.finish(why, outside).await;
        }
        Err(why) => {
            line.sv.lines.lock().remove(&line.who.id);
            let _ = up.send(Err(why));
        }
    }
}

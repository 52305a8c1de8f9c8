//! One operator's leg: what happens on it while nobody has it, and how it is lent.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hotline_media::engine::AudioFault;
use hotline_sip::Event;
use serde_json::json;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::sync::{Notify, mpsc};
use tracing::{info, warn};

use super::rise::Outside;
use super::{Down, LINE_LOST, Loan};
use crate::acd::{Change, OperatorRef, OperatorState};
use crate::app::Services;
use crate::call::hearing::silence;
use crate::call::leg::Leg;
use crate::call::phone_media::{PhoneWatch, patience};
use crate::events::Audience;
use crate::net::media::MediaEvent;

/// Whether its operator is signed in is looked at so often; twice not, and the leg ends.
const SEAT_LOOK: Duration = Duration::from_secs(30);
/// Plays to the leg while nobody has it.
const IDLE_PLAY: u64 = 0;

/// Where a leg's events go while nobody has it.
pub(super) struct Mail {
    pub(super) sip: mpsc::Receiver<Box<Event>>,
    pub(super) media: mpsc::Receiver<Box<MediaEvent>>,
}

/// One operator's leg.
pub(crate) struct Line {
    pub(super) sv: Arc<Services>,
    pub(super) who: OperatorRef,
    pub(super) sip_tx: mpsc::Sender<Box<Event>>,
    pub(super) media_tx: mpsc::Sender<Box<MediaEvent>>,
    pub(super) wake: Notify,
    pub(super) state: Mutex<LineState>,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Line({})", self.who.id)
    }
}

#[derive(Default)]
pub(super) struct LineState {
    /// Once it is up.
    pub(super) leg: Option<Leg>,
    /// Whose call has it.
    pub(super) borrower: Option<mpsc::Sender<Box<Event>>>,
    /// It is to come down as soon as nobody has it.
    pub(super) down: Option<Down>,
    pub(super) watch: PhoneWatch,
}

impl Line {
    pub(super) fn lock(&self) -> MutexGuard<'_, LineState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take_down(&self, why: Down) {
        self.lock().down.get_or_insert(why);
        self.wake.notify_one();
    }

    pub(super) fn hang_up(&self, why: &str) {
        if let Some(leg) = &self.lock().leg {
            self.sv.sip.hang_up(leg.session, why);
        }
    }

    pub(super) fn tell(&self, up: bool, why: &str) {
        if let Ok(id) = self.who.id.parse() {
            let data = json!({ "operator": self.who.id, "up": up, "why": why });
            self.sv.events.publish("line", Audience::PersonAndLeaders(id), None, data);
        }
    }

    /// To whoever has the leg.
    pub(super) fn deliver(&self, event: Event) {
        let to = self.lock().borrower.clone().unwrap_or_else(|| self.sip_tx.clone());
        if to.try_send(Box::new(event)).is_err() {
            warn!(operator = self.who.id, "an event of a nailed-up leg finds no room");
        }
    }

    /// The call sees a phone that is rung and answers at once.
    pub(super) fn lend(
        self: &Arc<Self>,
        sip: &mpsc::Sender<Box<Event>>,
        media: &mpsc::Sender<Box<MediaEvent>>,
    ) -> Option<Leg> {
        let mut state = self.lock();
        let leg = state.leg.as_ref().filter(|_| state.borrower.is_none())?;
        let (session, id) = (leg.session, leg.id());
        // Hung up in this very moment.
        self.sv.sip.call_id(session)?;
        sip.try_send(Box::new(Event::Answered { id: session, sdp: Some(Vec::new()) })).ok()?;
        // What was heard of it so far, for the call's own watch.
        if state.watch.was_heard(id) {
            let _ = media.try_send(Box::new(MediaEvent::FirstPacket { leg: id }));
        }
        if state.watch.is_silent(id) {
            let silent = MediaEvent::Audio { leg: id, fault: AudioFault::NoRtp, lasted_ms: None };
            let _ = media.try_send(Box::new(silent));
        }
        self.sv.sip.route(session, sip.clone());
        self.sv.media_routes.add(id, media.clone());
        self.sv.media.stop_play(id);
        let lent = leg.lend(Loan::new(Arc::clone(self)));
        state.borrower = Some(sip.clone());
        Some(lent)
    }

    pub(super) fn take_back(&self, down: Option<Down>, silent: bool) {
        let mut state = self.lock();
        state.borrower = None;
        if let Some(why) = down {
            state.down.get_or_insert(why);
        }
        if let Some((session, id)) = state.leg.as_ref().map(|leg| (leg.session, leg.id())) {
            self.sv.sip.route(session, self.sip_tx.clone());
            if self.sv.sip.call_id(session).is_none() {
                // Whatever became of the word of it.
                state.down.get_or_insert(Down::HungUp);
            }
            self.sv.media_routes.add(id, self.media_tx.clone());
            state.watch.note(id, silent);
            state.watch.judge(Instant::now(), Some((id, self.patience())));
        }
        drop(state);
        self.rest();
        self.wake.notify_one();
    }

    /// Nobody is connected with it; it hears silence, so that the way to it stays open.
    pub(super) fn rest(&self) {
        if let Some(id) = self.lock().leg.as_ref().map(Leg::id) {
            self.sv.media.unbridge(id);
            self.sv.media.play(id, IDLE_PLAY, vec![silence()], true);
        }
    }

    /// Until it comes down.
    pub(super) async fn keep(&self, mail: &mut Mail, mut changes: Receiver<Change>) -> Down {
        let mut looks = tokio::time::interval_at(tokio::time::Instant::now() + SEAT_LOOK, SEAT_LOOK);
        let mut is_empty = false;
        loop {
            let due = {
                let state = self.lock();
                match (state.down, &state.borrower) {
                    (Some(why), None) => return why,
                    (_, Some(_)) => None,
                    (None, None) => state.watch.due(),
                }
            };
            let sleep = async {
                match due {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                event = mail.sip.recv() => if let Some(event) = event { self.on_sip(*event) },
                media = mail.media.recv() => if let Some(media) = media { self.on_media(&media) },
                () = self.wake.notified() => {}
                change = changes.recv() => {
                    if self.has_signed_out(change).await {
                        self.take_down(Down::Asked);
                    }
                }
                () = sleep => self.silent_too_long(),
                _ = looks.tick() => {
                    // Whoever asked for it may have been refused the seat, or have gone while it was rung.
                    let was_empty = std::mem::replace(&mut is_empty, !self.is_seated().await);
                    if was_empty && is_empty {
                        self.take_down(Down::Asked);
                    }
                }
            }
        }
    }

    async fn has_signed_out(&self, change: Result<Change, RecvError>) -> bool {
        match change {
            Ok(Change::State { operator, state, .. }) => operator == self.who.id && state == OperatorState::Off,
            Ok(_) => false,
            Err(RecvError::Closed) => true,
            // Some were missed: as the queues see it now.
            Err(RecvError::Lagged(_)) => !self.is_seated().await,
        }
    }

    async fn is_seated(&self) -> bool {
        let queues = self.sv.acd.view().await;
        let mut seats = queues.iter().flat_map(|queue| &queue.operators).filter(|o| o.id == self.who.id);
        seats.any(|o| o.state != OperatorState::Off.as_str())
    }

    /// Something happens on the leg while nobody has it, or has reached this mailbox on the way to who has.
    fn on_sip(&self, event: Event) {
        if self.lock().borrower.is_some() {
            return self.deliver(event);
        }
        let mut state = self.lock();
        let state = &mut *state;
        let Some(leg) = state.leg.as_ref() else { return };
        let sip = &self.sv.sip;
        match event {
            Event::Ended { .. } | Event::Failed { .. } => {
                state.down.get_or_insert(Down::HungUp);
            }
            Event::Reoffer { sdp, .. } => match sdp.map(|offer| leg.answer(&self.sv.media, &offer)) {
                None => sip.answer_reoffer(leg.session, &leg.offer()),
                Some(Ok((answer, _))) => sip.answer_reoffer(leg.session, &answer),
                Some(Err(_)) => sip.reject_reoffer(leg.session, 488),
            },
            Event::ReofferAnswered { code, sdp, .. } => {
                if let Some(answer) = sdp.filter(|_| code < 300) {
                    let _ = leg.take_answer(&self.sv.media, &answer);
                }
                let held = self.patience();
                state.watch.answers(code, held);
            }
            Event::Transfer { id, .. } => sip.reject_transfer(id, 603),
            _ => {}
        }
    }

    fn on_media(&self, event: &MediaEvent) {
        let mut state = self.lock();
        match event {
            MediaEvent::FirstPacket { leg } => state.watch.hear(*leg),
            MediaEvent::Audio { leg, fault: AudioFault::NoRtp, lasted_ms } => {
                state.watch.note(*leg, lasted_ms.is_none())
            }
            MediaEvent::SecureFailed { .. } => {
                state.down.get_or_insert(Down::NoMedia);
            }
            _ => {}
        }
        let expected = state.leg.as_ref().map(|leg| (leg.id(), self.patience()));
        state.watch.judge(Instant::now(), expected);
    }

    fn patience(&self) -> std::time::Duration {
        let media = &self.sv.config.media;
        patience(media.phone_dead_ms, media.rtp_silence_ms).held
    }

    /// As in a talk: a browser is gone then, another phone is asked first whether it is there.
    fn silent_too_long(&self) {
        let now = Instant::now();
        let mut state = self.lock();
        let Some(id) = state.watch.is_due(now) else { return };
        let asks = state.leg.as_ref().is_some_and(|leg| !leg.is_browser()) && state.watch.was_heard(id);
        if asks
            && state.watch.probe(now)
            && let Some(leg) = &state.leg
        {
            self.sv.sip.reoffer(leg.session, &leg.offer());
            return;
        }
        state.watch.given_up(now);
        state.down.get_or_insert(Down::NoMedia);
    }

    pub(super) async fn finish(&self, why: Down, outside: Option<Outside>) {
        // From here on calls ring the phone.
        self.sv.lines.lock().remove(&self.who.id);
        let leg = self.lock().leg.take();
        if let Some(leg) = leg {
            if matches!(why, Down::Asked | Down::NoMedia) {
                self.sv.sip.hang_up(leg.session, why.as_str());
            }
            self.sv.media.close_leg(leg.id());
            self.sv.media_routes.remove(leg.id());
        }
        drop(outside);
        info!(operator = self.who.id, why = why.as_str(), "常通线路已断开 / a nailed-up leg is down");
        self.tell(false, why.as_str());
        if matches!(why, Down::HungUp | Down::NoMedia) {
            self.sent_away().await;
        }
    }

    /// No citizen is offered to a phone that was hung up, until its operator says ready. Who takes none anyway stays what
    /// they are.
    async fn sent_away(&self) {
        let takes = [OperatorState::Ready, OperatorState::WrapUp, OperatorState::Ringing].map(OperatorState::as_str);
        let queues = self.sv.acd.view().await;
        let mut seats = queues.iter().flat_map(|queue| &queue.operators).filter(|o| o.id == self.who.id);
        if !seats.any(|o| takes.contains(&o.state.as_str())) {
            return;
        }
        if let Err(error) = self.sv.acd.force_state(&self.who.id, OperatorState::Away, LINE_LOST).await {
            info!(operator = self.who.id, %error, "the operator of a lost leg can't be set away");
        }
    }
}

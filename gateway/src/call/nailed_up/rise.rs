//! Ringing the phone whose leg is to stay up, until somebody is there: a browser's media is up, an outside number has
//! pressed the key, any other phone was picked up.

use std::time::{Duration, Instant};

use hotline_ivr::Say;
use hotline_media::engine::AudioFault;
use hotline_sip::{Dial, Event, Target};

use super::LineError;
use super::line::{Line, Mail};
use crate::call::leg::{Leg, Speaks};
use crate::call::outside;
use crate::call::phone_media::phone_security;
use crate::call::pick_up::{ACCEPT_KEY, MEDIA_UP, auto_answer};
use crate::call::route::Route;
use crate::call::trust::trust_in_account;
use crate::dialout::{self, Permit, Purpose, Wish};
use crate::net::media::{LegInfo, MediaEvent};

/// The phone rings so long.
const RING: Duration = Duration::from_secs(30);
/// Who picked up outside is asked for the key so long.
const ASK: Duration = Duration::from_secs(20);
/// Plays to the leg.
const ASK_PLAY: u64 = 1;

/// Leave to call an outside number, and its place on the trunk: held as long as the leg.
pub(super) type Outside = Box<(Permit, Route)>;

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    Answer,
    Media,
    Key,
}

/// What one event made of it.
enum Step {
    Waits,
    Needs(Needs),
    Up,
}

impl Line {
    pub(super) async fn rise(&self, mail: &mut Mail) -> Result<Option<Outside>, LineError> {
        let media = self.sv.media.open_leg().map_err(|e| LineError::NotUp(e.to_string()))?;
        self.sv.media_routes.add(media.id, self.media_tx.clone());
        let risen = match Box::pin(self.dial(media)).await {
            Ok((mut leg, mut outside)) => match self.wait_up(&mut leg, outside.as_deref_mut(), mail).await {
                Ok(()) => {
                    self.lock().leg = Some(leg);
                    self.rest();
                    return Ok(outside);
                }
                Err(why) => {
                    self.sv.sip.hang_up(leg.session, "not up");
                    why
                }
            },
            Err(why) => why,
        };
        self.sv.media.close_leg(media.id);
        self.sv.media_routes.remove(media.id);
        Err(LineError::NotUp(risen))
    }

    async fn dial(&self, media: LegInfo) -> Result<(Leg, Option<Outside>), String> {
        let sv = &self.sv;
        if let Some(number) = sv.desk_phones.number(&self.who) {
            let operator = self.who.id.parse().ok();
            let wish = Wish { purpose: Purpose::Phone, number: number.reveal(), task: None, call: None, operator };
            outside::has_trunk(sv, Purpose::Phone, number.reveal())?;
            let permit = dialout::permit(sv, wish).await.map_err(|refusal| refusal.to_string())?;
            let mut route = outside::route(sv, &permit)?;
            let leg = route.dial_next(sv, &self.sip_tx, media)?;
            return Ok((leg, Some(Box::new((permit, route)))));
        }
        let security = phone_security(sv, &self.who)?;
        let trust = trust_in_account(&sv.config, &sv.sip, &self.who.sip_user);
        let answers_itself = sv.desk_phones.answers_itself(&self.who.id);
        let dial = Dial {
            target: Target::Binding { user: self.who.sip_user.clone() },
            from: sv.config.hotlines.first().map_or_else(|| "hotline".to_owned(), |h| h.number.clone()),
            display: None,
            to: None,
            sdp: Vec::new(),
            credentials: None,
            ring_timeout_ms: u64::try_from(RING.as_millis()).unwrap_or(u64::MAX),
            first_response_ms: None,
            extra_headers: if answers_itself { auto_answer() } else { Vec::new() },
        };
        let speaks = Speaks::nailed_up(&sv.config, sv.desk_phones.is_home(&self.who.id));
        let leg = Leg::dial(&sv.sip, self.sip_tx.clone(), media, speaks, security, trust, dial);
        leg.map(|leg| (leg, None)).map_err(|e| e.to_string())
    }

    async fn wait_up(
        &self,
        leg: &mut Leg,
        mut outside: Option<&mut (Permit, Route)>,
        mail: &mut Mail,
    ) -> Result<(), String> {
        let (mut needs, mut until, mut rang) = (Needs::Answer, Instant::now() + RING, false);
        loop {
            let step = tokio::select! {
                biased;
                event = mail.sip.recv() => {
                    let event = *event.ok_or("stopped")?;
                    rang |= matches!(event, Event::Progress { code: 180 | 183, .. });
                    self.rising_sip(leg, (needs, rang), outside.as_deref_mut(), event)?
                }
                event = mail.media.recv() => self.rising_media(needs, &*event.ok_or("stopped")?)?,
                () = tokio::time::sleep_until(until.into()) => return Err("not picked up".to_owned()),
                () = self.sv.cancel.cancelled() => return Err("stopped".to_owned()),
            };
            match step {
                Step::Waits => {}
                Step::Up => return Ok(()),
                Step::Needs(next) => {
                    until = Instant::now() + if next == Needs::Key { ASK } else { MEDIA_UP };
                    needs = next;
                }
            }
        }
    }

    fn rising_sip(
        &self,
        leg: &mut Leg,
        (needs, rang): (Needs, bool),
        outside: Option<&mut (Permit, Route)>,
        event: Event,
    ) -> Result<Step, String> {
        let sv = &self.sv;
        match event {
            Event::Answered { sdp, .. } => {
                if !matches!(sdp.map(|answer| leg.take_answer(&sv.media, &answer)), Some(Ok(_))) {
                    sv.sip.hang_up(leg.session, "488");
                    let again = leg.dial_plain(&sv.sip, self.sip_tx.clone(), 488);
                    return if again { Ok(Step::Waits) } else { Err("488".to_owned()) };
                }
                if outside.is_some() {
                    let asks = sv.voice.clips(&[Say::Prompt("outside_accept".to_owned())]);
                    sv.media.play(leg.id(), ASK_PLAY, asks, true);
                    return Ok(Step::Needs(Needs::Key));
                }
                Ok(if leg.is_browser() { Step::Needs(Needs::Media) } else { Step::Up })
            }
            Event::Failed { code, reason, retry_after_s, .. } => {
                if leg.dial_plain(&sv.sip, self.sip_tx.clone(), code) {
                    return Ok(Step::Waits);
                }
                let route = outside.map(|(_, route)| route).filter(|r| r.may_go_on(code, &reason, retry_after_s, rang));
                let route = route.ok_or_else(|| code.to_string())?;
                *leg = route.dial_next(sv, &self.sip_tx, leg.media)?;
                Ok(Step::Waits)
            }
            Event::Dtmf { digit: ACCEPT_KEY, .. } if needs == Needs::Key => Ok(Step::Up),
            Event::Ended { .. } => Err("hung up".to_owned()),
            Event::Reoffer { sdp, .. } => {
                match sdp.map(|offer| leg.answer(&sv.media, &offer)) {
                    None => sv.sip.answer_reoffer(leg.session, &leg.offer()),
                    Some(Ok((answer, _))) => sv.sip.answer_reoffer(leg.session, &answer),
                    Some(Err(_)) => sv.sip.reject_reoffer(leg.session, 488),
                }
                Ok(Step::Waits)
            }
            Event::Transfer { id, .. } => {
                sv.sip.reject_transfer(id, 603);
                Ok(Step::Waits)
            }
            _ => Ok(Step::Waits),
        }
    }

    fn rising_media(&self, needs: Needs, event: &MediaEvent) -> Result<Step, String> {
        match event {
            MediaEvent::Secured { .. } if needs == Needs::Media => return Ok(Step::Up),
            MediaEvent::Digit { digit: ACCEPT_KEY, .. } if needs == Needs::Key => return Ok(Step::Up),
            MediaEvent::SecureFailed { why, .. } => return Err((*why).to_owned()),
            MediaEvent::FirstPacket { leg } => self.lock().watch.hear(*leg),
            MediaEvent::Audio { leg, fault: AudioFault::NoRtp, lasted_ms } => {
                self.lock().watch.note(*leg, lasted_ms.is_none());
            }
            _ => {}
        }
        Ok(Step::Waits)
    }
}

//! One key to 110, 119 or 120: the service joins citizen and operator. No rule, cap or want of a row stands in the
//! way (`dialout`), and who calls is written down.

use hotline_ivr::Say;
use serde_json::json;
use tracing::{info, warn};

use super::control::ControlError;
use super::driver::Driver;
use super::guest::{GUESTS_MAX, Guest, Part};
use super::outside;
use crate::acd::OperatorRef;
use crate::dialout::{self, Purpose, Wish};
use crate::events::Audience;

/// A service's leg has no other plays.
const NUMBER_PLAY: u64 = 0;
const PREFIX: &str = "emergency:";

/// How an emergency service is named among a talk's guests.
fn guest_id(number: &str) -> String {
    format!("{PREFIX}{number}")
}

/// Whether a person of a call is such a service.
pub(crate) fn is_service(who: &OperatorRef) -> bool {
    who.id.starts_with(PREFIX)
}

/// Of guests with their parts, and whether they take the talk over.
fn spare(guests: &[(Part, bool)]) -> Option<usize> {
    let last = |part: Part| guests.iter().rposition(|guest| *guest == (part, false));
    last(Part::Listen).or_else(|| last(Part::Whisper))
}

impl Driver {
    /// Rings `number` beside the talk; rung or there already, nothing more happens.
    pub(crate) async fn call_emergency(&mut self, user: &str, number: &str) -> Result<(), ControlError> {
        if !self.sv.config.dialout.emergency.iter().any(|n| n == number) {
            return Err(ControlError::NoService);
        }
        let id = guest_id(number);
        if self.guests.iter().any(|g| g.who.id == id) {
            return Ok(());
        }
        if self.guests.len() >= GUESTS_MAX && self.spare_guest().is_none() {
            return Err(ControlError::TooManyGuests);
        }
        outside::has_trunk(&self.sv, Purpose::Emergency, number).map_err(ControlError::Outside)?;
        let operator = user.parse().ok();
        let wish = Wish { purpose: Purpose::Emergency, number, task: None, call: Some(self.call), operator };
        let permit = dialout::permit(&self.sv, wish).await.map_err(|e| ControlError::Outside(e.to_string()))?;
        let (leg, route) = self.dial_outside(&permit).map_err(|why| {
            warn!(call = %self.call, number, why, "an emergency service can't be called");
            ControlError::Outside(why)
        })?;
        if self.guests.len() >= GUESTS_MAX
            && let Some(index) = self.spare_guest()
        {
            self.let_guest_go(index, "emergency");
        }
        self.story.event("emergency_call", json!({ "number": number, "by": user }));
        let data = json!({ "call": self.call, "number": number, "operator": user });
        self.sv.events.publish("emergency", Audience::Leaders, None, data);
        let who = OperatorRef { id, name: number.to_owned(), sip_user: String::new() };
        let outside = Some(Box::new((permit, route)));
        self.add_guest(Guest { who, part: Part::Join, leg, talking: false, holding: false, outside, takes: false });
        Ok(())
    }

    /// A service talks with the citizen: nobody of ours takes it from them.
    pub(crate) fn help_is_there(&self) -> bool {
        self.guests.iter().any(|g| g.talking && is_service(&g.who))
    }

    /// Reads the citizen's number to a service that has answered, instead of the talk for some seconds. The others go on
    /// hearing each other.
    pub(crate) fn say_number(&self, service: &str) -> Result<(), ControlError> {
        let guest = self.guests.iter().find(|g| g.talking && g.who.id == service && is_service(&g.who));
        let number = self.number.as_ref().filter(|_| !self.withheld);
        let (Some(guest), Some(number)) = (guest, number) else { return Err(ControlError::NothingToSay) };
        let digits = number.reveal().trim_start_matches("+86").to_owned();
        let words = [Say::Prompt("emergency_number".into()), Say::Digits(digits)];
        self.sv.media.play(guest.leg.id(), NUMBER_PLAY, self.sv.voice.clips(&words), false);
        self.story.event("number_said", json!({ "to": service }));
        Ok(())
    }

    /// Who leaves when an emergency service needs the place: somebody the citizen doesn't hear, and the operator
    /// can't dismiss.
    fn spare_guest(&self) -> Option<usize> {
        let guests: Vec<_> = self.guests.iter().map(|g| (g.part, g.takes)).collect();
        spare(&guests)
    }

    /// As `try_next_trunk`, for a guest outside.
    pub(crate) fn guest_over_next_trunk(&mut self, index: usize, code: u16, why: &str, retry_s: Option<u32>) -> bool {
        let Some(guest) = self.guests.get_mut(index) else { return false };
        let Some((_, route)) = guest.outside.as_deref_mut() else { return false };
        let failed = route.trunk();
        if !route.may_go_on(code, why, retry_s, guest.talking) {
            return false;
        }
        match route.dial_next(&self.sv, &self.sip_tx, guest.leg.media) {
            Ok(leg) => {
                guest.leg = leg;
                let (session, next) = (guest.leg.session, route.trunk());
                info!(call = %self.call, failed, code, next, "guest: trunk failed, the next one is tried");
                self.story.event("trunk_failed", json!({ "trunk": failed, "code": code, "next": next }));
                self.name_leg(session, &next, false);
                true
            }
            Err(why) => {
                info!(call = %self.call, failed, code, why, "guest: no trunk left");
                self.story.event("trunk_failed", json!({ "trunk": failed, "code": code }));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_only_listens_makes_room_for_an_emergency_service_and_nobody_the_citizen_hears() {
        let (join, barge) = ((Part::Join, false), (Part::Barge, false));
        let (listen, whisper) = ((Part::Listen, false), (Part::Whisper, false));
        assert_eq!(spare(&[listen, whisper, listen, join]), Some(2));
        assert_eq!(spare(&[join, whisper, barge, barge]), Some(1));
        assert_eq!(spare(&[join, barge, join, (Part::Consult, false)]), None);
        assert_eq!(spare(&[(Part::Listen, true), join]), None, "who takes the talk over stays");
    }
}

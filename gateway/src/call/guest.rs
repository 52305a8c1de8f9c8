//! Further people in a talk: a colleague the operator asks in (three-way), or a shift leader who listens,
//! whispers or barges in. Their phones are rung by the gateway and mixed here, so any phone will do.

use hotline_sip::Event;
use serde::Serialize;
use serde_json::json;
use tracing::info;

use super::control::ControlError;
use super::driver::Driver;
use super::leg::Leg;
use super::operator::RingError;
use super::operator_leg::HeldBy;
use super::route::Route;
use crate::acd::OperatorRef;
use crate::dialout::Permit;

/// Guests of one talk at once; with citizen and operator they fit into one mix.
pub(crate) const GUESTS_MAX: usize = 4;

/// What a guest may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// 监听: hears both sides, unheard.
    Listen,
    /// 耳语: heard by the operator alone.
    Whisper,
    /// 强插: heard by all, by a leader's own decision.
    Barge,
    /// 三方: heard by all, asked in by the operator.
    Join,
    /// 咨询: talks with the operator while the citizen hears music.
    Consult,
}

impl Part {
    /// Heard by the citizen too.
    #[must_use]
    pub const fn speaks(self) -> bool {
        matches!(self, Self::Barge | Self::Join)
    }

    /// The word in events and in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Listen => "listen",
            Self::Whisper => "whisper",
            Self::Barge => "barge",
            Self::Join => "join",
            Self::Consult => "consult",
        }
    }

    /// Of somebody in the talk with this part, asked to take another: a leader changes their own as they like, but
    /// an operator's invitation never puts them on air, and who was asked in stays that.
    fn change(self, wish: Self) -> Result<Self, ControlError> {
        match (self, wish) {
            // As of a phone that can't be rung: the operator must not learn of a listener.
            (Self::Listen, Self::Join | Self::Consult) => Err(ControlError::NoPhone),
            _ if self != wish && (self.is_operators() || wish.is_operators()) => Err(ControlError::OtherPart),
            _ => Ok(wish),
        }
    }

    /// Asked in by the operator, who therefore knows of them.
    #[must_use]
    pub const fn is_operators(self) -> bool {
        matches!(self, Self::Join | Self::Consult)
    }

    /// How others hear this guest: music of a phone that holds reaches nobody.
    pub(crate) const fn heard_as(self, holding: bool) -> Self {
        if holding && !matches!(self, Self::Consult) { Self::Listen } else { self }
    }
}

/// One more phone in a talk.
pub(crate) struct Guest {
    pub(crate) who: OperatorRef,
    pub(crate) part: Part,
    pub(crate) leg: Leg,
    pub(crate) talking: bool,
    /// Their own phone holds.
    pub(crate) holding: bool,
    /// Of somebody outside: leave to call them, and the trunk's place.
    pub(crate) outside: Option<Box<(Permit, Route)>>,
    /// Takes the citizen over as soon as their phone is picked up.
    pub(crate) takes: bool,
}

/// A guest, for answers of the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct GuestView {
    /// User id.
    pub user: String,
    /// Shown name.
    pub name: String,
    /// What they may do.
    pub part: Part,
    /// The phone is picked up; false while it rings.
    pub talking: bool,
}

impl Driver {
    /// All guests; for the operator without those who only listen.
    pub(crate) fn guest_views(&self, is_operator: bool) -> Vec<GuestView> {
        let shown = self.guests.iter().filter(|g| !(is_operator && g.part == Part::Listen));
        shown
            .map(|g| GuestView { user: g.who.id.clone(), name: g.who.name.clone(), part: g.part, talking: g.talking })
            .collect()
    }

    /// Rings `who`, or gives a guest who is there another part. Asking twice is asking once.
    pub(crate) async fn admit_guest(&mut self, who: OperatorRef, part: Part) -> Result<(), ControlError> {
        let operator = self.operator.as_ref().filter(|o| o.talking).ok_or(ControlError::NoTalk)?;
        if operator.who.id == who.id {
            return Err(ControlError::OwnTalk);
        }
        if part.is_operators() {
            self.may_stay(&who).await?;
        } else {
            self.may_supervise(&who).await?;
        }
        if let Some(guest) = self.guests.iter_mut().find(|g| g.who.id == who.id) {
            let part = guest.part.change(part)?;
            if guest.part != part {
                guest.part = part;
                self.story.event("guest_part", json!({ "user": who.id, "part": part.as_str() }));
                self.connect();
            }
            return Ok(());
        }
        if self.guests.len() >= GUESTS_MAX {
            return Err(ControlError::TooManyGuests);
        }
        if self.is_in_another_call(&who).await {
            return Err(ControlError::Engaged);
        }
        let borrowed = if part.is_operators() { Ok(None) } else { self.borrow_line(&who) };
        let rung = borrowed.and_then(|leg| leg.map_or_else(|| self.dial_operator(&who, false), Ok));
        let leg = rung.map_err(|RingError { why, .. }| {
            info!(call = %self.call, guest = %who.name, why, "guest's phone can't be rung");
            ControlError::NoPhone
        })?;
        self.add_guest(Guest { who, part, leg, talking: false, holding: false, outside: None, takes: false });
        Ok(())
    }

    pub(crate) fn add_guest(&mut self, guest: Guest) {
        self.sound.guests.insert(guest.leg.id());
        self.sv.acd.engaged(&self.call.to_string(), &guest.who.id, &self.news_tx);
        self.story.event("guest_ring", json!({ "user": guest.who.id, "part": guest.part.as_str() }));
        let part = guest.part;
        self.guests.push(guest);
        self.tell_guests(part);
    }

    /// Whom the operator asked in is no secret to them; who supervises is.
    fn tell_guests(&self, part: Part) {
        if part.is_operators() {
            self.tell_call();
        }
    }

    /// A guest leaves; nobody of that name is no error.
    pub(crate) fn dismiss_guest(&mut self, user: &str) {
        if let Some(index) = self.guests.iter().position(|g| g.who.id == user) {
            self.let_guest_go(index, "dismissed");
        }
    }

    /// The talk is over for all of them.
    pub(crate) fn dismiss_guests(&mut self) {
        while !self.guests.is_empty() {
            self.let_guest_go(0, "talk over");
        }
    }

    pub(crate) fn let_guest_go(&mut self, index: usize, why: &str) {
        let guest = self.guests.remove(index);
        guest.leg.let_go(&self.sv.sip, why);
        self.release_leg(&guest.leg);
        self.sv.acd.disengaged(&self.call.to_string(), &guest.who.id);
        self.story.event("guest_left", json!({ "user": guest.who.id, "part": guest.part.as_str(), "why": why }));
        self.connect();
        self.tell_guests(guest.part);
    }

    /// A guest is gone by themselves, or never came. The citizen doesn't go on hearing music for nobody.
    pub(crate) async fn guest_gone(&mut self, index: usize, why: &str) {
        let was_consulted = self.guests.get(index).is_some_and(|g| g.part == Part::Consult);
        self.let_guest_go(index, why);
        if was_consulted {
            self.hold(HeldBy::Console, false).await;
        }
    }

    /// What happens on a guest's leg.
    pub(crate) async fn on_guest(&mut self, index: usize, event: Event) {
        let (sip, events) = (&self.sv.sip, self.sip_tx.clone());
        let Some(guest) = self.guests.get_mut(index) else { return };
        match event {
            Event::Answered { sdp, .. } => {
                let agreed = sdp.as_ref().map(|answer| guest.leg.take_answer(&self.sv.media, answer));
                if let Some(Ok(settled)) = agreed {
                    guest.talking = true;
                    guest.holding = settled.they_hold;
                    let joined = json!({ "user": guest.who.id, "part": guest.part.as_str() });
                    let (part, takes) = (guest.part, guest.takes);
                    self.story.event("guest_joined", joined);
                    if takes {
                        return self.guest_takes_over(index).await;
                    }
                    self.connect();
                    return self.tell_guests(part);
                }
                sip.hang_up(guest.leg.session, "488");
                if !guest.leg.dial_plain(sip, events, 488) {
                    self.guest_gone(index, "488").await;
                }
            }
            Event::Failed { code, reason, retry_after_s, .. } => {
                if guest.leg.dial_plain(sip, events, code) {
                    let (session, phone) = (guest.leg.session, guest.who.sip_user.clone());
                    return self.name_leg(session, &phone, false);
                }
                if !self.guest_over_next_trunk(index, code, &reason, retry_after_s) {
                    self.guest_gone(index, &code.to_string()).await;
                }
            }
            Event::Ended { .. } => self.guest_gone(index, "hung up").await,
            Event::Transfer { id, .. } => sip.reject_transfer(id, 603),
            Event::Reoffer { sdp, .. } => {
                if let Some(guest) = self.guests.get(index)
                    && let Some(settled) = self.answer_reoffer(&guest.leg, sdp)
                {
                    self.guest_holds(index, settled.they_hold);
                }
            }
            Event::Confirmed { sdp: Some(answer), .. } => self.guest_settled(index, &answer),
            Event::ReofferAnswered { code, sdp: Some(answer), .. } if code < 300 => self.guest_settled(index, &answer),
            _ => {}
        }
    }

    fn guest_settled(&mut self, index: usize, answer: &[u8]) {
        let settled = self.guests.get(index).map(|g| g.leg.take_answer(&self.sv.media, answer));
        if let Some(Ok(settled)) = settled {
            self.guest_holds(index, settled.they_hold);
        }
    }

    fn guest_holds(&mut self, index: usize, on: bool) {
        if let Some(guest) = self.guests.get_mut(index).filter(|g| g.holding != on) {
            guest.holding = on;
            self.connect();
        }
    }

    /// The operator's phone is gone: whom they asked in goes on with the citizen. False: nobody is there.
    pub(crate) async fn hand_over_to_guest(&mut self) -> bool {
        // Not to whom the citizen complained of meanwhile.
        let _ = self.learn_anew().await;
        // Somebody of ours before a service outside: they can still do something for the citizen.
        let asked = |g: &Guest| g.talking && g.part == Part::Join;
        let ours = self.guests.iter().position(|g| asked(g) && !g.who.sip_user.is_empty());
        let Some(index) = ours.or_else(|| self.guests.iter().position(asked)) else { return false };
        self.guest_takes_over(index).await;
        true
    }

    /// A guest whose phone is picked up is the citizen's operator from now on.
    pub(crate) async fn guest_takes_over(&mut self, index: usize) {
        // What the operator before had begun would take the citizen away again.
        self.drop_transfer();
        let guest = self.guests.remove(index);
        self.sound.guests.remove(&guest.leg.id());
        if let Some(outside) = guest.outside {
            self.sound.third.insert(guest.leg.id());
            self.permits.push(outside.0);
            self.outside.push(outside.1);
        }
        self.hand_over(guest.who, guest.leg).await;
        self.hold(HeldBy::Phone, guest.holding).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUPERVISING: [Part; 3] = [Part::Listen, Part::Whisper, Part::Barge];

    #[test]
    fn an_invitation_never_puts_a_supervising_leader_on_air() {
        assert_eq!(Part::Listen.change(Part::Join), Err(ControlError::NoPhone), "a listener stays unknown");
        assert_eq!(Part::Whisper.change(Part::Join), Err(ControlError::OtherPart));
        assert_eq!(Part::Barge.change(Part::Join), Err(ControlError::OtherPart));
        assert_eq!(Part::Listen.change(Part::Consult), Err(ControlError::NoPhone));
        assert_eq!(Part::Whisper.change(Part::Consult), Err(ControlError::OtherPart));
    }

    #[test]
    fn who_was_asked_in_supervises_nothing() {
        for wish in SUPERVISING {
            assert_eq!(Part::Join.change(wish), Err(ControlError::OtherPart));
        }
        assert_eq!(Part::Join.change(Part::Join), Ok(Part::Join), "asking twice is asking once");
    }

    #[test]
    fn a_leader_changes_between_listening_whispering_and_barging_in() {
        for now in SUPERVISING {
            for wish in SUPERVISING {
                assert_eq!(now.change(wish), Ok(wish));
            }
        }
    }

    #[test]
    fn a_guest_whose_phone_holds_is_heard_by_nobody() {
        assert_eq!(Part::Consult.heard_as(true), Part::Consult, "a holding phone mustn't hear the citizen");
        for part in [Part::Listen, Part::Whisper, Part::Barge, Part::Join] {
            assert_eq!(part.heard_as(true), Part::Listen);
            assert_eq!(part.heard_as(false), part);
        }
    }
}

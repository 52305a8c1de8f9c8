//! What an operator asks of their own talk through the console: one way for every kind of phone.

use std::collections::VecDeque;

use serde_json::json;

use super::control::{ControlError, Target, Wish};
use super::driver::{Driver, Side, Stage};
use super::emergency::is_service;
use super::guest::{Guest, Part};
use super::operator_leg::HeldBy;
use crate::acd::{Lane, OperatorRef};
use crate::clock::now_ms;
use crate::events::Audience;

/// `Idempotency-Key`s remembered in one call; the oldest go first.
const KEYS_MAX: usize = 64;
/// Keys sent at once; as many fit into a leg's queue (`hotline_media::limits::DTMF_QUEUE_MAX`).
const DIGITS_MAX: usize = 32;
const DIGIT_MS: u32 = 100;

/// What an operator has set in their talk, and the wishes already carried out.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    /// Nobody hears the operator.
    pub(crate) muted: bool,
    /// Silence of ours plays to the citizen, who would hear nobody.
    pub(crate) silence: bool,
    /// Music comes after what the citizen hears now.
    pub(crate) music_follows: bool,
    /// The shift leader was asked for help (epoch ms).
    pub(crate) help_since: Option<i64>,
    /// Who talked last, once they are out.
    last: Option<String>,
    /// Each with its wish's [`Wish::print`].
    keys: VecDeque<(String, u64)>,
}

impl Desk {
    /// Whether this wish was carried out under this key; another one under it is refused.
    fn is_repeated(&self, key: Option<&str>, print: u64) -> Result<bool, ControlError> {
        match key.and_then(|key| self.keys.iter().find(|(k, _)| k == key)) {
            Some((_, known)) if *known != print => Err(ControlError::KeyTaken),
            known => Ok(known.is_some()),
        }
    }

    fn remember(&mut self, key: Option<String>, print: u64) {
        let Some(key) = key else { return };
        if self.keys.len() >= KEYS_MAX {
            self.keys.pop_front();
        }
        self.keys.push_back((key, print));
    }

    /// The next operator begins with an open microphone and asks for their own help.
    pub(crate) fn operator_left(&mut self, who: &str) {
        (self.muted, self.help_since, self.last) = (false, None, Some(who.to_owned()));
    }
}

impl Driver {
    /// Carries a wish out, unless its key tells that this was done.
    pub(crate) async fn wish_once(&mut self, user: &str, wish: Wish, key: Option<String>) -> Result<(), ControlError> {
        let print = wish.print();
        if self.desk.is_repeated(key.as_deref(), print)? {
            // Who sent the citizen on and didn't get the answer asks as the last operator.
            return if self.desk.last.as_deref() == Some(user) { Ok(()) } else { self.is_theirs(user) };
        }
        let is_done = !matches!(wish, Wish::MayHangUp(_));
        self.wish(user, wish).await?;
        if is_done {
            self.desk.remember(key, print);
        }
        Ok(())
    }

    async fn wish(&mut self, user: &str, wish: Wish) -> Result<(), ControlError> {
        match wish {
            Wish::State => return self.is_theirs(user),
            Wish::Answer => return self.pick_up(user),
            Wish::End if self.has_ended(user) => return Ok(()),
            _ => self.allow(user)?,
        }
        match wish {
            Wish::State | Wish::Answer => {}
            Wish::End => self.end_talk().await,
            Wish::MayHangUp(reason) => self.allow_hang_up(&reason)?,
            Wish::HangUp(reason) => {
                self.allow_hang_up(&reason)?;
                self.talk_over(Side::Operator, "operator_hang_up").await;
                self.end_line(Side::Operator, &reason);
            }
            Wish::Hold(on) => self.hold(HeldBy::Console, on).await,
            Wish::Mute(on) => self.mute(on),
            Wish::PauseRecording(paused) => self.pause_recording(user, paused)?,
            Wish::Digits { to, digits } => self.send_digits(to.as_deref(), &digits)?,
            Wish::Invite(who) => self.admit_guest(who, Part::Join).await?,
            // A leader stays until they leave themselves.
            Wish::Dismiss(guest) if self.is_part(&guest, Part::Join) => self.dismiss_guest(&guest),
            Wish::Dismiss(_) => {}
            Wish::Consult(who) => self.ask_colleague(who).await?,
            Wish::ConsultEnd => self.consult_over().await,
            Wish::ConsultJoin => self.consult_joins().await?,
            Wish::ConsultComplete => self.consult_completes().await?,
            Wish::Transfer(target) => self.send_on(target).await?,
            Wish::TransferEnd => self.recall().await,
            Wish::Emergency(number) => self.call_emergency(user, &number).await?,
            Wish::SayNumber(service) => self.say_number(&service)?,
            Wish::Flag => self.flag(user).await,
            Wish::Help(on) => self.ask_help(user, on),
        }
        Ok(())
    }

    fn is_theirs(&self, user: &str) -> Result<(), ControlError> {
        let own = self.operator.as_ref().is_some_and(|o| o.who.id == user);
        if own { Ok(()) } else { Err(ControlError::NotYours) }
    }

    fn has_ended(&self, user: &str) -> bool {
        let left = match &self.operator {
            Some(o) => is_service(&o.who),
            None => self.stage == Stage::After,
        };
        left && self.desk.last.as_deref() == Some(user)
    }

    /// 结束. With 110, 119 or 120 in the talk only the operator leaves it.
    async fn end_talk(&mut self) {
        if self.help_is_there() && self.goes_on_without_operator().await {
            return;
        }
        self.talk_over(Side::Operator, "operator_end").await;
    }

    /// RFC 3261 knows no way to make a ringing phone answer: who talks already has answered.
    fn pick_up(&self, user: &str) -> Result<(), ControlError> {
        match &self.operator {
            Some(o) if o.who.id != user => Err(ControlError::NotYours),
            Some(o) if o.talking => Ok(()),
            Some(_) => Err(ControlError::PickUp),
            None => Err(ControlError::NoTalk),
        }
    }

    fn is_part(&self, user: &str, part: Part) -> bool {
        self.guests.iter().any(|g| g.who.id == user && g.part == part)
    }

    fn mute(&mut self, on: bool) {
        if self.desk.muted == on {
            return;
        }
        self.desk.muted = on;
        self.story.event("mute", json!({ "on": on }));
        self.connect();
        self.tell_call();
    }

    fn send_digits(&self, to: Option<&str>, digits: &str) -> Result<(), ControlError> {
        let leg = match to {
            None | Some("citizen") => self.citizen.id(),
            Some(id) => {
                let heard = |g: &&Guest| g.who.id == id && g.talking && g.part == Part::Join;
                self.guests.iter().find(heard).ok_or(ControlError::NoGuest)?.leg.id()
            }
        };
        let is_key = |c: char| c.is_ascii_digit() || matches!(c, '*' | '#' | 'A'..='D');
        if digits.is_empty() || digits.chars().count() > DIGITS_MAX || !digits.chars().all(is_key) {
            return Err(ControlError::BadDigits);
        }
        for digit in digits.chars() {
            self.sv.media.send_digit(leg, digit, DIGIT_MS);
        }
        // Which keys, is the citizen's or the service's business: a code, a card's number.
        self.story.event("digits_sent", json!({ "to": to.unwrap_or("citizen"), "count": digits.len() }));
        Ok(())
    }

    async fn ask_colleague(&mut self, who: OperatorRef) -> Result<(), ControlError> {
        if self.is_part(&who.id, Part::Consult) {
            return Ok(());
        }
        if self.transfer.is_some() || self.is_being_decided() {
            return Err(ControlError::Busy);
        }
        self.admit_guest(who, Part::Consult).await?;
        self.hold(HeldBy::Console, true).await;
        Ok(())
    }

    async fn consult_over(&mut self) {
        if let Some(index) = self.guests.iter().position(|g| g.part == Part::Consult) {
            self.let_guest_go(index, "consultation over");
            self.hold(HeldBy::Console, false).await;
        }
    }

    async fn consult_joins(&mut self) -> Result<(), ControlError> {
        let index = self.asked_and_allowed().await?;
        let who = self.guests[index].who.clone();
        self.guests[index].part = Part::Join;
        self.story.event("guest_part", json!({ "user": who.id, "part": Part::Join.as_str() }));
        self.connect();
        self.hold(HeldBy::Console, false).await;
        self.tell_call();
        Ok(())
    }

    /// Attended transfer: without the colleague's answer there is nobody to leave the citizen with.
    async fn consult_completes(&mut self) -> Result<(), ControlError> {
        let index = self.asked_and_allowed().await?;
        self.guest_takes_over(index).await;
        Ok(())
    }

    /// The colleague asked, who has answered; whether they may be heard is looked up now.
    async fn asked_and_allowed(&mut self) -> Result<usize, ControlError> {
        let asked = |g: &Guest| g.part == Part::Consult && g.talking;
        let who = self.guests.iter().find(|g| asked(g)).ok_or(ControlError::NoConsult)?.who.clone();
        self.may_stay(&who).await?;
        self.guests.iter().position(asked).ok_or(ControlError::NoConsult)
    }

    /// Somebody is asked about the citizen, or rung to take them over: whom they talk with next isn't the operator's
    /// choice alone just now.
    pub(crate) fn is_being_decided(&self) -> bool {
        self.consult.is_some() || self.guests.iter().any(|g| g.part == Part::Consult || g.takes)
    }

    async fn send_on(&mut self, target: Target) -> Result<(), ControlError> {
        match (&self.transfer, &target) {
            (Some(transfer), Target::Phone(who)) if transfer.who.id == who.id => return Ok(()),
            (Some(_), _) => return Err(ControlError::Busy),
            (None, _) if self.is_being_decided() => return Err(ControlError::Busy),
            (None, _) => {}
        }
        match target {
            Target::Phone(who) => self.refer_to_phone(None, who).await,
            Target::Queue(_) if self.help_is_there() => Err(ControlError::HelpIsThere),
            Target::Queue(queue) if self.sv.config.queue_names().contains(&queue) => {
                self.refer_to_queue(None, queue).await;
                Ok(())
            }
            Target::Queue(queue) => Err(ControlError::NoQueue(queue)),
            Target::Number(number) => self.refer_outside(None, &number).await,
        }
    }

    /// The operator takes the citizen back before anybody has answered.
    async fn recall(&mut self) {
        if let Some(transfer) = self.transfer.take() {
            transfer.leg.let_go(&self.sv.sip, "recalled");
            self.transfer_failed(*transfer, 487).await;
        }
    }

    async fn flag(&mut self, user: &str) {
        if self.lane == Lane::Red {
            return;
        }
        self.story.event("emergency_flag", json!({ "by": user }));
        self.set_lane(Lane::Red).await;
        self.tell_call();
    }

    fn ask_help(&mut self, user: &str, on: bool) {
        if self.desk.help_since.is_some() == on {
            return;
        }
        self.desk.help_since = on.then(now_ms);
        self.story.event("help", json!({ "by": user, "on": on }));
        let name = self.operator.as_ref().map(|o| o.who.name.clone());
        let data = json!({ "call": self.call, "operator": user, "name": name, "on": on });
        self.sv.events.publish("help", Audience::Leaders, None, data);
        self.tell_call();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_key_is_known_and_the_oldest_are_forgotten() {
        let mut desk = Desk::default();
        assert_eq!((desk.is_repeated(None, 1), desk.is_repeated(Some("a"), 1)), (Ok(false), Ok(false)));
        desk.remember(Some("a".into()), 1);
        assert_eq!((desk.is_repeated(Some("a"), 1), desk.is_repeated(Some("b"), 1)), (Ok(true), Ok(false)));
        for n in 0..KEYS_MAX {
            desk.remember(Some(n.to_string()), 1);
        }
        assert_eq!(desk.is_repeated(Some("a"), 1), Ok(false));
        assert_eq!(desk.keys.len(), KEYS_MAX);
    }

    #[test]
    fn a_key_belongs_to_one_wish() {
        let press = |digits: &str| Wish::Digits { to: None, digits: digits.into() };
        let mut desk = Desk::default();
        desk.remember(Some("a".into()), press("1").print());
        assert_eq!(desk.is_repeated(Some("a"), press("1").print()), Ok(true));
        for other in [press("2"), Wish::End, Wish::Transfer(Target::Queue("main".into()))] {
            assert_eq!(desk.is_repeated(Some("a"), other.print()), Err(ControlError::KeyTaken), "{other:?}");
        }
        let hang_up = Wish::HangUp("harassment".into());
        assert_eq!(Wish::MayHangUp("harassment".into()).print(), hang_up.print(), "the question is about that wish");
    }
}

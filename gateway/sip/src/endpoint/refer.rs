//! REFER from a phone (RFC 3515): what it asks for, and the driver's answer

use super::replaces::Replaced;
use super::{Endpoint, SessionError};
use crate::event::{Event, SessionId, TransferTarget};
use crate::flow::Flow;
use crate::limits;
use crate::message::{HeaderName, Message, NameAddr, Uri, percent_decode};
use crate::session::{State, Transfer};
use crate::transaction::TimerKey;
use std::time::{Duration, Instant};

/// The call a `Refer-To` wants to join
enum Consulted {
    Nobody,
    Session(SessionId),
    /// None of ours, or over
    Gone,
}

impl Endpoint {
    pub(super) fn receive_refer(&mut self, now: Instant, flow: Flow, id: SessionId, message: Message) {
        let wish = self.judge_refer(id, &message);
        let referred_by = message.header(HeaderName::ReferredBy).map(|v| String::from_utf8_lossy(v).into_owned());
        // RFC 4488 §4: `Refer-Sub: false` asks for no subscription.
        let is_reported = !message.header(HeaderName::ReferSub).is_some_and(|v| v.eq_ignore_ascii_case(b"false"));
        let cseq = message.cseq();
        let Some(tx) = self.open_server(now, flow, message, None) else {
            return;
        };
        let (target, consulted) = match wish {
            Ok(wish) => wish,
            Err(500) => {
                let pause = limits::RETRY_AFTER_S.to_string();
                self.respond(now, tx, 500, "", &[("Retry-After", &pause)], b"");
                return;
            }
            Err(code) => {
                self.respond(now, tx, code, "", &[], b"");
                return;
            }
        };
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        // RFC 3515 §2.4.6: from the second REFER of a dialog on, the event has an id.
        let event = if session.was_referred { format!("refer;id={cseq}") } else { "refer".to_owned() };
        session.was_referred = true;
        let give_up_at = now + Duration::from_millis(limits::TRANSFER_ANSWER_MS_MAX);
        let transfer = Transfer {
            refer: Some(tx),
            event,
            is_reported,
            give_up_at,
            is_notifying: false,
            next: None,
            is_over: false,
            orphan: None,
        };
        self.transfers.insert(id, transfer);
        self.arm_transfer(id);
        let replaces = match consulted {
            Consulted::Nobody => None,
            Consulted::Session(id) => Some(id),
            Consulted::Gone => {
                // Taken on and failed at once, as if the call it wants to join had refused.
                if self.accept_transfer(now, id).is_ok() {
                    let _ = self.transfer_progress(now, id, 481, "");
                }
                return;
            }
        };
        self.emit(Event::Transfer { id, target: TransferTarget { replaces, ..target }, referred_by });
    }

    /// What a REFER wants, or the code that refuses it
    fn judge_refer(&self, id: SessionId, message: &Message) -> Result<(TransferTarget, Consulted), u16> {
        let session = self.sessions.get(&id).ok_or(481_u16)?;
        match session.state {
            State::Ending => return Err(481),
            _ if !session.is_phone => return Err(403),
            State::Confirmed | State::Accepted if !self.transfers.contains_key(&id) => {}
            _ => return Err(491),
        }
        if self.transfers.len() >= limits::TRANSFER_COUNT_MAX {
            return Err(500);
        }
        let mut wishes = message.elements(HeaderName::ReferTo);
        let (Some(wish), None) = (wishes.next().and_then(NameAddr::parse), wishes.next()) else {
            return Err(400);
        };
        let uri = Uri::parse(wish.uri).map_err(|_| 400_u16)?;
        let is_callable = uri.is_sip() || uri.scheme.eq_ignore_ascii_case("tel");
        let is_invite = uri.param("method").is_none_or(|method| method == b"INVITE");
        let text = std::str::from_utf8(wish.uri).map_err(|_| 400_u16)?;
        if !is_callable || !is_invite || text.len() > limits::CONTACT_BYTES_MAX {
            return Err(400);
        }
        let consulted = self.consulted(uri.headers)?;
        // Everything from `?` on is headers of the request it asks for.
        let bare = if uri.headers.is_empty() { text } else { text.rsplit_once('?').map_or(text, |(bare, _)| bare) };
        let target = TransferTarget { uri: bare.to_owned(), number: uri.number(), replaces: None };
        Ok((target, consulted))
    }

    /// The session named by a `Replaces` among a URI's headers
    fn consulted(&self, headers: &[u8]) -> Result<Consulted, u16> {
        let mut found = headers.split(|b| *b == b'&').filter_map(|header| {
            let at = header.iter().position(|b| *b == b'=')?;
            header[..at].eq_ignore_ascii_case(b"replaces").then(|| percent_decode(&header[at + 1..]))
        });
        let Some(value) = found.next() else {
            return Ok(Consulted::Nobody);
        };
        if found.next().is_some() {
            return Err(400);
        }
        let replaced = Replaced::parse(&value).ok_or(400_u16)?;
        let id = self.find_replaced(&replaced).filter(|id| self.is_live(*id));
        Ok(id.map_or(Consulted::Gone, Consulted::Session))
    }

    /// Takes a transfer on: 202, and a NOTIFY that says it is being tried
    ///
    /// # Errors
    /// [`SessionError::Unknown`] where no REFER waits.
    pub fn accept_transfer(&mut self, now: Instant, id: SessionId) -> Result<(), SessionError> {
        let transfer = self.transfers.get_mut(&id).ok_or(SessionError::Unknown)?;
        let tx = transfer.refer.take().ok_or(SessionError::Unknown)?;
        transfer.give_up_at = now + Duration::from_millis(limits::TRANSFER_MS_MAX);
        let is_reported = transfer.is_reported;
        self.arm_transfer(id);
        let contact = self.sessions.get(&id).map(|s| s.contact.clone()).unwrap_or_default();
        let refer_sub = [("Contact", contact.as_str()), ("Refer-Sub", "false")];
        self.respond(now, tx, 202, "", &refer_sub[..if is_reported { 1 } else { 2 }], b"");
        if is_reported { self.transfer_progress(now, id, 100, "") } else { Ok(()) }
    }

    /// Tells the phone how its transfer goes on; from 200 on that was the last word
    ///
    /// `reason` replaces the usual phrase unless empty. Works also after the
    /// phone has hung up. A status that is overtaken by a newer one before the
    /// phone has answered the last NOTIFY is left out.
    ///
    /// # Errors
    /// [`SessionError::Unknown`] where no transfer is under way, `WrongState`
    /// before `accept_transfer`, `BadCode` outside 100–699.
    pub fn transfer_progress(
        &mut self,
        now: Instant,
        id: SessionId,
        code: u16,
        reason: &str,
    ) -> Result<(), SessionError> {
        if !(100..700).contains(&code) {
            return Err(SessionError::BadCode);
        }
        let transfer = self.transfers.get_mut(&id).filter(|t| !t.is_over).ok_or(SessionError::Unknown)?;
        if transfer.refer.is_some() {
            return Err(SessionError::WrongState);
        }
        let ending = (code >= 200).then_some("noresource");
        self.tell_transfer(now, id, code, reason, ending);
        Ok(())
    }

    /// Refuses a transfer with 300–699, usually 603
    ///
    /// # Errors
    /// [`SessionError::Unknown`] where no REFER waits.
    pub fn reject_transfer(&mut self, now: Instant, id: SessionId, code: u16) -> Result<(), SessionError> {
        if !(300..700).contains(&code) {
            return Err(SessionError::BadCode);
        }
        let waiting = self.transfers.get_mut(&id).and_then(|t| t.refer.take());
        let tx = waiting.ok_or(SessionError::Unknown)?;
        self.remove_transfer(id);
        self.respond(now, tx, code, "", &[], b"");
        Ok(())
    }

    /// The session is over before the driver answered its REFER
    pub(super) fn drop_refer(&mut self, now: Instant, id: SessionId) {
        let _ = self.reject_transfer(now, id, 487);
    }

    pub(super) fn arm_transfer(&mut self, id: SessionId) {
        let deadline = self.transfers.get(&id).filter(|t| !t.is_over).map(|t| t.give_up_at);
        self.timers.set(TimerKey::Transfer(id.0), deadline);
    }

    pub(super) fn remove_transfer(&mut self, id: SessionId) {
        self.transfers.remove(&id);
        self.timers.set(TimerKey::Transfer(id.0), None);
    }

    pub(super) fn transfer_timeout(&mut self, now: Instant, id: SessionId) {
        if self.reject_transfer(now, id, 603).is_err() {
            self.tell_transfer(now, id, 504, "", Some("timeout"));
        }
    }
}

//! Incoming calls: ringing, answering, rejecting.

use std::time::Duration;

use tokio::sync::mpsc::unbounded_channel;

use super::agent::{ALLOW, Agent, Inbound, lock, new_tag};
use super::call::{Call, End, Event, Side, State};
use super::dialog::{Dialog, record_routes};
use super::message::{Message, uri_of};
use super::sdp::{Direction, Sdp};
use crate::limits::{SIP_T1_MS, SIP_T2_MS, SIP_TIMEOUT_MS};
use crate::rtp::Source;
use crate::{Error, Result};

impl Call {
    /// Opens the callee's side of a dialog and sends 100.
    pub(super) fn incoming(agent: &Agent, invite: Inbound) -> Result<Self> {
        let rtp = agent.open_media()?;
        rtp.play(Source::Silence);
        let message = &invite.message;
        let header = |name: &str| message.header(name).unwrap_or("").to_owned();
        let dialog = Dialog {
            call_id: message.call_id().to_owned(),
            local: format!("{};tag={}", header("To"), new_tag()),
            remote: header("From"),
            target: uri_of(message.header("Contact").unwrap_or("")).to_owned(),
            routes: record_routes(message),
            peer: invite.from,
            sequence: 0,
            invite: Inbound { message: message.clone(), from: invite.from },
            answer: None,
            remote_sdp: Sdp::parse(&message.body),
            direction: Direction::SendRecv,
            sdp_version: 1,
        };
        let call = Self::new(agent, false, rtp, dialog);
        let (mailbox, requests) = unbounded_channel();
        lock(&agent.0.dialogs).insert(call.call_id(), mailbox);
        agent.respond(&invite, Message::response_to(message, 100, "Trying"))?;
        let serving = call.clone();
        tokio::spawn(async move { serving.serve(requests).await });
        Ok(call)
    }

    /// The user part that was dialled.
    #[must_use]
    pub fn called_user(&self) -> String {
        super::message::user_of(self.invite().uri()).to_owned()
    }

    /// The user part of From.
    #[must_use]
    pub fn caller_user(&self) -> String {
        let invite = self.invite();
        super::message::user_of(uri_of(invite.header("From").unwrap_or(""))).to_owned()
    }

    /// Sends a provisional response; `early_media` adds our session description and
    /// starts to send audio.
    ///
    /// # Errors
    /// [`Error::Sip`] when the call isn't waiting for an answer.
    pub fn ring(&self, code: u16, early_media: bool) -> Result<()> {
        let response = self.open_response(code, "Ringing")?;
        let response = if early_media {
            let body = self.answer_body()?;
            response.with_body("application/sdp", body)
        } else {
            response
        };
        self.respond_to_invite(response)?;
        self.0.state.send_replace(State::Ringing { code, early_media });
        Ok(())
    }

    /// Answers with 200 and repeats it until the ACK comes (RFC 3261 §13.3.1.4).
    ///
    /// # Errors
    /// [`Error::Sip`] when the call isn't waiting for an answer, or no codec fits.
    pub fn accept(&self) -> Result<()> {
        let body = self.answer_body()?;
        let response = self.open_response(200, "OK")?.with_body("application/sdp", body);
        lock(&self.0.dialog).answer = Some(response.clone());
        // First the state: the ACK may come before `respond` returns.
        self.0.state.send_replace(State::Answered);
        self.note(Event::Answered);
        self.respond_to_invite(response.clone())?;
        let (cseq, call) = (self.invite().cseq(), self.clone());
        tokio::spawn(async move { call.repeat_until_ack(cseq, response).await });
        Ok(())
    }

    /// Rejects with a final response.
    ///
    /// # Errors
    /// [`Error::Sip`] when the call isn't waiting for an answer.
    pub fn reject(&self, code: u16, reason: &str) -> Result<()> {
        let response = self.open_response(code, reason)?;
        self.respond_to_invite(response)?;
        self.end(End { by: Side::Local, code, reason: reason.to_owned() });
        Ok(())
    }

    /// Sends the caller elsewhere: a 3xx with these URIs as Contacts.
    ///
    /// # Errors
    /// [`Error::Sip`] when the call isn't waiting for an answer.
    pub fn redirect(&self, code: u16, contacts: &[&str]) -> Result<()> {
        let mut response = self.open_response(code, "Moved Temporarily")?;
        let list: Vec<String> = contacts.iter().map(|uri| format!("<{uri}>")).collect();
        response.set("Contact", list.join(", "));
        self.respond_to_invite(response)?;
        self.end(End { by: Side::Local, code, reason: "Moved Temporarily".to_owned() });
        Ok(())
    }

    /// The caller's CANCEL: 487 to the INVITE.
    pub(super) fn terminate(&self, end: End) {
        // An answer in this very moment wins.
        let response = self.open_response(487, "Request Terminated");
        if response.and_then(|r| self.respond_to_invite(r)).is_ok() {
            self.end(end);
        }
    }

    /// A response to the INVITE, as long as it may be answered.
    fn open_response(&self, code: u16, reason: &str) -> Result<Message> {
        let state = self.state();
        let open = matches!(state, State::Trying | State::Ringing { .. });
        if self.0.is_caller || !open {
            return Err(Error::Sip(format!("no answer of {code} in state {state:?}")));
        }
        Ok(self.dialog_response(&self.invite(), code, reason))
    }

    /// A response inside the dialog: our tag, our Contact.
    pub(super) fn dialog_response(&self, request: &Message, code: u16, reason: &str) -> Message {
        let mut response = Message::response_to(request, code, reason);
        if request.to_tag().is_none() {
            let local = lock(&self.0.dialog).local.clone();
            response.set("To", local);
        }
        response.with("Contact", self.0.agent.contact()).with("Allow", ALLOW)
    }

    fn respond_to_invite(&self, response: Message) -> Result<()> {
        let invite = {
            let dialog = lock(&self.0.dialog);
            Inbound { message: dialog.invite.message.clone(), from: dialog.invite.from }
        };
        self.0.agent.respond(&invite, response)
    }

    /// Our answer to the offer in the INVITE, or our offer when it had none.
    fn answer_body(&self) -> Result<String> {
        let accepted = &self.0.agent.config().payload_types;
        let local = self.0.rtp.local();
        let offer = lock(&self.0.dialog).remote_sdp.clone();
        match offer {
            Some(offer) => {
                let answer = offer.answer(local, accepted, 1);
                let answer = answer.ok_or_else(|| Error::Sip("no common codec".into()))?;
                lock(&self.0.dialog).direction = answer.direction;
                self.apply_remote(offer);
                Ok(answer.to_body())
            }
            None => Ok(Sdp::offer(local, accepted, 1).to_body()),
        }
    }

    pub(super) async fn repeat_until_ack(&self, cseq: u32, response: Message) {
        let mut acknowledged = self.0.acknowledged.subscribe();
        let (mut interval_ms, mut waited_ms) = (SIP_T1_MS, 0);
        while waited_ms < SIP_TIMEOUT_MS {
            let ack = acknowledged.wait_for(|seen| *seen >= cseq);
            if tokio::time::timeout(Duration::from_millis(interval_ms), ack).await.is_ok() {
                return;
            }
            if matches!(self.state(), State::Ended(_)) {
                return;
            }
            waited_ms += interval_ms;
            interval_ms = (interval_ms * 2).min(SIP_T2_MS);
            let peer = lock(&self.0.dialog).invite.from;
            // It was sent once, so it can be built again.
            let _ = self.0.agent.send(peer, &response);
        }
        self.note(Event::NotAcknowledged);
    }
}

//! Requests of the other side inside a dialog.

use tokio::sync::mpsc::UnboundedReceiver;

use super::agent::{Inbound, lock, without_dialog};
use super::call::{Call, End, Event, Side, State};
use super::message::{Message, uri_of};
use super::sdp::{Direction, Sdp};

impl Call {
    /// Answers requests until the dialog is over.
    pub(super) async fn serve(&self, mut requests: UnboundedReceiver<Inbound>) {
        while let Some(inbound) = requests.recv().await {
            match inbound.message.method() {
                "ACK" => self.on_ack(&inbound.message),
                "BYE" => self.on_bye(&inbound),
                "CANCEL" => self.on_cancel(&inbound),
                "INVITE" => self.on_reinvite(&inbound),
                "UPDATE" => self.on_update(&inbound),
                "INFO" => self.on_info(&inbound),
                "NOTIFY" => self.on_notify(&inbound),
                "OPTIONS" => self.reply(&inbound, 200, "OK"),
                _ => self.send_reply(&inbound, without_dialog(&inbound.message)),
            }
        }
    }

    fn reply(&self, inbound: &Inbound, code: u16, reason: &str) {
        let response = self.dialog_response(&inbound.message, code, reason);
        self.send_reply(inbound, response);
    }

    fn send_reply(&self, inbound: &Inbound, response: Message) {
        // Built from parts of a request that rsip has parsed.
        let _ = self.0.agent.respond(inbound, response);
    }

    fn on_ack(&self, ack: &Message) {
        let first = self.0.acknowledged.send_if_modified(|seen| {
            let newer = ack.cseq() > *seen;
            *seen = ack.cseq().max(*seen);
            newer
        });
        if first {
            self.note(Event::Acknowledged);
            // Late offer: our 2xx offered, this is the answer.
            if let Some(sdp) = Sdp::parse(&ack.body) {
                self.apply_remote(sdp);
            }
        }
    }

    fn on_bye(&self, inbound: &Inbound) {
        self.reply(inbound, 200, "OK");
        let reason = inbound.message.header("Reason").unwrap_or("").to_owned();
        self.end(End { by: Side::Remote, code: 200, reason });
    }

    /// RFC 3261 §9.2: 200 to the CANCEL, 487 to the INVITE unless it is answered.
    fn on_cancel(&self, inbound: &Inbound) {
        self.reply(inbound, 200, "OK");
        if self.0.is_caller || !matches!(self.state(), State::Trying | State::Ringing { .. }) {
            return;
        }
        let reason = inbound.message.header("Reason").unwrap_or("").to_owned();
        self.terminate(End { by: Side::Remote, code: 487, reason });
    }

    fn on_reinvite(&self, inbound: &Inbound) {
        let request = &inbound.message;
        if let Some(contact) = request.header("Contact") {
            lock(&self.0.dialog).target = uri_of(contact).to_owned();
        }
        let Some(body) = self.new_answer(request) else {
            self.reply(inbound, 488, "Not Acceptable Here");
            return;
        };
        let response = self.dialog_response(request, 200, "OK").with_body("application/sdp", body);
        self.send_reply(inbound, response.clone());
        let (call, cseq) = (self.clone(), request.cseq());
        tokio::spawn(async move { call.repeat_until_ack(cseq, response).await });
    }

    fn on_update(&self, inbound: &Inbound) {
        let request = &inbound.message;
        if request.body.is_empty() {
            self.reply(inbound, 200, "OK");
            return;
        }
        match self.new_answer(request) {
            Some(body) => {
                let response = self.dialog_response(request, 200, "OK");
                self.send_reply(inbound, response.with_body("application/sdp", body));
            }
            None => self.reply(inbound, 488, "Not Acceptable Here"),
        }
    }

    /// The answer to a new offer (or our offer if there is none), applied at once.
    fn new_answer(&self, request: &Message) -> Option<String> {
        let accepted = &self.0.agent.config().payload_types;
        let local = self.0.rtp.local();
        let version = {
            let mut dialog = lock(&self.0.dialog);
            dialog.sdp_version += 1;
            dialog.sdp_version
        };
        if request.body.is_empty() {
            self.note(Event::Reinvited(Direction::SendRecv));
            return Some(Sdp::offer(local, accepted, version).to_body());
        }
        let offer = Sdp::parse(&request.body)?;
        let answer = offer.answer(local, accepted, version)?;
        lock(&self.0.dialog).direction = answer.direction;
        self.note(Event::Reinvited(offer.direction));
        self.apply_remote(offer);
        Some(answer.to_body())
    }

    fn on_notify(&self, inbound: &Inbound) {
        self.note(Event::Notified(String::from_utf8_lossy(&inbound.message.body).into_owned()));
        self.reply(inbound, 200, "OK");
    }

    fn on_info(&self, inbound: &Inbound) {
        let text = String::from_utf8_lossy(&inbound.message.body).into_owned();
        self.note(Event::Info(text));
        self.reply(inbound, 200, "OK");
    }
}

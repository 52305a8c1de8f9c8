//! Outgoing calls: INVITE, provisional responses, answer, challenge, CANCEL.

use std::net::SocketAddr;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::agent::{ALLOW, Agent, Inbound, lock, new_tag, transaction_key};
use super::call::{Call, End, Event, Side, State};
use super::dialog::Dialog;
use super::message::Message;
use super::sdp::{Direction, Sdp};
use crate::Result;
use crate::rtp::Source;

/// What to dial and how.
#[derive(Clone, Debug)]
pub struct Dial {
    /// Where the INVITE goes.
    pub to: SocketAddr,
    /// Request-URI; its user part is the number.
    pub uri: String,
    /// The From value without a tag; `None` uses the agent's own address.
    pub from: Option<String>,
    /// More headers of the INVITE.
    pub headers: Vec<(String, String)>,
    /// False leaves the offer to the other side (its 2xx offers, our ACK answers).
    pub with_offer: bool,
    /// Replaces the session description by any bytes.
    pub body: Option<Vec<u8>>,
    /// What is sent as soon as there is somewhere to send it.
    pub source: Source,
}

impl Dial {
    /// Dials `number` at `to`, sending silence.
    #[must_use]
    pub fn new(to: SocketAddr, number: &str) -> Self {
        Self {
            to,
            uri: format!("sip:{number}@{to}"),
            from: None,
            headers: Vec::new(),
            with_offer: true,
            body: None,
            source: Source::Silence,
        }
    }

    /// Sends `source` instead of silence.
    #[must_use]
    pub fn sending(mut self, source: Source) -> Self {
        self.source = source;
        self
    }

    /// Adds a header to the INVITE.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

impl Agent {
    /// Starts a call; returns at once, the state tells how it goes.
    ///
    /// # Errors
    /// [`crate::Error::Sip`] when the INVITE can't be built, [`crate::Error::Io`]
    /// without a free media port.
    pub fn dial(&self, dial: Dial) -> Result<Call> {
        let config = self.config();
        let rtp = self.open_media()?;
        rtp.play(dial.source.clone());
        let display = config.display.as_ref().map_or(String::new(), |d| format!("\"{d}\" "));
        let own = format!("{display}<sip:{}@{}>", config.user, config.ip);
        let local = format!("{};tag={}", dial.from.clone().unwrap_or(own), new_tag());
        let dialog = Dialog {
            call_id: format!("{:016x}@{}", rand::random::<u64>(), config.ip),
            local,
            remote: format!("<{}>", dial.uri),
            target: dial.uri.clone(),
            routes: Vec::new(),
            peer: dial.to,
            sequence: 0,
            invite: Inbound { message: Message::request("INVITE", &dial.uri), from: dial.to },
            answer: None,
            remote_sdp: None,
            direction: Direction::SendRecv,
            sdp_version: 1,
        };
        let call = Call::new(self, true, rtp, dialog);
        let invite = first_invite(&call, &dial);
        // Built once here, so that a caller learns of an impossible message at once.
        invite.to_bytes()?;
        lock(&call.0.dialog).invite.message = invite.clone();
        let (mailbox, requests) = unbounded_channel();
        lock(&self.0.dialogs).insert(call.call_id(), mailbox);
        tokio::spawn(run(call.clone(), invite, dial.to, requests));
        Ok(call)
    }
}

fn first_invite(call: &Call, dial: &Dial) -> Message {
    let agent = &call.0.agent;
    let mut invite = lock(&call.0.dialog).request(agent, "INVITE").with("Allow", ALLOW);
    for (name, value) in &dial.headers {
        invite = invite.with(name, value);
    }
    let offer = Sdp::offer(call.rtp().local(), &agent.config().payload_types, 1).to_body();
    match &dial.body {
        Some(body) => invite.with_body("application/sdp", body.clone()),
        None if dial.with_offer => invite.with_body("application/sdp", offer),
        None => invite,
    }
}

async fn run(call: Call, mut invite: Message, to: SocketAddr, requests: UnboundedReceiver<Inbound>) {
    let agent = call.0.agent.clone();
    loop {
        let cancel = call.0.cancel.subscribe();
        let outcome = agent.invite(&invite, to, |response| provisional(&call, response), cancel).await;
        let (response, repeats) = match outcome {
            Ok(done) => done,
            Err(error) => {
                call.end(End { by: Side::Network, code: 408, reason: error.to_string() });
                return;
            }
        };
        let code = response.code().unwrap_or(0);
        if (200..300).contains(&code) {
            answered(&call, &invite, response, repeats);
            break;
        }
        if let Ok(Some(again)) = agent.authorized(&invite, &response) {
            lock(&call.0.dialog).sequence = again.cseq();
            invite = again;
            continue;
        }
        let by = if *call.0.cancel.borrow() { Side::Local } else { Side::Remote };
        call.end(End { by, code, reason: response.reason().to_owned() });
        return;
    }
    call.serve(requests).await;
}

fn provisional(call: &Call, response: &Message) {
    let code = response.code().unwrap_or(100);
    if code == 100 {
        return;
    }
    call.note(Event::Provisional(code));
    let sdp = Sdp::parse(&response.body);
    let early_media = sdp.is_some();
    lock(&call.0.dialog).learn_from_response(response);
    if let Some(sdp) = sdp {
        call.apply_remote(sdp);
    }
    call.0.state.send_replace(State::Ringing { code, early_media });
}

fn answered(call: &Call, invite: &Message, response: Message, repeats: UnboundedReceiver<Message>) {
    let agent = &call.0.agent;
    let offered = !invite.body.is_empty();
    let (ack, to) = {
        let mut dialog = lock(&call.0.dialog);
        dialog.learn_from_response(&response);
        dialog.answer = Some(response.clone());
        (dialog.ack(agent, invite.cseq()), dialog.next_hop())
    };
    let sdp = Sdp::parse(&response.body);
    let ack = match &sdp {
        // The 2xx carried the offer: the ACK carries the answer (RFC 3264).
        Some(offer) if !offered => {
            let accepted = &agent.config().payload_types;
            match offer.answer(call.rtp().local(), accepted, 1) {
                Some(answer) => ack.with_body("application/sdp", answer.to_body()),
                None => ack,
            }
        }
        _ => ack,
    };
    // The INVITE could be built with the same parts, so the ACK can be.
    let _ = agent.send(to, &ack);
    agent.linger(transaction_key(invite), repeats, ack, to);
    if let Some(sdp) = sdp {
        call.apply_remote(sdp);
    }
    call.note(Event::Answered);
    call.0.state.send_replace(State::Answered);
}

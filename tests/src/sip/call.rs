//! A call as a test holds it: state, media, and the things a person does with a phone.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::watch;

use super::agent::{Agent, lock};
use super::dialog::Dialog;
use super::message::Message;
use super::sdp::{Direction, Sdp};
use crate::rtp::RtpStream;
use crate::{Error, Result, within};

/// Who did something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This harness's end.
    Local,
    /// The other end.
    Remote,
    /// Nobody: a timer ran out.
    Network,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Who ended it.
    pub by: Side,
    /// 200 for a BYE; else the final response's code (487 after a CANCEL).
    pub code: u16,
    /// Text of the Reason header, or the reason phrase of a failure.
    pub reason: String,
}

/// Where a call stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing but 100 so far; for a callee: not yet ringing.
    Trying,
    /// A provisional response was received or sent.
    Ringing {
        /// 180, 183 …
        code: u16,
        /// True when it carried a session description.
        early_media: bool,
    },
    /// Answered by 2xx.
    Answered,
    /// Over.
    Ended(End),
}

/// Things that happened, for a test to look at afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A provisional response came.
    Provisional(u16),
    /// The 2xx came or was sent.
    Answered,
    /// The ACK of our 2xx came.
    Acknowledged,
    /// Our 2xx was never acknowledged.
    NotAcknowledged,
    /// The other side changed the session.
    Reinvited(Direction),
    /// An INFO came, with its body's text.
    Info(String),
    /// A NOTIFY came about our REFER, with its body's text.
    Notified(String),
    /// The call ended.
    Ended(End),
}

/// One call; clones are handles of the same call. Dropping all of them doesn't hang up.
#[derive(Clone)]
pub struct Call(pub(super) Arc<CallInner>);

pub(super) struct CallInner {
    pub(super) agent: Agent,
    pub(super) is_caller: bool,
    pub(super) rtp: RtpStream,
    pub(super) dialog: Mutex<Dialog>,
    pub(super) state: watch::Sender<State>,
    pub(super) cancel: watch::Sender<bool>,
    pub(super) acknowledged: watch::Sender<u32>,
    pub(super) events: Mutex<Vec<(Instant, Event)>>,
}

impl Call {
    pub(super) fn new(agent: &Agent, is_caller: bool, rtp: RtpStream, dialog: Dialog) -> Self {
        Self(Arc::new(CallInner {
            agent: agent.clone(),
            is_caller,
            rtp,
            dialog: Mutex::new(dialog),
            state: watch::Sender::new(State::Trying),
            cancel: watch::Sender::new(false),
            acknowledged: watch::Sender::new(0),
            events: Mutex::default(),
        }))
    }

    /// The media stream.
    #[must_use]
    pub fn rtp(&self) -> &RtpStream {
        &self.0.rtp
    }

    /// Where the call stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.0.state.borrow().clone()
    }

    /// The Call-ID.
    #[must_use]
    pub fn call_id(&self) -> String {
        lock(&self.0.dialog).call_id.clone()
    }

    /// The INVITE that opened the call.
    #[must_use]
    pub fn invite(&self) -> Message {
        lock(&self.0.dialog).invite.message.clone()
    }

    /// The 2xx that answered it, if it was answered.
    #[must_use]
    pub fn answer(&self) -> Option<Message> {
        lock(&self.0.dialog).answer.clone()
    }

    /// The other side's latest session description.
    #[must_use]
    pub fn remote_sdp(&self) -> Option<Sdp> {
        lock(&self.0.dialog).remote_sdp.clone()
    }

    /// What happened so far, in order.
    #[must_use]
    pub fn events(&self) -> Vec<(Instant, Event)> {
        lock(&self.0.events).clone()
    }

    /// When the first event that `wanted` accepts happened.
    pub fn when(&self, wanted: impl Fn(&Event) -> bool) -> Option<Instant> {
        lock(&self.0.events).iter().find(|(_, event)| wanted(event)).map(|(at, _)| *at)
    }

    /// Waits for a ringing (or answered) call; returns the provisional code or 200.
    ///
    /// # Errors
    /// [`Error::Timeout`]; [`Error::Refused`] when the call ended first.
    pub async fn wait_ringing(&self, timeout_ms: u64) -> Result<u16> {
        let state = self.wait_state(timeout_ms, |s| !matches!(s, State::Trying)).await?;
        match state {
            State::Ringing { code, .. } => Ok(code),
            State::Ended(end) => Err(refused(&end)),
            State::Answered | State::Trying => Ok(200),
        }
    }

    /// Waits for the 2xx.
    ///
    /// # Errors
    /// [`Error::Timeout`]; [`Error::Refused`] with the code when the call failed.
    pub async fn wait_answered(&self, timeout_ms: u64) -> Result<()> {
        let reached = |s: &State| matches!(s, State::Answered | State::Ended(_));
        match self.wait_state(timeout_ms, reached).await? {
            State::Ended(end) => Err(refused(&end)),
            _ => Ok(()),
        }
    }

    /// Waits for the end, whatever it is.
    ///
    /// # Errors
    /// [`Error::Timeout`].
    pub async fn wait_ended(&self, timeout_ms: u64) -> Result<End> {
        match self.wait_state(timeout_ms, |s| matches!(s, State::Ended(_))).await? {
            State::Ended(end) => Ok(end),
            _ => Err(Error::Sip("a state that isn't the end".into())),
        }
    }

    async fn wait_state(&self, timeout_ms: u64, reached: impl Fn(&State) -> bool) -> Result<State> {
        let mut states = self.0.state.subscribe();
        let waiting = within("", timeout_ms, states.wait_for(reached)).await;
        match waiting {
            Ok(Ok(state)) => Ok(state.clone()),
            _ => {
                let what = format!("call {} out of {:?}", self.call_id(), self.state());
                Err(Error::Timeout { what, after_ms: timeout_ms })
            }
        }
    }

    /// Waits until the ACK of our 2xx has come.
    ///
    /// # Errors
    /// [`Error::Timeout`].
    pub async fn wait_acknowledged(&self, timeout_ms: u64) -> Result<()> {
        let mut acknowledged = self.0.acknowledged.subscribe();
        let waiting = acknowledged.wait_for(|cseq| *cseq > 0);
        within("an ACK", timeout_ms, waiting).await.map(|_| ())
    }

    /// Hangs up as the state asks for: CANCEL, 480, or BYE; returns when the other
    /// side has confirmed it.
    ///
    /// # Errors
    /// [`Error::Timeout`] when it never does.
    pub async fn hang_up(&self) -> Result<()> {
        match self.state() {
            State::Ended(_) => Ok(()),
            State::Answered => self.bye(None).await,
            _ if self.0.is_caller => self.cancel().await,
            _ => self.reject(480, "Temporarily Unavailable"),
        }
    }

    /// Gives up an outgoing call that isn't answered yet.
    ///
    /// # Errors
    /// [`Error::Timeout`].
    pub async fn cancel(&self) -> Result<()> {
        self.0.cancel.send_replace(true);
        let decided = |s: &State| matches!(s, State::Answered | State::Ended(_));
        match self.wait_state(crate::limits::SIP_TIMEOUT_MS, decided).await? {
            // The 2xx was faster than our CANCEL (RFC 3261 §9.1): take it and hang up.
            State::Answered => self.bye(None).await,
            _ => Ok(()),
        }
    }

    /// Ends an answered call with a `Reason` (RFC 3326), as a carrier does whose network failed.
    ///
    /// # Errors
    /// [`Error::Timeout`], [`Error::Refused`].
    pub async fn hang_up_because(&self, reason: &str) -> Result<()> {
        self.bye(Some(reason)).await
    }

    async fn bye(&self, reason: Option<&str>) -> Result<()> {
        let (request, to) = {
            let mut dialog = lock(&self.0.dialog);
            (dialog.request(&self.0.agent, "BYE"), dialog.next_hop())
        };
        let request = match reason {
            Some(reason) => request.with("Reason", reason),
            None => request,
        };
        self.0.rtp.set_remote(None);
        let response = self.0.agent.request(&request, to).await;
        self.end(End { by: Side::Local, code: 200, reason: String::new() });
        match response?.code() {
            // 481: both hung up at once.
            Some(200..300 | 481) => Ok(()),
            code => Err(Error::Refused { method: "BYE".into(), code: code.unwrap_or(0), reason: String::new() }),
        }
    }

    /// Falls silent as a phone whose plug was pulled: no BYE, no RTP, no answer to
    /// anything of this call.
    pub fn vanish(&self) {
        self.0.rtp.set_remote(None);
        let call_id = self.call_id();
        let (mute, _nobody) = tokio::sync::mpsc::unbounded_channel();
        lock(&self.0.agent.0.dialogs).insert(call_id, mute);
        self.end_state(End { by: Side::Network, code: 0, reason: "vanished".into() });
    }

    /// Sends digits as RFC 4733 events of 100 ms.
    ///
    /// # Errors
    /// As [`RtpStream::send_digits`].
    pub fn send_digits(&self, digits: &str) -> Result<()> {
        self.0.rtp.send_digits(digits, 100)
    }

    /// Sends one digit as SIP INFO (`application/dtmf-relay`).
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Timeout`].
    pub async fn send_info_digit(&self, digit: char) -> Result<()> {
        let (request, to) = {
            let mut dialog = lock(&self.0.dialog);
            (dialog.request(&self.0.agent, "INFO"), dialog.next_hop())
        };
        let body = format!("Signal={digit}\r\nDuration=160\r\n");
        let request = request.with_body("application/dtmf-relay", body);
        success(&self.0.agent.request(&request, to).await?)
    }

    /// Asks the other side to call `refer_to` instead (REFER, RFC 3515); the status code of the answer.
    ///
    /// # Errors
    /// [`Error::Timeout`].
    pub async fn refer(&self, refer_to: &str) -> Result<u16> {
        let (request, to) = {
            let mut dialog = lock(&self.0.dialog);
            (dialog.request(&self.0.agent, "REFER"), dialog.next_hop())
        };
        let request = request.with("Refer-To", format!("<{refer_to}>"));
        Ok(self.0.agent.request(&request, to).await?.code().unwrap_or(0))
    }

    /// This dialog as a `Replaces` inside a `Refer-To` names it, escaped (RFC 3891 §6.1).
    #[must_use]
    pub fn as_replaces(&self) -> String {
        let dialog = lock(&self.0.dialog);
        let tag = |value: &str| super::message::param(value, "tag").unwrap_or("").to_owned();
        let call_id = dialog.call_id.replace('@', "%40");
        format!("{call_id}%3Bto-tag%3D{}%3Bfrom-tag%3D{}", tag(&dialog.remote), tag(&dialog.local))
    }

    /// Waits for a NOTIFY whose body holds `text`.
    ///
    /// # Errors
    /// [`Error::Timeout`].
    pub async fn wait_notified(&self, text: &str, timeout_ms: u64) -> Result<()> {
        let is_it = |e: &Event| matches!(e, Event::Notified(body) if body.contains(text));
        crate::until(&format!("a NOTIFY with {text}"), timeout_ms, || async { self.when(is_it).map(|_| ()) }).await
    }

    /// Puts the other side on hold.
    ///
    /// # Errors
    /// As [`Call::reinvite`].
    pub async fn hold(&self) -> Result<()> {
        self.reinvite(Direction::SendOnly).await
    }

    /// Takes the other side back.
    ///
    /// # Errors
    /// As [`Call::reinvite`].
    pub async fn resume(&self) -> Result<()> {
        self.reinvite(Direction::SendRecv).await
    }

    /// Offers a new direction in a re-INVITE.
    ///
    /// # Errors
    /// [`Error::Refused`] when it is answered with a failure; the call goes on as before.
    pub async fn reinvite(&self, direction: Direction) -> Result<()> {
        let agent = &self.0.agent;
        let (request, to) = {
            let mut dialog = lock(&self.0.dialog);
            dialog.sdp_version += 1;
            let mut offer = Sdp::offer(self.0.rtp.local(), &agent.config().payload_types, dialog.sdp_version);
            offer.direction = direction;
            let request = dialog.request(agent, "INVITE");
            (request.with_body("application/sdp", offer.to_body()), dialog.next_hop())
        };
        let (_never, cancel) = watch::channel(false);
        let (response, repeats) = agent.invite(&request, to, |_| {}, cancel).await?;
        success(&response)?;
        let ack = lock(&self.0.dialog).ack(agent, request.cseq());
        agent.send(to, &ack)?;
        agent.linger(super::agent::transaction_key(&request), repeats, ack, to);
        lock(&self.0.dialog).direction = direction;
        if let Some(sdp) = Sdp::parse(&response.body) {
            self.apply_remote(sdp);
        }
        Ok(())
    }

    pub(super) fn note(&self, event: Event) {
        lock(&self.0.events).push((Instant::now(), event));
    }

    /// Uses the other side's description for what we send.
    pub(super) fn apply_remote(&self, sdp: Sdp) {
        let mut dialog = lock(&self.0.dialog);
        let accepted = &self.0.agent.config().payload_types;
        if let Some(pt) = sdp.payload_types.iter().find(|pt| accepted.contains(pt)) {
            self.0.rtp.set_payload_types(*pt, sdp.dtmf_pt);
        }
        let we_send = matches!(dialog.direction, Direction::SendRecv | Direction::SendOnly);
        self.0.rtp.set_remote((we_send && sdp.wants_audio()).then_some(sdp.rtp));
        dialog.remote_sdp = Some(sdp);
    }

    /// Ends the call once: later ends are ignored.
    pub(super) fn end(&self, end: End) {
        lock(&self.0.agent.0.dialogs).remove(&self.call_id());
        self.end_state(end);
    }

    fn end_state(&self, end: End) {
        self.0.rtp.set_remote(None);
        let ended = self.0.state.send_if_modified(|state| {
            let first = !matches!(state, State::Ended(_));
            if first {
                *state = State::Ended(end.clone());
            }
            first
        });
        if ended {
            self.note(Event::Ended(end));
        }
    }
}

fn refused(end: &End) -> Error {
    Error::Refused { method: "INVITE".into(), code: end.code, reason: end.reason.clone() }
}

fn success(response: &Message) -> Result<()> {
    match response.code() {
        Some(200..300) => Ok(()),
        code => Err(Error::Refused {
            method: response.method().to_owned(),
            code: code.unwrap_or(0),
            reason: response.reason().to_owned(),
        }),
    }
}

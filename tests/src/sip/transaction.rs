//! Client transactions (RFC 3261 §17.1) with their retransmissions.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::agent::{Agent, lock, transaction_key};
use super::digest::Challenge;
use super::message::Message;
use crate::limits::{SIP_T1_MS, SIP_T2_MS, SIP_TIMEOUT_MS};
use crate::{Error, Result};

/// How long an INVITE may ring before the harness gives up on its test.
const RING_MS_MAX: u64 = 300_000;

fn after(ms: u64) -> Instant {
    Instant::now() + Duration::from_millis(ms)
}

impl Agent {
    fn open_transaction(&self, request: &Message) -> (String, UnboundedReceiver<Message>) {
        let (sender, receiver) = unbounded_channel();
        let key = transaction_key(request);
        lock(&self.0.pending).insert(key.clone(), sender);
        (key, receiver)
    }

    fn close_transaction(&self, key: &str) {
        lock(&self.0.pending).remove(key);
    }

    /// Sends a request that isn't INVITE and returns its final response, whatever it is.
    ///
    /// # Errors
    /// [`Error::Timeout`] after 64 × T1.
    pub async fn request(&self, request: &Message, to: SocketAddr) -> Result<Message> {
        let (key, mut responses) = self.open_transaction(request);
        let result = self.non_invite(request, to, &mut responses).await;
        self.close_transaction(&key);
        result
    }

    async fn non_invite(
        &self,
        request: &Message,
        to: SocketAddr,
        responses: &mut UnboundedReceiver<Message>,
    ) -> Result<Message> {
        let deadline = after(SIP_TIMEOUT_MS);
        let mut interval_ms = SIP_T1_MS;
        self.send(to, request)?;
        let mut again = after(interval_ms);
        loop {
            tokio::select! {
                Some(response) = responses.recv() => {
                    if response.code().is_some_and(|code| code >= 200) {
                        return Ok(response);
                    }
                }
                () = sleep_until(again), if !self.0.sockets.is_reliable() => {
                    self.send(to, request)?;
                    interval_ms = (interval_ms * 2).min(SIP_T2_MS);
                    again = after(interval_ms);
                }
                () = sleep_until(deadline) => return Err(timed_out(request)),
            }
        }
    }

    /// As [`Agent::request`], answering one 401 or 407 with the agent's credentials.
    ///
    /// # Errors
    /// As [`Agent::request`]; [`Error::Sip`] when the challenge isn't understood.
    pub async fn request_with_auth(&self, request: &Message, to: SocketAddr) -> Result<Message> {
        let response = self.request(request, to).await?;
        match self.authorized(request, &response)? {
            Some(request) => self.request(&request, to).await,
            None => Ok(response),
        }
    }

    /// The same request with an answer to the challenge in `response`, a new branch
    /// and the next CSeq; `None` when there is no challenge or nothing to answer with.
    pub(super) fn authorized(&self, request: &Message, response: &Message) -> Result<Option<Message>> {
        let (ask, reply) = match response.code() {
            Some(401) => ("WWW-Authenticate", "Authorization"),
            Some(407) => ("Proxy-Authenticate", "Proxy-Authorization"),
            _ => return Ok(None),
        };
        let config = self.config();
        let Some(who) = &config.credentials else {
            return Ok(None);
        };
        let challenge = Challenge::choose(response.headers_named(ask), config.prefer)?;
        if request.header(reply).is_some() && !challenge.stale {
            return Ok(None);
        }
        let mut again = request.clone();
        again.set(reply, challenge.answer(who, request.method(), request.uri(), 1));
        again.set("CSeq", format!("{} {}", request.cseq() + 1, request.method()));
        again.set("Via", self.via());
        Ok(Some(again))
    }

    /// Runs an INVITE transaction to its final response. `provisional` sees each 1xx;
    /// a change of `cancel` to true sends CANCEL as soon as the RFC allows it (§9.1).
    /// A final response above 299 is acknowledged here; after a 2xx the caller sends
    /// the ACK and hands it to [`Agent::linger`] with the returned receiver.
    pub(super) async fn invite(
        &self,
        request: &Message,
        to: SocketAddr,
        mut provisional: impl FnMut(&Message),
        mut cancel: watch::Receiver<bool>,
    ) -> Result<(Message, UnboundedReceiver<Message>)> {
        let (key, mut responses) = self.open_transaction(request);
        let (mut proceeding, mut cancelled) = (false, false);
        let mut deadline = after(SIP_TIMEOUT_MS);
        let mut interval_ms = SIP_T1_MS;
        self.send(to, request)?;
        let mut again = after(interval_ms);
        loop {
            tokio::select! {
                Some(response) = responses.recv() => match response.code().unwrap_or(0) {
                    0..200 => {
                        if !proceeding {
                            deadline = after(RING_MS_MAX);
                        }
                        proceeding = true;
                        provisional(&response);
                    }
                    200..300 => return Ok((response, responses)),
                    _ => {
                        let ack = ack_for_failure(request, &response);
                        self.send(to, &ack)?;
                        let (_, none) = unbounded_channel();
                        self.linger(key, responses, ack, to);
                        return Ok((response, none));
                    }
                },
                () = sleep_until(again), if !proceeding && !self.0.sockets.is_reliable() => {
                    self.send(to, request)?;
                    interval_ms *= 2;
                    again = after(interval_ms);
                }
                () = sleep_until(deadline) => {
                    self.close_transaction(&key);
                    return Err(timed_out(request));
                }
                Ok(()) = cancel.changed() => {}
            }
            if proceeding && !cancelled && *cancel.borrow() {
                cancelled = true;
                deadline = after(SIP_TIMEOUT_MS);
                let (agent, cancel) = (self.clone(), cancel_for(request));
                // What counts is the INVITE's own final response.
                tokio::spawn(async move { agent.request(&cancel, to).await });
            }
        }
    }

    /// Repeats `ack` for every repeated final response during 64 × T1.
    pub(super) fn linger(&self, key: String, mut responses: UnboundedReceiver<Message>, ack: Message, to: SocketAddr) {
        let agent = self.clone();
        tokio::spawn(async move {
            let deadline = after(SIP_TIMEOUT_MS);
            loop {
                tokio::select! {
                    Some(response) = responses.recv() => {
                        if response.code().is_some_and(|code| code >= 200) {
                            // The same message as before: it could be built then.
                            let _ = agent.send(to, &ack);
                        }
                    }
                    () = sleep_until(deadline) => break,
                }
            }
            agent.close_transaction(&key);
        });
    }
}

fn timed_out(request: &Message) -> Error {
    let what = format!("a final response to {} {}", request.method(), request.uri());
    Error::Timeout { what, after_ms: SIP_TIMEOUT_MS }
}

/// RFC 3261 §17.1.1.3.
fn ack_for_failure(request: &Message, response: &Message) -> Message {
    let mut ack = within_transaction(request, "ACK");
    ack.set("To", response.header("To").unwrap_or("").to_owned());
    ack
}

/// RFC 3261 §9.1.
fn cancel_for(request: &Message) -> Message {
    within_transaction(request, "CANCEL")
}

fn within_transaction(request: &Message, method: &str) -> Message {
    let mut message = Message::request(method, request.uri());
    for name in ["Via", "From", "To", "Call-ID", "Route"] {
        for value in request.headers_named(name) {
            message = message.with(name, value);
        }
    }
    message.with("CSeq", format!("{} {method}", request.cseq())).with("Max-Forwards", "70")
}

//! The peer's re-INVITE or UPDATE

use super::Endpoint;
use super::session_timer::allows_update;
use crate::event::SessionId;
use crate::flow::Flow;
use crate::message::{Message, Method};
use crate::session::{State, sdp_of};
use std::time::Instant;

/// Why a re-INVITE or UPDATE is refused
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Problem {
    /// With `Retry-After`: an offer of the peer's own is open (RFC 3261 §14.2, RFC 3311 §5.2)
    OwnOfferOpen,
    /// With the `Min-SE` it has to keep
    TooShort(u32),
    Code(u16),
}

impl Endpoint {
    pub(super) fn receive_reoffer(&mut self, now: Instant, flow: Flow, id: SessionId, message: Message) {
        let is_invite = message.method() == Method::Invite;
        let sdp = sdp_of(&message);
        let refresh_only = !is_invite && matches!(sdp, Ok(None));
        let problem = self.judge_reoffer(id, &message, refresh_only);
        let retry_after = (self.random.next_u64() % 11).to_string();
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        if problem.is_none() {
            session.dialog_mut(message.from_tag()).refresh(&message);
            if let Some(allows) = allows_update(&message) {
                session.allows_update = allows;
            }
        }
        let contact = session.contact.clone();
        let Some(tx) = self.open_server(now, flow, message, None) else {
            return;
        };
        match problem {
            Some(Problem::OwnOfferOpen) => {
                self.respond(now, tx, 500, "", &[("Retry-After", &retry_after)], b"");
            }
            Some(Problem::TooShort(min_s)) => {
                self.respond(now, tx, 422, "", &[("Min-SE", &min_s.to_string())], b"");
            }
            Some(Problem::Code(415)) => {
                self.respond(now, tx, 415, "", &[("Accept", "application/sdp")], b"");
            }
            Some(Problem::Code(code)) => {
                self.respond(now, tx, code, "", &[], b"");
            }
            None if refresh_only => {
                let timer = self.agree_timer(now, id, tx);
                let mut headers = vec![("Contact", contact.as_str())];
                headers.extend(timer.iter().map(|(name, value)| (*name, value.as_str())));
                self.respond(now, tx, 200, "", &headers, b"");
            }
            None => {
                if is_invite {
                    self.respond(now, tx, 100, "", &[], b"");
                }
                self.await_reoffer_answer(now, id, tx, is_invite, sdp.ok().flatten());
            }
        }
    }

    fn judge_reoffer(&self, id: SessionId, message: &Message, refresh_only: bool) -> Option<Problem> {
        let session = self.sessions.get(&id)?;
        let is_invite = message.method() == Method::Invite;
        if session.state == State::Ending {
            return Some(Problem::Code(481));
        }
        if let Err(error) = sdp_of(message) {
            return Some(Problem::Code(error.code()));
        }
        if let Some(min_s) = self.too_short_timer(message) {
            return Some(Problem::TooShort(min_s));
        }
        if refresh_only {
            return None;
        }
        if session.reoffer_in.is_some() {
            return Some(Problem::OwnOfferOpen);
        }
        match session.state {
            State::Confirmed if session.can_take_offer() => None,
            State::Incoming { .. } if !session.is_agreed(message.from_tag()) => Some(Problem::OwnOfferOpen),
            // Before the call is up only an UPDATE may renegotiate, once the first offer is answered.
            State::Incoming { .. } | State::Dialing { .. }
                if !is_invite && session.is_agreed(message.from_tag()) && session.can_take_offer() =>
            {
                None
            }
            _ => Some(Problem::Code(491)),
        }
    }
}

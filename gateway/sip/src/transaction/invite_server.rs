//! INVITE server transaction (RFC 3261 §17.2.1, RFC 6026 §7.1)

use super::{OnRequest, OnTimeout, Retransmit, Timing, earliest};
use std::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Proceeding,
    Completed,
    Confirmed,
    Accepted,
    Terminated,
}

#[derive(Debug)]
pub(crate) struct InviteServer {
    state: State,
    timing: Timing,
    reliable: bool,
    /// Timer G
    resend: Option<Retransmit>,
    /// Timer H, I or L
    end_at: Option<Instant>,
}

impl InviteServer {
    pub(crate) fn new(timing: Timing, reliable: bool) -> Self {
        Self { state: State::Proceeding, timing, reliable, resend: None, end_at: None }
    }

    /// No final response yet
    pub(crate) fn is_open(&self) -> bool {
        self.state == State::Proceeding
    }

    pub(crate) fn is_terminated(&self) -> bool {
        self.state == State::Terminated
    }

    /// The INVITE came again
    pub(crate) fn on_request(&self) -> OnRequest {
        match self.state {
            State::Proceeding | State::Completed => OnRequest::Resend,
            // In Accepted the session resends its 2xx (RFC 6026 §7.1).
            State::Accepted | State::Confirmed | State::Terminated => OnRequest::Ignore,
        }
    }

    /// A response of ours goes out
    pub(crate) fn on_send(&mut self, now: Instant, code: u16) {
        if self.state != State::Proceeding || code < 200 {
            return;
        }
        self.end_at = Some(now + self.timing.patience());
        if code < 300 {
            self.state = State::Accepted;
        } else {
            self.state = State::Completed;
            self.resend = (!self.reliable).then(|| Retransmit::new(now, self.timing.t1, self.timing.t2));
        }
    }

    /// The ACK of a non-2xx came
    pub(crate) fn on_ack(&mut self, now: Instant) {
        if self.state != State::Completed {
            return;
        }
        self.resend = None;
        self.end_at = Some(now + self.timing.t4);
        self.state = if self.reliable { State::Terminated } else { State::Confirmed };
    }

    pub(crate) fn on_timeout(&mut self, now: Instant) -> OnTimeout {
        if self.end_at.is_some_and(|at| at <= now) {
            self.state = State::Terminated;
            return OnTimeout::Terminated;
        }
        match &mut self.resend {
            Some(resend) if resend.at <= now => {
                resend.next(now);
                OnTimeout::Resend
            }
            _ => OnTimeout::Nothing,
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        earliest(&[self.resend.map(|r| r.at), self.end_at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::test_clock::{TIMING, at};

    #[test]
    fn an_error_is_resent_until_its_ack() {
        let mut fsm = InviteServer::new(TIMING, false);
        assert_eq!((fsm.on_request(), fsm.deadline()), (OnRequest::Resend, None));
        fsm.on_send(at(0), 486);
        assert_eq!(fsm.on_timeout(at(500)), OnTimeout::Resend);
        assert_eq!(fsm.on_timeout(at(1_500)), OnTimeout::Resend);
        assert_eq!(fsm.on_request(), OnRequest::Resend);
        fsm.on_ack(at(1_600));
        assert_eq!(fsm.on_request(), OnRequest::Ignore);
        assert_eq!(fsm.on_timeout(at(6_600)), OnTimeout::Terminated);
    }

    #[test]
    fn an_error_without_ack_is_forgotten_after_64_t1() {
        let mut fsm = InviteServer::new(TIMING, false);
        fsm.on_send(at(0), 486);
        assert_eq!(fsm.on_timeout(at(32_000)), OnTimeout::Terminated);
        assert!(fsm.is_terminated());
    }

    #[test]
    fn after_a_2xx_repeated_invites_are_absorbed_for_64_t1() {
        let mut fsm = InviteServer::new(TIMING, false);
        fsm.on_send(at(0), 200);
        assert_eq!((fsm.on_request(), fsm.deadline()), (OnRequest::Ignore, Some(at(32_000))));
        assert_eq!(fsm.on_timeout(at(32_000)), OnTimeout::Terminated);
    }

    #[test]
    fn over_tcp_an_ack_ends_it_at_once() {
        let mut fsm = InviteServer::new(TIMING, true);
        fsm.on_send(at(0), 486);
        assert_eq!(fsm.deadline(), Some(at(32_000)));
        fsm.on_ack(at(10));
        assert!(fsm.is_terminated());
    }
}

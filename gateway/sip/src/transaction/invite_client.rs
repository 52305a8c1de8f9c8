//! INVITE client transaction (RFC 3261 §17.1.1, RFC 6026 §7.2)

use super::{OnResponse, OnTimeout, Retransmit, Timing, earliest};
use std::time::{Duration, Instant};

/// How long a non-2xx may come again over UDP: timer D
const TIMER_D: Duration = Duration::from_secs(32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Calling,
    Proceeding,
    Completed,
    Accepted,
    Terminated,
}

#[derive(Debug)]
pub(crate) struct InviteClient {
    state: State,
    timing: Timing,
    reliable: bool,
    /// Timer A
    resend: Option<Retransmit>,
    /// Timer B, D or M
    end_at: Option<Instant>,
}

impl InviteClient {
    pub(crate) fn new(now: Instant, timing: Timing, reliable: bool) -> Self {
        let resend = (!reliable).then(|| Retransmit::new(now, timing.t1, timing.patience()));
        Self { state: State::Calling, timing, reliable, resend, end_at: Some(now + timing.patience()) }
    }

    /// No final response yet
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Calling | State::Proceeding)
    }

    /// A provisional response came, so a CANCEL may go (RFC 3261 §9.1)
    pub(crate) fn is_proceeding(&self) -> bool {
        self.state == State::Proceeding
    }

    /// Whether it may be forgotten
    pub(crate) fn is_terminated(&self) -> bool {
        self.state == State::Terminated
    }

    pub(crate) fn on_response(&mut self, now: Instant, code: u16) -> OnResponse {
        match (self.state, code) {
            (State::Calling | State::Proceeding, 100..200) => {
                // Timer B guards only the first response; the session has its own patience.
                if self.state == State::Calling {
                    self.end_at = None;
                }
                self.state = State::Proceeding;
                self.resend = None;
                OnResponse::Deliver
            }
            (State::Calling | State::Proceeding, 200..300) => {
                self.state = State::Accepted;
                self.resend = None;
                self.end_at = Some(now + self.timing.patience());
                OnResponse::Deliver
            }
            (State::Calling | State::Proceeding, _) => {
                self.state = if self.reliable { State::Terminated } else { State::Completed };
                self.resend = None;
                self.end_at = (!self.reliable).then(|| now + TIMER_D);
                OnResponse::AckAndDeliver
            }
            (State::Accepted, 200..300) => OnResponse::Deliver,
            (State::Completed, 300..) => OnResponse::Ack,
            _ => OnResponse::Ignore,
        }
    }

    /// Gives up 64·T1 from now unless a final response comes (RFC 3261 §9.1)
    pub(crate) fn limit(&mut self, now: Instant) {
        if self.is_open() && self.end_at.is_none() {
            self.end_at = Some(now + self.timing.patience());
        }
    }

    /// Nobody wants it any more: it isn't repeated, so that a peer that wakes up rings nobody (timer B runs on)
    pub(crate) fn stop_resending(&mut self) {
        self.resend = None;
    }

    pub(crate) fn on_timeout(&mut self, now: Instant) -> OnTimeout {
        if self.end_at.is_some_and(|at| at <= now) {
            let open = self.is_open();
            self.state = State::Terminated;
            return if open { OnTimeout::TimedOut } else { OnTimeout::Terminated };
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
    use crate::transaction::test_clock::{TIMING, at, start};

    #[test]
    fn an_unanswered_invite_goes_seven_times_then_times_out() {
        let mut fsm = InviteClient::new(start(), TIMING, false);
        let mut sent = vec![0];
        loop {
            let now = fsm.deadline().unwrap();
            match fsm.on_timeout(now) {
                OnTimeout::Resend => sent.push((now - start()).as_millis()),
                step => {
                    assert_eq!((step, now), (OnTimeout::TimedOut, at(32_000)));
                    break;
                }
            }
        }
        assert_eq!(sent, [0, 500, 1_500, 3_500, 7_500, 15_500, 31_500]);
    }

    #[test]
    fn a_provisional_stops_resending_and_a_final_error_is_acked_each_time() {
        let mut fsm = InviteClient::new(start(), TIMING, false);
        assert_eq!(fsm.on_response(at(100), 180), OnResponse::Deliver);
        assert!(fsm.is_proceeding());
        assert_eq!(fsm.deadline(), None);
        assert_eq!(fsm.on_response(at(200), 486), OnResponse::AckAndDeliver);
        assert_eq!(fsm.on_response(at(300), 486), OnResponse::Ack);
        assert_eq!(fsm.on_response(at(300), 200), OnResponse::Ignore);
        assert_eq!(fsm.on_timeout(at(32_200)), OnTimeout::Terminated);
    }

    #[test]
    fn every_2xx_is_delivered_while_accepted() {
        let mut fsm = InviteClient::new(start(), TIMING, true);
        assert_eq!(fsm.on_response(at(0), 200), OnResponse::Deliver);
        assert_eq!(fsm.on_response(at(500), 200), OnResponse::Deliver);
        assert_eq!(fsm.on_response(at(500), 486), OnResponse::Ignore);
        assert_eq!(fsm.on_timeout(at(32_000)), OnTimeout::Terminated);
    }

    #[test]
    fn over_tcp_nothing_is_resent_and_an_error_ends_it_at_once() {
        let mut fsm = InviteClient::new(start(), TIMING, true);
        assert_eq!(fsm.deadline(), Some(at(32_000)));
        assert_eq!(fsm.on_response(at(1), 404), OnResponse::AckAndDeliver);
        assert!(fsm.is_terminated());
    }
}

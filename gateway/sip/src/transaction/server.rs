//! Non-INVITE server transaction (RFC 3261 §17.2.2)

use super::{OnRequest, OnTimeout, Timing};
use std::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Trying,
    Proceeding,
    Completed,
    Terminated,
}

#[derive(Debug)]
pub(crate) struct Server {
    state: State,
    timing: Timing,
    reliable: bool,
    /// Timer J, or the patience for our own answer
    end_at: Instant,
}

impl Server {
    pub(crate) fn new(now: Instant, timing: Timing, reliable: bool) -> Self {
        Self { state: State::Trying, timing, reliable, end_at: now + timing.patience() }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Trying | State::Proceeding)
    }

    pub(crate) fn is_terminated(&self) -> bool {
        self.state == State::Terminated
    }

    pub(crate) fn on_request(&self) -> OnRequest {
        match self.state {
            State::Proceeding | State::Completed => OnRequest::Resend,
            State::Trying | State::Terminated => OnRequest::Ignore,
        }
    }

    pub(crate) fn on_send(&mut self, now: Instant, code: u16) {
        match (self.state, code) {
            (State::Trying | State::Proceeding, ..200) => self.state = State::Proceeding,
            (State::Trying | State::Proceeding, _) => {
                self.end_at = now + self.timing.patience();
                self.state = if self.reliable { State::Terminated } else { State::Completed };
            }
            _ => {}
        }
    }

    pub(crate) fn on_timeout(&mut self, now: Instant) -> OnTimeout {
        if self.end_at > now {
            return OnTimeout::Nothing;
        }
        let open = self.is_open();
        self.state = State::Terminated;
        if open { OnTimeout::TimedOut } else { OnTimeout::Terminated }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        Some(self.end_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::test_clock::{TIMING, at};

    #[test]
    fn a_repeated_request_gets_the_last_response_for_64_t1() {
        let mut fsm = Server::new(at(0), TIMING, false);
        assert_eq!(fsm.on_request(), OnRequest::Ignore);
        fsm.on_send(at(100), 200);
        assert_eq!(fsm.on_request(), OnRequest::Resend);
        assert_eq!(fsm.on_timeout(at(32_000)), OnTimeout::Nothing);
        assert_eq!(fsm.on_timeout(at(32_100)), OnTimeout::Terminated);
    }

    #[test]
    fn over_tcp_the_final_response_ends_it() {
        let mut fsm = Server::new(at(0), TIMING, true);
        fsm.on_send(at(0), 100);
        assert_eq!(fsm.on_request(), OnRequest::Resend);
        fsm.on_send(at(0), 200);
        assert!(fsm.is_terminated());
    }
}

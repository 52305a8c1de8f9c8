//! Non-INVITE client transaction (RFC 3261 §17.1.2)

use super::{OnResponse, OnTimeout, Retransmit, Timing, earliest};
use std::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Completed,
    Terminated,
}

#[derive(Debug)]
pub(crate) struct Client {
    state: State,
    timing: Timing,
    reliable: bool,
    /// Timer E
    resend: Option<Retransmit>,
    /// Timer F or K
    end_at: Instant,
}

impl Client {
    pub(crate) fn new(now: Instant, timing: Timing, reliable: bool) -> Self {
        let resend = (!reliable).then(|| Retransmit::new(now, timing.t1, timing.t2));
        Self { state: State::Open, timing, reliable, resend, end_at: now + timing.patience() }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    pub(crate) fn is_terminated(&self) -> bool {
        self.state == State::Terminated
    }

    pub(crate) fn on_response(&mut self, now: Instant, code: u16) -> OnResponse {
        if self.state != State::Open {
            return OnResponse::Ignore;
        }
        if code < 200 {
            // In Proceeding timer E fires every T2.
            if let Some(resend) = &mut self.resend {
                resend.slow_down();
            }
            return OnResponse::Deliver;
        }
        self.resend = None;
        self.end_at = now + self.timing.t4;
        self.state = if self.reliable { State::Terminated } else { State::Completed };
        OnResponse::Deliver
    }

    pub(crate) fn on_timeout(&mut self, now: Instant) -> OnTimeout {
        if self.end_at <= now {
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
        earliest(&[self.resend.map(|r| r.at), Some(self.end_at)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::test_clock::{TIMING, at, start};

    #[test]
    fn resends_double_up_to_t2_until_64_t1() {
        let mut fsm = Client::new(start(), TIMING, false);
        let mut sent = Vec::new();
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
        assert_eq!(sent, [500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]);
    }

    #[test]
    fn a_final_response_is_delivered_once() {
        let mut fsm = Client::new(start(), TIMING, false);
        assert_eq!(fsm.on_response(at(10), 100), OnResponse::Deliver);
        assert_eq!(fsm.on_response(at(20), 200), OnResponse::Deliver);
        assert_eq!(fsm.on_response(at(30), 200), OnResponse::Ignore);
        assert_eq!(fsm.on_timeout(at(5_020)), OnTimeout::Terminated);
        let mut fsm = Client::new(start(), TIMING, true);
        fsm.on_response(at(20), 200);
        assert!(fsm.is_terminated());
    }
}

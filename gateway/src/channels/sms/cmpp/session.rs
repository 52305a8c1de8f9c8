//! One connection to a carrier's gateway, without a socket or a clock: octets and times in, octets and
//! events out. Times are milliseconds of any clock that only goes forward.

use std::collections::{BTreeMap, VecDeque};

use super::event::{Down, Event, Handle, Outcome, Warning};
use super::limits::{DELIVERS_MAX, OUTPUT_BYTES_MAX, WARNINGS_MAX};
use super::pdu::{self, Account, Submit, Version, command};
use super::read::{self, ConnectResp, Deliver, Frame, Framer, Pdu, Unread};
use super::window::Window;

/// What is done with an `AuthenticatorISMG` that doesn't fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Check {
    /// Said, and worked with all the same: few carriers get it right.
    #[default]
    Warn,
    /// The connection ends.
    Strict,
    /// Not looked at.
    Off,
}

/// How a connection behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Account and prescribed fields.
    pub account: Account,
    /// What we ask for.
    pub version: Version,
    /// Unanswered SUBMITs at most.
    pub window: usize,
    /// SUBMITs a second; 0: any.
    pub rate: u32,
    /// T: an answer has so long.
    pub response_ms: u64,
    /// N: ACTIVE_TESTs without an answer that end the connection.
    pub tries: u32,
    /// C: silence after which the connection is tested.
    pub idle_ms: u64,
    /// `AuthenticatorISMG`.
    pub check: Check,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Connecting,
    Up,
    Closing,
    Over,
}

#[derive(Clone, Copy, Debug)]
struct Unacknowledged {
    sequence: u32,
    msg_id: u64,
    version: Version,
}

/// One connection, from its CONNECT to its end.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    state: State,
    agreed: Version,
    digest: [u8; 16],
    framer: Framer,
    window: Window,
    delivers: BTreeMap<Handle, Unacknowledged>,
    delivers_seen: u64,
    connect_sequence: u32,
    heard_at: u64,
    tested_at: Option<u64>,
    tests: u32,
    since: u64,
    warned: BTreeMap<Warning, u32>,
    output: Vec<u8>,
    events: VecDeque<Event>,
}

impl Session {
    /// A fresh connection: CONNECT is its first output. `timestamp` is MMDDHHMMSS of the local time,
    /// `first_sequence` any number.
    #[must_use]
    pub fn new(settings: Settings, timestamp: u32, first_sequence: u32, now: u64) -> Self {
        let mut window = Window::new(settings.window, settings.rate, first_sequence, now);
        let connect_sequence = window.sequence();
        let output = pdu::connect(connect_sequence, &settings.account, settings.version, timestamp);
        let digest = pdu::authenticator(&settings.account.user, &settings.account.secret, timestamp);
        Self {
            agreed: settings.version,
            state: State::Connecting,
            digest,
            framer: Framer::default(),
            window,
            delivers: BTreeMap::new(),
            delivers_seen: 0,
            connect_sequence,
            heard_at: now,
            tested_at: None,
            tests: 0,
            since: now,
            warned: BTreeMap::new(),
            output,
            events: VecDeque::new(),
            settings,
        }
    }

    /// Takes octets from the peer.
    pub fn handle_input(&mut self, bytes: &[u8], now: u64) {
        self.framer.push(bytes);
        while self.state != State::Over {
            match self.framer.next_frame() {
                Ok(Some(frame)) => self.on_frame(&frame, now),
                Ok(None) => return,
                Err(bad) => self.end(Down::BadLength(bad)),
            }
        }
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: u64) {
        let response_ms = self.settings.response_ms;
        for token in self.window.overdue(now, response_ms) {
            self.events.push_back(Event::Outcome(token, Outcome::Unanswered));
        }
        match self.state {
            State::Connecting if now >= self.since + response_ms => self.end(Down::NoAnswer),
            State::Closing if now >= self.since + response_ms => self.end(Down::Terminated),
            State::Up => self.test_link(now),
            _ => {}
        }
    }

    /// ACTIVE_TEST after C of silence, again after each T, N times in all (§6.2).
    fn test_link(&mut self, now: u64) {
        let due = match self.tested_at {
            None => self.heard_at + self.settings.idle_ms,
            Some(at) => at + self.settings.response_ms,
        };
        if now < due {
            return;
        }
        if self.tests >= self.settings.tries {
            return self.end(Down::Dead);
        }
        self.tests += 1;
        self.tested_at = Some(now);
        let sequence = self.window.sequence();
        self.output.extend(pdu::bare(command::ACTIVE_TEST, sequence));
    }

    /// Octets for the peer; empty when there are none.
    pub fn poll_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Session::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        let state = match self.state {
            State::Connecting | State::Closing => Some(self.since + self.settings.response_ms),
            State::Up => Some(match self.tested_at {
                None => self.heard_at + self.settings.idle_ms,
                Some(at) => at + self.settings.response_ms,
            }),
            State::Over => None,
        };
        [state, self.window.overdue_at(self.settings.response_ms)].into_iter().flatten().min()
    }

    /// When a SUBMIT may go: `now`, later, or `None` as long as the window is full or the link isn't up.
    #[must_use]
    pub fn ready_at(&self, now: u64) -> Option<u64> {
        let is_open = self.state == State::Up && self.output.len() < OUTPUT_BYTES_MAX;
        if is_open { self.window.ready_at(now) } else { None }
    }

    /// Sends one part; its end comes as [`Event::Outcome`] with `token`. To be called when
    /// [`Session::ready_at`] says so.
    pub fn submit(&mut self, token: u64, message: &Submit, now: u64) {
        let sequence = self.window.take(token, now);
        self.output.extend(pdu::submit(sequence, &self.settings.account, self.agreed, message));
    }

    /// Acknowledges a DELIVER with a `Result`; 0 only for what is durable. A handle counts once.
    pub fn acknowledge(&mut self, handle: Handle, result: u8) {
        if let Some(d) = self.delivers.remove(&handle)
            && self.state != State::Over
        {
            self.output.extend(pdu::deliver_resp(d.sequence, d.version, d.msg_id, result));
        }
    }

    /// Forgets a DELIVER without an answer: the carrier repeats it.
    pub fn forget(&mut self, handle: Handle) {
        self.delivers.remove(&handle);
    }

    /// Says goodbye; no more SUBMITs.
    pub fn terminate(&mut self, now: u64) {
        if matches!(self.state, State::Up | State::Connecting) {
            let sequence = self.window.sequence();
            self.output.extend(pdu::bare(command::TERMINATE, sequence));
            self.state = State::Closing;
            self.since = now;
        }
    }

    /// SUBMITs that wait for their answer.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.window.len()
    }

    /// The connection is gone: everything open ends.
    pub fn lost(&mut self) -> Vec<Event> {
        self.state = State::Over;
        let open = self.window.abandon().into_iter().map(|token| Event::Outcome(token, Outcome::Unanswered));
        self.events.extend(open);
        self.events.drain(..).collect()
    }

    fn end(&mut self, why: Down) {
        for token in self.window.abandon() {
            self.events.push_back(Event::Outcome(token, Outcome::Unanswered));
        }
        self.state = State::Over;
        self.events.push_back(Event::Down(why));
    }

    fn warn(&mut self, warning: Warning) {
        let count = self.warned.entry(warning).or_default();
        *count = count.saturating_add(1);
        self.events.push_back(Event::Warned(warning, *count <= WARNINGS_MAX));
    }

    fn on_frame(&mut self, frame: &Frame, now: u64) {
        self.heard_at = now;
        // Whatever it says, the peer is alive.
        self.tests = 0;
        self.tested_at = None;
        match read::read(frame, self.agreed) {
            Ok(pdu) => self.on_pdu(frame.sequence, pdu, now),
            Err(odd) => self.on_unread(frame, odd),
        }
    }

    /// A DELIVER that can't be read is refused in its own terms; the rest has no answer.
    fn on_unread(&mut self, frame: &Frame, odd: Unread) {
        self.warn(Warning::Unreadable);
        if let Unread::Length(command::DELIVER, _) = odd {
            let msg_id = frame.body.first_chunk::<8>().map_or(0, |id| u64::from_be_bytes(*id));
            // Result 4: 消息长度错.
            self.output.extend(pdu::deliver_resp(frame.sequence, self.agreed, msg_id, 4));
        }
    }

    fn on_pdu(&mut self, sequence: u32, pdu: Pdu, now: u64) {
        match pdu {
            Pdu::ConnectResp(answer) => self.on_connected(sequence, &answer),
            Pdu::SubmitResp { msg_id, result } => self.on_submitted(sequence, msg_id, result, now),
            Pdu::Deliver(deliver) => self.on_deliver(sequence, deliver),
            Pdu::ActiveTest => self.output.extend(pdu::active_test_resp(sequence)),
            Pdu::ActiveTestResp => {}
            Pdu::Terminate => {
                self.output.extend(pdu::bare(command::TERMINATE | command::RESPONSE, sequence));
                self.end(Down::Terminated);
            }
            Pdu::TerminateResp => {
                if self.state == State::Closing {
                    self.end(Down::Terminated);
                } else {
                    self.warn(Warning::UnexpectedAnswer);
                }
            }
        }
    }

    fn on_connected(&mut self, sequence: u32, answer: &ConnectResp) {
        if self.state != State::Connecting || sequence != self.connect_sequence {
            return self.warn(Warning::UnexpectedAnswer);
        }
        if answer.status != 0 {
            return self.end(Down::Refused(answer.status));
        }
        let secret = &self.settings.account.secret;
        // The digest is made of the status as one octet or as four, whichever layout the answer has.
        let forms: [&[u8]; 3] = [&answer.status_octets, &[0], &[0; 4]];
        let is_right = forms.iter().any(|s| pdu::answer_authenticator(s, &self.digest, secret) == answer.authenticator);
        if self.settings.check != Check::Off && !is_right {
            if self.settings.check == Check::Strict {
                return self.end(Down::WrongDigest);
            }
            self.warn(Warning::WrongDigest);
        }
        // 3.0 asked for and 2.0 had: the older one. An answer of 3.0 to our 2.0 changes nothing.
        if answer.version != 0 && Version::of(answer.version) == Version::V2 {
            self.agreed = Version::V2;
        }
        self.state = State::Up;
        self.events.push_back(Event::Up(self.agreed));
    }

    fn on_submitted(&mut self, sequence: u32, msg_id: u64, result: u32, now: u64) {
        let Some(waiting) = self.window.answered(sequence) else {
            return self.warn(Warning::UnexpectedAnswer);
        };
        let outcome = match result {
            0 => {
                self.window.flows(now);
                Outcome::Accepted(msg_id)
            }
            8 => {
                self.window.throttled(now);
                Outcome::Throttled
            }
            other => Outcome::Refused(other),
        };
        self.events.push_back(Event::Outcome(waiting.token, outcome));
    }

    fn on_deliver(&mut self, sequence: u32, deliver: Box<Deliver>) {
        if self.state == State::Connecting {
            // Nobody is let in before the CONNECT is answered; the carrier repeats it.
            return self.warn(Warning::UnexpectedAnswer);
        }
        let (msg_id, version) = (deliver.msg_id, deliver.version);
        if self.delivers.len() >= DELIVERS_MAX {
            self.warn(Warning::TooManyDelivers);
            self.output.extend(pdu::deliver_resp(sequence, version, msg_id, 8));
            return;
        }
        let report = if deliver.report {
            let read = read::report(&deliver.content);
            if read.is_none() {
                // It would come again for ever.
                self.warn(Warning::BadReport);
                self.output.extend(pdu::deliver_resp(sequence, version, msg_id, 0));
                return;
            }
            read
        } else {
            None
        };
        self.delivers_seen += 1;
        let handle = Handle { id: self.delivers_seen };
        self.delivers.insert(handle, Unacknowledged { sequence, msg_id, version });
        self.events.push_back(match report {
            Some(report) => Event::Report(handle, report),
            None => Event::Deliver(handle, deliver),
        });
    }
}

#[cfg(test)]
mod tests;

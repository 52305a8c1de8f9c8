//! Bytes from the network

use super::Endpoint;
use crate::event::Output;
use crate::flow::Flow;
use crate::framing::{Frame, Framer};
use crate::limits;
use crate::message::{Message, Method, ParseErrorKind};
use crate::transaction::TimerKey;
use std::time::{Duration, Instant};

/// A connection with an unfinished message
pub(super) struct Stream {
    framer: Framer,
    /// When the unfinished message must be complete
    due_at: Instant,
}

impl Endpoint {
    /// Takes one datagram, or one whole message of any transport
    pub fn handle_datagram(&mut self, now: Instant, flow: Flow, bytes: &[u8]) {
        if self.passes(now, flow, bytes) {
            self.take(now, flow, bytes);
        }
    }

    /// Whether `bytes` were a valid message
    fn take(&mut self, now: Instant, flow: Flow, bytes: &[u8]) -> bool {
        self.clock_ms(now);
        match Message::parse(bytes) {
            Ok(message) => {
                if self.hand_over(now, flow, bytes, &message) {
                    return true;
                }
                self.show_received(now, flow, bytes, &message);
                if message.is_request() {
                    self.receive_request(now, flow, message);
                } else {
                    self.receive_response(now, flow, &message);
                }
                return true;
            }
            Err(error) if error.kind == ParseErrorKind::Empty => {}
            Err(error) => {
                self.counters.parse_errors += 1;
                if let Some(request) = error.partial.as_deref().filter(|_| self.serves(flow)) {
                    let reason = error.kind.to_string();
                    self.reply(flow, request, error.code(), &reason, &[]);
                }
            }
        }
        false
    }

    pub(super) fn show_received(&mut self, now: Instant, flow: Flow, bytes: &[u8], message: &Message) {
        if let Some(mut tap) = self.tap.take() {
            let is_served = self.serves(flow) || self.is_proven(now, flow.remote.ip());
            tap.received(flow, bytes, message, is_served);
            self.tap = Some(tap);
        }
    }

    /// Takes bytes of a TCP connection, cut anywhere; `flow.conn` names the connection
    ///
    /// A stream that can't be followed, or that holds a message back longer
    /// than `limits::STREAM_MESSAGE_MS_MAX`, yields [`Output::CloseConn`].
    /// Returns how many whole, valid messages these bytes completed.
    pub fn handle_stream(&mut self, now: Instant, flow: Flow, bytes: &[u8]) -> usize {
        let Some(conn) = flow.conn else {
            return usize::from(self.passes(now, flow, bytes) && self.take(now, flow, bytes));
        };
        if self.is_banned_conn(now, flow) {
            self.counters.refused_banned += 1;
            self.close_stream(conn);
            return 0;
        }
        let mut valid = 0;
        let known = self.streams.remove(&conn);
        let was_waiting = known.is_some();
        let due_at = now + Duration::from_millis(limits::STREAM_MESSAGE_MS_MAX);
        let mut stream = known.unwrap_or_else(|| Stream { framer: Framer::default(), due_at });
        stream.framer.push(bytes);
        loop {
            match stream.framer.next() {
                Ok(Some(Frame::Message(message))) => {
                    stream.due_at = due_at;
                    valid += usize::from(self.passes(now, flow, &message) && self.take(now, flow, &message));
                }
                Ok(Some(Frame::Ping)) => self.transmit(flow, b"\r\n".to_vec()),
                Ok(None) => break,
                Err(error) => {
                    self.counters.parse_errors += 1;
                    self.answer_broken(flow, stream.framer.broken(), error.code());
                    self.close_stream(conn);
                    return valid;
                }
            }
        }
        if stream.framer.is_idle() {
            self.timers.set(TimerKey::Stream(conn), None);
        } else if !was_waiting && self.streams.len() >= limits::STREAM_COUNT_MAX {
            self.close_stream(conn);
        } else {
            self.timers.set(TimerKey::Stream(conn), Some(stream.due_at));
            self.streams.insert(conn, stream);
        }
        valid
    }

    /// Tells the peer why its connection is about to be closed, where the head says whom to answer
    fn answer_broken(&mut self, flow: Flow, bytes: &[u8], code: u16) {
        let request = match Message::parse(bytes) {
            Ok(message) => Some(message).filter(Message::is_request),
            Err(error) => error.partial.map(|partial| *partial),
        };
        if let Some(request) = request.filter(|r| r.method() != Method::Ack && self.serves(flow)) {
            self.reply(flow, &request, code, "", &[]);
        }
    }

    pub(super) fn close_stream(&mut self, conn: u64) {
        self.streams.remove(&conn);
        self.timers.set(TimerKey::Stream(conn), None);
        self.out.push_back(Output::CloseConn(conn));
    }

    /// The driver's news that a connection is gone, whoever closed it
    ///
    /// Requests waiting on it fail as with 503 (RFC 3261 §8.1.3.1); phones that
    /// registered over it are unregistered.
    pub fn conn_closed(&mut self, now: Instant, conn: u64) {
        self.streams.remove(&conn);
        self.timers.set(TimerKey::Stream(conn), None);
        let swept = self.registrar.conn_closed(conn);
        self.tell_swept(now, swept);
        self.tell_closed(conn);
        self.timers.set(TimerKey::Registrar, self.registrar.next_at());
        let is_it = |flow: Flow| flow.node.is_none() && flow.conn == Some(conn);
        for session in self.sessions.values_mut().filter(|s| is_it(s.flow)) {
            session.flow.conn = None;
        }
        self.fail_clients(now, is_it);
    }

    /// The driver's news that a message could not be sent, for example because
    /// a TCP connection to `flow.remote` could not be opened
    pub fn send_failed(&mut self, now: Instant, flow: Flow) {
        self.tell_failed(flow);
        self.fail_clients(now, |f| Flow { local: flow.local, ..f } == flow);
    }

    pub(super) fn fail_clients(&mut self, now: Instant, is_hit: impl Fn(Flow) -> bool) {
        let hit = self.clients.iter().filter(|(_, tx)| tx.fsm.is_open() && is_hit(tx.flow));
        let mut ids: Vec<u64> = hit.map(|(id, _)| *id).collect();
        ids.sort_unstable();
        for id in ids {
            self.client_failed(now, id, 503);
        }
    }
}

//! Strangers: one answer a period, then silence

use super::Endpoint;
use crate::event::Event;
use crate::flow::Flow;
use crate::limits;
use crate::message::Message;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// What an address may expect of us before it has said anything
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A trunk, a phone network, the peer of a running call, or a source that proved a trunk's password
    Served,
    /// It may still prove a trunk's password
    Stranger,
    /// Nothing it could say would be served
    Nobody,
}

impl Endpoint {
    /// Whom a connection from `ip` to our listener `local` would belong to: the driver keeps few for strangers and none for nobodies
    #[must_use]
    pub fn standing(&self, now: Instant, local: SocketAddr, ip: IpAddr) -> Standing {
        if !self.hears(local, ip) || self.guard.is_banned(now, self.class_of(now, local, ip), ip) {
            return Standing::Nobody;
        }
        let is_peer = || self.sessions.values().any(|s| s.flow.remote.ip() == ip);
        if self.serves_at(local, ip) || self.is_proven(now, ip) || is_peer() {
            Standing::Served
        } else if !self.has_roaming_trunk(local) {
            Standing::Nobody
        } else {
            Standing::Stranger
        }
    }

    /// Whether a source that may hold a trunk's password may be answered now; notes that it was
    pub(super) fn may_answer_stranger(&mut self, now: Instant, flow: Flow) -> bool {
        self.strangers.note(now, flow.remote.ip(), limits::STRANGER_PERIOD_MS)
    }

    /// Turns a stranger's INVITE away: stateless, so nothing is ever sent again
    pub(super) fn refuse_stranger(&mut self, now: Instant, flow: Flow, message: &Message) {
        self.counters.refused_strangers += 1;
        self.note_idle(now, flow, message);
        if self.strangers.note(now, flow.remote.ip(), limits::STRANGER_REFUSAL_PERIOD_MS) {
            self.reply(flow, message, 403, "", &[]);
            self.tell_refused(flow, message, Some(403));
        }
    }

    /// Other methods of strangers: silence, so that a scanner learns nothing
    pub(super) fn ignore_stranger(&mut self, now: Instant, flow: Flow, message: &Message) {
        self.counters.refused_strangers += 1;
        self.note_idle(now, flow, message);
        // Apart from what is answered: a carrier whose OPTIONS come first still gets its 403.
        if self.strangers_told.note(now, flow.remote.ip(), limits::STRANGER_PERIOD_MS) {
            self.tell_refused(flow, message, None);
        }
    }

    fn tell_refused(&mut self, flow: Flow, message: &Message, code: Option<u16>) {
        let method = message.method_text().to_owned();
        self.emit(Event::Refused { source: flow.remote.ip(), method, code });
    }

    /// This source proved a trunk's password: its challenges need no pause for a while
    pub(super) fn note_proven(&mut self, now: Instant, flow: Flow) {
        if self.proven.len() >= limits::PROVEN_SOURCE_COUNT_MAX {
            self.proven
                .retain(|_, at| now.saturating_duration_since(*at) < Duration::from_millis(limits::PROVEN_SOURCE_MS));
        }
        if self.proven.len() < limits::PROVEN_SOURCE_COUNT_MAX {
            self.proven.insert(flow.remote.ip(), now);
        }
    }

    pub(super) fn is_proven(&self, now: Instant, ip: IpAddr) -> bool {
        let at = self.proven.get(&ip);
        at.is_some_and(|at| now.saturating_duration_since(*at) < Duration::from_millis(limits::PROVEN_SOURCE_MS))
    }

    /// Whether this source proved a trunk's password within days: strangers' guesses don't keep it out
    pub(super) fn was_proven(&self, now: Instant, ip: IpAddr) -> bool {
        let at = self.proven.get(&ip);
        at.is_some_and(|at| now.saturating_duration_since(*at) < Duration::from_millis(limits::PROVEN_MEMORY_MS))
    }
}

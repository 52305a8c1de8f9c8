//! What is looked at before a message is parsed, and who isn't listened to

use super::Endpoint;
use crate::event::Event;
use crate::flow::{Flow, Transport};
use crate::guard::{Ban, Class, is_keep_alive, is_lifeline, is_scanner, stun};
use crate::message::{Message, Method, Uri};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

impl Endpoint {
    /// Whether a message may be parsed: its listener hears the source, the source isn't banned and
    /// its bucket has a token
    ///
    /// Responses, ACK, BYE, CANCEL and PRACK of trunks and phones always pass, so that running
    /// calls end well whatever else arrives; so does everything over a flow a phone registered from.
    pub(super) fn passes(&mut self, now: Instant, flow: Flow, bytes: &[u8]) -> bool {
        if is_keep_alive(bytes) {
            return false;
        }
        let ip = flow.remote.ip();
        if !self.hears(flow.local, ip) {
            self.counters.refused_strangers += 1;
            return false;
        }
        let class = self.class_of(now, flow.local, ip);
        if class != Class::Stranger && is_lifeline(bytes) {
            return true;
        }
        let stun = (flow.transport == Transport::Udp).then(|| stun::answer(bytes, flow.remote)).flatten();
        if self.guard.is_banned(now, class, ip) && !self.registrar.has_flow(now, flow) {
            self.counters.refused_banned += 1;
            return false;
        }
        if !self.guard.allows(now, class, ip) {
            self.counters.rate_limited += 1;
            return false;
        }
        if let Some(answer) = stun.filter(|_| class != Class::Stranger) {
            self.transmit(flow, answer);
            return false;
        }
        true
    }

    /// Whether the listener at `local` hears `ip` at all
    #[must_use]
    pub fn hears(&self, local: SocketAddr, ip: IpAddr) -> bool {
        let mut rules = self.config.listeners.iter().filter(|(listener, _)| *listener == local).peekable();
        rules.peek().is_none() || rules.any(|(_, nets)| nets.iter().any(|net| net.contains(ip)))
    }

    /// Whether an address belongs to a trunk: its connections have a place of their own
    #[must_use]
    pub fn is_trunk(&self, now: Instant, local: SocketAddr, ip: IpAddr) -> bool {
        self.class_of(now, local, ip) == Class::Trunk
    }

    pub(super) fn class_of(&self, now: Instant, local: SocketAddr, ip: IpAddr) -> Class {
        if self.trunk_of(local, ip).is_some() {
            Class::Trunk
        } else if self.is_phone_network(local, ip) {
            Class::Phone
        } else if self.is_proven(now, ip) || self.guard.is_contacted(now, ip) {
            Class::Trunk
        } else {
            Class::Stranger
        }
    }

    /// Whether a connection is a banned source's and carries neither a registration nor a call
    pub(super) fn is_banned_conn(&self, now: Instant, flow: Flow) -> bool {
        let ip = flow.remote.ip();
        self.guard.is_banned(now, self.class_of(now, flow.local, ip), ip)
            && !self.registrar.has_flow(now, flow)
            && !self.sessions.values().any(|s| s.flow.conn.is_some() && s.flow.conn == flow.conn)
    }

    /// Counts a request that got a challenge or a refusal and nothing more
    ///
    /// Anybody may write any source into a datagram: over UDP only who got a challenge of ours
    /// counts, or a forger could have a carrier or an office banned.
    pub(super) fn note_idle(&mut self, now: Instant, flow: Flow, message: &Message) {
        if flow.transport == Transport::Udp && !self.has_nonce_of_ours(now, flow, message) {
            return;
        }
        let ip = flow.remote.ip();
        let class = self.class_of(now, flow.local, ip);
        if class == Class::Phone && self.registrar.has_flow(now, flow) {
            return;
        }
        let is_scanner = message.header_named("User-Agent").is_some_and(is_scanner);
        let ban = self.guard.note_idle(now, class, ip, is_scanner);
        self.tell_banned(ban);
    }

    pub(super) fn tell_banned(&mut self, ban: Option<Ban>) {
        if let Some(ban) = ban {
            self.counters.bans_total += 1;
            self.emit(Event::Banned { ban });
        }
    }

    /// Whether a phone calls under a name that isn't its own (RFC 3261 §22.1: the realm's users own their URIs)
    pub(super) fn is_borrowed_name(message: &Message, user: &str) -> bool {
        message.from().is_none_or(|from| from.number() != user)
    }

    /// Whether credentials were made for another number than the one that is asked for
    ///
    /// Only the user parts are compared: proxies rewrite hosts and parameters (RFC 7616 §3.4.6),
    /// and a REGISTER's Request-URI names a domain.
    pub(super) fn is_for_another(message: &Message, uri: &str) -> bool {
        if message.method() == Method::Register {
            return false;
        }
        match (Uri::parse(message.uri()), Uri::parse(uri.as_bytes())) {
            (Ok(asked), Ok(signed)) => asked.number() != signed.number(),
            _ => true,
        }
    }

    /// Bans that hold at `now`, the one that ends last first
    #[must_use]
    pub fn bans(&self, now: Instant) -> Vec<Ban> {
        self.guard.bans(now)
    }

    /// Ends the ban of `ip` and forgets its failures; false if it wasn't banned
    pub fn lift_ban(&mut self, now: Instant, ip: IpAddr) -> bool {
        self.guard.lift(now, ip)
    }

    /// Takes bans over from an earlier run
    pub fn restore_bans(&mut self, bans: Vec<Ban>) {
        for ban in bans {
            self.guard.restore_ban(ban);
        }
    }
}

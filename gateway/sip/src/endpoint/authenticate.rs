//! Challenges and their answers, as server

use super::Endpoint;
use crate::config::{PasswordMark, User};
use crate::digest::{Algorithm, Credentials, NonceState, response};
use crate::flow::Flow;
use crate::guard::{Door, user_key};
use crate::message::{HeaderName, Message, quote};
use std::time::Instant;
use subtle::ConstantTimeEq;

/// Whose names count
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Among {
    Phones,
    Trunks,
    All,
}

impl Among {
    fn door(self) -> Door {
        match self {
            Self::Trunks => Door::Trunks,
            Self::Phones | Self::All => Door::Phones,
        }
    }
}

/// Who sent a request
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// Its account, and which of the account's passwords it knows
    Phone(String, PasswordMark),
    Trunk(String),
    /// No usable credentials: challenge
    Unknown {
        stale: bool,
    },
    /// Wrong password or no such user; nothing tells them apart
    Wrong(String),
    /// The credentials name another number than the request
    Mismatch,
    /// Too many failures: not even looked at
    Paused,
}

impl Endpoint {
    /// Browsers' libraries know MD5 and no other; there the password is random and HTTPS is around it
    fn algorithms_at(&self, flow: Flow) -> &[Algorithm] {
        if flow.transport.is_web() { &[Algorithm::Md5] } else { &self.config.algorithms }
    }

    /// The credentials for our realm in a request
    pub(super) fn credentials_of(&self, message: &Message) -> Option<Credentials> {
        message
            .header_all(HeaderName::Authorization)
            .filter_map(Credentials::parse)
            .find(|c| c.get("realm") == Some(self.config.realm.as_str()))
    }

    /// Whether a request repeats a nonce we gave this address: its source is no forgery
    pub(super) fn has_nonce_of_ours(&mut self, now: Instant, flow: Flow, message: &Message) -> bool {
        let now_ms = self.clock_ms(now);
        let given = self.credentials_of(message);
        let nonce = given.as_ref().and_then(|given| given.get("nonce"));
        nonce.is_some_and(|n| matches!(self.nonces.check(now_ms, flow.remote.ip(), n), NonceState::Fresh(_)))
    }

    /// Who sent a request
    ///
    /// Whatever a password's worth, the way to the answer is the same for users that exist and
    /// users that don't: pauses and failures go by the claimed name.
    pub(super) fn authenticate(&mut self, now: Instant, flow: Flow, message: &Message, among: Among) -> Identity {
        let fresh = Identity::Unknown { stale: false };
        let Some(given) = self.credentials_of(message) else {
            return fresh;
        };
        let fields = (given.user(), given.get("nonce"), given.get("uri"), given.get("response"));
        let (Some(name), Some(nonce), Some(uri), Some(answer)) = fields else {
            return fresh;
        };
        let offered = |a: &Algorithm| self.algorithms_at(flow).contains(a);
        let Some(algorithm) = Algorithm::of(given.get("algorithm")).filter(offered) else {
            return fresh;
        };
        let Some((qop, count)) = qop_of(&given) else {
            return fresh;
        };
        let now_ms = self.clock_ms(now);
        let NonceState::Fresh(nonce_id) = self.nonces.check(now_ms, flow.remote.ip(), nonce) else {
            return Identity::Unknown { stale: true };
        };
        if self.has_to_wait(now, flow, &name, among) {
            return Identity::Paused;
        }
        if Self::is_for_another(message, uri) {
            return Identity::Mismatch;
        }
        let (users, identity) = self.account_of(&name, among);
        let answer = answer.to_ascii_lowercase();
        let is_right = |user: &User| {
            let ha1 = match algorithm {
                Algorithm::Md5 => user.ha1_md5.as_str(),
                Algorithm::Sha256 => user.ha1_sha256.as_str(),
                Algorithm::Sha512256 => "",
            };
            let expected = response(algorithm, &ha1.to_ascii_lowercase(), nonce, message.method_text(), uri, qop);
            bool::from(expected.as_bytes().ct_eq(answer.as_bytes())) && !ha1.is_empty()
        };
        // All of them, whichever is right.
        let mark = users.iter().fold(None, |mark, user| if is_right(user) { Some(user.mark()) } else { mark });
        let ip = flow.remote.ip();
        let class = self.class_of(now, flow.local, ip);
        match identity.zip(mark) {
            None => {
                self.counters.auth_failures += 1;
                let ban = self.guard.note_failure(now, class, ip, (among.door(), &name));
                self.tell_banned(ban);
                Identity::Wrong(user_key(&name))
            }
            Some(_) if !self.nonces.take(now_ms, nonce_id, count) => Identity::Unknown { stale: true },
            Some((identity, mark)) => {
                self.guard.note_success(class, ip);
                match identity {
                    Identity::Phone(name, _) => Identity::Phone(name, mark),
                    other => other,
                }
            }
        }
    }

    /// Whether this source, or this name from a source it isn't registered at, failed too often
    ///
    /// A flow somebody registered from, an address the user is at and one that proved a trunk's
    /// password or that we call don't wait: nobody else's guesses may cut off a working phone or trunk.
    fn has_to_wait(&mut self, now: Instant, flow: Flow, name: &str, among: Among) -> bool {
        let ip = flow.remote.ip();
        let door = among.door();
        let is_known = match door {
            Door::Trunks => self.was_proven(now, ip) || self.guard.is_contacted(now, ip),
            Door::Phones => self.registrar.is_at(now, name, ip),
        };
        let class = self.class_of(now, flow.local, ip);
        let waits = (self.guard.is_source_paused(now, class, ip) && !self.registrar.has_flow(now, flow))
            || (self.guard.is_user_paused(now, (door, name)) && !is_known);
        if waits {
            self.counters.auth_paused += 1;
            let ban = self.guard.note_impatience(now, class, ip);
            self.tell_banned(ban);
        }
        waits
    }

    fn account_of(&self, name: &str, among: Among) -> (&[User], Option<Identity>) {
        let phone = self.users.get(name).filter(|_| among != Among::Trunks);
        let trunk = self.trunk_users.get(name).filter(|_| among != Among::Phones);
        match (phone, trunk) {
            (Some(users), _) => (users, Some(Identity::Phone(name.to_owned(), PasswordMark::default()))),
            (None, Some((user, trunk))) => (std::slice::from_ref(user), Some(Identity::Trunk(trunk.clone()))),
            (None, None) => (std::slice::from_ref(&self.decoy), None),
        }
    }

    /// A stateless 401, one field an algorithm, preferred first (RFC 8760 §2.3)
    pub(super) fn challenge(&mut self, now: Instant, flow: Flow, message: &Message, stale: bool) {
        self.note_idle(now, flow, message);
        let now_ms = self.clock_ms(now);
        let nonce = self.nonces.issue(now_ms, flow.remote.ip());
        let stale = if stale { ", stale=true" } else { "" };
        let realm = quote(&self.config.realm);
        let values: Vec<String> = self
            .algorithms_at(flow)
            .iter()
            .map(|a| format!("Digest realm={realm}, nonce=\"{nonce}\", algorithm={}, qop=\"auth\"{stale}", a.text()))
            .collect();
        let headers: Vec<(&str, &str)> = values.iter().map(|v| ("WWW-Authenticate", v.as_str())).collect();
        self.reply(flow, message, 401, "", &headers);
    }
}

/// ((nc, cnonce), count) for qop=auth; `None` for what can't be checked, auth-int included
fn qop_of(given: &Credentials) -> Option<(Option<(&str, &str)>, u32)> {
    match given.get("qop") {
        // RFC 2069 style has no count, so such a nonce serves once.
        None => Some((None, 1)),
        Some(qop) if qop.eq_ignore_ascii_case("auth") => {
            let (nc, cnonce) = (given.get("nc")?, given.get("cnonce")?);
            let is_hex = nc.len() <= 8 && nc.bytes().all(|b| b.is_ascii_hexdigit());
            let count = u32::from_str_radix(nc, 16).ok().filter(|_| is_hex)?;
            Some((Some((nc, cnonce)), count))
        }
        Some(_) => None,
    }
}

//! Nonces of ours: signed, bound to an address, counted once used

use crate::digest::to_hex;
use crate::limits;
use crate::random::mac;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use subtle::ConstantTimeEq;

/// Makes and checks nonces; remembers only those that were used with a right password
///
/// A nonce is `time number signature`, so an unanswered challenge costs no memory.
pub struct NonceBook {
    key: [u8; 32],
    number: u64,
    used: HashMap<(u64, u64), Window>,
    by_age: BTreeMap<(u64, u64), ()>,
    /// Nonces made at or before this time are stale unless remembered
    floor_ms: Option<u64>,
}

/// The newest count and the 64 before it (RFC 7616 §3.4.5)
#[derive(Clone, Copy, Default)]
struct Window {
    newest: u32,
    seen: u64,
}

/// What a nonce is worth
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonceState {
    /// Made by us for this address, and young enough: (time, number)
    Fresh((u64, u64)),
    /// Anything else: challenge again with `stale=true`
    Stale,
}

impl NonceBook {
    /// A book whose nonces nobody without `key` can make
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        Self { key, number: 0, used: HashMap::new(), by_age: BTreeMap::new(), floor_ms: None }
    }

    /// A new nonce for a client at `ip`; `now_ms` counts from any fixed start
    pub fn issue(&mut self, now_ms: u64, ip: IpAddr) -> String {
        self.number += 1;
        let head = format!("{now_ms:016x}{:016x}", self.number);
        let signature = self.sign(&head, ip);
        head + &signature
    }

    fn sign(&self, head: &str, ip: IpAddr) -> String {
        let hash = mac(&self.key, &[b"nonce", head.as_bytes(), ip.to_canonical().to_string().as_bytes()]);
        to_hex(&hash[..16])
    }

    /// Judges a nonce without using it up
    #[must_use]
    pub fn check(&self, now_ms: u64, ip: IpAddr, nonce: &str) -> NonceState {
        let Some((head, signature)) = nonce.split_at_checked(32) else {
            return NonceState::Stale;
        };
        let expected = self.sign(head, ip);
        if !bool::from(expected.as_bytes().ct_eq(signature.as_bytes())) {
            return NonceState::Stale;
        }
        let field = |text: Option<&str>| text.and_then(|t| u64::from_str_radix(t, 16).ok());
        let (Some(made_ms), Some(number)) = (field(head.get(..16)), field(head.get(16..))) else {
            return NonceState::Stale;
        };
        let id = (made_ms, number);
        let old = now_ms.saturating_sub(made_ms) > limits::NONCE_LIFETIME_MS;
        let forgotten = self.floor_ms.is_some_and(|floor| made_ms <= floor) && !self.used.contains_key(&id);
        if old || forgotten { NonceState::Stale } else { NonceState::Fresh(id) }
    }

    /// Takes a count of a fresh nonce; false if it was taken before or is too far back
    pub fn take(&mut self, now_ms: u64, id: (u64, u64), count: u32) -> bool {
        if !self.used.contains_key(&id) {
            self.make_room(now_ms);
            self.by_age.insert(id, ());
        }
        let window = self.used.entry(id).or_default();
        if count > window.newest {
            let shift = count - window.newest;
            window.seen = if shift >= 64 { 0 } else { window.seen << shift } | 1;
            window.newest = count;
            return true;
        }
        let back = window.newest - count;
        if count == 0 || back >= 64 || window.seen >> back & 1 == 1 {
            return false;
        }
        window.seen |= 1 << back;
        true
    }

    fn make_room(&mut self, now_ms: u64) {
        while let Some((id, ())) = self.by_age.first_key_value().map(|(k, v)| (*k, *v)) {
            let old = now_ms.saturating_sub(id.0) > limits::NONCE_LIFETIME_MS;
            if !old && self.used.len() < limits::NONCE_COUNT_MAX {
                return;
            }
            if !old {
                self.floor_ms = self.floor_ms.max(Some(id.0));
            }
            self.by_age.remove(&id);
            self.used.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn fresh(book: &NonceBook, now_ms: u64, nonce: &str) -> (u64, u64) {
        match book.check(now_ms, ip("10.0.0.1"), nonce) {
            NonceState::Fresh(id) => id,
            NonceState::Stale => panic!("stale"),
        }
    }

    #[test]
    fn a_nonce_serves_one_address_for_five_minutes() {
        let mut book = NonceBook::new([7; 32]);
        let nonce = book.issue(1_000, ip("10.0.0.1"));
        fresh(&book, 301_000, &nonce);
        assert_eq!(book.check(301_001, ip("10.0.0.1"), &nonce), NonceState::Stale);
        assert_eq!(book.check(1_000, ip("10.0.0.2"), &nonce), NonceState::Stale);
        assert_eq!(book.check(1_000, ip("10.0.0.1"), "x"), NonceState::Stale);
        let forged = nonce.replacen('0', "1", 1);
        assert_eq!(book.check(1_000, ip("10.0.0.1"), &forged), NonceState::Stale);
        assert_eq!(book.check(1_000, ip("10.0.0.1"), &"é".repeat(32)), NonceState::Stale);
    }

    #[test]
    fn a_count_is_taken_once_in_any_order() {
        let mut book = NonceBook::new([7; 32]);
        let nonce = book.issue(0, ip("10.0.0.1"));
        let id = fresh(&book, 0, &nonce);
        for count in [1, 2, 3, 10, 9, 200] {
            assert!(book.take(0, id, count), "{count}");
        }
        for count in [0, 10, 9, 3, 200, 130] {
            assert!(!book.take(0, id, count), "{count}");
        }
        assert!(book.take(0, id, 199));
    }

    #[test]
    fn a_full_book_makes_old_nonces_stale_and_never_replayable() {
        let mut book = NonceBook::new([7; 32]);
        let first = book.issue(0, ip("10.0.0.1"));
        let id = fresh(&book, 0, &first);
        assert!(book.take(0, id, 1));
        for at in 1..=limits::NONCE_COUNT_MAX as u64 {
            let nonce = book.issue(at, ip("10.0.0.1"));
            let id = fresh(&book, at, &nonce);
            assert!(book.take(at, id, 1));
        }
        assert_eq!(book.check(9, ip("10.0.0.1"), &first), NonceState::Stale);
        assert!(book.used.len() <= limits::NONCE_COUNT_MAX);
    }
}

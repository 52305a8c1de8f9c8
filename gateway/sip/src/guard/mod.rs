//! Who is listened to: rates before parsing, failures, bans
//!
//! Nothing here knows a message's meaning. Classes: trunks are never banned; strangers of IPv6
//! count by /64, since one host may use all of it.

mod bans;
mod bucket;
mod failures;
mod peek;
pub(crate) mod stun;

pub use bans::{Ban, BanReason};
pub use bucket::Rate;
pub(crate) use peek::{is_keep_alive, is_lifeline, is_scanner};

use crate::limits;
use bans::Bans;
use bucket::Buckets;
use failures::Failures;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// What sources may do; see [`crate::Config`]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardConfig {
    /// Messages of an address on no list
    pub stranger: Rate,
    /// Messages of an address in a phone network; those of running calls aren't counted
    pub phone: Rate,
    /// Messages of a trunk's address; those of running calls aren't counted
    pub trunk: Rate,
    /// Wrong passwords of one source within `limits::FAILURE_WINDOW_MS` that end in a ban; 0: no bans at all
    pub failures_max: u32,
    /// Length of a source's first ban; each further one within a day is twice as long
    pub ban_s: u32,
    /// The longest ban
    pub ban_s_max: u32,
}

impl Default for GuardConfig {
    fn default() -> Self {
        Self {
            stranger: Rate { per_s: 5, burst: 20 },
            phone: Rate { per_s: 500, burst: 2_000 },
            trunk: Rate { per_s: 0, burst: 0 },
            failures_max: 30,
            ban_s: 300,
            ban_s_max: 86_400,
        }
    }
}

/// Whom an address belongs to
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Trunk,
    Phone,
    Stranger,
}

/// Where a claimed name is tried: strangers may guess at trunks' names only, and their guesses
/// count for nobody in the phone networks
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Door {
    Phones,
    Trunks,
}

pub(crate) struct Guard {
    config: GuardConfig,
    strangers: Buckets,
    phones: Buckets,
    trunks: Buckets,
    sources: Failures<IpAddr>,
    users: Failures<(Door, String)>,
    bans: Bans,
    /// Addresses we sent requests to and when: they may answer and call back
    contacted: HashMap<IpAddr, Instant>,
}

impl Guard {
    pub(crate) fn new(config: GuardConfig) -> Self {
        Self {
            config,
            strangers: Buckets::new(config.stranger),
            phones: Buckets::new(config.phone),
            trunks: Buckets::new(config.trunk),
            sources: Failures::new(limits::SOURCE_FAILURES_FREE),
            users: Failures::new(limits::USER_FAILURES_FREE),
            bans: Bans::new(config.ban_s, config.ban_s_max),
            contacted: HashMap::new(),
        }
    }

    /// Takes a token of the source's bucket
    pub(crate) fn allows(&mut self, now: Instant, class: Class, ip: IpAddr) -> bool {
        let buckets = match class {
            Class::Trunk => &mut self.trunks,
            Class::Phone => &mut self.phones,
            Class::Stranger => &mut self.strangers,
        };
        buckets.take(now, key(class, ip))
    }

    pub(crate) fn is_banned(&self, now: Instant, class: Class, ip: IpAddr) -> bool {
        class != Class::Trunk && self.bans.is_banned(now, key(class, ip))
    }

    pub(crate) fn is_source_paused(&mut self, now: Instant, class: Class, ip: IpAddr) -> bool {
        self.sources.is_paused(now, &key(class, ip))
    }

    pub(crate) fn is_user_paused(&mut self, now: Instant, (door, user): (Door, &str)) -> bool {
        self.users.is_paused(now, &(door, user_key(user)))
    }

    /// A wrong password or an unknown user
    pub(crate) fn note_failure(
        &mut self,
        now: Instant,
        class: Class,
        ip: IpAddr,
        (door, user): (Door, &str),
    ) -> Option<Ban> {
        self.users.note_failure(now, &(door, user_key(user)));
        let count = self.sources.note_failure(now, &key(class, ip));
        self.judge(now, class, ip, count >= self.config.failures_max, BanReason::Passwords)
    }

    /// An attempt while its source or user had to wait
    pub(crate) fn note_impatience(&mut self, now: Instant, class: Class, ip: IpAddr) -> Option<Ban> {
        let count = self.sources.count(&key(class, ip));
        self.judge(now, class, ip, count >= self.config.failures_max, BanReason::Passwords)
    }

    /// A request that got a challenge or a refusal and led to nothing yet
    pub(crate) fn note_idle(&mut self, now: Instant, class: Class, ip: IpAddr, is_scanner: bool) -> Option<Ban> {
        if class == Class::Trunk {
            return None;
        }
        let weight = if is_scanner { limits::SCANNER_WEIGHT } else { 1 };
        let count = self.sources.note_idle(now, &key(class, ip), weight);
        let most = if class == Class::Phone { limits::PHONE_IDLE_MAX } else { limits::STRANGER_IDLE_MAX };
        self.judge(now, class, ip, count >= most, BanReason::Scanning)
    }

    fn judge(&mut self, now: Instant, class: Class, ip: IpAddr, is_guilty: bool, reason: BanReason) -> Option<Ban> {
        let source = key(class, ip);
        let is_bannable = class != Class::Trunk && self.config.failures_max > 0;
        if !is_guilty || !is_bannable || self.bans.is_banned(now, source) {
            return None;
        }
        self.sources.forget(&source);
        Some(self.bans.add(now, source, reason))
    }

    pub(crate) fn note_success(&mut self, class: Class, ip: IpAddr) {
        self.sources.note_success(&key(class, ip));
    }

    pub(crate) fn bans(&self, now: Instant) -> Vec<Ban> {
        self.bans.list(now)
    }

    pub(crate) fn restore_ban(&mut self, ban: Ban) {
        self.bans.put(ban);
    }

    /// Ends a ban, whether named by its own address or by any of its /64
    pub(crate) fn lift(&mut self, now: Instant, ip: IpAddr) -> bool {
        let [exact, wide] = ban_sources(ip);
        self.sources.forget(&exact);
        self.sources.forget(&wide);
        let is_lifted = self.bans.lift(now, exact);
        is_lifted | self.bans.lift(now, wide)
    }

    /// We send a request there: what comes back is no stranger's
    pub(crate) fn note_contacted(&mut self, now: Instant, ip: IpAddr) {
        if self.contacted.len() >= limits::CONTACTED_COUNT_MAX && !self.contacted.contains_key(&ip) {
            let memory = Duration::from_millis(limits::CONTACTED_MS);
            self.contacted.retain(|_, at| now.saturating_duration_since(*at) < memory);
            if self.contacted.len() >= limits::CONTACTED_COUNT_MAX {
                return;
            }
        }
        self.contacted.insert(ip, now);
    }

    pub(crate) fn is_contacted(&self, now: Instant, ip: IpAddr) -> bool {
        let at = self.contacted.get(&ip);
        at.is_some_and(|at| now.saturating_duration_since(*at) < Duration::from_millis(limits::CONTACTED_MS))
    }
}

/// The sources a ban of `ip` may stand under ([`Ban::source`]): its own address and, of IPv6, its /64; else twice the same
#[must_use]
pub fn ban_sources(ip: IpAddr) -> [IpAddr; 2] {
    [key(Class::Phone, ip), key(Class::Stranger, ip)]
}

fn key(class: Class, ip: IpAddr) -> IpAddr {
    match (class, ip.to_canonical()) {
        (Class::Stranger, IpAddr::V6(ip)) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
        (_, ip) => ip,
    }
}

/// A claimed name is a stranger's text: only its beginning is kept
pub(crate) fn user_key(user: &str) -> String {
    user.chars().take(limits::CLAIMED_USER_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::test_clock::at;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn wrong_passwords_end_in_a_ban_but_never_a_trunks() {
        let mut guard = Guard::new(GuardConfig::default());
        let phone = ip("10.0.1.7");
        let bans: Vec<Ban> =
            (0..30).filter_map(|n| guard.note_failure(at(n), Class::Phone, phone, (Door::Phones, "1001"))).collect();
        assert_eq!(bans.len(), 1);
        assert_eq!((bans[0].reason, bans[0].source), (BanReason::Passwords, phone));
        assert!(guard.is_banned(at(100), Class::Phone, phone));
        assert!(!guard.is_banned(at(100), Class::Phone, ip("10.0.1.8")));
        let trunk = ip("192.0.2.9");
        for n in 0..100 {
            assert_eq!(guard.note_failure(at(n), Class::Trunk, trunk, (Door::Trunks, "1001")), None);
            assert_eq!(guard.note_idle(at(n), Class::Trunk, trunk, true), None);
        }
        assert!(guard.is_source_paused(at(100), Class::Trunk, trunk), "but it has to wait");
    }

    #[test]
    fn strangers_of_ipv6_count_by_their_network() {
        let mut guard = Guard::new(GuardConfig::default());
        for n in 0..limits::STRANGER_IDLE_MAX {
            guard.note_idle(at(0), Class::Stranger, ip(&format!("2001:db8::{n:x}")), false);
        }
        assert!(guard.is_banned(at(1), Class::Stranger, ip("2001:db8::ffff")));
        assert!(!guard.is_banned(at(1), Class::Stranger, ip("2001:db8:0:1::1")));
        assert!(guard.lift(at(1), ip("2001:db8::7")));
        assert!(guard.bans(at(1)).is_empty());
    }

    #[test]
    fn a_scanners_name_is_a_hint() {
        let mut guard = Guard::new(GuardConfig::default());
        let needed = |guard: &mut Guard, source: &str, named| {
            (1..1_000).find(|_| guard.note_idle(at(0), Class::Phone, ip(source), named).is_some())
        };
        assert_eq!(needed(&mut guard, "10.0.0.1", false), Some(limits::PHONE_IDLE_MAX));
        assert_eq!(needed(&mut guard, "10.0.0.2", true), Some(limits::PHONE_IDLE_MAX / limits::SCANNER_WEIGHT));
    }
}

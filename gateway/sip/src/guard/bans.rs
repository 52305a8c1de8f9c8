//! Sources nobody listens to for a while

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::limits;

/// Why a source is banned
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BanReason {
    /// Wrong passwords
    Passwords,
    /// Requests that could only find out what is here
    Scanning,
}

impl BanReason {
    /// The word in rows, the API and logs
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passwords => "passwords",
            Self::Scanning => "scanning",
        }
    }

    /// Reads [`BanReason::as_str`]; an unknown word counts as scanning
    #[must_use]
    pub fn of(word: &str) -> Self {
        if word == "passwords" { Self::Passwords } else { Self::Scanning }
    }
}

impl fmt::Display for BanReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A banned source
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ban {
    /// Address; for a stranger of IPv6 the first of its /64
    pub source: IpAddr,
    /// Why
    pub reason: BanReason,
    /// When it ends
    pub until: Instant,
    /// How often this source has been banned within a day, this time included
    pub times: u32,
}

/// All bans, and for a day those that ended: a ban after a ban lasts twice as long
pub(crate) struct Bans {
    first: Duration,
    longest: Duration,
    by_source: HashMap<IpAddr, Ban>,
}

impl Bans {
    pub(crate) fn new(first_s: u32, longest_s: u32) -> Self {
        let first = Duration::from_secs(u64::from(first_s));
        Self { first, longest: Duration::from_secs(u64::from(longest_s)).max(first), by_source: HashMap::new() }
    }

    pub(crate) fn add(&mut self, now: Instant, source: IpAddr, reason: BanReason) -> Ban {
        let memory = Duration::from_millis(limits::BAN_MEMORY_MS);
        let before = self.by_source.get(&source).filter(|ban| now.saturating_duration_since(ban.until) < memory);
        let times = before.map_or(0, |ban| ban.times).saturating_add(1);
        let growth = 1_u32 << (times - 1).min(20);
        let until = now + self.first.saturating_mul(growth).min(self.longest);
        let ban = Ban { source, reason, until, times };
        self.put(ban);
        ban
    }

    /// Keeps a ban; where there is no room, the one that ends first goes
    pub(crate) fn put(&mut self, ban: Ban) {
        if self.by_source.len() >= limits::BAN_COUNT_MAX && !self.by_source.contains_key(&ban.source) {
            let first = self.by_source.values().min_by_key(|b| (b.until, b.source)).map(|b| b.source);
            if let Some(first) = first {
                self.by_source.remove(&first);
            }
        }
        self.by_source.insert(ban.source, ban);
    }

    pub(crate) fn is_banned(&self, now: Instant, source: IpAddr) -> bool {
        !self.by_source.is_empty() && self.by_source.get(&source).is_some_and(|ban| ban.until > now)
    }

    /// Ends a ban and forgets it; false if there was none
    pub(crate) fn lift(&mut self, now: Instant, source: IpAddr) -> bool {
        self.by_source.remove(&source).is_some_and(|ban| ban.until > now)
    }

    /// Bans that hold, the one that ends last first
    pub(crate) fn list(&self, now: Instant) -> Vec<Ban> {
        let mut list: Vec<Ban> = self.by_source.values().filter(|ban| ban.until > now).copied().collect();
        list.sort_by_key(|ban| (std::cmp::Reverse(ban.until), ban.source));
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::test_clock::at;

    fn ip(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    #[test]
    fn a_ban_ends_and_the_next_lasts_longer() {
        let mut bans = Bans::new(300, 1_000);
        assert_eq!(bans.add(at(0), ip(1), BanReason::Scanning).until, at(300_000));
        assert!(bans.is_banned(at(299_999), ip(1)) && !bans.is_banned(at(300_000), ip(1)));
        assert!(!bans.is_banned(at(0), ip(2)));
        let second = bans.add(at(400_000), ip(1), BanReason::Passwords);
        assert_eq!((second.times, second.until), (2, at(1_000_000)));
        assert_eq!(bans.add(at(1_000_000), ip(1), BanReason::Passwords).until, at(2_000_000), "the longest");
        let much_later = 2_000_000 + limits::BAN_MEMORY_MS;
        assert_eq!(bans.add(at(much_later), ip(1), BanReason::Scanning).times, 1);
    }

    #[test]
    fn a_lifted_ban_is_forgotten() {
        let mut bans = Bans::new(300, 1_000);
        bans.add(at(0), ip(1), BanReason::Passwords);
        assert!(bans.lift(at(1), ip(1)) && !bans.lift(at(1), ip(1)));
        assert!(!bans.is_banned(at(1), ip(1)) && bans.list(at(1)).is_empty());
        assert_eq!(bans.add(at(2), ip(1), BanReason::Passwords).times, 1);
    }

    #[test]
    fn the_list_is_bounded_and_the_first_to_end_makes_room() {
        let mut bans = Bans::new(300, 1_000);
        for n in 0..=u32::try_from(limits::BAN_COUNT_MAX).unwrap() {
            bans.add(at(u64::from(n)), ip(n), BanReason::Scanning);
        }
        let list = bans.list(at(0));
        assert_eq!(list.len(), limits::BAN_COUNT_MAX);
        assert!(!bans.is_banned(at(1), ip(0)) && bans.is_banned(at(1), ip(1)));
        assert_eq!(list[0].source, ip(u32::try_from(limits::BAN_COUNT_MAX).unwrap()));
    }
}

//! Counters by the hour: how often an address, and everybody together, may do something.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};

use super::limits::{ADDRESSES_MAX, NEIGHBOURS_MAX};

const HOUR_MS: i64 = 3_600_000;

/// Counts per address and in all; `now` is a parameter.
#[derive(Debug)]
pub(super) struct Hourly {
    each_max: u32,
    all_max: u32,
    hour: i64,
    all: u32,
    each: HashMap<IpAddr, u32>,
    /// Newcomers while `each` is full, by neighbourhood: one that fills the table counts here as one.
    neighbours: Vec<u32>,
    hasher: RandomState,
}

impl Hourly {
    pub(super) fn new(each_max: u32, all_max: u32) -> Self {
        let (neighbours, hasher) = (vec![0; NEIGHBOURS_MAX], RandomState::new());
        Self { each_max, all_max, hour: 0, all: 0, each: HashMap::new(), neighbours, hasher }
    }

    /// Counts one; `false` if it is one too many.
    pub(super) fn take(&mut self, from: IpAddr, now: i64) -> bool {
        if !self.has_room(from, now) {
            return false;
        }
        *self.counter(from) += 1;
        self.all += 1;
        true
    }

    /// Whether one more would be counted.
    pub(super) fn has_room(&mut self, from: IpAddr, now: i64) -> bool {
        let hour = now.div_euclid(HOUR_MS);
        if hour != self.hour {
            (self.hour, self.all) = (hour, 0);
            self.each.clear();
            self.neighbours.fill(0);
        }
        self.all < self.all_max && self.counted(from) < self.each_max
    }

    fn counted(&self, from: IpAddr) -> u32 {
        match self.each.get(&network(from)) {
            Some(counted) => *counted,
            None if self.each.len() < ADDRESSES_MAX => 0,
            None => self.neighbours.get(self.neighbourhood(from)).copied().unwrap_or(0),
        }
    }

    fn counter(&mut self, from: IpAddr) -> &mut u32 {
        let at = self.neighbourhood(from);
        let is_full = self.each.len() >= ADDRESSES_MAX && !self.each.contains_key(&network(from));
        match self.neighbours.get_mut(at).filter(|_| is_full) {
            Some(shared) => shared,
            None => self.each.entry(network(from)).or_default(),
        }
    }

    /// Which counter the neighbours share: a site's /48 of IPv6, a /24 of IPv4.
    fn neighbourhood(&self, from: IpAddr) -> usize {
        let prefix = match from.to_canonical() {
            IpAddr::V4(v4) => u128::from(u32::from(v4) >> 8),
            IpAddr::V6(v6) => u128::from(v6) >> 80,
        };
        usize::try_from(self.hasher.hash_one(prefix) % NEIGHBOURS_MAX as u64).unwrap_or(0)
    }
}

/// A subscriber has a whole /64 of IPv6.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_and_all_together_have_their_hour() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut hourly = Hourly::new(2, 3);
        assert!(hourly.take(ip("192.0.2.1"), 0) && hourly.take(ip("::ffff:192.0.2.1"), 1));
        assert!(!hourly.take(ip("192.0.2.1"), 2), "its two are spent");
        assert!(hourly.take(ip("2001:db8::1"), 3));
        assert!(!hourly.take(ip("192.0.2.9"), 4), "all three are spent");
        assert!(hourly.take(ip("192.0.2.1"), HOUR_MS), "another hour");
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_and_the_table_is_bounded() {
        let mut hourly = Hourly::new(1, u32::MAX);
        assert!(hourly.take("2001:db8::1".parse().unwrap(), 0));
        assert!(!hourly.take("2001:db8::ffff:2".parse().unwrap(), 0));
        // One site with a /48 fills the table …
        for n in 0..ADDRESSES_MAX as u128 + 10 {
            hourly.take(IpAddr::V6((0x2001_0db8_0001_u128 << 80 | n << 64).into()), 0);
        }
        assert_eq!(hourly.each.len(), ADDRESSES_MAX);
        assert!(!hourly.take("2001:db8:1:ffff::1".parse().unwrap(), 0), "… and is counted as one from there on");
        let others = (0..50).filter(|n| hourly.take(IpAddr::from([203, 0, *n, 9]), 0));
        assert!(others.count() > 40, "everybody else is served all the same");
        assert_eq!(hourly.each.len(), ADDRESSES_MAX);
    }
}

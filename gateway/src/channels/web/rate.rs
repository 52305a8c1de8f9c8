//! Counters by the hour: how often an address, and everybody together, may do something.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use super::limits::ADDRESSES_MAX;

const HOUR_MS: i64 = 3_600_000;

/// Counts per address and in all; `now` is a parameter.
#[derive(Debug)]
pub(super) struct Hourly {
    each_max: u32,
    all_max: u32,
    hour: i64,
    all: u32,
    each: HashMap<IpAddr, u32>,
}

impl Hourly {
    pub(super) fn new(each_max: u32, all_max: u32) -> Self {
        Self { each_max, all_max, hour: 0, all: 0, each: HashMap::new() }
    }

    /// Counts one; `false` if it is one too many.
    pub(super) fn take(&mut self, from: IpAddr, now: i64) -> bool {
        if !self.has_room(from, now) {
            return false;
        }
        *self.each.entry(network(from)).or_default() += 1;
        self.all += 1;
        true
    }

    /// Whether one more would be counted.
    pub(super) fn has_room(&mut self, from: IpAddr, now: i64) -> bool {
        let hour = now.div_euclid(HOUR_MS);
        if hour != self.hour {
            *self = Self { hour, all: 0, each: HashMap::new(), ..*self };
        }
        let counted = self.each.get(&network(from)).copied();
        let known = counted.is_some() || self.each.len() < ADDRESSES_MAX;
        known && counted.unwrap_or(0) < self.each_max && self.all < self.all_max
    }
}

/// A subscriber has a whole /64 of IPv6.
fn network(address: IpAddr) -> IpAddr {
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
        for n in 0..u32::try_from(ADDRESSES_MAX).unwrap() + 10 {
            hourly.take(IpAddr::V4(n.into()), 0);
        }
        assert_eq!(hourly.each.len(), ADDRESSES_MAX);
        assert!(!hourly.take("203.0.113.9".parse().unwrap(), 0), "no room to count it");
    }
}

//! When a stranger was last noted, in bounded memory

use crate::limits;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Addresses and when they were last answered, or told of
#[derive(Default)]
pub(super) struct Strangers {
    noted: HashMap<IpAddr, Instant>,
    swept: Option<Instant>,
}

impl Strangers {
    /// Whether `ip` was not noted within `period_ms`; notes it then
    pub(super) fn note(&mut self, now: Instant, ip: IpAddr, period_ms: u64) -> bool {
        let is_within = |at: Instant, ms| now.saturating_duration_since(at) < Duration::from_millis(ms);
        if self.noted.get(&ip).is_some_and(|at| is_within(*at, period_ms)) {
            return false;
        }
        if self.noted.len() >= limits::STRANGER_COUNT_MAX && !self.noted.contains_key(&ip) {
            // A crowd mustn't make every datagram cost a walk through the table.
            if self.swept.is_some_and(|at| is_within(at, limits::SWEEP_PAUSE_MS)) {
                return false;
            }
            self.swept = Some(now);
            self.noted.retain(|_, at| is_within(*at, period_ms));
            if self.noted.len() >= limits::STRANGER_COUNT_MAX {
                return false;
            }
        }
        self.noted.insert(ip, now);
        true
    }
}

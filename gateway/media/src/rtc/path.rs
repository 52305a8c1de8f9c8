//! Which addresses of a browser are proven, and which one it has chosen.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::limits::{ICE_CONSENT_MS, ICE_PATHS_MAX};

/// The addresses a browser has checked (RFC 8445 §7.3), each until its consent runs out (RFC 7675 §5.1).
#[derive(Clone, Debug, Default)]
pub struct Paths {
    /// With the time of the last check.
    checked: Vec<(SocketAddr, Instant)>,
    nominated: Option<SocketAddr>,
}

impl Paths {
    /// Notes an authentic check. Beyond `ICE_PATHS_MAX` the address checked longest ago makes room.
    pub fn note(&mut self, now: Instant, from: SocketAddr, nominated: bool) {
        match self.checked.iter_mut().find(|(address, _)| *address == from) {
            Some((_, at)) => *at = now,
            None => {
                if self.checked.len() >= ICE_PATHS_MAX {
                    let chosen = self.nominated;
                    let others = self.checked.iter().enumerate().filter(|(_, (address, _))| Some(*address) != chosen);
                    if let Some((oldest, _)) = others.min_by_key(|(_, (_, at))| *at) {
                        self.checked.swap_remove(oldest);
                    }
                }
                self.checked.push((from, now));
            }
        }
        if nominated {
            self.nominated = Some(from);
        }
    }

    /// Media and handshakes may come from there.
    #[must_use]
    pub fn is_checked(&self, from: SocketAddr) -> bool {
        self.checked.iter().any(|(address, _)| *address == from)
    }

    /// Where media goes.
    #[must_use]
    pub const fn nominated(&self) -> Option<SocketAddr> {
        self.nominated
    }

    /// Where a handshake goes: the chosen address, before there is one the last checked.
    #[must_use]
    pub fn newest(&self) -> Option<SocketAddr> {
        let newest = || self.checked.iter().max_by_key(|(_, at)| *at).map(|(address, _)| *address);
        self.nominated.or_else(newest)
    }

    /// Forgets addresses whose consent has run out; true if the chosen one is among them.
    pub fn expire(&mut self, now: Instant) -> bool {
        let consent = Duration::from_millis(ICE_CONSENT_MS);
        self.checked.retain(|(_, at)| now.saturating_duration_since(*at) < consent);
        let is_lost = self.nominated.is_some_and(|chosen| !self.is_checked(chosen));
        if is_lost {
            self.nominated = None;
        }
        is_lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::HOUSEKEEPING_MS;

    fn at(n: usize) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], 4000 + n as u16))
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "an Instant can't be made from nothing; only differences count")]
    fn the_chosen_address_stays_as_long_as_it_is_checked() {
        let start = Instant::now();
        let later = |ms| start + Duration::from_millis(ms);
        let mut paths = Paths::default();
        assert_eq!((paths.newest(), paths.nominated()), (None, None));
        paths.note(start, at(0), false);
        assert_eq!((paths.newest(), paths.nominated()), (Some(at(0)), None));
        paths.note(start, at(1), true);
        for n in 2..20 {
            paths.note(later(n as u64 * HOUSEKEEPING_MS), at(n), false);
        }
        assert!(paths.is_checked(at(1)) && paths.is_checked(at(19)) && !paths.is_checked(at(0)));
        assert_eq!(paths.checked.len(), ICE_PATHS_MAX);
        assert_eq!(paths.newest(), Some(at(1)));
        paths.note(later(ICE_CONSENT_MS - 1), at(1), false);
        assert!(!paths.expire(later(ICE_CONSENT_MS + 5_000)));
        assert!(paths.expire(later(2 * ICE_CONSENT_MS)) && paths.nominated().is_none());
        assert!(!paths.expire(later(2 * ICE_CONSENT_MS)));
    }
}

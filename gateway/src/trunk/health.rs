//! Whether an address of a carrier can take calls, without clock and sockets.

use std::time::{Duration, Instant};

use hotline_sip::Reply;

/// A `Retry-After` keeps an address out for so long at most.
const REST_MAX: Duration = Duration::from_secs(600);

/// One address.
#[derive(Clone, Debug, Default)]
pub(super) struct Health {
    is_down: bool,
    /// Answers against the present state, in a row.
    against: u32,
    /// It asked for no calls until then.
    rest_until: Option<Instant>,
}

/// Whether a final answer to OPTIONS is a sign of life: anything but silence and "no calls now".
#[must_use]
pub(super) const fn is_alive(reply: &Reply) -> bool {
    !reply.is_local && reply.code != 408 && reply.code != 503
}

impl Health {
    /// Takes a sign of life or its absence; true if the state changed. `down` and `up` are how many
    /// in a row it takes.
    pub(super) const fn on_options(&mut self, alive: bool, down: u32, up: u32) -> bool {
        if alive != self.is_down {
            self.against = 0;
            return false;
        }
        self.against += 1;
        if self.against < if self.is_down { up } else { down } {
            return false;
        }
        self.is_down = !self.is_down;
        self.against = 0;
        true
    }

    /// The carrier answered 503 with `Retry-After` (RFC 3261 §21.5.4).
    pub(super) fn rest(&mut self, now: Instant, retry_after_s: u32) {
        let rest = Duration::from_secs(u64::from(retry_after_s)).min(REST_MAX);
        self.rest_until = self.rest_until.max(Some(now + rest));
    }

    /// Whether it may be given calls.
    #[must_use]
    pub(super) fn is_usable(&self, now: Instant) -> bool {
        !self.is_down && self.rest_until.is_none_or(|until| until <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_down_and_up_after_so_many_in_a_row() {
        let now = Instant::now();
        let mut health = Health::default();
        for alive in [false, false, true, false, false] {
            assert!(!health.on_options(alive, 3, 2));
        }
        assert!(health.is_usable(now));
        assert!(health.on_options(false, 3, 2) && !health.is_usable(now));
        assert!(!health.on_options(true, 3, 2) && !health.on_options(false, 3, 2) && !health.on_options(true, 3, 2));
        assert!(health.on_options(true, 3, 2) && health.is_usable(now));
    }

    #[test]
    fn any_answer_is_life_but_408_and_503() {
        for (code, is_local, alive) in
            [(200, false, true), (404, false, true), (405, false, true), (500, false, true), (403, false, true)]
                .into_iter()
                .chain([(408, false, false), (503, false, false), (408, true, false), (503, true, false)])
        {
            assert_eq!(is_alive(&Reply { code, is_local, ..Reply::default() }), alive, "{code}");
        }
    }

    #[test]
    fn a_wished_rest_is_kept_within_bounds() {
        let now = Instant::now();
        let mut health = Health::default();
        health.rest(now, 30);
        health.rest(now, 5);
        assert!(!health.is_usable(now + Duration::from_secs(29)) && health.is_usable(now + Duration::from_secs(30)));
        health.rest(now, u32::MAX);
        assert!(health.is_usable(now + REST_MAX));
    }
}

//! Two gateways of one name: somebody copied a data directory.

use std::time::Duration;

use hotline_db::{DbError, GatewayNode, Store};
use tokio::time::{Instant, sleep};

use super::limits::{BEAT_MS, LEASE_MS, TWIN_BEATS, TWIN_FORGOTTEN_BEATS};

/// A row younger than this may be of a gateway that lives.
const YOUNG_MS: i64 = LEASE_MS;

/// The address of a gateway that runs under the name of the one that is about to start, if there is one. An earlier
/// run of its own that ended a moment ago isn't: its row grows old.
///
/// # Errors
/// As any read.
pub async fn living(store: &Store, me: &GatewayNode) -> Result<Option<String>, DbError> {
    let until = Instant::now() + Duration::from_millis(LEASE_MS.unsigned_abs());
    loop {
        let row = store.gateway_node(&me.id).await?;
        let is_young = |row: &GatewayNode| row.peer_address != me.peer_address && row.age_ms < YOUNG_MS;
        let Some(row) = row.filter(is_young) else { return Ok(None) };
        if Instant::now() >= until {
            return Ok(Some(row.peer_address));
        }
        sleep(Duration::from_millis(BEAT_MS)).await;
    }
}

/// Whether another process writes this gateway's row. One sighting says little: a beat of an earlier run may have
/// waited in the database for longer than that run lived.
#[derive(Debug, Default)]
pub struct Sightings {
    seen: u8,
    missed: u8,
}

impl Sightings {
    /// A beat found another process in the row, or didn't. True: it lives.
    pub const fn beat(&mut self, is_another: bool) -> bool {
        if is_another {
            (self.seen, self.missed) = (self.seen.saturating_add(1), 0);
        } else {
            self.missed = self.missed.saturating_add(1);
            if self.missed >= TWIN_FORGOTTEN_BEATS {
                self.seen = 0;
            }
        }
        is_another && self.seen >= TWIN_BEATS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_word_of_an_earlier_run_makes_no_twin_and_one_that_goes_on_does() {
        let mut row = Sightings::default();
        assert_eq!([true, false, true, false].map(|is| row.beat(is)), [false; 4], "both were written late");
        for _ in 1..TWIN_FORGOTTEN_BEATS {
            assert!(!row.beat(false));
        }
        assert_eq!([true, true].map(|is| row.beat(is)), [false; 2], "forgotten meanwhile");
        // A slower one is in every third beat.
        assert_eq!([false, false, true].map(|is| row.beat(is)), [false, false, true]);
    }
}

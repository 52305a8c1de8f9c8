//! Connections that have proven nothing yet: few at once, so that idle strangers keep no gateway out.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::limits::{REFUSED_LOG_MS, UNPROVEN_MAX, UNPROVEN_PER_ADDRESS_MAX};

#[derive(Default)]
struct Guests {
    by_address: BTreeMap<IpAddr, usize>,
    told_at: Option<Instant>,
}

/// Their places.
#[derive(Default)]
pub(super) struct Door(Mutex<Guests>);

/// One of them, until it is dropped.
pub(super) struct Place {
    door: Arc<Door>,
    address: IpAddr,
}

impl Door {
    fn lock(&self) -> MutexGuard<'_, Guests> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a connection; `None`: all are taken.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let mut guests = self.lock();
        let all: usize = guests.by_address.values().sum();
        let of_this_one = guests.by_address.entry(address).or_default();
        if all >= UNPROVEN_MAX || *of_this_one >= UNPROVEN_PER_ADDRESS_MAX {
            guests.by_address.retain(|_, n| *n > 0);
            return None;
        }
        *of_this_one += 1;
        Some(Place { door: Arc::clone(self), address })
    }

    /// Whether it is time for a line in the log again.
    pub(super) fn tells(&self) -> bool {
        let (mut guests, now) = (self.lock(), Instant::now());
        let is_time = guests.told_at.is_none_or(|at| now - at >= Duration::from_millis(REFUSED_LOG_MS));
        if is_time {
            guests.told_at = Some(now);
        }
        is_time
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut guests = self.door.lock();
        if let Some(n) = guests.by_address.get_mut(&self.address) {
            *n = n.saturating_sub(1);
        }
        guests.by_address.retain(|_, n| *n > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn strangers_have_few_places_and_each_address_fewer() {
        let door = Arc::<Door>::default();
        let of = |n: u8| IpAddr::from([127, 0, 0, n]);
        let mut places: Vec<Place> = (0..UNPROVEN_PER_ADDRESS_MAX).filter_map(|_| door.enter(of(1))).collect();
        assert_eq!(places.len(), UNPROVEN_PER_ADDRESS_MAX);
        assert!(door.enter(of(1)).is_none());
        for n in 2..60 {
            places.extend(door.enter(of(n)));
        }
        assert_eq!(places.len(), UNPROVEN_MAX);
        places.remove(0);
        assert!(door.enter(of(60)).is_some());
        drop(places);
        assert!(door.lock().by_address.is_empty());
        assert!(door.tells() && !door.tells());
    }
}

//! Who may send files now: one file of each report is in memory, and one address can't take every place.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::limits::{PLACE_WAIT, UPLOADS_EACH_MAX, UPLOADS_MAX};
use super::rate::network;

/// The places, all together and of each address.
#[derive(Debug)]
pub(super) struct Places {
    all: Arc<Semaphore>,
    each: Mutex<HashMap<IpAddr, Arc<Semaphore>>>,
    wait: Duration,
}

/// A place; free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Places {
    pub(super) fn new() -> Self {
        Self { all: Arc::new(Semaphore::new(UPLOADS_MAX)), each: Mutex::default(), wait: PLACE_WAIT }
    }

    /// Waits for a place; `None` if there is none in time. An address waits for its own first.
    pub(super) async fn take(&self, from: IpAddr) -> Option<Place> {
        let until = Instant::now() + self.wait;
        let own = timeout_at(until, self.own(from).acquire_owned()).await.ok()?.ok()?;
        let all = timeout_at(until, Arc::clone(&self.all).acquire_owned()).await.ok()?.ok()?;
        Some(Place { _own: own, _all: all })
    }

    fn own(&self, from: IpAddr) -> Arc<Semaphore> {
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        // Held by no place and nobody waiting.
        each.retain(|_, own| Arc::strong_count(own) > 1);
        let own = each.entry(network(from)).or_insert_with(|| Arc::new(Semaphore::new(UPLOADS_EACH_MAX)));
        Arc::clone(own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_address_cannot_take_every_place_and_leaves_nothing_behind() {
        let places = Places { wait: Duration::ZERO, ..Places::new() };
        let (greedy, other) = ("2001:db8::1".parse().unwrap(), "192.0.2.1".parse().unwrap());
        let mut held = Vec::new();
        for _ in 0..UPLOADS_EACH_MAX {
            held.push(places.take(greedy).await.unwrap());
        }
        assert!(places.take("2001:db8::2".parse().unwrap()).await.is_none(), "the same network");
        let others = places.take(other).await.unwrap();
        held.pop();
        held.push(places.take(greedy).await.unwrap());
        drop((held, others));
        assert_eq!(places.all.available_permits(), UPLOADS_MAX);
        drop(places.take(other).await);
        assert_eq!(places.each.lock().unwrap().len(), 1, "only the last one is still listed");
    }

    #[tokio::test]
    async fn a_full_house_is_waited_for() {
        let places = Arc::new(Places::new());
        let mut held = Vec::new();
        for n in 0..UPLOADS_MAX {
            held.push(places.take(IpAddr::from([192, 0, 2, u8::try_from(n).unwrap()])).await.unwrap());
        }
        let late: IpAddr = "198.51.100.1".parse().unwrap();
        let waiting = tokio::spawn({
            let places = Arc::clone(&places);
            async move { places.take(late).await.is_some() }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        held.pop();
        assert!(waiting.await.unwrap());
    }
}

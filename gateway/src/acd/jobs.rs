//! The mailbox of the queues' owner: bounded, and read in the order in which it was filled.
//!
//! Who can wait for room does; who can't has room of their own, so that their word neither overtakes what they said
//! before nor is overtaken by what they say next.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, mpsc};

/// Messages of those who can wait; who sends the next one waits.
const WAITING_MAX: usize = 4_096;
/// Messages of those who can't; the next one is refused.
const POSTED_MAX: usize = 16_384;

/// Why a message isn't taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Untaken {
    #[error("the queues' owner is gone")]
    Gone,
    #[error("too many messages wait for the queues' owner")]
    Full,
}

/// Whose room a message takes until it is read.
#[derive(Clone, Copy)]
enum Room {
    Waiting,
    Posted,
}

/// The way in.
pub(super) struct Sender<T> {
    to: mpsc::Sender<(T, Room)>,
    room: Arc<Semaphore>,
    posted: Arc<AtomicUsize>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { to: self.to.clone(), room: Arc::clone(&self.room), posted: Arc::clone(&self.posted) }
    }
}

/// The way out.
pub(super) struct Receiver<T> {
    from: mpsc::Receiver<(T, Room)>,
    room: Arc<Semaphore>,
    posted: Arc<AtomicUsize>,
}

/// Both ends.
pub(super) fn channel<T>() -> (Sender<T>, Receiver<T>) {
    bounded(WAITING_MAX)
}

fn bounded<T>(waiting_max: usize) -> (Sender<T>, Receiver<T>) {
    // Who has room there has it here: a message leaves this before its room is given back.
    let (to, from) = mpsc::channel(waiting_max + POSTED_MAX);
    let (room, posted) = (Arc::new(Semaphore::new(waiting_max)), Arc::new(AtomicUsize::new(0)));
    (Sender { to, room: Arc::clone(&room), posted: Arc::clone(&posted) }, Receiver { from, room, posted })
}

impl<T> Sender<T> {
    /// Waits for room.
    pub(super) async fn send(&self, message: T) -> Result<(), Untaken> {
        let Ok(permit) = self.room.acquire().await else { return Err(Untaken::Gone) };
        self.to.try_send((message, Room::Waiting)).map_err(|_| Untaken::Gone)?;
        // Given back by who reads it.
        permit.forget();
        Ok(())
    }

    /// Never waits.
    pub(super) fn post(&self, message: T) -> Result<(), Untaken> {
        let one_more = |n: usize| (n < POSTED_MAX).then_some(n + 1);
        self.posted.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).map_err(|_| Untaken::Full)?;
        self.to.try_send((message, Room::Posted)).map_err(|_| Untaken::Gone)
    }
}

impl<T> Receiver<T> {
    /// `None`: nobody can send any more.
    pub(super) async fn recv(&mut self) -> Option<T> {
        let (message, room) = self.from.recv().await?;
        match room {
            Room::Waiting => self.room.add_permits(1),
            Room::Posted => {
                self.posted.fetch_sub(1, Ordering::AcqRel);
            }
        }
        Some(message)
    }
}

impl<T> Drop for Receiver<T> {
    /// Nobody waits for room that never comes.
    fn drop(&mut self) {
        self.room.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_word_that_cannot_wait_is_read_in_its_turn() {
        let (to, mut from) = bounded(2);
        to.send(1).await.unwrap();
        to.send(2).await.unwrap();
        // Full for who can wait.
        to.post(3).unwrap();
        let later = tokio::spawn({
            let to = to.clone();
            async move { to.send(4).await }
        });
        let mut read = Vec::new();
        for _ in 0..4 {
            read.push(from.recv().await.unwrap());
        }
        later.await.unwrap().unwrap();
        assert_eq!(read, [1, 2, 3, 4]);
    }

    #[test]
    fn a_flood_of_words_that_cannot_wait_has_an_end() {
        let (to, from) = channel();
        for n in 0..POSTED_MAX {
            to.post(n).unwrap();
        }
        assert_eq!(to.post(0), Err(Untaken::Full));
        drop(from);
    }

    #[tokio::test]
    async fn nobody_waits_for_an_owner_that_is_gone() {
        let (to, from) = bounded(1);
        to.send(1).await.unwrap();
        let waits = tokio::spawn({
            let to = to.clone();
            async move { to.send(2).await }
        });
        drop(from);
        assert_eq!(waits.await.unwrap(), Err(Untaken::Gone));
        assert_eq!(to.send(3).await, Err(Untaken::Gone));
        assert_eq!(to.post(4), Err(Untaken::Gone));
    }
}

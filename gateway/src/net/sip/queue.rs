//! What waits to be written on one connection, bounded by bytes: a peer that reads too slowly is cut off.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

/// Messages waiting on one connection, whosesoever it is.
const MESSAGES_MAX: usize = 4_096;
/// Bytes waiting on a trunk's connection, which carries all of its calls: a burst of a full load is no fault.
const TRUNK_BYTES_MAX: usize = 1024 * 1024;
/// Bytes waiting on any other connection.
const BYTES_MAX: usize = 128 * 1024;

/// There is no room: the peer reads too slowly, or the connection is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

#[derive(Clone)]
pub(super) struct Queue {
    to: mpsc::Sender<Vec<u8>>,
    waiting: Arc<AtomicUsize>,
}

/// The end that writes.
pub(super) struct Waiting {
    from: mpsc::Receiver<Vec<u8>>,
    waiting: Arc<AtomicUsize>,
}

pub(super) fn queue() -> (Queue, Waiting) {
    let (to, from) = mpsc::channel(MESSAGES_MAX);
    let waiting = Arc::new(AtomicUsize::new(0));
    (Queue { to, waiting: Arc::clone(&waiting) }, Waiting { from, waiting })
}

impl Queue {
    /// `is_trunk`: the connection carries all calls of a trunk.
    pub(super) fn send(&self, bytes: Vec<u8>, is_trunk: bool) -> Result<(), Full> {
        let most = if is_trunk { TRUNK_BYTES_MAX } else { BYTES_MAX };
        let len = bytes.len();
        if self.waiting.fetch_add(len, Ordering::Relaxed) + len > most || self.to.try_send(bytes).is_err() {
            self.waiting.fetch_sub(len, Ordering::Relaxed);
            return Err(Full);
        }
        Ok(())
    }
}

impl Waiting {
    pub(super) async fn next(&mut self) -> Option<Vec<u8>> {
        let bytes = self.from.recv().await?;
        self.waiting.fetch_sub(bytes.len(), Ordering::Relaxed);
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_trunk_s_burst_has_room_and_bytes_bound_it() {
        for (is_trunk, most) in [(true, TRUNK_BYTES_MAX), (false, BYTES_MAX)] {
            let (queue, mut waiting) = queue();
            let mut sent = 0;
            while queue.send(vec![b'x'; 1_024], is_trunk) == Ok(()) {
                sent += 1;
            }
            assert_eq!(sent, most / 1_024);
            assert_eq!(waiting.next().await.map(|b| b.len()), Some(1_024));
            assert_eq!((queue.send(vec![0; 1_024], is_trunk), queue.send(vec![0], is_trunk)), (Ok(()), Err(Full)));
        }
    }

    #[test]
    fn many_small_messages_are_bounded_too_and_a_closed_end_takes_none() {
        let (queue, waiting) = queue();
        let sent = std::iter::repeat_with(|| queue.send(vec![0; 2], true)).take_while(Result::is_ok).count();
        assert_eq!((sent, queue.waiting.load(Ordering::Relaxed)), (MESSAGES_MAX, 2 * MESSAGES_MAX));
        drop(waiting);
        assert_eq!(queue.send(vec![0], true), Err(Full));
    }
}

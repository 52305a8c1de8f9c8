//! Packets that wait for their time, in order of their timestamps.

use std::collections::VecDeque;

use crate::limits::{JITTER_BYTES_MAX, JITTER_PACKETS_MAX};

/// What a packet holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Audio,
    /// A description of noise (RFC 3389).
    Comfort,
}

#[derive(Debug)]
pub(super) struct Waiting {
    /// Its first sample on the time line.
    pub(super) at: i64,
    pub(super) content: Content,
    pub(super) payload: Vec<u8>,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Waiting>,
    /// Payloads to be used again, so that nothing is allocated once the buffer has been full.
    spare: Vec<Vec<u8>>,
    bytes: usize,
}

impl Queue {
    pub(super) fn head(&self) -> Option<&Waiting> {
        self.waiting.front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Adds a packet; `None` if its place is taken. Otherwise how many old ones had to go for it.
    pub(super) fn insert(&mut self, at: i64, content: Content, payload: &[u8]) -> Option<u64> {
        let index = self.waiting.partition_point(|waiting| waiting.at < at);
        if self.waiting.get(index).is_some_and(|waiting| waiting.at == at) {
            return None;
        }
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(payload);
        self.bytes += bytes.len();
        self.waiting.insert(index, Waiting { at, content, payload: bytes });
        let mut dropped = 0;
        while self.waiting.len() > JITTER_PACKETS_MAX || self.bytes > JITTER_BYTES_MAX {
            if let Some(oldest) = self.pop() {
                self.give_back(oldest);
                dropped += 1;
            }
        }
        Some(dropped)
    }

    pub(super) fn pop(&mut self) -> Option<Waiting> {
        let waiting = self.waiting.pop_front()?;
        self.bytes -= waiting.payload.len();
        Some(waiting)
    }

    /// Keeps the allocation of a packet that was popped.
    pub(super) fn give_back(&mut self, waiting: Waiting) {
        self.spare.push(waiting.payload);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_by_time_and_a_place_is_taken_once() {
        let mut queue = Queue::default();
        for at in [320, 0, 480, 160, 160, 0] {
            queue.insert(at, Content::Audio, &[at as u8]);
        }
        assert_eq!(queue.insert(320, Content::Audio, &[]), None);
        let order: Vec<i64> = std::iter::from_fn(|| queue.pop().map(|waiting| waiting.at)).collect();
        assert_eq!(order, [0, 160, 320, 480]);
        assert_eq!(queue.bytes, 0);
    }

    #[test]
    fn packets_and_bytes_are_bounded() {
        let mut queue = Queue::default();
        let dropped: u64 = (0..100).filter_map(|n| queue.insert(n, Content::Audio, &[0; 160])).sum();
        assert_eq!((dropped, queue.waiting.len()), (36, JITTER_PACKETS_MAX));
        assert_eq!(queue.head().map(|waiting| waiting.at), Some(36));
        let dropped: u64 = (100..120).filter_map(|n| queue.insert(n, Content::Audio, &[0; 1440])).sum();
        assert!(dropped > 20 && queue.bytes <= JITTER_BYTES_MAX);
    }
}

//! Sending: one packet per 20 ms while the digit lasts, three end packets, then a pause.

use std::collections::VecDeque;

use super::{EventPayload, digit_of, event_of};
use crate::{
    limits::{
        DTMF_END_COPIES, DTMF_GAP_MS, DTMF_QUEUE_MAX, DTMF_SEND_MS_MAX, DTMF_SEND_MS_MIN, FRAME_MS, FRAME_SAMPLES,
        SAMPLES_PER_MS,
    },
    tone::Dual,
};

/// Volume of our digits: −10 dBm0, as telephones send them.
const VOLUME: u8 = 10;

/// What to send in one 20 ms slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// An event packet; `first` opens the event, so its timestamp is taken now and kept.
    Event {
        /// The payload.
        payload: EventPayload,
        /// Sets the marker and the event's timestamp.
        first: bool,
    },
    /// A frame of tone, for peers without RFC 4733.
    Tone(Box<[i16; FRAME_SAMPLES]>),
    /// Nothing: the pause between two digits.
    Pause,
}

#[derive(Clone, Debug)]
struct Current {
    event: u8,
    samples: u32,
    sent: u32,
    ends: u8,
    gap_frames: u32,
    tone: Option<Dual>,
}

/// Digits waiting to be sent on one leg.
#[derive(Clone, Debug, Default)]
pub struct Sender {
    queue: VecDeque<(u8, u32)>,
    current: Option<Current>,
}

impl Sender {
    /// Queues a digit, its length clamped to the package's limits. Returns false if it is no DTMF
    /// digit or too many wait.
    pub fn push(&mut self, digit: char, ms: u32) -> bool {
        let Some(event) = event_of(digit).filter(|_| self.queue.len() < DTMF_QUEUE_MAX) else {
            return false;
        };
        self.queue.push_back((event, ms.clamp(DTMF_SEND_MS_MIN, DTMF_SEND_MS_MAX)));
        true
    }

    /// Something is being sent or waits.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.current.is_some() || !self.queue.is_empty()
    }

    /// The next 20 ms; `None` when all is sent. `as_events`: the peer takes RFC 4733.
    pub fn next_chunk(&mut self, as_events: bool) -> Option<Chunk> {
        if self.current.is_none() {
            let (event, ms) = self.queue.pop_front()?;
            let samples = ms * SAMPLES_PER_MS as u32;
            let tone = (!as_events).then(|| Dual::dtmf(digit_of(event).unwrap_or('0')));
            self.current = Some(Current { event, samples, sent: 0, ends: 0, gap_frames: 0, tone });
        }
        let current = self.current.as_mut()?;
        let frame = FRAME_SAMPLES as u32;
        if current.sent < current.samples {
            let first = current.sent == 0;
            current.sent = (current.sent + frame).min(current.samples);
            if let Some(tone) = &mut current.tone {
                let mut samples = Box::new([0; FRAME_SAMPLES]);
                tone.fill(samples.as_mut_slice());
                return Some(Chunk::Tone(samples));
            }
            return Some(Chunk::Event { payload: payload(current, false), first });
        }
        if current.tone.is_none() && current.ends < DTMF_END_COPIES {
            current.ends += 1;
            return Some(Chunk::Event { payload: payload(current, true), first: false });
        }
        current.gap_frames += 1;
        if u64::from(current.gap_frames) * FRAME_MS >= u64::from(DTMF_GAP_MS) {
            self.current = None;
        }
        Some(Chunk::Pause)
    }
}

fn payload(current: &Current, end: bool) -> EventPayload {
    let duration = u16::try_from(current.sent).unwrap_or(u16::MAX);
    EventPayload { event: current.event, end, volume: VOLUME, duration }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digit_is_updates_then_three_ends_then_a_pause() {
        let mut sender = Sender::default();
        assert!(sender.push('#', 100));
        assert!(!sender.push('x', 100));
        let mut chunks = Vec::new();
        while let Some(chunk) = sender.next_chunk(true) {
            chunks.push(chunk);
        }
        let events: Vec<(bool, bool, u16)> = chunks
            .iter()
            .filter_map(|chunk| match chunk {
                Chunk::Event { payload, first } => Some((*first, payload.end, payload.duration)),
                _ => None,
            })
            .collect();
        assert_eq!(
            events,
            [
                (true, false, 160),
                (false, false, 320),
                (false, false, 480),
                (false, false, 640),
                (false, false, 800),
                (false, true, 800),
                (false, true, 800),
                (false, true, 800),
            ]
        );
        assert_eq!(chunks.iter().filter(|chunk| **chunk == Chunk::Pause).count(), 3);
        assert!(!sender.is_busy());
    }

    #[test]
    fn the_queue_and_the_length_are_limited() {
        let mut sender = Sender::default();
        let taken = (0..100).filter(|_| sender.push('1', 0)).count();
        assert_eq!(taken, DTMF_QUEUE_MAX);
        let mut tones = 0;
        for _ in 0..5 {
            tones += usize::from(matches!(sender.next_chunk(false), Some(Chunk::Tone(_))));
        }
        assert_eq!(tones, 2, "40 ms at least, then a pause");
    }
}

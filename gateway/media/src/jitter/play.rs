//! What is heard: 20 ms at a time.

use std::time::Instant;

use super::{Decode, JitterBuffer, Played, ms, queue::Content, scale, to_ms};
use crate::{
    comfort::{Description, Generator},
    limits::{
        CONCEAL_MS_MAX, FRAME_SAMPLES, JITTER_DELAY_MS_MAX, JITTER_EXCESS_MS_MAX, JITTER_PACKET_SAMPLES_MAX,
        SAMPLES_PER_MS,
    },
};

/// The delay may be longer than aimed at by this before audio is shortened…
const LONG_MS: u64 = 15;
/// …and shorter by this before it is lengthened.
const SHORT_MS: u64 = 5;
/// From here on the delay is corrected with every frame.
const FAR_MS: u64 = 60;
/// Frames between two corrections otherwise.
const SCALE_PAUSE: u32 = 5;
/// A codec's own concealment comes in pieces of 2.5 ms.
const CODEC_PIECE: usize = 20;

impl JitterBuffer {
    /// The next 20 ms; to be called every 20 ms, `now` being the scheduled time. All packets that
    /// wait are in the coding of `decoder`.
    pub fn next_frame(&mut self, now: Instant, decoder: &mut impl Decode, out: &mut [i16; FRAME_SAMPLES]) -> Played {
        let clock = self.clock(now);
        self.adjust(clock, decoder);
        let mut kinds = [0usize; 4];
        let mut filled = 0;
        while filled < FRAME_SAMPLES {
            let rest = &mut out[filled..];
            let (count, kind) = if self.pending.is_empty() && !self.decode_next(decoder) {
                self.fill_gap(decoder, rest)
            } else {
                (self.play_pending(rest), Played::Audio)
            };
            kinds[kind as usize] += count;
            filled += count;
        }
        self.is_idle =
            self.pending.is_empty() && self.next > self.decoded_to && self.missing >= ms(CONCEAL_MS_MAX) as u64;
        let most = |kind: Played| kinds[kind as usize];
        let order = [Played::Silence, Played::Comfort, Played::Concealed, Played::Audio];
        order.into_iter().max_by_key(|kind| most(*kind)).unwrap_or(Played::Silence)
    }

    /// Brings the delay nearer to its aim: freely while nothing plays, by skipping after a stall,
    /// by periods in between.
    fn adjust(&mut self, clock: i64, decoder: &mut impl Decode) {
        let Some(base) = self.delay.base() else {
            return;
        };
        let target = self.delay.target();
        let playhead = clock - base - target;
        if self.is_idle
            && let Some(head) = self.queue.head()
        {
            self.next = playhead.min(head.at).max(self.decoded_to);
        }
        let delay = clock - (self.next - self.pending.len() as i64) - base;
        if !self.is_idle {
            self.stats.delay_ms = to_ms(delay);
            self.stats.target_ms_max = self.stats.target_ms_max.max(to_ms(target));
        }
        if delay > ms(JITTER_DELAY_MS_MAX + JITTER_EXCESS_MS_MAX) && !self.queue.is_empty() {
            return self.skip_to(playhead);
        }
        self.scale(delay - target, decoder);
    }

    fn skip_to(&mut self, playhead: i64) {
        self.concealer.cut();
        self.pending.clear();
        self.next = playhead.max(self.next);
        let packet_samples = self.stream.map_or(0, |stream| stream.packet_samples);
        while self.queue.head().is_some_and(|head| head.at + packet_samples <= self.next) {
            self.stats.overflow += 1;
            if let Some(old) = self.queue.pop() {
                self.queue.give_back(old);
            }
        }
    }

    fn scale(&mut self, excess: i64, decoder: &mut impl Decode) {
        self.scale_pause = self.scale_pause.saturating_sub(1);
        let (is_long, is_short) = (excess > ms(LONG_MS), excess < -ms(SHORT_MS));
        if self.scale_pause > 0 || self.missing > 0 || !(is_long || is_short) {
            return;
        }
        while self.pending.len() < scale::LOOK_AHEAD && self.decode_next(decoder) {}
        // The further off, the less alike the pieces need to be.
        let off_ms = excess.unsigned_abs() as f32 / SAMPLES_PER_MS as f32;
        let likeness = (0.9 - (off_ms - 30.0) * 0.01).clamp(0.3, 0.9);
        let scaled = if is_long && self.pending.len() >= scale::LOOK_AHEAD {
            let removed = scale::shorten(&mut self.pending, likeness);
            self.stats.removed_samples += removed as u64;
            removed
        } else if is_short {
            let inserted = scale::lengthen(&mut self.pending, likeness);
            self.stats.inserted_samples += inserted as u64;
            inserted
        } else {
            0
        };
        if scaled > 0 && excess.abs() < ms(FAR_MS) {
            self.scale_pause = SCALE_PAUSE;
        }
    }

    /// Decodes the packet that is due at `next`, if it is there.
    fn decode_next(&mut self, decoder: &mut impl Decode) -> bool {
        if self.recover(decoder) {
            return true;
        }
        while self.queue.head().is_some_and(|head| head.at <= self.next) {
            let Some(packet) = self.queue.pop() else {
                return false;
            };
            let decoded = match packet.content {
                Content::Audio => self.decode(packet.at, &packet.payload, decoder),
                Content::Comfort => {
                    self.begin_comfort(packet.at, &packet.payload);
                    false
                }
            };
            self.queue.give_back(packet);
            if decoded {
                return true;
            }
        }
        false
    }

    /// Decodes the lost packet just before the next one from what that repeats of it.
    fn recover(&mut self, decoder: &mut impl Decode) -> bool {
        let packet_samples = self.stream.map_or(0, |stream| stream.packet_samples);
        let Some(head) = self.queue.head().filter(|head| head.content == Content::Audio) else {
            return false;
        };
        let lost = head.at - self.next;
        if self.missing > 0 || lost <= 0 || lost > packet_samples || lost % CODEC_PIECE as i64 != 0 {
            return false;
        }
        let start = self.pending.len();
        self.pending.resize(start + lost as usize, 0);
        if !decoder.recover(&head.payload, &mut self.pending[start..]) {
            self.pending.truncate(start);
            return false;
        }
        self.next = head.at;
        self.decoded_to = head.at;
        true
    }

    fn decode(&mut self, at: i64, payload: &[u8], decoder: &mut impl Decode) -> bool {
        let start = self.pending.len();
        decoder.decode(payload, &mut self.pending);
        self.pending.truncate(start + JITTER_PACKET_SAMPLES_MAX);
        let samples = (self.pending.len() - start) as i64;
        let end = at + samples;
        if end <= self.next {
            // Broken, or its time is over altogether.
            self.stats.late += u64::from(samples > 0);
            self.pending.truncate(start);
            return false;
        }
        if let Some(stream) = &mut self.stream {
            stream.packet_samples = samples;
        }
        let over = (self.next - at) as usize;
        self.pending.drain(start..start + over);
        if self.comfort.take().is_some() {
            self.concealer.cut();
        }
        if start == 0 {
            self.concealer.merge(&mut self.pending);
        }
        self.next = end;
        self.decoded_to = end;
        self.missing = 0;
        true
    }

    fn begin_comfort(&mut self, at: i64, payload: &[u8]) {
        let Some(description) = Description::parse(payload) else {
            return;
        };
        self.decoded_to = self.decoded_to.max(at);
        match &mut self.comfort {
            Some(generator) => generator.set(description),
            None => {
                self.comfort = Some(Generator::new(description, at as u32));
                self.concealer.cut();
            }
        }
    }

    fn play_pending(&mut self, out: &mut [i16]) -> usize {
        let count = self.pending.len().min(out.len());
        out[..count].copy_from_slice(&self.pending[..count]);
        self.pending.drain(..count);
        self.concealer.remember(&out[..count]);
        self.stats.audio_samples += count as u64;
        count
    }

    /// Fills `out` up to the next packet's time: with noise, made-up audio or silence.
    fn fill_gap(&mut self, decoder: &mut impl Decode, out: &mut [i16]) -> (usize, Played) {
        let rest = out.len() as i64;
        let gap = self.queue.head().map_or(rest, |head| (head.at - self.next).clamp(1, rest));
        let out = &mut out[..gap as usize];
        self.next += gap;
        let missing = self.missing;
        self.missing = missing.saturating_add(gap as u64);
        if let Some(generator) = &mut self.comfort {
            generator.fill(out);
            self.concealer.merge(out);
            self.concealer.remember(out);
            return (out.len(), Played::Comfort);
        }
        if missing >= ms(CONCEAL_MS_MAX) as u64 {
            // Silence by now, or the rest of what a codec's own concealment left.
            self.concealer.conceal(out);
            return (out.len(), Played::Silence);
        }
        let by_codec = out.len().is_multiple_of(CODEC_PIECE) && decoder.conceal(out);
        if by_codec {
            self.concealer.remember(out);
        } else {
            self.concealer.conceal(out);
        }
        self.stats.concealed_samples += out.len() as u64;
        (out.len(), Played::Concealed)
    }
}

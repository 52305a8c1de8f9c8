//! The last second of a recording: late packets still find their place, and audio waits here while
//! the writer is busy. Channels are kept apart and interleaved when they are handed out.

use std::ops::Range;

use super::Block;
use crate::{Codec, codec, limits::WINDOW_FRAMES};

/// A sample as the file stores it.
pub trait Cell: Copy {
    /// Silence.
    const SILENCE: Self;
    /// Bytes of one stereo frame.
    const FRAME_LEN: usize;
    /// Writes frames of both channels to `out`, as many as fit.
    fn interleave(left: &[Self], right: &[Self], out: &mut [u8]);
}

impl Cell for i16 {
    const SILENCE: Self = 0;
    const FRAME_LEN: usize = 4;

    fn interleave(left: &[Self], right: &[Self], out: &mut [u8]) {
        for ((left, right), out) in left.iter().zip(right).zip(out.as_chunks_mut::<4>().0) {
            let ([a, b], [c, d]) = (left.to_le_bytes(), right.to_le_bytes());
            *out = [a, b, c, d];
        }
    }
}

/// An A-law code.
impl Cell for u8 {
    const SILENCE: Self = codec::silence_byte(Codec::Pcma);
    const FRAME_LEN: usize = 2;

    fn interleave(left: &[Self], right: &[Self], out: &mut [u8]) {
        for ((left, right), out) in left.iter().zip(right).zip(out.as_chunks_mut::<2>().0) {
            *out = [*left, *right];
        }
    }
}

/// A ring of stereo frames that moves along with the recording.
#[derive(Debug)]
pub struct Window<T> {
    channels: [Box<[T]>; 2],
    /// First frame kept.
    base: u64,
    /// Frames below it have been handed out.
    stored: u64,
    /// First handed-out frame that changed since.
    dirty: Option<u64>,
    lost: u64,
}

impl<T: Cell> Default for Window<T> {
    fn default() -> Self {
        let channels = [(); 2].map(|()| vec![T::SILENCE; WINDOW_FRAMES].into_boxed_slice());
        Self { channels, base: 0, stored: 0, dirty: None, lost: 0 }
    }
}

impl<T: Cell> Window<T> {
    /// Writes samples of one channel (0 or 1) from frame `at` on. What lies before the window is
    /// cut off; the window moves on if they reach beyond it.
    pub fn write(&mut self, channel: usize, at: i64, samples: &[T]) {
        let end = at + samples.len() as i64;
        let Ok(end) = u64::try_from(end) else { return };
        self.reach(end);
        let skip = usize::try_from(self.base as i64 - at).unwrap_or(0);
        let Some(samples) = samples.get(skip..).filter(|samples| !samples.is_empty()) else {
            return;
        };
        let from = end - samples.len() as u64;
        let (first, second) = runs(from, samples.len());
        let (before, after) = samples.split_at(first.len());
        let ring = &mut self.channels[channel & 1];
        ring[first].copy_from_slice(before);
        ring[second].copy_from_slice(after);
        if from < self.stored {
            self.dirty = Some(self.dirty.map_or(from, |dirty| dirty.min(from)));
        }
    }

    /// Moves the samples of one channel in `range` to `by` frames earlier and leaves silence. Those
    /// which then lie outside of `kept`, in `pause` or before the window, are gone.
    pub fn move_back(&mut self, channel: usize, range: Range<i64>, by: i64, (kept, pause): (Range<i64>, Range<i64>)) {
        let (base, end) = (self.base as i64, (self.base + WINDOW_FRAMES as u64) as i64);
        let (from, to) = (range.start.max(base), range.end.min(end));
        if by <= 0 || from >= to {
            return;
        }
        let ring = &mut self.channels[channel & 1];
        let index = |at: i64| at as usize % WINDOW_FRAMES;
        for at in from..to {
            let sample = std::mem::replace(&mut ring[index(at)], T::SILENCE);
            let target = at - by;
            if target >= base && kept.contains(&target) && !pause.contains(&target) {
                ring[index(target)] = sample;
            }
        }
        let changed = (from - by).max(base) as u64;
        if changed < self.stored {
            self.dirty = Some(self.dirty.map_or(changed, |dirty| dirty.min(changed)));
        }
    }

    /// Moves the window on until it holds the frames below `end`. Frames that leave it without
    /// having been handed out are lost.
    fn reach(&mut self, end: u64) {
        let base = end.saturating_sub(WINDOW_FRAMES as u64);
        if base <= self.base {
            return;
        }
        let moved = usize::try_from(base - self.base).unwrap_or(usize::MAX);
        for run in <[Range<usize>; 2]>::from(runs(self.base, moved)) {
            for ring in &mut self.channels {
                ring[run.clone()].fill(T::SILENCE);
            }
        }
        self.base = base;
        if self.stored < base {
            self.lost += base - self.stored;
            self.stored = base;
        }
        self.dirty = self.dirty.map(|dirty| dirty.max(base)).filter(|dirty| *dirty < self.stored);
    }

    /// Frames below `target` not handed out yet, changed ones included.
    #[must_use]
    pub fn pending(&self, target: u64) -> u64 {
        target.saturating_sub(self.dirty.unwrap_or(self.stored))
    }

    /// Moves frames below `target` into a block. Returns the first one's number, or `None` if there
    /// is nothing to hand out.
    pub fn hand_out(&mut self, target: u64, block: &mut Block) -> Option<u64> {
        let from = self.dirty.unwrap_or(self.stored);
        let space = block.space();
        let fits = space.len() / T::FRAME_LEN;
        let count = usize::try_from(target.saturating_sub(from)).unwrap_or(usize::MAX).min(fits);
        if count == 0 {
            return None;
        }
        self.copy(from, count, space);
        block.set_len(count * T::FRAME_LEN);
        self.mark(from + count as u64);
        Some(from)
    }

    /// Everything below `target` as bytes, for the end of a recording.
    #[must_use]
    pub fn take_rest(&mut self, target: u64) -> (u64, Vec<u8>) {
        // Beyond the window there is only silence; it is left to the file's length.
        let target = target.min(self.base + WINDOW_FRAMES as u64);
        let from = self.dirty.unwrap_or(self.stored);
        let count = target.saturating_sub(from) as usize;
        let mut bytes = vec![0; count * T::FRAME_LEN];
        self.copy(from, count, &mut bytes);
        self.mark(from + count as u64);
        (from, bytes)
    }

    fn copy(&self, from: u64, count: usize, out: &mut [u8]) {
        let end = self.base + WINDOW_FRAMES as u64;
        let held = usize::try_from(end.saturating_sub(from)).unwrap_or(usize::MAX).min(count);
        let (first, second) = runs(from, held);
        let (before, rest) = out[..count * T::FRAME_LEN].split_at_mut(first.len() * T::FRAME_LEN);
        let (after, beyond) = rest.split_at_mut(second.len() * T::FRAME_LEN);
        let [left, right] = &self.channels;
        T::interleave(&left[first.clone()], &right[first], before);
        T::interleave(&left[second.clone()], &right[second], after);
        for frame in beyond.chunks_exact_mut(T::FRAME_LEN) {
            T::interleave(&[T::SILENCE], &[T::SILENCE], frame);
        }
    }

    fn mark(&mut self, to: u64) {
        self.dirty = self.dirty.map(|_| to).filter(|to| *to < self.stored);
        self.stored = self.stored.max(to);
    }

    /// Frames lost since the last call.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }
}

/// Where `count` frames from `from` on lie in the ring: at most two runs, since a ring holds no more.
fn runs(from: u64, count: usize) -> (Range<usize>, Range<usize>) {
    let start = from as usize % WINDOW_FRAMES;
    let count = count.min(WINDOW_FRAMES);
    let end = (start + count).min(WINDOW_FRAMES);
    (start..end, 0..start + count - end)
}

#[cfg(test)]
mod tests {
    use super::super::BlockPool;
    use super::*;
    use crate::limits::BLOCK_LEN;

    const BLOCK_FRAMES: usize = BLOCK_LEN / 4;

    fn frames(bytes: &[u8]) -> Vec<[i16; 2]> {
        bytes.chunks_exact(4).map(|b| [i16::from_le_bytes([b[0], b[1]]), i16::from_le_bytes([b[2], b[3]])]).collect()
    }

    #[test]
    fn late_audio_is_handed_out_again_from_its_place() {
        let pool = BlockPool::new(1);
        let mut window = Window::<i16>::default();
        let mut block = pool.take().unwrap();
        window.write(0, 0, &[1; 160]);
        window.write(0, 320, &[3; 160]);
        assert_eq!(window.hand_out(480, &mut block), Some(0));
        assert_eq!(frames(block.bytes())[200], [0, 0]);
        assert_eq!(window.pending(480), 0);
        window.write(1, 160, &[2; 160]);
        assert_eq!(window.pending(480), 320);
        assert_eq!(window.hand_out(480, &mut block), Some(160));
        let handed = frames(block.bytes());
        assert_eq!((handed.len(), handed[0], handed[160]), (320, [0, 2], [3, 0]));
        assert_eq!(window.hand_out(480, &mut block), None);
    }

    #[test]
    fn audio_before_the_start_is_cut_and_a_full_window_loses_the_oldest() {
        let mut window = Window::<i16>::default();
        window.write(0, -100, &[5; 160]);
        let (from, bytes) = window.take_rest(60);
        assert_eq!((from, bytes.len()), (0, 240));
        assert!(frames(&bytes).iter().all(|frame| *frame == [5, 0]));
        window.write(0, WINDOW_FRAMES as i64, &[7; 160]);
        assert_eq!(window.take_lost(), 100, "60 of the first 160 frames were handed out");
        window.write(0, 0, &[9; 50]);
        assert_eq!(window.pending(WINDOW_FRAMES as u64 + 160), WINDOW_FRAMES as u64, "too old changes nothing");
    }

    #[test]
    fn long_silence_is_handed_out_as_zeros() {
        let pool = BlockPool::new(1);
        let mut window = Window::<i16>::default();
        window.write(0, 0, &[5; 160]);
        let target = WINDOW_FRAMES as u64 * 3;
        let mut next = 0;
        while window.pending(target) > 0 {
            let mut block = pool.take().unwrap();
            assert_eq!(window.hand_out(target, &mut block), Some(next));
            next += block.bytes().len() as u64 / 4;
        }
        assert_eq!((next, window.take_lost()), (target, 0));
    }

    #[test]
    fn an_alaw_window_is_silent_where_nothing_was_written() {
        let mut window = Window::<u8>::default();
        window.write(1, 2, &[1, 2, 3]);
        assert_eq!(window.take_rest(5), (0, vec![0xD5, 0xD5, 0xD5, 0xD5, 0xD5, 1, 0xD5, 2, 0xD5, 3]));
        window.write(0, WINDOW_FRAMES as i64 * 2, &[7]);
        assert_eq!(window.take_lost(), WINDOW_FRAMES as u64 - 4);
        let pool = BlockPool::new(1);
        let mut block = pool.take().unwrap();
        let from = window.hand_out(u64::MAX, &mut block);
        assert_eq!((from, block.bytes().len()), (Some(WINDOW_FRAMES as u64 + 1), BLOCK_LEN));
        assert!(block.bytes().iter().all(|code| *code == 0xD5));
    }

    #[test]
    fn what_moves_back_leaves_silence_and_is_handed_out_again() {
        let pool = BlockPool::new(1);
        let mut block = pool.take().unwrap();
        let mut window = Window::<i16>::default();
        window.write(1, 0, &[4; 500]);
        window.write(0, 300, &[1; 100]);
        window.write(0, 400, &[2; 100]);
        assert_eq!(window.hand_out(500, &mut block), Some(0));
        window.move_back(0, 300..500, 150, (160..i64::MAX, 0..0));
        assert_eq!(window.hand_out(500, &mut block), Some(150));
        let handed: Vec<i16> = frames(block.bytes()).iter().map(|frame| frame[0]).collect();
        let expected = [vec![0; 10], vec![1; 90], vec![2; 100], vec![0; 150]].concat();
        assert_eq!(handed, expected, "the other channel and what is kept out stay");
        assert!(frames(block.bytes()).iter().all(|frame| frame[1] == 4));
        window.move_back(0, 0..500, 8_000, (i64::MIN..i64::MAX, 0..0));
        assert_eq!(window.hand_out(500, &mut block), Some(0));
        assert!(frames(block.bytes()).iter().all(|frame| frame[0] == 0), "moved to before the start");
    }

    /// The same window frame by frame: a map instead of a ring, nothing copied in runs.
    #[derive(Default)]
    struct Simple {
        frames: std::collections::BTreeMap<u64, [i16; 2]>,
        base: u64,
        stored: u64,
        dirty: Option<u64>,
    }

    impl Simple {
        fn write(&mut self, channel: usize, at: i64, samples: &[i16]) {
            let end = at + samples.len() as i64;
            if end < 0 {
                return;
            }
            self.base = self.base.max((end as u64).saturating_sub(WINDOW_FRAMES as u64));
            self.frames = self.frames.split_off(&self.base);
            self.stored = self.stored.max(self.base);
            self.dirty = self.dirty.map(|dirty| dirty.max(self.base)).filter(|dirty| *dirty < self.stored);
            for (at, &sample) in (at..).zip(samples).filter(|(at, _)| *at >= self.base as i64) {
                self.frames.entry(at as u64).or_default()[channel] = sample;
                if (at as u64) < self.stored {
                    self.dirty = Some(self.dirty.map_or(at as u64, |dirty| dirty.min(at as u64)));
                }
            }
        }

        fn hand_out(&mut self, target: u64) -> Option<(u64, Vec<[i16; 2]>)> {
            let from = self.dirty.unwrap_or(self.stored);
            let to = target.min(from + BLOCK_FRAMES as u64);
            if to <= from {
                return None;
            }
            self.dirty = self.dirty.map(|_| to).filter(|to| *to < self.stored);
            self.stored = self.stored.max(to);
            Some((from, (from..to).map(|at| self.frames.get(&at).copied().unwrap_or_default()).collect()))
        }
    }

    #[test]
    fn copying_in_runs_and_frame_by_frame_come_to_the_same() {
        let pool = BlockPool::new(1);
        let mut block = pool.take().unwrap();
        let mut seed = 7u64;
        let mut below = |end: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % end
        };
        for _ in 0..8 {
            let (mut window, mut simple) = (Window::<i16>::default(), Simple::default());
            let mut now = 0u64;
            for step in 0..400 {
                now += [0, 160, 160, 160, 700, 9_000, 30_000][below(7) as usize];
                let at = now as i64 - below(3_000) as i64 + below(300) as i64;
                let samples: Vec<i16> = (0..below(400)).map(|_| below(60_000) as i16 | 1).collect();
                let channel = below(2) as usize;
                window.write(channel, at, &samples);
                simple.write(channel, at, &samples);
                if step % 3 == 0 {
                    let target = now.saturating_sub(below(900));
                    let expected = simple.hand_out(target);
                    let handed = window.hand_out(target, &mut block).map(|from| (from, frames(block.bytes())));
                    assert_eq!(handed, expected, "step {step}, target {target}");
                }
            }
            let (from, rest) = window.take_rest(now);
            let mut expected = Vec::new();
            let start = simple.dirty.unwrap_or(simple.stored);
            while let Some((_, more)) = simple.hand_out(now.min(simple.base + WINDOW_FRAMES as u64)) {
                expected.extend(more);
            }
            assert_eq!((from, frames(&rest)), (start, expected));
        }
    }
}

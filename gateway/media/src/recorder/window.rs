//! The last 1.28 s of a recording: late packets still find their place, and audio waits here while
//! the writer is busy.

use super::Block;
use crate::limits::{BLOCK_FRAMES, WINDOW_FRAMES};

/// A ring of stereo frames that moves along with the recording.
#[derive(Debug)]
pub struct Window {
    frames: Box<[[i16; 2]]>,
    /// First frame kept.
    base: u64,
    /// Frames below it have been handed out.
    stored: u64,
    /// First handed-out frame that changed since.
    dirty: Option<u64>,
    lost: u64,
}

impl Default for Window {
    fn default() -> Self {
        let frames = vec![[0; 2]; WINDOW_FRAMES].into_boxed_slice();
        Self { frames, base: 0, stored: 0, dirty: None, lost: 0 }
    }
}

impl Window {
    /// Writes samples of one channel (0 or 1) from frame `at` on. What lies before the window is
    /// cut off; the window moves on if they reach beyond it.
    pub fn write(&mut self, channel: usize, at: i64, samples: &[i16]) {
        let end = at + samples.len() as i64;
        let Ok(end) = u64::try_from(end) else { return };
        self.reach(end);
        let skip = usize::try_from(self.base as i64 - at).unwrap_or(0);
        let Some(samples) = samples.get(skip..).filter(|samples| !samples.is_empty()) else {
            return;
        };
        let from = end - samples.len() as u64;
        for (frame, &sample) in (from..end).zip(samples) {
            self.frames[frame as usize % WINDOW_FRAMES][channel & 1] = sample;
        }
        if from < self.stored {
            self.dirty = Some(self.dirty.map_or(from, |dirty| dirty.min(from)));
        }
    }

    /// Moves the window on until it holds the frames below `end`. Frames that leave it without
    /// having been handed out are lost.
    fn reach(&mut self, end: u64) {
        let base = end.saturating_sub(WINDOW_FRAMES as u64);
        if base <= self.base {
            return;
        }
        if base - self.base >= WINDOW_FRAMES as u64 {
            self.frames.fill([0; 2]);
        } else {
            for frame in self.base..base {
                self.frames[frame as usize % WINDOW_FRAMES] = [0; 2];
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
        let count = usize::try_from(target.saturating_sub(from)).unwrap_or(usize::MAX).min(BLOCK_FRAMES);
        if count == 0 {
            return None;
        }
        self.copy(from, count, block.space());
        block.set_len(count * 4);
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
        let mut bytes = vec![0; count * 4];
        self.copy(from, count, &mut bytes);
        self.mark(from + count as u64);
        (from, bytes)
    }

    fn copy(&self, from: u64, count: usize, out: &mut [u8]) {
        let end = self.base + WINDOW_FRAMES as u64;
        for (frame, out) in (from..from + count as u64).zip(out.chunks_exact_mut(4)) {
            let [left, right] = if frame < end { self.frames[frame as usize % WINDOW_FRAMES] } else { [0; 2] };
            out[..2].copy_from_slice(&left.to_le_bytes());
            out[2..].copy_from_slice(&right.to_le_bytes());
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

#[cfg(test)]
mod tests {
    use super::super::BlockPool;
    use super::*;

    fn frames(bytes: &[u8]) -> Vec<[i16; 2]> {
        bytes.chunks_exact(4).map(|b| [i16::from_le_bytes([b[0], b[1]]), i16::from_le_bytes([b[2], b[3]])]).collect()
    }

    #[test]
    fn late_audio_is_handed_out_again_from_its_place() {
        let pool = BlockPool::new(1);
        let mut window = Window::default();
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
        let mut window = Window::default();
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
        let mut window = Window::default();
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
}

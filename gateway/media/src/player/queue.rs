//! The queue of clips that plays on one leg.

use std::sync::Arc;

use super::Clip;
use crate::limits::{FRAME_SAMPLES, PLAY_CLIPS_MAX};

/// What plays on a leg.
#[derive(Clone, Debug)]
pub struct Player {
    /// The caller's id, reported at the end.
    pub play_id: u64,
    clips: Vec<Arc<Clip>>,
    repeat: bool,
    clip: usize,
    sample: usize,
}

impl Player {
    /// Starts at the first clip. More than `PLAY_CLIPS_MAX` clips are cut off; repeating nothing
    /// is not repeated.
    #[must_use]
    pub fn new(play_id: u64, mut clips: Vec<Arc<Clip>>, repeat: bool) -> Self {
        clips.truncate(PLAY_CLIPS_MAX);
        clips.retain(|clip| !clip.samples().is_empty());
        let repeat = repeat && !clips.is_empty();
        Self { play_id, clips, repeat, clip: 0, sample: 0 }
    }

    /// Nothing is left to play.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.clip >= self.clips.len()
    }

    /// Fills the next 20 ms, across clip borders; the end of the last clip is padded with silence.
    /// Returns false, leaving `out` alone, when nothing was left.
    pub fn next_frame(&mut self, out: &mut [i16; FRAME_SAMPLES]) -> bool {
        if self.is_done() {
            return false;
        }
        let mut filled = 0;
        while filled < FRAME_SAMPLES {
            let Some(clip) = self.clips.get(self.clip) else {
                out[filled..].fill(0);
                break;
            };
            let rest = &clip.samples()[self.sample..];
            let count = rest.len().min(FRAME_SAMPLES - filled);
            out[filled..filled + count].copy_from_slice(&rest[..count]);
            filled += count;
            self.sample += count;
            if self.sample == clip.samples().len() {
                self.sample = 0;
                self.clip += 1;
                if self.repeat && self.clip == self.clips.len() {
                    self.clip = 0;
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(samples: Vec<i16>) -> Arc<Clip> {
        Arc::new(Clip::from_samples(samples))
    }

    #[test]
    fn clips_join_without_a_gap_and_the_end_is_padded() {
        let mut player = Player::new(1, vec![clip(vec![1; 100]), clip(vec![]), clip(vec![2; 100])], false);
        let mut frame = [9; FRAME_SAMPLES];
        assert!(player.next_frame(&mut frame));
        assert_eq!((frame[99], frame[100], frame[159]), (1, 2, 2));
        assert!(player.next_frame(&mut frame));
        assert_eq!((frame[39], frame[40], frame[159]), (2, 0, 0));
        assert!(player.is_done());
        assert!(!player.next_frame(&mut frame));
    }

    #[test]
    fn repeat_goes_on_and_repeating_nothing_ends() {
        let mut player = Player::new(1, vec![clip(vec![3; 50])], true);
        let mut frame = [0; FRAME_SAMPLES];
        for _ in 0..100 {
            assert!(player.next_frame(&mut frame));
            assert!(frame.iter().all(|&sample| sample == 3));
        }
        assert!(Player::new(1, vec![], true).is_done());
        assert!(Player::new(1, vec![clip(vec![])], true).is_done());
    }
}

//! Packet-loss concealment in the manner of ITU-T G.711 Appendix I: the last pitch periods go on,
//! quieter and quieter, and real audio fades back in over them. Unlike there nothing is delayed:
//! what was played stays, and the first made-up sample is bent to follow on it.

mod pitch;

pub(crate) use pitch::likeness;

use crate::limits::{CONCEAL_FULL_MS, CONCEAL_MS_MAX, CONCEAL_PITCH_MAX, SAMPLES_PER_MS};
use pitch::Cycle;

/// What is remembered: three of the longest periods and a quarter for the overlap.
const HISTORY: usize = CONCEAL_PITCH_MAX * 13 / 4;
/// After each of these a longer piece is repeated, so that a long loss doesn't buzz.
const STEP_SAMPLES: usize = 10 * SAMPLES_PER_MS as usize;
/// Real audio fades in over this at most.
const MERGE_MAX: usize = 10 * SAMPLES_PER_MS as usize;
/// Each step of loss lengthens the fade by this.
const MERGE_STEP: usize = 4 * SAMPLES_PER_MS as usize;
/// Full level until here.
const FULL: usize = (CONCEAL_FULL_MS * SAMPLES_PER_MS) as usize;
/// Silence from here on.
const END: usize = (CONCEAL_MS_MAX * SAMPLES_PER_MS) as usize;

/// Concealment of one stream at 8 kHz.
#[derive(Clone, Debug)]
pub struct Concealer {
    /// What was played last, made-up audio too.
    history: [i16; HISTORY],
    loss: Option<Loss>,
}

/// A loss under way.
#[derive(Clone, Debug)]
struct Loss {
    cycle: Cycle,
    /// The shorter piece that is fading out, with the samples left of its fade.
    fading: Option<(Cycle, usize)>,
    /// Samples made so far.
    made: usize,
    /// The step between what was played and the first made-up sample, taken back over `bend_len`.
    bend: f32,
    bend_len: usize,
}

impl Default for Concealer {
    fn default() -> Self {
        Self { history: [0; HISTORY], loss: None }
    }
}

impl Concealer {
    /// Notes what is played; `conceal` does it by itself.
    pub fn remember(&mut self, played: &[i16]) {
        let count = played.len().min(HISTORY);
        self.history.copy_within(count.., 0);
        self.history[HISTORY - count..].copy_from_slice(&played[played.len() - count..]);
    }

    /// Makes up the next samples. False once the loss has lasted so long that they are silence.
    pub fn conceal(&mut self, out: &mut [i16]) -> bool {
        let history = &self.history;
        let loss = self.loss.get_or_insert_with(|| Loss::begin(history));
        let is_heard = loss.made < END;
        loss.fill(out);
        self.remember(out);
        is_heard
    }

    /// What comes next doesn't follow on what was played: `merge` will hide the seam.
    pub fn cut(&mut self) {
        self.conceal(&mut []);
    }

    /// Fades the first real audio after a loss in over what was made up. Does nothing without one.
    pub fn merge(&mut self, audio: &mut [i16]) {
        let Some(mut loss) = self.loss.take() else {
            return;
        };
        let steps = loss.made.div_ceil(STEP_SAMPLES).max(1) - 1;
        let overlap = (loss.cycle.period / 4 + steps * MERGE_STEP).min(MERGE_MAX).min(audio.len());
        let mut made_up = [0; MERGE_MAX];
        let made_up = &mut made_up[..overlap];
        loss.fill(made_up);
        crossfade(made_up, audio);
    }
}

impl Loss {
    fn begin(history: &[i16; HISTORY]) -> Self {
        let period = pitch::period(history);
        let cycle = Cycle::new(history, period, 1);
        // The sample one period before the first made-up one, against the one that was played there.
        let bend = f32::from(history[HISTORY - 1]) - f32::from(history[HISTORY - 1 - period]);
        Self { cycle, fading: None, made: 0, bend, bend_len: period / 4 }
    }

    fn fill(&mut self, out: &mut [i16]) {
        for sample in out {
            if self.made >= END {
                *sample = 0;
                continue;
            }
            if self.made > 0 && self.made.is_multiple_of(STEP_SAMPLES) && self.cycle.periods < 3 {
                let longer = self.cycle.lengthened();
                let fade = longer.period / 4;
                self.fading = Some((std::mem::replace(&mut self.cycle, longer), fade));
            }
            let mut value = f32::from(self.cycle.next());
            if let Some((old, left)) = &mut self.fading {
                let weight = *left as f32 / (self.cycle.period / 4) as f32;
                value += (f32::from(old.next()) - value) * weight;
                *left -= 1;
                if *left == 0 {
                    self.fading = None;
                }
            }
            if self.made < self.bend_len {
                value += self.bend * (1.0 - (self.made + 1) as f32 / (self.bend_len + 1) as f32);
            }
            let level = 1.0 - self.made.saturating_sub(FULL) as f32 / (END - FULL) as f32;
            *sample = (value * level).clamp(f32::from(i16::MIN), f32::from(i16::MAX)) as i16;
            self.made += 1;
        }
    }
}

/// `to` begins as `from` and ends as itself; as long as `from` is.
pub(crate) fn crossfade(from: &[i16], to: &mut [i16]) {
    let len = from.len() as f32 + 1.0;
    for (index, (from, to)) in from.iter().zip(to).enumerate() {
        let (old, new) = (f32::from(*from), f32::from(*to));
        *to = (old + (new - old) * (index + 1) as f32 / len) as i16;
    }
}

#[cfg(test)]
mod tests;

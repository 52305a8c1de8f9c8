//! Packs stretches of speech into windows an engine hears at once.

use crate::audio::{Channel, ENGINE_RATE_HZ, Resampler};
use crate::limits;
use crate::vad::Span;

/// One stretch of speech inside a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Where it begins in the window, ms.
    pub at_ms: u64,
    /// Where it lies in the recording.
    pub span: Span,
}

/// 16 kHz speech of at most [`limits::WINDOW_MS_MAX`], silence taken out.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// Samples at 16 kHz, −1 to 1.
    pub samples: Vec<f32>,
    /// What it consists of, in time order, never empty.
    pub pieces: Vec<Piece>,
}

impl Window {
    /// Cuts `spans` out of `channel` and joins them.
    #[must_use]
    pub fn cut(channel: &Channel, spans: &[Span]) -> Self {
        let (mut samples, mut pieces) = (Vec::new(), Vec::new());
        let index = |ms: u64| {
            let at = ms.saturating_mul(channel.rate_hz.into()) / 1_000;
            usize::try_from(at).unwrap_or(usize::MAX).min(channel.samples.len())
        };
        for span in spans {
            if !samples.is_empty() {
                samples.resize(samples.len() + ms_to_samples(limits::PIECE_GAP_MS), 0.0);
            }
            pieces.push(Piece { at_ms: samples_to_ms(samples.len()), span: *span });
            let (from, to) = (index(span.t0_ms), index(span.t1_ms));
            samples.extend(Resampler::whole(channel.rate_hz, channel.samples.get(from..to).unwrap_or(&[])));
        }
        Self { samples, pieces }
    }

    /// Length, ms.
    #[must_use]
    pub fn len_ms(&self) -> u64 {
        samples_to_ms(self.samples.len())
    }

    /// Window times to recording times. Times in a gap move to the nearest
    /// speech; the end is never before the beginning.
    #[must_use]
    pub fn to_recording(&self, t0_ms: u64, t1_ms: u64) -> (u64, u64) {
        let begin = self
            .pieces
            .iter()
            .find(|p| t0_ms < p.at_ms + p.span.len_ms())
            .or(self.pieces.last())
            .map_or(t0_ms, |p| (p.span.t0_ms + t0_ms.saturating_sub(p.at_ms)).min(p.span.t1_ms));
        let end = self
            .pieces
            .iter()
            .rev()
            .find(|p| t1_ms > p.at_ms)
            .or(self.pieces.first())
            .map_or(t1_ms, |p| (p.span.t0_ms + t1_ms.saturating_sub(p.at_ms)).min(p.span.t1_ms));
        (begin, end.max(begin))
    }
}

fn ms_to_samples(ms: u64) -> usize {
    usize::try_from(ms * u64::from(ENGINE_RATE_HZ) / 1_000).unwrap_or(usize::MAX)
}

fn samples_to_ms(samples: usize) -> u64 {
    samples as u64 * 1_000 / u64::from(ENGINE_RATE_HZ)
}

/// Which stretches share a window: as many as fit, long ones cut where they
/// are quietest.
#[must_use]
pub fn plan(channel: &Channel, spans: &[Span]) -> Vec<Vec<Span>> {
    let mut windows: Vec<Vec<Span>> = Vec::new();
    let mut used_ms = 0;
    for span in spans.iter().flat_map(|s| split(channel, *s)) {
        let with_gap = used_ms + limits::PIECE_GAP_MS + span.len_ms();
        match windows.last_mut() {
            Some(window) if with_gap <= limits::WINDOW_MS_MAX => {
                window.push(span);
                used_ms = with_gap;
            }
            _ => {
                windows.push(vec![span]);
                used_ms = span.len_ms();
            }
        }
    }
    windows
}

fn split(channel: &Channel, mut span: Span) -> Vec<Span> {
    let mut out = Vec::new();
    while span.len_ms() > limits::WINDOW_MS_MAX {
        let cut = quietest(channel, span.t0_ms + limits::WINDOW_MS_MIN, span.t0_ms + limits::WINDOW_MS_MAX);
        out.push(Span { t0_ms: span.t0_ms, t1_ms: cut });
        span.t0_ms = cut;
    }
    out.push(span);
    out
}

/// Middle of the quietest 100 ms between two times.
fn quietest(channel: &Channel, from_ms: u64, to_ms: u64) -> u64 {
    const LOOK_MS: u64 = 100;
    let energy = |ms: u64| -> u64 {
        let at = |ms: u64| usize::try_from(ms * u64::from(channel.rate_hz) / 1_000).unwrap_or(usize::MAX);
        let part = channel.samples.get(at(ms)..at(ms + LOOK_MS).min(channel.samples.len()));
        part.unwrap_or(&[]).iter().map(|s| u64::from(s.unsigned_abs())).sum()
    };
    (from_ms..to_ms.saturating_sub(LOOK_MS))
        .step_by(50)
        .min_by_key(|ms| energy(*ms))
        .map_or(to_ms, |ms| ms + LOOK_MS / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(ms: usize) -> Channel {
        Channel { rate_hz: 8_000, samples: vec![1_000; ms * 8], truncated: false }
    }

    fn span(t0_ms: u64, t1_ms: u64) -> Span {
        Span { t0_ms, t1_ms }
    }

    #[test]
    fn short_pieces_share_a_window_and_a_new_one_begins_when_it_is_full() {
        let spans: Vec<Span> = (0..8).map(|i| span(i * 10_000, i * 10_000 + 9_000)).collect();
        let windows = plan(&channel(80_000), &spans);
        assert_eq!(windows.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 2]);
        for w in &windows {
            assert!(Window::cut(&channel(80_000), w).len_ms() <= limits::WINDOW_MS_MAX);
        }
    }

    #[test]
    fn long_speech_is_cut_where_it_is_quietest() {
        let mut long = channel(60_000);
        long.samples[24_000 * 8..24_200 * 8].fill(0);
        let windows = plan(&long, &[span(0, 60_000)]);
        assert!(windows[0][0].t1_ms.abs_diff(24_100) <= 60, "{windows:?}");
        assert!(windows.iter().flatten().all(|s| s.len_ms() <= limits::WINDOW_MS_MAX));
        let joined: Vec<Span> = windows.into_iter().flatten().collect();
        assert!(joined.windows(2).all(|w| w[0].t1_ms == w[1].t0_ms));
        assert_eq!(joined.last().unwrap().t1_ms, 60_000);
    }

    #[test]
    fn window_times_become_recording_times() {
        let w = Window::cut(&channel(60_000), &[span(5_000, 7_000), span(50_000, 51_000)]);
        assert_eq!(w.pieces[1].at_ms, 2_300);
        assert_eq!(w.len_ms(), 3_300);
        assert_eq!(w.to_recording(0, 1_000), (5_000, 6_000));
        assert_eq!(w.to_recording(500, 2_800), (5_500, 50_500));
        // In the gap and beyond the end.
        assert_eq!(w.to_recording(2_100, 2_200), (50_000, 50_000));
        assert_eq!(w.to_recording(9_000, 99_000), (51_000, 51_000));
    }

    #[test]
    fn spans_outside_the_audio_give_silence_not_a_panic() {
        let w = Window::cut(&channel(1_000), &[span(5_000, 9_000)]);
        assert!(w.samples.is_empty());
        let _ = plan(&channel(10), &[span(0, 500_000)]);
    }
}

//! Recognises a known piece of speech in what a telephone heard.
//!
//! A prompt counts as heard when its own waveform is found, whole, in the audio received:
//! first its beginning is looked for, then each piece of 200 ms near where it must be.

use std::path::Path;

use hotline_tests::rtp::RtpStream;
use hotline_tests::tone::{RATE_HZ, sound_ms};
use hotline_tests::wav::Wav;
use hotline_tests::{Error, Result, until};

/// Samples of the beginning that is looked for: 300 ms.
const HEAD: usize = 2_400;
/// Samples of a piece: 200 ms.
const PIECE: usize = 1_600;
/// A piece may be so far from its place (packets late, jitter buffers): 40 ms.
const SLACK: usize = 320;
/// Correlation from which a piece is the same; G.711 alone leaves more than 0.95.
const ALIKE: f32 = 0.7;
/// Share of the pieces that must be found.
const SHARE_MIN: f64 = 0.7;
/// Mean square below which a window is silence.
const SILENCE: f32 = 1_000.0;

/// A piece of speech, without the silence around it.
pub(crate) struct Speech {
    name: String,
    samples: Vec<f32>,
}

/// Where it was found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    end: usize,
    /// Share of its pieces that were recognised, 0–1.
    pub(crate) share: f64,
    /// Sound in it, milliseconds.
    pub(crate) sound_ms: u64,
}

impl Found {
    /// For a step's detail.
    pub(crate) fn percent(&self) -> u32 {
        (self.share * 100.0).round() as u32
    }
}

impl Speech {
    pub(crate) fn new(name: &str, pcm: &[i16]) -> Result<Self> {
        let loud = |window: &[i16]| power(&floats(window)) > SILENCE;
        let windows = || pcm.chunks_exact(PIECE / 10);
        let first = windows().position(loud);
        let last = windows().rposition(loud);
        let (Some(first), Some(last)) = (first, last) else {
            return Err(audio(name, "is silent"));
        };
        let samples = floats(&pcm[first * PIECE / 10..(last + 1) * PIECE / 10]);
        if samples.len() < HEAD {
            Err(audio(name, "is shorter than 300 ms"))
        } else {
            Ok(Self { name: name.into(), samples })
        }
    }

    /// One of the gateway's prompts.
    pub(crate) fn prompt(id: &str) -> Result<Self> {
        let path = hotline_tests::repo_root().join("sounds/zh-CN").join(format!("{id}.wav"));
        Self::read(&path, id)
    }

    fn read(path: &Path, name: &str) -> Result<Self> {
        let wav = Wav::read(path)?;
        if wav.rate_hz == RATE_HZ { Self::new(name, wav.channel(0)) } else { Err(audio(name, "is not at 8 kHz")) }
    }

    /// Looks for it in a whole recording.
    pub(crate) fn find_in(&self, pcm: &[i16]) -> Option<Found> {
        Search { speech: self, at: 0 }.go_on(pcm)
    }
}

/// One end of a call, listening in order: each search begins where the last one ended.
pub(crate) struct Ear {
    rtp: RtpStream,
    from: usize,
}

impl Ear {
    pub(crate) fn new(rtp: &RtpStream) -> Self {
        Self { rtp: rtp.clone(), from: 0 }
    }

    /// Waits until `speech` was heard to its end.
    ///
    /// # Errors
    /// [`Error::Timeout`] that says what was heard instead.
    pub(crate) async fn hear(&mut self, speech: &Speech, timeout_ms: u64) -> Result<Found> {
        let mut search = Search { speech, at: self.from };
        let rtp = &self.rtp;
        let found = until("", timeout_ms, || {
            let found = search.go_on(&rtp.heard().pcm());
            async move { found }
        });
        match found.await {
            Ok(found) => {
                self.from = found.end;
                Ok(found)
            }
            Err(_) => {
                let pcm = rtp.heard().pcm();
                let rest = pcm.get(self.from..).unwrap_or_default();
                let what = format!(
                    "“{}” 未听到 / not heard; {} ms of audio came meanwhile, {} ms of it sound",
                    speech.name,
                    rest.len() / 8,
                    sound_ms(rest, RATE_HZ)
                );
                Err(Error::Timeout { what, after_ms: timeout_ms })
            }
        }
    }
}

struct Search<'a> {
    speech: &'a Speech,
    at: usize,
}

impl Search<'_> {
    /// Goes on with the samples that came meanwhile.
    fn go_on(&mut self, pcm: &[i16]) -> Option<Found> {
        let whole = &self.speech.samples;
        let heard = floats(pcm.get(self.at..)?);
        let (head, _) = whole.split_at(HEAD);
        let base = self.at;
        let mut lag = 0;
        while lag + HEAD <= heard.len() {
            let window = &heard[lag..lag + HEAD];
            if alike(head, window) >= ALIKE {
                if lag + whole.len() > heard.len() {
                    // The beginning is there; wait for the rest.
                    break;
                }
                let share = share_of(whole, &heard, lag);
                if share >= SHARE_MIN {
                    let (start, end) = (base + lag, base + lag + whole.len());
                    return Some(Found { end, share, sound_ms: sound_ms(&pcm[start..end], RATE_HZ) });
                }
            }
            lag += 1;
        }
        self.at = base + lag;
        None
    }
}

/// Share of the loud pieces of `whole` found near their places from `lag` on.
fn share_of(whole: &[f32], heard: &[f32], lag: usize) -> f64 {
    let (mut all, mut found, mut moved) = (0_u32, 0_u32, 0_isize);
    for (index, piece) in whole.chunks_exact(PIECE).enumerate() {
        if power(piece) < SILENCE {
            continue;
        }
        all += 1;
        let place = lag + index * PIECE;
        if let Some(by) = moved_by(piece, heard, place, moved) {
            found += 1;
            moved = by;
        }
    }
    if all == 0 { 0.0 } else { f64::from(found) / f64::from(all) }
}

/// How far from `place` the piece is; first where the one before was.
fn moved_by(piece: &[f32], heard: &[f32], place: usize, last: isize) -> Option<isize> {
    let slack = SLACK.cast_signed();
    std::iter::once(last).chain(-slack..=slack).find(|&by| {
        let window = place.checked_add_signed(by).and_then(|start| heard.get(start..start + PIECE));
        window.is_some_and(|window| alike(piece, window) >= ALIKE)
    })
}

/// Normalised correlation of two pieces of one length, −1 to 1; 0 where one is silent.
fn alike(a: &[f32], b: &[f32]) -> f32 {
    let (mut ab, mut aa, mut bb) = (0.0_f32, 0.0_f32, 0.0_f32);
    for (x, y) in a.iter().zip(b) {
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    if aa.min(bb) < SILENCE * a.len() as f32 { 0.0 } else { ab / (aa * bb).sqrt() }
}

fn power(samples: &[f32]) -> f32 {
    samples.iter().map(|s| s * s).sum::<f32>() / samples.len().max(1) as f32
}

fn floats(pcm: &[i16]) -> Vec<f32> {
    pcm.iter().copied().map(f32::from).collect()
}

fn audio(what: &str, detail: &str) -> Error {
    Error::Audio { what: what.into(), detail: detail.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Speech-like noise: a seeded random walk.
    fn noise(seed: u32, length: usize) -> Vec<i16> {
        let mut state = seed;
        let mut level = 0.0_f32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            level = 0.8 * level + ((state >> 16) as f32 - 32_768.0) / 16.0;
            level as i16
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn a_speech_is_found_where_it_is_and_another_is_not() {
        let pcm = noise(1, 16_000);
        let speech = Speech::new("one", &pcm).unwrap();
        let mut heard = vec![0_i16; 3_333];
        heard.extend(noise(2, 9_000));
        heard.extend(&pcm);
        let found = speech.find_in(&heard).unwrap();
        assert!(found.share > 0.99 && found.end.abs_diff(3_333 + 9_000 + 16_000) < 200, "{found:?}");
        assert!(Speech::new("two", &noise(3, 16_000)).unwrap().find_in(&heard).is_none());
    }

    #[test]
    fn a_speech_cut_in_half_is_not_heard() {
        let pcm = noise(1, 16_000);
        let speech = Speech::new("one", &pcm).unwrap();
        let mut heard = pcm[..8_000].to_vec();
        heard.extend(vec![0_i16; 16_000]);
        assert!(speech.find_in(&heard).is_none());
        assert!(Speech::new("none", &[0; 16_000]).is_err());
    }
}

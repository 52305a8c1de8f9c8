//! A prompt in memory, and the reading of its WAV file.

use std::path::Path;

use crate::limits::{CLIP_FILE_LEN_MAX, CLIP_SAMPLES_MAX, SAMPLE_RATE_HZ};

/// Audio in memory: 8 kHz, mono, 16-bit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clip {
    samples: Vec<i16>,
}

/// Why a file is no usable prompt; each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ClipError {
    /// The file can't be read.
    #[error("can't read the prompt: {0}")]
    Io(#[from] std::io::Error),
    /// The file is larger than `CLIP_FILE_LEN_MAX`, or longer than 10 minutes.
    #[error("prompt longer than 10 minutes: split it")]
    TooLong,
    /// No RIFF/WAVE file, or one without a `fmt ` or `data` chunk.
    #[error("not a WAV file ({0}): convert it with `sox IN -r 8000 -c 1 -b 16 OUT.wav`")]
    NotWav(&'static str),
    /// A WAV file in another encoding.
    #[error(
        "format {format}, {channels} channel(s), {rate_hz} Hz, {bits} bit; PCM mono 16 bit at 8000 or 16000 Hz is needed: convert it with `sox IN -r 8000 -c 1 -b 16 OUT.wav`"
    )]
    Format {
        /// WAVE format tag; 1 is PCM.
        format: u16,
        /// Channels.
        channels: u16,
        /// Sampling rate.
        rate_hz: u32,
        /// Bits per sample.
        bits: u16,
    },
}

impl Clip {
    /// Wraps samples; beyond 10 minutes they are cut off.
    #[must_use]
    pub fn from_samples(mut samples: Vec<i16>) -> Self {
        samples.truncate(CLIP_SAMPLES_MAX);
        Self { samples }
    }

    /// Reads a WAV file: PCM, mono, 16 bit, 8 or 16 kHz (halved here).
    ///
    /// # Errors
    /// See [`ClipError`].
    pub fn from_wav(path: &Path) -> Result<Self, ClipError> {
        if std::fs::metadata(path)?.len() > CLIP_FILE_LEN_MAX {
            return Err(ClipError::TooLong);
        }
        Self::from_wav_bytes(&std::fs::read(path)?)
    }

    /// Like [`Clip::from_wav`], from memory.
    ///
    /// # Errors
    /// See [`ClipError`].
    pub fn from_wav_bytes(bytes: &[u8]) -> Result<Self, ClipError> {
        let (rate_hz, data) = find_pcm(bytes)?;
        let mut samples: Vec<i16> = data.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
        if rate_hz == 2 * SAMPLE_RATE_HZ {
            samples = halve_rate(&samples);
        }
        if samples.len() > CLIP_SAMPLES_MAX {
            return Err(ClipError::TooLong);
        }
        Ok(Self { samples })
    }

    /// The samples.
    #[must_use]
    pub fn samples(&self) -> &[i16] {
        &self.samples
    }

    /// Length in milliseconds.
    #[must_use]
    pub fn duration_ms(&self) -> u64 {
        self.samples.len() as u64 * 1000 / u64::from(SAMPLE_RATE_HZ)
    }
}

/// Walks the chunks of a RIFF file to its PCM data.
fn find_pcm(bytes: &[u8]) -> Result<(u32, &[u8]), ClipError> {
    if bytes.len() < 12 || &bytes[..4] != b"RIFF" || &bytes[8..12] != b"WAVE" {
        return Err(ClipError::NotWav("no RIFF/WAVE header"));
    }
    let mut rest = &bytes[12..];
    let mut rate_hz = None;
    while let Some((head, body)) = rest.split_first_chunk::<8>() {
        let len = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        // A file cut short, or written to a pipe, has less data than its header says.
        let chunk = &body[..len.min(body.len())];
        match &head[..4] {
            b"fmt " => rate_hz = Some(check_format(chunk)?),
            b"data" => {
                let rate_hz = rate_hz.ok_or(ClipError::NotWav("data before format"))?;
                return Ok((rate_hz, chunk));
            }
            _ => {}
        }
        rest = body.get(len + (len & 1)..).unwrap_or_default();
    }
    Err(ClipError::NotWav("no data chunk"))
}

fn check_format(chunk: &[u8]) -> Result<u32, ClipError> {
    if chunk.len() < 16 {
        return Err(ClipError::NotWav("format chunk too short"));
    }
    let short = |at: usize| u16::from_le_bytes([chunk[at], chunk[at + 1]]);
    let (mut format, channels, bits) = (short(0), short(2), short(14));
    let rate_hz = u32::from_le_bytes([chunk[4], chunk[5], chunk[6], chunk[7]]);
    // WAVE_FORMAT_EXTENSIBLE carries the real tag in its sub-format.
    if format == 0xFFFE && chunk.len() >= 26 {
        format = short(24);
    }
    let rate_fits = rate_hz == SAMPLE_RATE_HZ || rate_hz == 2 * SAMPLE_RATE_HZ;
    if format == 1 && channels == 1 && bits == 16 && rate_fits {
        Ok(rate_hz)
    } else {
        Err(ClipError::Format { format, channels, rate_hz, bits })
    }
}

/// Half-band low-pass (windowed sinc), then every second sample.
fn halve_rate(samples: &[i16]) -> Vec<i16> {
    const REACH: isize = 15;
    let taps: Vec<f64> = (-REACH..=REACH)
        .map(|n| {
            let x = n as f64;
            let sinc = if n == 0 { 0.5 } else { (std::f64::consts::PI * x * 0.5).sin() / (std::f64::consts::PI * x) };
            let window = 0.54 + 0.46 * (std::f64::consts::PI * x / (REACH as f64 + 1.0)).cos();
            sinc * window
        })
        .collect();
    let sum: f64 = taps.iter().sum();
    (0..samples.len() / 2)
        .map(|index| {
            let center = index as isize * 2;
            let value: f64 = (-REACH..=REACH)
                .zip(&taps)
                .map(|(n, tap)| {
                    let at = usize::try_from(center + n).ok();
                    at.and_then(|at| samples.get(at)).map_or(0.0, |&s| f64::from(s)) * tap
                })
                .sum();
            (value / sum).clamp(f64::from(i16::MIN), f64::from(i16::MAX)) as i16
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tone;

    fn wav(rate_hz: u32, channels: u16, bits: u16, samples: &[i16]) -> Vec<u8> {
        let spec = hound::WavSpec {
            channels,
            sample_rate: rate_hz,
            bits_per_sample: bits,
            sample_format: hound::SampleFormat::Int,
        };
        let mut bytes = std::io::Cursor::new(Vec::new());
        let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
        for &sample in samples {
            if bits == 8 {
                writer.write_sample((sample >> 8) as i8).unwrap()
            } else {
                writer.write_sample(sample).unwrap()
            }
        }
        writer.finalize().unwrap();
        bytes.into_inner()
    }

    #[test]
    fn reads_8_khz_as_it_is_and_halves_16_khz() {
        let tone_8k = tone::sine(440.0, 500);
        assert_eq!(Clip::from_wav_bytes(&wav(8000, 1, 16, &tone_8k)).unwrap().samples(), tone_8k);
        // The same samples said to be 16 kHz are 880 Hz for half the time.
        let clip = Clip::from_wav_bytes(&wav(16_000, 1, 16, &tone_8k)).unwrap();
        assert_eq!(clip.duration_ms(), 250);
        assert!(tone::amplitude_at(clip.samples(), 880.0) > 5000.0);
        // Above 4 kHz nothing may fold back: 3 kHz at 8 kHz read as 16 kHz is 6 kHz → 2 kHz alias.
        let high = Clip::from_wav_bytes(&wav(16_000, 1, 16, &tone::sine(3000.0, 500))).unwrap();
        assert!(tone::amplitude_at(high.samples(), 2000.0) < 60.0);
    }

    #[test]
    fn other_formats_are_refused_with_a_remedy() {
        let stereo = Clip::from_wav_bytes(&wav(8000, 2, 16, &[0, 0])).unwrap_err();
        assert!(matches!(stereo, ClipError::Format { channels: 2, .. }));
        assert!(stereo.to_string().contains("sox"));
        assert!(matches!(Clip::from_wav_bytes(&wav(44_100, 1, 16, &[0])), Err(ClipError::Format { .. })));
        assert!(matches!(Clip::from_wav_bytes(&wav(8000, 1, 8, &[0])), Err(ClipError::Format { .. })));
        assert!(matches!(Clip::from_wav_bytes(b"ID3"), Err(ClipError::NotWav(_))));
        assert!(matches!(Clip::from_wav(Path::new("/nowhere.wav")), Err(ClipError::Io(_))));
    }

    #[test]
    fn truncated_and_mutated_files_never_panic() {
        let bytes = wav(8000, 1, 16, &[1; 64]);
        for len in 0..bytes.len() {
            let _ = Clip::from_wav_bytes(&bytes[..len]);
        }
        let mut state = 7u32;
        for _ in 0..20_000 {
            let mut mutated = bytes.clone();
            for _ in 0..3 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                mutated[(state >> 8) as usize % bytes.len()] = state as u8;
            }
            let _ = Clip::from_wav_bytes(&mutated);
        }
    }
}

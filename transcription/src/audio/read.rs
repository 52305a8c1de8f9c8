//! Reads recordings, also those a crash left with a wrong header.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use hound::{SampleFormat, WavReader};

use crate::limits;

/// Why a recording can't be read. None of these goes away by trying again,
/// except where the file is not there yet.
#[derive(Debug, thiserror::Error)]
pub enum AudioError {
    /// No such file, or no right to read it.
    #[error("{path}: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Not a WAV, or one of an unknown encoding.
    #[error("{path}: {why}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
}

/// What the head of a WAV says, corrected by the file's real length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Samples per second and channel.
    pub rate_hz: u32,
    /// Channels in the file, at most [`limits::CHANNELS_MAX`] are used.
    pub channels: u16,
    /// Length, ms.
    pub duration_ms: u64,
}

/// One channel of a recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Channel {
    /// Samples per second.
    pub rate_hz: u32,
    /// 16-bit samples.
    pub samples: Vec<i16>,
    /// True where the file was damaged or longer than [`limits::AUDIO_MS_MAX`].
    pub truncated: bool,
}

impl Channel {
    /// Length, ms.
    #[must_use]
    pub fn duration_ms(&self) -> u64 {
        self.samples.len() as u64 * 1_000 / u64::from(self.rate_hz.max(1))
    }
}

/// Reads the head only.
///
/// # Errors
/// [`AudioError`].
pub fn header(path: &Path) -> Result<Header, AudioError> {
    let (reader, _) = open(path)?;
    let spec = reader.spec();
    let duration_ms = u64::from(reader.duration()) * 1_000 / u64::from(spec.sample_rate);
    Ok(Header { rate_hz: spec.sample_rate, channels: spec.channels, duration_ms })
}

/// Reads channel `index` (0 = left). A file that ends early yields what it holds.
///
/// # Errors
/// [`AudioError`]; a missing channel is a [`AudioError::Format`].
pub fn read_channel(path: &Path, index: u16) -> Result<Channel, AudioError> {
    let (mut reader, coding) = open(path)?;
    let spec = reader.spec();
    if index >= spec.channels {
        return Err(format(path, format!("channel {index} of {}", spec.channels)));
    }
    let promised = u64::from(reader.duration());
    let most = limits::AUDIO_MS_MAX * u64::from(spec.sample_rate) / 1_000;
    let mut out = Vec::with_capacity(usize::try_from(promised.min(most)).unwrap_or(0));
    let (channels, index) = (usize::from(spec.channels), usize::from(index));
    let take = usize::try_from(most).unwrap_or(usize::MAX).saturating_mul(channels);
    match spec.sample_format {
        SampleFormat::Int if coding == Coding::Alaw => {
            let samples = reader.samples::<i32>().take(take).map_while(Result::ok);
            out.extend(samples.skip(index).step_by(channels).map(|s| from_alaw((s + 128) as u8)));
        }
        SampleFormat::Int => {
            let bits = u32::from(spec.bits_per_sample);
            let samples = reader.samples::<i32>().take(take).map_while(Result::ok);
            for s in samples.skip(index).step_by(channels) {
                let s = if bits > 16 { s >> (bits - 16) } else { s << (16 - bits) };
                // hound's samples fit their bit depth.
                out.push(i16::try_from(s).unwrap_or(if s < 0 { i16::MIN } else { i16::MAX }));
            }
        }
        SampleFormat::Float => {
            let samples = reader.samples::<f32>().take(take).map_while(Result::ok);
            out.extend(samples.skip(index).step_by(channels).map(super::to_i16));
        }
    }
    let truncated = (out.len() as u64) < promised;
    Ok(Channel { rate_hz: spec.sample_rate, samples: out, truncated })
}

type Input = io::Chain<Cursor<Vec<u8>>, io::BufReader<File>>;

fn format(path: &Path, why: String) -> AudioError {
    AudioError::Format { path: path.into(), why }
}

/// What the samples are, beyond what the reader knows of them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Coding {
    Linear,
    /// G.711 A-law, read as if it were 8-bit linear.
    Alaw,
}

/// One A-law code as a 16-bit sample (ITU-T G.711 table 1a).
fn from_alaw(code: u8) -> i16 {
    let code = code ^ 0x55;
    let (segment, step) = (i16::from((code >> 4) & 7), i16::from(code & 15));
    let size = if segment == 0 { step * 16 + 8 } else { (step * 16 + 264) << (segment - 1) };
    if code & 0x80 == 0 { -size } else { size }
}

fn open(path: &Path) -> Result<(WavReader<Input>, Coding), AudioError> {
    let err = |source| AudioError::Open { path: path.into(), source };
    let mut file = File::open(path).map_err(err)?;
    let len = file.metadata().map_err(err)?.len();
    let mut head = Vec::new();
    (&mut file).take(limits::WAV_HEAD_BYTES_MAX).read_to_end(&mut head).map_err(err)?;
    let coding = mend(&mut head, len);
    file.seek(SeekFrom::Start(head.len() as u64)).map_err(err)?;
    let input = Cursor::new(head).chain(io::BufReader::new(file));
    let reader = WavReader::new(input).map_err(|e| format(path, format!("not a readable WAV: {e}")))?;
    let spec = reader.spec();
    if !(limits::RATE_HZ_MIN..=limits::RATE_HZ_MAX).contains(&spec.sample_rate) {
        return Err(format(path, format!("{} samples per second", spec.sample_rate)));
    }
    if spec.channels == 0 || !(1..=32).contains(&spec.bits_per_sample) {
        return Err(format(path, format!("{} channels of {} bits", spec.channels, spec.bits_per_sample)));
    }
    Ok((reader, coding))
}

/// Corrects a `data` length that is 0 or reaches beyond the file: a writer that
/// was killed leaves such headers. A-law of 8 bits is renamed to what the reader takes.
fn mend(head: &mut [u8], file_len: u64) -> Coding {
    let mut coding = Coding::Linear;
    if head.len() < 12 || &head[..4] != b"RIFF" || &head[8..12] != b"WAVE" {
        return coding;
    }
    let mut at = 12;
    let mut block = 0_u32;
    while let Some(&[a, b, c, d, size @ ..]) = head.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let (name, size) = ([a, b, c, d], u32::from_le_bytes(size));
        let body = at + 8;
        if &name == b"fmt " {
            let align = head.get(body + 12..body + 14).map_or(0, |b| u16::from_le_bytes([b[0], b[1]]));
            block = u32::from(align);
            if head.get(body..body + 2) == Some(&[6, 0]) && head.get(body + 14..body + 16) == Some(&[8, 0]) {
                head[body] = 1;
                coding = Coding::Alaw;
            }
        }
        if &name == b"data" {
            let there = u32::try_from(file_len.saturating_sub(body as u64)).unwrap_or(u32::MAX);
            if size == 0 || size > there {
                // hound refuses a length that is no whole number of frames.
                let whole = there - there.checked_rem(block).unwrap_or(0);
                head[at + 4..at + 8].copy_from_slice(&whole.to_le_bytes());
            }
            return coding;
        }
        at = body.saturating_add(size as usize).saturating_add(size as usize % 2);
    }
    coding
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wav(rate_hz: u32, frames: usize) -> Vec<u8> {
        let spec =
            hound::WavSpec { channels: 2, sample_rate: rate_hz, bits_per_sample: 16, sample_format: SampleFormat::Int };
        let mut out = Cursor::new(Vec::new());
        let mut writer = hound::WavWriter::new(&mut out, spec).unwrap();
        for i in 0..frames {
            writer.write_sample((i % 100) as i16).unwrap();
            writer.write_sample(-((i % 100) as i16)).unwrap();
        }
        writer.finalize().unwrap();
        out.into_inner()
    }

    fn read(bytes: &[u8], index: u16) -> Result<Channel, AudioError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.wav");
        std::fs::write(&path, bytes).unwrap();
        read_channel(&path, index)
    }

    #[test]
    fn the_channels_are_kept_apart() {
        let bytes = wav(8_000, 800);
        let (left, right) = (read(&bytes, 0).unwrap(), read(&bytes, 1).unwrap());
        assert_eq!((left.samples.len(), left.duration_ms(), left.truncated), (800, 100, false));
        assert!(left.samples.iter().zip(&right.samples).all(|(l, r)| *l == -*r));
        assert!(read(&bytes, 2).is_err());
    }

    #[test]
    fn alaw_recordings_are_read_too() {
        // The header of a stereo A-law file whose writer was killed, and codes of known samples.
        let mut bytes = wav(8_000, 0);
        bytes.truncate(44);
        (bytes[20], bytes[32], bytes[34]) = (6, 2, 8);
        bytes[28..32].copy_from_slice(&16_000_u32.to_le_bytes());
        bytes.extend([0xD5, 0x55, 0xAA, 0x2A, 0xC5, 0x45]);
        let (left, right) = (read(&bytes, 0).unwrap(), read(&bytes, 1).unwrap());
        assert_eq!((left.samples, left.truncated), (vec![8, 32_256, 264], false));
        assert_eq!((right.samples, right.rate_hz), (vec![-8, -32_256, -264], 8_000));
    }

    #[test]
    fn a_header_never_finished_still_yields_the_samples() {
        for size in [0_u32, u32::MAX, 0x7fff_fff0] {
            let mut bytes = wav(8_000, 800);
            bytes[40..44].copy_from_slice(&size.to_le_bytes());
            assert_eq!(read(&bytes, 0).unwrap().samples.len(), 800, "{size:#x}");
        }
    }

    #[test]
    fn a_file_cut_off_yields_what_is_there() {
        let bytes = wav(8_000, 800);
        let got = read(&bytes[..bytes.len() - 1_001], 1).unwrap();
        assert_eq!(got.samples.len(), 549);
    }

    #[test]
    fn no_truncation_or_mutation_panics() {
        let whole = wav(8_000, 200);
        for cut in 0..whole.len() {
            let _ = read(&whole[..cut], 0);
        }
        let mut seed = 7_u64;
        for _ in 0..2_000 {
            let mut bytes = whole.clone();
            for _ in 0..3 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                bytes[(seed >> 33) as usize % 64] = (seed >> 20) as u8;
            }
            let _ = read(&bytes, 0);
        }
    }

    #[test]
    fn a_missing_file_names_its_path() {
        let err = read_channel(Path::new("/nonexistent/x.wav"), 0).unwrap_err();
        assert!(err.to_string().contains("/nonexistent/x.wav"));
    }
}

//! Reads recordings (16-bit PCM or A-law) and writes test audio (hound; 16-bit PCM).

use std::path::Path;

use crate::rtp::g711::alaw_decode;
use crate::tone;
use crate::{Error, Result};

/// A WAV file in memory, one vector per channel.
#[derive(Clone, Debug)]
pub struct Wav {
    /// Samples per second.
    pub rate_hz: u32,
    /// The channels: in the gateway's recordings 0 is the citizen, 1 the operator.
    pub channels: Vec<Vec<i16>>,
}

impl Wav {
    /// Reads a 16-bit PCM or A-law file.
    ///
    /// # Errors
    /// [`Error::Audio`] when it isn't a readable WAV file of one of these.
    pub fn read(path: &Path) -> Result<Self> {
        let fail = |detail: String| Error::Audio { what: path.display().to_string(), detail };
        let bytes = std::fs::read(path).map_err(|e| fail(e.to_string()))?;
        Self::collect(bytes, &fail)
    }

    /// Reads a file held in memory, such as an HTTP answer.
    ///
    /// # Errors
    /// As [`Wav::read`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let fail = |detail: String| Error::Audio { what: "in memory".into(), detail };
        Self::collect(bytes.to_vec(), &fail)
    }

    fn collect(mut bytes: Vec<u8>, fail: &dyn Fn(String) -> Error) -> Result<Self> {
        // The reader knows no A-law (format 6, 8 bits): it is given the codes as 8-bit linear samples.
        let is_alaw = bytes.get(20..22) == Some(&[6, 0]) && bytes.get(34..36) == Some(&[8, 0]);
        if is_alaw {
            bytes[20] = 1;
        }
        let mut reader = hound::WavReader::new(std::io::Cursor::new(bytes)).map_err(|e| fail(e.to_string()))?;
        let spec = reader.spec();
        let count = usize::from(spec.channels).max(1);
        let mut channels = vec![Vec::new(); count];
        if is_alaw {
            for (index, sample) in reader.samples::<i16>().enumerate() {
                let code = sample.map_err(|e| fail(e.to_string()))? + 128;
                channels[index % count].push(alaw_decode(code as u8));
            }
            return Ok(Self { rate_hz: spec.sample_rate, channels });
        }
        if spec.bits_per_sample != 16 || spec.sample_format != hound::SampleFormat::Int {
            return Err(fail(format!("{} bits, expected 16-bit PCM", spec.bits_per_sample)));
        }
        for (index, sample) in reader.samples::<i16>().enumerate() {
            channels[index % count].push(sample.map_err(|e| fail(e.to_string()))?);
        }
        Ok(Self { rate_hz: spec.sample_rate, channels })
    }

    /// Writes a file; all channels must have the same length.
    ///
    /// # Errors
    /// [`Error::Audio`] on unequal lengths or when the file can't be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let fail = |detail: String| Error::Audio { what: path.display().to_string(), detail };
        let length = self.channels.first().map_or(0, Vec::len);
        if self.channels.iter().any(|c| c.len() != length) {
            return Err(fail("channels of unequal length".into()));
        }
        let channels = u16::try_from(self.channels.len()).map_err(|e| fail(e.to_string()))?;
        let spec = hound::WavSpec {
            channels,
            sample_rate: self.rate_hz,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::create(path, spec).map_err(|e| fail(e.to_string()))?;
        for index in 0..length {
            for channel in &self.channels {
                writer.write_sample(channel[index]).map_err(|e| fail(e.to_string()))?;
            }
        }
        writer.finalize().map_err(|e| fail(e.to_string()))
    }

    /// A mono file of one sine at 8 kHz.
    #[must_use]
    pub fn tone(hz: f64, dbov: f64, duration_ms: u64) -> Self {
        let rate_hz = tone::RATE_HZ;
        Self { rate_hz, channels: vec![tone::sine(hz, dbov, duration_ms, rate_hz)] }
    }

    /// Length, milliseconds.
    #[must_use]
    pub fn duration_ms(&self) -> u64 {
        let length = self.channels.first().map_or(0, Vec::len) as u64;
        length * 1_000 / u64::from(self.rate_hz.max(1))
    }

    /// The samples of a channel; empty when there is no such channel.
    #[must_use]
    pub fn channel(&self, index: usize) -> &[i16] {
        self.channels.get(index).map_or(&[], Vec::as_slice)
    }

    /// See [`tone::tone_ms`].
    #[must_use]
    pub fn tone_ms(&self, channel: usize, hz: f64) -> u64 {
        tone::tone_ms(self.channel(channel), self.rate_hz, hz)
    }

    /// See [`tone::tone_starts_ms`].
    #[must_use]
    pub fn tone_starts_ms(&self, channel: usize, hz: f64) -> Option<u64> {
        tone::tone_starts_ms(self.channel(channel), self.rate_hz, hz)
    }

    /// RMS level of a channel, dB of full scale.
    #[must_use]
    pub fn level_dbov(&self, channel: usize) -> f64 {
        tone::level_dbov(self.channel(channel))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("two.wav");
        let left = tone::sine(440.0, -16.0, 500, 8_000);
        let right = tone::sine(1_000.0, -16.0, 500, 8_000);
        Wav { rate_hz: 8_000, channels: vec![left, right] }.write(&path).unwrap();
        let read = Wav::read(&path).unwrap();
        assert_eq!(read.duration_ms(), 500);
        assert!(read.tone_ms(0, 440.0) >= 480 && read.tone_ms(0, 1_000.0) == 0);
        assert!(read.tone_ms(1, 1_000.0) >= 480 && read.tone_ms(1, 440.0) == 0);
    }

    #[test]
    fn garbage_is_an_error_and_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bad.wav");
        std::fs::write(&path, b"RIFFnothing").unwrap();
        let error = Wav::read(&path).unwrap_err().to_string();
        assert!(error.contains("bad.wav"), "{error}");
    }
}

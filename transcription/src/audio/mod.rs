//! Audio in: WAV files, channel by channel, and 16 kHz for engines.

pub mod read;
pub mod resample;

pub use read::{AudioError, Channel, Header, header, read_channel};
pub use resample::{ENGINE_RATE_HZ, Resampler};

/// Clamped conversion to the 16-bit samples a WAV holds.
#[must_use]
pub fn to_i16(sample: f32) -> i16 {
    // In range after the clamp.
    #[allow(clippy::cast_possible_truncation)]
    let value = (sample.clamp(-1.0, 1.0) * 32_767.0) as i16;
    value
}

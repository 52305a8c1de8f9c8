//! The header of our files: RIFF/WAVE, 2 channels, 8000 Hz, 16-bit PCM or A-law, 44 bytes.

use crate::limits::SAMPLE_RATE_HZ;

/// Bytes before the audio.
pub const HEADER_LEN: usize = 44;

/// How samples are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WavFormat {
    /// 16-bit linear, little-endian (WAVE format 1): 32,000 bytes a second.
    #[default]
    Pcm16,
    /// G.711 A-law (WAVE format 6): half of that, and A-law calls are stored bit by bit as they came.
    Alaw,
}

impl WavFormat {
    /// Bytes of one stereo frame.
    #[must_use]
    pub const fn frame_len(self) -> usize {
        match self {
            Self::Pcm16 => 4,
            Self::Alaw => 2,
        }
    }

    /// The byte silence is made of.
    #[must_use]
    pub const fn silence(self) -> u8 {
        match self {
            Self::Pcm16 => 0,
            Self::Alaw => crate::codec::silence_byte(crate::Codec::Pcma),
        }
    }

    /// WAVE's format tag.
    const fn tag(self) -> u16 {
        match self {
            Self::Pcm16 => 1,
            Self::Alaw => 6,
        }
    }
}

/// The header of a file of `frames` stereo frames; beyond what the size field holds it stays at
/// the greatest size.
#[must_use]
pub fn header(format: WavFormat, frames: u64) -> [u8; HEADER_LEN] {
    let frame_len = format.frame_len() as u32;
    let data_max = u64::from((u32::MAX - 36) / frame_len * frame_len);
    let data_len = frames.saturating_mul(u64::from(frame_len)).min(data_max) as u32;
    let mut bytes = [0; HEADER_LEN];
    let mut put = |at: usize, part: &[u8]| bytes[at..at + part.len()].copy_from_slice(part);
    put(0, b"RIFF");
    put(4, &(36 + data_len).to_le_bytes());
    put(8, b"WAVEfmt ");
    put(16, &16u32.to_le_bytes());
    put(20, &format.tag().to_le_bytes());
    put(22, &2u16.to_le_bytes());
    put(24, &SAMPLE_RATE_HZ.to_le_bytes());
    put(28, &(SAMPLE_RATE_HZ * frame_len).to_le_bytes());
    put(32, &(frame_len as u16).to_le_bytes());
    put(34, &(frame_len as u16 * 4).to_le_bytes());
    put(36, b"data");
    put(40, &data_len.to_le_bytes());
    bytes
}

/// What a header of ours says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WavHeader {
    /// How samples are stored.
    pub format: WavFormat,
    /// Stereo frames by the data chunk's size.
    pub frames: u64,
}

/// Why bytes are no header of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WavError {
    /// Fewer than 44 bytes.
    #[error("file shorter than a WAV header")]
    Short,
    /// Anything in it differs from what we write, sizes aside.
    #[error("not a recording's WAV header")]
    Foreign,
    /// The two size fields contradict each other.
    #[error("WAV sizes contradict each other")]
    Sizes,
}

/// Reads a header of ours.
///
/// # Errors
/// See [`WavError`].
pub fn parse_header(bytes: &[u8]) -> Result<WavHeader, WavError> {
    let (head, _) = bytes.split_first_chunk::<HEADER_LEN>().ok_or(WavError::Short)?;
    let format = [WavFormat::Pcm16, WavFormat::Alaw].into_iter().find(|format| {
        let like = header(*format, 0);
        head[..4] == like[..4] && head[8..40] == like[8..40]
    });
    let format = format.ok_or(WavError::Foreign)?;
    let riff_len = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    let data_len = u32::from_le_bytes([head[40], head[41], head[42], head[43]]);
    let frame_len = format.frame_len() as u32;
    if riff_len.checked_sub(36) != Some(data_len) || !data_len.is_multiple_of(frame_len) {
        return Err(WavError::Sizes);
    }
    Ok(WavHeader { format, frames: u64::from(data_len / frame_len) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_read_back_here_and_in_hound() {
        let mut bytes = header(WavFormat::Pcm16, 2).to_vec();
        bytes.extend_from_slice(&[1, 0, 2, 0, 3, 0, 4, 0]);
        assert_eq!(parse_header(&bytes), Ok(WavHeader { format: WavFormat::Pcm16, frames: 2 }));
        let mut reader = hound::WavReader::new(&bytes[..]).unwrap();
        assert_eq!((reader.spec().channels, reader.spec().sample_rate, reader.duration()), (2, 8000, 2));
        let samples: Vec<i16> = reader.samples().map(Result::unwrap).collect();
        assert_eq!(samples, [1, 2, 3, 4]);
    }

    #[test]
    fn an_alaw_header_is_what_wave_format_6_asks_for() {
        let head = header(WavFormat::Alaw, 8000);
        assert_eq!(parse_header(&head), Ok(WavHeader { format: WavFormat::Alaw, frames: 8000 }));
        let field = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
        // Tag, channels, bytes a frame, bits a sample.
        assert_eq!([field(20), field(22), field(32), field(34)], [6, 2, 2, 8]);
        assert_eq!(u32::from_le_bytes([head[28], head[29], head[30], head[31]]), 16_000);
    }

    #[test]
    fn foreign_short_and_contradicting_headers_are_told_apart() {
        let good = header(WavFormat::Pcm16, 10);
        assert_eq!(parse_header(&good[..43]), Err(WavError::Short));
        let mut mono = good;
        mono[22] = 1;
        assert_eq!(parse_header(&mono), Err(WavError::Foreign));
        let mut sizes = good;
        sizes[4] = 0;
        assert_eq!(parse_header(&sizes), Err(WavError::Sizes));
        let longest = parse_header(&header(WavFormat::Pcm16, u64::MAX)).map(|head| head.frames);
        assert_eq!(longest, Ok(1_073_741_814));
    }
}

//! The header of our files: RIFF/WAVE, PCM, 2 channels, 8000 Hz, 16 bit, 44 bytes.

use crate::limits::SAMPLE_RATE_HZ;

/// Bytes before the audio.
pub const HEADER_LEN: usize = 44;
/// Bytes of one stereo frame.
const FRAME_LEN: u32 = 4;

/// The header of a file of `frames` stereo frames; beyond what the size field holds it stays at
/// the greatest size.
#[must_use]
pub fn header(frames: u64) -> [u8; HEADER_LEN] {
    let data_max = u64::from(u32::MAX - 36) / u64::from(FRAME_LEN) * u64::from(FRAME_LEN);
    let data_len = (frames * u64::from(FRAME_LEN)).min(data_max) as u32;
    let mut bytes = [0; HEADER_LEN];
    let mut put = |at: usize, part: &[u8]| bytes[at..at + part.len()].copy_from_slice(part);
    put(0, b"RIFF");
    put(4, &(36 + data_len).to_le_bytes());
    put(8, b"WAVEfmt ");
    put(16, &16u32.to_le_bytes());
    put(20, &1u16.to_le_bytes());
    put(22, &2u16.to_le_bytes());
    put(24, &SAMPLE_RATE_HZ.to_le_bytes());
    put(28, &(SAMPLE_RATE_HZ * FRAME_LEN).to_le_bytes());
    put(32, &(FRAME_LEN as u16).to_le_bytes());
    put(34, &16u16.to_le_bytes());
    put(36, b"data");
    put(40, &data_len.to_le_bytes());
    bytes
}

/// What a header of ours says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WavHeader {
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
    let like = header(0);
    if head[..4] != like[..4] || head[8..40] != like[8..40] {
        return Err(WavError::Foreign);
    }
    let riff_len = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    let data_len = u32::from_le_bytes([head[40], head[41], head[42], head[43]]);
    if riff_len.checked_sub(36) != Some(data_len) || !data_len.is_multiple_of(FRAME_LEN) {
        return Err(WavError::Sizes);
    }
    Ok(WavHeader { frames: u64::from(data_len / FRAME_LEN) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_read_back_here_and_in_hound() {
        let mut bytes = header(2).to_vec();
        bytes.extend_from_slice(&[1, 0, 2, 0, 3, 0, 4, 0]);
        assert_eq!(parse_header(&bytes), Ok(WavHeader { frames: 2 }));
        let mut reader = hound::WavReader::new(&bytes[..]).unwrap();
        assert_eq!((reader.spec().channels, reader.spec().sample_rate, reader.duration()), (2, 8000, 2));
        let samples: Vec<i16> = reader.samples().map(Result::unwrap).collect();
        assert_eq!(samples, [1, 2, 3, 4]);
    }

    #[test]
    fn foreign_short_and_contradicting_headers_are_told_apart() {
        let good = header(10);
        assert_eq!(parse_header(&good[..43]), Err(WavError::Short));
        let mut mono = good;
        mono[22] = 1;
        assert_eq!(parse_header(&mono), Err(WavError::Foreign));
        let mut sizes = good;
        sizes[4] = 0;
        assert_eq!(parse_header(&sizes), Err(WavError::Sizes));
        assert_eq!(parse_header(&header(u64::from(u32::MAX))).map(|h| h.frames), Ok(1_073_741_814));
    }
}

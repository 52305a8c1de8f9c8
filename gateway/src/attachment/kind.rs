//! What a file is, by its first bytes; what it claims to be decides nothing.

use super::limits::{AUDIO_BYTES_MAX, IMAGE_BYTES_MAX, VIDEO_BYTES_MAX};

/// Files that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// JPEG.
    Jpeg,
    /// PNG.
    Png,
    /// WebP.
    Webp,
    /// HEIC/HEIF: kept, but not decoded here.
    Heic,
    /// AMR, narrow or wide band: WeChat's and phones' voice.
    Amr,
    /// MPEG audio layer III.
    Mp3,
    /// WAVE.
    Wav,
    /// MPEG-4, QuickTime and 3GP files.
    Mp4,
}

/// What a person makes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// A picture.
    Image,
    /// A sound.
    Audio,
    /// A video.
    Video,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 8] =
        [Self::Jpeg, Self::Png, Self::Webp, Self::Heic, Self::Amr, Self::Mp3, Self::Wav, Self::Mp4];

    /// The word in rows; also the file's extension.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::Webp => "webp",
            Self::Heic => "heic",
            Self::Amr => "amr",
            Self::Mp3 => "mp3",
            Self::Wav => "wav",
            Self::Mp4 => "mp4",
        }
    }

    /// The kind of a word in rows.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.as_str() == word)
    }

    /// Media type.
    #[must_use]
    pub const fn mime(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Webp => "image/webp",
            Self::Heic => "image/heic",
            Self::Amr => "audio/amr",
            Self::Mp3 => "audio/mpeg",
            Self::Wav => "audio/wav",
            Self::Mp4 => "video/mp4",
        }
    }

    /// Picture, sound or video.
    #[must_use]
    pub const fn medium(self) -> Medium {
        match self {
            Self::Jpeg | Self::Png | Self::Webp | Self::Heic => Medium::Image,
            Self::Amr | Self::Mp3 | Self::Wav => Medium::Audio,
            Self::Mp4 => Medium::Video,
        }
    }

    /// Bytes it may have.
    #[must_use]
    pub const fn bytes_max(self) -> usize {
        match self.medium() {
            Medium::Image => IMAGE_BYTES_MAX,
            Medium::Audio => AUDIO_BYTES_MAX,
            Medium::Video => VIDEO_BYTES_MAX,
        }
    }

    /// Whether this program decodes it, so that a copy without metadata can be shown.
    #[must_use]
    pub const fn is_decoded(self) -> bool {
        matches!(self, Self::Jpeg | Self::Png | Self::Webp)
    }

    /// Tells a file by its beginning; `None` for what isn't kept.
    #[must_use]
    pub fn sniff(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0xFF, 0xD8, 0xFF, ..] => Some(Self::Jpeg),
            [0x89, b'P', b'N', b'G', 0x0D, 0x0A, 0x1A, 0x0A, ..] => Some(Self::Png),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::Webp),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => Some(Self::Wav),
            [_, _, _, _, b'f', b't', b'y', b'p', ..] => brand(bytes),
            _ if bytes.starts_with(b"#!AMR\n") || bytes.starts_with(b"#!AMR-WB\n") => Some(Self::Amr),
            _ if bytes.starts_with(b"ID3") || is_mpeg_audio(bytes) => Some(Self::Mp3),
            _ => None,
        }
    }
}

/// The `ftyp` box of ISO/IEC 14496-12 §4.3: major brand first, then a version and the compatible ones.
fn brand(bytes: &[u8]) -> Option<Kind> {
    let length = u32::from_be_bytes(*bytes.first_chunk()?) as usize;
    let whole = bytes.get(8..length.clamp(12, 256).min(bytes.len()))?;
    let brands = whole.chunks_exact(4).enumerate().filter(|(n, _)| *n != 1).map(|(_, b)| b);
    for brand in brands {
        match brand {
            b"avif" | b"avis" => return None,
            b"heic" | b"heix" | b"hevc" | b"heim" | b"heis" | b"mif1" | b"msf1" => return Some(Kind::Heic),
            b"isom" | b"iso2" | b"iso4" | b"iso5" | b"iso6" | b"mp41" | b"mp42" | b"avc1" | b"MSNV" | b"M4V "
            | b"M4A " | b"qt  " => return Some(Kind::Mp4),
            [b'3', b'g', b'p' | b'2' | b'g' | b'r' | b's', _] => return Some(Kind::Mp4),
            _ => {}
        }
    }
    None
}

/// A frame header of ISO/IEC 11172-3 §2.4.1.3, layer III, with a bit rate and a sampling rate.
fn is_mpeg_audio(bytes: &[u8]) -> bool {
    let [0xFF, b, c, ..] = bytes else { return false };
    let version = b >> 3 & 3;
    b & 0xE0 == 0xE0 && version != 1 && b >> 1 & 3 == 1 && !matches!(c >> 4, 0 | 15) && c >> 2 & 3 != 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_by_their_first_bytes() {
        let box_of = |brand: &[u8]| [&[0, 0, 0, 24], b"ftyp".as_slice(), brand, &[0, 0, 2, 0], brand, b"mp41"].concat();
        for (bytes, kind) in [
            (vec![0xFF, 0xD8, 0xFF, 0xE0], Kind::Jpeg),
            (b"\x89PNG\r\n\x1a\n....".to_vec(), Kind::Png),
            (b"RIFF\x10\0\0\0WEBPVP8 ".to_vec(), Kind::Webp),
            (b"RIFF\x10\0\0\0WAVEfmt ".to_vec(), Kind::Wav),
            (box_of(b"heic"), Kind::Heic),
            (box_of(b"isom"), Kind::Mp4),
            (box_of(b"qt  "), Kind::Mp4),
            (box_of(b"3gp5"), Kind::Mp4),
            (b"#!AMR\n\x3c".to_vec(), Kind::Amr),
            (b"#!AMR-WB\n".to_vec(), Kind::Amr),
            (b"ID3\x04".to_vec(), Kind::Mp3),
            (vec![0xFF, 0xFB, 0x90, 0x64], Kind::Mp3),
        ] {
            assert_eq!(Kind::sniff(&bytes), Some(kind), "{bytes:?}");
            assert_eq!(Kind::of(kind.as_str()), Some(kind));
        }
    }

    #[test]
    fn programs_documents_and_what_a_browser_would_run_are_not_kept() {
        for bytes in [
            b"GIF89a".as_slice(),
            b"<svg xmlns",
            b"<!DOCTYPE html>",
            b"<?xml",
            b"%PDF-1.7",
            b"PK\x03\x04",
            b"MZ\x90",
            b"\x7fELF",
            b"BM\x36",
            b"",
            b"\xFF",
            b"\xFF\xFF\xFF\xFF",
            b"RIFF",
            b"\0\0\0\x18ftypavif\0\0\0\0avifmif1",
            b"\0\0\0\0ftyp",
            b"\xFF\xFF\xFF\xFFftypzzzz",
        ] {
            assert_eq!(Kind::sniff(bytes), None, "{bytes:?}");
        }
    }
}

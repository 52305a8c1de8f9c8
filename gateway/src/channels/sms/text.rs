//! Between octets of a short message and text: ASCII, the GSM alphabet, Latin-1, GBK, UCS2.
//!
//! Carriers are careless about the coding they announce, and a citizen's words must not be lost to
//! that: whatever arrives becomes text, marked as [`Decoded::lossy`] where some of it could not be read.

use super::limits::UNKNOWN_BYTES_KEPT;

/// How the octets of a short message are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    /// ASCII (CMPP `Msg_Fmt` 0, SMPP 1).
    Ascii,
    /// The GSM default alphabet, one septet an octet (3GPP TS 23.038 §6.2.1; SMPP 0).
    Gsm,
    /// ISO 8859-1 (SMPP 3).
    Latin1,
    /// Octets that are no text (CMPP and SMPP 4, SMPP 2).
    Binary,
    /// UTF-16, big-endian (8 in both).
    Ucs2,
    /// GBK, read as GB18030 (CMPP 15).
    Gbk,
    /// A number nobody here knows; its text is kept as hex.
    Other(u8),
}

impl Coding {
    /// CMPP's `Msg_Fmt`.
    #[must_use]
    pub const fn from_cmpp(fmt: u8) -> Self {
        match fmt {
            0 => Self::Ascii,
            // 3 is a command for the SIM card: octets.
            3 | 4 => Self::Binary,
            8 => Self::Ucs2,
            15 => Self::Gbk,
            other => Self::Other(other),
        }
    }

    /// As CMPP's `Msg_Fmt`.
    #[must_use]
    pub const fn to_cmpp(self) -> u8 {
        match self {
            Self::Ascii | Self::Gsm | Self::Latin1 => 0,
            Self::Binary => 4,
            Self::Ucs2 => 8,
            Self::Gbk => 15,
            Self::Other(fmt) => fmt,
        }
    }

    /// SMPP's `data_coding` (SMPP 3.4 §5.2.19). Classes of TS 23.038 (`0xF0`…) and the UCS2 forms of its
    /// general group (`0x18`…) are understood too.
    #[must_use]
    pub const fn from_smpp(data_coding: u8) -> Self {
        match data_coding {
            0 => Self::Gsm,
            1 => Self::Ascii,
            2 | 4 => Self::Binary,
            3 => Self::Latin1,
            8 => Self::Ucs2,
            15 => Self::Gbk,
            // TS 23.038 §4: general data coding, bits 3 and 2 name the alphabet.
            0x10..=0x3F => match (data_coding >> 2) & 3 {
                0 => Self::Gsm,
                1 => Self::Binary,
                2 => Self::Ucs2,
                _ => Self::Other(data_coding),
            },
            0xF0..=0xFF => {
                if data_coding & 4 == 0 {
                    Self::Gsm
                } else {
                    Self::Binary
                }
            }
            other => Self::Other(other),
        }
    }

    /// As SMPP's `data_coding`.
    #[must_use]
    pub const fn to_smpp(self) -> u8 {
        match self {
            Self::Gsm => 0,
            Self::Ascii => 1,
            Self::Latin1 => 3,
            Self::Binary => 4,
            Self::Ucs2 => 8,
            Self::Gbk => 15,
            Self::Other(coding) => coding,
        }
    }

    /// One number for rows: 0 ASCII, 1 GSM, 2 Latin-1, 3 binary, 4 UCS2, 5 GBK, 256 and more unknown.
    #[must_use]
    pub const fn code(self) -> i64 {
        match self {
            Self::Ascii => 0,
            Self::Gsm => 1,
            Self::Latin1 => 2,
            Self::Binary => 3,
            Self::Ucs2 => 4,
            Self::Gbk => 5,
            Self::Other(other) => 256 + other as i64,
        }
    }

    /// The reverse of [`Coding::code`]; what it never gives is binary.
    #[must_use]
    pub fn from_code(code: i64) -> Self {
        match code {
            0 => Self::Ascii,
            1 => Self::Gsm,
            2 => Self::Latin1,
            4 => Self::Ucs2,
            5 => Self::Gbk,
            256..=511 => u8::try_from(code - 256).map_or(Self::Binary, Self::Other),
            _ => Self::Binary,
        }
    }
}

/// Text made of octets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// What could be read; NULs are gone.
    pub text: String,
    /// Some octets could not be read and stand as `U+FFFD` or hex.
    pub lossy: bool,
}

/// Reads octets. Never fails: what can't be read is kept as hex or marked.
#[must_use]
pub fn decode(coding: Coding, bytes: &[u8]) -> Decoded {
    let mut read = match coding {
        Coding::Ascii | Coding::Gbk => gbk(bytes),
        Coding::Gsm => gsm(bytes),
        Coding::Latin1 => Decoded { text: bytes.iter().copied().map(char::from).collect(), lossy: false },
        Coding::Ucs2 => ucs2(bytes),
        Coding::Binary => hex("二进制短信", bytes),
        Coding::Other(other) => match std::str::from_utf8(bytes) {
            Ok(text) if !text.chars().any(is_control) => Decoded { text: text.to_owned(), lossy: false },
            _ => hex(&format!("未知编码 {other}"), bytes),
        },
    };
    // PostgreSQL has no NUL in text, and phones pad with it.
    if read.text.contains('\0') {
        read.text.retain(|c| c != '\0');
    }
    read
}

/// Text announced as ASCII often is GBK; ASCII is a part of it.
fn gbk(bytes: &[u8]) -> Decoded {
    let (text, lossy) = encoding_rs::GB18030.decode_without_bom_handling(bytes);
    Decoded { text: text.into_owned(), lossy }
}

fn ucs2(bytes: &[u8]) -> Decoded {
    // A byte order mark is no text; without one the order is the network's.
    let (bytes, little) = match bytes {
        [0xFE, 0xFF, rest @ ..] => (rest, false),
        [0xFF, 0xFE, rest @ ..] => (rest, true),
        all => (all, false),
    };
    let units = bytes.chunks_exact(2).map(|pair| {
        let pair = [pair[0], pair[1]];
        if little { u16::from_le_bytes(pair) } else { u16::from_be_bytes(pair) }
    });
    let mut lossy = bytes.len() % 2 == 1;
    let text = char::decode_utf16(units)
        .map(|unit| {
            unit.unwrap_or_else(|_| {
                lossy = true;
                char::REPLACEMENT_CHARACTER
            })
        })
        .collect();
    Decoded { text, lossy }
}

fn hex(what: &str, bytes: &[u8]) -> Decoded {
    use std::fmt::Write as _;
    let kept = &bytes[..bytes.len().min(UNKNOWN_BYTES_KEPT)];
    let mut text = format!("〔{what}〕");
    for byte in kept {
        let _ = write!(text, "{byte:02x}");
    }
    Decoded { text, lossy: true }
}

fn is_control(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\0')
}

/// Whether every character stands in printable ASCII (or is a line's end), which all carriers pass on.
#[must_use]
pub fn is_plain_ascii(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b' '..=b'~' | b'\n' | b'\r'))
}

/// UTF-16BE of a text.
#[must_use]
pub fn to_ucs2(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

/// GBK of a text; `None` if a character isn't in it (4-byte GB18030 forms are no GBK).
#[must_use]
pub fn to_gbk(text: &str) -> Option<Vec<u8>> {
    let (bytes, _, unmappable) = encoding_rs::GBK.encode(text);
    (!unmappable).then(|| bytes.into_owned())
}

/// The GSM default alphabet by septet (TS 23.038 §6.2.1); 0x1B leads to [`GSM_EXTENSION`].
const GSM_BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\u{1b}ÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?\
                         ¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
/// Its extension table (§6.2.1.1).
const GSM_EXTENSION: [(u8, char); 10] = [
    (0x0A, '\u{c}'),
    (0x14, '^'),
    (0x28, '{'),
    (0x29, '}'),
    (0x2F, '\\'),
    (0x3C, '['),
    (0x3D, '~'),
    (0x3E, ']'),
    (0x40, '|'),
    (0x65, '€'),
];

fn gsm(bytes: &[u8]) -> Decoded {
    // With the high bit set it is no septet: such text is GBK or Latin-1 under a wrong name.
    if bytes.iter().any(|b| *b > 0x7F) {
        return gbk(bytes);
    }
    let table: Vec<char> = GSM_BASIC.chars().collect();
    let mut text = String::with_capacity(bytes.len());
    let mut lossy = false;
    let mut escaped = false;
    for byte in bytes {
        let found = if escaped {
            GSM_EXTENSION.iter().find(|(code, _)| code == byte).map(|(_, c)| *c)
        } else {
            table.get(usize::from(*byte)).copied()
        };
        if !escaped && *byte == 0x1B {
            escaped = true;
            continue;
        }
        lossy |= found.is_none();
        // §6.2.1.1: an unknown extension shows the character of the basic table.
        text.push(found.or_else(|| table.get(usize::from(*byte)).copied()).unwrap_or(char::REPLACEMENT_CHARACTER));
        escaped = false;
    }
    Decoded { text, lossy }
}

/// The GSM alphabet, one septet an octet; `None` if a character isn't in it.
#[must_use]
pub fn to_gsm(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    for c in text.chars() {
        if let Some(at) = GSM_BASIC.chars().position(|known| known == c).filter(|at| *at != 0x1B) {
            out.push(u8::try_from(at).ok()?);
        } else {
            let (code, _) = GSM_EXTENSION.iter().find(|(_, known)| *known == c)?;
            out.extend([0x1B, *code]);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(coding: Coding, bytes: &[u8]) -> String {
        decode(coding, bytes).text
    }

    #[test]
    fn chinese_survives_every_coding_that_has_it() {
        let text = "人民路88号井盖缺失,请尽快处理!😀";
        assert_eq!(decode(Coding::Ucs2, &to_ucs2(text)), Decoded { text: text.into(), lossy: false });
        let bmp = "人民路88号井盖缺失";
        assert_eq!(read(Coding::Gbk, &to_gbk(bmp).unwrap()), bmp);
        assert_eq!(read(Coding::Ascii, &to_gbk(bmp).unwrap()), bmp, "GBK announced as ASCII");
        assert_eq!(read(Coding::Gsm, &to_gbk(bmp).unwrap()), bmp, "GBK announced as the default alphabet");
        assert_eq!(to_gbk("😀"), None);
    }

    #[test]
    fn the_gsm_alphabet_has_128_places_and_its_extension_comes_back() {
        assert_eq!(GSM_BASIC.chars().count(), 128);
        let text = "Price: 5€ [a]{b}^~|\\ @£ÄÖà\n";
        assert_eq!(decode(Coding::Gsm, &to_gsm(text).unwrap()), Decoded { text: text.into(), lossy: false });
        assert_eq!(to_gsm("井"), None);
        assert!(decode(Coding::Gsm, &[0x1B, 0x01]).lossy);
    }

    #[test]
    fn damaged_text_is_marked_and_never_lost() {
        let cut = &to_ucs2("井盖")[..3];
        assert_eq!(decode(Coding::Ucs2, cut), Decoded { text: "井".into(), lossy: true });
        assert!(decode(Coding::Ucs2, &[0xD8, 0x3D, 0x4E, 0x95]).text.ends_with('井'), "a lone surrogate");
        assert_eq!(read(Coding::Ucs2, &[0xFF, 0xFE, 0x95, 0x4E]), "井", "little-endian with its mark");
        assert_eq!(read(Coding::Binary, &[1, 0xAB]), "〔二进制短信〕01ab");
        assert_eq!(read(Coding::Other(21), &[0xFF, 0x00]), "〔未知编码 21〕ff00");
        assert_eq!(read(Coding::Other(21), "井盖".as_bytes()), "井盖");
        assert_eq!(read(Coding::Ascii, b"a\0b"), "ab");
    }

    #[test]
    fn numbers_of_codings_go_both_ways() {
        for n in 0..=255u8 {
            assert_eq!(Coding::from_code(Coding::from_cmpp(n).code()), Coding::from_cmpp(n));
            assert_eq!(Coding::from_code(Coding::from_smpp(n).code()), Coding::from_smpp(n));
            let _ = decode(Coding::from_smpp(n), &[n; 7]);
        }
        assert_eq!(Coding::from_smpp(0x18), Coding::Ucs2);
        assert_eq!(Coding::from_smpp(0xF5), Coding::Binary);
        for coding in [Coding::Ascii, Coding::Binary, Coding::Ucs2, Coding::Gbk] {
            assert_eq!(Coding::from_cmpp(coding.to_cmpp()), coding);
            assert_eq!(Coding::from_smpp(coding.to_smpp()), coding);
        }
    }
}

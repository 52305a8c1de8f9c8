//! Digits as RTP events (RFC 4733): received with lost and repeated packets, sent with three ends;
//! and as tones, where a trunk has them so.

mod inband;
mod receive;
mod send;

pub use inband::InbandDetector;
pub use receive::{Digit, Receiver};
pub use send::{Chunk, Sender};

/// The event payload (RFC 4733 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventPayload {
    /// 0–9, 10 `*`, 11 `#`, 12–15 `A`–`D`.
    pub event: u8,
    /// Set in the last packets.
    pub end: bool,
    /// Power below 0 dBm0.
    pub volume: u8,
    /// Since the event began, in timestamp units.
    pub duration: u16,
}

impl EventPayload {
    /// Reads the first event of a payload; `None` if it is too short.
    #[must_use]
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let (bytes, _) = payload.split_first_chunk::<4>()?;
        Some(Self {
            event: bytes[0],
            end: bytes[1] & 0x80 != 0,
            volume: bytes[1] & 0x3F,
            duration: u16::from_be_bytes([bytes[2], bytes[3]]),
        })
    }

    /// The four bytes.
    #[must_use]
    pub fn bytes(&self) -> [u8; 4] {
        let [high, low] = self.duration.to_be_bytes();
        [self.event, (u8::from(self.end) << 7) | (self.volume & 0x3F), high, low]
    }
}

const DIGITS: &[u8; 16] = b"0123456789*#ABCD";

/// The key of an event code; `None` beyond DTMF.
#[must_use]
pub fn digit_of(event: u8) -> Option<char> {
    DIGITS.get(usize::from(event)).map(|&byte| char::from(byte))
}

/// The event code of a key (`a`–`d` too); `None` for anything else.
#[must_use]
pub fn event_of(digit: char) -> Option<u8> {
    let upper = u8::try_from(digit.to_ascii_uppercase()).ok()?;
    DIGITS.iter().position(|&byte| byte == upper).and_then(|index| u8::try_from(index).ok())
}

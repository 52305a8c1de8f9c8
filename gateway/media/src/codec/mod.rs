//! ITU-T G.711: tables both ways between 16-bit linear, A-law and µ-law, and A ↔ µ directly.

mod g711;
mod tables;

pub use g711::{alaw_to_linear, linear_to_alaw, linear_to_ulaw, ulaw_to_linear};
pub use tables::{decode_into, encode_into, transcode_into};

use crate::Codec;

/// The byte that means silence in a codec (the code of the smallest positive level).
#[must_use]
pub const fn silence_byte(codec: Codec) -> u8 {
    match codec {
        Codec::Pcma => 0xD5,
        Codec::Pcmu => 0xFF,
    }
}

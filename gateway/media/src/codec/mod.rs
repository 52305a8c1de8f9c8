//! The codecs, all of them 8 kHz mono on our side.
//!
//! ITU-T G.711 has no state: tables both ways between 16-bit linear, A-law and µ-law, and A ↔ µ
//! directly, for the hot path. [`Decoder`] and [`Encoder`] do G.722 and Opus too, one of each per
//! stream.

mod decoder;
mod encoder;
mod g711;
mod g722;
mod opus;
mod tables;

pub use decoder::Decoder;
pub use encoder::Encoder;
pub use g711::{alaw_to_linear, linear_to_alaw, linear_to_ulaw, ulaw_to_linear};
pub(crate) use tables::decode_table;
pub use tables::{decode_into, encode_into, transcode_into};

use crate::Codec;

/// The samples at 8 kHz a payload stands for; 0 if it is none of the codec's.
#[must_use]
pub fn packet_samples(codec: Codec, payload: &[u8]) -> u32 {
    match codec {
        Codec::Pcma | Codec::Pcmu | Codec::G722 => payload.len() as u32,
        Codec::Opus => opus::packet_samples(payload),
    }
}

/// The byte that means silence in G.711 (the code of the smallest positive level); 0 in the others,
/// where no single byte does.
#[must_use]
pub const fn silence_byte(codec: Codec) -> u8 {
    match codec {
        Codec::Pcma => 0xD5,
        Codec::Pcmu => 0xFF,
        Codec::G722 | Codec::Opus => 0,
    }
}

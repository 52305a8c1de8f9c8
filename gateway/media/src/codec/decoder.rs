//! Any codec's payloads to 8 kHz samples.

use super::{decode_into, g722::G722Decoder, opus::OpusDecoder};
use crate::{Codec, jitter::Decode};

/// Decodes one received stream, packets in the order they were spoken.
#[derive(Debug)]
pub struct Decoder(Kind);

#[derive(Debug)]
enum Kind {
    G711(Codec),
    G722(Box<G722Decoder>),
    Opus(Box<OpusDecoder>),
}

impl Decoder {
    /// For a stream in `codec`. G.711 takes no memory of its own, G.722 half a KiB, Opus some 40.
    #[must_use]
    pub fn new(codec: Codec) -> Self {
        Self(match codec {
            Codec::Pcma | Codec::Pcmu => Kind::G711(codec),
            Codec::G722 => Kind::G722(Box::default()),
            Codec::Opus => Kind::Opus(Box::default()),
        })
    }

    /// What it decodes.
    #[must_use]
    pub const fn codec(&self) -> Codec {
        match &self.0 {
            Kind::G711(codec) => *codec,
            Kind::G722(_) => Codec::G722,
            Kind::Opus(_) => Codec::Opus,
        }
    }

    /// Appends the samples of one packet, 8 kHz. A payload that is none of the codec's appends
    /// nothing. Never more than `RTP_PAYLOAD_LEN_MAX` samples.
    pub fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) {
        match &mut self.0 {
            Kind::G711(codec) => decode_into(*codec, payload, out),
            Kind::G722(decoder) => decoder.decode(payload, out),
            Kind::Opus(decoder) => decoder.decode(payload, out),
        }
    }

    /// Fills the place of a lost packet; the length is a multiple of 2.5 ms (20 samples), 960 at
    /// most. False: this codec has no concealment of its own, and `out` is as it was.
    pub fn conceal(&mut self, out: &mut [i16]) -> bool {
        match &mut self.0 {
            Kind::G711(_) | Kind::G722(_) => false,
            Kind::Opus(decoder) => decoder.conceal(out),
        }
    }

    /// Fills the place of a lost packet from the redundancy in the one after it, `next` (RFC 6716
    /// §2.1.7), which is decoded as usual afterwards; without redundancy it is concealed. Lengths as
    /// in [`Decoder::conceal`]. False: not this codec, or no packet; `out` is as it was.
    pub fn recover(&mut self, next: &[u8], out: &mut [i16]) -> bool {
        match &mut self.0 {
            Kind::G711(_) | Kind::G722(_) => false,
            Kind::Opus(decoder) => decoder.recover(next, out),
        }
    }
}

impl Decode for Decoder {
    fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) {
        Self::decode(self, payload, out);
    }

    fn conceal(&mut self, out: &mut [i16]) -> bool {
        Self::conceal(self, out)
    }

    fn recover(&mut self, next: &[u8], out: &mut [i16]) -> bool {
        Self::recover(self, next, out)
    }
}

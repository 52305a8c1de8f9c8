//! 8 kHz samples to any codec's payloads.

use super::{encode_into, g722::G722Encoder, opus::OpusEncoder};
use crate::{Codec, limits::FRAME_SAMPLES};

/// Encodes one sent stream, frames in order.
#[derive(Debug)]
pub struct Encoder(Kind);

#[derive(Debug)]
enum Kind {
    G711(Codec),
    G722(Box<G722Encoder>),
    Opus(Box<OpusEncoder>),
}

impl Encoder {
    /// For a stream in `codec`.
    #[must_use]
    pub fn new(codec: Codec) -> Self {
        Self(match codec {
            Codec::Pcma | Codec::Pcmu => Kind::G711(codec),
            Codec::G722 => Kind::G722(Box::default()),
            Codec::Opus => Kind::Opus(Box::default()),
        })
    }

    /// What it encodes.
    #[must_use]
    pub const fn codec(&self) -> Codec {
        match &self.0 {
            Kind::G711(codec) => *codec,
            Kind::G722(_) => Codec::G722,
            Kind::Opus(_) => Codec::Opus,
        }
    }

    /// Appends the payload of one packet of 20 ms.
    pub fn encode(&mut self, samples: &[i16; FRAME_SAMPLES], out: &mut Vec<u8>) {
        match &mut self.0 {
            Kind::G711(codec) => encode_into(*codec, samples, out),
            Kind::G722(encoder) => encoder.encode(samples, out),
            Kind::Opus(encoder) => encoder.encode(samples, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Decoder;
    use super::*;
    use crate::tone::amplitude_at;

    /// A tone of 2 s through encoder and decoder.
    fn through(codec: Codec, hz: f64, amplitude: f64) -> Vec<i16> {
        let (mut encoder, mut decoder) = (Encoder::new(codec), Decoder::new(codec));
        let (mut heard, mut coded, mut n) = (Vec::new(), Vec::new(), 0.0);
        for _ in 0..100 {
            let frame = std::array::from_fn(|_| {
                n += 1.0;
                ((n * hz * std::f64::consts::TAU / 8000.0).sin() * amplitude) as i16
            });
            coded.clear();
            encoder.encode(&frame, &mut coded);
            let before = heard.len();
            decoder.decode(&coded, &mut heard);
            assert_eq!(heard.len() - before, FRAME_SAMPLES, "{codec:?}");
        }
        heard
    }

    #[test]
    fn tones_come_back_at_their_level() {
        for codec in Codec::ALL {
            for (hz, amplitude) in [(300.0, 8000.0), (440.0, 500.0), (1000.0, 16_000.0), (3000.0, 8000.0)] {
                let heard = through(codec, hz, amplitude);
                let db = 20.0 * (amplitude_at(&heard[4000..], hz) / amplitude).log10();
                assert!(db.abs() < 1.0, "{codec:?} {hz} Hz at {amplitude}: {db:.2} dB");
            }
        }
    }

    #[test]
    fn full_scale_and_silence_stay_what_they_are() {
        for codec in Codec::ALL {
            let loud = through(codec, 1000.0, 32_000.0);
            let db = 20.0 * (amplitude_at(&loud[4000..], 1000.0) / 32_000.0).log10();
            assert!(db.abs() < 1.0, "{codec:?}: {db:.2} dB");
            let quiet = through(codec, 1000.0, 0.0);
            assert!(quiet[4000..].iter().all(|s| s.unsigned_abs() <= 16), "{codec:?}");
        }
    }
}

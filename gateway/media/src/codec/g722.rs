//! ITU-T G.722 at 64 kbit/s, by the `audio-codec` package, between 8 kHz and its 16 kHz.
//!
//! Decoding to 8 kHz takes the lower sub-band alone, which is what it is: the speech below 4 kHz.
//! Encoding doubles the rate first; the upper sub-band then carries next to nothing.

use audio_codec::g722::{Bitrate, G722Decoder as Bands, G722Encoder as Coder};
use audio_codec::{Decoder as _, Encoder as _};

use crate::limits::FRAME_SAMPLES;

/// Half of the interpolation filter between two samples (Kaiser window, β 5; 0.3 dB at 3.4 kHz, the
/// images more than 28 dB down from 4.6 kHz), in 1/32768.
const HALF_BAND: [i32; 8] = [20_704, -6432, 3342, -1908, 1081, -574, 269, -98];

pub(super) struct G722Decoder(Bands);

impl Default for G722Decoder {
    fn default() -> Self {
        // The third argument: 8 kHz, the lower sub-band alone.
        Self(Bands::with_options(Bitrate::Mode1_64000, false, true))
    }
}

impl std::fmt::Debug for G722Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("G722Decoder")
    }
}

impl G722Decoder {
    /// One byte is one sample at 8 kHz.
    pub(super) fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) {
        let start = out.len();
        out.resize(start + payload.len(), 0);
        let written = self.0.decode_into(payload, &mut out[start..]).unwrap_or(0);
        out.truncate(start + written);
    }
}

pub(super) struct G722Encoder {
    coder: Coder,
    /// The newest samples of the frame before, oldest first.
    tail: [i16; 2 * HALF_BAND.len() - 1],
}

impl Default for G722Encoder {
    fn default() -> Self {
        Self { coder: Coder::new(), tail: Default::default() }
    }
}

impl std::fmt::Debug for G722Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("G722Encoder")
    }
}

impl G722Encoder {
    pub(super) fn encode(&mut self, samples: &[i16; FRAME_SAMPLES], out: &mut Vec<u8>) {
        let mut wide = [0; 2 * FRAME_SAMPLES];
        self.double_rate(samples, &mut wide);
        let start = out.len();
        out.resize(start + FRAME_SAMPLES, 0);
        let written = self.coder.encode_into(&wide, &mut out[start..]).unwrap_or(0);
        out.truncate(start + written);
    }

    /// 8 kHz to 16 kHz: each sample, eight of them late, and the one between it and the next.
    fn double_rate(&mut self, samples: &[i16; FRAME_SAMPLES], wide: &mut [i16; 2 * FRAME_SAMPLES]) {
        const HALF: usize = HALF_BAND.len();
        let mut line = [0; 2 * HALF - 1 + FRAME_SAMPLES];
        line[..2 * HALF - 1].copy_from_slice(&self.tail);
        line[2 * HALF - 1..].copy_from_slice(samples);
        for (pair, around) in wide.chunks_exact_mut(2).zip(line.windows(2 * HALF)) {
            pair[0] = around[HALF - 1];
            let sum: i32 =
                (0..HALF).map(|k| HALF_BAND[k] * (i32::from(around[HALF - 1 - k]) + i32::from(around[HALF + k]))).sum();
            pair[1] = ((sum + (1 << 14)) >> 15).clamp(i16::MIN.into(), i16::MAX.into()) as i16;
        }
        self.tail.copy_from_slice(&line[FRAME_SAMPLES..]);
    }
}

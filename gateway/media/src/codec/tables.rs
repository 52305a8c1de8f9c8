//! Tables over the laws, so that a sample costs one look-up.

use super::{alaw_to_linear, linear_to_alaw, linear_to_ulaw, ulaw_to_linear};
use crate::Codec;

static ALAW_DECODE: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = alaw_to_linear(code as u8);
        code += 1;
    }
    table
};
static ULAW_DECODE: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = ulaw_to_linear(code as u8);
        code += 1;
    }
    table
};
/// Indexed by the 13 significant bits of the sample.
static ALAW_ENCODE: [u8; 8192] = {
    let mut table = [0; 8192];
    let mut index = 0;
    while index < 8192 {
        table[index] = linear_to_alaw(((index as u16) << 3) as i16);
        index += 1;
    }
    table
};
/// Indexed by the 14 significant bits of the sample.
static ULAW_ENCODE: [u8; 16384] = {
    let mut table = [0; 16384];
    let mut index = 0;
    while index < 16384 {
        table[index] = linear_to_ulaw(((index as u16) << 2) as i16);
        index += 1;
    }
    table
};
static ALAW_TO_ULAW: [u8; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = linear_to_ulaw(alaw_to_linear(code as u8));
        code += 1;
    }
    table
};
static ULAW_TO_ALAW: [u8; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = linear_to_alaw(ulaw_to_linear(code as u8));
        code += 1;
    }
    table
};

/// The samples of a G.711 law's codes.
pub(crate) const fn decode_table(codec: Codec) -> Option<&'static [i16; 256]> {
    match codec {
        Codec::Pcma => Some(&ALAW_DECODE),
        Codec::Pcmu => Some(&ULAW_DECODE),
        Codec::G722 | Codec::Opus => None,
    }
}

/// Appends the decoded samples of `payload` to `out`. G.711 only: the other codecs have a state,
/// which a [`super::Decoder`] keeps, and nothing is appended for them.
pub fn decode_into(codec: Codec, payload: &[u8], out: &mut Vec<i16>) {
    let table = match codec {
        Codec::Pcma => &ALAW_DECODE,
        Codec::Pcmu => &ULAW_DECODE,
        Codec::G722 | Codec::Opus => return,
    };
    out.extend(payload.iter().map(|&code| table[usize::from(code)]));
}

/// Appends the encoded samples to `out`, one byte each. G.711 only, as [`decode_into`].
pub fn encode_into(codec: Codec, samples: &[i16], out: &mut Vec<u8>) {
    match codec {
        Codec::Pcma => out.extend(samples.iter().map(|&s| ALAW_ENCODE[usize::from(s as u16 >> 3)])),
        Codec::Pcmu => out.extend(samples.iter().map(|&s| ULAW_ENCODE[usize::from(s as u16 >> 2)])),
        Codec::G722 | Codec::Opus => {}
    }
}

/// Appends `payload`, coded as `from`, to `out` coded as `to`: G.711 by table, the same codec
/// unchanged. Between other codecs nothing is appended; that takes a decoder and an encoder.
pub fn transcode_into(from: Codec, to: Codec, payload: &[u8], out: &mut Vec<u8>) {
    let table = match (from, to) {
        (Codec::Pcma, Codec::Pcmu) => &ALAW_TO_ULAW,
        (Codec::Pcmu, Codec::Pcma) => &ULAW_TO_ALAW,
        _ if from == to => return out.extend_from_slice(payload),
        _ => return,
    };
    out.extend(payload.iter().map(|&code| table[usize::from(code)]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_agree_with_the_laws_for_every_sample() {
        let samples: Vec<i16> = (i16::MIN..=i16::MAX).collect();
        let (mut a, mut u) = (Vec::new(), Vec::new());
        encode_into(Codec::Pcma, &samples, &mut a);
        encode_into(Codec::Pcmu, &samples, &mut u);
        for (index, &sample) in samples.iter().enumerate() {
            assert_eq!(a[index], linear_to_alaw(sample), "{sample}");
            assert_eq!(u[index], linear_to_ulaw(sample & !3), "{sample}");
        }
        let mut back = Vec::new();
        decode_into(Codec::Pcma, &[0xD5, 0xAA], &mut back);
        assert_eq!(back, [8, 32256]);
    }

    #[test]
    fn transcoding_there_and_back_moves_a_code_at_most_one_step() {
        for code in 0..=255u8 {
            let (mut u, mut a) = (Vec::new(), Vec::new());
            transcode_into(Codec::Pcma, Codec::Pcmu, &[code], &mut u);
            transcode_into(Codec::Pcmu, Codec::Pcma, &u, &mut a);
            let before = i32::from(alaw_to_linear(code));
            let after = i32::from(alaw_to_linear(a[0]));
            assert!((before - after).abs() <= before.abs() / 16 + 16, "{code:#x}: {before} {after}");
        }
        let mut same = Vec::new();
        transcode_into(Codec::Pcmu, Codec::Pcmu, &[1, 2, 3], &mut same);
        assert_eq!(same, [1, 2, 3]);
    }
}

//! G.711 A-law and µ-law, computed sample by sample from the Recommendation.

/// One linear sample (16 bits) to A-law.
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "masked to 8 bits")]
pub fn alaw_encode(sample: i16) -> u8 {
    let mask: u8 = if sample >= 0 { 0xD5 } else { 0x55 };
    let magnitude = if sample >= 0 { i32::from(sample) } else { -i32::from(sample) - 1 } >> 3;
    let magnitude = magnitude.min(0xFFF);
    let mut segment = 0;
    while segment < 7 && magnitude >= 0x20 << segment {
        segment += 1;
    }
    let shift = if segment < 2 { 1 } else { segment };
    ((segment << 4 | (magnitude >> shift) & 0x0F) as u8) ^ mask
}

/// One A-law byte to a linear sample.
#[must_use]
#[allow(clippy::cast_possible_truncation, reason = "at most 32,256")]
pub fn alaw_decode(byte: u8) -> i16 {
    let value = byte ^ 0x55;
    let segment = i32::from(value >> 4 & 7);
    let step = i32::from(value & 0x0F) << 4;
    let magnitude = if segment == 0 { step + 8 } else { (step + 0x108) << (segment - 1) };
    (if value & 0x80 == 0 { -magnitude } else { magnitude }) as i16
}

/// One linear sample (16 bits) to µ-law.
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "masked to 8 bits")]
pub fn ulaw_encode(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = i32::from(sample).abs().min(32_635) + 0x84;
    let segment = (7..15).rev().find(|bit| magnitude >> bit != 0).map_or(0, |bit| bit - 7);
    let mantissa = magnitude >> (segment + 3) & 0x0F;
    !((sign | segment << 4 | mantissa) as u8)
}

/// One µ-law byte to a linear sample.
#[must_use]
#[allow(clippy::cast_possible_truncation, reason = "at most 32,124")]
pub fn ulaw_decode(byte: u8) -> i16 {
    let value = !byte;
    let segment = i32::from(value >> 4 & 7);
    let magnitude = (((i32::from(value & 0x0F) << 3) + 0x84) << segment) - 0x84;
    (if value & 0x80 == 0 { magnitude } else { -magnitude }) as i16
}

/// Samples to the bytes of payload type 0 (µ-law) or any other (A-law).
#[must_use]
pub fn encode(samples: &[i16], payload_type: u8) -> Vec<u8> {
    let code = if payload_type == 0 { ulaw_encode } else { alaw_encode };
    samples.iter().map(|&s| code(s)).collect()
}

/// The reverse of [`encode`].
#[must_use]
pub fn decode(bytes: &[u8], payload_type: u8) -> Vec<i16> {
    let code = if payload_type == 0 { ulaw_decode } else { alaw_decode };
    bytes.iter().map(|&b| code(b)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_word_survives_decoding_and_encoding() {
        for byte in 0..=255_u8 {
            assert_eq!(alaw_encode(alaw_decode(byte)), byte, "A-law {byte:#x}");
            // µ-law has two zeros; the negative one becomes the positive one.
            let back = ulaw_encode(ulaw_decode(byte));
            assert!(back == byte || byte == 0x7F && back == 0xFF, "µ-law {byte:#x}");
        }
    }

    #[test]
    fn known_values_of_the_recommendation() {
        assert_eq!(alaw_decode(0xD5), 8);
        assert_eq!(alaw_decode(0x55), -8);
        assert_eq!(alaw_decode(0xAA), 32_256);
        assert_eq!(ulaw_decode(0xFF), 0);
        assert_eq!(ulaw_decode(0x80), 32_124);
    }

    #[test]
    fn the_error_of_any_sample_stays_below_one_step_of_its_segment() {
        for sample in i16::MIN..=i16::MAX {
            let linear = i32::from(sample);
            let allowed = (linear.abs() / 16).max(16) + 600 * i32::from(linear.abs() > 32_000);
            for back in [alaw_decode(alaw_encode(sample)), ulaw_decode(ulaw_encode(sample))] {
                assert!((i32::from(back) - linear).abs() <= allowed, "{sample} → {back}");
            }
        }
    }
}

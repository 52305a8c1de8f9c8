//! The companding laws as arithmetic (ITU-T G.711 §3); the tables are made from these.

/// Bias added before µ-law's segment search, in 14-bit units.
const ULAW_BIAS: i32 = 33;
/// Largest magnitude µ-law can carry after the bias.
const ULAW_CLIP: i32 = 8191;
/// Even bits inverted on the line (G.711 table 1a, note 2).
const ALAW_TOGGLE: u8 = 0x55;

/// Linear 16-bit → A-law (sign, 3-bit segment, 4-bit step; even bits inverted).
#[must_use]
pub const fn linear_to_alaw(sample: i16) -> u8 {
    // A-law works on 13 bits: sign and 12 bits of magnitude.
    let value = (sample as i32) >> 3;
    let (sign, magnitude) = if value >= 0 { (0x80, value) } else { (0, -value - 1) };
    let code = if magnitude < 32 {
        (magnitude >> 1) as u8
    } else {
        let segment = 27 - (magnitude as u32).leading_zeros() as i32;
        ((segment << 4) | ((magnitude >> segment) & 0x0F)) as u8
    };
    (sign | code) ^ ALAW_TOGGLE
}

/// A-law → linear 16-bit, the middle of the quantising interval.
#[must_use]
pub const fn alaw_to_linear(code: u8) -> i16 {
    let code = code ^ ALAW_TOGGLE;
    let segment = ((code >> 4) & 0x07) as i32;
    let step = (code & 0x0F) as i32;
    // In 16-bit units: interval width 16 in the first two segments, doubled by each further one.
    let magnitude = if segment == 0 { (step << 4) + 8 } else { ((step << 4) + 0x108) << (segment - 1) };
    if code & 0x80 != 0 { magnitude as i16 } else { (-magnitude) as i16 }
}

/// Linear 16-bit → µ-law (all bits inverted).
#[must_use]
pub const fn linear_to_ulaw(sample: i16) -> u8 {
    // µ-law works on 14 bits: sign and 13 bits of magnitude.
    let value = (sample as i32) >> 2;
    let (sign, magnitude) = if value >= 0 { (0x00, value) } else { (0x80, -value) };
    let biased = if magnitude + ULAW_BIAS > ULAW_CLIP { ULAW_CLIP } else { magnitude + ULAW_BIAS };
    let segment = 26 - (biased as u32).leading_zeros() as i32;
    let step = (biased >> (segment + 1)) & 0x0F;
    !(sign | ((segment << 4) as u8) | step as u8)
}

/// µ-law → linear 16-bit, the middle of the quantising interval.
#[must_use]
pub const fn ulaw_to_linear(code: u8) -> i16 {
    let code = !code;
    let segment = ((code >> 4) & 0x07) as i32;
    let step = (code & 0x0F) as i32;
    let magnitude = ((((step << 1) + ULAW_BIAS) << segment) - ULAW_BIAS) << 2;
    if code & 0x80 != 0 { (-magnitude) as i16 } else { magnitude as i16 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_points_of_g711_are_met() {
        assert_eq!(linear_to_alaw(0), 0xD5);
        assert_eq!(linear_to_ulaw(0), 0xFF);
        assert_eq!(alaw_to_linear(0xD5), 8);
        assert_eq!(alaw_to_linear(0x55), -8);
        assert_eq!(alaw_to_linear(0xAA), 32256);
        assert_eq!(alaw_to_linear(0x2A), -32256);
        assert_eq!(ulaw_to_linear(0xFF), 0);
        assert_eq!(ulaw_to_linear(0x80), 32124);
        assert_eq!(ulaw_to_linear(0x00), -32124);
        assert_eq!(linear_to_alaw(i16::MAX), 0xAA);
        assert_eq!(linear_to_alaw(i16::MIN), 0x2A);
        assert_eq!(linear_to_ulaw(i16::MAX), 0x80);
        assert_eq!(linear_to_ulaw(i16::MIN), 0x00);
    }

    #[test]
    fn every_code_survives_decode_and_encode() {
        for code in 0..=255u8 {
            assert_eq!(linear_to_alaw(alaw_to_linear(code)), code, "A-law {code:#x}");
            // µ-law has two zeros; the negative one decodes to the same sample.
            let expected = if code == 0x7F { 0xFF } else { code };
            assert_eq!(linear_to_ulaw(ulaw_to_linear(code)), expected, "µ-law {code:#x}");
        }
    }

    #[test]
    fn quantising_error_stays_within_half_a_step() {
        for sample in i16::MIN..=i16::MAX {
            let error_a = (i32::from(alaw_to_linear(linear_to_alaw(sample))) - i32::from(sample)).abs();
            let error_u = (i32::from(ulaw_to_linear(linear_to_ulaw(sample))) - i32::from(sample)).abs();
            let bound = i32::from(sample).abs() / 16 + 24;
            assert!(error_a <= bound, "A-law {sample}: {error_a}");
            // µ-law clips above 32124.
            assert!(error_u <= bound.max(i32::from(sample).abs() - 32124 + 24), "µ-law {sample}: {error_u}");
        }
    }
}

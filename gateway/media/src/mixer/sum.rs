//! The sum of frames, bent instead of cut where it grows too loud.

use super::{Frame, Hears};
use crate::limits::FRAME_SAMPLES;

/// Up to here (−2.5 dBFS) a sum stays as it is.
const KNEE: i32 = 24_576;
/// What lies beyond is squeezed into this.
const ROOM: i32 = i16::MAX as i32 - KNEE;

/// Writes the sum of the frames of `hears` into `out`: silence of none, one unchanged to the bit,
/// several soft-limited.
pub fn mix(frames: &[Frame], hears: Hears, out: &mut Frame) {
    if let Some(frame) = hears.only().and_then(|n| frames.get(n)) {
        *out = *frame;
        return;
    }
    let mut sum = [0i32; FRAME_SAMPLES];
    for frame in hears.iter().filter_map(|n| frames.get(n)) {
        for (sum, &sample) in sum.iter_mut().zip(frame) {
            *sum += i32::from(sample);
        }
    }
    for (out, &sum) in out.iter_mut().zip(&sum) {
        *out = limit(sum);
    }
}

/// Two people who shout at once push against a cushion: the curve leaves the straight line without
/// a corner and never reaches full scale, so nothing is clipped.
pub(super) fn limit(sum: i32) -> i16 {
    let over = sum.abs() - KNEE;
    if over <= 0 {
        return sum as i16;
    }
    let bent = KNEE + i32::try_from(i64::from(ROOM) * i64::from(over) / i64::from(ROOM + over)).unwrap_or(ROOM);
    (bent * sum.signum()) as i16
}

#[cfg(test)]
mod tests {
    use super::super::SILENT;
    use super::*;

    fn of(members: &[usize]) -> Hears {
        let mut hears = Hears::default();
        members.iter().for_each(|&n| hears.add(n));
        hears
    }

    #[test]
    fn a_listener_gets_its_row_and_nothing_else() {
        let frames = [[100; FRAME_SAMPLES], [20; FRAME_SAMPLES], [-3; FRAME_SAMPLES]];
        let mut out = [7; FRAME_SAMPLES];
        mix(&frames, of(&[]), &mut out);
        assert_eq!(out, SILENT);
        mix(&frames, of(&[0, 2]), &mut out);
        assert_eq!(out, [97; FRAME_SAMPLES]);
        mix(&frames, of(&[0, 1, 2]), &mut out);
        assert_eq!(out, [117; FRAME_SAMPLES]);
        mix(&frames, of(&[1, 7]), &mut out);
        assert_eq!(out, [20; FRAME_SAMPLES], "a member that isn't there adds nothing");
    }

    #[test]
    fn one_voice_passes_unchanged_however_loud() {
        let frames = [[i16::MIN; FRAME_SAMPLES], [i16::MAX; FRAME_SAMPLES]];
        let mut out = SILENT;
        mix(&frames, of(&[0]), &mut out);
        assert_eq!(out, frames[0]);
        mix(&frames, of(&[1]), &mut out);
        assert_eq!(out, frames[1]);
    }

    #[test]
    fn the_limiter_is_straight_below_the_knee_rising_above_it_and_never_wraps() {
        let mut before = i16::MIN;
        for sum in -8 * 32_768..=8 * 32_767 {
            let out = limit(sum);
            assert!(out >= before, "{sum}");
            assert_eq!(limit(-sum), -out);
            if sum.abs() <= KNEE {
                assert_eq!(i32::from(out), sum);
            }
            before = out;
        }
        assert!(limit(2 * 32_767) > 29_000);
    }
}

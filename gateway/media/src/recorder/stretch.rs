//! One packet made some samples longer or shorter, so that a drifting clock is made up for without a
//! click: first and last sample stay, the others are read off a curve through their neighbours.

/// Appends `samples` to `out` as `samples.len() + slip` samples. Fewer than four, or a slip that would
/// leave less than half of them, stay as they are.
pub(super) fn stretch_into(samples: &[i16], slip: i64, out: &mut Vec<i16>) {
    let len = samples.len();
    let target = i64::try_from(len).unwrap_or(0) + slip;
    let Some(target) = usize::try_from(target).ok().filter(|target| len >= 4 && *target >= len / 2) else {
        return out.extend_from_slice(samples);
    };
    let step = (len - 1) as f32 / (target - 1) as f32;
    out.extend((0..target).map(|n| {
        let x = n as f32 * step;
        let index = (x as usize).min(len - 2);
        curve(samples, index, x - index as f32)
    }));
}

/// The cubic through four neighbours (Lagrange), `t` of the way from sample `index` to the next. At the
/// edges the same four samples are read from further out.
fn curve(samples: &[i16], index: usize, t: f32) -> i16 {
    let first = index.saturating_sub(1).min(samples.len() - 4);
    let t = t + (index - first) as f32;
    let [a, b, c, d] = [0, 1, 2, 3].map(|n| f32::from(samples[first + n]));
    let (t1, t2, t3) = (t - 1.0, t - 2.0, t - 3.0);
    let value = -a * t1 * t2 * t3 / 6.0 + b * t * t2 * t3 / 2.0 - c * t * t1 * t3 / 2.0 + d * t * t1 * t2 / 6.0;
    // The cast cuts towards zero and saturates; `round` would be a call for each sample.
    (value + 0.5f32.copysign(value)) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(n: f64) -> f64 {
        (n * 1000.0 * std::f64::consts::TAU / 8000.0).sin() * 8000.0
    }

    #[test]
    fn a_stretched_sine_is_a_sine_from_edge_to_edge() {
        let samples: Vec<i16> = (0..160).map(|n| sine(f64::from(n)) as i16).collect();
        for slip in [-8i64, -1, 1, 8] {
            let mut out = Vec::new();
            stretch_into(&samples, slip, &mut out);
            assert_eq!(out.len() as i64, 160 + slip);
            assert_eq!((out[0], out.last()), (samples[0], samples.last()));
            let step = 159.0 / (out.len() - 1) as f64;
            for (n, sample) in out.iter().enumerate() {
                let wanted = sine(n as f64 * step);
                assert!((f64::from(*sample) - wanted).abs() < 250.0, "slip {slip}, sample {n}: {sample} {wanted}");
            }
        }
    }

    #[test]
    fn what_is_too_short_to_be_stretched_stays_as_it_is() {
        let mut out = Vec::new();
        stretch_into(&[1, 2, 3], 1, &mut out);
        stretch_into(&[1, 2, 3, 4], -3, &mut out);
        stretch_into(&[], 8, &mut out);
        assert_eq!(out, [1, 2, 3, 1, 2, 3, 4]);
    }
}

//! The E-model of ITU-T G.107 with its default values, narrowband. Delay, loss and codec vary;
//! loudness, room noise, echo loss (65 dB) and quantisation are those of the recommendation.

use crate::Codec;

/// Basic signal-to-noise ratio Ro at the default values.
const RO: f64 = 94.7688;
/// Simultaneous impairments Is at the default values.
const IS: f64 = 1.4136;
/// Talker echo loudness rating, dB.
const TELR: f64 = 65.0;
/// Weighted echo path loss of the listener's side, dB.
const WEPL: f64 = 110.0;

/// What a codec with its concealment takes from R (ITU-T G.113 Appendix I).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Equipment {
    /// Impairment without loss.
    pub ie: f64,
    /// Robustness against loss; larger is better.
    pub bpl: f64,
}

impl Equipment {
    /// G.711 with nothing done about holes.
    pub const G711: Self = Self { ie: 0.0, bpl: 4.3 };
    /// G.711 with packet loss concealment (Appendix I of G.711), as in almost every phone.
    pub const G711_PLC: Self = Self { ie: 0.0, bpl: 25.1 };
    /// G.722 and Opus heard as narrowband speech: an approximation, since G.113 rates neither on this scale. Both
    /// are clean without loss and bridge holes about as well as G.711 with concealment.
    pub const WIDEBAND: Self = Self { ie: 0.0, bpl: 20.0 };

    /// What a phone with this codec is taken to have.
    #[must_use]
    pub const fn of(codec: Codec) -> Self {
        match codec {
            Codec::Pcma | Codec::Pcmu => Self::G711_PLC,
            Codec::G722 | Codec::Opus => Self::WIDEBAND,
        }
    }
}

/// One direction of a leg.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Path {
    /// Mouth to ear, ms; echo comes back after twice as long.
    pub delay_ms: f64,
    /// Packets lost or too late, %.
    pub loss_percent: f64,
    /// Mean length of the losses against that of random loss; 1 = random, more = bursts.
    pub burst_ratio: f64,
    /// Codec and concealment.
    pub equipment: Equipment,
}

/// The rating R, 0–100 (G.107 §7): 93.2 for a perfect narrowband call.
#[must_use]
pub fn r_factor(path: &Path) -> f64 {
    (RO - IS - delay_impairment(path.delay_ms) - loss_impairment(path)).clamp(0.0, 100.0)
}

/// Ie,eff (G.107 §7.5).
fn loss_impairment(path: &Path) -> f64 {
    let Equipment { ie, bpl } = path.equipment;
    let loss = path.loss_percent.clamp(0.0, 100.0);
    let burst_ratio = if path.burst_ratio.is_finite() { path.burst_ratio.max(1.0) } else { 1.0 };
    ie + (95.0 - ie) * loss / (loss / burst_ratio + bpl)
}

/// Id = Idte + Idle + Idd (G.107 §7.4) with T = Ta and Tr = 2T.
fn delay_impairment(delay_ms: f64) -> f64 {
    let t = if delay_ms.is_finite() { delay_ms.clamp(0.0, 10_000.0) } else { 0.0 };
    let talker = if t < 1.0 {
        0.0
    } else {
        let terv = TELR - 40.0 * ((1.0 + t / 10.0) / (1.0 + t / 150.0)).log10() + 6.0 * (-0.3 * t * t).exp();
        let re = 80.0 + 2.5 * (terv - 14.0);
        let half = (RO - re) / 2.0;
        ((half + half.hypot(10.0) - 1.0) * (1.0 - (-t).exp())).max(0.0)
    };
    let rle = 10.5 * (WEPL + 7.0) * (2.0 * t + 1.0).powf(-0.25);
    let half = (RO - rle) / 2.0;
    let listener = half + half.hypot(13.0);
    talker + listener + too_long(t)
}

/// Idd: what a delay takes from a conversation even without echo.
fn too_long(t: f64) -> f64 {
    if t <= 100.0 {
        return 0.0;
    }
    let x = (t / 100.0).log2();
    let term = |x: f64| (1.0 + x.powi(6)).powf(1.0 / 6.0);
    25.0 * (term(x) - 3.0 * term(x / 3.0) + 2.0)
}

/// The mean opinion score for a rating, 1.0–4.5 (G.107 Annex B).
#[must_use]
pub fn mos(r: f64) -> f64 {
    if r <= 0.0 {
        return 1.0;
    }
    if r >= 100.0 {
        return 4.5;
    }
    // The polynomial dips below 1 for ratings under 6.5.
    (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(delay_ms: f64, loss_percent: f64, equipment: Equipment) -> Path {
        Path { delay_ms, loss_percent, burst_ratio: 1.0, equipment }
    }

    fn r(delay_ms: f64, loss_percent: f64, equipment: Equipment) -> f64 {
        r_factor(&path(delay_ms, loss_percent, equipment))
    }

    #[test]
    fn the_default_values_rate_93_2_and_score_4_41() {
        let rating = r(0.0, 0.0, Equipment::G711);
        assert!((rating - 93.2).abs() < 0.05, "{rating}");
        assert!((mos(rating) - 4.41).abs() < 0.005, "{}", mos(rating));
    }

    /// G.107 Annex B, table B.1.
    #[test]
    fn ratings_turn_into_the_scores_of_the_annex() {
        for (rating, score) in [(90.0, 4.34), (80.0, 4.03), (70.0, 3.60), (60.0, 3.10), (50.0, 2.58)] {
            assert!((mos(rating) - score).abs() < 0.01, "R {rating}: {} not {score}", mos(rating));
        }
        assert_eq!((mos(-5.0), mos(0.0), mos(100.0), mos(120.0)), (1.0, 1.0, 4.5, 4.5));
        for tenths in 0..=1000 {
            assert!((1.0..=4.5).contains(&mos(f64::from(tenths) / 10.0)));
        }
    }

    /// The straight lines by which planners know these curves: 0.024 d, and 0.11 more per ms beyond 177.3 ms.
    #[test]
    fn delay_takes_what_the_planning_lines_say() {
        for delay in [50.0, 100.0, 150.0, 200.0, 250.0, 300.0] {
            let line = 0.024 * delay + 0.11 * f64::max(0.0, delay - 177.3);
            let taken = delay_impairment(delay);
            assert!((taken - line).abs() < 2.0, "{delay} ms: {taken} against {line}");
        }
        assert!(delay_impairment(f64::NAN).is_finite() && delay_impairment(1e9).is_finite());
    }

    #[test]
    fn loss_takes_what_g_113_s_robustness_says() {
        for (loss, equipment, taken) in [
            (1.0, Equipment::G711, 17.92),
            (5.0, Equipment::G711, 51.08),
            (1.0, Equipment::G711_PLC, 3.64),
            (5.0, Equipment::G711_PLC, 15.78),
            (10.0, Equipment::G711_PLC, 27.07),
        ] {
            let found = r(0.0, 0.0, equipment) - r(0.0, loss, equipment);
            assert!((found - taken).abs() < 0.01, "{loss} %: {found} not {taken}");
        }
        assert!(r(0.0, 100.0, Equipment::G711) < 5.0);
    }

    #[test]
    fn the_same_loss_in_bursts_is_worse() {
        let random = path(0.0, 4.0, Equipment::G711_PLC);
        let bursts = Path { burst_ratio: 3.0, ..random };
        assert!(r_factor(&bursts) < r_factor(&random));
        let odd = Path { burst_ratio: f64::NAN, ..random };
        assert_eq!(r_factor(&odd), r_factor(&random));
    }
}

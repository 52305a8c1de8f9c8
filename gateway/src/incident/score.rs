//! How likely two reports are about one incident: points with their reasons, 0 to 100. Pure.

use serde::Serialize;

/// Metres within which positions count as the same: a phone's error in a street.
const SAME_M: f64 = 30.0;
/// Most points of each part.
const PLACE: f64 = 45.0;
const CLASS: f64 = 30.0;
const TIME: f64 = 15.0;
const WORDS: f64 = 10.0;
/// A place's points from which a match may be strong.
const PLACE_STRONG: i64 = 30;
/// Metres in a degree of latitude.
const DEGREE_M: f64 = 111_320.0;

/// What is compared.
#[derive(Clone, Debug, Default)]
pub struct Facts<'a> {
    /// Class code.
    pub class: Option<&'a str>,
    /// Longitude and latitude in degrees.
    pub position: Option<(f64, f64)>,
    /// The place in words.
    pub place: &'a str,
    /// What the citizen said.
    pub words: &'a str,
    /// Arrival (epoch ms).
    pub at: i64,
}

/// One reason for the score.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// `distance`, `place`, `class`, `time`, `words`.
    pub what: &'static str,
    /// Its points.
    pub points: i64,
    /// A sentence for people.
    pub text: String,
}

/// The comparison of two reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Score {
    /// 0 to 100.
    pub total: i64,
    /// Same class and practically the same place: what may be merged without a person.
    pub is_certain: bool,
    /// Why.
    pub reasons: Vec<Reason>,
}

/// Metres between two positions in degrees; exact enough within a city.
#[must_use]
pub fn distance_m(a: (f64, f64), b: (f64, f64)) -> f64 {
    let east = (a.0 - b.0) * ((a.1 + b.1) / 2.0).to_radians().cos();
    (east * DEGREE_M).hypot((a.1 - b.1) * DEGREE_M)
}

/// Pairs of neighbouring characters, letters and digits only, sorted, each once.
struct Pairs(Vec<u64>);

impl Pairs {
    fn of(text: &str) -> Self {
        let mut pairs = Vec::with_capacity(64);
        let mut last = None;
        for c in text.chars().filter(|c| c.is_alphanumeric()).take(400) {
            let c = u64::from(u32::from(c));
            pairs.extend(last.map(|l: u64| l << 32 | c));
            last = Some(c);
        }
        pairs.sort_unstable();
        pairs.dedup();
        Self(pairs)
    }

    /// Dice's coefficient, 0 to 1.
    fn alike(&self, other: &Self) -> f64 {
        let (mut a, mut b) = (self.0.as_slice(), other.0.as_slice());
        if a.is_empty() || b.is_empty() {
            return 0.0;
        }
        let mut common = 0_u16;
        while let (Some(p), Some(q)) = (a.first(), b.first()) {
            common += u16::from(p == q);
            let (past_a, past_b) = (p <= q, q <= p);
            a = &a[usize::from(past_a)..];
            b = &b[usize::from(past_b)..];
        }
        #[allow(clippy::cast_precision_loss, reason = "some hundreds")]
        let all = (self.0.len() + other.0.len()) as f64;
        2.0 * f64::from(common) / all
    }
}

#[allow(clippy::cast_possible_truncation, reason = "points are below 100")]
fn points(value: f64) -> i64 {
    value.clamp(0.0, 100.0).round() as i64
}

fn place(a: &Facts<'_>, pairs: &Pairs, b: &Facts<'_>, radius_m: f64) -> Reason {
    if let (Some(p), Some(q)) = (a.position, b.position) {
        let metres = distance_m(p, q);
        let share = if metres <= SAME_M {
            1.0
        } else if metres <= radius_m {
            1.0 - 0.6 * (metres - SAME_M) / (radius_m - SAME_M).max(1.0)
        } else {
            0.0
        };
        let text = format!("相距 {metres:.0} 米 / {metres:.0} m apart");
        return Reason { what: "distance", points: points(PLACE * share), text };
    }
    let text = pairs.alike(&Pairs::of(b.place));
    let percent = points(text * 100.0);
    Reason {
        what: "place",
        points: points(PLACE * text.min(0.9) / 0.9),
        text: format!("地点文字相似 {percent}% / places alike {percent}%"),
    }
}

fn class(a: Option<&str>, b: Option<&str>) -> Reason {
    let (share, text) = match (a.filter(|c| !c.is_empty()), b.filter(|c| !c.is_empty())) {
        (Some(a), Some(b)) if a == b => (1.0, format!("同类 {a} / same class {a}")),
        (Some(a), Some(b)) if a.get(..2).is_some() && a.get(..2) == b.get(..2) => {
            (0.5, format!("同大类 {a}、{b} / same kind of class {a}, {b}"))
        }
        (Some(a), Some(b)) => (0.0, format!("不同类 {a}、{b} / other class {a}, {b}")),
        _ => (0.25, "类别未知 / class not known".to_owned()),
    };
    Reason { what: "class", points: points(CLASS * share), text }
}

fn time(a: i64, b: i64) -> Reason {
    let minutes = (a.saturating_sub(b)).unsigned_abs() / 60_000;
    let share = match minutes {
        0..10 => 1.0,
        10..60 => 0.8,
        60..360 => 0.5,
        360..1_440 => 0.3,
        _ => 0.1,
    };
    Reason {
        what: "time", points: points(TIME * share), text: format!("相隔 {minutes} 分钟 / {minutes} min apart")
    }
}

/// A report others are compared with; what doesn't change from one to the next is worked out once.
pub struct Compared<'a> {
    facts: Facts<'a>,
    place: Pairs,
    words: Pairs,
    radius_m: f64,
}

impl<'a> Compared<'a> {
    /// Positions within `radius_m` count.
    #[must_use]
    pub fn new(facts: Facts<'a>, radius_m: f64) -> Self {
        Self { place: Pairs::of(facts.place), words: Pairs::of(facts.words), facts, radius_m }
    }

    /// The score, unless it is below `least`. Elsewhere is elsewhere, however alike the rest: 0.
    #[must_use]
    pub fn score(&self, b: &Facts<'_>, least: i64) -> Option<Score> {
        let a = &self.facts;
        let place = place(a, &self.place, b, self.radius_m);
        let is_elsewhere = place.points == 0;
        let class = class(a.class, b.class);
        let time = time(a.at, b.at);
        let sum = place.points + class.points + time.points;
        // Most rows end here, before their words are taken apart.
        if least > if is_elsewhere { 0 } else { sum + points(WORDS) } {
            return None;
        }
        let words = self.words.alike(&Pairs::of(b.words));
        let percent = points(words * 100.0);
        let words = Reason {
            what: "words",
            points: points(WORDS * words),
            text: format!("内容相似 {percent}% / words alike {percent}%"),
        };
        let total = if is_elsewhere { 0 } else { (sum + words.points).min(100) };
        let is_certain = place.points >= PLACE_STRONG && class.points == points(CLASS);
        (total >= least).then(|| Score { total, is_certain, reasons: vec![place, class, time, words] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(a: &Facts<'_>, b: &Facts<'_>, radius_m: f64) -> Score {
        Compared::new(a.clone(), radius_m).score(b, 0).unwrap()
    }

    const HERE: (f64, f64) = (119.9741, 31.8112);

    fn facts<'a>(class: &'a str, position: Option<(f64, f64)>, place: &'a str, at: i64) -> Facts<'a> {
        Facts { class: Some(class), position, place, words: "井盖缺失,很危险", at }
    }

    #[test]
    fn the_same_hole_reported_twice_within_a_minute_is_certain() {
        let a = facts("01101", Some(HERE), "人民路", 0);
        let b = facts("01101", Some((119.9742, 31.8113)), "人民路口", 50_000);
        let s = score(&a, &b, 120.0);
        assert!(s.is_certain && s.total >= 90, "{s:?}");
        assert_eq!(s, score(&b, &a, 120.0), "the order doesn't matter");
    }

    #[test]
    fn without_positions_the_words_of_the_place_decide() {
        let a = facts("01101", None, "人民路与解放路交叉口", 0);
        let b = facts("01101", None, "人民路解放路交叉口", 60_000);
        assert!(score(&a, &b, 120.0).is_certain);
        let c = facts("01101", None, "通江大道36号", 60_000);
        assert_eq!(score(&a, &c, 120.0).total, 0);
        let other = facts("02203", None, "人民路与解放路交叉口", 60_000);
        let s = score(&a, &other, 120.0);
        assert!(!s.is_certain && s.total < 80, "{s:?}");
    }

    #[test]
    fn elsewhere_is_elsewhere() {
        let a = facts("01101", Some(HERE), "人民路", 0);
        let far = facts("01101", Some((119.99, 31.82)), "人民路", 0);
        assert_eq!(score(&a, &far, 120.0).total, 0);
        assert!(distance_m(HERE, (119.99, 31.82)) > 1_500.0);
    }

    #[test]
    fn the_score_stays_between_0_and_100_whatever_is_compared() {
        let odd = [
            Facts::default(),
            Facts { at: i64::MAX, ..Facts::default() },
            Facts { at: i64::MIN, class: Some("井"), position: Some((f64::MAX, f64::MIN)), place: "井", words: "a" },
            Facts { position: Some((180.0, -90.0)), class: Some(""), ..Facts::default() },
        ];
        for a in &odd {
            for b in &odd {
                let s = score(a, b, 120.0);
                assert!((0..=100).contains(&s.total), "{s:?}");
            }
        }
    }

    #[test]
    fn a_least_score_leaves_out_what_is_below_it_and_nothing_else() {
        let a = facts("01101", Some(HERE), "人民路", 0);
        for step in 0..20 {
            for (class, words) in [("01101", "井盖缺失"), ("01203", "井盖缺失,很危险"), ("09901", ""), ("", "路灯")]
            {
                let place = Some((HERE.0, HERE.1 + f64::from(step) * 0.000_1));
                let b = Facts { words, ..facts(class, place, "", i64::from(step) * 3_000_000) };
                let full = score(&a, &b, 120.0);
                for least in 0..=100 {
                    let cut = Compared::new(a.clone(), 120.0).score(&b, least);
                    assert_eq!(cut, (full.total >= least).then(|| full.clone()), "{least}");
                }
            }
        }
    }

    #[test]
    fn texts_are_as_alike_as_their_pairs_of_characters() {
        let alike = |a: &str, b: &str| Pairs::of(a).alike(&Pairs::of(b));
        assert!((alike("人民路口", "人民路") - 0.8).abs() < 1e-9, "2 of 3 and 2");
        assert!((alike("井 盖,缺失", "井盖缺失") - 1.0).abs() < 1e-9, "letters and digits only");
        assert!((alike("ababab", "ab") - 2.0 / 3.0).abs() < 1e-9, "each pair once");
        assert!(alike("", "").abs() < 1e-9 && alike("路", "路").abs() < 1e-9);
    }

    #[test]
    fn nearer_is_never_worth_less() {
        let a = facts("01101", Some(HERE), "", 0);
        let mut last = i64::MAX;
        for step in 0..20 {
            let b = facts("01101", Some((HERE.0, HERE.1 + f64::from(step) * 0.000_1)), "", 0);
            let s = score(&a, &b, 120.0).total;
            assert!(s <= last);
            last = s;
        }
        assert_eq!(last, 0);
    }
}

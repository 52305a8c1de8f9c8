//! Under which keys an item's place is found again: the grid cell of its position, and the streets
//! and buildings its text names. Pure.
//!
//! A key is a positive number: cells have bit 60 clear, names have it set. Rows hold them, so
//! neither the grid nor the hash may change without filling `incident_key` anew.

use crate::limits::{INCIDENT_NAMES_MAX, INCIDENT_RADIUS_M_MAX};

/// Height of a cell in degrees, about 167 m.
const CELL_LAT: f64 = 0.0015;
/// Width of a cell in degrees, 213 m in Hainan, 133 m in Mohe.
const CELL_LON: f64 = 0.002;
/// Metres in a degree of latitude.
const DEGREE_M: f64 = 111_320.0;
/// Nearer to a pole than this a degree of longitude means nothing.
const COS_MIN: f64 = 0.05;
/// Bit that tells names from cells.
const NAME: i64 = 1 << 60;
/// Ends of names that tell one place from another, the longer ones first.
const ENDS: [&str; 40] = [
    "大道",
    "大街",
    "大桥",
    "大厦",
    "广场",
    "公园",
    "小区",
    "花园",
    "花苑",
    "新村",
    "学校",
    "小学",
    "中学",
    "大学",
    "医院",
    "市场",
    "商场",
    "酒店",
    "车站",
    "地铁站",
    "路",
    "街",
    "巷",
    "弄",
    "桥",
    "村",
    "苑",
    "园",
    "城",
    "厦",
    "场",
    "站",
    "校",
    "院",
    "庄",
    "坊",
    "湖",
    "河",
    "塔",
    "楼",
];
/// Ends of names so large that they tell nothing: they only end what stands before them.
const COARSE: [&str; 7] = ["街道", "省", "市", "区", "县", "镇", "乡"];
/// Words between names.
const BETWEEN: &str = "在到从往于近旁边的有是位沿至跟和与及对面、,,。.;;::()()“”\" 　\t\n";
/// Characters before the end that belong to the key of a name; further ones are often not the name's.
const BEFORE: usize = 2;

/// The cell of a position.
fn cell(row: i64, col: i64) -> i64 {
    ((row + (1 << 18)) << 20) | (col + (1 << 18))
}

#[allow(clippy::cast_possible_truncation, reason = "a degree divided by a cell is a small number")]
fn line(degrees: f64, size: f64) -> i64 {
    (degrees / size).floor() as i64
}

/// The key of the cell at a position in degrees.
pub(crate) fn cell_at(lon: f64, lat: f64) -> i64 {
    cell(line(lat, CELL_LAT), line(lon, CELL_LON))
}

/// The keys of all cells within `radius_m` of a position.
pub(crate) fn cells_around(lon: f64, lat: f64, radius_m: f64) -> Vec<i64> {
    let radius = radius_m.clamp(0.0, INCIDENT_RADIUS_M_MAX);
    let high = radius / DEGREE_M;
    let wide = high / lat.to_radians().cos().max(COS_MIN);
    let mut keys = Vec::new();
    for row in line(lat - high, CELL_LAT)..=line(lat + high, CELL_LAT) {
        for col in line(lon - wide, CELL_LON)..=line(lon + wide, CELL_LON) {
            keys.push(cell(row, col));
        }
    }
    keys
}

/// FNV-1a, 64 bits: the same on every machine and in every version.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

/// The keys of the streets and buildings a text names, at most [`INCIDENT_NAMES_MAX`].
pub(crate) fn names(text: &str) -> Vec<i64> {
    let chars: Vec<char> = text.chars().take(crate::limits::LOCATION_CHARS_MAX).collect();
    let starts = |at: usize, word: &str| word.chars().enumerate().all(|(n, c)| chars.get(at + n) == Some(&c));
    let mut keys = Vec::new();
    let mut name: Vec<char> = Vec::new();
    let mut at = 0;
    while at < chars.len() && keys.len() < INCIDENT_NAMES_MAX {
        if let Some(word) = COARSE.iter().find(|w| starts(at, w)) {
            name.clear();
            at += word.chars().count();
        } else if let Some(word) = ENDS.iter().find(|w| !name.is_empty() && starts(at, w)) {
            let from = name.len().saturating_sub(BEFORE);
            let key: String = name[from..].iter().copied().chain(word.chars()).collect();
            let key = NAME | i64::try_from(hash(&key) >> 4).unwrap_or(0);
            if !keys.contains(&key) {
                keys.push(key);
            }
            name.clear();
            at += word.chars().count();
        } else if let Some(word) = ENDS.iter().find(|w| starts(at, w)) {
            // An end with nothing before it is no name, and no name begins with one.
            at += word.chars().count();
        } else {
            if BETWEEN.contains(chars[at]) {
                name.clear();
            } else {
                name.push(chars[at]);
            }
            at += 1;
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_within_the_radius_is_in_one_of_the_cells() {
        for lat in [18.2, 31.8, 45.7, 53.4] {
            for step in 0..360 {
                let (lon, angle) = (119.97 + f64::from(step) * 0.000_37, f64::from(step).to_radians());
                let (north, east) = (150.0 * angle.sin(), 150.0 * angle.cos());
                let there = (lon + east / (DEGREE_M * f64::to_radians(lat).cos()), lat + north / DEGREE_M);
                let keys = cells_around(lon, lat, 150.1);
                assert!(keys.contains(&cell_at(there.0, there.1)), "{lat} {step}");
                assert!(keys.len() <= 20, "{}", keys.len());
            }
        }
    }

    #[test]
    fn every_place_on_earth_has_a_key_and_few_neighbours() {
        for (lon, lat) in [(-180.0, -90.0), (180.0, 90.0), (0.0, 0.0), (119.97, 31.81)] {
            assert!((0..NAME).contains(&cell_at(lon, lat)));
            assert!(cells_around(lon, lat, f64::MAX).len() < 800);
        }
        assert_ne!(cell_at(119.97, 31.81), cell_at(119.973, 31.81));
    }

    #[test]
    fn the_same_street_has_the_same_key_whatever_stands_around_it() {
        let one = names("天宁区兰陵街道人民路与解放路交叉口");
        let other = names("我在解放路旁边,靠近人民路的路口");
        assert_eq!(one.len(), 2);
        assert!(one.iter().all(|k| other.contains(k)), "{one:?} {other:?}");
        assert!(names("通江大道36号").iter().all(|k| !one.contains(k)));
        assert_eq!(names("延政中大道"), names("武进延政中大道"));
    }

    #[test]
    fn a_text_without_a_place_or_full_of_them_stays_small() {
        assert!(names("").is_empty());
        assert!(names("那里坏了").is_empty());
        assert!(names("路路路路").is_empty(), "an end alone is no name");
        let many: String = (0..100).map(|n| format!("第{n}大道")).collect();
        assert_eq!(names(&many).len(), INCIDENT_NAMES_MAX);
        assert!(names("江苏省常州市天宁区").is_empty());
    }
}

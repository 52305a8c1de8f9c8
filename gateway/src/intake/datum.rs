//! From China's shifted coordinates (GCJ-02) to true ones, within a metre.

use super::envelope::{Datum, Place};
use crate::geo::{gcj02_to_wgs84, is_point};

/// Longitude and latitude in degrees, CGCS2000; `None` for what is no position on earth.
#[must_use]
pub fn true_position(place: &Place) -> Option<(f64, f64)> {
    let (lon, lat) = (place.lon, place.lat);
    // Phones without a fix say 0, 0.
    if !is_point(lon, lat) || (lon == 0.0 && lat == 0.0) {
        return None;
    }
    Some(match place.datum {
        Datum::Wgs84 | Datum::Cgcs2000 => (lon, lat),
        Datum::Gcj02 => gcj02_to_wgs84(lon, lat),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geo::wgs84_to_gcj02;

    fn place(lon: f64, lat: f64, datum: Datum) -> Place {
        Place { lon, lat, datum, label: None }
    }

    #[test]
    fn a_shifted_position_comes_back_within_a_metre() {
        for lon in (75..135).map(|d| f64::from(d) + 0.37) {
            for lat in (18..53).map(|d| f64::from(d) + 0.61) {
                let (x, y) = wgs84_to_gcj02(lon, lat);
                assert!((x - lon).abs() > 1e-5 || (y - lat).abs() > 1e-5, "{lon} {lat}: not shifted at all");
                let (back_x, back_y) = true_position(&place(x, y, Datum::Gcj02)).unwrap();
                assert!((back_x - lon).abs() < 1e-6 && (back_y - lat).abs() < 1e-6, "{lon} {lat}");
            }
        }
    }

    #[test]
    fn a_known_pair_agrees() {
        // Tiananmen: about 550 m apart, north and east.
        let (x, y) = wgs84_to_gcj02(116.391_305, 39.907_310);
        assert!((x - 116.397_55).abs() < 2e-4 && (y - 39.908_71).abs() < 2e-4, "{x} {y}");
    }

    #[test]
    fn what_is_not_shifted_stays_and_nonsense_is_none() {
        assert_eq!(true_position(&place(120.0, 31.0, Datum::Wgs84)), Some((120.0, 31.0)));
        assert_eq!(true_position(&place(2.35, 48.85, Datum::Gcj02)), Some((2.35, 48.85)));
        for (lon, lat) in [(f64::NAN, 1.0), (181.0, 1.0), (1.0, -90.1), (0.0, 0.0), (f64::INFINITY, 0.0)] {
            assert_eq!(true_position(&place(lon, lat, Datum::Gcj02)), None);
        }
    }
}

//! From China's shifted coordinates (GCJ-02) to true ones, within a metre.

use std::f64::consts::PI;

use super::envelope::{Datum, Place};

/// Semi-major axis and squared eccentricity of the Krasovsky 1940 ellipsoid, which GCJ-02 is built on.
const AXIS_M: f64 = 6_378_245.0;
const ECCENTRICITY_SQUARED: f64 = 0.006_693_421_622_965_943;
/// Steps towards the point whose shifted image is the one given; each is some hundred times closer.
const STEPS: usize = 6;

/// Longitude and latitude in degrees, CGCS2000; `None` for what is no position on earth.
#[must_use]
pub fn true_position(place: &Place) -> Option<(f64, f64)> {
    let (lon, lat) = (place.lon, place.lat);
    let on_earth = lon.is_finite() && lat.is_finite() && lon.abs() <= 180.0 && lat.abs() <= 90.0;
    // Phones without a fix say 0, 0.
    if !on_earth || (lon == 0.0 && lat == 0.0) {
        return None;
    }
    Some(match place.datum {
        Datum::Wgs84 | Datum::Cgcs2000 => (lon, lat),
        Datum::Gcj02 => unshifted(lon, lat),
    })
}

/// The shift applies on the mainland; the box is the one its users agree on.
fn is_shifted(lon: f64, lat: f64) -> bool {
    (72.004..=137.8347).contains(&lon) && (0.8293..=55.8271).contains(&lat)
}

fn unshifted(lon: f64, lat: f64) -> (f64, f64) {
    if !is_shifted(lon, lat) {
        return (lon, lat);
    }
    let (mut x, mut y) = (lon, lat);
    for _ in 0..STEPS {
        let (image_x, image_y) = shifted(x, y);
        x += lon - image_x;
        y += lat - image_y;
    }
    (x, y)
}

/// The GCJ-02 image of a true position.
fn shifted(lon: f64, lat: f64) -> (f64, f64) {
    let (x, y) = (lon - 105.0, lat - 35.0);
    let waves = |a: f64, b: f64, c: f64| (a + b + c) * 2.0 / 3.0;
    let fine = waves(20.0 * (6.0 * x * PI).sin(), 20.0 * (2.0 * x * PI).sin(), 0.0);
    let north = -100.0
        + 2.0 * x
        + 3.0 * y
        + 0.2 * y * y
        + 0.1 * x * y
        + 0.2 * x.abs().sqrt()
        + fine
        + waves(20.0 * (y * PI).sin(), 40.0 * (y / 3.0 * PI).sin(), 0.0)
        + waves(160.0 * (y / 12.0 * PI).sin(), 320.0 * (y * PI / 30.0).sin(), 0.0);
    let east = 300.0
        + x
        + 2.0 * y
        + 0.1 * x * x
        + 0.1 * x * y
        + 0.1 * x.abs().sqrt()
        + fine
        + waves(20.0 * (x * PI).sin(), 40.0 * (x / 3.0 * PI).sin(), 0.0)
        + waves(150.0 * (x / 12.0 * PI).sin(), 300.0 * (x / 30.0 * PI).sin(), 0.0);
    let latitude = lat.to_radians();
    let magic = 1.0 - ECCENTRICITY_SQUARED * latitude.sin().powi(2);
    let root = magic.sqrt();
    let meridian = AXIS_M * (1.0 - ECCENTRICITY_SQUARED) / (magic * root) * PI;
    let parallel = AXIS_M / root * latitude.cos() * PI;
    (lon + east * 180.0 / parallel, lat + north * 180.0 / meridian)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(lon: f64, lat: f64, datum: Datum) -> Place {
        Place { lon, lat, datum, label: None }
    }

    #[test]
    fn a_shifted_position_comes_back_within_a_metre() {
        for lon in (75..135).map(|d| f64::from(d) + 0.37) {
            for lat in (18..53).map(|d| f64::from(d) + 0.61) {
                let (x, y) = shifted(lon, lat);
                assert!((x - lon).abs() > 1e-5 || (y - lat).abs() > 1e-5, "{lon} {lat}: not shifted at all");
                let (back_x, back_y) = true_position(&place(x, y, Datum::Gcj02)).unwrap();
                assert!((back_x - lon).abs() < 1e-6 && (back_y - lat).abs() < 1e-6, "{lon} {lat}");
            }
        }
    }

    #[test]
    fn a_known_pair_agrees() {
        // Tiananmen: about 550 m apart, north and east.
        let (x, y) = shifted(116.391_305, 39.907_310);
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

//! Coordinates: what phones, maps and WeChat give, and the one datum rows are kept in.
//!
//! CGCS2000, the national datum, and WGS-84 differ by centimetres, far below what a phone measures:
//! they count as one here. GCJ-02, what Chinese maps and WeChat show, is WGS-84 moved by up to
//! some 700 m inside mainland China; the move has a closed formula, its inverse is found by steps.

/// Semi-major axis of the Krasovsky ellipsoid the shift is defined on, metres.
const AXIS_M: f64 = 6_378_245.0;
/// First eccentricity squared of that ellipsoid.
const ECCENTRICITY_2: f64 = 0.006_693_421_622_965_943;
/// Steps of the inverse; each gains about two digits, the fifth ends below a millimetre.
const STEPS: usize = 8;
/// Mean radius of the earth for distances, metres.
const EARTH_M: f64 = 6_371_008.8;

/// A point that exists: finite, −180…180 east and −90…90 north.
#[must_use]
pub fn is_point(lon: f64, lat: f64) -> bool {
    lon.is_finite() && lat.is_finite() && (-180.0..=180.0).contains(&lon) && (-90.0..=90.0).contains(&lat)
}

/// True in the box around mainland China where maps are shifted; outside it GCJ-02 is WGS-84.
#[must_use]
pub fn is_shifted(lon: f64, lat: f64) -> bool {
    (72.004..=137.8347).contains(&lon) && (0.8293..=55.8271).contains(&lat)
}

/// WGS-84 (or CGCS2000) degrees east and north to GCJ-02.
#[must_use]
pub fn wgs84_to_gcj02(lon: f64, lat: f64) -> (f64, f64) {
    if !is_point(lon, lat) || !is_shifted(lon, lat) {
        return (lon, lat);
    }
    let (east, north) = shift(lon, lat);
    (lon + east, lat + north)
}

/// GCJ-02 degrees east and north to WGS-84 (or CGCS2000), to within a millimetre.
#[must_use]
pub fn gcj02_to_wgs84(lon: f64, lat: f64) -> (f64, f64) {
    if !is_point(lon, lat) || !is_shifted(lon, lat) {
        return (lon, lat);
    }
    // The shift changes slowly: taking it at the last guess closes in on the point it came from.
    let (mut guess_lon, mut guess_lat) = (lon, lat);
    for _ in 0..STEPS {
        let (east, north) = shift(guess_lon, guess_lat);
        (guess_lon, guess_lat) = (lon - east, lat - north);
    }
    (guess_lon, guess_lat)
}

/// Metres between two points of one datum (haversine).
#[must_use]
pub fn distance_m(a: (f64, f64), b: (f64, f64)) -> f64 {
    let (lat_a, lat_b) = (a.1.to_radians(), b.1.to_radians());
    let (d_lat, d_lon) = ((b.1 - a.1).to_radians(), (b.0 - a.0).to_radians());
    let h = (d_lat / 2.0).sin().powi(2) + lat_a.cos() * lat_b.cos() * (d_lon / 2.0).sin().powi(2);
    2.0 * EARTH_M * h.sqrt().min(1.0).asin()
}

/// How far GCJ-02 moves a WGS-84 point, degrees east and north.
fn shift(lon: f64, lat: f64) -> (f64, f64) {
    use std::f64::consts::PI;
    let (x, y) = (lon - 105.0, lat - 35.0);
    let root = x.abs().sqrt();
    let waves = |at: f64| 20.0 * (6.0 * at * PI).sin() + 20.0 * (2.0 * at * PI).sin();
    let long = |at: f64, a: f64, b: f64, c: f64, d: f64| {
        20.0 * (at * PI).sin() + 40.0 * (at / 3.0 * PI).sin() + a * (at / b * PI).sin() + c * (at / d * PI).sin()
    };
    let north = -100.0
        + 2.0 * x
        + 3.0 * y
        + 0.2 * y * y
        + 0.1 * x * y
        + 0.2 * root
        + (waves(x) + long(y, 160.0, 12.0, 320.0, 30.0)) * 2.0 / 3.0;
    let east = 300.0
        + x
        + 2.0 * y
        + 0.1 * x * x
        + 0.1 * x * y
        + 0.1 * root
        + (waves(x) + long(x, 150.0, 12.0, 300.0, 30.0)) * 2.0 / 3.0;
    // Metres to degrees on the ellipsoid: radii of curvature along and across the meridian.
    let phi = lat.to_radians();
    let w = 1.0 - ECCENTRICITY_2 * phi.sin().powi(2);
    let meridian = AXIS_M * (1.0 - ECCENTRICITY_2) / (w * w.sqrt());
    let prime = AXIS_M / w.sqrt();
    ((east / (prime * phi.cos())).to_degrees(), (north / meridian).to_degrees())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_pairs_of_three_cities_agree_to_a_decimetre() {
        for (wgs, gcj) in [
            ((121.527_210_6, 31.177_427_6), (121.531_541_859_215, 31.175_303_983_645_97)),
            ((113.912_316, 22.543_847), (113.917_176_480_836_3, 22.540_796_131_694_766)),
            ((116.377_817, 39.911_954), (116.384_047_224_556_57, 39.913_345_455_360_69)),
        ] {
            let there = wgs84_to_gcj02(wgs.0, wgs.1);
            assert!(distance_m(there, gcj) < 0.1, "{there:?} {gcj:?}");
            let back = gcj02_to_wgs84(gcj.0, gcj.1);
            assert!(distance_m(back, wgs) < 0.1, "{back:?} {wgs:?}");
        }
    }

    #[test]
    fn there_and_back_ends_where_it_began_all_over_the_country() {
        for lon in (74..135).step_by(3) {
            for lat in (18..53).step_by(3) {
                let wgs = (f64::from(lon) + 0.123_4, f64::from(lat) + 0.567_8);
                let gcj = wgs84_to_gcj02(wgs.0, wgs.1);
                assert!((10.0..1_500.0).contains(&distance_m(wgs, gcj)), "{wgs:?} {gcj:?}");
                let back = gcj02_to_wgs84(gcj.0, gcj.1);
                assert!(distance_m(wgs, back) < 0.001, "{wgs:?} {back:?}");
            }
        }
    }

    #[test]
    fn abroad_and_nonsense_stay_as_they_are() {
        for (lon, lat) in [(2.35, 48.85), (-122.4, 37.8), (200.0, 10.0)] {
            assert_eq!(gcj02_to_wgs84(lon, lat), (lon, lat));
        }
        assert!(gcj02_to_wgs84(f64::NAN, 30.0).0.is_nan());
        assert!(!is_point(f64::INFINITY, 0.0) && !is_point(0.0, 90.1) && is_point(116.4, 39.9));
    }
}

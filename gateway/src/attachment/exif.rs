//! Where and when a photo was taken, as its metadata says. Never believed more than that.

use std::io::{Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};

use exif::{DateTime, Exif, In, Reader, Tag, Value};

use super::limits::EXIF_BYTES_MAX;

/// What the metadata of a picture tells.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Facts {
    /// Longitude and latitude, degrees, WGS-84.
    pub(super) place: Option<(f64, f64)>,
    /// When (epoch ms).
    pub(super) taken_at: Option<i64>,
}

/// Reads the metadata; whatever is wrong with it reads as nothing. `utc_offset_min` is the clock of a
/// camera that doesn't say its own.
#[must_use]
pub(super) fn read(bytes: &[u8], utc_offset_min: i32) -> Facts {
    let mut head = Vec::new();
    // A phone writes it at the file's beginning.
    if Read::take(bytes, EXIF_BYTES_MAX).read_to_end(&mut head).is_err() {
        return Facts::default();
    }
    // A panic of the parser costs the metadata, not the photo.
    let parsed = catch_unwind(AssertUnwindSafe(|| {
        let mut reader = Reader::new();
        reader.continue_on_error(true);
        let exif = reader.read_from_container(&mut Cursor::new(head));
        let exif = exif.or_else(|e| e.distill_partial_result(|_| {})).ok()?;
        Some(Facts { place: place(&exif), taken_at: taken_at(&exif, utc_offset_min) })
    }));
    parsed.ok().flatten().unwrap_or_default()
}

fn place(exif: &Exif) -> Option<(f64, f64)> {
    let lat = degrees(exif, Tag::GPSLatitude)? * sign(exif, Tag::GPSLatitudeRef, b'S');
    let lon = degrees(exif, Tag::GPSLongitude)? * sign(exif, Tag::GPSLongitudeRef, b'W');
    // 0,0 is what a camera without a fix writes.
    let real = lat.abs() <= 90.0 && lon.abs() <= 180.0 && (lat.abs() > 1e-6 || lon.abs() > 1e-6);
    real.then_some((lon, lat))
}

/// Degrees, minutes and seconds as three fractions (Exif 2.32 §4.6.6).
fn degrees(exif: &Exif, tag: Tag) -> Option<f64> {
    let Value::Rational(parts) = &exif.get_field(tag, In::PRIMARY)?.value else { return None };
    let mut sum = 0.0;
    for (part, unit) in parts.iter().zip([1.0, 60.0, 3600.0]) {
        let value = part.to_f64();
        if !value.is_finite() || value < 0.0 {
            return None;
        }
        sum += value / unit;
    }
    (!parts.is_empty()).then_some(sum)
}

fn sign(exif: &Exif, tag: Tag, negative: u8) -> f64 {
    let first = exif.get_field(tag, In::PRIMARY).and_then(|f| match &f.value {
        Value::Ascii(texts) => texts.first().and_then(|t| t.first().copied()),
        _ => None,
    });
    if first.is_some_and(|c| c.eq_ignore_ascii_case(&negative)) { -1.0 } else { 1.0 }
}

fn taken_at(exif: &Exif, utc_offset_min: i32) -> Option<i64> {
    let ascii = |tag| match &exif.get_field(tag, In::PRIMARY)?.value {
        Value::Ascii(texts) => texts.first().cloned(),
        _ => None,
    };
    let mut at = DateTime::from_ascii(&ascii(Tag::DateTimeOriginal)?).ok()?;
    if let Some(offset) = ascii(Tag::OffsetTimeOriginal) {
        let _ = at.parse_offset(&offset);
    }
    let sane = (1990..2100).contains(&at.year)
        && (1..=12).contains(&at.month)
        && (1..=31).contains(&at.day)
        && at.hour < 24
        && at.minute < 60
        && at.second < 61;
    let offset_min = i64::from(at.offset.map_or(utc_offset_min, i32::from));
    let day = days(i64::from(at.year), i64::from(at.month), i64::from(at.day));
    let minute = day * 1_440 + i64::from(at.hour) * 60 + i64::from(at.minute) - offset_min;
    sane.then_some((minute * 60 + i64::from(at.second)) * 1_000)
}

/// Days since 1970-01-01 of a date of the Gregorian calendar; years begin in March.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (153 * m + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attachment::samples;

    #[test]
    fn a_days_number_is_the_calendars() {
        for (date, number) in [((1970, 1, 1), 0), ((2000, 2, 29), 11_016), ((2026, 11, 21), 20_778)] {
            assert_eq!(days(date.0, date.1, date.2), number, "{date:?}");
        }
    }

    #[test]
    fn place_and_time_are_read() {
        let photo = samples::photo_with_exif(6, (119.9741, 31.8107), "2026:11:21 08:30:00");
        let facts = read(&photo, 480);
        let (lon, lat) = facts.place.unwrap();
        assert!((lon - 119.9741).abs() < 1e-4 && (lat - 31.8107).abs() < 1e-4, "{lon} {lat}");
        assert_eq!(facts.taken_at, Some((20_778 * 86_400 + 30 * 60) * 1_000));
    }

    #[test]
    fn metadata_changed_at_random_is_read_as_something_or_nothing() {
        let photo = samples::photo_with_exif(1, (119.9741, 31.8107), "2026:11:21 08:30:00");
        let mut seed = 7_u64;
        for _ in 0..3_000 {
            let mut hostile = photo.clone();
            for _ in 0..4 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let at = 20 + (seed >> 33) as usize % 300.min(hostile.len() - 20);
                hostile[at] = (seed >> 24) as u8;
            }
            let facts = read(&hostile, 480);
            if let Some((lon, lat)) = facts.place {
                assert!(lon.abs() <= 180.0 && lat.abs() <= 90.0);
            }
        }
        for length in 0..photo.len().min(400) {
            let _ = read(&photo[..length], 480);
        }
    }
}

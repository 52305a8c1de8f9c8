//! The one place that reads the wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

pub use hotline_db::number::local_date;

/// Milliseconds since the Unix epoch.
#[must_use]
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}

/// Microseconds since the Unix epoch.
#[must_use]
pub fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX))
}

/// `2026-11-21 09:05` in local time.
#[must_use]
pub fn local_time(at: i64, utc_offset_min: i32) -> String {
    let (year, month, day) = local_date(at, utc_offset_min);
    let minute = (at + i64::from(utc_offset_min) * 60_000).rem_euclid(86_400_000) / 60_000;
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}", minute / 60, minute % 60)
}

#[cfg(test)]
mod tests {
    use super::{local_date, local_time};

    #[test]
    fn a_time_is_said_as_people_at_the_site_read_it() {
        assert_eq!(local_time(1_795_104_000_000 + 65 * 60_000, 480), "2026-11-20 01:05");
        assert_eq!(local_time(-60_000, 0), "1969-12-31 23:59");
    }

    #[test]
    fn dates_are_local_and_leap_years_count() {
        assert_eq!(local_date(0, 0), (1970, 1, 1));
        assert_eq!(local_date(951_782_400_000, 0), (2000, 2, 29));
        // 2026-11-20 16:00 UTC is the 21st in China.
        assert_eq!(local_date(1_795_190_400_000, 480), (2026, 11, 21));
        assert_eq!(local_date(1_795_190_400_000 - 1, 480), (2026, 11, 20));
    }
}

//! Days: worked, weekend or holiday.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use super::DAY_MS;

/// The years the program knows.
const BUILT_IN: &str = include_str!("cn.toml");
/// A file beyond this is none of ours.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What a day is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Day {
    /// 工作日, a moved one too.
    Work,
    /// Saturday or Sunday that isn't worked.
    Weekend,
    /// 法定节假日, with the days off that surround it.
    Holiday,
}

/// Why a calendar isn't taken.
#[derive(Debug, thiserror::Error)]
pub enum CalendarError {
    /// The file can't be read.
    #[error("{0}: {1}")]
    Read(String, std::io::Error),
    /// Not a calendar's TOML.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// A date that isn't one.
    #[error("{year}: {text:?} 不是日期,写作 05-01 或 05-01..05-05 / is no date: write 05-01 or 05-01..05-05")]
    Date {
        /// Year of the block.
        year: i32,
        /// What stands there.
        text: String,
    },
    /// One day is listed twice.
    #[error("{year}: {text:?} 重复 / a day of it is listed twice")]
    Twice {
        /// Year of the block.
        year: i32,
        /// What stands there.
        text: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    year: Vec<Year>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Year {
    year: i32,
    #[serde(default)]
    holidays: Vec<String>,
    #[serde(default)]
    workdays: Vec<String>,
}

/// Days that aren't what their weekday says, by day number since 1970-01-01.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calendar {
    days: BTreeMap<i64, Day>,
    years: BTreeSet<i32>,
}

impl Calendar {
    /// Reads a calendar.
    ///
    /// # Errors
    /// [`CalendarError`] names the year and the words that can't be read.
    pub fn parse(text: &str) -> Result<Self, CalendarError> {
        let file: File = toml::from_str(text)?;
        let mut calendar = Self::default();
        for Year { year, holidays, workdays } in file.year {
            calendar.years.insert(year);
            for (list, day) in [(holidays, Day::Holiday), (workdays, Day::Work)] {
                for text in list {
                    let Some((first, last)) = span(year, &text) else { return Err(CalendarError::Date { year, text }) };
                    for number in first..=last {
                        if calendar.days.insert(number, day).is_some() {
                            return Err(CalendarError::Twice { year, text });
                        }
                    }
                }
            }
        }
        Ok(calendar)
    }

    /// The site's file, or what the program knows where `path` is empty.
    ///
    /// # Errors
    /// As [`Calendar::parse`]; also when the file can't be read or is larger than 1 MiB.
    pub fn open(path: &Path) -> Result<Self, CalendarError> {
        if path.as_os_str().is_empty() {
            return Self::parse(BUILT_IN);
        }
        let failed = |e| CalendarError::Read(path.display().to_string(), e);
        if std::fs::metadata(path).map_err(failed)?.len() > FILE_BYTES_MAX {
            return Err(failed(std::io::ErrorKind::FileTooLarge.into()));
        }
        Self::parse(&std::fs::read_to_string(path).map_err(failed)?)
    }

    /// What the day with this number (days since 1970-01-01, local) is.
    #[must_use]
    pub fn day(&self, number: i64) -> Day {
        // Day 0 was a Thursday.
        let weekend = matches!((number + 3).rem_euclid(7), 5 | 6);
        self.days.get(&number).copied().unwrap_or(if weekend { Day::Weekend } else { Day::Work })
    }

    /// Whether the year's holidays are known.
    #[must_use]
    pub fn knows(&self, year: i32) -> bool {
        self.years.contains(&year)
    }
}

/// `MM-DD` or `MM-DD..MM-DD` of a year as day numbers.
fn span(year: i32, text: &str) -> Option<(i64, i64)> {
    let day = |text: &str| -> Option<i64> {
        let (month, day) = text.trim().split_once('-')?;
        number(year, month.parse().ok()?, day.parse().ok()?)
    };
    let (first, last) = text.split_once("..").unwrap_or((text, text));
    let (first, last) = (day(first)?, day(last)?);
    (first <= last).then_some((first, last))
}

/// The number of a date; `None` for a date the year doesn't have. Found by [`local_date`], the one
/// conversion there is.
///
/// [`local_date`]: crate::clock::local_date
fn number(year: i32, month: i64, day: i64) -> Option<i64> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let wanted = (i64::from(year), month, day);
    // At most some weeks too early: a month has at least 28 days, and centuries count as if none were leap.
    let near = (wanted.0 - 1970) * 365 + (wanted.0 - 1969) / 4 - (wanted.0 - 1901) / 100 + (month - 1) * 28 + day - 2;
    (near..near + 75).find(|n| crate::clock::local_date(n * DAY_MS, 0) == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(calendar: &Calendar, date: (i32, i64, i64)) -> Day {
        calendar.day(number(date.0, date.1, date.2).unwrap())
    }

    #[test]
    fn every_day_of_a_century_has_its_number_and_no_other_date_has_one() {
        for n in 0..36_525 {
            let (year, month, day) = crate::clock::local_date(n * DAY_MS, 0);
            assert_eq!(number(i32::try_from(year).unwrap(), month, day), Some(n), "{year}-{month}-{day}");
        }
        for (year, month, day) in [(2026, 2, 29), (2100, 2, 29), (2026, 4, 31), (2026, 13, 1), (2026, 0, 1)] {
            assert_eq!(number(year, month, day), None);
        }
        assert_eq!(number(2400, 2, 29).map(|n| crate::clock::local_date(n * DAY_MS, 0)), Some((2400, 2, 29)));
    }

    #[test]
    fn weekends_holidays_and_moved_workdays_are_told_apart() {
        let calendar = Calendar::open(Path::new("")).unwrap();
        assert_eq!(day(&calendar, (2026, 11, 20)), Day::Work);
        assert_eq!(day(&calendar, (2026, 11, 21)), Day::Weekend);
        assert_eq!(day(&calendar, (2026, 10, 1)), Day::Holiday);
        assert_eq!(day(&calendar, (2026, 10, 10)), Day::Work, "a Saturday worked for the holiday");
        assert_eq!(day(&calendar, (2026, 2, 23)), Day::Holiday);
        assert_eq!(day(&calendar, (2026, 2, 24)), Day::Work);
        assert!(calendar.knows(2026) && !calendar.knows(2031));
    }

    #[test]
    fn a_moved_workday_of_the_built_in_years_is_a_weekend_and_no_holiday_week_lacks_one() {
        let calendar = Calendar::open(Path::new("")).unwrap();
        let weekdays = Calendar::default();
        for (number, kind) in &calendar.days {
            if *kind == Day::Work {
                assert_eq!(weekdays.day(*number), Day::Weekend, "{:?}", crate::clock::local_date(number * DAY_MS, 0));
            }
        }
        // Days off in a year: 13 by law since 2025; the rest are weekends moved, so worked days stay the same.
        for year in [2025, 2026] {
            let first = number(year, 1, 1).unwrap();
            let off = (first..first + 365).filter(|n| calendar.day(*n) != Day::Work).count();
            let weekends = (first..first + 365).filter(|n| weekdays.day(*n) == Day::Weekend).count();
            assert_eq!(off - weekends, 13, "{year}");
        }
    }

    #[test]
    fn a_calendar_that_cannot_be_read_says_where() {
        for text in ["02-29", "1", "05-05..05-01", "x..y", "", "05-01..", "99-99"] {
            let error = Calendar::parse(&format!("[[year]]\nyear = 2026\nholidays = [{text:?}]")).unwrap_err();
            assert!(error.to_string().contains("2026") && error.to_string().contains(text), "{error}");
        }
        let twice = "[[year]]\nyear = 2026\nholidays = [\"05-01..05-05\"]\nworkdays = [\"05-03\"]";
        assert!(matches!(Calendar::parse(twice), Err(CalendarError::Twice { .. })));
        assert!(matches!(Calendar::parse("[[year]]\nyeer = 2026"), Err(CalendarError::Toml(_))));
        assert!(matches!(Calendar::open(Path::new("/nowhere/calendar.toml")), Err(CalendarError::Read(..))));
    }
}

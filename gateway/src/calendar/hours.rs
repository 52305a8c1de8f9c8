//! Hours of the day, and working time counted over them.

use super::{Calendar, DAY_MS, Day, MINUTE_MS};

/// Days looked ahead for an open hour: longer than any holiday.
const AHEAD_DAYS: i64 = 60;

/// A local time window, minutes after midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    start_min: i64,
    end_min: i64,
}

impl Window {
    /// Parses `HH:MM-HH:MM`; the end must be later than the start, `24:00` is allowed as an end.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (a, b) = text.split_once('-')?;
        let minutes = |t: &str| -> Option<i64> {
            let (h, m) = t.trim().split_once(':')?;
            let (h, m): (i64, i64) = (h.parse().ok()?, m.parse().ok()?);
            ((0..=24).contains(&h) && (0..60).contains(&m) && h * 60 + m <= 1440).then_some(h * 60 + m)
        };
        let (start_min, end_min) = (minutes(a)?, minutes(b)?);
        (start_min < end_min).then_some(Self { start_min, end_min })
    }

    /// What both windows have in common.
    #[must_use]
    pub fn within(self, other: Self) -> Option<Self> {
        let (start_min, end_min) = (self.start_min.max(other.start_min), self.end_min.min(other.end_min));
        (start_min < end_min).then_some(Self { start_min, end_min })
    }
}

/// Windows on the days that count.
#[derive(Clone, Debug)]
pub struct Hours {
    windows: Vec<Window>,
    calendar: Calendar,
    skips: fn(Day) -> bool,
    offset_ms: i64,
}

impl Hours {
    /// Every day.
    #[must_use]
    pub fn daily(windows: Vec<Window>, utc_offset_min: i32) -> Self {
        let offset_ms = i64::from(utc_offset_min) * MINUTE_MS;
        Self { windows, calendar: Calendar::default(), skips: |_| false, offset_ms }
    }

    /// Every day but statutory holidays.
    #[must_use]
    pub fn outside_holidays(self, calendar: Calendar) -> Self {
        Self { calendar, skips: |day| day == Day::Holiday, ..self }
    }

    /// On 工作日 only.
    #[must_use]
    pub fn on_workdays(self, calendar: Calendar) -> Self {
        Self { calendar, skips: |day| day != Day::Work, ..self }
    }

    /// The same days with other windows.
    #[must_use]
    pub fn with(&self, windows: Vec<Window>) -> Self {
        Self { windows, ..self.clone() }
    }

    /// The windows of the day with this number, in local milliseconds, earliest first.
    fn of_day(&self, number: i64) -> Vec<(i64, i64)> {
        if (self.skips)(self.calendar.day(number)) {
            return Vec::new();
        }
        let midnight = number * DAY_MS;
        let mut spans: Vec<_> = self
            .windows
            .iter()
            .map(|w| (midnight + w.start_min * MINUTE_MS, midnight + w.end_min * MINUTE_MS))
            .collect();
        spans.sort_unstable();
        spans
    }

    /// Open spans from local time `from` on, without overlap.
    fn spans(&self, from: i64) -> impl Iterator<Item = (i64, i64)> + '_ {
        let today = from.div_euclid(DAY_MS);
        let mut reached = from;
        (today..today.saturating_add(AHEAD_DAYS)).flat_map(|n| self.of_day(n)).filter_map(move |(start, end)| {
            let start = start.max(reached);
            reached = reached.max(end);
            (start < end).then_some((start, end))
        })
    }

    /// The first open moment at or after `t` (epoch ms). Without windows every moment is open; where none is
    /// open in two months, `t` itself.
    #[must_use]
    pub fn next_open(&self, t: i64) -> i64 {
        if self.windows.is_empty() {
            return t;
        }
        self.spans(t.saturating_add(self.offset_ms)).next().map_or(t, |(start, _)| start - self.offset_ms)
    }

    /// Whether `t` is open.
    #[must_use]
    pub fn is_open(&self, t: i64) -> bool {
        self.next_open(t) == t && (self.windows.is_empty() || self.spans(t + self.offset_ms).next().is_some())
    }

    /// When `ms` of open time have passed since `t` (工作时): the deadline of work that rests while closed.
    #[must_use]
    pub fn add(&self, t: i64, ms: i64) -> i64 {
        if self.windows.is_empty() {
            return t.saturating_add(ms);
        }
        let (mut left, mut at) = (ms.max(0), t.saturating_add(self.offset_ms));
        loop {
            let before = at;
            for (start, end) in self.spans(before) {
                if end - start >= left {
                    return start + left - self.offset_ms;
                }
                left -= end - start;
                at = end;
            }
            if at == before {
                return t.saturating_add(ms);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const HOUR: i64 = 60 * MINUTE_MS;
    // Wednesday 2026-09-30 00:00 in UTC+8: the holiday begins a day later and ends with 10-07.
    const EVE: i64 = 1_790_697_600_000;

    fn hours() -> Hours {
        let windows = ["08:30-12:00", "14:00-18:00"].map(|w| Window::parse(w).unwrap()).to_vec();
        Hours::daily(windows, 480)
    }
    fn known() -> Calendar {
        Calendar::open(Path::new("")).unwrap()
    }

    #[test]
    fn the_eve_in_these_tests_is_local_midnight_of_the_30th() {
        assert_eq!(crate::clock::local_date(EVE, 480), (2026, 9, 30));
        assert_eq!((EVE + 480 * MINUTE_MS) % DAY_MS, 0);
    }

    #[test]
    fn who_may_not_be_called_on_holidays_is_called_on_the_day_after() {
        let hours = hours().outside_holidays(known());
        assert_eq!(hours.next_open(EVE + 9 * HOUR), EVE + 9 * HOUR);
        assert_eq!(hours.next_open(EVE + 18 * HOUR), EVE + 8 * 24 * HOUR + 8 * HOUR + HOUR / 2);
        // The weekend after it is a weekend like any other; its Saturday is worked.
        assert_eq!(hours.next_open(EVE + 11 * 24 * HOUR), EVE + 11 * 24 * HOUR + 8 * HOUR + HOUR / 2);
        let working = super::tests::hours().on_workdays(known());
        assert!(working.is_open(EVE + 10 * 24 * HOUR + 9 * HOUR), "Saturday 10-10 is worked");
        assert!(!working.is_open(EVE + 11 * 24 * HOUR + 9 * HOUR), "Sunday 10-11 isn't");
    }

    #[test]
    fn working_time_rests_over_noon_nights_and_holidays() {
        let working = hours().on_workdays(known());
        assert_eq!(working.add(EVE + 9 * HOUR, 2 * HOUR), EVE + 11 * HOUR);
        assert_eq!(working.add(EVE + 11 * HOUR, 2 * HOUR), EVE + 15 * HOUR);
        assert_eq!(working.add(EVE + 17 * HOUR, 2 * HOUR), EVE + 8 * 24 * HOUR + 9 * HOUR + HOUR / 2);
        assert_eq!(working.add(EVE + 20 * HOUR, 0), EVE + 8 * 24 * HOUR + 8 * HOUR + HOUR / 2);
        // 15 工作日 of seven and a half hours, by counting minutes.
        let (mut left, mut t) = (15 * 450, EVE);
        while left > 0 {
            if working.is_open(t) {
                left -= 1;
            }
            t += MINUTE_MS;
        }
        assert_eq!(working.add(EVE, 15 * 450 * MINUTE_MS), t);
        // Longer than is looked ahead at once.
        let year = working.add(EVE, 250 * 450 * MINUTE_MS);
        assert!((EVE + 345 * DAY_MS..EVE + 375 * DAY_MS).contains(&year));
    }

    #[test]
    fn overlapping_windows_count_once() {
        let windows = ["08:00-12:00", "10:00-14:00"].map(|w| Window::parse(w).unwrap()).to_vec();
        assert_eq!(Hours::daily(windows, 480).add(EVE, 6 * HOUR), EVE + 14 * HOUR);
    }

    #[test]
    fn without_windows_every_moment_is_open() {
        let always = Hours::daily(Vec::new(), 480).outside_holidays(known());
        assert_eq!((always.next_open(EVE + 24 * HOUR), always.add(5, 7)), (EVE + 24 * HOUR, 12));
        assert!(always.is_open(EVE + 24 * HOUR));
    }

    #[test]
    fn a_calendar_that_is_never_open_ends_in_no_loop() {
        let mut text = String::from("[[year]]\nyear = 2026\nholidays = [\"01-01..12-31\"]\n");
        text.push_str("[[year]]\nyear = 2027\nholidays = [\"01-01..12-31\"]");
        let shut = hours().outside_holidays(Calendar::parse(&text).unwrap());
        assert_eq!((shut.next_open(EVE), shut.add(EVE, HOUR)), (EVE, EVE + HOUR));
        assert!(!shut.is_open(EVE + 9 * HOUR));
    }

    #[test]
    fn two_windows_have_their_overlap_in_common() {
        let window = |text| Window::parse(text).unwrap();
        assert_eq!(window("06:00-09:00").within(window("08:00-21:00")), Window::parse("08:00-09:00"));
        assert_eq!(window("21:00-23:00").within(window("08:00-21:00")), None);
    }

    #[test]
    fn nonsense_is_no_window() {
        for text in ["", "8", "8:30", "12:00-08:00", "08:30-25:00", "a-b", "08:61-09:00"] {
            assert_eq!(Window::parse(text), None, "{text}");
        }
    }
}

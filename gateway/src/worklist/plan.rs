//! How much time there is.

use hotline_db::WorkTimes;

use crate::calendar::{Calendar, Hours, Window};
use crate::config::Worklist;

const MIN_MS: u64 = 60_000;

fn ms(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Urgencies whose time passes around the clock: 特急 and 紧急.
const AT_ANY_TIME: usize = 2;

/// How much time the site gives.
#[derive(Clone, Debug)]
pub struct Plan {
    acknowledge_ms: i64,
    handle_ms: [i64; 5],
    hours: Hours,
}

impl Plan {
    /// Of the site's settings; the configuration has judged the windows.
    #[must_use]
    pub fn new(settings: &Worklist, calendar: Calendar, utc_offset_min: i32) -> Self {
        let windows = settings.hours.iter().filter_map(|window| Window::parse(window)).collect();
        Self {
            acknowledge_ms: ms(settings.acknowledge_s.saturating_mul(1_000)),
            handle_ms: settings.handle_min.map(|minutes| ms(minutes.saturating_mul(MIN_MS))),
            hours: Hours::daily(windows, utc_offset_min).on_workdays(calendar),
        }
    }

    /// From this arrival. Where nobody waits for a first word (`answered`), only the end counts.
    #[must_use]
    pub fn times(&self, answered: bool, arrived_at: i64) -> WorkTimes {
        let mut handle_ms = self.handle_ms;
        for span in &mut handle_ms[AT_ANY_TIME..] {
            *span = self.hours.add(arrived_at, *span).saturating_sub(arrived_at);
        }
        WorkTimes { acknowledge_ms: (!answered).then_some(self.acknowledge_ms), handle_ms }
    }
}

/// How long work is lent.
#[must_use]
pub fn lease_ms(settings: &Worklist) -> i64 {
    ms(settings.lease_s.saturating_mul(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_answered_in_three_minutes_and_danger_handled_in_five() {
        let plan = Plan::new(&Worklist::default(), Calendar::default(), 480);
        let times = plan.times(false, 7);
        assert_eq!(times.acknowledge_ms, Some(180_000));
        assert_eq!((times.due_at(1, 7), times.due_at(5, 7)), (300_007, 28_800_007));
        assert_eq!((times.due_at(0, 0), times.due_at(9, 0)), (300_000, 28_800_000), "odd urgencies harm nobody");
        assert_eq!(plan.times(true, 7).acknowledge_ms, None);
    }

    #[test]
    fn what_can_wait_waits_for_the_office_and_danger_does_not() {
        const HOUR_MS: i64 = 3_600_000;
        let hours = vec!["08:30-12:00".to_owned(), "14:00-18:00".to_owned()];
        let plan = Plan::new(&Worklist { hours, ..Worklist::default() }, Calendar::default(), 480);
        // Friday 2026-11-20 17:30 in China.
        let friday = 1_795_167_000_000;
        let times = plan.times(false, friday);
        assert_eq!(times.due_at(1, friday), friday + 300_000, "特急 in five minutes, whatever the hour");
        assert_eq!(times.due_at(2, friday), friday + 600_000);
        let monday_9 = friday + 63 * HOUR_MS + HOUR_MS / 2;
        assert_eq!(times.due_at(3, friday), monday_9, "an hour: half of it left on Friday, half on Monday from 08:30");
        assert_eq!(times.due_at(4, friday), friday + 66 * HOUR_MS + HOUR_MS / 2, "four hours: Monday noon");
    }
}

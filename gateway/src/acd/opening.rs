//! When queues are open: by their hours, or as a shift leader decided by hand until some time.

use std::collections::BTreeMap;

use crate::calendar::{Calendar, Hours};
use crate::config::Config;

/// Decided by hand: open or closed, and until when (epoch ms).
pub(super) type ByHand = BTreeMap<String, (bool, i64)>;

/// The hours of all queues.
pub(super) struct Opening {
    hours: BTreeMap<String, Option<Hours>>,
}

impl Opening {
    pub(super) fn new(config: &Config, calendar: &Calendar) -> Self {
        let of = |name: String| {
            let hours = config.queue(&name).hours(calendar, config.site.utc_offset_min);
            (name, hours)
        };
        Self { hours: config.queue_names().into_iter().map(of).collect() }
    }

    pub(super) fn queues(&self) -> impl Iterator<Item = &str> {
        self.hours.keys().map(String::as_str)
    }

    pub(super) fn is_open(&self, queue: &str, now: i64, by_hand: &ByHand) -> bool {
        match by_hand.get(queue) {
            Some((open, until)) if *until > now => *open,
            _ => self.hours.get(queue).and_then(Option::as_ref).is_none_or(|hours| hours.is_open(now)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{OpenDays, Queue};

    const HOUR: i64 = 3_600_000;
    // 2026-10-01 00:00 in UTC+8: a statutory holiday.
    const HOLIDAY: i64 = 1_790_784_000_000;

    fn opening() -> Opening {
        let mut config = Config::default();
        let day = Queue { open: vec!["08:00-18:00".into()], open_days: OpenDays::NoHolidays, ..Queue::default() };
        config.queues.insert("day".into(), day);
        config.queues.insert("always".into(), Queue::default());
        Opening::new(&config, &Calendar::open(std::path::Path::new("")).unwrap())
    }

    #[test]
    fn hours_and_holidays_close_a_queue() {
        let (opening, none) = (opening(), ByHand::new());
        let open = |queue, at| opening.is_open(queue, at, &none);
        assert!(open("day", HOLIDAY - 15 * HOUR) && !open("day", HOLIDAY - 5 * HOUR), "the day before: 9:00, 19:00");
        assert!(!open("day", HOLIDAY + 9 * HOUR), "the holiday itself");
        assert!(open("always", HOLIDAY + 3 * HOUR));
    }

    #[test]
    fn what_a_leader_decides_holds_until_its_time() {
        let opening = opening();
        let by_hand = ByHand::from([("day".to_owned(), (true, HOLIDAY + 10 * HOUR)), ("always".into(), (false, 5))]);
        assert!(opening.is_open("day", HOLIDAY + 9 * HOUR, &by_hand));
        assert!(!opening.is_open("day", HOLIDAY + 10 * HOUR, &by_hand));
        assert!(!opening.is_open("always", 4, &by_hand) && opening.is_open("always", 5, &by_hand));
    }
}

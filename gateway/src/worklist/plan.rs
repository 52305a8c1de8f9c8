//! How much time there is.

use hotline_db::WorkTimes;

use crate::config::Worklist;

const MIN_MS: u64 = 60_000;

fn ms(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// From arrival. Where nobody waits for a first word (`answered`), only the end counts.
#[must_use]
pub fn times(settings: &Worklist, answered: bool) -> WorkTimes {
    WorkTimes {
        acknowledge_ms: (!answered).then(|| ms(settings.acknowledge_s.saturating_mul(1_000))),
        handle_ms: settings.handle_min.map(|minutes| ms(minutes.saturating_mul(MIN_MS))),
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
        let times = times(&Worklist::default(), false);
        assert_eq!(times.acknowledge_ms, Some(180_000));
        assert_eq!((times.due_at(1, 7), times.due_at(5, 7)), (300_007, 28_800_007));
        assert_eq!((times.due_at(0, 0), times.due_at(9, 0)), (300_000, 28_800_000), "odd urgencies harm nobody");
        assert_eq!(super::times(&Worklist::default(), true).acknowledge_ms, None);
    }
}

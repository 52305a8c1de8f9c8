//! What the shift leader is alarmed about: a deterministic machine over what the floor looks like.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::config::Alarm as Settings;

/// Something a shift leader has to look at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "alarm", rename_all = "snake_case")]
pub enum Alarm {
    /// Somebody waits too long.
    Wait {
        /// In this queue.
        queue: String,
    },
    /// 话后 lasts too long.
    WrapUp {
        /// User id.
        operator: String,
    },
    /// 脱岗: away too long.
    Away {
        /// User id.
        operator: String,
    },
    /// Nobody is signed in.
    SignedOut {
        /// To this queue.
        queue: String,
    },
}

impl Alarm {
    /// Label in metrics.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Wait { .. } => "wait",
            Self::WrapUp { .. } => "wrap_up",
            Self::Away { .. } => "away",
            Self::SignedOut { .. } => "signed_out",
        }
    }
}

/// An operator who is signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// User id.
    pub operator: String,
    /// State word.
    pub state: String,
    /// Since when (epoch ms).
    pub since: i64,
}

/// The floor at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Floor {
    /// Who is signed in, by queue; every queue is here.
    pub queues: BTreeMap<String, Vec<Seat>>,
    /// Since when callers wait (epoch ms), with their queue.
    pub waiting: Vec<(String, i64)>,
}

/// One that began or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub alarm: Alarm,
    /// It began.
    pub on: bool,
}

/// The alarms of a gateway. Nothing in it grows but with queues, operators and callers.
#[derive(Debug, Default)]
pub struct Alarms {
    on: BTreeSet<Alarm>,
    /// Since when a queue has nobody.
    empty_since: BTreeMap<String, i64>,
}

impl Alarms {
    /// Those that are on, in a fixed order.
    pub fn on(&self) -> impl Iterator<Item = &Alarm> {
        self.on.iter()
    }

    /// Looks at the floor; what began and what ended since the last time.
    pub fn step(&mut self, now: i64, floor: &Floor, settings: &Settings) -> Vec<Change> {
        let mut on = BTreeSet::new();
        for (queue, since) in &floor.waiting {
            if is_over(now, *since, settings.wait_s) {
                on.insert(Alarm::Wait { queue: queue.clone() });
            }
        }
        self.empty_since.retain(|queue, _| floor.queues.get(queue).is_some_and(Vec::is_empty));
        for (queue, seats) in &floor.queues {
            if seats.is_empty() {
                let since = *self.empty_since.entry(queue.clone()).or_insert(now);
                if is_over(now, since, settings.signed_out_s) {
                    on.insert(Alarm::SignedOut { queue: queue.clone() });
                }
            }
            for seat in seats {
                let operator = || seat.operator.clone();
                match seat.state.as_str() {
                    "wrap_up" if is_over(now, seat.since, settings.wrap_s) => {
                        on.insert(Alarm::WrapUp { operator: operator() });
                    }
                    "away" if is_over(now, seat.since, settings.away_s) => {
                        on.insert(Alarm::Away { operator: operator() });
                    }
                    _ => {}
                }
            }
        }
        let began = on.difference(&self.on).map(|alarm| Change { alarm: alarm.clone(), on: true });
        let ended = self.on.difference(&on).map(|alarm| Change { alarm: alarm.clone(), on: false });
        let changes = began.chain(ended).collect();
        self.on = on;
        changes
    }
}

fn is_over(now: i64, since: i64, limit_s: u64) -> bool {
    limit_s > 0 && now.saturating_sub(since) >= i64::try_from(limit_s.saturating_mul(1_000)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings = Settings { wait_s: 60, wrap_s: 300, away_s: 900, signed_out_s: 60 };

    fn floor(seats: &[(&str, &str, i64)], waiting: &[i64]) -> Floor {
        let seats = seats.iter().map(|(operator, state, since)| Seat {
            operator: (*operator).into(),
            state: (*state).into(),
            since: *since,
        });
        Floor {
            queues: [("main".to_owned(), seats.collect())].into(),
            waiting: waiting.iter().map(|since| ("main".to_owned(), *since)).collect(),
        }
    }
    fn words(changes: &[Change]) -> Vec<(&'static str, bool)> {
        changes.iter().map(|c| (c.alarm.word(), c.on)).collect()
    }

    #[test]
    fn the_longest_wait_alarms_once_and_ends_with_its_caller() {
        let mut alarms = Alarms::default();
        let seats = [("x", "talking", 0)];
        assert!(alarms.step(59_999, &floor(&seats, &[0, 30_000]), &SETTINGS).is_empty());
        assert_eq!(words(&alarms.step(60_000, &floor(&seats, &[0, 30_000]), &SETTINGS)), [("wait", true)]);
        assert!(alarms.step(95_000, &floor(&seats, &[0, 30_000]), &SETTINGS).is_empty(), "one alarm a queue");
        assert!(alarms.step(96_000, &floor(&seats, &[30_000]), &SETTINGS).is_empty());
        assert_eq!(words(&alarms.step(97_000, &floor(&seats, &[]), &SETTINGS)), [("wait", false)]);
    }

    #[test]
    fn who_stays_in_wrap_up_or_away_too_long_is_named() {
        let mut alarms = Alarms::default();
        let seats = [("x", "wrap_up", 0), ("y", "away", 0), ("z", "ready", 0)];
        let began = alarms.step(300_000, &floor(&seats, &[]), &SETTINGS);
        assert_eq!(began, [Change { alarm: Alarm::WrapUp { operator: "x".into() }, on: true }]);
        assert_eq!(words(&alarms.step(900_000, &floor(&seats, &[]), &SETTINGS)), [("away", true)]);
        let back = [("x", "ready", 900_500), ("y", "ready", 900_500)];
        assert_eq!(words(&alarms.step(901_000, &floor(&back, &[]), &SETTINGS)), [("wrap_up", false), ("away", false)]);
    }

    #[test]
    fn a_queue_all_have_signed_out_of_alarms_after_its_time() {
        let mut alarms = Alarms::default();
        assert!(alarms.step(1_000_000, &floor(&[], &[]), &SETTINGS).is_empty());
        assert!(alarms.step(1_059_000, &floor(&[], &[]), &SETTINGS).is_empty());
        assert_eq!(words(&alarms.step(1_060_000, &floor(&[], &[]), &SETTINGS)), [("signed_out", true)]);
        assert_eq!(
            words(&alarms.step(1_061_000, &floor(&[("x", "ready", 0)], &[]), &SETTINGS)),
            [("signed_out", false)]
        );
        assert!(alarms.step(1_062_000, &floor(&[], &[]), &SETTINGS).is_empty(), "its time begins anew");
    }

    #[test]
    fn an_alarm_of_0_is_off() {
        let off = Settings { wait_s: 0, wrap_s: 0, away_s: 0, signed_out_s: 0 };
        let seats = [("x", "wrap_up", 0), ("y", "away", 0)];
        assert!(Alarms::default().step(i64::MAX, &floor(&seats, &[0]), &off).is_empty());
        let mut alarms = Alarms::default();
        assert!(alarms.step(0, &floor(&[], &[]), &off).is_empty());
        assert!(alarms.step(i64::MAX, &floor(&[], &[]), &off).is_empty());
    }
}

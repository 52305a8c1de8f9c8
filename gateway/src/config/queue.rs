//! One queue: how long phones ring, who is asked, when it is open, and what a long wait changes.

use serde::{Deserialize, Serialize};

use super::judge::{Fault, fault};
use crate::calendar::{Calendar, Hours, Window};
use crate::dialout::{DIGITS_MAX, DIGITS_MIN};

/// Windows of a day.
const OPEN_MAX: usize = 8;
/// On-call numbers of one queue.
pub(crate) const ON_CALL_MAX: usize = 16;

/// One queue.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Queue {
    /// An operator's phone rings at most so long.
    pub ring_timeout_s: u64,
    /// 话后: time after a talk before the operator is ready again.
    pub wrap_s: u64,
    /// Callers waiting at most; further ones hear that we call them back.
    pub waiting_max: usize,
    /// Only shift leaders serve it: the queue of a supervision number.
    pub leaders_only: bool,
    /// A caller who waited so long hears that we call them back; 0: they may wait for ever.
    pub wait_max_s: u64,
    /// Skills its callers need, e.g. `方言`.
    pub skills: Vec<String>,
    /// What is given up as a wait grows.
    pub widen: Vec<Widen>,
    /// Skills a caller asked for by a key are given up after so long, whatever `widen` says; 0: never.
    pub skill_wait_s: u64,
    /// A citizen waits so long for the operator they know while that one is in a call; 0: anybody free comes.
    pub prefer_s: u64,
    /// Open hours, `HH:MM-HH:MM`; none: always.
    pub open: Vec<String>,
    /// The days these count on.
    pub open_days: OpenDays,
    /// 值班手机: outside numbers asked in this order when nobody answers.
    pub on_call: Vec<String>,
    /// … after such a wait.
    pub overflow_s: u64,
    /// The same for the red lane.
    pub overflow_red_s: u64,
    /// So many failures of a phone in a row make 设备异常.
    pub device_failures: u8,
}

/// Days a queue is open on.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum OpenDays {
    /// Every day.
    #[default]
    All,
    /// Every day but statutory holidays.
    NoHolidays,
    /// 工作日: with the weekends that are worked (调休), without holidays.
    Workdays,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            ring_timeout_s: 15,
            wrap_s: 30,
            waiting_max: 1_000,
            leaders_only: false,
            wait_max_s: 0,
            skills: Vec::new(),
            widen: Vec::new(),
            skill_wait_s: 15,
            prefer_s: 0,
            open: Vec::new(),
            open_days: OpenDays::All,
            on_call: Vec::new(),
            overflow_s: 30,
            overflow_red_s: 0,
            device_failures: 2,
        }
    }
}

/// What a queue gives up after a wait.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Widen {
    /// After so long in the queue.
    pub after_s: u64,
    /// Skills no longer asked for.
    pub drop: Vec<String>,
    /// Queues whose operators are asked too.
    pub help: Vec<String>,
}

fn ms(s: u64) -> i64 {
    i64::try_from(s.saturating_mul(1_000)).unwrap_or(i64::MAX)
}

impl Queue {
    /// In the words of the machine.
    pub(crate) fn settings(&self, name: &str) -> hotline_acd::QueueSettings {
        let widen = self.widen.iter().map(|w| hotline_acd::Widen {
            after_ms: ms(w.after_s),
            drop: w.drop.clone(),
            help: w.help.clone(),
        });
        let last = (self.skill_wait_s > 0).then(|| hotline_acd::Widen {
            after_ms: ms(self.skill_wait_s),
            drop: vec![hotline_acd::ALL_ASKED.to_owned()],
            help: Vec::new(),
        });
        let overflow = |s: u64| (!self.on_call.is_empty()).then(|| ms(s));
        hotline_acd::QueueSettings {
            name: name.to_owned(),
            skills: self.skills.clone(),
            widen: last.into_iter().chain(widen).collect(),
            ring_ms: ms(self.ring_timeout_s),
            wrap_ms: ms(self.wrap_s),
            waiting_max: self.waiting_max,
            wait_max_ms: (self.wait_max_s > 0).then(|| ms(self.wait_max_s)),
            overflow_ms: overflow(self.overflow_s),
            overflow_red_ms: overflow(self.overflow_red_s),
            prefer_ms: ms(self.prefer_s),
            device_failures: self.device_failures,
            ..hotline_acd::QueueSettings::default()
        }
    }

    /// When it is open; `None`: always.
    pub(crate) fn hours(&self, calendar: &Calendar, utc_offset_min: i32) -> Option<Hours> {
        let windows: Vec<Window> = self.open.iter().filter_map(|w| Window::parse(w)).collect();
        let whole_day = || Window::parse("00:00-24:00").into_iter().collect();
        let windows = match self.open_days {
            OpenDays::All if windows.is_empty() => return None,
            _ if windows.is_empty() => whole_day(),
            _ => windows,
        };
        let hours = Hours::daily(windows, utc_offset_min);
        Some(match self.open_days {
            OpenDays::All => hours,
            OpenDays::NoHolidays => hours.outside_holidays(calendar.clone()),
            OpenDays::Workdays => hours.on_workdays(calendar.clone()),
        })
    }

    pub(super) fn judge(&self, name: &str) -> Result<(), Fault> {
        let key = |field: &str| format!("queue.{name}.{field}");
        for (field, value, least, most) in [
            ("ring_timeout_s", self.ring_timeout_s, 3, 180),
            ("wrap_s", self.wrap_s, 0, 3_600),
            ("wait_max_s", self.wait_max_s, 0, 86_400),
            ("skill_wait_s", self.skill_wait_s, 0, 3_600),
            ("prefer_s", self.prefer_s, 0, 600),
            ("overflow_s", self.overflow_s, 0, 3_600),
            ("overflow_red_s", self.overflow_red_s, 0, 3_600),
            ("device_failures", u64::from(self.device_failures), 1, 100),
        ] {
            if !(least..=most).contains(&value) {
                let problem = format!("{value} is outside {least}…{most}");
                return fault(&key(field), problem, "取范围内的值 / choose a value inside");
            }
        }
        if let Some(odd) = self.open.iter().find(|w| Window::parse(w).is_none()) {
            let problem = format!("{odd:?} is no window");
            return fault(&key("open"), problem, "写作 08:30-18:00;跨夜写两段 / write 08:30-18:00; two for a night");
        }
        if self.open.len() > OPEN_MAX {
            return fault(&key("open"), format!("{} windows", self.open.len()), "至多 8 段 / at most 8");
        }
        if let Some(odd) = self.on_call.iter().find(|n| !is_digits(n)) {
            let problem = format!("{odd:?} is no number");
            return fault(&key("on_call"), problem, "只写数字,固话带区号 / digits, a fixed line with its area code");
        }
        if self.on_call.len() > ON_CALL_MAX {
            return fault(&key("on_call"), format!("{} numbers", self.on_call.len()), "至多 16 个 / at most 16");
        }
        let asked = self.skills.iter().chain(self.widen.iter().flat_map(|w| &w.drop));
        if asked.into_iter().any(|skill| skill == hotline_acd::ALL_ASKED) {
            return fault(&key("skills"), "\"*\" is no skill".into(), "写技能名称 / write a skill's name");
        }
        Ok(())
    }
}

fn is_digits(number: &str) -> bool {
    (DIGITS_MIN..=DIGITS_MAX).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_on_call_roster_nobody_is_asked() {
        let settings = |queue: &Queue| queue.settings("main");
        let mut queue = Queue::default();
        assert_eq!((settings(&queue).overflow_ms, settings(&queue).overflow_red_ms), (None, None));
        queue.on_call = vec!["13912345678".into()];
        assert_eq!((settings(&queue).overflow_ms, settings(&queue).overflow_red_ms), (Some(30_000), Some(0)));
    }

    #[test]
    fn a_queue_without_hours_is_always_open_and_one_of_workdays_knows_the_calendar() {
        let calendar = Calendar::open(std::path::Path::new("")).unwrap();
        assert!(Queue::default().hours(&calendar, 480).is_none());
        let queue = Queue { open_days: OpenDays::Workdays, ..Queue::default() };
        let hours = queue.hours(&calendar, 480).unwrap();
        // 2026-10-10, a Saturday worked for the holiday, and the Sunday after it; 00:00 in UTC+8.
        let saturday = 1_791_561_600_000;
        assert!(hours.is_open(saturday) && hours.is_open(saturday + 23 * 3_600_000));
        assert!(!hours.is_open(saturday + 24 * 3_600_000));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (queue, field) in [
            (Queue { open: vec!["22:00-06:00".into()], ..Queue::default() }, "open"),
            (Queue { on_call: vec!["139-1".into()], ..Queue::default() }, "on_call"),
            (Queue { on_call: vec!["13912345678901234".into()], ..Queue::default() }, "on_call"),
            (Queue { skills: vec!["*".into()], ..Queue::default() }, "skills"),
            (Queue { prefer_s: 601, ..Queue::default() }, "prefer_s"),
        ] {
            assert!(queue.judge("main").is_err(), "{field}");
        }
        assert!(
            Queue { open: vec!["00:00-06:00".into(), "22:00-24:00".into()], ..Queue::default() }.judge("x").is_ok()
        );
    }
}

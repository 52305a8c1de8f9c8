//! When a callback may be tried: pure functions over epoch milliseconds and a local offset (domain rules §4).

use hotline_db::{CallbackKind, CallbackTask};

use crate::calendar::{Calendar, DAY_MS, Hours, MINUTE_MS, Window};
use crate::config::Callback;

const HALF_DAY_MS: i64 = DAY_MS / 2;

/// How far a task has come, as far as its hours are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owed {
    /// Kind of the task.
    pub kind: CallbackKind,
    /// Attempts behind it.
    pub attempts: i64,
    /// 方便时段: when the citizen wants to be called.
    pub preferred: Option<Window>,
}

impl Owed {
    /// Of a task; a preference that is no window counts as none.
    #[must_use]
    pub fn of(task: &CallbackTask) -> Self {
        let preferred = task.preferred_window.as_deref().and_then(Window::parse);
        Self { kind: task.kind, attempts: task.attempt_no, preferred }
    }
}

/// The site's rules in the form the functions below need.
#[derive(Clone, Debug)]
pub struct Rules {
    /// 办结回访: the site's windows, holidays left out.
    windows: Hours,
    /// Hours in which people are awake, any day.
    waking: Hours,
    awake: Option<Window>,
    offset_ms: i64,
    factor: i64,
    retry_ms: i64,
    span_ms: i64,
    missed_retry_ms: i64,
    attempts: i64,
}

impl Rules {
    /// From the configuration; windows that don't parse were refused there.
    #[must_use]
    pub fn new(config: &Callback, calendar: Calendar, utc_offset_min: i32) -> Self {
        let windows = Hours::daily(config.windows.iter().filter_map(|w| Window::parse(w)).collect(), utc_offset_min);
        let awake = Window::parse(&config.waking);
        Self {
            waking: windows.with(awake.into_iter().collect()),
            windows: if config.holidays { windows } else { windows.outside_holidays(calendar) },
            awake,
            offset_ms: i64::from(utc_offset_min) * MINUTE_MS,
            factor: i64::try_from(config.time_factor).unwrap_or(i64::MAX).max(1),
            retry_ms: seconds(config.retry_s),
            span_ms: i64::try_from(config.span_days).unwrap_or(0).saturating_mul(DAY_MS),
            missed_retry_ms: seconds(config.missed_retry_s),
            attempts: config.attempts.max(1),
        }
    }

    /// The first moment at or after `t` inside a window and on no holiday. Without windows every moment is allowed.
    #[must_use]
    pub fn next_allowed(&self, t: i64) -> i64 {
        self.windows.next_open(t)
    }

    /// Whether `t` lies inside `window`, in local time.
    #[must_use]
    pub fn is_within(&self, window: Window, t: i64) -> bool {
        self.waking.with(vec![window]).is_open(t)
    }

    /// The first moment of the next local day.
    #[must_use]
    pub fn tomorrow(&self, t: i64) -> i64 {
        let local = t.saturating_add(self.offset_ms);
        (local.div_euclid(DAY_MS) + 1).saturating_mul(DAY_MS).saturating_sub(self.offset_ms)
    }

    /// The first moment at or after `t` at which people are awake: for calls that no window binds.
    #[must_use]
    pub fn next_awake(&self, t: i64) -> i64 {
        self.waking.next_open(t)
    }

    /// The same for calls the site's windows bind; the hours a citizen asked for replace the windows, as far as
    /// people are awake then.
    fn next_ordinary(&self, preferred: Option<Window>, t: i64) -> i64 {
        let wanted = preferred.and_then(|w| self.awake.map_or(Some(w), |awake| w.within(awake)));
        wanted.map_or_else(|| self.next_allowed(t), |w| self.windows.with(vec![w]).next_open(t))
    }

    /// When 办结回访 is tried again after attempt number `done` at `t`; `None`: the attempts are used up.
    /// Attempts lie in different half-days and the last one at least `span_days − 1` days after the first.
    #[must_use]
    pub fn after_attempt(&self, done: i64, t: i64) -> Option<i64> {
        if done >= self.attempts {
            return None;
        }
        let gaps = (self.attempts - 1).max(1);
        let spread = (self.span_ms - DAY_MS).max(0) / gaps;
        let pause = self.retry_ms.max(spread).max(HALF_DAY_MS.min(self.span_ms));
        Some(self.next_allowed(t.saturating_add(pause / self.factor)))
    }

    /// When a missed or queued callback is tried again: soon at first, the citizen waits for us; then
    /// another round by the ordinary rules (domain rules §3.4). `None`: both are used up.
    #[must_use]
    pub fn after_missed_attempt(&self, done: i64, t: i64) -> Option<i64> {
        if done < self.attempts {
            return Some(self.missed_again(t));
        }
        self.after_attempt(done - self.attempts, t)
    }

    /// The first moment at or after `t` at which a task may be dialled.
    #[must_use]
    pub fn next_for(&self, owed: Owed, t: i64) -> i64 {
        match owed.kind {
            CallbackKind::CaseFinished => self.next_ordinary(owed.preferred, t),
            _ if owed.attempts >= self.attempts => self.next_ordinary(owed.preferred, t),
            // Who asked for a call just now is awake.
            CallbackKind::Queued if owed.attempts == 0 => t,
            _ => self.next_awake(t),
        }
    }

    /// The same after a failure of ours, which uses up no attempt.
    #[must_use]
    pub fn missed_again(&self, t: i64) -> i64 {
        self.next_awake(t.saturating_add(self.missed_retry_ms / self.factor))
    }

    /// Until when a survey's link sent at `t` may be answered.
    #[must_use]
    pub fn answer_by(&self, t: i64, hours: u32) -> i64 {
        t.saturating_add(i64::from(hours) * 60 * MINUTE_MS / self.factor)
    }

    /// The pause before another try after a failure of ours or "call me later": no attempt is used up.
    #[must_use]
    pub fn postponed(&self, t: i64) -> i64 {
        self.next_allowed(t.saturating_add(self.retry_ms / self.factor))
    }
}

fn seconds(s: u64) -> i64 {
    i64::try_from(s).unwrap_or(i64::MAX / 1000).saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    // 2026-11-20 00:00 in UTC+8.
    const MIDNIGHT: i64 = 1_795_104_000_000;

    fn rules() -> Rules {
        Rules::new(&Callback::default(), Calendar::default(), 480)
    }
    fn owed(kind: CallbackKind, attempts: i64) -> Owed {
        Owed { kind, attempts, preferred: None }
    }
    const fn at(h: i64, m: i64) -> i64 {
        MIDNIGHT + (h * 60 + m) * MINUTE_MS
    }

    #[test]
    fn midnight_in_the_tests_is_local_midnight() {
        assert_eq!((MIDNIGHT + 480 * MINUTE_MS) % DAY_MS, 0);
    }

    #[test]
    fn nobody_is_called_outside_the_windows() {
        let r = rules();
        assert_eq!(r.next_allowed(at(7, 0)), at(8, 30));
        assert_eq!(r.next_allowed(at(9, 15)), at(9, 15));
        assert_eq!(r.next_allowed(at(12, 0)), at(14, 0));
        assert_eq!(r.next_allowed(at(23, 59)), at(24 + 8, 30));
        for minute in 0..2 * 1440 {
            let t = r.next_allowed(MIDNIGHT + minute * MINUTE_MS);
            let of_day = (t - MIDNIGHT).rem_euclid(DAY_MS) / MINUTE_MS;
            assert!((510..720).contains(&of_day) || (840..1200).contains(&of_day), "{of_day}");
        }
    }

    #[test]
    fn three_attempts_lie_in_different_half_days_over_two_days() {
        let r = rules();
        for start in [at(8, 30), at(11, 59), at(14, 0), at(19, 59)] {
            let second = r.after_attempt(1, start).unwrap();
            let third = r.after_attempt(2, second).unwrap();
            assert_eq!(r.after_attempt(3, third), None);
            assert!(second - start >= 2 * 3_600_000 && third - second >= 2 * 3_600_000);
            let half = |t: i64| (t - MIDNIGHT) / HALF_DAY_MS;
            assert!(half(start) != half(second) && half(second) != half(third));
            assert!((third - MIDNIGHT) / DAY_MS > (start - MIDNIGHT) / DAY_MS);
        }
    }

    #[test]
    fn a_time_factor_turns_hours_into_seconds() {
        let config = Callback { time_factor: 36_000, windows: vec![], ..Callback::default() };
        let r = Rules::new(&config, Calendar::default(), 480);
        assert_eq!(r.after_attempt(1, 0), Some(43_200_000 / 36_000));
        assert_eq!(r.after_missed_attempt(1, at(12, 0)), Some(at(12, 0) + 600_000 / 36_000));
    }

    #[test]
    fn a_missed_caller_is_called_back_in_ten_minutes_but_not_at_night() {
        let r = rules();
        assert_eq!(r.next_awake(at(13, 0)), at(13, 0));
        assert_eq!(r.next_awake(at(21, 30)), at(24 + 8, 0));
        assert_eq!(r.after_missed_attempt(1, at(13, 0)), Some(at(13, 10)));
        assert_eq!(r.after_missed_attempt(2, at(20, 55)), Some(at(24 + 8, 0)));
    }

    #[test]
    fn after_three_quick_tries_a_missed_caller_gets_the_ordinary_ones() {
        let r = rules();
        let (mut t, mut tries) = (at(9, 0), vec![at(9, 0)]);
        while let Some(next) = r.after_missed_attempt(i64::try_from(tries.len()).unwrap(), t) {
            assert!(next > t);
            t = next;
            tries.push(t);
        }
        assert_eq!(tries.len(), 6);
        assert_eq!(tries[..3], [at(9, 0), at(9, 10), at(9, 20)]);
        for later in tries[3..].windows(2) {
            assert!(later[1] - later[0] >= HALF_DAY_MS);
            assert_eq!(r.next_allowed(later[1]), later[1], "inside the windows");
        }
        assert!(tries[3] - tries[2] >= 2 * 3_600_000 && tries[5] - tries[3] >= DAY_MS);
    }

    #[test]
    fn a_task_that_waited_for_an_operator_is_not_dialled_at_night() {
        let r = rules();
        let night = at(23, 0);
        assert_eq!(r.next_for(owed(CallbackKind::Missed, 0), night), at(24 + 8, 0));
        assert_eq!(r.next_for(owed(CallbackKind::Queued, 0), night), night, "they asked for it a moment ago");
        assert_eq!(r.next_for(owed(CallbackKind::Queued, 1), night), at(24 + 8, 0));
        assert_eq!(r.next_for(owed(CallbackKind::Missed, 3), at(13, 0)), at(14, 0));
        assert_eq!(r.next_for(owed(CallbackKind::CaseFinished, 0), at(13, 0)), at(14, 0));
    }

    #[test]
    fn nobody_is_called_about_a_finished_case_on_a_holiday_unless_the_site_wants_it() {
        let calendar = Calendar::parse("[[year]]\nyear = 2026\nholidays = [\"11-20..11-21\"]").unwrap();
        let r = Rules::new(&Callback::default(), calendar.clone(), 480);
        assert_eq!(r.next_for(owed(CallbackKind::CaseFinished, 0), at(9, 0)), at(48 + 8, 30));
        assert_eq!(r.next_for(owed(CallbackKind::Missed, 0), at(9, 0)), at(9, 0), "a missed caller waits for us");
        let r = Rules::new(&Callback { holidays: true, ..Callback::default() }, calendar, 480);
        assert_eq!(r.next_for(owed(CallbackKind::CaseFinished, 0), at(9, 0)), at(9, 0));
    }

    #[test]
    fn the_hours_a_citizen_asked_for_win_but_nobody_is_called_at_night() {
        let r = rules();
        let wants = |text| Owed { preferred: Window::parse(text), ..owed(CallbackKind::CaseFinished, 0) };
        assert_eq!(r.next_for(wants("12:15-13:00"), at(9, 0)), at(12, 15));
        assert_eq!(r.next_for(wants("12:15-13:00"), at(13, 0)), at(24 + 12, 15));
        assert_eq!(r.next_for(wants("20:30-23:00"), at(21, 30)), at(24 + 20, 30));
        assert_eq!(r.next_for(wants("22:00-23:00"), at(9, 0)), at(9, 0), "night: the site's windows");
        assert_eq!(r.next_for(wants("any time"), at(13, 0)), at(14, 0));
    }
}

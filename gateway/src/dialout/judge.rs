//! The rules about calls to outside numbers, pure: a number, a purpose and a time in, a verdict out.

use crate::calendar::Window;
use crate::callback::schedule::{Owed, Rules};
use crate::config::{Config, Dialout as Settings};
use crate::privacy::is_same_number;

/// Why we want to call an outside number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A callback task.
    Task(Owed),
    /// The phone called for a task answered with another number (3xx).
    Redirect,
    /// An operator hands a citizen on.
    Transfer,
    /// 值班手机: somebody on call is asked to take a waiting caller.
    OnCall,
    /// 110, 119, 120 join an operator's talk.
    Emergency,
    /// An operator's own phone is an outside number.
    Phone,
}

impl Purpose {
    /// Word in rows and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Task(..) => "task",
            Self::Redirect => "redirect",
            Self::Transfer => "transfer",
            Self::OnCall => "on_call",
            Self::Emergency => "emergency",
            Self::Phone => "phone",
        }
    }
}

/// Why a number isn't called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No telephone number.
    #[error("不是电话号码 / no telephone number")]
    Number,
    /// International, premium-rate or satellite, or what the site forbids.
    #[error("号段禁止外呼(dialout.forbid_prefixes)/ the number's prefix is forbidden")]
    Forbidden,
    /// Not among the prefixes the site allows.
    #[error(
        "号码不在允许外呼的号段内(dialout.allow_prefixes、trunk.dial_prefixes)/ the number's prefix is not allowed"
    )]
    NotAllowed,
    /// Transfers to this number are not allowed.
    #[error("不允许转接到该外部号码(dialout.transfer_prefixes)/ transfers to this number are not allowed")]
    NoTransfer,
    /// Operators' phones can't be such numbers.
    #[error("不允许以该外部号码作坐席话机(dialout.phone_prefixes)/ this number can't be an operator's phone")]
    NoPhone,
    /// Outside the hours for such calls.
    #[error("不在允许外呼的时段 / outside the hours for such calls")]
    Hours,
    /// No open task names this number.
    #[error("没有对应的待办任务 / no open task asks for this call")]
    NoTask,
    /// The day's calls are used up.
    #[error("已达每日外呼上限(dialout.daily_max)/ the day's outgoing calls are used up")]
    DailyTotal,
    /// The day's calls to this number are used up.
    #[error("已达该号码每日外呼上限(dialout.daily_number_max)/ the day's calls to this number are used up")]
    DailyNumber,
    /// The day's calls of this operator are used up.
    #[error("已达该受理员每日外呼上限(dialout.daily_operator_max)/ this operator's calls of the day are used up")]
    DailyOperator,
    /// Too many at once.
    #[error("同时外呼过多(dialout.concurrent_max)/ too many outgoing calls at once")]
    Concurrent,
    /// What can't be counted isn't called.
    #[error("数据库不可用,暂不外呼 / the database is not available: no calls until it is")]
    Store,
}

impl Refusal {
    /// Word in rows and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Forbidden => "forbidden",
            Self::NotAllowed => "not_allowed",
            Self::NoTransfer => "no_transfer",
            Self::NoPhone => "no_phone",
            Self::Hours => "hours",
            Self::NoTask => "no_task",
            Self::DailyTotal => "daily_total",
            Self::DailyNumber => "daily_number",
            Self::DailyOperator => "daily_operator",
            Self::Concurrent => "concurrent",
            Self::Store => "store",
        }
    }

    /// Whether no later try would fare better.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Self::Number | Self::Forbidden | Self::NotAllowed | Self::NoTransfer | Self::NoPhone | Self::NoTask
        )
    }
}

/// Longest number with its trunk prefix (E.164 has 15 digits).
pub(crate) const DIGITS_MAX: usize = 16;
pub(crate) const DIGITS_MIN: usize = 3;

/// The digits to dial for `number` (E.164, or digits as they are), if rules and hours allow it at `now` (epoch ms).
pub fn judge(config: &Config, rules: &Rules, purpose: Purpose, number: &str, now: i64) -> Result<String, Refusal> {
    let settings = &config.dialout;
    let dialled = domestic(number).ok_or(Refusal::Number)?;
    if is_emergency(config, purpose, number) {
        return Ok(dialled);
    }
    if starts_with_any(&dialled, &settings.forbid_prefixes) {
        return Err(Refusal::Forbidden);
    }
    if purpose == Purpose::Emergency {
        return Err(Refusal::NotAllowed);
    }
    if purpose == Purpose::OnCall {
        // Whom the site wrote down, and nobody else.
        if !config.queues.values().any(|q| q.on_call.contains(&dialled)) {
            return Err(Refusal::NotAllowed);
        }
    } else if purpose == Purpose::Transfer {
        // A transfer has no task behind it: only where the site says so.
        if !starts_with_any(&dialled, &settings.transfer_prefixes) {
            return Err(Refusal::NoTransfer);
        }
    } else if purpose == Purpose::Phone {
        if !starts_with_any(&dialled, &settings.phone_prefixes) || !is_a_person(config, &dialled) {
            return Err(Refusal::NoPhone);
        }
    } else if !is_allowed(config, &dialled) {
        return Err(Refusal::NotAllowed);
    }
    if is_open(settings, rules, purpose, now) { Ok(dialled) } else { Err(Refusal::Hours) }
}

/// A citizen handed on to the police, the fire brigade or an ambulance: no rule, cap or want of a row may stop that.
pub(crate) fn is_emergency(config: &Config, purpose: Purpose, number: &str) -> bool {
    matches!(purpose, Purpose::Transfer | Purpose::Emergency)
        && domestic(number).is_some_and(|dialled| config.dialout.emergency.contains(&dialled))
}

/// As a mainland trunk wants it: mobiles bare, fixed numbers with 0. `None`: no number.
fn domestic(number: &str) -> Option<String> {
    let dialled = match number.strip_prefix("+86") {
        Some(rest) if rest.starts_with('1') && rest.len() == 11 => rest.to_owned(),
        Some(rest) => format!("0{rest}"),
        // Another country: as one dials it, so that the rule about 00 sees it.
        None => number.strip_prefix('+').map_or_else(|| number.to_owned(), |abroad| format!("00{abroad}")),
    };
    let is_number = dialled.bytes().all(|b| b.is_ascii_digit()) && (DIGITS_MIN..=DIGITS_MAX).contains(&dialled.len());
    is_number.then_some(dialled)
}

fn is_allowed(config: &Config, dialled: &str) -> bool {
    let allowed = &config.dialout.allow_prefixes;
    if !allowed.is_empty() {
        return starts_with_any(dialled, allowed);
    }
    let mut trunks = config.trunks.iter().filter(|t| t.outbound.is_some()).peekable();
    // Which trunk, is decided elsewhere; a site without any gets its refusal there.
    trunks.peek().is_none() && is_mainland(dialled)
        || trunks.any(|t| match t.dial_prefixes.is_empty() {
            true => is_mainland(dialled),
            false => starts_with_any(dialled, &t.dial_prefixes),
        })
}

/// A telephone of the mainland that isn't ours and nobody in need calls.
fn is_a_person(config: &Config, dialled: &str) -> bool {
    is_mainland(dialled) && !is_of_hotline(config, dialled) && !config.dialout.emergency.iter().any(|n| n == dialled)
}

/// One of our own numbers: whoever we call there would be a caller of ours.
pub(crate) fn is_of_hotline(config: &Config, dialled: &str) -> bool {
    config.hotlines.iter().any(|h| is_same_number(&h.number, dialled, &config.site.area_code))
}

/// Mobiles, and fixed numbers with area code (Numbering plan of the PRC).
fn is_mainland(dialled: &str) -> bool {
    dialled.starts_with(['0', '1']) && !dialled.starts_with("00") && (10..=12).contains(&dialled.len())
}

fn is_open(settings: &Settings, rules: &Rules, purpose: Purpose, now: i64) -> bool {
    match purpose {
        Purpose::Task(owed) => rules.next_for(owed, now) <= now,
        // The call goes on from one that was allowed a moment ago.
        Purpose::Redirect | Purpose::Emergency | Purpose::OnCall => true,
        // The shift's business: who is signed in takes calls.
        Purpose::Phone => true,
        Purpose::Transfer => Window::parse(&settings.transfer_hours).is_none_or(|w| rules.is_within(w, now)),
    }
}

fn starts_with_any(text: &str, prefixes: &[String]) -> bool {
    prefixes.iter().any(|p| text.starts_with(p.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::Calendar;
    use crate::config::Trunk;
    use hotline_db::CallbackKind;

    // 2026-11-20 00:00 in UTC+8.
    const MIDNIGHT: i64 = 1_795_104_000_000;
    const HOUR: i64 = 3_600_000;
    const NOON: i64 = MIDNIGHT + 11 * HOUR;
    const TASK: Purpose = task(CallbackKind::CaseFinished, 0);

    const fn task(kind: CallbackKind, attempts: i64) -> Purpose {
        Purpose::Task(Owed { kind, attempts, preferred: None })
    }
    fn config() -> Config {
        let trunk = Trunk { name: "ims".into(), outbound: "127.0.0.1:5070".parse().ok(), ..Trunk::default() };
        Config { trunks: vec![trunk], ..Config::default() }
    }
    fn at(config: &Config, purpose: Purpose, number: &str, now: i64) -> Result<String, Refusal> {
        judge(config, &Rules::new(&config.callback, Calendar::default(), 480), purpose, number, now)
    }

    #[test]
    fn mainland_numbers_are_dialled_as_a_trunk_wants_them() {
        let c = config();
        assert_eq!(at(&c, TASK, "+8613812345678", NOON).unwrap(), "13812345678");
        assert_eq!(at(&c, TASK, "+8651912345678", NOON).unwrap(), "051912345678");
        assert_eq!(at(&Config::default(), TASK, "+8613812345678", NOON).unwrap(), "13812345678");
    }

    #[test]
    fn an_operators_phone_is_only_what_the_site_names_and_never_what_it_forbids() {
        let mut c = config();
        assert_eq!(at(&c, Purpose::Phone, "+8613812345678", MIDNIGHT), Err(Refusal::NoPhone), "none by default");
        c.dialout.phone_prefixes = vec!["138".into(), "00".into()];
        assert_eq!(at(&c, Purpose::Phone, "+8613812345678", MIDNIGHT).unwrap(), "13812345678", "at any hour");
        assert_eq!(at(&c, Purpose::Phone, "+8613912345678", NOON), Err(Refusal::NoPhone));
        assert_eq!(at(&c, Purpose::Phone, "+19005551234", NOON), Err(Refusal::Forbidden));
        c.dialout.phone_prefixes = vec!["0".into(), "1".into(), "9".into(), "8".into()];
        c.dialout.emergency = vec!["110".into(), "051912345120".into()];
        c.site.area_code = "519".into();
        let ours = |number: &str| format!("[[hotline]]\nnumber = \"{number}\"\n");
        let ours = ["12319", "051986520110", "85012345"].map(ours).concat();
        c.hotlines = Config::parse(std::path::Path::new("x"), &ours).unwrap().hotlines;
        for odd in ["110", "051912345120", "12319", "051912319", "86520110", "+8651986520110", "051985012345", "95588"]
        {
            assert_eq!(at(&c, Purpose::Phone, odd, NOON), Err(Refusal::NoPhone), "{odd}");
        }
        assert_eq!(at(&c, Purpose::Phone, "+8651986520111", NOON).unwrap(), "051986520111");
    }

    #[test]
    fn international_premium_and_satellite_numbers_are_refused_for_every_purpose() {
        let mut c = config();
        c.dialout.transfer_prefixes = vec!["1".into(), "0".into(), "9".into()];
        c.dialout.allow_prefixes = c.dialout.transfer_prefixes.clone();
        for toll in [
            "+19005551234",
            "0019005551234",
            "+882161234567",
            "9005551234",
            "+869005551234",
            "+8613491234567",
            "+8617491234567",
        ] {
            for purpose in [TASK, Purpose::Redirect, Purpose::Transfer] {
                assert_eq!(at(&c, purpose, toll, NOON), Err(Refusal::Forbidden), "{toll} {purpose:?}");
            }
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for odd in ["", "1", "13812345678;x", "1381234567８", "+8613812345678@evil", "12345678901234567", "abc"] {
            assert_eq!(at(&config(), TASK, odd, NOON), Err(Refusal::Number), "{odd}");
        }
    }

    #[test]
    fn a_site_may_narrow_the_prefixes_and_a_trunks_own_count_too() {
        let mut c = config();
        assert_eq!(at(&c, TASK, "95588", NOON), Err(Refusal::NotAllowed));
        c.trunks[0].dial_prefixes = vec!["0519".into()];
        assert_eq!(at(&c, TASK, "+8613812345678", NOON), Err(Refusal::NotAllowed));
        assert!(at(&c, TASK, "+8651912345678", NOON).is_ok());
        c.dialout.allow_prefixes = vec!["13".into()];
        assert!(at(&c, TASK, "+8613812345678", NOON).is_ok());
        assert_eq!(at(&c, TASK, "+8651912345678", NOON), Err(Refusal::NotAllowed));
    }

    #[test]
    fn nobody_is_called_at_night_but_who_asked_a_moment_ago() {
        let (c, night) = (config(), MIDNIGHT + 23 * HOUR);
        assert_eq!(at(&c, TASK, "+8613812345678", night), Err(Refusal::Hours));
        assert_eq!(at(&c, task(CallbackKind::Missed, 0), "+8613812345678", night), Err(Refusal::Hours));
        assert!(at(&c, task(CallbackKind::Queued, 0), "+8613812345678", night).is_ok());
        assert_eq!(at(&c, task(CallbackKind::Queued, 1), "+8613812345678", night), Err(Refusal::Hours));
    }

    #[test]
    fn a_transfer_outside_needs_its_own_permission_and_hours_and_emergencies_are_named() {
        let mut c = config();
        let night = MIDNIGHT + 23 * HOUR;
        assert_eq!(at(&c, Purpose::Transfer, "+8613812345678", NOON), Err(Refusal::NoTransfer));
        assert_eq!(at(&c, Purpose::Transfer, "110", NOON), Err(Refusal::NoTransfer));
        c.dialout.transfer_prefixes = vec!["0519".into()];
        c.dialout.transfer_hours = "08:00-18:00".into();
        c.dialout.emergency = vec!["110".into()];
        assert_eq!(at(&c, Purpose::Transfer, "+8651988887777", NOON).unwrap(), "051988887777");
        assert_eq!(at(&c, Purpose::Transfer, "+8651988887777", night), Err(Refusal::Hours));
        assert!(at(&c, Purpose::Transfer, "110", night).is_ok());
        assert_eq!(at(&c, TASK, "110", NOON), Err(Refusal::NotAllowed), "a task never calls 110");
        assert_eq!(at(&c, Purpose::Emergency, "110", night).unwrap(), "110");
        assert_eq!(at(&c, Purpose::Emergency, "051988887777", NOON), Err(Refusal::NotAllowed), "nobody but those");
        assert_eq!(at(&c, Purpose::Transfer, "1100", NOON), Err(Refusal::NoTransfer));
    }
}

//! Duty (domain rules §2.6): who may sign in, who may sign out. Pure; `console/duty.rs` asks and acts.

use hotline_db::{Id, Shift, ShiftRole};

/// So long before a shift its people may sign in.
pub const EARLY_MS: i64 = 15 * 60_000;
/// 特急 and 紧急: whoever has such work in hand passes it on before leaving (首问负责).
pub const URGENT: i64 = 2;

/// Why somebody may not, in words for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Others are planned for now.
    #[error(
        "不在本班次,请值班长批准后签到 / you aren't on this shift: a shift leader may allow it (POST /api/v1/duty/leaves)"
    )]
    NotPlanned,
    /// Nobody else serves a queue they leave.
    #[error(
        "您是最后一名在岗受理员,接班人签到后方可签退或离开该队列 / you are the last one here: sign out or leave the queue once your relief is in it"
    )]
    LastOne,
    /// So much urgent work is in hand.
    #[error(
        "名下有 {0} 项紧急待办,请先办结、转交或交接 / {0} urgent pieces of work are yours: finish, pass on or hand them over first"
    )]
    Urgent(usize),
}

/// Why somebody may sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grounds {
    /// On their own shift.
    Shift,
    /// A leader allowed it.
    Leave,
    /// Nobody is planned for now: better somebody than nobody.
    NobodyPlanned,
}

/// Whether operators are planned for this moment.
#[must_use]
pub fn is_planned(shifts: &[Shift], now: i64) -> bool {
    shifts
        .iter()
        .any(|s| s.starts_at <= now && now < s.ends_at && s.members.iter().any(|m| m.role == ShiftRole::Operator))
}

/// Whether a person may sign in at `now`, `shifts` being those of now and of [`EARLY_MS`] later.
///
/// # Errors
/// [`Refusal::NotPlanned`].
pub fn sign_in(shifts: &[Shift], who: Id, has_leave: bool, now: i64) -> Result<Grounds, Refusal> {
    let own = shifts
        .iter()
        .any(|s| s.starts_at - EARLY_MS <= now && now < s.ends_at && s.members.iter().any(|m| m.account == who));
    match (own, has_leave, is_planned(shifts, now)) {
        (true, ..) => Ok(Grounds::Shift),
        (_, true, _) => Ok(Grounds::Leave),
        (_, _, false) => Ok(Grounds::NobodyPlanned),
        _ => Err(Refusal::NotPlanned),
    }
}

/// Whether a person may sign out with `urgent` urgent pieces of work in hand, `others` staying in the emptiest queue
/// they leave; or leave a queue, which takes no work along.
///
/// # Errors
/// [`Refusal::Urgent`], [`Refusal::LastOne`].
pub fn sign_out(shifts: &[Shift], urgent: usize, others: usize, has_leave: bool, now: i64) -> Result<(), Refusal> {
    if has_leave {
        return Ok(());
    }
    if urgent > 0 {
        return Err(Refusal::Urgent(urgent));
    }
    if others == 0 && is_planned(shifts, now) {
        return Err(Refusal::LastOne);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hotline_db::ShiftMember;

    const HOUR: i64 = 3_600_000;

    fn shift(from: i64, to: i64, members: &[(Id, ShiftRole)]) -> Shift {
        let id = Id::new();
        let members = members
            .iter()
            .map(|(account, role)| ShiftMember { shift: id, account: *account, role: *role, name: String::new() })
            .collect();
        Shift { id, name: "早班".into(), starts_at: from, ends_at: to, members }
    }

    #[test]
    fn one_signs_in_on_ones_own_shift_and_a_little_before_it() {
        let (zhang, li) = (Id::new(), Id::new());
        let shifts = [
            shift(0, 8 * HOUR, &[(zhang, ShiftRole::Operator)]),
            shift(8 * HOUR, 16 * HOUR, &[(li, ShiftRole::Operator)]),
        ];
        assert_eq!(sign_in(&shifts, zhang, false, HOUR), Ok(Grounds::Shift));
        assert_eq!(sign_in(&shifts, li, false, HOUR), Err(Refusal::NotPlanned));
        assert_eq!(sign_in(&shifts, li, true, HOUR), Ok(Grounds::Leave));
        assert_eq!(sign_in(&shifts, li, false, 8 * HOUR - EARLY_MS - 1), Err(Refusal::NotPlanned));
        assert_eq!(sign_in(&shifts, li, false, 8 * HOUR - EARLY_MS), Ok(Grounds::Shift));
        assert_eq!(sign_in(&shifts, zhang, false, 8 * HOUR), Err(Refusal::NotPlanned));
    }

    #[test]
    fn where_nobody_is_planned_anybody_may_come_and_go() {
        let zhang = Id::new();
        assert_eq!(sign_in(&[], zhang, false, 0), Ok(Grounds::NobodyPlanned));
        let leaders = [shift(0, HOUR, &[(Id::new(), ShiftRole::Leader), (Id::new(), ShiftRole::OnCall)])];
        assert_eq!(sign_in(&leaders, zhang, false, 0), Ok(Grounds::NobodyPlanned), "a leader alone answers no calls");
        assert_eq!(sign_out(&leaders, 0, 0, false, 0), Ok(()));
    }

    #[test]
    fn the_last_one_stays_until_relief_is_there() {
        let shifts = [shift(0, HOUR, &[(Id::new(), ShiftRole::Operator)])];
        assert_eq!(sign_out(&shifts, 0, 0, false, 0), Err(Refusal::LastOne));
        assert_eq!(sign_out(&shifts, 0, 1, false, 0), Ok(()));
        assert_eq!(sign_out(&shifts, 0, 0, true, 0), Ok(()), "a leader answers for it");
    }

    #[test]
    fn who_has_urgent_work_in_hand_passes_it_on_first() {
        assert_eq!(sign_out(&[], 2, 5, false, 0), Err(Refusal::Urgent(2)));
        assert!(Refusal::Urgent(2).to_string().contains("2 项紧急"));
    }
}

//! What the calls' drivers said last, against what the owner's last rows say: an owner that dies over a word loses
//! it, its driver doesn't say it again.

use hotline_acd::{CallerRow, OperatorRow, OperatorState};

use super::engaged::Engaged;

/// Sets the rows right, given who talks in each live call (call, operator), and whose phones are in it otherwise. Returns offers that are none any more
/// (call, operator): whoever drives the call still rings that phone.
pub(super) fn apply(
    operators: &mut [OperatorRow],
    callers: &[CallerRow],
    (talks, engaged): (&[(String, String)], &Engaged),
    is_live: &dyn Fn(&str) -> bool,
) -> Vec<(String, String)> {
    let mut withdrawn = Vec::new();
    for row in operators {
        let theirs = || talks.iter().filter(|(_, who)| *who == row.who.id).map(|(call, _)| call.as_str());
        let talks_there = row.state == OperatorState::Talking;
        if let Some(call) = row.call.clone().filter(|call| talks_there && is_live(call))
            && !theirs().any(|c| *c == *call)
        {
            // 话后 without an end: back to work, or to what they asked for.
            (row.state, row.wrap_until, row.call) = (OperatorState::WrapUp, None, None);
        }
        let missing: Vec<String> = theirs()
            .filter(|c| !(row.state == OperatorState::Talking && row.call.as_deref() == Some(*c)))
            .map(str::to_owned)
            .collect();
        for call in missing {
            let ringing = row.call.clone().filter(|c| row.state == OperatorState::Ringing && **c != *call);
            withdrawn.extend(ringing.map(|other| (other.to_string(), row.who.id.clone())));
            talk(row, &call, callers);
        }
        engage(row, talks, engaged);
        if row.state == OperatorState::Ringing && !row.engaged.is_empty() {
            withdrawn.extend(row.call.take().map(|call| (call.to_string(), row.who.id.clone())));
            (row.state, row.wrap_until) = (OperatorState::WrapUp, None);
        }
    }
    withdrawn
}

/// As the machine takes the words that a phone rings or talks in somebody else's call, and that it does no longer.
fn engage(row: &mut OperatorRow, talks: &[(String, String)], engaged: &Engaged) {
    let theirs: Vec<String> = engaged.pairs().filter(|(_, who)| *who == row.who.id).map(|(call, _)| call).collect();
    let talks = |call: &str| talks.iter().any(|(c, who)| c == call && *who == row.who.id);
    row.engaged.retain(|call| theirs.iter().any(|c| **c == **call) || talks(call));
    for call in theirs {
        let is_known = row.call.as_deref() == Some(&*call) || row.engaged.iter().any(|c| **c == *call);
        if !is_known {
            row.engaged.push(call.into());
        }
    }
}

/// As the machine takes the word that a phone was picked up.
fn talk(row: &mut OperatorRow, call: &str, callers: &[CallerRow]) {
    if row.state == OperatorState::Talking {
        if row.engaged.iter().all(|c| **c != *call) {
            row.engaged.push(call.into());
        }
        return;
    }
    if !matches!(row.state, OperatorState::Ready | OperatorState::DeviceFault) && !row.state.is_of_a_call() {
        let was = (row.state, row.reason.clone());
        row.next.get_or_insert(was);
    }
    if let Some(caller) = callers.iter().find(|c| c.entry.call == call) {
        row.queue = Some(caller.queue.clone());
        row.call_node = caller.entry.node.as_str().into();
    }
    row.state = OperatorState::Talking;
    row.reason = "".into();
    row.call = Some(call.into());
    row.engaged.retain(|c| **c != *call);
}

#[cfg(test)]
mod tests {
    use super::*;
    use hotline_acd::{OperatorRef, Profile};
    use std::sync::Arc;

    fn row(id: &str, state: OperatorState, call: Option<&str>) -> OperatorRow {
        OperatorRow {
            who: Arc::new(OperatorRef { id: id.into(), name: id.into(), sip_user: id.into() }),
            state,
            reason: "tea".into(),
            since: 0,
            idle_since: 0,
            call: call.map(Into::into),
            call_node: "".into(),
            queue: None,
            wrap_until: None,
            next: None,
            engaged: Vec::new(),
            profile: Arc::new(Profile::default()),
        }
    }

    fn healed(mut row: OperatorRow, talks: &[(&str, &str)]) -> (OperatorRow, Vec<(String, String)>) {
        let talks: Vec<_> = talks.iter().map(|(c, o)| ((*c).to_owned(), (*o).to_owned())).collect();
        let withdrawn = apply(std::slice::from_mut(&mut row), &[], (&talks, &Engaged::default()), &|_| true);
        (row, withdrawn)
    }

    #[test]
    fn who_picked_up_talks_although_the_row_says_they_ring_or_rest() {
        for state in [OperatorState::Ready, OperatorState::Ringing, OperatorState::WrapUp] {
            let (row, withdrawn) = healed(row("x", state, Some("a")), &[("a", "x")]);
            assert_eq!((row.state, row.call.as_deref(), row.next), (OperatorState::Talking, Some("a"), None));
            assert!(withdrawn.is_empty());
        }
        let (row, _) = healed(row("x", OperatorState::Break, None), &[("a", "x")]);
        assert_eq!(row.next.map(|n| n.0), Some(OperatorState::Break), "and goes back to their break");
    }

    #[test]
    fn whose_phone_rings_for_another_call_rings_no_longer() {
        let (row, withdrawn) = healed(row("x", OperatorState::Ringing, Some("b")), &[("a", "x")]);
        assert_eq!((row.state, row.call.as_deref()), (OperatorState::Talking, Some("a")));
        assert_eq!(withdrawn, [("b".to_owned(), "x".to_owned())]);
    }

    #[test]
    fn who_was_released_talks_no_longer() {
        let (row, _) = healed(row("x", OperatorState::Talking, Some("a")), &[("a", "y")]);
        assert_eq!((row.state, row.call, row.wrap_until), (OperatorState::WrapUp, None, None));
    }

    #[test]
    fn who_is_in_somebody_elses_call_is_not_free_and_rings_no_longer() {
        let engaged: Engaged = [("a".to_owned(), "x".to_owned())].into_iter().collect();
        let healed = |mut row: OperatorRow| {
            let withdrawn = apply(std::slice::from_mut(&mut row), &[], (&[], &engaged), &|_| true);
            (row.state, row.engaged, withdrawn)
        };
        let (state, of, withdrawn) = healed(row("x", OperatorState::Ready, None));
        assert_eq!((state, of, withdrawn.len()), (OperatorState::Ready, vec!["a".into()], 0));
        let (state, of, withdrawn) = healed(row("x", OperatorState::Ringing, Some("b")));
        assert_eq!((state, of), (OperatorState::WrapUp, vec!["a".into()]));
        assert_eq!(withdrawn, [("b".to_owned(), "x".to_owned())]);
        let mut before = row("y", OperatorState::Ready, None);
        before.engaged.push("a".into());
        assert!(healed(before).1.is_empty(), "its driver said that they left");
    }

    #[test]
    fn what_the_row_says_and_the_driver_too_stays() {
        let (row, withdrawn) = healed(row("x", OperatorState::Talking, Some("a")), &[("a", "x"), ("b", "x")]);
        assert_eq!((row.state, row.call.as_deref()), (OperatorState::Talking, Some("a")));
        assert_eq!(row.engaged, ["b".into()], "the other phone call waits aside");
        assert!(withdrawn.is_empty());
    }
}

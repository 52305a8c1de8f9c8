//! Operators' states, rings and talks.

use hotline_acd::{Core, Decline, Entry, Lane, OperatorState, Refused, Standing};

use crate::{desk, enters, offers, pair, says, says_with, state, withdrawn};

#[test]
fn an_operator_without_a_registered_phone_gets_no_call() {
    let mut core = desk(0);
    says_with(&mut core, 0, "x", OperatorState::Ready, false, &["main"]);
    enters(&mut core, 1, "a");
    assert!(offers(&mut core).is_empty());
    core.registered(2, "x", true);
    assert_eq!(offers(&mut core), [pair("a", "x")]);
}

#[test]
fn without_room_for_another_call_operators_stay_ready_and_are_asked_again_soon() {
    let mut core = desk(0);
    says(&mut core, 0, "x", OperatorState::Ready);
    enters(&mut core, 1, "a");
    assert_eq!(offers(&mut core), [pair("a", "x")]);
    core.declined(10, "a", "x", Decline::NoRoom);
    assert_eq!(state(&core, "x"), OperatorState::Ready);
    assert!(offers(&mut core).is_empty(), "not at once: that would spin");
    let again = core.poll_timeout().unwrap();
    assert_eq!(again, 2_010);
    core.handle_timeout(again);
    assert_eq!(offers(&mut core), [pair("a", "x")], "the same operator: nobody refused anything");
}

#[test]
fn who_does_not_answer_goes_away_and_the_caller_keeps_the_first_place() {
    let mut core = desk(0);
    says(&mut core, 0, "x", OperatorState::Ready);
    enters(&mut core, 1, "a");
    enters(&mut core, 2, "b");
    assert_eq!(offers(&mut core), [pair("a", "x")]);
    core.declined(15_000, "a", "x", Decline::NoAnswer);
    assert!(offers(&mut core).is_empty());
    assert_eq!(state(&core, "x"), OperatorState::Away);
    says(&mut core, 16_000, "y", OperatorState::Ready);
    assert_eq!(offers(&mut core), [pair("a", "y")]);
    says(&mut core, 17_000, "x", OperatorState::Ready);
    assert_eq!(offers(&mut core), [pair("b", "x")]);
}

#[test]
fn a_caller_only_one_operator_could_take_gets_them_back_when_they_are_ready_again() {
    let mut core = desk(0);
    says(&mut core, 0, "x", OperatorState::Ready);
    enters(&mut core, 1, "a");
    core.declined(2, "a", "x", Decline::NoAnswer);
    assert_eq!(offers(&mut core).len(), 1);
    says(&mut core, 3, "x", OperatorState::Ready);
    assert_eq!(offers(&mut core), [pair("a", "x")]);
}

#[test]
fn ready_asked_for_while_it_rings_does_not_bring_the_same_caller_back_at_once() {
    let mut core = desk(0);
    says(&mut core, 0, "x", OperatorState::Ready);
    enters(&mut core, 1, "a");
    says(&mut core, 2, "x", OperatorState::Ready);
    core.declined(3, "a", "x", Decline::Refused);
    assert_eq!(state(&core, "x"), OperatorState::Away);
    assert_eq!(offers(&mut core), [pair("a", "x")], "the first offer and no second");
}

#[test]
fn a_declined_caller_waits_for_who_comes_soon_and_not_for_who_is_away() {
    let mut core = desk(0);
    says(&mut core, 0, "x", OperatorState::Ready);
    says(&mut core, 1, "y", OperatorState::Away);
    enters(&mut core, 2, "a");
    core.declined(3, "a", "x", Decline::NoAnswer);
    says(&mut core, 4, "x", OperatorState::Ready);
    assert_eq!(offers(&mut core), [pair("a", "x"), pair("a", "x")], "y may be away all night");
    says(&mut core, 5, "x", OperatorState::Ready);
    core.declined(6, "a", "x", Decline::NoAnswer);
    core.connected(7, "t", "y");
    says(&mut core, 8, "y", OperatorState::Ready);
    says(&mut core, 9, "x", OperatorState::Ready);
    assert!(offers(&mut core).is_empty(), "y comes after the talk");
    says(&mut core, 10, "y", OperatorState::Off);
    assert_eq!(offers(&mut core), [pair("a", "x")], "y leaves after the talk");
}

#[test]
fn a_declined_caller_waits_for_a_talking_colleague_half_a_minute_at_most() {
    let mut core = desk(0);
    says(&mut core, 0, "x", OperatorState::Ready);
    enters(&mut core, 1, "a");
    core.declined(2, "a", "x", Decline::NoAnswer);
    says(&mut core, 3, "y", OperatorState::Off);
    core.connected(4, "t", "y");
    says(&mut core, 5, "y", OperatorState::Ready);
    says(&mut core, 10, "x", OperatorState::Ready);
    enters(&mut core, 11, "b");
    assert_eq!(offers(&mut core), [pair("a", "x"), pair("b", "x")]);
    core.connected(12, "b", "x");
    core.handle_timeout(30_010);
    core.released(30_011, "b", "x");
    assert_eq!(offers(&mut core), [pair("a", "x")], "not everybody who came later first");
}

#[test]
fn a_phone_that_comes_back_is_a_second_chance_too() {
    let mut core = desk(0);
    says(&mut core, 0, "x", OperatorState::Ready);
    enters(&mut core, 1, "a");
    core.declined(2, "a", "x", Decline::NoAnswer);
    core.registered(3, "x", false);
    says_with(&mut core, 4, "x", OperatorState::Ready, false, &["main"]);
    assert_eq!(offers(&mut core), [pair("a", "x")], "the first offer alone");
    core.registered(5, "x", true);
    assert_eq!(offers(&mut core), [pair("a", "x")]);
    core.declined(6, "a", "x", Decline::NoAnswer);
    core.engaged(7, "t", "x");
    says(&mut core, 8, "x", OperatorState::Ready);
    assert!(offers(&mut core).is_empty());
    core.disengaged(9, "t", "x");
    assert_eq!(offers(&mut core), [pair("a", "x")]);
}

#[test]
fn old_news_of_a_phone_do_not_undo_its_registration() {
    let mut core = desk(0);
    says_with(&mut core, 0, "x", OperatorState::Off, false, &["main"]);
    core.registered(1, "x", true);
    says_with(&mut core, 2, "x", OperatorState::Ready, false, &["main"]);
    enters(&mut core, 3, "a");
    assert_eq!(offers(&mut core), [pair("a", "x")]);
    core.leave(4, "a");
    core.registered(5, "x", false);
    enters(&mut core, 6, "b");
    assert!(offers(&mut core).is_empty());
}

#[test]
fn who_took_a_second_call_is_free_when_both_are_over() {
    for first in ["a", "b"] {
        let mut core = desk(0);
        says(&mut core, 0, "x", OperatorState::Ready);
        enters(&mut core, 1, "a");
        core.connected(2, "a", "x");
        core.engaged(3, "b", "x");
        core.connected(4, "b", "x");
        enters(&mut core, 5, "c");
        core.released(6, first, "x");
        core.disengaged(7, "a", "x");
        core.disengaged(7, "b", "x");
        assert_eq!(offers(&mut core), [pair("a", "x")], "{first} is over, the other call isn't");
        core.ended(8, "a");
        core.ended(9, "b");
        assert_eq!(offers(&mut core), [pair("c", "x")]);
    }
}

#[test]
fn a_call_set_aside_frees_its_operator_when_somebody_else_takes_it_or_it_waits_again() {
    let mut core = desk(0);
    says(&mut core, 0, "x", OperatorState::Ready);
    says(&mut core, 1, "y", OperatorState::Break);
    core.connected(2, "a", "x");
    core.connected(3, "b", "x");
    core.connected(4, "a", "y");
    assert_eq!(state(&core, "x"), OperatorState::Talking, "in b");
    core.connected(5, "c", "x");
    core.enter(6, Entry { returns: true, ..Entry::new("b", "main", Lane::Normal) }).unwrap();
    core.released(7, "c", "x");
    assert_eq!(offers(&mut core), [pair("b", "x")]);
}

#[test]
fn who_signs_in_during_a_talk_handed_to_them_is_free_after_it() {
    let mut core = desk(0);
    core.connected(0, "t", "x");
    says(&mut core, 1, "x", OperatorState::Ready);
    enters(&mut core, 2, "a");
    assert!(offers(&mut core).is_empty());
    core.released(3, "t", "x");
    core.handle_timeout(3);
    assert_eq!(offers(&mut core), [pair("a", "x")]);
}

#[test]
fn whom_the_matter_names_never_gets_the_caller() {
    let mut core = desk(0);
    says(&mut core, 0, "x", OperatorState::Ready);
    let entry = Entry { barred: vec!["x".into()], ..Entry::new("a", "main", Lane::Red) };
    core.enter(1, entry).unwrap();
    says(&mut core, 2, "x", OperatorState::Break);
    says(&mut core, 3, "x", OperatorState::Ready);
    assert!(offers(&mut core).is_empty());
    assert_eq!(core.pull(4, "a", "x"), Err(Refused::Barred));
}

#[test]
fn a_caller_who_leaves_while_it_rings_frees_the_operator_with_their_idle_time() {
    let mut core = desk(0);
    says(&mut core, 0, "x", OperatorState::Ready);
    says(&mut core, 5, "y", OperatorState::Ready);
    enters(&mut core, 10, "a");
    core.leave(20, "a");
    enters(&mut core, 30, "b");
    assert_eq!(offers(&mut core), [pair("a", "x"), pair("b", "x")]);
}

#[test]
fn wrap_up_ends_by_itself_can_be_extended_and_not_for_ever() {
    let mut core = desk(30_000);
    says(&mut core, 0, "x", OperatorState::Ready);
    enters(&mut core, 1, "a");
    core.connected(2, "a", "x");
    assert_eq!(core.extend_wrap(3, "x", 1_000), Err(Refused::NoWrapUp), "in a talk");
    core.released(10, "a", "x");
    assert_eq!(state(&core, "x"), OperatorState::WrapUp);
    assert_eq!(core.extend_wrap(11, "x", 20_000), Ok(50_010));
    core.handle_timeout(30_010);
    assert_eq!(state(&core, "x"), OperatorState::WrapUp);
    assert_eq!(core.extend_wrap(12, "x", i64::MAX), Ok(10 + 30 * 60_000));
    assert_eq!(core.extend_wrap(13, "x", 1), Err(Refused::NoWrapUp));
    core.handle_timeout(10 + 30 * 60_000);
    assert_eq!(state(&core, "x"), OperatorState::Ready);
}

#[test]
fn a_state_asked_for_during_the_call_comes_after_it() {
    let mut core = desk(30_000);
    says(&mut core, 0, "x", OperatorState::Ready);
    enters(&mut core, 1, "b");
    core.connected(2, "b", "x");
    let standing = says(&mut core, 3, "x", OperatorState::Break);
    assert_eq!(standing, Standing { state: OperatorState::Talking, next: Some(OperatorState::Break) });
    core.released(4, "b", "x");
    assert_eq!(state(&core, "x"), OperatorState::Break);
}

#[test]
fn a_supervisors_decision_stands_against_the_operators_wish() {
    let mut core = desk(0);
    says(&mut core, 0, "x", OperatorState::Ready);
    enters(&mut core, 1, "a");
    core.connected(2, "a", "x");
    core.force_state(3, "x", OperatorState::Off, "shift over").unwrap();
    says(&mut core, 4, "x", OperatorState::Ready);
    core.released(5, "a", "x");
    assert_eq!(state(&core, "x"), OperatorState::Off);
    assert_eq!(core.force_state(6, "nobody", OperatorState::Off, ""), Err(Refused::NoOperator));
    assert_eq!(core.force_state(6, "x", OperatorState::Talking, ""), Err(Refused::StateOfACall));
}

#[test]
fn a_forced_state_stops_the_ring_and_the_caller_goes_on_to_somebody_else() {
    let mut core = desk(0);
    says(&mut core, 0, "x", OperatorState::Ready);
    enters(&mut core, 1, "a");
    core.force_state(2, "x", OperatorState::Break, "").unwrap();
    assert_eq!(withdrawn(&mut core), [pair("a", "x")]);
    assert_eq!(state(&core, "x"), OperatorState::Break);
    says(&mut core, 3, "y", OperatorState::Ready);
    assert_eq!(offers(&mut core), [pair("a", "y")]);
}

#[test]
fn a_refusal_that_crosses_a_second_offer_to_the_same_operator_leaves_no_phone_ringing() {
    let mut core = desk(0);
    says(&mut core, 0, "x", OperatorState::Ready);
    enters(&mut core, 1, "a");
    core.force_state(2, "x", OperatorState::Ready, "").unwrap();
    assert_eq!(withdrawn(&mut core), [pair("a", "x")], "and offered again");
    core.declined(3, "a", "x", Decline::Refused);
    assert_eq!(withdrawn(&mut core), [pair("a", "x")], "the second ring ends with the first");
    assert_eq!(state(&core, "x"), OperatorState::Away);
    says(&mut core, 4, "y", OperatorState::Ready);
    assert_eq!(offers(&mut core), [pair("a", "y")]);
    core.declined(5, "a", "y", Decline::Refused);
    assert!(withdrawn(&mut core).is_empty(), "a driver knows what it refuses");
}

#[test]
fn a_ring_nobody_reports_on_ends_by_itself() {
    let mut core = desk(0);
    says(&mut core, 0, "x", OperatorState::Ready);
    enters(&mut core, 1, "a");
    assert_eq!(core.poll_timeout(), Some(20_001));
    core.handle_timeout(20_001);
    assert_eq!(withdrawn(&mut core), [pair("a", "x")]);
    assert_eq!(state(&core, "x"), OperatorState::Away);
    says(&mut core, 20_002, "y", OperatorState::Ready);
    assert_eq!(offers(&mut core), [pair("a", "y")]);
}

#[test]
fn a_phone_that_fails_again_and_again_is_faulty_until_it_registers() {
    let mut core = desk(0);
    says(&mut core, 0, "x", OperatorState::Ready);
    enters(&mut core, 1, "a");
    core.declined(2, "a", "x", Decline::Device);
    assert_eq!(state(&core, "x"), OperatorState::Ready, "once may happen");
    core.handle_timeout(2_002);
    core.declined(2_003, "a", "x", Decline::Device);
    assert_eq!(state(&core, "x"), OperatorState::DeviceFault);
    assert_eq!(offers(&mut core).len(), 2);
    core.registered(2_004, "x", true);
    assert_eq!(offers(&mut core), [pair("a", "x")]);
}

#[test]
fn a_lost_talk_puts_the_caller_before_everybody_who_never_spoke_to_anyone() {
    let mut core = desk(0);
    says(&mut core, 0, "x", OperatorState::Ready);
    enters(&mut core, 1, "a");
    core.connected(2, "a", "x");
    core.enter(3, Entry::new("b", "main", Lane::Trouble)).unwrap();
    core.enter(4, Entry { returns: true, ..Entry::new("a", "main", Lane::Normal) }).unwrap();
    assert_eq!(core.position("a").unwrap().0, 1);
    assert_eq!(state(&core, "x"), OperatorState::Ringing, "who lost them is free, and asked");
    core.enter(5, Entry::new("r", "main", Lane::Red)).unwrap();
    assert_eq!(core.position("a").unwrap().0, 2);
}

#[test]
fn a_talk_reported_for_the_wrong_operator_changes_nothing() {
    let mut core = desk(0);
    says(&mut core, 0, "x", OperatorState::Ready);
    says(&mut core, 1, "y", OperatorState::Ready);
    enters(&mut core, 2, "a");
    core.connected(3, "a", "x");
    core.released(4, "a", "y");
    core.released(4, "b", "x");
    core.declined(4, "a", "x", Decline::NoAnswer);
    assert_eq!((state(&core, "x"), state(&core, "y")), (OperatorState::Talking, OperatorState::Ready));
}

#[test]
fn a_transfer_frees_the_one_and_occupies_the_other() {
    let mut core = desk(0);
    says(&mut core, 0, "x", OperatorState::Ready);
    says(&mut core, 1, "y", OperatorState::Break);
    enters(&mut core, 2, "a");
    core.connected(3, "a", "x");
    core.connected(4, "a", "y");
    assert_eq!((state(&core, "x"), state(&core, "y")), (OperatorState::Ready, OperatorState::Talking));
    core.released(5, "a", "y");
    assert_eq!(state(&core, "y"), OperatorState::Break, "back to the break the transfer came into");
}

#[test]
fn who_takes_a_transfer_while_a_caller_rings_gives_that_caller_back() {
    let mut core = desk(0);
    says(&mut core, 0, "x", OperatorState::Ready);
    enters(&mut core, 1, "a");
    core.connected(2, "a", "x");
    says(&mut core, 3, "y", OperatorState::Ready);
    enters(&mut core, 4, "b");
    assert_eq!(offers(&mut core).last(), Some(&pair("b", "y")));
    core.connected(5, "a", "y");
    assert_eq!(offers(&mut core), [pair("b", "x")], "x is free, y talks");
}

#[test]
fn a_guest_in_a_talk_gets_no_call_before_the_talk_is_over() {
    let mut core = desk(0);
    says(&mut core, 0, "x", OperatorState::Ready);
    core.engaged(1, "t", "x");
    enters(&mut core, 2, "a");
    assert!(offers(&mut core).is_empty());
    core.ended(3, "t");
    assert_eq!(offers(&mut core), [pair("a", "x")]);
    core.engaged(4, "u", "x");
    assert_eq!(state(&core, "x"), OperatorState::Ready, "asked in while a caller rang");
    core.disengaged(5, "u", "x");
    assert_eq!(offers(&mut core), [pair("a", "x")]);
}

#[test]
fn a_call_that_ends_without_a_word_of_its_driver_frees_everybody() {
    let mut core = desk(0);
    says(&mut core, 0, "x", OperatorState::Ready);
    enters(&mut core, 1, "a");
    core.connected(2, "a", "x");
    core.ended(3, "a");
    assert_eq!(state(&core, "x"), OperatorState::Ready);
    core.ended(4, "a");
}

#[test]
fn a_clock_that_is_set_changes_nobodys_ring_wrap_up_or_pause() {
    for by in [-3_600_000, 3_600_000] {
        let mut core = desk(30_000);
        let due = |core: &Core| core.poll_timeout().unwrap() - by;
        says(&mut core, 0, "x", OperatorState::Ready);
        enters(&mut core, 1, "a");
        core.clock_set(by);
        assert_eq!(due(&core), 20_001, "the ring's limit");
        core.connected(by + 2, "a", "x");
        core.released(by + 3, "a", "x");
        core.clock_set(-by);
        core.clock_set(by);
        assert_eq!(due(&core), 30_003, "话后");
        core.handle_timeout(by + 30_003);
        enters(&mut core, by + 30_004, "b");
        core.declined(by + 30_005, "b", "x", Decline::NoRoom);
        core.clock_set(-by);
        core.handle_timeout(32_005);
        assert_eq!(offers(&mut core), [pair("a", "x"), pair("b", "x"), pair("b", "x")]);
    }
}

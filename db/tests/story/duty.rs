//! Shifts as they are planned, and work that passes from one to the next.

use hotline_db::{
    DbError, DutyLeave, HandoverEnding, Id, NewHandover, NewShift, NewUser, ShiftRole, Sign, Store, WorkPerson,
    WorkTarget,
};
use serde_json::{Value, json};

use crate::stage::{Stage, T0, story};
use crate::works::{add, new_work};

const HOUR: i64 = 3_600_000;

async fn person(store: &Store, login: &str) -> Id {
    let new = NewUser { login: login.into(), name: format!("工号{login}"), ..NewUser::default() };
    store.user_add(new).await.unwrap().id
}

fn sign() -> Sign {
    Box::new(signed)
}

fn signed(text: &str) -> String {
    format!("key:{text}")
}

fn given(giver: Id, taker: Id) -> NewHandover {
    NewHandover {
        id: Id::new(),
        giver,
        taker,
        taker_leads: false,
        note: Some("3号线路灯已派修".into()),
        figures: json!({"waiting": 2}),
    }
}

story!(a_shift_is_found_while_any_of_it_lies_in_the_time_asked_for, |s: Stage| async move {
    let store = &s.store;
    let (leader, zhang) = (person(store, "2001").await, person(store, "1001").await);
    let new = |name: &str, from: i64, members: Vec<(Id, ShiftRole)>| NewShift {
        id: Id::new(),
        name: name.into(),
        starts_at: T0 + from * HOUR,
        ends_at: T0 + (from + 8) * HOUR,
        members,
        by: leader,
    };
    let early = store.shift_add(new("早班", 0, vec![(zhang, ShiftRole::Operator)]), T0).await.unwrap();
    let late = store.shift_add(new("中班", 8, vec![]), T0).await.unwrap();
    assert_eq!((early.members[0].name.as_str(), early.members[0].role), ("工号1001", ShiftRole::Operator));
    let names = async |from: i64, to: i64| {
        let shifts = store.shifts(T0 + from * HOUR, T0 + to * HOUR).await.unwrap();
        shifts.into_iter().map(|s| s.name).collect::<Vec<_>>()
    };
    assert_eq!(names(0, 24).await, ["早班", "中班"]);
    assert_eq!(names(8, 9).await, ["中班"], "the end belongs to the next");
    assert!(store.shift_cancel(late.id, T0).await.unwrap() && !store.shift_cancel(late.id, T0).await.unwrap());
    assert!(names(8, 9).await.is_empty() && store.shift_get(late.id).await.unwrap().is_none());

    let twice = new("x", 0, vec![(zhang, ShiftRole::Operator), (zhang, ShiftRole::OnCall)]);
    assert!(matches!(store.shift_add(twice, T0).await, Err(DbError::Conflict(_))));
    let nobody = new("x", 0, vec![(Id::new(), ShiftRole::Operator)]);
    assert!(matches!(store.shift_add(nobody, T0).await, Err(DbError::NotFound)));
    let backwards = NewShift { ends_at: T0, ..new("x", 0, vec![]) };
    assert!(matches!(store.shift_add(backwards, T0).await, Err(DbError::Invalid { .. })));
    assert_eq!(names(0, 24).await, ["早班"], "what failed left nothing");
});

story!(a_leaders_leave_holds_for_its_time_and_its_purpose, |s: Stage| async move {
    let store = &s.store;
    let (leader, zhang) = (person(store, "2001").await, person(store, "1001").await);
    store.duty_allow(zhang, DutyLeave::SignIn, "替班", T0 + HOUR, leader, T0).await.unwrap();
    assert!(store.duty_allowed(zhang, DutyLeave::SignIn, T0).await.unwrap().is_some());
    assert!(store.duty_allowed(zhang, DutyLeave::SignOut, T0).await.unwrap().is_none());
    assert!(store.duty_allowed(zhang, DutyLeave::SignIn, T0 + HOUR).await.unwrap().is_none());
    assert!(store.duty_allowed(leader, DutyLeave::SignIn, T0).await.unwrap().is_none());
});

story!(open_work_passes_to_who_takes_the_handover_and_to_nobody_before, |s: Stage| async move {
    let store = &s.store;
    let (zhang, li) = (person(store, "1001").await, person(store, "1002").await);
    let who = |id| WorkPerson { id, leader: false };
    let held = add(store, new_work("held", 2, 1)).await;
    let passed = add(store, new_work("passed", 4, 2)).await;
    let done = add(store, new_work("done", 4, 3)).await;
    let others = add(store, new_work("others", 4, 4)).await;
    for id in [held, done] {
        store.work_take(id, who(zhang), T0, HOUR).await.unwrap();
    }
    store.work_take(passed, who(li), T0, HOUR).await.unwrap();
    store.work_transfer(passed, who(li), WorkTarget::Person(who(zhang)), None, T0).await.unwrap();
    store.work_done(done, who(zhang), hotline_db::WorkResult::Answered, None, T0).await.unwrap();
    let own = store.work_own(zhang).await.unwrap();
    assert_eq!(own.iter().map(|w| w.id).collect::<Vec<_>>(), [held, passed], "the urgent one first");

    let handover = store.handover_give(given(zhang, li), sign(), T0 + 1).await.unwrap();
    let content: Value = serde_json::from_str(&handover.content).unwrap();
    assert_eq!(content["works"].as_array().unwrap().len(), 2);
    assert_eq!(content["figures"]["waiting"], 2);
    assert!(matches!(store.handover_give(given(zhang, li), sign(), T0 + 2).await, Err(DbError::Conflict(_))));
    assert_eq!(store.work_own(zhang).await.unwrap().len(), 2, "given isn't taken");
    let end = async |by, ending, at| store.handover_end(handover.id, by, ending, sign(), at).await;
    assert!(matches!(end(zhang, HandoverEnding::Accepted, T0 + 3).await, Err(DbError::NotFound)));
    for _ in 0..2 {
        let taken = end(li, HandoverEnding::Accepted, T0 + 3).await.unwrap();
        assert_eq!((taken.ending, taken.ended_at), (Some(HandoverEnding::Accepted), Some(T0 + 3)));
        assert!(taken.is_genuine(signed));
    }
    assert!(matches!(end(zhang, HandoverEnding::Withdrawn, T0 + 4).await, Err(DbError::Conflict(_))));
    assert!(store.work_own(zhang).await.unwrap().is_empty());
    let own = store.work_own(li).await.unwrap();
    assert_eq!(own.iter().map(|w| w.id).collect::<Vec<_>>(), [held, passed]);
    assert_eq!(store.work_get(held).await.unwrap().unwrap().holder, None);
    assert_eq!(store.work_get(others).await.unwrap().unwrap().assignee, None);
    assert_eq!(store.work_events(held).await.unwrap().last().unwrap().kind, "handed_over");
});

story!(a_handover_nobody_takes_leaves_the_work_where_it_was, |s: Stage| async move {
    let store = &s.store;
    let (zhang, li) = (person(store, "1001").await, person(store, "1002").await);
    let work = add(store, new_work("a", 2, 1)).await;
    store.work_take(work, WorkPerson { id: zhang, leader: false }, T0, HOUR).await.unwrap();
    for (by, ending) in [(li, HandoverEnding::Declined), (zhang, HandoverEnding::Withdrawn)] {
        let handover = store.handover_give(given(zhang, li), sign(), T0).await.unwrap();
        let ended = store.handover_end(handover.id, by, ending, sign(), T0 + 1).await.unwrap();
        assert!(ended.is_genuine(signed));
        assert_eq!(store.work_own(zhang).await.unwrap().len(), 1);
    }
    assert!(matches!(store.handover_give(given(zhang, zhang), sign(), T0).await, Err(DbError::Conflict(_))));
});

story!(what_names_its_taker_is_not_handed_over_to_them, |s: Stage| async move {
    let store = &s.store;
    let (zhang, li) = (person(store, "1001").await, person(store, "1002").await);
    let new = hotline_db::NewWork { excluded: Some(li), ..new_work("about li", 4, 1) };
    let work = add(store, new).await;
    store.work_take(work, WorkPerson { id: zhang, leader: false }, T0, HOUR).await.unwrap();
    assert!(matches!(store.handover_give(given(zhang, li), sign(), T0).await, Err(DbError::Conflict(_))));
});

story!(who_is_named_in_a_work_that_was_handed_over_finds_no_trace_of_it, |s: Stage| async move {
    let store = &s.store;
    let (zhang, li, wang) = (person(store, "1001").await, person(store, "1002").await, person(store, "1003").await);
    let item = Some(crate::stage::item(store, 1).await.id);
    let check = add(store, hotline_db::NewWork { item, ..new_work("check", 4, 1) }).await;
    let other = add(store, new_work("other", 4, 2)).await;
    let alone = add(store, hotline_db::NewWork { excluded: Some(li), ..new_work("by itself", 4, 3) }).await;
    // A second work of the item names li.
    add(store, hotline_db::NewWork { item, excluded: Some(li), ..new_work("complaint", 4, 4) }).await;
    let works = [check, other, alone];
    let hidden = async |who, supervises| {
        let mut hidden = store.handover_hidden(who, supervises, &works).await.unwrap();
        hidden.sort_unstable();
        hidden
    };
    assert_eq!(hidden(li, true).await, [check, alone]);
    assert_eq!(hidden(wang, true).await, []);
    assert_eq!(hidden(zhang, false).await, [check, alone], "other operators neither");
    assert!(store.handover_hidden(li, true, &[]).await.unwrap().is_empty());
});

story!(exactly_what_was_signed_passes_and_nothing_out_of_somebodys_hands, |s: Stage| async move {
    let store = &s.store;
    let (zhang, li, wang) = (person(store, "1001").await, person(store, "1002").await, person(store, "1003").await);
    let who = |id| WorkPerson { id, leader: false };
    let mut works = Vec::new();
    for n in 0..4 {
        works.push(add(store, new_work(format!("{n}"), 4, n)).await);
    }
    for work in &works[..3] {
        store.work_take(*work, who(zhang), T0, 90_000).await.unwrap();
    }
    // The leases run out while it is given: still zhang's, as nobody took them.
    let late = T0 + 100_000;
    assert_eq!(store.work_own(zhang).await.unwrap().len(), 3);
    let handover = store.handover_give(given(zhang, li), sign(), late).await.unwrap();
    // Meanwhile another takes the second, and zhang begins a fourth.
    store.work_take(works[1], who(wang), late, HOUR).await.unwrap();
    store.work_take(works[3], who(zhang), late, HOUR).await.unwrap();
    let taken = store.handover_end(handover.id, li, HandoverEnding::Accepted, sign(), late + 1).await.unwrap();
    let passed: Vec<Id> = serde_json::from_str(taken.passed.as_deref().unwrap()).unwrap();
    assert_eq!(passed, [works[0], works[2]], "signed is what really changed hands");
    assert!(taken.is_genuine(signed));
    let other = Some(json!([works[0]]).to_string());
    for passed in [None, other] {
        assert!(!hotline_db::Handover { passed, ..taken.clone() }.is_genuine(signed));
    }
    let ids = async |of: Id| store.work_own(of).await.unwrap().into_iter().map(|w| w.id).collect::<Vec<_>>();
    assert_eq!(ids(li).await, [works[0], works[2]]);
    assert_eq!(ids(wang).await, [works[1]]);
    assert_eq!(ids(zhang).await, [works[3]]);
    assert!(store.work_done(works[3], who(zhang), hotline_db::WorkResult::Answered, None, late + 2).await.is_ok());
});

story!(the_leaders_work_is_handed_over_to_leaders_only, |s: Stage| async move {
    let store = &s.store;
    let (leader, li) = (person(store, "2001").await, person(store, "1002").await);
    let new = hotline_db::NewWork { desk: hotline_db::WorkDesk::Leader, ..new_work("a complaint", 4, 1) };
    let work = add(store, new).await;
    store.work_take(work, WorkPerson { id: leader, leader: true }, T0, HOUR).await.unwrap();
    assert!(matches!(store.handover_give(given(leader, li), sign(), T0).await, Err(DbError::Conflict(_))));
    let to_a_leader = NewHandover { taker_leads: true, ..given(leader, li) };
    store.handover_give(to_a_leader, sign(), T0).await.unwrap();
});

story!(a_changed_handover_breaks_the_chain, |s: Stage| async move {
    let store = &s.store;
    let (zhang, li) = (person(store, "1001").await, person(store, "1002").await);
    for n in 0..3 {
        let handover = store.handover_give(given(zhang, li), sign(), T0 + n).await.unwrap();
        store.handover_end(handover.id, li, HandoverEnding::Accepted, sign(), T0 + n).await.unwrap();
    }
    let check = store.handovers_verify(signed).await.unwrap();
    assert_eq!((check.count, check.first_broken), (3, None));
    let row = store.handovers(Some(li), None, 50).await.unwrap().swap_remove(1);
    assert!(!hotline_db::Handover { content: "{}".into(), ..row.clone() }.is_genuine(signed));
    assert!(!hotline_db::Handover { ending: None, ended_at: None, ..row.clone() }.is_genuine(signed));
    assert!(!row.is_genuine(|text| format!("another key:{text}")));
    s.raw("DELETE FROM handover WHERE n = 3").await.unwrap();
    let check = store.handovers_verify(signed).await.unwrap();
    assert_eq!((check.count, check.first_broken), (2, Some(3)), "a row cut off at the end is missed");
    s.raw("UPDATE handover SET note = 'nothing' WHERE n = 2").await.unwrap();
    let check = store.handovers_verify(signed).await.unwrap();
    assert_eq!((check.count, check.first_broken), (1, Some(2)));
});

//! What figures are worked out from is read by time, page by page, in order.

use hotline_db::{
    AgentState, CallbackKind, CaseEvent, CaseStage, Id, MeasuredHandoffs, MeasuredItems, NewCallback, NewItem,
    NewSurvey,
};
use serde_json::json;

use crate::stage::{CHINA, Stage, T0, call, hung_up, item, new_call, new_item, party, story, to_ledger};

story!(calls_are_read_with_their_events_by_time_and_page, |s: Stage| async move {
    let store = &s.store;
    let first = call(store, None).await;
    store.call_event(first.id, T0 + 5, "queue_enter", json!({"queue": "main"})).await.unwrap();
    store.call_end(first.id, hung_up(T0 + 9_000)).await.unwrap();
    let later = store.call_begin(new_call(None, T0 + 60_000)).await.unwrap();
    let all = store.measured_calls(T0, T0 + 100_000, None).await.unwrap();
    assert_eq!(all.iter().map(|(c, _)| c.id).collect::<Vec<_>>(), [first.id, later.id]);
    let kinds: Vec<&str> = all[0].1.iter().map(|e| e.kind.as_str()).collect();
    assert_eq!(kinds, ["begin", "queue_enter", "end"]);
    let rest = store.measured_calls(T0, T0 + 100_000, Some((T0, first.id))).await.unwrap();
    assert_eq!(rest.iter().map(|(c, _)| c.id).collect::<Vec<_>>(), [later.id]);
    assert!(store.measured_calls(T0, T0 + 60_000, Some((T0, first.id))).await.unwrap().is_empty(), "`to` is outside");

    let task = NewCallback { call: Some(first.id), ..NewCallback::new(CallbackKind::Missed, T0) };
    store.callback_add(task, T0 + 9_000).await.unwrap();
    let tasks = store.measured_tasks(T0, T0 + 100_000).await.unwrap();
    assert_eq!(tasks.iter().map(|t| (t.kind, t.tried_at)).collect::<Vec<_>>(), [(CallbackKind::Missed, None)]);
    assert!(store.measured_wraps(T0, T0 + 100_000).await.unwrap().is_empty());
    assert!(store.measured_surveys(T0, T0 + 100_000).await.unwrap().is_empty());

    let operator = Id::new();
    for (state, at) in [(AgentState::Ready, T0), (AgentState::WrapUp, T0 + 1), (AgentState::Ready, T0 + 9)] {
        store.operator_state_set(operator, state, None, at).await.unwrap();
    }
    let wraps = store.measured_wraps(T0, T0 + 100_000).await.unwrap();
    assert_eq!(
        wraps.iter().map(|w| (w.operator, w.from_at, w.to_at)).collect::<Vec<_>>(),
        [(operator, T0 + 1, Some(T0 + 9))]
    );
});

story!(a_verdict_on_a_talk_is_told_from_one_on_a_case, |s: Stage| async move {
    let store = &s.store;
    let talk = call(store, None).await;
    let on_the_talk = NewSurvey { call: Some(talk.id), satisfied: Some(5), at: T0, ..NewSurvey::default() };
    store.survey_store(on_the_talk, None, None).await.unwrap();
    let item = item(store, 1).await;
    let new =
        NewCallback { item: Some(item.id), party: item.party, ..NewCallback::new(CallbackKind::CaseFinished, T0) };
    let task = store.callback_add(new, T0).await.unwrap().0;
    let on_the_case = NewSurvey { task: Some(task.id), satisfied: Some(1), at: T0 + 1, ..NewSurvey::default() };
    store.survey_store(on_the_case, None, None).await.unwrap();
    let found = store.measured_surveys(T0, T0 + 100_000).await.unwrap();
    assert_eq!(
        found.iter().map(|s| (s.task, s.satisfied)).collect::<Vec<_>>(),
        [(None, Some(5)), (Some(task.id), Some(1))]
    );
});

story!(what_the_case_core_took_and_sent_back_is_counted_once_an_item, |s: Stage| async move {
    let store = &s.store;
    for citizen in 1..=3 {
        item(store, citizen).await;
    }
    let mut sent = Vec::new();
    for row in store.handoff_claim("ledger", T0 + 500, 1_000, 100).await.unwrap() {
        store.handoff_delivered(row.id, &format!("C-{}", row.item), T0 + 500).await.unwrap();
        sent.push(row.item);
    }
    for n in 0..2 {
        let event = CaseEvent {
            event_id: format!("returned-{n}"),
            case_no: format!("C-{}", sent[0]),
            item: Some(sent[0]),
            stage: CaseStage::Returned,
            at: T0 + 600 + n,
            note: Some("责任不符".into()),
        };
        assert!(store.case_event_apply(event, None).await.unwrap());
    }
    let counted = MeasuredHandoffs { handed: 3, returned: 1 };
    assert_eq!(store.measured_handoffs(T0, T0 + 501).await.unwrap(), counted);
    assert_eq!(store.measured_handoffs(T0, T0 + 500).await.unwrap(), MeasuredHandoffs { handed: 0, returned: 0 });
});

story!(who_comes_again_about_the_same_place_was_not_served_by_the_first_contact, |s: Stage| async move {
    const DAY: i64 = 24 * 3_600_000;
    let store = &s.store;
    // (citizen, class, place, handed off, when)
    let taken = [
        (1, "01001", "文三路", true, T0),
        (2, "01001", "文三路", false, T0),
        (3, "01001", "文三路", false, T0),
        (3, "01001", "文三路", true, T0 + 3 * DAY),
        (4, "01001", "文三路", false, T0),
        (4, "01001", "天目山路", true, T0 + 3 * DAY),
        (5, "01001", "文三路", false, T0),
        (5, "01001", "文三路", true, T0 + 8 * DAY),
        (6, "01001", "文三路", false, T0),
        (6, "01002", "文三路", true, T0 + DAY),
    ];
    for (citizen, class, place, handed, at) in taken {
        let of = party(store, citizen).await.id;
        let new = NewItem {
            party: Some(of),
            class_code: Some(class.into()),
            location_text: Some(place.into()),
            ..new_item(None)
        };
        store.item_create(new, to_ledger().filter(|_| handed), at, CHINA).await.unwrap();
    }
    let odd = |party| NewItem { party, kind: "骚扰".into(), ..new_item(None) };
    let known = party(store, 7).await.id;
    store.item_create(odd(Some(known)), None, T0, CHINA).await.unwrap();
    store.item_create(new_item(None), None, T0, CHINA).await.unwrap();
    let found = store.measured_items(T0, T0 + 1).await.unwrap();
    assert_eq!(found, MeasuredItems { items: 6, answered: 5, again: 1 });
    assert_eq!(
        store.measured_items(T0 + 1, T0 + 4 * DAY).await.unwrap(),
        MeasuredItems { items: 3, answered: 0, again: 0 }
    );

    // Two points within one cell are one place, whatever they are called.
    let at = |lon: f64, place: &str| NewItem {
        party: Some(known),
        location_text: Some(place.into()),
        lon: Some(lon),
        lat: Some(30.28),
        ..new_item(None)
    };
    let later = T0 + 20 * DAY;
    store.item_create(at(120.13, "文三路口"), None, later, CHINA).await.unwrap();
    store.item_create(at(120.131, "人行道"), to_ledger(), later + DAY, CHINA).await.unwrap();
    assert_eq!(
        store.measured_items(later, later + 1).await.unwrap(),
        MeasuredItems { items: 1, answered: 1, again: 1 }
    );
});

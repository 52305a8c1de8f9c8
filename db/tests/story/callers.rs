//! What is known of a caller before they are offered to anybody, and queues opened or closed by hand.

use hotline_db::{CallEnd, CallPatch, CallbackKind, CallerQuestion, Id, NewCallback, QueueOverride, Store};

use crate::stage::{Stage, T0, call, hung_up, item, new_call, party, story};

const HOUR: i64 = 3_600_000;

fn about(party: Id, call: Id) -> CallerQuestion {
    CallerQuestion {
        party: Some(party),
        call,
        recused_since: T0 - 12 * HOUR,
        served_since: T0 - 12 * HOUR,
        short_since: T0,
        short_ms: 30_000,
    }
}

async fn talked(store: &Store, citizen: Id, operator: Id, at: i64) -> Id {
    let id = store.call_begin(new_call(Some(citizen), at)).await.unwrap().id;
    let patch = CallPatch { operator_answer_at: Some(at), operator: Some(operator), ..CallPatch::default() };
    store.call_patch(id, patch).await.unwrap();
    store.call_end(id, hung_up(at + 60_000)).await.unwrap();
    id
}

story!(whom_a_citizens_matters_name_is_known_when_they_call, |s: Stage| async move {
    let store = &s.store;
    let (citizen, other) = (party(store, 1).await.id, party(store, 2).await.id);
    let x = Id::new();
    let at_hand = call(store, Some(citizen)).await.id;
    let task = NewCallback {
        party: Some(citizen),
        item: Some(item(store, 1).await.id),
        excluded: Some(x),
        ..NewCallback::new(CallbackKind::CaseFinished, T0)
    };
    assert!(store.caller_history(about(citizen, at_hand)).await.unwrap().recused.is_empty());
    store.callback_add(task, T0).await.unwrap();
    assert_eq!(store.caller_history(about(citizen, at_hand)).await.unwrap().recused, [x]);
    assert_eq!(store.citizen_recused(Some(citizen), None).await.unwrap(), [x]);
    assert!(store.caller_history(about(other, at_hand)).await.unwrap().recused.is_empty(), "another citizen");
});

async fn named(store: &Store) -> Id {
    let named = hotline_db::NewUser {
        login: "1023".into(),
        name: "李晓梅".into(),
        roles: vec!["operator".into()],
        ..hotline_db::NewUser::default()
    };
    store.user_add(named).await.unwrap().id
}

/// What a citizen said of 1023, taken down.
async fn complaint(store: &Store, contact: Id) {
    let item =
        hotline_db::NewItem { detail: "投诉工号1023,态度差".into(), ..crate::stage::new_item(Some(contact)) };
    let times = hotline_db::WorkTimes { acknowledge_ms: None, handle_ms: [HOUR; 5] };
    let work = hotline_db::ItemWork { red: false, times, conversation: None };
    store.item_create_with_work(item, None, Some(work), T0, crate::stage::CHINA).await.unwrap();
}

story!(work_about_an_item_names_its_citizens, |s: Stage| async move {
    let store = &s.store;
    let citizen = party(store, 1).await.id;
    let named = named(store).await;
    let first = call(store, Some(citizen)).await;
    complaint(store, first.contact).await;
    assert_eq!(store.caller_history(about(citizen, first.id)).await.unwrap().recused, [named]);
});

story!(who_withholds_their_number_has_matters_by_the_call_at_hand, |s: Stage| async move {
    let store = &s.store;
    let named = named(store).await;
    let (at_hand, other) = (call(store, None).await, call(store, None).await);
    complaint(store, at_hand.contact).await;
    let nobody = |call| CallerQuestion { party: None, ..about(Id::new(), call) };
    assert_eq!(store.caller_history(nobody(at_hand.id)).await.unwrap().recused, [named]);
    assert!(store.caller_history(nobody(other.id)).await.unwrap().recused.is_empty(), "another call");
    assert_eq!(store.citizen_recused(None, Some(at_hand.id)).await.unwrap(), [named], "whoever calls back by it");
    assert!(store.citizen_recused(None, None).await.unwrap().is_empty());
});

story!(a_recusal_ends_a_while_after_its_matter_and_not_before, |s: Stage| async move {
    let store = &s.store;
    let citizen = party(store, 1).await.id;
    let x = Id::new();
    let at_hand = call(store, Some(citizen)).await.id;
    let long_after = |since| CallerQuestion { recused_since: since, ..about(citizen, at_hand) };
    let task = NewCallback { party: Some(citizen), excluded: Some(x), ..NewCallback::new(CallbackKind::Missed, T0) };
    let task = store.callback_add(task, T0).await.unwrap().0;
    let asked = |since| store.caller_history(long_after(since));
    assert_eq!(asked(T0 + 1).await.unwrap().recused, [x], "it is open");
    store.callback_finish(task.id, hotline_db::CallbackResult::Reached, None, T0 + 5).await.unwrap();
    assert_eq!(asked(T0).await.unwrap().recused, [x], "not long over");
    assert!(asked(T0 + 1).await.unwrap().recused.is_empty());
    assert_eq!(store.citizen_recused(Some(citizen), None).await.unwrap(), [x], "nor is the citizen called by that one");
});

story!(who_served_a_citizen_today_is_known_and_who_did_yesterday_is_not, |s: Stage| async move {
    let store = &s.store;
    let citizen = party(store, 1).await.id;
    let (x, y) = (Id::new(), Id::new());
    let at_hand = call(store, Some(citizen)).await.id;
    talked(store, citizen, x, T0 - 24 * HOUR).await;
    assert_eq!(store.caller_history(about(citizen, at_hand)).await.unwrap().served_by, None);
    talked(store, citizen, x, T0 - HOUR).await;
    let last = talked(store, citizen, y, T0 - 1).await;
    assert_eq!(store.caller_history(about(citizen, at_hand)).await.unwrap().served_by, Some(y));
    assert_eq!(store.caller_history(about(citizen, last)).await.unwrap().served_by, Some(x), "not the call at hand");
});

story!(short_calls_are_counted_long_and_open_ones_are_not, |s: Stage| async move {
    let store = &s.store;
    let citizen = party(store, 1).await.id;
    let at_hand = call(store, Some(citizen)).await.id;
    for (begun, lasted) in [(T0 - 1, 5_000), (T0 + 1, 5_000), (T0 + 2, 29_999), (T0 + 3, 30_000)] {
        let id = store.call_begin(new_call(Some(citizen), begun)).await.unwrap().id;
        let how = CallEnd { talk_ms: None, ..hung_up(begun + lasted) };
        store.call_end(id, how).await.unwrap();
    }
    call(store, Some(citizen)).await;
    assert_eq!(store.caller_history(about(citizen, at_hand)).await.unwrap().short_calls, 2);
});

story!(a_queue_opened_by_hand_stays_so_over_a_restart_until_its_time, |mut s: Stage| async move {
    let row = |open, until_at| QueueOverride {
        queue: "main".into(),
        open,
        until_at,
        made_by: Id::new(),
        reason: "台风".into(),
        at: T0,
    };
    s.store.queue_override_set(row(false, T0 + 5)).await.unwrap();
    let last = row(true, T0 + 10);
    s.store.queue_override_set(last.clone()).await.unwrap();
    s.restart().await;
    assert_eq!(s.store.queue_overrides(T0 + 9).await.unwrap(), [last], "the last word counts");
    assert!(s.store.queue_overrides(T0 + 10).await.unwrap().is_empty(), "over");
    s.store.queue_override_end("main").await.unwrap();
    assert!(s.store.queue_overrides(T0).await.unwrap().is_empty());
});

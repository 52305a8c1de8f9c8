//! Callback tasks: claimed by one, attempted, given back, finished.

use hotline_db::{
    CallEnd, CallbackFilter, CallbackKind, CallbackResult, CallbackState, CallbackTask, DbError, Id, NewAttempt,
    NewCallback, Store,
};

use crate::stage::{Stage, T0, call, hung_up, item, party, story};

fn due(kind: CallbackKind, party: Id, due_at: i64) -> NewCallback {
    NewCallback { party: Some(party), ..NewCallback::new(kind, due_at) }
}

async fn task(store: &Store, citizen: u32, due_at: i64) -> CallbackTask {
    let party = party(store, citizen).await;
    store.callback_add(due(CallbackKind::Missed, party.id, due_at), T0).await.unwrap().0
}

fn no_answer(call: Id, at: i64, next_at: i64) -> NewAttempt {
    NewAttempt { call: Some(call), at, outcome: "no_answer".into(), next_at: Some(next_at), counts: true }
}

story!(a_task_somebody_calls_by_is_nobody_elses_and_waits_for_no_due_time, |s: Stage| async move {
    let store = &s.store;
    let later = task(store, 1, T0 + 7_200_000).await;
    let taken = store.callback_take(later.id, T0, 1_000).await.unwrap().unwrap();
    assert_eq!((taken.id, taken.state, taken.lease_until), (later.id, CallbackState::Claimed, Some(T0 + 1_000)));
    assert!(store.callback_take(later.id, T0 + 999, 1_000).await.unwrap().is_none(), "under way");
    assert!(store.callback_claim(T0 + 999, 1_000, 9).await.unwrap().is_empty());
    let other = store.callback_add(due(CallbackKind::Message, later.party.unwrap(), T0), T0).await.unwrap().0;
    assert!(store.callback_take(other.id, T0 + 999, 1_000).await.unwrap().is_none(), "the same citizen");
    assert!(store.callback_postpone(later.id, taken.next_at).await.unwrap());
    assert!(store.callback_take(other.id, T0 + 999, 1_000).await.unwrap().is_some());
    assert!(store.callback_finish(later.id, CallbackResult::Reached, None, T0 + 2_000).await.unwrap());
    assert!(store.callback_take(later.id, T0 + 9_000_000, 1_000).await.unwrap().is_none(), "done");
    assert!(store.callback_take(Id::new(), T0, 1_000).await.unwrap().is_none());
});

story!(what_a_citizen_noticed_is_known_though_it_used_up_no_attempt, |s: Stage| async move {
    let store = &s.store;
    for (n, (outcome, counts, noticed)) in [
        ("taken_back", false, false),
        ("not_placed", false, false),
        ("failed_503", false, false),
        ("taken_back", true, true),
        ("busy", true, true),
        (hotline_db::LATER, false, true),
        (hotline_db::OPERATOR_LEFT, false, true),
        (hotline_db::PHONE_FAILED, false, true),
    ]
    .into_iter()
    .enumerate()
    {
        let task = task(store, u32::try_from(n).unwrap() + 1, T0).await;
        assert!(!store.callback_was_noticed(task.id).await.unwrap(), "nobody called");
        let attempt = NewAttempt { call: None, at: T0, outcome: outcome.into(), next_at: Some(T0 + 9), counts };
        store.callback_attempt(task.id, attempt).await.unwrap();
        assert_eq!(store.callback_was_noticed(task.id).await.unwrap(), noticed, "{outcome} {counts}");
    }
});

story!(an_unanswered_callback_is_tried_again_later, |s: Stage| async move {
    let store = &s.store;
    let task = task(store, 1, T0).await;
    assert!(store.callback_claim(T0 - 1, 1_000, 9).await.unwrap().is_empty(), "not yet due");
    let claimed = store.callback_claim(T0, 1_000, 9).await.unwrap();
    assert_eq!((claimed[0].id, claimed[0].state), (task.id, CallbackState::Claimed));
    assert!(store.callback_claim(T0 + 999, 1_000, 9).await.unwrap().is_empty(), "leased");
    assert!(store.callback_renew(task.id, T0 + 5_000).await.unwrap());
    assert!(store.callback_claim(T0 + 4_999, 1_000, 9).await.unwrap().is_empty(), "renewed");

    let dialled = call(store, task.party).await;
    let attempt = no_answer(dialled.id, T0 + 30, T0 + 7_200_000);
    assert!(store.callback_attempt(task.id, attempt.clone()).await.unwrap());
    assert!(!store.callback_attempt(task.id, attempt).await.unwrap(), "one call, one attempt");
    let ours = NewAttempt {
        call: None,
        at: T0 + 31,
        outcome: "trunk_down".into(),
        next_at: Some(T0 + 7_200_000),
        counts: false,
    };
    assert!(store.callback_attempt(task.id, ours).await.unwrap());
    let waiting = store.callback_get(task.id).await.unwrap().unwrap();
    assert_eq!((waiting.state, waiting.attempt_no), (CallbackState::Open, 1));
    assert_eq!(waiting.next_at, T0 + 7_200_000);
    assert_eq!(store.callback_attempts(task.id).await.unwrap().len(), 2);

    assert_eq!(store.callback_claim(T0 + 7_200_000, 1_000, 9).await.unwrap().len(), 1);
    let finish = |result| store.callback_finish(task.id, result, None, T0 + 7_200_100);
    assert!(finish(CallbackResult::Unreachable).await.unwrap());
    assert!(!finish(CallbackResult::Reached).await.unwrap(), "the first result stays");
    let done = store.callback_get(task.id).await.unwrap().unwrap();
    assert_eq!(done.result, Some(CallbackResult::Unreachable));
    assert!(store.callback_claim(i64::MAX / 2, 1_000, 9).await.unwrap().is_empty());
});

story!(one_citizen_is_never_called_twice_at_a_time, |s: Stage| async move {
    let store = &s.store;
    let citizen = party(store, 1).await;
    for kind in [CallbackKind::Missed, CallbackKind::Queued, CallbackKind::Verify] {
        store.callback_add(due(kind, citizen.id, T0), T0).await.unwrap();
    }
    let (_, created) = store.callback_add(due(CallbackKind::Queued, citizen.id, T0), T0).await.unwrap();
    assert!(!created, "one open callback per number and kind");
    let workers: Vec<_> = (0..8)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.callback_claim(T0, 1_000, 9).await.unwrap().len() })
        })
        .collect();
    let mut claimed = 0;
    for worker in workers {
        claimed += worker.await.unwrap();
    }
    assert_eq!(claimed, 1);
});

story!(a_hundred_callbacks_go_to_eight_diallers_each_once, |s: Stage| async move {
    let store = &s.store;
    for n in 0..100 {
        task(store, n, T0).await;
    }
    let workers: Vec<_> = (0..8)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut mine = Vec::new();
                let mut idle = 0;
                while idle < 20 {
                    let tasks = store.callback_claim(T0, 60_000, 3).await.unwrap();
                    idle = if tasks.is_empty() { idle + 1 } else { 0 };
                    mine.extend(tasks.into_iter().map(|t| t.id));
                }
                mine
            })
        })
        .collect();
    let mut all = Vec::new();
    for worker in workers {
        all.extend(worker.await.unwrap());
    }
    assert_eq!(all.len(), 100);
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 100, "none twice");
});

story!(a_task_of_a_dead_gateway_comes_back_without_an_attempt, |s: Stage| async move {
    let task = task(&s.store, 1, T0).await;
    s.store.callback_claim(T0, 1_000, 1).await.unwrap();
    assert_eq!(s.store.callback_release_stale(T0 + 999).await.unwrap(), 0);
    assert_eq!(s.store.callback_release_stale(T0 + 1_000).await.unwrap(), 1);
    let back = s.store.callback_get(task.id).await.unwrap().unwrap();
    assert_eq!((back.state, back.attempt_no), (CallbackState::Open, 0));
    assert_eq!(s.store.callback_claim(T0 + 1_000, 1_000, 1).await.unwrap().len(), 1);
});

story!(the_operator_complained_about_does_not_call, |s: Stage| async move {
    let store = &s.store;
    let item = item(store, 1).await;
    let (x, y) = (Id::new(), Id::new());
    let new = NewCallback {
        item: Some(item.id),
        excluded: Some(x),
        ..due(CallbackKind::CaseFinished, item.party.unwrap(), T0)
    };
    let (task, _) = store.callback_add(new, T0).await.unwrap();
    let refused = store.callback_assign(task.id, Some(x)).await;
    assert!(matches!(refused, Err(DbError::Conflict(_))), "{refused:?}");
    store.callback_assign(task.id, Some(y)).await.unwrap();
    assert_eq!(store.callback_get(task.id).await.unwrap().unwrap().assignee, Some(y));
});

story!(who_wants_no_calls_is_not_surveyed_but_called_back, |s: Stage| async move {
    let store = &s.store;
    let citizen = party(store, 1).await;
    let set = format!("UPDATE party SET do_not_call = (1 = 1) WHERE id = '{}'", citizen.id);
    s.raw(&set).await.unwrap();
    let survey = due(CallbackKind::CaseFinished, citizen.id, T0);
    let (task, _) = store.callback_add(survey, T0).await.unwrap();
    assert_eq!(task.result, Some(CallbackResult::Refused));
    let (task, _) = store.callback_add(due(CallbackKind::Missed, citizen.id, T0), T0).await.unwrap();
    assert_eq!(task.state, CallbackState::Open);
});

story!(a_postponed_task_waits_without_an_attempt, |s: Stage| async move {
    let task = task(&s.store, 1, T0).await;
    assert!(!s.store.callback_postpone(task.id, T0 + 9).await.unwrap(), "nobody holds it");
    s.store.callback_claim(T0, 1_000, 1).await.unwrap();
    assert!(s.store.callback_postpone(task.id, T0 + 500).await.unwrap());
    assert!(s.store.callback_claim(T0 + 499, 1_000, 1).await.unwrap().is_empty());
    let back = s.store.callback_claim(T0 + 500, 1_000, 1).await.unwrap();
    assert_eq!((back[0].id, back[0].attempt_no), (task.id, 0));
});

story!(an_attempt_and_the_result_it_led_to_are_one_step, |s: Stage| async move {
    let store = &s.store;
    let task = task(store, 1, T0).await;
    store.callback_claim(T0, 1_000, 1).await.unwrap();
    let dialled = call(store, task.party).await;
    let nobody = NewAttempt { call: Some(Id::new()), ..no_answer(dialled.id, T0 + 1, T0) };
    let failed = store.callback_finish(task.id, CallbackResult::Reached, Some(nobody), T0 + 1).await;
    assert!(matches!(failed, Err(DbError::NotFound)), "{failed:?}");
    let open = store.callback_get(task.id).await.unwrap().unwrap();
    assert_eq!((open.result, open.attempt_no), (None, 0), "nothing of it");

    let talked = NewAttempt { outcome: "talked".into(), next_at: None, ..no_answer(dialled.id, T0 + 2, T0) };
    let finish = || store.callback_finish(task.id, CallbackResult::Reached, Some(talked.clone()), T0 + 2);
    assert!(finish().await.unwrap());
    assert!(!finish().await.unwrap(), "tried again after a lost answer");
    let done = store.callback_get(task.id).await.unwrap().unwrap();
    assert_eq!((done.result, done.attempt_no), (Some(CallbackResult::Reached), 1));
    assert_eq!(store.callback_attempts(task.id).await.unwrap().len(), 1);
});

story!(who_was_served_is_not_called_for_the_old_miss, |s: Stage| async move {
    let store = &s.store;
    let citizen = party(store, 1).await;
    for kind in [CallbackKind::Missed, CallbackKind::Queued, CallbackKind::Message] {
        store.callback_add(due(kind, citizen.id, T0), T0).await.unwrap();
    }
    let other = task(store, 2, T0).await;
    let open = |party| {
        let filter = CallbackFilter { limit: 9, party: Some(party), ..CallbackFilter::default() };
        async move {
            let tasks = store.callbacks(filter).await.unwrap();
            let mut kinds: Vec<_> = tasks.iter().filter(|t| t.result.is_none()).map(|t| t.kind).collect();
            kinds.sort_unstable();
            kinds
        }
    };
    let unserved = call(store, Some(citizen.id)).await;
    store.call_end(unserved.id, hung_up(T0 + 1)).await.unwrap();
    assert_eq!(open(citizen.id).await.len(), 3, "who only listened to the greeting is owed the call");

    let cut = call(store, Some(citizen.id)).await;
    let missed = Some(NewCallback::new(CallbackKind::Missed, T0 + 9));
    store.call_end(cut.id, CallEnd { served: true, missed, ..hung_up(T0 + 2) }).await.unwrap();
    assert_eq!(open(citizen.id).await.len(), 3, "cut off in the talk: the debt stands");

    let served = call(store, Some(citizen.id)).await;
    store.call_end(served.id, CallEnd { served: true, ..hung_up(T0 + 3) }).await.unwrap();
    assert_eq!(open(citizen.id).await, [CallbackKind::Message], "what they said on tape is answered");
    assert_eq!(open(other.party.unwrap()).await, [CallbackKind::Missed]);
    let filter =
        CallbackFilter { limit: 9, kind: Some(CallbackKind::Missed), party: Some(citizen.id), ..Default::default() };
    let done = store.callbacks(filter).await.unwrap().remove(0);
    assert_eq!((done.result, done.finished_at), (Some(CallbackResult::Cancelled), Some(T0 + 3)));
    let end = store.call_events(served.id).await.unwrap().pop().unwrap();
    assert_eq!(end.data["callbacks_cancelled"], 2);
});

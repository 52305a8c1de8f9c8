//! The citizen's verdict: stored with all that follows from it, or not at all.

use hotline_db::{
    CallbackKind, CallbackResult, CallbackState, CallbackTask, DbError, HandoffKind, Id, Item, ItemState, NewAttempt,
    NewCallback, NewHandoff, NewSurvey, Solved, Store,
};
use serde_json::json;

use crate::stage::{Stage, T0, call, item, recording, story};

async fn asked(store: &Store) -> (Item, CallbackTask) {
    let item = item(store, 1).await;
    let new =
        NewCallback { item: Some(item.id), party: item.party, ..NewCallback::new(CallbackKind::CaseFinished, T0) };
    let task = store.callback_add(new, T0).await.unwrap().0;
    (item, task)
}

fn verdict(task: &CallbackTask, satisfied: i64) -> NewSurvey {
    NewSurvey {
        task: Some(task.id),
        contacted: Some(true),
        solved: Some(if satisfied <= 2 { Solved::Yes } else { Solved::No }),
        satisfied: Some(satisfied),
        may_close: Some(satisfied <= 2),
        at: T0 + 5,
        ..NewSurvey::default()
    }
}

fn decision(kind: HandoffKind) -> Option<NewHandoff> {
    Some(NewHandoff { target: "ledger".into(), kind, payload: json!({"by": "citizen"}), idempotency_key: None })
}

story!(content_closes, |s: Stage| async move {
    let store = &s.store;
    let (item, task) = asked(store).await;
    let survey = store.survey_store(verdict(&task, 1), decision(HandoffKind::Close), None).await.unwrap();
    assert_eq!((survey.item, survey.solved), (Some(item.id), Some(Solved::Yes)));
    assert_eq!(store.item_get(item.id).await.unwrap().unwrap().state, ItemState::Closed);
    let task = store.callback_get(task.id).await.unwrap().unwrap();
    assert_eq!((task.state, task.result), (CallbackState::Done, Some(CallbackResult::Reached)));
    let rows = store.handoffs_of_item(item.id).await.unwrap();
    let kinds: Vec<_> = rows.iter().map(|h| h.kind).collect();
    assert_eq!(kinds, [HandoffKind::Create, HandoffKind::Close]);
});

story!(discontent_reopens, |s: Stage| async move {
    let store = &s.store;
    let (item, task) = asked(store).await;
    let call = call(store, item.party).await;
    let spoken = recording(store, call.id).await;
    let survey = store.survey_store(verdict(&task, 5), decision(HandoffKind::Reopen), None).await.unwrap();
    store.survey_set_reason(survey.id, spoken).await.unwrap();
    assert_eq!(store.item_get(item.id).await.unwrap().unwrap().state, ItemState::Reopened);
    let kept = store.survey_of_task(task.id).await.unwrap().unwrap();
    assert_eq!(kept.reason_recording, Some(spoken));
    assert_eq!(store.surveys_of_item(item.id).await.unwrap().len(), 1);
});

story!(two_surveys_of_one_task_are_one, |s: Stage| async move {
    let store = &s.store;
    let (item, task) = asked(store).await;
    let tries: Vec<_> = (0..6)
        .map(|n| {
            let (store, task) = (store.clone(), task.clone());
            tokio::spawn(async move {
                let kind = if n % 2 == 0 { HandoffKind::Close } else { HandoffKind::Reopen };
                store.survey_store(verdict(&task, 1 + 4 * (n % 2)), decision(kind), None).await
            })
        })
        .collect();
    let mut stored = 0;
    for attempt in tries {
        match attempt.await.unwrap() {
            Ok(_) => stored += 1,
            Err(DbError::Conflict(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(stored, 1);
    assert_eq!(store.handoffs_of_item(item.id).await.unwrap().len(), 2, "one decision was sent");
});

story!(a_survey_that_fails_late_leaves_nothing_behind, |s: Stage| async move {
    let store = &s.store;
    let (item, task) = asked(store).await;
    let nonsense = store.survey_store(verdict(&task, 1), decision(HandoffKind::Create), None).await;
    assert!(matches!(nonsense, Err(DbError::Invalid { .. })), "{nonsense:?}");
    let out_of_range = store.survey_store(verdict(&task, 6), None, None).await;
    assert!(matches!(out_of_range, Err(DbError::Invalid { .. })), "{out_of_range:?}");
    assert!(store.survey_of_task(task.id).await.unwrap().is_none());
    let task = store.callback_get(task.id).await.unwrap().unwrap();
    assert_eq!(task.state, CallbackState::Open);
    assert_eq!(store.item_get(item.id).await.unwrap().unwrap().state, ItemState::Registered);
    assert_eq!(store.handoffs_of_item(item.id).await.unwrap().len(), 1);
});

story!(a_call_is_rated_once_at_its_end, |s: Stage| async move {
    let store = &s.store;
    let call = call(store, None).await;
    let rated = NewSurvey { call: Some(call.id), satisfied: Some(2), at: T0, ..Default::default() };
    store.survey_store(rated.clone(), None, None).await.unwrap();
    let twice = store.survey_store(rated.clone(), None, None).await;
    assert!(matches!(twice, Err(DbError::Conflict(_))), "{twice:?}");
    let itemless = NewSurvey { call: None, ..rated };
    let undecidable = store.survey_store(itemless, decision(HandoffKind::Close), None).await;
    assert!(matches!(undecidable, Err(DbError::Invalid { .. })), "{undecidable:?}");
    assert_eq!(store.survey_of_call(call.id).await.unwrap().unwrap().satisfied, Some(2));
});

story!(a_survey_and_its_attempt_are_one_step, |s: Stage| async move {
    let store = &s.store;
    let (item, task) = asked(store).await;
    let call = call(store, item.party).await;
    let attempt =
        |call| NewAttempt { call: Some(call), at: T0, outcome: "answered".into(), next_at: None, counts: true };
    let nobody = store.survey_store(verdict(&task, 1), decision(HandoffKind::Close), Some(attempt(Id::new()))).await;
    assert!(matches!(nobody, Err(DbError::NotFound)), "{nobody:?}");
    assert!(store.survey_of_task(task.id).await.unwrap().is_none(), "nothing of it");

    let stored = || store.survey_store(verdict(&task, 1), decision(HandoffKind::Close), Some(attempt(call.id)));
    stored().await.unwrap();
    let again = stored().await;
    assert!(matches!(again, Err(DbError::Conflict(_))), "{again:?}");
    let task = store.callback_get(task.id).await.unwrap().unwrap();
    assert_eq!((task.attempt_no, task.result), (1, Some(CallbackResult::Reached)));
    assert_eq!(store.callback_attempts(task.id).await.unwrap().len(), 1);
    let taskless = NewSurvey { task: None, ..verdict(&task, 1) };
    let refused = store.survey_store(taskless, None, Some(attempt(call.id))).await;
    assert!(matches!(refused, Err(DbError::Invalid { .. })), "{refused:?}");
});

//! The citizen's verdict: stored with all that follows from it, or not at all.

use hotline_db::{
    CallPatch, CallbackKind, CallbackResult, CallbackState, CallbackTask, DbError, Direction, HandoffKind, Id, Item,
    ItemState, LinkPurpose, MessageTaken, NewAttempt, NewCall, NewCallback, NewHandoff, NewMessage, NewOutgoing,
    NewSurvey, NewWebLink, OutgoingPurpose, OutgoingState, Solved, Store,
};
use serde_json::json;

use crate::messages::{answer, new_message};
use crate::stage::{CHINA, Stage, T0, call, item, new_call, new_item, recording, story};

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

fn link(token: &str, item: &Item, task: &CallbackTask) -> (NewWebLink, NewOutgoing) {
    let link = NewWebLink {
        token_hash: token.into(),
        purpose: LinkPurpose::Survey,
        party: item.party,
        contact: None,
        call: None,
        item: Some(item.id),
        task: Some(task.id),
        created_by: None,
        at: T0 + 10,
        expires_at: T0 + 1_000,
    };
    let text = answer(1, OutgoingPurpose::Survey, "请评价", T0 + 10);
    let dedup_key = Some(format!("survey:{}", task.id));
    (link, NewOutgoing { item: Some(item.id), party: item.party, once: true, dedup_key, ..text })
}

fn last(call: Id) -> NewAttempt {
    NewAttempt { call: Some(call), at: T0 + 10, outcome: "no_answer".into(), next_at: None, counts: true }
}

story!(the_last_attempt_leaves_one_link_and_the_task_waits_for_its_answer, |s: Stage| async move {
    let store = &s.store;
    let (item, task) = asked(store).await;
    let call = call(store, item.party).await;
    let send = |token: &'static str| {
        let (link, text) = link(token, &item, &task);
        store.survey_link_send(last(call.id), link, text)
    };
    assert!(send("a").await.unwrap());
    // The answer to the first was lost: the same again, with a fresh token.
    assert!(!send("b").await.unwrap());
    assert_eq!(store.survey_link_of(task.id).await.unwrap().unwrap().token_hash, "a");
    assert!(store.web_link_get("b").await.unwrap().is_none());
    let texts = store.outgoing_of_item(item.id).await.unwrap();
    assert_eq!((texts.len(), texts[0].state, texts[0].once), (1, OutgoingState::Queued, true));
    let kept = store.callback_get(task.id).await.unwrap().unwrap();
    assert_eq!((kept.state, kept.attempt_no, kept.next_at), (CallbackState::Open, 1, T0 + 1_000));
    assert!(store.callback_claim(T0 + 999, 1_000, 10).await.unwrap().is_empty());
    assert_eq!(store.callback_claim(T0 + 1_000, 1_000, 10).await.unwrap().len(), 1);
    store.survey_store(verdict(&task, 1), decision(HandoffKind::Close), None).await.unwrap();
    let other = call_again(store, &item).await;
    let (late, text) = link("c", &item, &task);
    assert!(!store.survey_link_send(last(other), late, text).await.unwrap(), "answered meanwhile");
    assert!(store.web_link_get("c").await.unwrap().is_none());
});

async fn call_again(store: &Store, item: &Item) -> Id {
    store.call_begin(new_call(item.party, T0 + 20)).await.unwrap().id
}

/// What was sent through the page with a number somebody typed there.
async fn typed(store: &Store, key: &str) -> Item {
    let new = NewMessage { channel: "web".into(), planner: None, ..new_message(1, key, "井盖没了", T0) };
    let MessageTaken::New { contact, .. } = store.message_take(new).await.unwrap() else { panic!("known") };
    store.item_create(new_item(Some(contact)), None, T0, CHINA).await.unwrap().0
}

async fn about(store: &Store, item: &Item) -> OutgoingState {
    let text = answer(1, OutgoingPurpose::Reply, "已处理", T0 + 5);
    let text = NewOutgoing { item: Some(item.id), party: item.party, ..text };
    let id = store.outgoing_add(text, T0 + 5).await.unwrap().unwrap();
    store.outgoing_get(id).await.unwrap().unwrap().state
}

story!(a_typed_number_gets_no_text_before_an_operator_talked_to_it, |s: Stage| async move {
    let store = &s.store;
    let known = call(store, Some(crate::stage::party(store, 1).await.id)).await;
    let item = typed(store, "w1").await;
    assert_eq!(item.party, known.party, "a number known from before, typed by whomever");
    assert_eq!(about(store, &item).await, OutgoingState::Cancelled);
    let new =
        NewCallback { item: Some(item.id), party: item.party, ..NewCallback::new(CallbackKind::CaseFinished, T0) };
    let task = store.callback_add(new, T0).await.unwrap().0;
    // Rung and picked up, but nobody of ours talked to them.
    let out = NewCall { direction: Direction::Outbound, ..new_call(item.party, T0 + 7) };
    let out = store.call_begin(out).await.unwrap();
    store.call_patch(out.id, CallPatch { answer_at: Some(T0 + 8), ..CallPatch::default() }).await.unwrap();
    let (to, text) = link("typed", &item, &task);
    assert!(!store.survey_link_send(last(out.id), to, text).await.unwrap());
    let task = store.callback_get(task.id).await.unwrap().unwrap();
    assert_eq!((task.result, task.attempt_no), (Some(CallbackResult::Unreachable), 1), "nobody waits for no answer");
    store.call_patch(out.id, CallPatch { operator_answer_at: Some(T0 + 9), ..CallPatch::default() }).await.unwrap();
    assert_eq!(about(store, &item).await, OutgoingState::Queued);
    let later = typed(store, "w2").await;
    assert_eq!(about(store, &later).await, OutgoingState::Cancelled, "another report, another typist");
});

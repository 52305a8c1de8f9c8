//! The case core's answers, and the embedded ledger behind the same outbox.

use hotline_db::{
    CallbackFilter, CallbackKind, CallbackResult, CallbackState, CaseEvent, CaseStage, DbError, Id, Item, ItemState,
    LedgerCommand, NewCallback, Store,
};
use serde_json::json;

use crate::stage::{CHINA, Stage, T0, item, new_item, story, to_ledger};

fn event(n: i64, case_no: &str, stage: CaseStage) -> CaseEvent {
    CaseEvent {
        event_id: format!("ledger/{n}"),
        case_no: case_no.into(),
        item: None,
        stage,
        at: T0 + n,
        note: Some("已派员".into()),
    }
}

fn ask() -> Option<NewCallback> {
    Some(NewCallback::new(CallbackKind::CaseFinished, T0 + 60_000))
}

async fn at_the_case_core(store: &Store, citizen: u32) -> (Item, String) {
    let item = item(store, citizen).await;
    let row = store.handoff_claim("ledger", T0, 1_000, 1).await.unwrap().remove(0);
    let (case_no, created) = store.ledger_create(&row.idempotency_key, &row.payload, T0).await.unwrap();
    assert!(created);
    store.handoff_delivered(row.id, &case_no, T0).await.unwrap();
    (item, case_no)
}

async fn asks(store: &Store, item: Id) -> Vec<hotline_db::CallbackTask> {
    let filter = CallbackFilter { limit: 50, item: Some(item), ..CallbackFilter::default() };
    store.callbacks(filter).await.unwrap()
}

async fn state(store: &Store, item: Id) -> ItemState {
    store.item_get(item).await.unwrap().unwrap().state
}

story!(a_finished_case_owes_one_callback, |s: Stage| async move {
    let store = &s.store;
    let (item, case_no) = at_the_case_core(store, 1).await;
    assert_eq!(state(store, item.id).await, ItemState::HandedOff);
    let apply = |e, c| store.case_event_apply(e, c);
    assert!(apply(event(1, &case_no, CaseStage::InProgress), None).await.unwrap());
    assert!(apply(event(2, &case_no, CaseStage::Handled), ask()).await.unwrap());
    assert!(!apply(event(2, &case_no, CaseStage::Handled), ask()).await.unwrap(), "known");
    assert!(apply(event(3, &case_no, CaseStage::Closed), ask()).await.unwrap());
    assert!(apply(event(0, &case_no, CaseStage::InProgress), None).await.unwrap(), "late, kept");

    assert_eq!(state(store, item.id).await, ItemState::AwaitingCallback);
    let tasks = asks(store, item.id).await;
    assert_eq!(tasks.len(), 1);
    assert_eq!((tasks[0].kind, tasks[0].party), (CallbackKind::CaseFinished, item.party));
    let row = &store.handoffs_of_item(item.id).await.unwrap()[0];
    assert_eq!(row.stage, Some(CaseStage::Closed));
    assert_eq!(store.case_events_of_item(item.id).await.unwrap().len(), 4);

    // Nobody answered, and the case core has closed meanwhile.
    let done = store.callback_finish(tasks[0].id, CallbackResult::Unreachable, None, T0 + 9).await;
    assert!(done.unwrap());
    assert_eq!(state(store, item.id).await, ItemState::Closed);
    assert!(store.surveys_of_item(item.id).await.unwrap().is_empty(), "and nobody was content");
});

story!(a_burst_of_events_makes_one_callback, |s: Stage| async move {
    let store = &s.store;
    let (item, case_no) = at_the_case_core(store, 1).await;
    let tasks: Vec<_> = (0..12)
        .map(|n| {
            let (store, case_no) = (store.clone(), case_no.clone());
            let stage = if n % 2 == 0 { CaseStage::Handled } else { CaseStage::Closed };
            let event = CaseEvent { at: T0, ..event(n / 2, &case_no, stage) };
            tokio::spawn(async move { store.case_event_apply(event, ask()).await.unwrap() })
        })
        .collect();
    let mut applied = 0;
    for task in tasks {
        applied += i32::from(task.await.unwrap());
    }
    assert_eq!(applied, 6, "each event id once");
    assert_eq!(asks(store, item.id).await.len(), 1);
});

story!(an_event_of_an_unknown_case_is_to_be_offered_again, |s: Stage| async move {
    let store = &s.store;
    let early = store.case_event_apply(event(1, "LD00000001", CaseStage::Handled), ask()).await;
    assert!(matches!(early, Err(DbError::NotFound)), "{early:?}");
    let (item, case_no) = at_the_case_core(store, 1).await;
    assert_eq!(case_no, "LD00000001");
    let applied = store.case_event_apply(event(1, &case_no, CaseStage::Handled), ask()).await;
    assert!(applied.unwrap());
    assert_eq!(asks(store, item.id).await.len(), 1);
});

story!(with_nobody_to_ask_the_case_cores_closing_stands, |s: Stage| async move {
    let store = &s.store;
    let (item, _) = store.item_create(new_item(None), to_ledger(), T0, CHINA).await.unwrap();
    let row = store.handoff_claim("ledger", T0, 1_000, 1).await.unwrap().remove(0);
    store.handoff_delivered(row.id, "X1", T0).await.unwrap();
    store.case_event_apply(event(1, "X1", CaseStage::Closed), ask()).await.unwrap();
    assert_eq!(state(store, item.id).await, ItemState::Closed);
    let tasks = asks(store, item.id).await;
    assert_eq!(tasks[0].state, CallbackState::Done);
    assert_eq!(tasks[0].result, Some(CallbackResult::Exempt));
});

story!(cursors_are_kept_per_case_core, |s: Stage| async move {
    assert_eq!(s.store.case_cursor_get("ledger").await.unwrap(), None);
    s.store.case_cursor_set("ledger", "7").await.unwrap();
    s.store.case_cursor_set("ledger", "9").await.unwrap();
    assert_eq!(s.store.case_cursor_get("ledger").await.unwrap().as_deref(), Some("9"));
});

story!(the_ledger_creates_once_and_obeys_once, |s: Stage| async move {
    let store = &s.store;
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.ledger_create("key", &json!({"title": "井盖"}), T0).await.unwrap() })
        })
        .collect();
    let mut created = 0;
    let mut case_no = String::new();
    for task in tasks {
        let (no, fresh) = task.await.unwrap();
        assert!(case_no.is_empty() || case_no == no);
        case_no = no;
        created += i32::from(fresh);
    }
    assert_eq!(created, 1);
    assert_eq!(store.ledger_find("key").await.unwrap().unwrap().case_no, case_no);
    assert!(store.ledger_find("other").await.unwrap().is_none());

    let run = |key: &'static str, what| store.ledger_command(key, &case_no, what, None, T0 + 1);
    assert!(run("s1", LedgerCommand::Stage(CaseStage::Handled)).await.unwrap());
    assert!(run("r1", LedgerCommand::Remind).await.unwrap());
    assert!(run("c1", LedgerCommand::Close).await.unwrap());
    assert!(!run("c1", LedgerCommand::Close).await.unwrap());
    assert!(store.ledger_command_known("c1").await.unwrap());
    assert!(run("o1", LedgerCommand::Reopen).await.unwrap());
    let nowhere = store.ledger_command("x", "LD9", LedgerCommand::Close, None, T0).await;
    assert!(matches!(nowhere, Err(DbError::NotFound)), "{nowhere:?}");

    let events = store.ledger_events_after(0, 100).await.unwrap();
    let told: Vec<_> = events.iter().map(|e| (e.command.as_str(), e.stage)).collect();
    assert_eq!(
        told,
        [
            ("create", CaseStage::Received),
            ("stage", CaseStage::Handled),
            ("remind", CaseStage::Handled),
            ("close", CaseStage::Closed),
            ("reopen", CaseStage::Reopened),
        ]
    );
    let rest = store.ledger_events_after(events[3].seq, 100).await.unwrap();
    assert_eq!(rest.len(), 1);
    let case = store.ledger_case(&case_no).await.unwrap().unwrap();
    assert_eq!(case.stage, CaseStage::Reopened);
    assert_eq!(case.payload["title"], "井盖");
});

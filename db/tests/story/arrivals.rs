//! A call's first and last transaction, and queue rows written together.

use hotline_db::{
    Address, CallFilter, CallLine, CallPatch, CallbackFilter, CallbackKind, DbError, Id, NewCallback, QueueEntry,
    QueueRow,
};
use serde_json::json;

use crate::stage::{Stage, T0, call, hung_up, new_call, party, story};

fn phone(n: u32) -> Address {
    Address { hash: format!("hash-{n}"), sealed: vec![1, 2, 3], mask: "138****0001".into() }
}

story!(a_call_arrives_with_its_citizen_in_one_transaction, |s: Stage| async move {
    let store = &s.store;
    let first = store.call_arrive(Some(phone(1)), new_call(None, T0)).await.unwrap();
    let second = store.call_arrive(Some(phone(1)), new_call(None, T0 + 1)).await.unwrap();
    let withheld = store.call_arrive(None, new_call(None, T0 + 2)).await.unwrap();
    assert_eq!((first.seq, second.seq, withheld.seq), (1, 2, 3));
    assert_eq!(first.party, Some(party(store, 1).await.id), "the number's own row");
    assert_eq!((second.party, withheld.party), (first.party, None));
    let row = store.call_get(second.call).await.unwrap().unwrap();
    assert_eq!((row.seq, row.party, row.ring_at, row.stage.as_str()), (2, first.party, T0 + 1, "ringing"));
    let events = store.call_events(first.call).await.unwrap();
    assert_eq!((events.len(), events[0].n, events[0].kind.as_str()), (1, 1, "begin"));

    // A refused call leaves nobody behind.
    let mut bad = new_call(None, T0);
    bad.did = "1".repeat(10_000);
    assert!(matches!(store.call_arrive(Some(phone(2)), bad).await, Err(DbError::Invalid { .. })));
    assert_eq!(store.calls(CallFilter { limit: 10, ..CallFilter::default() }).await.unwrap().len(), 3);
});

story!(calls_of_one_new_number_at_once_have_one_citizen, |s: Stage| async move {
    let calls: Vec<_> = (0..16)
        .map(|n| {
            let store = s.store.clone();
            tokio::spawn(async move { store.call_arrive(Some(phone(7)), new_call(None, T0 + n)).await.unwrap() })
        })
        .collect();
    let mut seqs = Vec::new();
    let citizen = Some(party(&s.store, 7).await.id);
    for call in calls {
        let arrived = call.await.unwrap();
        assert_eq!(arrived.party, citizen);
        seqs.push(arrived.seq);
    }
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=16).collect::<Vec<_>>());
});

story!(the_last_lines_and_the_end_are_one_commit_or_none, |s: Stage| async move {
    let store = &s.store;
    let arrived = store.call_arrive(Some(phone(1)), new_call(None, T0)).await.unwrap();
    let line = |kind: &str| CallLine::Event { at: T0 + 1, kind: kind.into(), data: json!({}) };
    let stage = |word: &str| CallLine::Patch(CallPatch { stage: Some(word.into()), ..CallPatch::default() });
    let answered = CallLine::Patch(CallPatch { answer_at: Some(T0 + 5), ..CallPatch::default() });
    let missed = NewCallback::new(CallbackKind::Missed, T0);
    let end = hotline_db::CallEnd { missed: Some(missed), ..hung_up(T0 + 9) };

    let refused = vec![line("a"), line(&"x".repeat(100_000))];
    let outcome = store.call_close(arrived.call, refused, end.clone()).await;
    assert!(matches!(outcome, Err(DbError::Invalid { .. })), "{outcome:?}");
    assert_eq!(store.call_get(arrived.call).await.unwrap().unwrap().end_at, None);

    let lines = vec![stage("greeting"), line("a"), answered, stage("queue"), line("b")];
    assert!(store.call_close(arrived.call, lines, end.clone()).await.unwrap());
    let row = store.call_get(arrived.call).await.unwrap().unwrap();
    assert_eq!((row.stage.as_str(), row.answer_at, row.end_at), ("queue", Some(T0 + 5), Some(T0 + 9)));
    let events = store.call_events(arrived.call).await.unwrap();
    let told: Vec<_> = events.iter().map(|e| (e.n, e.kind.as_str())).collect();
    assert_eq!(told, [(1, "begin"), (2, "a"), (3, "b"), (4, "end")]);
    let tasks = store.callbacks(CallbackFilter { limit: 10, ..CallbackFilter::default() }).await.unwrap();
    assert_eq!((tasks.len(), tasks[0].party, tasks[0].call), (1, arrived.party, Some(arrived.call)));
    assert_eq!(events[3].data["callback_task"], json!(tasks[0].id));
    assert!(!store.call_close(arrived.call, Vec::new(), end).await.unwrap(), "only once");
});

story!(queue_rows_written_together_are_one_commit_or_none, |s: Stage| async move {
    let store = &s.store;
    let (a, b) = (call(store, None).await.id, call(store, None).await.id);
    let entry = |call| QueueEntry {
        call,
        queue: "main".into(),
        lane: "normal".into(),
        node: "gw1".into(),
        entered_at: T0,
        state: "waiting".into(),
        operator: None,
    };
    let rows = vec![
        QueueRow::Enter(entry(a)),
        QueueRow::Enter(entry(b)),
        QueueRow::Update { call: b, state: "offered".into() },
        QueueRow::Leave(a),
    ];
    store.queue_rows(rows).await.unwrap();
    let waiting = store.queue_entries("main").await.unwrap();
    assert_eq!((waiting.len(), waiting[0].call, waiting[0].state.as_str()), (1, b, "offered"));
    let outcome = store.queue_rows(vec![QueueRow::Leave(b), QueueRow::Enter(entry(Id::new()))]).await;
    assert!(matches!(outcome, Err(DbError::NotFound)), "{outcome:?}");
    assert_eq!(store.queue_entries("main").await.unwrap().len(), 1);
});

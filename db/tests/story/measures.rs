//! What figures are worked out from is read by time, page by page, in order.

use hotline_db::{CallbackKind, NewCallback};
use serde_json::json;

use crate::stage::{Stage, T0, call, hung_up, new_call, story};

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
});

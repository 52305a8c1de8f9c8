//! What passed on the wire: stored once a call, read back, gone after some days.

use hotline_db::{Id, NewSipTrace};

use crate::stage::{Stage, story};

fn trace(call: Id, at: i64) -> NewSipTrace {
    NewSipTrace { call, at, messages: 2, body: vec![1, 2, 255] }
}

story!(a_calls_trace_is_stored_once_and_pruned_when_it_is_old, |s: Stage| async move {
    let store = &s.store;
    let calls: Vec<Id> = (0..5).map(|_| Id::new()).collect();
    let rows = calls.iter().zip(0..).map(|(call, at)| trace(*call, at)).collect();
    store.sip_traces_put(rows).await.unwrap();
    store.sip_traces_put(vec![NewSipTrace { body: vec![9], ..trace(calls[0], 9) }]).await.unwrap();
    assert_eq!(store.sip_trace_get(calls[0]).await.unwrap(), Some(vec![1, 2, 255]), "the first stays");
    assert_eq!(store.sip_trace_get(Id::new()).await.unwrap(), None);
    assert_eq!(store.sip_traces_prune(3, 2).await.unwrap(), 2);
    assert_eq!(store.sip_traces_prune(3, 2).await.unwrap(), 1);
    assert_eq!(store.sip_traces_prune(3, 2).await.unwrap(), 0);
    assert!(store.sip_trace_get(calls[2]).await.unwrap().is_none());
    assert!(store.sip_trace_get(calls[3]).await.unwrap().is_some());
});

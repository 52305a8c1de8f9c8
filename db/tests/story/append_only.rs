//! What must stay as it was written can't be changed, not even behind the store's back.

use hotline_db::{CaseEvent, CaseStage, Id, NewAttempt, NewAudit, NewCallback};
use serde_json::json;

use crate::stage::{Stage, T0, call, item, recording, story};

story!(history_can_be_neither_changed_nor_deleted, |s: Stage| async move {
    let store = &s.store;
    let item = item(store, 1).await;
    let call = call(store, item.party).await;
    let leg = hotline_db::LegQuality { leg: "citizen".into(), ..Default::default() };
    let other = crate::stage::call(store, item.party).await;
    let end = hotline_db::CallEnd { legs: vec![leg], ..crate::stage::hung_up(T0) };
    store.call_end(other.id, end).await.unwrap();
    let id = recording(store, call.id).await;
    store.recording_access(id, Id::new(), "play", "质检", T0).await.unwrap();
    store.audit(NewAudit { actor: "8001".into(), ..NewAudit::default() }).await.unwrap();
    store.ledger_create("k", &json!({}), T0).await.unwrap();
    let row = store.handoff_claim("ledger", T0, 1, 1).await.unwrap().remove(0);
    store.handoff_delivered(row.id, "LD1", T0).await.unwrap();
    let event = CaseEvent {
        event_id: "e1".into(),
        case_no: "LD1".into(),
        item: None,
        stage: CaseStage::Handled,
        at: T0,
        note: None,
    };
    let ask = NewCallback::new(hotline_db::CallbackKind::CaseFinished, T0);
    store.case_event_apply(event, Some(ask)).await.unwrap();
    let task = store.callback_claim(T0, 1, 1).await.unwrap().remove(0);
    let attempt = NewAttempt { call: None, at: T0, outcome: "busy".into(), next_at: None, counts: true };
    store.callback_attempt(task.id, attempt).await.unwrap();

    let caps = hotline_db::DialoutCaps { total: 9, number: 9, operator: 9 };
    store.dialout_add(hotline_db::NewDialout::default(), caps).await.unwrap();

    let work = crate::works::add(store, crate::works::new_work("w", 4, 1)).await;
    let who = hotline_db::WorkPerson { id: Id::new(), leader: false };
    store.work_take(work, who, T0, 1).await.unwrap();

    for (table, column) in [
        ("call_event", "kind"),
        ("call_leg_quality", "leg"),
        ("recording_access", "reason"),
        ("handoff_update", "note"),
        ("ledger_event", "note"),
        ("callback_attempt", "outcome"),
        ("audit", "actor"),
        ("dialout", "refusal"),
        ("work_event", "kind"),
    ] {
        for statement in [format!("UPDATE {table} SET {column} = 'x'"), format!("DELETE FROM {table}")] {
            let error = s.raw(&statement).await.expect_err(&statement).to_string();
            assert!(error.contains(&format!("{table} is append-only")), "{statement}: {error}");
        }
    }
    let kinds: Vec<_> = store.call_events(call.id).await.unwrap().into_iter().map(|e| e.kind).collect();
    assert_eq!(kinds, ["begin"]);
});

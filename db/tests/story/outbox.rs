//! The outbox to the case core.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use hotline_db::{HandoffBacklog, HandoffKind, HandoffState, ItemState, NewHandoff};
use serde_json::json;

use crate::stage::{CHINA, Stage, T0, item, new_item, story, to_ledger};

fn remind(n: i64) -> NewHandoff {
    NewHandoff { target: "ledger".into(), kind: HandoffKind::Remind, payload: json!({"n": n}), idempotency_key: None }
}

story!(a_later_row_waits_for_the_earlier_ones_of_its_item, |s: Stage| async move {
    let store = &s.store;
    let item = item(store, 1).await;
    let second = store.handoff_add(item.id, remind(1), T0).await.unwrap();
    assert_eq!((second.ord, second.case_no.as_deref()), (2, None));

    let first = store.handoff_claim("ledger", T0, 10_000, 10).await.unwrap();
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].kind, HandoffKind::Create);
    assert!(!first[0].unknown_outcome);
    assert!(store.handoff_claim("ledger", T0 + 1, 10_000, 10).await.unwrap().is_empty(), "leased");
    assert!(store.handoff_retry(first[0].id, T0 + 50, "503", true).await.unwrap());
    assert!(store.handoff_claim("ledger", T0 + 49, 10_000, 10).await.unwrap().is_empty(), "not yet");

    let again = store.handoff_claim("ledger", T0 + 50, 10_000, 10).await.unwrap();
    assert_eq!((again[0].id, again[0].attempts), (first[0].id, 2));
    assert!(again[0].unknown_outcome, "ask before sending again");
    assert_eq!(again[0].idempotency_key, first[0].idempotency_key);
    assert!(store.handoff_delivered(again[0].id, "LD1", T0 + 60).await.unwrap());
    assert!(!store.handoff_delivered(again[0].id, "LD1", T0 + 70).await.unwrap());
    assert!(!store.handoff_retry(again[0].id, T0, "late", false).await.unwrap());
    let state = store.item_get(item.id).await.unwrap().unwrap().state;
    assert_eq!(state, ItemState::HandedOff);

    let next = store.handoff_claim("ledger", T0 + 61, 10_000, 10).await.unwrap();
    assert_eq!(next[0].id, second.id);
    assert_eq!(next[0].case_no.as_deref(), Some("LD1"), "the number is handed on");
});

story!(a_row_whose_sender_died_has_an_unknown_outcome, |s: Stage| async move {
    item(&s.store, 1).await;
    let first = s.store.handoff_claim("ledger", T0, 1_000, 1).await.unwrap();
    let again = s.store.handoff_claim("ledger", T0 + 1_000, 1_000, 1).await.unwrap();
    assert_eq!(first[0].id, again[0].id);
    assert!(!first[0].unknown_outcome && again[0].unknown_outcome);
});

story!(a_poisoned_row_holds_back_its_item_only, |s: Stage| async move {
    let store = &s.store;
    let sick = item(store, 1).await;
    store.handoff_add(sick.id, remind(1), T0).await.unwrap();
    let row = store.handoff_claim("ledger", T0, 1_000, 1).await.unwrap().remove(0);
    assert!(store.handoff_poison(row.id, "400 no such class").await.unwrap());
    let healthy = item(store, 2).await;
    let claimed = store.handoff_claim("ledger", T0 + 5_000, 1_000, 10).await.unwrap();
    assert_eq!(claimed.iter().map(|h| h.item).collect::<Vec<_>>(), [healthy.id]);
    assert_eq!(store.handoff_counts().await.unwrap().poisoned, 1);
    assert!(store.handoff_requeue(row.id, T0 + 6_000).await.unwrap());
    let claimed = store.handoff_claim("ledger", T0 + 6_000, 1_000, 10).await.unwrap();
    assert!(claimed.iter().any(|h| h.id == row.id));
});

story!(the_same_key_writes_one_row, |s: Stage| async move {
    let item = item(&s.store, 1).await;
    let new = NewHandoff { idempotency_key: Some("k".into()), ..remind(1) };
    let one = s.store.handoff_add(item.id, new.clone(), T0).await.unwrap();
    let two = s.store.handoff_add(item.id, new, T0 + 9).await.unwrap();
    assert_eq!((one.id, two.ord), (two.id, 2));
});

story!(many_senders_deliver_each_row_once_and_in_order, |s: Stage| async move {
    let store = &s.store;
    for _ in 0..12 {
        let (item, _) = store.item_create(new_item(None), to_ledger(), T0, CHINA).await.unwrap();
        for n in 0..3 {
            store.handoff_add(item.id, remind(n), T0).await.unwrap();
        }
    }
    // A row is noted when it is claimed, before it counts as delivered: the log of an item must
    // come out in order, whoever sent what.
    let log = Arc::new(Mutex::new(Vec::new()));
    let senders: Vec<_> = (0..6)
        .map(|_| {
            let (store, log) = (store.clone(), log.clone());
            tokio::spawn(async move {
                let mut idle = 0;
                while idle < 30 {
                    let rows = store.handoff_claim("ledger", T0, 600_000, 3).await.unwrap();
                    idle = if rows.is_empty() { idle + 1 } else { 0 };
                    for row in rows {
                        log.lock().unwrap().push((row.item, row.ord));
                        assert!(store.handoff_delivered(row.id, "LD", T0).await.unwrap());
                    }
                    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    let mut per_item: HashMap<_, Vec<i64>> = HashMap::new();
    for (item, ord) in log.lock().unwrap().iter() {
        per_item.entry(*item).or_default().push(*ord);
    }
    assert_eq!(per_item.len(), 12);
    assert!(per_item.values().all(|ords| *ords == [1, 2, 3, 4]), "{per_item:?}");
    let rows = store.handoff_counts().await.unwrap();
    assert_eq!((rows.pending, rows.delivered), (0, 48));
    assert_eq!(HandoffState::Delivered.as_str(), "已收");
});

story!(a_row_goes_to_the_case_core_it_was_written_for, |s: Stage| async move {
    let store = &s.store;
    let old = item(store, 1).await;
    let claim = |target: &'static str| store.handoff_claim(target, T0 + 9, 1_000, 10);
    assert!(claim("http").await.unwrap().is_empty(), "the switch sends nothing to the new system");
    // What follows about a case goes where the case is, whatever is in force now.
    let remind = store.handoff_add(old.id, NewHandoff { target: "http".into(), ..remind(1) }, T0).await.unwrap();
    assert_eq!(remind.target, "ledger");
    let create = claim("ledger").await.unwrap().remove(0);
    store.handoff_delivered(create.id, "LD1", T0).await.unwrap();
    assert!(claim("http").await.unwrap().is_empty());
    assert_eq!(claim("ledger").await.unwrap()[0].id, remind.id);
});

story!(what_the_case_core_has_not_got_is_listed_and_counted, |s: Stage| async move {
    let store = &s.store;
    assert_eq!(store.handoff_backlog().await.unwrap(), HandoffBacklog::default());
    for citizen in 1..=3 {
        item(store, citizen).await;
    }
    let rows = store.handoff_claim("ledger", T0, 1_000, 10).await.unwrap();
    store.handoff_delivered(rows[0].id, "LD1", T0).await.unwrap();
    store.handoff_poison(rows[1].id, "400 no such class").await.unwrap();
    let backlog = store.handoff_backlog().await.unwrap();
    assert_eq!(backlog, HandoffBacklog { pending: 1, poisoned: 1, oldest_pending_at: Some(T0) });
    let listed: Vec<_> = store.handoffs_undelivered(10).await.unwrap().iter().map(|h| h.id).collect();
    assert_eq!(listed, [rows[1].id, rows[2].id]);
});

//! Texts we owe: claimed, submitted, reported in whatever order, never twice where once is all.

use hotline_db::{DbError, NewOutgoing, OutgoingPurpose, OutgoingState, Reported};
use serde_json::json;

use crate::messages::number;
use crate::stage::{Stage, T0, story};

fn text(words: &str) -> NewOutgoing {
    NewOutgoing {
        channel: "sms".into(),
        line: None,
        to: number(1),
        template: "receipt".into(),
        params: json!({"n": 1}).into(),
        text: words.into(),
        purpose: OutgoingPurpose::Reply,
        dedup_key: None,
        conversation: None,
        item: None,
        party: None,
        once: false,
        test: false,
        next_at: T0,
        expires_at: T0 + 100_000,
    }
}

async fn state(s: &Stage, id: hotline_db::Id) -> OutgoingState {
    s.store.outgoing_get(id).await.unwrap().unwrap().state
}

fn ids(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|t| (*t).to_owned()).collect()
}

story!(a_text_is_claimed_by_one_sender_and_comes_back_when_that_one_dies, |s: Stage| async move {
    let store = &s.store;
    let id = store.outgoing_add(text("a"), T0).await.unwrap().unwrap();
    assert!(store.outgoing_claim("wechat", T0, 1_000, 10).await.unwrap().is_empty());
    assert!(store.outgoing_claim("sms", T0 - 1, 1_000, 10).await.unwrap().is_empty());
    let dead = &store.outgoing_claim("sms", T0, 1_000, 10).await.unwrap()[0];
    let row = dead;
    assert_eq!(
        (row.id, row.attempts, row.state, row.to_sealed.as_slice()),
        (id, 1, OutgoingState::Sending, &[1, 2, 3][..])
    );
    assert!(store.outgoing_claim("sms", T0 + 999, 1_000, 10).await.unwrap().is_empty());
    let row = &store.outgoing_claim("sms", T0 + 1_000, 1_000, 10).await.unwrap()[0];
    assert_eq!(row.attempts, 2);
    // The first sender was only slow: it decides nothing about the second one's attempt.
    assert!(!store.outgoing_retry(dead, T0 + 5_000, "no link").await.unwrap());
    assert!(!store.outgoing_failed(dead, "refused").await.unwrap());
    assert!(store.outgoing_retry(row, T0 + 5_000, "no link").await.unwrap());
    assert!(!store.outgoing_retry(row, T0 + 5_000, "no link").await.unwrap(), "not leased");
    assert!(store.outgoing_claim("sms", T0 + 4_999, 1_000, 10).await.unwrap().is_empty());
    let row = &store.outgoing_claim("sms", T0 + 5_000, 1_000, 10).await.unwrap()[0];
    assert!(store.outgoing_failed(row, "refused").await.unwrap());
    assert_eq!(state(&s, id).await, OutgoingState::Failed);

    let late = store.outgoing_add(text("b"), T0).await.unwrap().unwrap();
    assert!(store.outgoing_claim("sms", T0 + 100_000, 1_000, 10).await.unwrap().is_empty());
    assert_eq!(state(&s, late).await, OutgoingState::Expired);
});

story!(one_sent_at_most_once_never_leaves_twice, |s: Stage| async move {
    let store = &s.store;
    let id = store.outgoing_add(NewOutgoing { once: true, ..text("请评价") }, T0).await.unwrap().unwrap();
    assert_eq!(store.outgoing_claim("sms", T0, 1_000, 10).await.unwrap().len(), 1);
    // Its sender dies: nobody knows whether it left.
    assert!(store.outgoing_claim("sms", T0 + 2_000, 1_000, 10).await.unwrap().is_empty());
    assert_eq!(state(&s, id).await, OutgoingState::Unknown);
    // Its sender was only slow.
    assert!(store.outgoing_submitted(id, "a", &ids(&["1"]), T0 + 3_000).await.unwrap());
    assert_eq!(state(&s, id).await, OutgoingState::Submitted);
});

story!(many_senders_share_the_texts_without_overlap, |s: Stage| async move {
    for n in 0..40 {
        s.store.outgoing_add(text(&n.to_string()), T0).await.unwrap();
    }
    let senders: Vec<_> = (0..8)
        .map(|_| {
            let store = s.store.clone();
            tokio::spawn(async move { store.outgoing_claim("sms", T0, 60_000, 10).await.unwrap() })
        })
        .collect();
    let mut all = Vec::new();
    for sender in senders {
        all.extend(sender.await.unwrap().into_iter().map(|row| row.id));
    }
    let claimed = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), claimed, "none went to two");
    assert!(claimed >= 10);
});

story!(a_text_of_several_parts_arrives_when_all_did, |s: Stage| async move {
    let store = &s.store;
    let id = store.outgoing_add(text("long"), T0).await.unwrap().unwrap();
    store.outgoing_claim("sms", T0, 1_000, 10).await.unwrap();
    assert!(store.outgoing_submitted(id, "a", &ids(&["1", "2"]), T0 + 1).await.unwrap());
    assert!(!store.outgoing_submitted(id, "a", &ids(&["3"]), T0 + 1).await.unwrap(), "once");
    let delivered = OutgoingState::Delivered;
    assert_eq!(store.outgoing_report("a", "1", delivered, "DELIVRD", T0 + 2).await.unwrap(), Reported::Text(id));
    assert_eq!(state(&s, id).await, OutgoingState::Submitted);
    assert_eq!(store.outgoing_report("a", "1", delivered, "DELIVRD", T0 + 2).await.unwrap(), Reported::Repeated);
    assert_eq!(
        store.outgoing_report("b", "2", delivered, "DELIVRD", T0 + 3).await.unwrap(),
        Reported::Orphan,
        "another line's id"
    );
    assert_eq!(store.outgoing_report("a", "2", delivered, "DELIVRD", T0 + 4).await.unwrap(), Reported::Text(id));
    let row = store.outgoing_get(id).await.unwrap().unwrap();
    assert_eq!((row.state, row.code.as_deref(), row.reported_at), (delivered, Some("DELIVRD"), Some(T0 + 4)));
    assert_eq!(store.outgoing_by_provider("a", "2").await.unwrap(), Some(id));

    let bad = store.outgoing_add(text("bad"), T0).await.unwrap().unwrap();
    store.outgoing_claim("sms", T0 + 5, 1_000, 10).await.unwrap();
    store.outgoing_submitted(bad, "a", &ids(&["7", "8"]), T0 + 6).await.unwrap();
    store.outgoing_report("a", "8", OutgoingState::Failed, "UNDELIV", T0 + 7).await.unwrap();
    store.outgoing_report("a", "7", delivered, "DELIVRD", T0 + 8).await.unwrap();
    let row = store.outgoing_get(bad).await.unwrap().unwrap();
    assert_eq!((row.state, row.code.as_deref()), (OutgoingState::Failed, Some("UNDELIV")));
    assert!(matches!(
        store.outgoing_report("a", "1", OutgoingState::Queued, "", T0).await,
        Err(DbError::Invalid { .. })
    ));
});

story!(a_report_faster_than_its_id_waits_for_it, |s: Stage| async move {
    let store = &s.store;
    let id = store.outgoing_add(text("fast"), T0).await.unwrap().unwrap();
    store.outgoing_claim("sms", T0, 1_000, 10).await.unwrap();
    assert_eq!(
        store.outgoing_report("a", "1", OutgoingState::Delivered, "DELIVRD", T0 + 1).await.unwrap(),
        Reported::Orphan
    );
    assert!(store.outgoing_submitted(id, "a", &ids(&["1"]), T0 + 2).await.unwrap());
    assert_eq!(state(&s, id).await, OutgoingState::Delivered);

    // The carrier uses the id again: the report belongs to the text that waits.
    let second = store.outgoing_add(text("again"), T0).await.unwrap().unwrap();
    store.outgoing_claim("sms", T0 + 3, 1_000, 10).await.unwrap();
    store.outgoing_submitted(second, "a", &ids(&["1"]), T0 + 4).await.unwrap();
    assert_eq!(state(&s, second).await, OutgoingState::Submitted);
    let failed = OutgoingState::Failed;
    assert_eq!(store.outgoing_report("a", "1", failed, "UNDELIV", T0 + 5).await.unwrap(), Reported::Text(second));
    assert_eq!((state(&s, id).await, state(&s, second).await), (OutgoingState::Delivered, failed));

    // What nobody comes for goes after some days.
    store.outgoing_report("a", "9", failed, "UNDELIV", T0).await.unwrap();
    assert_eq!(store.outgoing_orphans_prune(T0 + 1).await.unwrap(), 1);
    assert_eq!(store.outgoing_orphans_prune(T0 + 1).await.unwrap(), 0);
});

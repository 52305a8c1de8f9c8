//! WeChat: windows of customer-service messages, and answers given in the push itself.

use hotline_db::{AddressKind, MessageState, MessageTaken, NewMessage, NewOutgoing, OutgoingPurpose, OutgoingState};
use serde_json::json;

use crate::messages::{new_message, number};
use crate::stage::{Stage, T0, story};

story!(a_window_is_changed_in_one_transaction_and_survives, |mut s: Stage| async move {
    let used = s.store.wechat_window("h1", |w| (w.message_at, w.message_used)).await.unwrap();
    assert_eq!(used, (0, 0), "nobody known");
    s.store.wechat_window("h1", |w| w.message_at = T0).await.unwrap();
    let adds = (0..20).map(|_| {
        let store = s.store.clone();
        tokio::spawn(async move { store.wechat_window("h1", |w| w.message_used += 1).await })
    });
    for add in adds.collect::<Vec<_>>() {
        add.await.unwrap().unwrap();
    }
    s.restart().await;
    let window = s.store.wechat_window("h1", |w| *w).await.unwrap();
    assert_eq!((window.message_at, window.message_used, window.click_used), (T0, 20, 0));
});

fn waiting(line: Option<&str>, text: &str, at: i64) -> NewOutgoing {
    NewOutgoing {
        channel: "wechat".into(),
        line: line.map(str::to_owned),
        to: number(1),
        template: "progress".into(),
        params: json!({}).into(),
        text: text.into(),
        purpose: OutgoingPurpose::Progress,
        dedup_key: None,
        conversation: None,
        item: None,
        party: None,
        once: false,
        test: false,
        next_at: at,
        expires_at: at + 1_000,
    }
}

story!(a_text_that_waits_is_given_as_an_answer_once, |s: Stage| async move {
    let answer = |at: i64| {
        let store = s.store.clone();
        async move { store.wechat_answer("hash-1", "wechat", "passive:7", at).await.unwrap() }
    };
    assert_eq!(answer(T0).await, None);
    let first = s.store.outgoing_add(waiting(Some("wechat"), "甲", T0), T0).await.unwrap().unwrap();
    s.store.outgoing_add(waiting(None, "乙", T0 + 5), T0).await.unwrap().unwrap();
    s.store.outgoing_add(waiting(Some("kf:wk1"), "丙", T0), T0).await.unwrap().unwrap();
    assert_eq!(answer(T0).await.as_deref(), Some("甲"));
    assert_eq!(answer(T0).await, None, "the next isn't due yet, and another account's isn't ours");
    assert_eq!(answer(T0 + 5).await.as_deref(), Some("乙"));
    let row = s.store.outgoing_get(first).await.unwrap().unwrap();
    assert_eq!((row.state, row.sent_line.as_deref()), (OutgoingState::Submitted, Some("wechat")));
    assert!(s.store.outgoing_by_provider("wechat", "passive:7").await.unwrap().is_some());
    s.store.outgoing_add(waiting(None, "丁", T0), T0).await.unwrap();
    assert_eq!(answer(T0 + 1_000).await, None, "its time is over");
    let left = s.store.outgoing_claim("wechat", T0, 60_000, 10).await.unwrap();
    assert_eq!(left.len(), 2, "what was answered isn't sent again");
});

story!(two_pushes_never_get_the_same_text, |s: Stage| async move {
    for n in 0..5 {
        s.store.outgoing_add(waiting(None, &format!("第{n}"), T0), T0).await.unwrap();
    }
    let asks = (0..12).map(|n| {
        let store = s.store.clone();
        tokio::spawn(async move { store.wechat_answer("hash-1", "wechat", &format!("passive:{n}"), T0).await })
    });
    let mut got = Vec::new();
    for ask in asks.collect::<Vec<_>>() {
        got.extend(ask.await.unwrap().unwrap());
    }
    got.sort();
    assert_eq!(got, ["第0", "第1", "第2", "第3", "第4"]);
});

/// A message of a WeChat citizen, for the stories of voices.
pub(crate) fn wechat_message(n: u32, key: &str, text: &str, at: i64) -> NewMessage {
    let mut new = new_message(n, key, text, at);
    new.channel = "wechat".into();
    new.line = "wechat".into();
    new.sender = Some((AddressKind::Openid, number(n)));
    new
}

story!(a_message_of_wechat_is_known_again, |s: Stage| async move {
    let first = s.store.message_take(wechat_message(1, "6001", "漏水", T0)).await.unwrap();
    assert!(matches!(first, MessageTaken::New { state: MessageState::Taken, .. }));
    let again = s.store.message_take(wechat_message(1, "6001", "漏水", T0 + 5_000)).await.unwrap();
    assert!(matches!(again, MessageTaken::Known { .. }));
});

story!(a_citizens_message_opens_their_window_in_its_own_commit, |s: Stage| async move {
    let window = || async { s.store.wechat_window("hash-1", |w| (w.message_at, w.message_used)).await.unwrap() };
    let mut first = wechat_message(1, "6001", "漏水", T0 + 900);
    first.provider_time = Some(T0);
    // As the journal brings it when the database is back: several in one transaction.
    s.store.messages_take(vec![first.clone(), wechat_message(2, "6002", "积水", T0)]).await.unwrap();
    assert_eq!(window().await, (T0, 0));
    s.store.wechat_window("hash-1", |w| w.message_used = 3).await.unwrap();
    s.store.message_take(first).await.unwrap();
    assert_eq!(window().await, (T0, 3), "the same message again opens nothing");
    let mut older = wechat_message(1, "6000", "早一点的", T0 + 950);
    older.provider_time = Some(T0 - 1_000);
    s.store.message_take(older).await.unwrap();
    assert_eq!(window().await, (T0, 3), "nor does one written before");
    s.store.message_take(wechat_message(1, "6003", "还在漏", T0 + 5_000)).await.unwrap();
    assert_eq!(window().await, (T0 + 5_000, 0));
});

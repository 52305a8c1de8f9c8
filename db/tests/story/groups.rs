//! Messages that come at once and are stored as a group are what they would be one after the other.

use std::{sync::Arc, time::Duration};

use hotline_db::{
    AddressKind, Amendment, ConversationState, Id, MediaKind, MessageState, MessageTaken, NewMedia, NewMessage,
    OutgoingPurpose, Settlement, Settler,
};
use sqlx::{AssertSqlSafe, Connection, Executor};

use crate::messages::{answer, new_message, nothing, number};
use crate::stage::{CHINA, Stage, T0, new_call, new_item, on_postgres, story};

/// Number, state and conversation of a message that is new.
fn new(taken: &MessageTaken) -> (i64, MessageState, Option<hotline_db::Id>) {
    let MessageTaken::New { seq, state, conversation, .. } = taken else { panic!("{taken:?}") };
    (*seq, *state, *conversation)
}

story!(a_group_is_taken_as_each_of_it_alone, |s: Stage| async move {
    let store = &s.store;
    store.block_add(number(4), "骚扰", None, "leader", T0 - 1).await.unwrap();
    let mail = (AddressKind::Mail, number(9));
    let nobody = |key: &str| NewMessage { sender: None, ..new_message(0, key, "匿名", T0) };
    let photo = NewMedia { kind: MediaKind::Image, sha256: None, reference: Some("m1".into()) };
    let stop = NewMessage {
        state: MessageState::Command,
        planner: None,
        stops_texts: true,
        answers: vec![answer(5, OutgoingPurpose::Stop, "已停止", T0)],
        ..new_message(5, "td", "TD", T0)
    };
    let group = vec![
        new_message(1, "a", "井盖没了", T0),
        new_message(2, "b", "路灯不亮", T0 + 1),
        // The first citizen goes on, and the second one's text comes once more.
        new_message(1, "c", "在人民路", T0 + 2),
        new_message(2, "b", "路灯不亮", T0 + 3),
        new_message(4, "d", "谢谢", T0 + 4),
        NewMessage { sender: Some(mail), ..new_message(0, "e", "噪音", T0 + 5) },
        nobody("f"),
        nobody("g"),
        stop,
        NewMessage { media: vec![photo], ..new_message(6, "h", "", T0 + 6) },
        new_message(6, "i", "人民路88号", T0 + 7),
        NewMessage { state: MessageState::Limited, planner: None, ..new_message(7, "j", "还有", T0 + 8) },
    ];
    let taken = store.messages_take(group).await.unwrap();
    assert_eq!(taken.len(), 12);
    let first = new(&taken[0]);
    for (at, want) in [(2, 2), (4, 4), (8, 8), (11, 11)] {
        assert_eq!(new(&taken[at]).0, first.0 + want, "each has the number of its place");
    }
    assert_eq!(new(&taken[2]).2, first.2, "one conversation");
    let MessageTaken::New { message, .. } = taken[1] else { panic!("{:?}", taken[1]) };
    assert_eq!(taken[3], MessageTaken::Known { message });
    assert_eq!((new(&taken[4]).1, new(&taken[4]).2), (MessageState::Refused, None));
    assert_ne!(new(&taken[6]).2, new(&taken[7]).2, "nobody is not one person");
    assert_eq!((new(&taken[8]).1, new(&taken[8]).2), (MessageState::Command, None));
    assert_eq!(new(&taken[9]).2, new(&taken[10]).2);
    assert_eq!((new(&taken[11]).1, new(&taken[11]).2), (MessageState::Limited, None));

    let row = store.conversation_get(first.2.unwrap()).await.unwrap().unwrap();
    assert_eq!((row.parts, row.first_seq, row.opened_at, row.last_at), (2, first.0, T0, T0 + 2));
    assert_eq!((row.channel.as_str(), row.line.as_str(), row.act_at), ("sms", "a", Some(T0 + 20_002)));
    let words: Vec<String> =
        store.messages_of_conversation(row.id).await.unwrap().into_iter().map(|m| m.text).collect();
    assert_eq!(words, ["井盖没了", "在人民路"]);
    let mailed = store.party_known(AddressKind::Mail, &number(9).hash).await.unwrap().unwrap();
    assert_eq!((mailed.mail_sealed, mailed.phone_hash), (Some(vec![1, 2, 3]), None));
    assert_eq!(store.outgoing_to(&number(5).hash, 9).await.unwrap().len(), 1);
    assert_eq!(store.messages(None, 50).await.unwrap().len(), 11);
});

story!(a_group_finds_what_earlier_ones_left, |s: Stage| async move {
    let store = &s.store;
    let before = store.messages_take(vec![new_message(1, "a", "井盖没了", T0), new_message(2, "b", "积水", T0)]);
    let before = before.await.unwrap();
    let late = T0 + 900_000;
    let group = vec![
        new_message(1, "c", "在人民路", T0 + 9),
        // Too long after the first: that one's conversation is at its end.
        new_message(2, "d", "还有垃圾", late),
        new_message(1, "a", "井盖没了", T0 + 10),
        new_message(3, "e", "路灯", T0 + 11),
    ];
    let taken = store.messages_take(group).await.unwrap();
    assert_eq!(new(&taken[0]).2, new(&before[0]).2);
    assert_ne!(new(&taken[1]).2, new(&before[1]).2);
    assert!(matches!(taken[2], MessageTaken::Known { .. }));
    let ended = store.conversation_get(new(&before[1]).2.unwrap()).await.unwrap().unwrap();
    assert_eq!((ended.state, ended.act_at), (ConversationState::Settling, Some(late)));
    let MessageTaken::New { party, .. } = taken[0] else { panic!("{:?}", taken[0]) };
    let known = store.party_known(AddressKind::Phone, &number(1).hash).await.unwrap().unwrap();
    assert_eq!(party, Some(known.id), "the citizen is the one known");

    // Our own words come back.
    store.outgoing_add(answer(3, OutgoingPurpose::Receipt, "已登记", T0 + 12), T0 + 12).await.unwrap();
    let echo = store.messages_take(vec![new_message(3, "f", "已登记", T0 + 13), new_message(4, "g", "", T0 + 13)]);
    let echo = echo.await.unwrap();
    assert_eq!((new(&echo[0]).1, new(&echo[1]).1), (MessageState::Automatic, MessageState::Taken));
});

/// Another gateway's transaction.
pub(crate) async fn other(s: &Stage, statement: String) -> sqlx::PgConnection {
    let mut conn = sqlx::PgConnection::connect(&s.url).await.unwrap();
    conn.execute("BEGIN").await.unwrap();
    conn.execute(AssertSqlSafe(statement)).await.unwrap();
    conn
}

/// Returns once a transaction waits for another one's rows.
pub(crate) async fn somebody_waits(s: &Stage) {
    let waits = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let mut look = sqlx::PgConnection::connect(&s.url).await.unwrap();
    for _ in 0..2_000 {
        let (waiting,): (i64,) = sqlx::query_as(waits).fetch_one(&mut look).await.unwrap();
        if waiting > 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("nobody waits");
}

/// Its end: closing the connection alone, the server would let go some time later.
async fn let_go(mut other: sqlx::PgConnection) {
    other.execute("ROLLBACK").await.unwrap();
    other.close().await.unwrap();
}

/// A settler that makes an item first and amends it afterwards.
fn settler() -> Settler {
    Arc::new(|s| Settlement {
        create: s.item.is_none().then(|| new_item(Some(s.conversation.first_contact))),
        amend: s.item.map(|item| Amendment {
            title: item.title.clone(),
            detail: format!("{}\n还有", item.detail),
            urgency: 4,
            class_code: None,
            location_text: None,
            lon: None,
            lat: None,
        }),
        next_at: Some(T0 + 20_000),
        ..nothing()
    })
}

/// What a step that waits for nobody led to.
async fn settled(s: &Stage, id: Id) -> Option<hotline_db::Settled> {
    let settling = s.store.conversation_settle(id, T0 + 30_000, CHINA, settler());
    tokio::time::timeout(Duration::from_secs(20), settling).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_waits_neither_for_a_conversation_nor_for_an_item_that_somebody_else_holds() {
    on_postgres(|s| async move {
        let taken = s.store.messages_take(vec![new_message(1, "a", "井盖没了", T0), new_message(2, "b", "积水", T0)]);
        let taken = taken.await.unwrap();
        let (held, free) = (new(&taken[0]).2.unwrap(), new(&taken[1]).2.unwrap());
        let holder = other(&s, format!("SELECT 1 FROM conversation WHERE id = '{held}' FOR UPDATE")).await;
        let (none, some) = tokio::join!(settled(&s, held), settled(&s, free));
        assert!(none.is_none() && some.is_some_and(|s| s.item.is_some()));
        assert!(s.store.conversations_due(T0 + 30_000, 10).await.unwrap().contains(&held), "looked at again");
        let_go(holder).await;
        let (item, fresh) = settled(&s, held).await.unwrap().item.unwrap();
        assert!(fresh);
        let holder = other(&s, format!("UPDATE item SET detail = detail WHERE id = '{}'", item.id)).await;
        assert!(settled(&s, held).await.is_none());
        let_go(holder).await;
        let (amended, fresh) = settled(&s, held).await.unwrap().item.unwrap();
        assert!(!fresh && amended.detail == format!("{}\n还有", item.detail));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_citizen_who_calls_and_writes_at_once_is_taken_both_times() {
    on_postgres(|s| async move {
        // A message of another gateway has its number, and makes its citizen known next.
        let count = "INSERT INTO counter (name, value) VALUES ('arrival', 1) \
                     ON CONFLICT (name) DO UPDATE SET value = counter.value + 1";
        let mut writing = other(&s, count.into()).await;
        let store = s.store.clone();
        let calling = tokio::spawn(async move { store.call_arrive(Some(number(1)), new_call(None, T0)).await });
        somebody_waits(&s).await;
        let meet = format!(
            "INSERT INTO party (id, phone_hash, anonymous, confidential, do_not_call) \
             VALUES ('{}', 'hash-1', FALSE, FALSE, FALSE)",
            Id::new()
        );
        writing.execute(AssertSqlSafe(meet)).await.unwrap();
        writing.execute("COMMIT").await.unwrap();
        let arrived = calling.await.unwrap().unwrap();
        let party = s.store.party_known(AddressKind::Phone, "hash-1").await.unwrap().unwrap();
        assert_eq!((arrived.seq, arrived.party), (2, Some(party.id)));
    })
    .await;
}

story!(a_full_item_keeps_its_text, |s: Stage| async move {
    let taken = s.store.message_take(new_message(1, "a", "井盖没了", T0)).await.unwrap();
    let id = new(&taken).2.unwrap();
    let full = "满".repeat(usize::try_from(hotline_db::limits::GROWN_DETAIL_CHARS_MAX).unwrap());
    let says = |detail: String| -> Settler {
        Arc::new(move |s| Settlement {
            create: s.item.is_none().then(|| new_item(Some(s.conversation.first_contact))),
            amend: Some(Amendment {
                title: "井盖".into(),
                detail: detail.clone(),
                urgency: 4,
                class_code: None,
                location_text: None,
                lon: None,
                lat: None,
            }),
            next_at: Some(T0 + 20_000),
            ..nothing()
        })
    };
    // The first makes the item; one that isn't full says what the messages say.
    for (said, holds) in [("", None), ("少一点", Some("少一点")), (&full, Some(&full)), ("更少", Some(&full))] {
        let settling = s.store.conversation_settle(id, T0 + 30_000, CHINA, says(said.into()));
        let (item, _) = settling.await.unwrap().unwrap().item.unwrap();
        assert!(holds.is_none_or(|holds: &str| item.detail == holds), "{} characters", item.detail.chars().count());
    }
});

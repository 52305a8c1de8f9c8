//! Written contacts: taken once, in order, into their conversation; the conversation becomes an item.

use std::sync::Arc;

use hotline_db::{
    Address, AddressKind, Amendment, ConversationPlan, ConversationState, DbError, ItemHandoff, MediaKind, MediaState,
    MessageState, MessageTaken, NewAttachment, NewMedia, NewMessage, NewOutgoing, NewPlace, OutgoingPurpose,
    OutgoingState, Settlement, Supplement,
};
use serde_json::json;

use crate::stage::{CHINA, Stage, T0, new_item, story};

pub(crate) fn number(n: u32) -> Address {
    Address { hash: format!("hash-{n}"), sealed: vec![1, 2, 3], mask: "138****0001".into() }
}

pub(crate) fn new_message(n: u32, key: &str, text: &str, at: i64) -> NewMessage {
    NewMessage {
        channel: "sms".into(),
        line: "a".into(),
        dedup_key: key.into(),
        addressed: "106912319".into(),
        sender: Some((AddressKind::Phone, number(n))),
        provider_time: None,
        at,
        state: MessageState::Taken,
        text: text.into(),
        redacted_text: text.into(),
        place: None,
        media: Vec::new(),
        red: false,
        test: false,
        link: None,
        planner: Some(Arc::new(move |open| ConversationPlan {
            joins: open.is_some_and(|c| at - c.last_at <= 300_000),
            closes: false,
            told_at: Some(open.and_then(|c| c.told_at).unwrap_or(at)),
            red: false,
            act_at: at + 20_000,
        })),
        supplement: None,
        note: None,
        stops_texts: false,
        answers: Vec::new(),
    }
}

pub(crate) fn answer(n: u32, purpose: OutgoingPurpose, text: &str, at: i64) -> NewOutgoing {
    NewOutgoing {
        channel: "sms".into(),
        line: None,
        to: number(n),
        template: "t".into(),
        params: json!({}).into(),
        text: text.into(),
        purpose,
        dedup_key: None,
        conversation: None,
        item: None,
        party: None,
        once: false,
        test: false,
        next_at: at,
        expires_at: at + 1_000_000,
    }
}

pub(crate) fn nothing() -> Settlement {
    Settlement {
        create: None,
        amend: None,
        work: None,
        hand_off: None,
        note: None,
        answers: None,
        notices: Vec::new(),
        asked: None,
        receipt: false,
        close: false,
        next_at: None,
    }
}

story!(a_message_is_taken_once_and_numbered_with_the_calls, |s: Stage| async move {
    let store = &s.store;
    let call = crate::stage::call(store, None).await;
    let taken = store.message_take(new_message(1, "k1", "井盖没了", T0)).await.unwrap();
    let MessageTaken::New { contact, seq, message, party, conversation, .. } = taken else { panic!("{taken:?}") };
    assert!(seq > call.seq, "one order over all channels");
    let again = store.message_take(new_message(1, "k1", "井盖没了", T0 + 5)).await.unwrap();
    assert_eq!(again, MessageTaken::Known { message });
    let other = store.message_take(new_message(1, "k2", "在人民路", T0 + 9)).await.unwrap();
    let MessageTaken::New { conversation: second, party: same, .. } = other else { panic!("{other:?}") };
    assert_eq!((second, same), (conversation, party));
    let row = store.conversation_get(conversation.unwrap()).await.unwrap().unwrap();
    assert_eq!((row.first_contact, row.first_seq, row.parts, row.last_at), (contact, seq, 2, T0 + 9));
    assert_eq!(store.messages_of_conversation(row.id).await.unwrap().len(), 2);
    let contact = store.contact_get(contact).await.unwrap().unwrap();
    assert_eq!((contact.seq, contact.channel.as_str(), contact.party), (seq, "sms", party));
    assert_eq!(store.messages(None, 10).await.unwrap().len(), 2);

    // A pause too long: the first one is at its end, a second one begins.
    let late = store.message_take(new_message(1, "k3", "还有垃圾", T0 + 900_000)).await.unwrap();
    let MessageTaken::New { conversation: third, .. } = late else { panic!("{late:?}") };
    assert_ne!(third, conversation);
    let row = store.conversation_get(row.id).await.unwrap().unwrap();
    assert_eq!((row.state, row.act_at), (ConversationState::Settling, Some(T0 + 900_000)));
});

story!(messages_at_once_are_each_there_once_in_one_conversation, |s: Stage| async move {
    let tasks: Vec<_> = (0..24)
        .map(|n| {
            let store = s.store.clone();
            // Each message comes twice, as after a lost acknowledgement.
            let new = new_message(7, &format!("k{}", n / 2), "部分", T0 + n / 2);
            tokio::spawn(async move { store.message_take(new).await.unwrap() })
        })
        .collect();
    let (mut new, mut known) = (0, 0);
    let mut conversations = Vec::new();
    for task in tasks {
        match task.await.unwrap() {
            MessageTaken::New { conversation, .. } => {
                new += 1;
                conversations.extend(conversation);
            }
            MessageTaken::Known { .. } => known += 1,
        }
    }
    conversations.dedup();
    assert_eq!((new, known, conversations.len()), (12, 12, 1));
    let row = s.store.conversation_get(conversations[0]).await.unwrap().unwrap();
    assert_eq!(row.parts, 12);
});

story!(a_conversation_becomes_an_item_with_its_receipt_and_ends, |s: Stage| async move {
    let store = &s.store;
    let taken = store.message_take(new_message(1, "k1", "井盖没了", T0)).await.unwrap();
    let MessageTaken::New { contact, conversation, party, .. } = taken else { panic!("{taken:?}") };
    let id = conversation.unwrap();
    store.message_take(new_message(1, "k2", "在人民路", T0 + 1_000)).await.unwrap();
    assert!(store.conversations_due(T0 + 20_999, 10).await.unwrap().is_empty());
    assert_eq!(store.conversations_due(T0 + 21_000, 10).await.unwrap(), [id]);
    assert_eq!(store.conversation_next_at().await.unwrap(), Some(T0 + 21_000));

    let number_it: hotline_db::Settler = Arc::new(move |s| {
        assert_eq!((s.messages.len(), s.is_handed, s.item.is_some()), (2, false, false));
        assert_eq!(s.party.map(|p| p.id), party);
        Settlement {
            create: Some(new_item(Some(s.conversation.first_contact))),
            answers: Some(Box::new(|item| {
                let mut text = answer(1, OutgoingPurpose::Receipt, &item.acceptance_no, T0);
                text.dedup_key = Some("receipt".into());
                vec![text.clone(), text]
            })),
            receipt: true,
            next_at: Some(T0 + 300_000),
            ..nothing()
        }
    });
    let settled = store.conversation_settle(id, T0 + 21_000, CHINA, number_it.clone()).await.unwrap().unwrap();
    let (item, fresh) = settled.item.unwrap();
    assert!(fresh && !settled.handed_off && settled.conversation.receipt_at == Some(T0 + 21_000));
    assert!(store.conversation_settle(id, T0 + 22_000, CHINA, number_it).await.unwrap().is_none(), "not due");
    let roles: Vec<_> = store.item_contacts(item.id).await.unwrap().iter().map(|c| c.role.as_str()).collect();
    assert_eq!(roles, ["首报", "补充"]);
    assert_eq!(item.first_contact, Some(contact));
    let texts = store.outgoing_of_item(item.id).await.unwrap();
    assert_eq!((texts.len(), texts[0].text.as_str()), (1, item.acceptance_no.as_str()), "its key writes it once");
    assert!(store.handoffs_of_item(item.id).await.unwrap().is_empty());

    // The third message joins; the end hands the whole of it off.
    store.message_take(new_message(1, "k3", "还有垃圾", T0 + 60_000)).await.unwrap();
    let end: hotline_db::Settler = Arc::new(|s| Settlement {
        amend: Some(Amendment {
            title: "人民路 井盖".into(),
            detail: s.messages.iter().map(|m| m.text.as_str()).collect::<Vec<_>>().join("\n"),
            urgency: 4,
            class_code: Some("01023".into()),
            location_text: Some("人民路".into()),
            lon: Some(120.0),
            lat: Some(31.0),
        }),
        hand_off: Some(ItemHandoff {
            target: "ledger".into(),
            payload: Box::new(|item| json!({"detail": item.detail})),
        }),
        close: true,
        ..nothing()
    });
    let settled = store.conversation_settle(id, T0 + 400_000, CHINA, end).await.unwrap().unwrap();
    assert!(settled.handed_off && settled.conversation.state == ConversationState::Closed);
    assert_eq!(settled.conversation.act_at, None);
    let row = store.item_get(item.id).await.unwrap().unwrap();
    assert_eq!((row.title.as_str(), row.urgency, row.lon), ("人民路 井盖", 2, Some(120.0)), "never less urgent");
    let handoff = &store.handoffs_of_item(item.id).await.unwrap()[0];
    assert_eq!(handoff.payload.0, json!({"detail": "井盖没了\n在人民路\n还有垃圾"}));
    assert_eq!(store.messages_of_item(item.id).await.unwrap().len(), 3);
    // The next message of this citizen begins anew.
    let next = store.message_take(new_message(1, "k4", "另一件", T0 + 410_000)).await.unwrap();
    let MessageTaken::New { conversation: fresh, .. } = next else { panic!("{next:?}") };
    assert_ne!(fresh, Some(id));
});

story!(a_step_that_breaks_changes_nothing_and_can_be_put_off, |s: Stage| async move {
    let store = &s.store;
    let taken = store.message_take(new_message(1, "k1", "井盖没了", T0)).await.unwrap();
    let MessageTaken::New { conversation, .. } = taken else { panic!("{taken:?}") };
    let id = conversation.unwrap();
    let broken: hotline_db::Settler = Arc::new(|_| panic!("a bug in the decision"));
    assert!(matches!(store.conversation_settle(id, T0 + 20_000, CHINA, broken).await, Err(DbError::Conflict(_))));
    let invalid: hotline_db::Settler = Arc::new(|s| Settlement {
        create: Some(hotline_db::NewItem { urgency: 9, ..new_item(Some(s.conversation.first_contact)) }),
        ..nothing()
    });
    assert!(matches!(store.conversation_settle(id, T0 + 20_000, CHINA, invalid).await, Err(DbError::Invalid { .. })));
    assert_eq!(store.conversation_get(id).await.unwrap().unwrap().act_at, Some(T0 + 20_000));
    store.conversation_postpone(id, T0 + 90_000).await.unwrap();
    assert!(store.conversations_due(T0 + 80_000, 10).await.unwrap().is_empty());
    assert_eq!(store.conversations_waiting(T0 + 100_000).await.unwrap(), (1, 10_000));
});

story!(a_blocked_sender_is_kept_and_not_answered, |s: Stage| async move {
    let store = &s.store;
    let block = store.block_add(number(1), "骚扰", Some(T0 + 1_000), "leader", T0).await.unwrap();
    let mut new = new_message(1, "k1", "哈哈", T0 + 1);
    new.answers = vec![answer(1, OutgoingPurpose::Progress, "答复", T0)];
    let taken = store.message_take(new).await.unwrap();
    let MessageTaken::New { state, conversation, message, .. } = taken else { panic!("{taken:?}") };
    assert_eq!((state, conversation), (MessageState::Refused, None));
    assert_eq!(store.message_get(message).await.unwrap().unwrap().text, "哈哈");
    assert!(store.outgoing_to("hash-1", 10).await.unwrap().is_empty());
    assert_eq!(store.blocks(false, T0 + 2, None, 10).await.unwrap().len(), 1);
    // It ends by itself, or by a person.
    let taken = store.message_take(new_message(1, "k2", "井盖", T0 + 1_000)).await.unwrap();
    assert!(matches!(taken, MessageTaken::New { state: MessageState::Taken, .. }), "{taken:?}");
    let longer = store.block_add(number(1), "骚扰", None, "leader", T0 + 2_000).await.unwrap();
    assert!(store.block_of("hash-1", T0 + 3_000).await.unwrap().is_some_and(|b| b.id == longer.id));
    assert!(!store.block_lift(block.id, "leader", T0 + 3_000).await.unwrap(), "replaced before");
    assert!(store.block_lift(longer.id, "leader", T0 + 3_000).await.unwrap());
    assert!(store.block_of("hash-1", T0 + 3_000).await.unwrap().is_none());
    assert_eq!(store.blocks(true, T0 + 3_000, None, 10).await.unwrap().len(), 2);
});

story!(our_own_text_come_back_is_known_and_td_stops_all_but_answers, |s: Stage| async move {
    let store = &s.store;
    store.message_take(new_message(1, "k0", "井盖没了", T0)).await.unwrap();
    let party = store.party_known(AddressKind::Phone, "hash-1").await.unwrap().unwrap();
    let mut receipt = answer(1, OutgoingPurpose::Receipt, "已收到您的反映", T0);
    receipt.party = Some(party.id);
    let leaving = NewOutgoing { text: "请补充地点".into(), ..receipt.clone() };
    store.outgoing_add(leaving, T0).await.unwrap().unwrap();
    let leaving = store.outgoing_claim("sms", T0, 1_000, 10).await.unwrap().remove(0);
    let waiting = store.outgoing_add(receipt.clone(), T0).await.unwrap().unwrap();
    let echo = store.message_take(new_message(1, "k1", "已收到您的反映", T0 + 5)).await.unwrap();
    assert!(matches!(echo, MessageTaken::New { state: MessageState::Automatic, conversation: None, .. }), "{echo:?}");

    let mut stop = new_message(1, "k2", "TD", T0 + 10);
    (stop.state, stop.planner, stop.stops_texts) = (MessageState::Command, None, true);
    stop.answers = vec![answer(1, OutgoingPurpose::Stop, "已退订", T0 + 10)];
    store.message_take(stop).await.unwrap();
    assert_eq!(store.outgoing_get(waiting).await.unwrap().unwrap().state, OutgoingState::Cancelled);
    assert!(store.outgoing_retry(&leaving, T0 + 15, "no link").await.unwrap());
    let left = store.outgoing_get(leaving.id).await.unwrap().unwrap();
    assert_eq!(left.state, OutgoingState::Cancelled, "not tried again");
    let later = store.outgoing_add(receipt, T0 + 20).await.unwrap().unwrap();
    assert_eq!(store.outgoing_get(later).await.unwrap().unwrap().state, OutgoingState::Cancelled);
    let mut progress = answer(1, OutgoingPurpose::Progress, "办理中", T0 + 30);
    progress.party = Some(party.id);
    store.outgoing_add(progress, T0 + 30).await.unwrap();
    let due = store.outgoing_claim("sms", T0 + 30, 1_000, 10).await.unwrap();
    let texts: Vec<_> = due.iter().map(|o| o.text.as_str()).collect();
    assert_eq!(texts, ["已退订", "办理中"]);
});

story!(a_supplement_reaches_its_item_and_what_came_with_it_too, |s: Stage| async move {
    let store = &s.store;
    let item = crate::stage::item(store, 1).await;
    let mut new = new_message(1, "k1", "补充:还有一处漏电", T0 + 10);
    new.supplement = Some(Supplement { item: item.id, named: false, work: None });
    new.red = true;
    new.place = Some(NewPlace { lon: 120.0, lat: 31.0, datum: "gcj02".into(), label: Some("人民路".into()) });
    let photo = NewAttachment { sha256: "ab".repeat(32), kind: "image/jpeg".into(), bytes: 1, ..Default::default() };
    store.attachment_put(photo).await.unwrap();
    new.media = vec![
        NewMedia { kind: MediaKind::File, sha256: Some("ab".repeat(32)), reference: None },
        NewMedia { kind: MediaKind::Image, sha256: None, reference: Some("media-1".into()) },
    ];
    let taken = store.message_take(new).await.unwrap();
    let MessageTaken::New { message, conversation: None, .. } = taken else { panic!("{taken:?}") };
    let row = store.message_get(message).await.unwrap().unwrap();
    assert_eq!((row.item, row.lat, row.datum.as_deref()), (Some(item.id), Some(31.0), Some("gcj02")));
    let grown = store.item_get(item.id).await.unwrap().unwrap();
    assert!(grown.detail.ends_with("\n补充:还有一处漏电") && grown.urgency == 2);
    assert_eq!(store.item_contacts(item.id).await.unwrap().len(), 2);

    let media = store.media_of_item(item.id).await.unwrap();
    assert_eq!(media[0].kind, MediaKind::Image, "the file's own row tells");
    assert_eq!((media.len(), media[0].state, media[1].state), (2, MediaState::Here, MediaState::Wanted));
    assert!(store.media_claim("wechat", T0 + 10, 1_000, 10).await.unwrap().is_empty());
    let claimed = store.media_claim("sms", T0 + 10, 1_000, 10).await.unwrap();
    assert_eq!((claimed.len(), claimed[0].reference.as_deref(), claimed[0].attempts), (1, Some("media-1"), 1));
    assert!(store.media_claim("sms", T0 + 11, 1_000, 10).await.unwrap().is_empty(), "leased");
    assert!(store.media_missed(claimed[0].id, Some(T0 + 500), "timeout").await.unwrap());
    let claimed = store.media_claim("sms", T0 + 500, 1_000, 10).await.unwrap();
    assert!(store.media_fetched(claimed[0].id, &"cd".repeat(32)).await.unwrap());
    assert!(!store.media_missed(claimed[0].id, None, "late").await.unwrap());
    assert_eq!(store.media_of_message(message).await.unwrap()[1].state, MediaState::Here);

    // An open conversation comes before the last item, unless the item is named.
    store.message_take(new_message(1, "k2", "路灯坏了", T0 + 20)).await.unwrap();
    let mut more = new_message(1, "k3", "补充:第三根", T0 + 30);
    more.supplement = Some(Supplement { item: item.id, named: false, work: None });
    let taken = store.message_take(more.clone()).await.unwrap();
    assert!(matches!(taken, MessageTaken::New { conversation: Some(_), .. }), "{taken:?}");
    (more.dedup_key, more.supplement) = ("k4".into(), Some(Supplement { item: item.id, named: true, work: None }));
    let taken = store.message_take(more).await.unwrap();
    assert!(matches!(taken, MessageTaken::New { conversation: None, .. }), "{taken:?}");
});

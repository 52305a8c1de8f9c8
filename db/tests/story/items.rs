//! Items: numbers, links, idempotency, limits.

use std::collections::HashSet;

use hotline_db::{ContactRole, DbError, HandoffKind, Id, ItemFilter, ItemHandoff, ItemState, NewItem, number};

use crate::stage::{CHINA, Stage, T0, call, item, new_item, party, story, to_ledger};

story!(an_item_gets_its_numbers_its_link_and_its_handoff_at_once, |s: Stage| async move {
    let store = &s.store;
    let citizen = party(store, 1).await;
    let call = call(store, Some(citizen.id)).await;
    let new = new_item(Some(call.contact));
    let (item, created) = store.item_create(new, to_ledger(), T0, CHINA).await.unwrap();
    assert!(created);
    assert!(item.acceptance_no.starts_with("330106260302100001"), "{}", item.acceptance_no);
    assert!(number::is_acceptance_no(&item.acceptance_no));
    assert!(number::is_query_code(&item.query_code));
    assert_eq!((item.party, item.state), (Some(citizen.id), ItemState::Registered));

    let contacts = store.item_contacts(item.id).await.unwrap();
    assert_eq!((contacts[0].role, contacts[0].rank), (ContactRole::First, 1));
    assert_eq!(store.call_get(call.id).await.unwrap().unwrap().item, Some(item.id));
    let rows = store.handoffs_of_item(item.id).await.unwrap();
    assert_eq!((rows.len(), rows[0].kind), (1, HandoffKind::Create));
    assert_eq!(rows[0].payload["acceptance_no"], item.acceptance_no.as_str());

    let by_no = store.item_by_acceptance_no(&item.acceptance_no).await.unwrap().unwrap();
    let by_code = store.item_by_query_code(&item.query_code).await.unwrap().unwrap();
    assert_eq!((by_no.id, by_code.id), (item.id, item.id));
    assert_eq!(store.item_last_of_party(citizen.id).await.unwrap().unwrap().id, item.id);
});

story!(the_same_request_makes_one_item, |s: Stage| async move {
    let store = &s.store;
    let call = call(store, None).await;
    let keyed = NewItem { idempotency_key: Some("form-1".into()), ..new_item(None) };
    let tasks: Vec<_> = (0..16)
        .map(|n| {
            let store = store.clone();
            let new = if n % 2 == 0 { keyed.clone() } else { new_item(Some(call.contact)) };
            tokio::spawn(async move { store.item_create(new, to_ledger(), T0, CHINA).await.unwrap() })
        })
        .collect();
    let mut ids = HashSet::new();
    let mut made = 0;
    for task in tasks {
        let (item, created) = task.await.unwrap();
        ids.insert(item.id);
        made += i32::from(created);
    }
    assert_eq!((ids.len(), made), (2, 2), "one by its key, one by its first contact");
    assert_eq!(store.handoff_counts().await.unwrap().pending, 2);
});

story!(numbers_are_counted_per_day_channel_and_region, |s: Stage| async move {
    let store = &s.store;
    let mut seen = HashSet::new();
    let tail = |no: &str| no[12..18].to_owned();
    for _ in 0..3 {
        let (item, _) = store.item_create(new_item(None), None, T0, CHINA).await.unwrap();
        assert!(seen.insert((item.acceptance_no, item.query_code)));
    }
    let tomorrow = T0 + 86_400_000;
    let (item, _) = store.item_create(new_item(None), None, tomorrow, CHINA).await.unwrap();
    assert_eq!(tail(&item.acceptance_no), "100001");
    let sms = NewItem { channel: 2, ..new_item(None) };
    let (item, _) = store.item_create(sms, None, T0, CHINA).await.unwrap();
    assert_eq!(tail(&item.acceptance_no), "200001");
    let (item, _) = store.item_create(new_item(None), None, T0, CHINA).await.unwrap();
    assert_eq!(tail(&item.acceptance_no), "100004");
});

story!(the_hundred_thousandth_item_of_a_day_is_refused_whole, |s: Stage| async move {
    s.raw("INSERT INTO counter (name, value) VALUES ('item:330106:260302:1', 99998)").await.unwrap();
    assert!(s.store.item_create(new_item(None), None, T0, CHINA).await.is_ok());
    for _ in 0..2 {
        let full = s.store.item_create(new_item(None), None, T0, CHINA).await;
        assert!(matches!(full, Err(DbError::Exhausted(_))), "{full:?}");
    }
    let all = s.store.items(ItemFilter { limit: 200, ..ItemFilter::default() }).await.unwrap();
    assert_eq!(all.len(), 1);
});

story!(a_bad_field_or_a_failing_payload_leaves_nothing, |s: Stage| async move {
    let store = &s.store;
    let bad = [
        NewItem { region: "33010".into(), ..new_item(None) },
        NewItem { urgency: 0, ..new_item(None) },
        NewItem { title: "长".repeat(257), ..new_item(None) },
        NewItem { detail: "a\0b".into(), ..new_item(None) },
        NewItem { lon: Some(f64::NAN), lat: Some(0.0), ..new_item(None) },
        NewItem { lon: Some(120.1), ..new_item(None) },
    ];
    for new in bad {
        let answer = store.item_create(new, to_ledger(), T0, CHINA).await;
        assert!(matches!(answer, Err(DbError::Invalid { .. })), "{answer:?}");
    }
    let unknown = store.item_create(new_item(Some(Id::new())), to_ledger(), T0, CHINA).await;
    assert!(matches!(unknown, Err(DbError::NotFound)), "{unknown:?}");
    let bug = ItemHandoff { target: "x".into(), payload: Box::new(|_| panic!("a bug")) };
    let answer = store.item_create(new_item(None), Some(bug), T0, CHINA).await;
    assert!(matches!(answer, Err(DbError::Conflict(_))), "{answer:?}");
    assert!(store.items(ItemFilter { limit: 10, ..Default::default() }).await.unwrap().is_empty());
    assert_eq!(store.handoff_counts().await.unwrap().pending, 0);
});

story!(further_contacts_keep_their_rank, |s: Stage| async move {
    let store = &s.store;
    let item = item(store, 1).await;
    let neighbour = call(store, None).await;
    let urging = call(store, None).await;
    let add = |contact, role| store.item_contact_add(item.id, contact, role, T0);
    assert!(add(neighbour.contact, ContactRole::CoReport).await.unwrap());
    assert!(!add(neighbour.contact, ContactRole::Urge).await.unwrap(), "linked once");
    store.call_set_item(urging.id, item.id, T0).await.unwrap();
    let contacts = store.item_contacts(item.id).await.unwrap();
    let told: Vec<_> = contacts.iter().map(|c| (c.rank, c.role)).collect();
    assert_eq!(told, [(1, ContactRole::First), (2, ContactRole::CoReport), (3, ContactRole::Supplement)]);
});

story!(items_are_listed_and_filtered, |s: Stage| async move {
    let store = &s.store;
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(item(store, n).await.id);
    }
    let page = ItemFilter { limit: 2, ..ItemFilter::default() };
    let first = store.items(page.clone()).await.unwrap();
    assert_eq!(first.iter().map(|i| i.id).collect::<Vec<_>>(), [ids[4], ids[3]]);
    let next = store.items(ItemFilter { before: Some(ids[3]), ..page.clone() }).await.unwrap();
    assert_eq!(next.iter().map(|i| i.id).collect::<Vec<_>>(), [ids[2], ids[1]]);
    let none = ItemFilter { state: Some(ItemState::Closed), ..page };
    assert!(store.items(none).await.unwrap().is_empty());
    assert!(store.item_by_query_code("' OR 1=1").await.unwrap().is_none());
});

//! One incident, several reports: found, merged, taken apart, with one order of arrival throughout.

use hotline_db::{
    CallbackFilter, CallbackKind, CaseEvent, CaseStage, ContactRole, DbError, Direction, HandoffKind, HandoffState, Id,
    Item, ItemState, LinkAction, LinkDecision, NewAnnouncement, NewCallback, NewContact, NewHandoff, NewInspection,
    NewItem, NewSplit, NewSurvey, Probe, Store,
};
use serde_json::json;

use crate::stage::{CHINA, Stage, T0, new_item, party, story, to_ledger};

const HERE: (f64, f64) = (120.1302, 30.2741);

pub(crate) fn by(actor: Option<Id>) -> LinkDecision {
    LinkDecision {
        actor,
        score: Some(91),
        reasons: json!([{ "what": "distance", "points": 45 }]),
        note: Some("同一井盖".into()),
        at: T0 + 1_000,
        target: "ledger".into(),
        tell: Box::new(
            |action, item, target| json!({ "note": action, "of": target.acceptance_no, "no": item.acceptance_no }),
        ),
    }
}

pub(crate) async fn contact(store: &Store, channel: &str, party: Option<Id>, at: i64) -> hotline_db::Contact {
    let new = NewContact {
        channel: channel.into(),
        direction: Direction::Inbound,
        arrived_at: at,
        provider_time: None,
        party,
        raw_ref: None,
    };
    store.contact_add(new).await.unwrap()
}

/// A report of citizen `n` over a channel, with its item.
pub(crate) async fn report(store: &Store, channel: &str, n: u32) -> (Item, i64) {
    let who = party(store, n).await;
    let contact = contact(store, channel, Some(who.id), T0 + i64::from(n)).await;
    let new = NewItem {
        lon: Some(HERE.0),
        lat: Some(HERE.1),
        class_code: Some("01101".into()),
        kind: "举报".into(),
        ..new_item(Some(contact.id))
    };
    (store.item_create(new, to_ledger(), T0 + i64::from(n), CHINA).await.unwrap().0, contact.seq)
}

async fn order(store: &Store, item: Id) -> Vec<i64> {
    store.incident_reporters(item).await.unwrap().into_iter().map(|r| r.seq).collect()
}

async fn state(store: &Store, item: Id) -> ItemState {
    store.item_get(item).await.unwrap().unwrap().state
}

async fn deliver_all(store: &Store, at: i64) -> Vec<(Id, HandoffKind)> {
    let mut sent = Vec::new();
    loop {
        let rows = store.handoff_claim("ledger", at, 1_000, 10).await.unwrap();
        if rows.is_empty() {
            return sent;
        }
        for row in rows {
            let case_no = row.case_no.clone().unwrap_or(format!("C-{}", row.item));
            store.handoff_delivered(row.id, &case_no, at).await.unwrap();
            sent.push((row.item, row.kind));
        }
    }
}

story!(reports_near_in_place_and_time_are_candidates, |s: Stage| async move {
    let store = &s.store;
    let (one, _) = report(store, "phone", 1).await;
    let (two, _) = report(store, "sms", 2).await;
    let words = NewItem { location_text: Some("西湖区文三路与学院路口".into()), ..new_item(None) };
    let (by_words, _) = store.item_create(words, None, T0, CHINA).await.unwrap();
    let far = NewItem {
        lon: Some(HERE.0 + 0.05),
        lat: Some(HERE.1),
        location_text: Some("通江大道".into()),
        ..new_item(None)
    };
    store.item_create(far, None, T0, CHINA).await.unwrap();
    let probe = Probe {
        position: Some(HERE),
        radius_m: 120.0,
        location_text: Some("文三路".into()),
        from_at: T0 - 1_000,
        to_at: T0 + 1_000,
        except: Some(one.id),
    };
    let mut found: Vec<Id> = store.incident_candidates(probe.clone()).await.unwrap().iter().map(|c| c.id).collect();
    found.sort();
    assert_eq!(found, [two.id, by_words.id]);
    let later = Probe { from_at: T0 + 5_000, to_at: T0 + 6_000, ..probe.clone() };
    assert!(store.incident_candidates(later).await.unwrap().is_empty());
    let nowhere = Probe { position: None, location_text: None, ..probe };
    assert!(store.incident_candidates(nowhere).await.unwrap().is_empty());
    assert_eq!(store.incidents_due(10).await.unwrap().len(), 4);
    store.incident_checked(one.id).await.unwrap();
    assert_eq!(store.incidents_due(10).await.unwrap().len(), 3);
    store.incidents_due_clear().await.unwrap();
    assert!(store.incidents_due(10).await.unwrap().is_empty());
});

story!(in_a_crowded_place_the_newest_are_candidates, |s: Stage| async move {
    let store = &s.store;
    let mut made = Vec::new();
    for n in 0..70 {
        let new = NewItem { lon: Some(HERE.0), lat: Some(HERE.1), location_text: None, ..new_item(None) };
        made.push(store.item_create(new, None, T0 + n, CHINA).await.unwrap().0.id);
    }
    let probe = Probe {
        position: Some(HERE),
        radius_m: 120.0,
        location_text: None,
        from_at: T0,
        to_at: T0 + 68,
        except: Some(made[68]),
    };
    let mut found: Vec<Id> = store.incident_candidates(probe.clone()).await.unwrap().iter().map(|c| c.id).collect();
    found.sort();
    assert_eq!(found, made[5..68], "64 of the 69 within the time, the asking one among them");
    let few = Probe { to_at: T0 + 2, except: None, ..probe.clone() };
    assert_eq!(store.incident_candidates(few).await.unwrap().len(), 3);
    // What reached us in the same millisecond isn't told apart by its age.
    let new = NewItem { lon: Some(HERE.0), lat: Some(HERE.1), location_text: None, ..new_item(None) };
    store.item_create(new, None, T0 + 10, CHINA).await.unwrap();
    let around = Probe { from_at: T0 + 10, to_at: T0 + 10, except: None, ..probe };
    assert_eq!(store.incident_candidates(around).await.unwrap().len(), 2);
});

story!(the_roots_of_many_are_one_question, |s: Stage| async move {
    let store = &s.store;
    let mut items = Vec::new();
    for n in 1..=5 {
        items.push(report(store, "sms", n).await.0);
    }
    let [a, b, c, d, alone] = &items[..] else { panic!("five") };
    for (item, into) in [(a, b), (b, c), (d, c)] {
        store.incident_merge(item.id, into.id, by(None)).await.unwrap();
    }
    let asked = [a.id, b.id, d.id, alone.id, Id::new()];
    let mut roots = store.incident_roots(&asked).await.unwrap();
    roots.sort();
    let above = |item: &Item, root: &Item| (item.id, root.id, root.acceptance_no.clone());
    assert_eq!(roots, [above(a, c), above(b, c), above(d, c), above(alone, alone)]);
    assert!(store.incident_roots(&[]).await.unwrap().is_empty());
});

story!(merge_split_and_merge_again_keeps_the_first_reporter, |s: Stage| async move {
    let store = &s.store;
    let (phone, a) = report(store, "phone", 1).await;
    let (sms, b) = report(store, "sms", 2).await;
    let (wechat, c) = report(store, "wechat", 3).await;
    // Into the later one: the order doesn't care.
    store.incident_merge(phone.id, sms.id, by(None)).await.unwrap();
    store.incident_merge(wechat.id, phone.id, by(None)).await.unwrap();
    assert_eq!(order(store, wechat.id).await, [a, b, c]);
    assert_eq!(store.incident_root(wechat.id).await.unwrap().id, sms.id);
    assert_eq!(store.incident_members(phone.id).await.unwrap().len(), 3);
    store.incident_detach(phone.id, by(None)).await.unwrap();
    assert_eq!((order(store, phone.id).await, order(store, sms.id).await), (vec![a], vec![b, c]));
    store.incident_merge(sms.id, phone.id, by(None)).await.unwrap();
    assert_eq!(order(store, sms.id).await, [a, b, c]);
    let again = store.incident_merge(wechat.id, phone.id, by(None)).await;
    assert!(matches!(again, Err(DbError::Conflict(_))), "{again:?}");
    let none = store.incident_detach(phone.id, by(None)).await;
    assert!(matches!(none, Err(DbError::Conflict(_))), "{none:?}");
    let kept: Vec<_> = store.item_links(phone.id).await.unwrap().into_iter().map(|l| l.action).collect();
    let (merge, detach) = (LinkAction::Merge, LinkAction::Detach);
    assert_eq!(kept, [merge, detach, merge], "every step is kept");
    assert!(store.incident_kept_apart(phone.id, sms.id).await.unwrap());
    assert!(!store.incident_kept_apart(wechat.id, sms.id).await.unwrap());
});

story!(contacts_split_off_become_an_item_and_come_back_in_order, |s: Stage| async move {
    let store = &s.store;
    let (item, a) = report(store, "phone", 1).await;
    let (b, c) =
        (contact(store, "sms", Some(party(store, 2).await.id), T0).await, contact(store, "web", None, T0).await);
    store.item_contact_add(item.id, c.id, ContactRole::CoReport, T0).await.unwrap();
    store.item_contact_add(item.id, b.id, ContactRole::CoReport, T0).await.unwrap();
    let ranks: Vec<_> = store.item_contacts(item.id).await.unwrap().iter().map(|k| (k.seq, k.rank, k.role)).collect();
    let co = ContactRole::CoReport;
    assert_eq!(ranks, [(a, 1, ContactRole::First), (b.seq, 2, co), (c.seq, 3, co)], "by arrival, not by linking");
    let first = item.first_contact.unwrap();
    let all = NewSplit { item: item.id, contacts: vec![first, b.id, c.id], title: None };
    let refused = store.incident_split(all, by(None), to_ledger(), CHINA).await;
    assert!(matches!(refused, Err(DbError::Invalid { .. })), "{refused:?}");
    let foreign = NewSplit { item: item.id, contacts: vec![first, Id::new()], title: None };
    assert!(store.incident_split(foreign, by(None), to_ledger(), CHINA).await.is_err());
    // The first reporter meant something else.
    let some = NewSplit { item: item.id, contacts: vec![first, c.id], title: Some("路灯".into()) };
    let (made, link) = store.incident_split(some, by(None), to_ledger(), CHINA).await.unwrap();
    assert_eq!((made.title.as_str(), made.party, link.action), ("路灯", item.party, LinkAction::Split));
    assert_eq!((order(store, made.id).await, order(store, item.id).await), (vec![a, c.seq], vec![b.seq]));
    assert_eq!(store.item_get(item.id).await.unwrap().unwrap().first_contact, Some(b.id));
    assert_eq!(store.item_contacts(item.id).await.unwrap()[0].role, ContactRole::First);
    store.incident_merge(made.id, item.id, by(None)).await.unwrap();
    assert_eq!(order(store, item.id).await, [a, b.seq, c.seq]);
});

story!(the_case_core_gets_one_case_of_one_incident, |s: Stage| async move {
    let store = &s.store;
    let (one, _) = report(store, "phone", 1).await;
    let (two, _) = report(store, "sms", 2).await;
    store.incident_merge(two.id, one.id, by(None)).await.unwrap();
    assert_eq!(store.handoffs_of_item(two.id).await.unwrap()[0].state, HandoffState::Withdrawn);
    assert_eq!(deliver_all(store, T0 + 100).await, [(one.id, HandoffKind::Create)]);
    assert_eq!(deliver_all(store, T0 + 1_000).await, [(one.id, HandoffKind::Remind)]);
    assert_eq!(store.handoff_backlog().await.unwrap().pending, 0);
    // Taken apart, it is handed off after all.
    store.incident_detach(two.id, by(None)).await.unwrap();
    let mut sent = deliver_all(store, T0 + 2_000).await;
    sent.sort_by_key(|(item, _)| *item);
    assert_eq!(sent, [(one.id, HandoffKind::Remind), (two.id, HandoffKind::Create)]);
    assert_eq!(state(store, two.id).await, ItemState::HandedOff);
    // Merged once both are cases: both are told.
    store.incident_merge(two.id, one.id, by(None)).await.unwrap();
    let mut sent = deliver_all(store, T0 + 3_000).await;
    sent.sort_by_key(|(item, _)| *item);
    assert_eq!(sent, [(one.id, HandoffKind::Remind), (two.id, HandoffKind::Remind)]);
});

async fn finished(store: &Store, case_no: &str, n: i64) {
    let event = CaseEvent {
        event_id: format!("e{n}"),
        case_no: case_no.into(),
        item: None,
        stage: CaseStage::Handled,
        at: T0 + 10_000 + n,
        note: None,
    };
    let ask = NewCallback::new(CallbackKind::CaseFinished, T0 + 60_000);
    assert!(store.case_event_apply(event, Some(ask)).await.unwrap());
}

async fn asks(store: &Store, item: Id) -> Vec<hotline_db::CallbackTask> {
    let filter = CallbackFilter { limit: 50, item: Some(item), ..CallbackFilter::default() };
    store.callbacks(filter).await.unwrap()
}

fn verdict(task: Id, kind: HandoffKind, at: i64) -> (NewSurvey, Option<NewHandoff>) {
    let new = NewSurvey { task: Some(task), satisfied: Some(1), at, ..NewSurvey::default() };
    let handoff = NewHandoff {
        target: "ledger".into(),
        kind,
        payload: json!({}),
        idempotency_key: Some(format!("{kind}-{task}")),
    };
    (new, Some(handoff))
}

story!(every_citizen_of_a_merged_incident_is_asked_once_and_one_case_is_closed, |s: Stage| async move {
    let store = &s.store;
    let (one, _) = report(store, "phone", 1).await;
    let (two, _) = report(store, "sms", 2).await;
    let (same, _) = report(store, "web", 1).await;
    store.incident_merge(two.id, one.id, by(None)).await.unwrap();
    store.incident_merge(same.id, one.id, by(None)).await.unwrap();
    deliver_all(store, T0 + 1_000).await;
    for item in [one.id, two.id, same.id] {
        assert_eq!(state(store, item).await, ItemState::HandedOff, "what was merged goes along");
    }
    finished(store, &format!("C-{}", one.id), 1).await;
    assert_eq!((asks(store, one.id).await.len(), asks(store, two.id).await.len()), (1, 1));
    assert!(asks(store, same.id).await.is_empty(), "one call per citizen");
    assert_eq!(state(store, two.id).await, ItemState::AwaitingCallback);
    let task = asks(store, two.id).await[0].id;
    let (survey, close) = verdict(task, HandoffKind::Close, T0 + 20_000);
    store.survey_store(survey, close, None).await.unwrap();
    assert_eq!((state(store, one.id).await, state(store, two.id).await), (ItemState::Closed, ItemState::Closed));
    let task = asks(store, one.id).await[0].id;
    let (survey, reopen) = verdict(task, HandoffKind::Reopen, T0 + 21_000);
    store.survey_store(survey, reopen, None).await.unwrap();
    assert_eq!((state(store, one.id).await, state(store, two.id).await), (ItemState::Reopened, ItemState::Reopened));
    assert_eq!(
        deliver_all(store, T0 + 22_000).await,
        [(one.id, HandoffKind::Close), (one.id, HandoffKind::Reopen)],
        "all about the one case"
    );
    let closed = store.incident_merge(one.id, two.id, by(None)).await;
    assert!(matches!(closed, Err(DbError::Conflict(_))), "one incident already");
});

story!(a_report_merged_while_citizens_are_asked_is_asked_too, |s: Stage| async move {
    let store = &s.store;
    let (one, _) = report(store, "phone", 1).await;
    deliver_all(store, T0 + 100).await;
    finished(store, &format!("C-{}", one.id), 1).await;
    let (two, _) = report(store, "sms", 2).await;
    store.incident_merge(two.id, one.id, by(None)).await.unwrap();
    assert_eq!(asks(store, two.id).await.len(), 1);
});

story!(an_inspector_is_numbered_among_the_citizens, |s: Stage| async move {
    let store = &s.store;
    let (item, a) = report(store, "phone", 1).await;
    let found = |id: &str, item| NewInspection {
        external_id: id.into(),
        inspector: "巡查一队".into(),
        arrived_at: T0,
        found_at: Some(T0 - 60_000),
        item,
        ..NewInspection::default()
    };
    let (inspection, fresh) = store.inspection_add(found("x1", Some(item.id))).await.unwrap();
    assert!(fresh && inspection.seq > a);
    assert!(!store.inspection_add(found("x1", None)).await.unwrap().1, "the same finding again");
    let (late, b) = report(store, "sms", 2).await;
    assert!(b > inspection.seq);
    assert_eq!(store.inspection_first(item.id).await.unwrap().unwrap().seq, inspection.seq);
    assert!(store.inspection_first(late.id).await.unwrap().is_none());
    store.incident_merge(late.id, item.id, by(None)).await.unwrap();
    assert_eq!(store.inspection_first(late.id).await.unwrap().unwrap().seq, inspection.seq);
    let (other, _) = store.inspection_add(found("x2", None)).await.unwrap();
    store.inspection_link(other.id, Some(item.id), None, T0).await.unwrap();
    assert_eq!(store.inspection_first(item.id).await.unwrap().unwrap().id, inspection.id, "the earlier one");
    let nowhere = store.inspection_add(found("x3", Some(Id::new()))).await;
    assert!(matches!(nowhere, Err(DbError::NotFound)), "{nowhere:?}");
});

story!(an_incident_is_announced_until_it_ends, |s: Stage| async move {
    let store = &s.store;
    let (item, _) = report(store, "phone", 1).await;
    let new = |item, hotline: &str| NewAnnouncement {
        item,
        hotline: hotline.into(),
        prompt: "incident_flood".into(),
        made_by: None,
        from_at: T0,
        until_at: T0 + 60_000,
    };
    store.announcement_add(new(item.id, "12319")).await.unwrap();
    store.announcement_add(new(item.id, "")).await.unwrap();
    assert_eq!(store.announcements(None, T0 + 1).await.unwrap().len(), 1, "said again, it replaces");
    assert_eq!(store.announcements(Some("12345"), T0 + 1).await.unwrap().len(), 1);
    assert!(store.announcements(None, T0 + 60_000).await.unwrap().is_empty());
    assert!(store.announcement_end(item.id, None, T0 + 2).await.unwrap());
    assert!(!store.announcement_end(item.id, None, T0 + 3).await.unwrap());
    assert!(store.announcements(None, T0 + 4).await.unwrap().is_empty());
    for n in 0..5 {
        let (item, _) = report(store, "sms", 10 + n).await;
        store.announcement_add(new(item.id, "")).await.unwrap();
    }
    let (sixth, _) = report(store, "sms", 30).await;
    let full = store.announcement_add(new(sixth.id, "")).await;
    assert!(matches!(full, Err(DbError::Conflict(_))), "{full:?}");
});

story!(any_sequence_of_merges_and_splits_keeps_the_order, |s: Stage| async move {
    let store = &s.store;
    let mut items = Vec::new();
    let mut seqs = std::collections::HashMap::new();
    for n in 0..8 {
        let (item, seq) = report(store, ["phone", "sms", "wechat", "web"][n as usize % 4], n).await;
        seqs.insert(item.id, seq);
        items.push(item.id);
    }
    // What each item points to, as a model.
    let mut above: std::collections::HashMap<Id, Id> = std::collections::HashMap::new();
    let root = |above: &std::collections::HashMap<Id, Id>, mut id: Id| {
        while let Some(next) = above.get(&id) {
            id = *next;
        }
        id
    };
    let mut random = 88_172_645_463_325_252_u64;
    let mut draw = |n: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % n as u64) as usize
    };
    for _ in 0..60 {
        let (a, b) = (items[draw(8)], items[draw(8)]);
        if draw(3) > 0 {
            let (from, to) = (root(&above, a), root(&above, b));
            let done = store.incident_merge(a, b, by(None)).await;
            assert_eq!(done.is_ok(), from != to, "{done:?}");
            if from != to {
                above.insert(from, to);
            }
        } else {
            let done = store.incident_detach(a, by(None)).await;
            assert_eq!(done.is_ok(), above.remove(&a).is_some(), "{done:?}");
        }
        let probe = items[draw(8)];
        let mut wanted: Vec<i64> =
            items.iter().filter(|i| root(&above, **i) == root(&above, probe)).map(|i| seqs[i]).collect();
        wanted.sort_unstable();
        assert_eq!(order(store, probe).await, wanted);
        assert_eq!(store.incident_root(probe).await.unwrap().id, root(&above, probe));
    }
    for item in &items {
        let _ = store.incident_detach(*item, by(None)).await;
    }
    for item in &items {
        assert_eq!(order(store, *item).await, [seqs[item]], "as if nothing had been");
        let creates = store.handoffs_of_item(*item).await.unwrap();
        assert_eq!(creates[0].state, HandoffState::Pending);
        assert_eq!(state(store, *item).await, ItemState::Registered);
    }
});

story!(an_item_that_cant_be_compared_waits_behind_the_others, |s: Stage| async move {
    let one = crate::stage::item(&s.store, 1).await;
    let two = crate::stage::item(&s.store, 2).await;
    assert_eq!(s.store.incidents_due(10).await.unwrap().len(), 2);
    s.store.incident_later(one.id, T0 + 1).await.unwrap();
    assert_eq!(s.store.incidents_due(10).await.unwrap(), [two.id, one.id]);
});

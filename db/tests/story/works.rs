//! The operators' queue: one order, one holder, nothing lost.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, atomic::AtomicI64, atomic::Ordering};

use hotline_db::{
    DbError, HandoffKind, Id, Item, ItemState, NewWork, Store, Work, WorkDesk, WorkFilter, WorkKind, WorkPerson,
    WorkResult, WorkTarget, WorkTimes, WorkView, WorkVoid, work_lane,
};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::incidents::by;
use crate::stage::{Stage, T0, call, item, story};

const MIN: i64 = 60_000;
const LEASE: i64 = 90_000;
const TIMES: WorkTimes =
    WorkTimes { acknowledge_ms: Some(3 * MIN), handle_ms: [5 * MIN, 10 * MIN, 60 * MIN, 240 * MIN, 480 * MIN] };

pub(crate) fn new_work(key: impl Into<String>, urgency: i64, seq: i64) -> NewWork {
    NewWork {
        kind: WorkKind::Check,
        dedup_key: key.into(),
        item: None,
        contact: None,
        conversation: None,
        channel: "sms".into(),
        red: false,
        urgency,
        seq,
        arrived_at: T0 + seq,
        times: TIMES,
        desk: WorkDesk::Operators,
        excluded: None,
    }
}

pub(crate) async fn add(store: &Store, new: NewWork) -> Id {
    store.work_add(new, T0).await.unwrap().unwrap()
}

fn operator() -> WorkPerson {
    WorkPerson { id: Id::new(), leader: false }
}

fn leader() -> WorkPerson {
    WorkPerson { id: Id::new(), leader: true }
}

fn page(who: WorkPerson, view: WorkView) -> WorkFilter {
    WorkFilter { who, view, kind: None, channel: None, after: None, limit: 200 }
}

fn conflict<T: std::fmt::Debug>(answer: Result<T, DbError>) {
    assert!(matches!(answer, Err(DbError::Conflict(_))), "{answer:?}");
}

story!(red_comes_first_then_urgency_then_arrival, |s: Stage| async move {
    let store = &s.store;
    let later = add(store, new_work("a", 4, 2)).await;
    let earlier = add(store, new_work("b", 4, 1)).await;
    let urgent = add(store, new_work("c", 2, 3)).await;
    let red = add(store, NewWork { red: true, ..new_work("d", 2, 4) }).await;
    assert_eq!(store.work_add(new_work("a", 1, 9), T0).await.unwrap(), None, "one cause, one piece of work");

    let mut taken = Vec::new();
    for _ in 0..4 {
        let who = operator();
        taken.push(store.work_next(who, T0, LEASE).await.unwrap().unwrap().id);
    }
    assert_eq!(taken, [red, urgent, earlier, later]);
    assert_eq!(store.work_next(operator(), T0, LEASE).await.unwrap(), None);
});

story!(a_lapsed_lease_returns_the_work_to_its_old_place, |s: Stage| async move {
    let store = &s.store;
    let (x, y) = (operator(), operator());
    let first = add(store, new_work("a", 4, 1)).await;
    let second = add(store, new_work("b", 4, 2)).await;
    assert_eq!(store.work_next(x, T0, LEASE).await.unwrap().unwrap().id, first);
    assert_eq!(store.work_next(x, T0 + 1, LEASE).await.unwrap().unwrap().id, first, "asked again: the same");
    store.work_renew(first, x, T0 + 50_000, LEASE).await.unwrap();
    assert_eq!(store.work_next(y, T0 + LEASE + 1, LEASE).await.unwrap().unwrap().id, second, "renewed");
    store.work_release(second, y, T0 + LEASE + 2).await.unwrap();
    let late = T0 + 50_000 + LEASE;
    assert_eq!(store.work_next(y, late, LEASE).await.unwrap().unwrap().id, first, "lapsed, ahead of the second");
    conflict(store.work_renew(first, x, late, LEASE).await);
    conflict(store.work_done(first, x, WorkResult::Void, None, late).await);
    conflict(store.work_take(first, x, late, LEASE).await);
    let events = store.work_events(first).await.unwrap();
    assert_eq!(events.iter().map(|e| e.kind.as_str()).collect::<Vec<_>>(), ["taken", "taken"]);
    assert_eq!(events[1].data["lapsed"], serde_json::json!(x.id));
});

story!(steps_repeated_after_a_lost_answer_change_nothing, |s: Stage| async move {
    let store = &s.store;
    let (x, y) = (operator(), operator());
    let id = add(store, new_work("a", 3, 1)).await;
    for _ in 0..2 {
        assert_eq!(store.work_take(id, x, T0, LEASE).await.unwrap().holder, Some(x.id));
    }
    for _ in 0..2 {
        assert_eq!(store.work_release(id, x, T0 + 1).await.unwrap().holder, None);
    }
    store.work_take(id, x, T0 + 2, LEASE).await.unwrap();
    for _ in 0..2 {
        let passed = store.work_transfer(id, x, WorkTarget::Leader, Some("投诉受理员"), T0 + 3).await.unwrap();
        assert_eq!((passed.desk, passed.holder, passed.note.as_deref()), (WorkDesk::Leader, None, Some("投诉受理员")));
    }
    conflict(store.work_transfer(id, y, WorkTarget::Leader, None, T0 + 3).await);
    let boss = leader();
    store.work_take(id, boss, T0 + 4, LEASE).await.unwrap();
    for _ in 0..2 {
        let done = store.work_done(id, boss, WorkResult::Answered, None, T0 + 5).await.unwrap();
        assert_eq!((done.result, done.done_at), (Some(WorkResult::Answered), Some(T0 + 5)));
    }
    conflict(store.work_done(id, boss, WorkResult::Void, None, T0 + 6).await);
    conflict(store.work_take(id, boss, T0 + 6, LEASE).await);
    assert_eq!(store.work_events(id).await.unwrap().len(), 6);
});

fn void() -> WorkVoid {
    let tell = Box::new(|item: &Item| serde_json::json!({ "note": "作废", "acceptance_no": item.acceptance_no }));
    WorkVoid { target: "ledger".into(), tell }
}

/// Work about a new item, in somebody's hand.
async fn in_hand(store: &Store, citizen: u32, who: WorkPerson) -> (Item, Id) {
    let item = item(store, citizen).await;
    let work = add(store, NewWork { item: Some(item.id), ..new_work(format!("of {citizen}"), 3, 1) }).await;
    store.work_take(work, who, T0, LEASE).await.unwrap();
    (item, work)
}

story!(void_work_makes_its_item_void_once, |s: Stage| async move {
    let (store, who) = (&s.store, operator());
    let (fresh, work) = in_hand(store, 1, who).await;
    for at in [T0 + 1, T0 + 2] {
        let done = store.work_void(work, who, void(), Some("误报"), at).await.unwrap();
        assert_eq!((done.result, done.done_at), (Some(WorkResult::Void), Some(T0 + 1)));
        let item = store.item_get(fresh.id).await.unwrap().unwrap();
        assert_eq!((item.state, item.state_at), (ItemState::Void, T0 + 1));
    }
    assert!(store.handoff_claim("ledger", T0 + 9, LEASE, 9).await.unwrap().is_empty(), "it makes no case any more");
    conflict(store.work_merge(work, who, None, by(None), None).await);

    // What the case core may have by now is void too, and the case core is told.
    let (sent, work) = in_hand(store, 2, who).await;
    let create = store.handoff_claim("ledger", T0 + 9, LEASE, 9).await.unwrap();
    assert_eq!(create.len(), 1);
    store.work_void(work, who, void(), None, T0 + 10).await.unwrap();
    let told = store.handoffs_of_item(sent.id).await.unwrap();
    let kinds: Vec<HandoffKind> = told.iter().map(|h| h.kind).collect();
    assert_eq!(kinds, [HandoffKind::Create, HandoffKind::Remind]);
    assert_eq!(told[1].payload.0["note"], "作废");
});

story!(merged_work_merges_its_item_or_nothing_happens, |s: Stage| async move {
    let (store, who) = (&s.store, operator());
    let (first, _) = in_hand(store, 1, operator()).await;
    let (second, work) = in_hand(store, 2, who).await;
    conflict(store.work_merge(work, who, None, by(None), None).await);
    conflict(store.work_merge(work, who, Some(second.id), by(None), None).await);
    assert_eq!(store.work_get(work).await.unwrap().unwrap().done_at, None, "still to do");
    for _ in 0..2 {
        let done = store.work_merge(work, who, Some(first.id), by(Some(who.id)), None).await.unwrap();
        assert_eq!(done.result, Some(WorkResult::Merged));
        assert_eq!(store.item_get(second.id).await.unwrap().unwrap().merged_into, Some(first.id));
    }
    // What others were merged into isn't made void behind their backs.
    let of_first = add(store, NewWork { item: Some(first.id), ..new_work("again", 3, 1) }).await;
    store.work_take(of_first, who, T0, LEASE).await.unwrap();
    conflict(store.work_void(of_first, who, void(), None, T0 + 5).await);
    assert_ne!(store.item_get(first.id).await.unwrap().unwrap().state, ItemState::Void);
    // Merged before, by hand: the work only ends.
    let of_second = add(store, NewWork { item: Some(second.id), ..new_work("dup", 3, 1) }).await;
    store.work_take(of_second, who, T0, LEASE).await.unwrap();
    store.work_merge(of_second, who, None, by(None), None).await.unwrap();
});

story!(work_passed_on_waits_for_its_person_until_it_is_late, |s: Stage| async move {
    let store = &s.store;
    let (x, y, z) = (operator(), operator(), operator());
    let id = add(store, new_work("a", 3, 0)).await;
    store.work_take(id, x, T0, LEASE).await.unwrap();
    store.work_transfer(id, x, WorkTarget::Person(y), None, T0).await.unwrap();
    assert_eq!(store.work_next(z, T0, LEASE).await.unwrap(), None);
    conflict(store.work_take(id, z, T0, LEASE).await);
    assert_eq!(store.works(page(y, WorkView::Mine)).await.unwrap().len(), 1);
    assert!(store.work_late(T0 + 60 * MIN - 1, 9).await.unwrap().is_empty());
    let late = store.work_late(T0 + 60 * MIN, 9).await.unwrap();
    assert_eq!((late[0].work.id, late[0].what, late.len()), (id, "late", 1));
    assert!(store.work_late(T0 + 61 * MIN, 9).await.unwrap().is_empty(), "told once");
    assert_eq!(store.works(page(z, WorkView::Overdue)).await.unwrap().len(), 1);
    assert_eq!(store.work_next(z, T0 + 61 * MIN, LEASE).await.unwrap().unwrap().id, id, "not lost with its person");
});

story!(a_text_without_a_word_from_us_is_noted_after_three_minutes, |s: Stage| async move {
    let store = &s.store;
    let item = item(store, 1).await;
    add(store, new_work("silent", 4, 0)).await;
    let heard = add(store, NewWork { item: Some(item.id), ..new_work("heard", 4, 0) }).await;
    assert_eq!(store.work_acknowledged(item.id, T0 + 1).await.unwrap(), 1);
    let taken = add(store, new_work("taken", 2, 0)).await;
    store.work_take(taken, operator(), T0, LEASE).await.unwrap();
    let late = store.work_late(T0 + 3 * MIN, 9).await.unwrap();
    assert_eq!(late.iter().map(|l| (l.work.seq, l.what)).collect::<Vec<_>>(), [(0, "unacknowledged")]);
    assert_ne!(late[0].work.id, heard);
});

story!(who_is_complained_about_neither_sees_nor_gets_it, |s: Stage| async move {
    let store = &s.store;
    let (x, y) = (operator(), operator());
    let id = add(store, NewWork { excluded: Some(x.id), ..new_work("a", 1, 1) }).await;
    assert_eq!(store.work_next(x, T0, LEASE).await.unwrap(), None);
    assert!(matches!(store.work_take(id, x, T0, LEASE).await, Err(DbError::NotFound)));
    assert!(store.works(page(x, WorkView::Open)).await.unwrap().is_empty());
    store.work_take(id, y, T0, LEASE).await.unwrap();
    conflict(store.work_transfer(id, y, WorkTarget::Person(x), None, T0).await);
    let for_leaders = NewWork { desk: WorkDesk::Leader, ..new_work("b", 1, 1) };
    let for_leaders = add(store, for_leaders).await;
    assert!(matches!(store.work_take(for_leaders, x, T0, LEASE).await, Err(DbError::NotFound)));
    assert_eq!(store.works(page(x, WorkView::Open)).await.unwrap(), [], "the leader's desk is the leader's");
    assert_eq!(store.work_next(leader(), T0, LEASE).await.unwrap().unwrap().id, for_leaders);
});

story!(pages_follow_one_another_without_gap_or_repeat, |s: Stage| async move {
    let store = &s.store;
    let mut rng = StdRng::seed_from_u64(7);
    for n in 0..57 {
        let new = NewWork { red: rng.random_bool(0.1), ..new_work(n.to_string(), rng.random_range(1..=5), n / 3) };
        add(store, new).await;
    }
    let who = operator();
    for _ in 0..23 {
        let work = store.work_next(who, T0, LEASE).await.unwrap().unwrap();
        store.work_done(work.id, who, WorkResult::HandedOff, None, T0 + rng.random_range(0..3)).await.unwrap();
    }
    for (view, all) in [(WorkView::Open, 34), (WorkView::Done, 23)] {
        let whole = store.works(page(who, view)).await.unwrap();
        assert_eq!(whole.len(), all);
        let mut paged: Vec<Work> = Vec::new();
        loop {
            let after = paged.last().map(|w| w.id);
            let next = store.works(WorkFilter { after, limit: 5, ..page(who, view) }).await.unwrap();
            if next.is_empty() {
                break;
            }
            paged.extend(next);
        }
        assert_eq!(paged, whole);
    }
    let none = WorkFilter { kind: Some(WorkKind::Voice), ..page(who, WorkView::Open) };
    assert!(store.works(none).await.unwrap().is_empty());
});

story!(an_item_that_turns_out_urgent_moves_its_work_up, |s: Stage| async move {
    let store = &s.store;
    let item = item(store, 1).await;
    let call = call(store, None).await;
    add(store, new_work("a", 3, 1)).await;
    let id = add(store, NewWork { item: Some(item.id), contact: Some(call.contact), ..new_work("b", 4, 2) }).await;
    assert_eq!(store.work_raise(item.id, true, 2, TIMES, T0 + 9).await.unwrap(), [id]);
    assert!(store.work_raise(item.id, false, 5, TIMES, T0 + 9).await.unwrap().is_empty(), "never down");
    let first = store.work_next(operator(), T0, LEASE).await.unwrap().unwrap();
    assert_eq!((first.id, first.lane, first.urgency, first.due_at), (id, 0, 2, T0 + 2 + 10 * MIN));
    assert_eq!(first.acceptance_no, Some(item.acceptance_no));
});

/// Lane, deadline, arrival number, row.
type Place = (i64, i64, i64, Id);
/// Whose, and until when.
type Hold = (usize, i64);

// One person after another, against a model of the queue.
story!(random_steps_follow_the_model, |s: Stage| async move {
    let store = &s.store;
    let mut rng = StdRng::seed_from_u64(20_261_122);
    let people: Vec<WorkPerson> = (0..5).map(|_| operator()).collect();
    // Done work leaves it.
    let mut model: BTreeMap<Place, Option<Hold>> = BTreeMap::new();
    let (mut now, mut made, mut finished) = (T0, 0, 0);
    for step in 0..400 {
        now += rng.random_range(0..LEASE / 4);
        let who = rng.random_range(0..people.len());
        let held = model.iter().find(|(_, h)| matches!(h, Some((p, until)) if *p == who && *until > now));
        let held = held.map(|(place, _)| *place);
        match rng.random_range(0..10) {
            0..=3 => {
                let (red, urgency, seq) = (rng.random_bool(0.1), rng.random_range(1..=5), rng.random_range(0..1_000));
                let id = add(store, NewWork { red, ..new_work(format!("m{step}"), urgency, seq) }).await;
                model.insert((work_lane(red, urgency), TIMES.due_at(urgency, T0 + seq), seq, id), None);
                made += 1;
            }
            4..=6 => {
                let free = |h: &Option<Hold>| h.is_none_or(|(_, until)| until <= now);
                let expected = held.or_else(|| model.iter().find(|(_, h)| free(h)).map(|(place, _)| *place));
                let got = store.work_next(people[who], now, LEASE).await.unwrap().map(|w| w.id);
                assert_eq!(got, expected.map(|p| p.3), "step {step}");
                if let Some(place) = expected {
                    model.insert(place, Some((who, now + LEASE)));
                }
            }
            7 => {
                if let Some(place) = held {
                    store.work_release(place.3, people[who], now).await.unwrap();
                    model.insert(place, None);
                }
            }
            // A crash is nothing at all: the lease runs out.
            8 => {}
            _ => {
                if let Some(place) = held {
                    store.work_done(place.3, people[who], WorkResult::Void, None, now).await.unwrap();
                    model.remove(&place);
                    finished += 1;
                }
            }
        }
    }
    let left: Vec<Id> = model.keys().map(|place| place.3).collect();
    let open: Vec<Id> = store.works(page(operator(), WorkView::Open)).await.unwrap().iter().map(|w| w.id).collect();
    assert_eq!(open, left);
    assert!(finished > 10 && made == finished + left.len(), "{made} made, {finished} done, {} left", left.len());
});

type Ledger = Arc<Mutex<HashMap<Id, (i64, i64)>>>;

/// Takes and finishes work until there is none; some of the time it crashes with work in hand.
async fn shift(store: Store, clock: Arc<AtomicI64>, ledger: Ledger, seed: u64) -> Vec<Id> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut who = operator();
    let (mut finished, mut idle) = (Vec::new(), 0);
    while idle < 30 {
        let now = clock.fetch_add(rng.random_range(1..LEASE / 20), Ordering::Relaxed);
        let Some(work) = store.work_next(who, now, LEASE).await.unwrap() else {
            idle += 1;
            // Nothing but what crashed holders keep: their leases must be let run out.
            clock.fetch_add(LEASE / 10, Ordering::Relaxed);
            continue;
        };
        idle = 0;
        let mine = (now, now + LEASE);
        if let Some(other) = ledger.lock().unwrap().insert(work.id, mine) {
            assert!(other.1 <= mine.0 || mine.1 <= other.0, "two hold {}: {other:?} and {mine:?}", work.id);
        }
        tokio::task::yield_now().await;
        if rng.random_bool(0.2) {
            who = operator();
            continue;
        }
        ledger.lock().unwrap().remove(&work.id);
        if rng.random_bool(0.2) {
            store.work_release(work.id, who, now).await.unwrap();
            continue;
        }
        match store.work_done(work.id, who, WorkResult::HandedOff, None, now).await {
            Ok(_) => finished.push(work.id),
            // Another took it when the lease was over.
            Err(DbError::Conflict(_)) => {}
            Err(e) => panic!("{e}"),
        }
    }
    finished
}

story!(eight_operators_who_crash_finish_everything_once, |s: Stage| async move {
    let mut all = Vec::new();
    for n in 0..120 {
        all.push(add(&s.store, new_work(n.to_string(), 1 + n % 5, n)).await);
    }
    let (clock, ledger) = (Arc::new(AtomicI64::new(T0)), Ledger::default());
    let shifts: Vec<_> =
        (0..8).map(|n| tokio::spawn(shift(s.store.clone(), Arc::clone(&clock), Arc::clone(&ledger), n))).collect();
    let mut finished = Vec::new();
    for shift in shifts {
        finished.extend(shift.await.unwrap());
    }
    finished.sort_unstable();
    all.sort_unstable();
    assert_eq!(finished, all, "each once, none lost");
});

story!(an_item_and_the_work_it_makes_are_one_step, |s: Stage| async move {
    let store = &s.store;
    let call = call(store, None).await;
    let work = Some(hotline_db::ItemWork { red: true, times: TIMES, conversation: None });
    let new = || hotline_db::NewItem { source: "call".into(), ..crate::stage::new_item(Some(call.contact)) };
    for _ in 0..2 {
        store.item_create_with_work(new(), None, work, T0 + 500, crate::stage::CHINA).await.unwrap();
    }
    let open = store.works(page(operator(), WorkView::Open)).await.unwrap();
    assert_eq!(open.len(), 1, "an item known already makes no second work");
    assert_eq!((open[0].lane, open[0].seq, open[0].arrived_at), (0, call.seq, T0));
    assert_eq!((open[0].contact, open[0].channel.as_str()), (Some(call.contact), "phone"));
    item(store, 1).await;
    assert_eq!(store.works(page(operator(), WorkView::Open)).await.unwrap().len(), 1, "taken down by hand: none");
});

story!(what_a_conversation_leads_to_is_work_in_its_place, |s: Stage| async move {
    use crate::messages::{new_message, nothing};
    use hotline_db::{MessageTaken, Settlement, Supplement};
    let store = &s.store;
    let take = |new| async move {
        let taken = store.message_take(new).await.unwrap();
        let MessageTaken::New { contact, seq, conversation, .. } = taken else { panic!("{taken:?}") };
        (contact, seq, conversation)
    };
    let (contact, seq, conversation) = take(new_message(1, "k1", "井盖没了", T0)).await;
    let settler: hotline_db::Settler = Arc::new(|s| Settlement {
        create: Some(crate::stage::new_item(Some(s.conversation.first_contact))),
        work: Some(TIMES),
        close: true,
        ..nothing()
    });
    let settled = store.conversation_settle(conversation.unwrap(), T0 + 500_000, crate::stage::CHINA, settler).await;
    let item = settled.unwrap().unwrap().item.unwrap().0;
    let open = store.works(page(operator(), WorkView::Open)).await.unwrap();
    assert_eq!((open.len(), open[0].kind, open[0].lane, open[0].seq), (1, WorkKind::Check, 1, seq));
    assert_eq!((open[0].contact, open[0].conversation, open[0].item), (Some(contact), conversation, Some(item.id)));

    // Nobody could tell what this one wants.
    let (_, _, greeting) = take(new_message(2, "k2", "你好", T0 + 1)).await;
    let nothing_told: hotline_db::Settler = Arc::new(|_| Settlement { work: Some(TIMES), close: true, ..nothing() });
    store.conversation_settle(greeting.unwrap(), T0 + 500_000, crate::stage::CHINA, nothing_told).await.unwrap();
    let mut more = new_message(1, "k3", "补充:就在桥边", T0 + 2);
    more.supplement = Some(Supplement { item: item.id, named: true, work: Some(TIMES) });
    take(more).await;
    let kinds = |works: Vec<Work>| works.into_iter().map(|w| w.kind).collect::<Vec<_>>();
    let open = store.works(page(operator(), WorkView::Open)).await.unwrap();
    assert_eq!(kinds(open), [WorkKind::Check, WorkKind::Supplement, WorkKind::Unfinished]);

    // Danger in a supplement moves all of the item's work up.
    let mut red = new_message(1, "k4", "补充:燃气泄漏了", T0 + 3);
    (red.red, red.supplement) = (true, Some(Supplement { item: item.id, named: true, work: Some(TIMES) }));
    take(red).await;
    let lanes: Vec<i64> = store.works(page(operator(), WorkView::Open)).await.unwrap().iter().map(|w| w.lane).collect();
    assert_eq!(lanes, [0, 0, 0, 2]);
});

story!(a_receipt_that_left_is_our_first_word, |s: Stage| async move {
    let store = &s.store;
    let item = item(store, 1).await;
    add(store, NewWork { item: Some(item.id), ..new_work("a", 4, 0) }).await;
    let mut text = crate::messages::answer(1, hotline_db::OutgoingPurpose::Receipt, "已受理", T0);
    text.item = Some(item.id);
    store.outgoing_add(text, T0).await.unwrap();
    let sent = store.outgoing_claim("sms", T0, 1_000, 1).await.unwrap().remove(0);
    store.outgoing_submitted(sent.id, "line", &["1".to_owned()], T0 + 20).await.unwrap();
    assert!(store.work_late(T0 + 3 * MIN, 9).await.unwrap().is_empty());
    let open = store.works(page(operator(), WorkView::Open)).await.unwrap();
    assert_eq!(open[0].acknowledged_at, Some(T0 + 20));
});

/// Work about an item of its own report.
async fn reported(store: &Store, n: u32, new: NewWork) -> (Id, Id) {
    let item = crate::incidents::report(store, "sms", n).await.0.id;
    (item, add(store, NewWork { item: Some(item), ..new }).await)
}

async fn kinds(store: &Store, work: Id) -> Vec<String> {
    store.work_events(work).await.unwrap().into_iter().map(|e| e.kind).collect()
}

story!(a_merge_ends_the_absorbed_check_and_undoing_it_brings_it_back_to_its_place, |s: Stage| async move {
    let store = &s.store;
    let (one, late) = reported(store, 1, new_work("a", 4, 1)).await;
    let (two, soon) = reported(store, 2, new_work("b", 2, 2)).await;
    let said = NewWork { kind: WorkKind::Supplement, item: Some(two), ..new_work("c", 4, 3) };
    let said = add(store, said).await;
    let (x, y) = (operator(), operator());
    let before = store.work_take(soon, x, T0, LEASE).await.unwrap();
    let link = store.incident_merge(two, one, crate::incidents::by(Some(y.id))).await.unwrap();

    let ended = store.work_get(soon).await.unwrap().unwrap();
    assert_eq!((ended.result, ended.done_by, ended.done_at), (Some(WorkResult::Merged), Some(y.id), Some(link.at)));
    assert_eq!((ended.holder, ended.lease_until), (None, None));
    conflict(store.work_done(soon, x, WorkResult::HandedOff, None, T0 + 2).await);
    assert_eq!(store.work_events(soon).await.unwrap()[1].data["into"], serde_json::json!(one));
    let raised = store.work_get(late).await.unwrap().unwrap();
    assert_eq!((raised.lane, raised.urgency, raised.due_at), (before.lane, before.urgency, before.due_at));
    assert_eq!(store.work_get(said).await.unwrap().unwrap().done_at, None, "what a citizen added is read");
    let open = store.works(page(x, WorkView::Open)).await.unwrap();
    assert_eq!(open.iter().map(|w| w.id).collect::<Vec<_>>(), [late, said]);

    store.incident_detach(two, crate::incidents::by(Some(y.id))).await.unwrap();
    let back = store.work_get(soon).await.unwrap().unwrap();
    assert_eq!((back.result, back.done_by, back.done_at, back.holder), (None, None, None, None));
    assert_eq!((back.lane, back.due_at, back.taken_at), (before.lane, before.due_at, before.taken_at));
    assert_eq!(kinds(store, soon).await, ["taken", "merged", "restored"]);
    assert_eq!(kinds(store, late).await, ["raised"], "never down");
    let next = store.work_next(x, T0 + 3, LEASE).await.unwrap().unwrap();
    assert_eq!((next.id, back.due_at), (late, raised.due_at), "due at once: arrival decides");
});

story!(what_a_person_ended_stays_done_when_the_merge_is_undone, |s: Stage| async move {
    let store = &s.store;
    let (one, _) = reported(store, 1, new_work("a", 4, 1)).await;
    let (two, own) = reported(store, 2, new_work("b", 4, 2)).await;
    let x = operator();
    store.work_take(own, x, T0, LEASE).await.unwrap();
    store.work_done(own, x, WorkResult::Merged, None, T0 + 1).await.unwrap();
    store.incident_merge(two, one, crate::incidents::by(Some(x.id))).await.unwrap();
    store.incident_detach(two, crate::incidents::by(Some(x.id))).await.unwrap();
    assert_eq!(store.work_get(own).await.unwrap().unwrap().done_at, Some(T0 + 1));
    // A merge refused leaves the queue alone.
    let (three, open) = reported(store, 3, new_work("c", 4, 3)).await;
    conflict(store.incident_merge(three, three, crate::incidents::by(None)).await);
    assert_eq!(kinds(store, open).await, Vec::<String>::new());
});

story!(merged_by_the_gateway_a_check_ends_only_for_one_that_is_still_to_come, |s: Stage| async move {
    let store = &s.store;
    let x = operator();
    let (done_item, done) = reported(store, 1, new_work("a", 4, 1)).await;
    store.work_take(done, x, T0, LEASE).await.unwrap();
    store.work_done(done, x, WorkResult::HandedOff, None, T0).await.unwrap();
    let (two, check) = reported(store, 2, new_work("b", 4, 2)).await;
    store.incident_merge(two, done_item, crate::incidents::by(None)).await.unwrap();
    assert_eq!(store.work_get(check).await.unwrap().unwrap().done_at, None, "nobody has seen it");

    // Whoever checks the other must not know of this one: it stays on its own.
    let (three, theirs) = reported(store, 3, new_work("c", 4, 3)).await;
    let hidden = NewWork { excluded: Some(x.id), desk: WorkDesk::Leader, ..new_work("d", 1, 4) };
    let (four, hidden) = reported(store, 4, hidden).await;
    store.incident_merge(four, three, crate::incidents::by(None)).await.unwrap();
    assert_eq!(store.work_get(hidden).await.unwrap().unwrap().done_at, None);
    assert_eq!(kinds(store, theirs).await, Vec::<String>::new());
    assert_eq!(store.work_hidden(x.id, &[three, four, two]).await.unwrap(), [four]);
    assert!(store.work_hidden(operator().id, &[three, four]).await.unwrap().is_empty());

    let (five, ends) = reported(store, 5, new_work("e", 4, 5)).await;
    store.incident_merge(five, three, crate::incidents::by(None)).await.unwrap();
    let ends = store.work_get(ends).await.unwrap().unwrap();
    assert_eq!((ends.result, ends.done_by), (Some(WorkResult::Merged), None));
});

story!(work_that_names_one_of_us_is_the_leader_s_and_hidden_from_who_is_named, |s: Stage| async move {
    let store = &s.store;
    let account = |login: &str, name: &str| hotline_db::NewUser {
        login: login.into(),
        name: name.into(),
        roles: vec!["operator".into()],
        ..hotline_db::NewUser::default()
    };
    let named = store.user_add(account("1023", "李晓梅")).await.unwrap();
    let other = store.user_add(account("1024", "王建国")).await.unwrap();
    let contact = crate::incidents::contact(store, "sms", None, T0).await;
    let item =
        hotline_db::NewItem { detail: "投诉工号1023,态度差".into(), ..crate::stage::new_item(Some(contact.id)) };
    let work = hotline_db::ItemWork { red: false, times: TIMES, conversation: None };
    let (item, _) = store.item_create_with_work(item, None, Some(work), T0, crate::stage::CHINA).await.unwrap();
    let row = store.work_of_item(item.id).await.unwrap().remove(0);
    assert_eq!((row.excluded, row.desk), (Some(named.id), WorkDesk::Leader));
    let hidden = |who, supervises| store.items_recused(who, supervises, item.id, item.id);
    assert_eq!(hidden(named.id, true).await.unwrap(), [item.id], "whatever their role");
    assert_eq!(hidden(other.id, false).await.unwrap(), [item.id]);
    assert!(hidden(other.id, true).await.unwrap().is_empty());
    assert!(store.contact_recused(named.id, true, contact.id, None).await.unwrap());
    assert!(!store.attachment_recused(named.id, true, "00").await.unwrap());
    // Nor may they be told of a call that is owed for it.
    let owed = hotline_db::NewCallback::new(hotline_db::CallbackKind::CaseFinished, T0);
    let (task, _) =
        store.callback_add(hotline_db::NewCallback { item: Some(item.id), ..owed.clone() }, T0).await.unwrap();
    let hidden = |who, supervises| store.callbacks_recused(who, supervises, task.id, task.id);
    assert_eq!(hidden(named.id, true).await.unwrap(), [task.id]);
    assert_eq!(hidden(other.id, false).await.unwrap(), [task.id]);
    assert!(hidden(other.id, true).await.unwrap().is_empty());
    let (foreign, _) = store.callback_add(owed, T0).await.unwrap();
    assert!(store.callbacks_recused(named.id, true, foreign.id, foreign.id).await.unwrap().is_empty());
});

story!(who_is_named_while_they_are_at_it_can_t_end_it_any_more, |s: Stage| async move {
    let store = &s.store;
    let account = hotline_db::NewUser {
        login: "1023".into(),
        name: "李晓梅".into(),
        roles: vec!["operator".into()],
        ..hotline_db::NewUser::default()
    };
    let named = store.user_add(account).await.unwrap();
    let named = WorkPerson { id: named.id, leader: false };
    let taken = store.message_take(crate::messages::new_message(1, "k1", "人民路路灯不亮", T0)).await.unwrap();
    let hotline_db::MessageTaken::New { conversation, .. } = taken else { panic!("{taken:?}") };
    let settle = || {
        let settler: hotline_db::Settler = std::sync::Arc::new(|s| {
            let detail = s.messages.iter().map(|m| m.text.as_str()).collect::<Vec<_>>().join("\n");
            hotline_db::Settlement {
                create: s.item.is_none().then(|| crate::stage::new_item(Some(s.conversation.first_contact))),
                amend: s.item.is_some().then(|| hotline_db::Amendment {
                    title: "路灯".into(),
                    detail,
                    urgency: 4,
                    class_code: None,
                    location_text: None,
                    lon: None,
                    lat: None,
                }),
                work: Some(TIMES),
                next_at: Some(T0 + 20_000),
                ..crate::messages::nothing()
            }
        });
        store.conversation_settle(conversation.unwrap(), T0 + 60_000, crate::stage::CHINA, settler)
    };
    let (item, _) = settle().await.unwrap().unwrap().item.unwrap();
    let check = store.work_of_item(item.id).await.unwrap().remove(0);
    store.work_take(check.id, named, T0, LEASE).await.unwrap();

    let more = crate::messages::new_message(1, "k2", "另外投诉工号1023态度差", T0 + 10_000);
    store.message_take(more).await.unwrap();
    settle().await.unwrap().unwrap();
    let check = store.work_get(check.id).await.unwrap().unwrap();
    assert_eq!((check.excluded, check.desk, check.holder), (Some(named.id), WorkDesk::Leader, None));
    assert_eq!(store.items_recused(named.id, true, item.id, item.id).await.unwrap(), [item.id]);
    let ending = store.work_void(check.id, named, void(), None, T0).await;
    assert!(matches!(ending, Err(DbError::NotFound)), "{ending:?}");
    assert!(store.work_get(check.id).await.unwrap().unwrap().done_at.is_none());
});

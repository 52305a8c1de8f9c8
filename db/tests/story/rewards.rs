//! Rewards: decided once on frozen evidence, paid once, whatever is merged and split.

use hotline_db::{
    AppealState, BatchState, CaseEvent, CaseStage, DbError, Id, NewAppeal, RewardEvidence, RewardJudge, RewardOutcome,
    RewardVerdict, Store, VerdictLine,
};
use serde_json::json;

use crate::incidents::{by, report};
use crate::stage::{Stage, T0, story};

const MONTH: &str = "2026-03";

/// ¥20 to the first, once for every incident; what an appeal grants is paid too.
fn rules() -> RewardJudge {
    Box::new(|e: &RewardEvidence| {
        if !e.stages.contains(&CaseStage::Closed) {
            return None;
        }
        let mut lines = Vec::new();
        for (reporter, who) in e.reporters.iter().enumerate() {
            let granted = e.granted_on_appeal.iter().find(|(contact, _)| *contact == who.contact);
            let fen = granted.map_or(if reporter == 0 { 2_000 } else { 0 }, |(_, fen)| *fen);
            let paid =
                who.party.is_some_and(|p| e.paid.contains_key(&p)) || (reporter == 0 && e.places_paid.contains(&1));
            let withheld = if paid { Some("paid".to_owned()) } else { None };
            lines.push(VerdictLine {
                reporter,
                place: reporter as i64 + 1,
                amount_fen: if paid { 0 } else { fen },
                withheld,
            });
        }
        let seqs: Vec<i64> = e.reporters.iter().map(|r| r.seq).collect();
        let evidence = json!({ "seqs": seqs, "paid": e.places_paid, "appeals": e.granted_on_appeal });
        Some(RewardVerdict { rule: Some("r".into()), rule_version: "1".into(), evidence, lines })
    })
}

async fn closed(store: &Store, item: Id, n: i64) {
    let case_no = format!("C-{item}");
    for row in store.handoff_claim("ledger", T0 + 500, 1_000, 100).await.unwrap() {
        store.handoff_delivered(row.id, &format!("C-{}", row.item), T0 + 500).await.unwrap();
    }
    let event = CaseEvent {
        event_id: format!("e{n}-{item}"),
        case_no,
        item: None,
        stage: CaseStage::Closed,
        at: T0 + n,
        note: None,
    };
    assert!(store.case_event_apply(event, None).await.unwrap());
}

async fn decide_all(store: &Store) -> usize {
    let mut decided = 0;
    while !store.rewards_due(50).await.unwrap().is_empty() {
        for item in store.rewards_due(50).await.unwrap() {
            decided += usize::from(store.reward_decide(item, rules(), MONTH, T0).await.unwrap().is_some());
        }
    }
    decided
}

async fn paid_of(store: &Store, batch: Id) -> Vec<(Option<Id>, i64)> {
    store.reward_payees(batch).await.unwrap().into_iter().map(|p| (p.party, p.amount_fen)).collect()
}

story!(a_reward_is_decided_when_the_case_is_closed_and_once, |s: Stage| async move {
    let store = &s.store;
    let (item, seq) = report(store, "sms", 1).await;
    assert!(store.rewards_due(10).await.unwrap().is_empty());
    closed(store, item.id, 1).await;
    assert_eq!(decide_all(store).await, 1);
    closed(store, item.id, 2).await;
    assert_eq!(decide_all(store).await, 0, "the same evidence is the same decision");
    let (decision, lines) = store.rewards_of_item(item.id).await.unwrap().remove(0);
    assert_eq!((decision.outcome, decision.rev), (RewardOutcome::Granted, 1));
    assert_eq!(decision.evidence["seqs"][0], seq);
    assert_eq!((lines[0].amount_fen, lines[0].party), (2_000, item.party));
    closed(store, item.id, 3).await;
    assert_eq!(store.rewards_due_clear().await.unwrap(), 1);
    let bug: RewardJudge = Box::new(|_| panic!("a bug"));
    assert!(store.reward_decide(item.id, bug, MONTH, T0).await.is_err());
});

story!(the_batch_names_one_person_per_incident_also_after_merge_split_and_merge, |s: Stage| async move {
    let store = &s.store;
    let (one, _) = report(store, "phone", 1).await;
    let (two, _) = report(store, "sms", 2).await;
    closed(store, one.id, 1).await;
    closed(store, two.id, 1).await;
    // Closed at the case core, the citizens not asked yet: these can still be merged.
    s.raw("UPDATE item SET state = '已移交'").await.unwrap();
    assert_eq!(decide_all(store).await, 2, "two incidents so far, two first reporters");
    store.incident_merge(two.id, one.id, by(None)).await.unwrap();
    assert_eq!(decide_all(store).await, 1);
    store.incident_detach(two.id, by(None)).await.unwrap();
    decide_all(store).await;
    store.incident_merge(two.id, one.id, by(None)).await.unwrap();
    let undecided = store.reward_batch_make("2026-01", None, T0).await.unwrap().0;
    assert_eq!(undecided.payments, 0, "an earlier month owes nothing");
    decide_all(store).await;
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.reward_batch_make(MONTH, None, T0).await.unwrap() })
        })
        .collect();
    let mut made = Vec::new();
    for task in tasks {
        made.push(task.await.unwrap());
    }
    assert_eq!(made.iter().filter(|(_, fresh)| *fresh).count(), 1, "one batch a month");
    let batch = &made[0].0;
    assert_eq!((batch.payments, batch.total_fen), (1, 2_000));
    assert_eq!(paid_of(store, batch.id).await, [(one.party, 2_000)]);
    // Taken apart after the payment, the other was first of its own; merged again, nobody is paid twice.
    store.incident_detach(two.id, by(None)).await.unwrap();
    store.incident_merge(two.id, one.id, by(None)).await.unwrap();
    decide_all(store).await;
    let (next, _) = store.reward_batch_make("2026-04", None, T0).await.unwrap();
    assert_eq!(next.payments, 0);
    assert!(matches!(store.reward_batch_make("2026-13", None, T0).await, Err(DbError::Invalid { .. })));
});

story!(a_second_person_approves_and_decides_on_appeals, |s: Stage| async move {
    let store = &s.store;
    let (item, _) = report(store, "sms", 1).await;
    let (other, _) = report(store, "wechat", 2).await;
    store.incident_merge(other.id, item.id, by(None)).await.unwrap();
    let (one, two) = (Id::new(), Id::new());
    let appeal = |by| NewAppeal { item: other.id, reason: "我先报的".into(), by, at: T0 };
    assert!(matches!(store.reward_appeal(appeal(one)).await, Err(DbError::Conflict(_))), "nothing decided yet");
    closed(store, item.id, 1).await;
    assert_eq!(decide_all(store).await, 1);
    let open = store.reward_appeal(appeal(one)).await.unwrap();
    assert!(matches!(store.reward_appeal(appeal(two)).await, Err(DbError::Conflict(_))), "one at a time");
    let held = store.reward_batch_make("2026-03", Some(one), T0).await.unwrap().0;
    assert_eq!(held.payments, 0, "an open appeal holds the payment");
    let contact = other.first_contact.unwrap();
    let own = store.reward_appeal_decide(open.id, one, None, "维持", T0).await;
    assert!(matches!(own, Err(DbError::Conflict(_))), "{own:?}");
    let foreign = store.reward_appeal_decide(open.id, two, Some((Id::new(), 500)), "改判", T0).await;
    assert!(matches!(foreign, Err(DbError::Invalid { .. })), "{foreign:?}");
    let granted = store.reward_appeal_decide(open.id, two, Some((contact, 500)), "改判", T0).await.unwrap();
    assert_eq!(granted.state, AppealState::Granted);
    assert!(store.reward_appeal_decide(open.id, two, None, "维持", T0).await.is_err(), "once");
    assert_eq!(decide_all(store).await, 1);
    assert_eq!(store.rewards_of_item(item.id).await.unwrap().len(), 2, "the first decision stays as it was");
    let (batch, _) = store.reward_batch_make("2026-04", Some(one), T0).await.unwrap();
    assert_eq!(paid_of(store, batch.id).await, [(item.party, 2_000), (other.party, 500)]);
    assert!(matches!(store.reward_batch_approve(batch.id, one, T0).await, Err(DbError::Conflict(_))));
    assert_eq!(store.reward_batch_approve(batch.id, two, T0).await.unwrap().state, BatchState::Approved);
    assert!(store.reward_batch_approve(batch.id, two, T0).await.is_err(), "once");
    for table in ["item_link", "reward_decision", "reward_line", "reward_payment"] {
        for statement in [format!("UPDATE {table} SET id = 'x'"), format!("DELETE FROM {table}")] {
            let error = s.raw(&statement).await.expect_err(&statement).to_string();
            assert!(error.contains(&format!("{table} is append-only")), "{statement}: {error}");
        }
    }
});

/// A batch of a month, made and approved by a second person.
async fn approved(store: &Store, month: &str, at: i64) -> Vec<(Option<Id>, i64)> {
    let (batch, _) = store.reward_batch_make(month, None, at).await.unwrap();
    let batch = store.reward_batch_approve(batch.id, Id::new(), at).await.unwrap();
    let paid = paid_of(store, batch.id).await;
    let sum: i64 = paid.iter().map(|(_, fen)| fen).sum();
    assert_eq!((batch.payments, batch.total_fen), (i64::try_from(paid.len()).unwrap(), sum));
    paid
}

/// Two closed reports, the earlier merged into the later one.
async fn first_merged_into_second(s: &Stage) -> (hotline_db::Item, hotline_db::Item) {
    let store = &s.store;
    let (one, _) = report(store, "phone", 1).await;
    let (two, _) = report(store, "sms", 2).await;
    closed(store, one.id, 1).await;
    closed(store, two.id, 1).await;
    s.raw("UPDATE item SET state = '已移交'").await.unwrap();
    store.incident_merge(one.id, two.id, by(None)).await.unwrap();
    assert_eq!(decide_all(store).await, 1);
    (one, two)
}

story!(who_was_paid_and_taken_out_is_not_paid_again_and_the_other_gets_theirs, |s: Stage| async move {
    let store = &s.store;
    let (one, two) = first_merged_into_second(&s).await;
    assert_eq!(approved(store, MONTH, T0 + 1).await, [(one.party, 2_000)]);
    store.incident_detach(one.id, by(None)).await.unwrap();
    decide_all(store).await;
    let (_, lines) = store.rewards_of_item(one.id).await.unwrap().pop().unwrap();
    assert_eq!(lines[0].withheld.as_deref(), Some("paid"));
    assert_eq!(approved(store, "2026-04", T0 + 2).await, [(two.party, 2_000)]);
    assert!(approved(store, "2026-05", T0 + 3).await.is_empty());
});

story!(a_payment_that_is_not_owed_any_more_is_left_out_when_the_batch_is_approved, |s: Stage| async move {
    let store = &s.store;
    let (one, _) = report(store, "phone", 1).await;
    let (two, _) = report(store, "sms", 2).await;
    closed(store, one.id, 1).await;
    closed(store, two.id, 1).await;
    s.raw("UPDATE item SET state = '已移交'").await.unwrap();
    decide_all(store).await;
    let (batch, _) = store.reward_batch_make(MONTH, None, T0).await.unwrap();
    assert_eq!(batch.payments, 2);
    store.incident_merge(two.id, one.id, by(None)).await.unwrap();
    let early = store.reward_batch_approve(batch.id, Id::new(), T0 + 1).await;
    assert!(matches!(early, Err(DbError::Conflict(_))), "decided anew first: {early:?}");
    decide_all(store).await;
    assert_eq!(approved(store, MONTH, T0 + 1).await, [(one.party, 2_000)]);
    decide_all(store).await;
    assert!(approved(store, "2026-04", T0 + 2).await.is_empty());
    // Taken apart again, the second is owed: by a new line, the old one's payment was stopped.
    store.incident_detach(two.id, by(None)).await.unwrap();
    decide_all(store).await;
    assert_eq!(approved(store, "2026-05", T0 + 3).await, [(two.party, 2_000)]);
});

story!(a_later_decision_keeps_the_month_and_the_cap_counts_what_was_paid, |s: Stage| async move {
    let store = &s.store;
    let seen = std::sync::Arc::new(std::sync::Mutex::new((0, 0)));
    let judge = |version: &'static str| -> RewardJudge {
        let seen = std::sync::Arc::clone(&seen);
        Box::new(move |e: &RewardEvidence| {
            let party = e.reporters[0].party.unwrap();
            *seen.lock().unwrap() = e.granted_in_month.get(&party).copied().unwrap_or_default();
            let paid = e.paid.contains_key(&party);
            let withheld = paid.then(|| "paid".to_owned());
            let line = VerdictLine { reporter: 0, place: 1, amount_fen: if paid { 0 } else { 2_000 }, withheld };
            let evidence = json!({ "version": version, "paid": paid });
            Some(RewardVerdict { rule: None, rule_version: "1".into(), evidence, lines: vec![line] })
        })
    };
    let (one, _) = report(store, "sms", 1).await;
    let first = store.reward_decide(one.id, judge("a"), MONTH, T0).await.unwrap().unwrap();
    let later = store.reward_decide(one.id, judge("b"), "2026-04", T0 + 1).await.unwrap().unwrap();
    assert_eq!((first.month.as_str(), later.month.as_str(), later.rev), (MONTH, MONTH, 2));
    let (other, _) = report(store, "wechat", 1).await;
    store.reward_decide(other.id, judge("a"), MONTH, T0).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), (2_000, 1), "granted and not paid yet");
    assert_eq!(approved(store, MONTH, T0 + 2).await.len(), 2);
    // Decided anew as paid: it still counts.
    store.reward_decide(one.id, judge("c"), MONTH, T0 + 3).await.unwrap().unwrap();
    store.reward_decide(other.id, judge("b"), MONTH, T0 + 4).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), (2_000, 1), "paid");
});

story!(an_event_of_a_merged_item_makes_the_incident_s_reward_due, |s: Stage| async move {
    let store = &s.store;
    let (one, _) = report(store, "phone", 1).await;
    let (two, _) = report(store, "sms", 2).await;
    for row in store.handoff_claim("ledger", T0 + 500, 1_000, 100).await.unwrap() {
        store.handoff_delivered(row.id, &format!("C-{}", row.item), T0 + 500).await.unwrap();
    }
    store.incident_merge(two.id, one.id, by(None)).await.unwrap();
    closed(store, two.id, 1).await;
    assert_eq!(store.rewards_due(10).await.unwrap(), [one.id]);
    store.reward_put_off(one.id, T0 + 9_000).await.unwrap();
    assert_eq!(decide_all(store).await, 1);
});

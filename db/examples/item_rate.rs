//! How many messages a second become items with receipt and work, are ended and handed off, and reach the ledger:
//! `cargo run --release -p hotline-db --example item_rate -- URL [ITEMS] [AT ONCE]`.
//! The database should be an empty one.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measuring tool fails by panicking and prints")]

use std::{future::Future, sync::Arc, time::Instant};

use hotline_db::{
    Address, AddressKind, ConversationPlan, ItemHandoff, MessageState, NewItem, NewMessage, NewOutgoing,
    OutgoingPurpose, Settlement, Settler, Store, WorkTimes,
};

const AT: i64 = 1_772_413_200_000;

fn address(n: usize) -> Address {
    Address { hash: format!("{n:064x}"), sealed: vec![7; 42], mask: "138****0001".into() }
}

fn message(n: usize) -> NewMessage {
    let text = format!("人民路{n}号门口的雨水井盖松动了,晚上骑车经过很危险,请尽快处理");
    NewMessage {
        channel: "sms".into(),
        line: "a".into(),
        dedup_key: format!("{n}"),
        addressed: "106912319".into(),
        sender: Some((AddressKind::Phone, address(n))),
        provider_time: None,
        at: AT,
        state: MessageState::Taken,
        redacted_text: text.clone(),
        text,
        place: None,
        media: Vec::new(),
        red: false,
        test: false,
        link: None,
        planner: Some(Arc::new(|_| ConversationPlan {
            joins: false,
            closes: false,
            told_at: Some(AT),
            red: false,
            act_at: AT + 1,
        })),
        supplement: None,
        note: None,
        stops_texts: false,
        answers: Vec::new(),
    }
}

/// Makes the item with its receipt first, ends the conversation and hands the item off then.
fn settler() -> Settler {
    Arc::new(|s| {
        let (row, is_new) = (s.conversation, s.item.is_none());
        let new = NewItem {
            region: "320412".into(),
            channel: u8::try_from(row.first_seq % 10).unwrap(),
            kind: "投诉".into(),
            urgency: 4,
            title: "井盖".into(),
            detail: s.messages[0].text.clone(),
            location_text: Some(s.messages[0].text.chars().take(8).collect()),
            class_code: Some("01003".into()),
            source: "message".into(),
            first_contact: Some(row.first_contact),
            party: row.party,
            idempotency_key: Some(format!("conversation-{}", row.id)),
            ..NewItem::default()
        };
        let n = usize::try_from(row.first_seq).unwrap();
        Settlement {
            create: is_new.then_some(new),
            amend: None,
            work: Some(WorkTimes { acknowledge_ms: Some(60_000), handle_ms: [60_000; 5] }),
            hand_off: (!is_new).then(|| ItemHandoff {
                target: "ledger".into(),
                payload: Box::new(|item| serde_json::json!({"no": item.acceptance_no, "detail": item.detail})),
            }),
            note: None,
            answers: is_new.then(|| -> hotline_db::Answers {
                Box::new(move |item| {
                    vec![NewOutgoing {
                        channel: "sms".into(),
                        line: None,
                        to: address(n),
                        template: "receipt".into(),
                        params: hotline_db::Json(serde_json::json!({"no": item.acceptance_no})),
                        text: format!("您反映的问题已登记,受理编号{},查询码{}", item.acceptance_no, item.query_code),
                        purpose: OutgoingPurpose::Receipt,
                        dedup_key: Some(format!("receipt:{}", item.id)),
                        conversation: None,
                        item: None,
                        party: item.party,
                        once: false,
                        test: false,
                        next_at: AT,
                        expires_at: AT * 2,
                    }]
                })
            }),
            notices: Vec::new(),
            asked: None,
            receipt: is_new,
            close: !is_new,
            next_at: is_new.then_some(AT + 2),
        }
    })
}

/// Does `work` for every one of `0..total`, so many at once; prints the rate.
async fn all<F: Future<Output = ()> + Send + 'static>(
    what: &str,
    total: usize,
    at_once: usize,
    work: fn(Store, usize) -> F,
    s: &Store,
) {
    let start = Instant::now();
    let tasks: Vec<_> = (0..at_once)
        .map(|first| {
            let s = s.clone();
            tokio::spawn(async move {
                for n in (first..total).step_by(at_once) {
                    work(s.clone(), n).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    println!("{:?}: {what}: {:.0}/s", s.kind(), total as f64 / start.elapsed().as_secs_f64());
}

/// Takes the steps that are due, so many at once, as the gateway does.
async fn sweep(what: &str, store: &Store, total: usize, at_once: usize) {
    let start = Instant::now();
    let mut done = 0;
    loop {
        let due = store.conversations_due(AT + 10, 200).await.unwrap();
        if due.is_empty() {
            break;
        }
        let mut steps = tokio::task::JoinSet::new();
        for id in due {
            if steps.len() >= at_once {
                steps.join_next().await.unwrap().unwrap();
            }
            let store = store.clone();
            steps.spawn(async move {
                let settled = store.conversation_settle(id, AT + 10, 480, settler()).await.unwrap();
                assert!(settled.is_some());
            });
            done += 1;
        }
        while let Some(step) = steps.join_next().await {
            step.unwrap();
        }
        if done % total == 0 {
            break;
        }
    }
    println!("{:?}: {what}: {:.0}/s", store.kind(), done as f64 / start.elapsed().as_secs_f64());
}

async fn deliver(store: &Store, at_once: i64) {
    let start = Instant::now();
    let mut done = 0;
    loop {
        let rows = store.handoff_claim("ledger", AT * 2, 60_000, at_once).await.unwrap();
        if rows.is_empty() {
            break;
        }
        let mut tasks = tokio::task::JoinSet::new();
        for row in rows {
            let store = store.clone();
            done += 1;
            tasks.spawn(async move {
                let (case_no, _) = store.ledger_create(&row.idempotency_key, &row.payload, AT).await.unwrap();
                assert!(store.handoff_delivered(row.id, &case_no, AT).await.unwrap());
            });
        }
        while let Some(task) = tasks.join_next().await {
            task.unwrap();
        }
    }
    println!("{:?}: handed off: {:.0}/s", store.kind(), f64::from(done) / start.elapsed().as_secs_f64());
}

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let url = args.next().unwrap();
    let total: usize = args.next().map_or(5_000, |n| n.parse().unwrap());
    let at_once: usize = args.next().map_or(128, |n| n.parse().unwrap());
    let store = Store::open(&url).await.unwrap();
    let take = |store: Store, n| async move {
        store.message_take(message(n)).await.unwrap();
    };
    all("messages", total, at_once, take, &store).await;
    sweep("items with receipt and work", &store, total, at_once).await;
    sweep("ended and to hand off", &store, total, at_once).await;
    deliver(&store, 32).await;
    store.close().await;
}

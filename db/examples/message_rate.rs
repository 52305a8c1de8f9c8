//! How many messages a second a database takes, each acknowledged after its commit:
//! `cargo run --release -p hotline-db --example message_rate -- URL [MESSAGES] [SENDERS AT ONCE]`.
//! The database should be an empty one; messages are of as many citizens as there are messages.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measuring tool fails by panicking and prints")]

use std::{sync::Arc, time::Instant};

use hotline_db::{Address, AddressKind, ConversationPlan, MessageState, MessageTaken, NewMessage, Store};

fn message(n: usize, at: i64) -> NewMessage {
    let text = "人民路88号门口的雨水井盖松动了,晚上骑车经过很危险,请尽快处理";
    NewMessage {
        channel: "sms".into(),
        line: "a".into(),
        dedup_key: format!("{n}"),
        addressed: "106912319".into(),
        sender: Some((
            AddressKind::Phone,
            Address { hash: format!("{n:064x}"), sealed: vec![7; 42], mask: "138****0001".into() },
        )),
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
        planner: Some(Arc::new(move |_| ConversationPlan {
            joins: false,
            closes: false,
            told_at: Some(at),
            red: false,
            act_at: at + 20_000,
        })),
        supplement: None,
        note: None,
        stops_texts: false,
        answers: Vec::new(),
    }
}

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let url = args.next().unwrap();
    let total: usize = args.next().map_or(20_000, |n| n.parse().unwrap());
    let at_once: usize = args.next().map_or(128, |n| n.parse().unwrap());
    let store = Store::open(&url).await.unwrap();
    let start = Instant::now();
    let senders: Vec<_> = (0..at_once)
        .map(|sender| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut waits = Vec::new();
                for n in (sender..total).step_by(at_once) {
                    let begun = Instant::now();
                    let taken = store.message_take(message(n, 1_772_413_200_000)).await.unwrap();
                    assert!(matches!(taken, MessageTaken::New { .. }), "an empty database is needed: {taken:?}");
                    waits.push(begun.elapsed());
                }
                waits
            })
        })
        .collect();
    let mut waits = Vec::new();
    for sender in senders {
        waits.extend(sender.await.unwrap());
    }
    let took = start.elapsed();
    waits.sort();
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "{:?}: {total} messages, {at_once} at once: {:.0}/s; acknowledged p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
        store.kind(),
        total as f64 / took.as_secs_f64(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
    store.close().await;
}

//! The door with its tables and workers: what citizens write becomes items and answers; nothing is
//! lost or doubled while the database is away.

use std::sync::Arc;
use std::time::Duration;

use hotline_db::{AddressKind, HandoffState, Item, LinkPurpose, MessageState, NewWebLink, Outgoing, OutgoingPurpose};
use tokio_util::sync::CancellationToken;

use super::accept::{Refusal, Taken, message};
use super::draft;
use super::envelope::{Channel, Envelope, Sender};
use crate::app::{Services, build};
use crate::clock::now_ms;
use crate::config::Config;
use crate::privacy::Pii;

/// A gateway's services without carriers or consoles; the workers behind the door run.
struct Door {
    sv: Arc<Services>,
    workers: Vec<tokio::task::JoinHandle<()>>,
}

impl Door {
    async fn open(folder: &std::path::Path, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        config.storage.data_dir = folder.to_owned();
        config.sip.listen = vec!["127.0.0.1:0".parse().unwrap()];
        config.media.bind = "127.0.0.1".parse().unwrap();
        config.voice.sounds_dir = Some(concat!(env!("CARGO_MANIFEST_DIR"), "/../sounds").into());
        config.intake.receipt_quiet_s = 0;
        config.intake.leader_numbers = vec!["13900000000".into()];
        change(&mut config);
        let (sv, _events) = build(Arc::new(config), CancellationToken::new()).await.unwrap();
        let workers =
            vec![tokio::spawn(super::settle::run(Arc::clone(&sv))), tokio::spawn(super::replay::run(Arc::clone(&sv)))];
        Self { sv, workers }
    }

    async fn close(self) {
        self.sv.cancel.cancel();
        for worker in self.workers {
            worker.await.unwrap();
        }
        self.sv.store.close().await;
    }

    async fn writes(&self, number: &str, key: &str, text: &str) -> Taken {
        message(&self.sv, sms(number, key, text)).await.unwrap()
    }

    /// The texts to a number, oldest first, once there are `count`.
    async fn texts(&self, number: &str, count: usize) -> Vec<Outgoing> {
        let hash = draft::address(&self.sv, AddressKind::Phone, number).unwrap().unwrap().hash;
        until(|| async {
            let mut texts = self.sv.store.outgoing_to(&hash, 50).await.unwrap();
            texts.reverse();
            (texts.len() >= count).then_some(texts)
        })
        .await
    }

    async fn item_of(&self, key: &str) -> Item {
        until(|| async {
            let row = self.sv.store.message_by_key("sms", key).await.unwrap()?;
            self.sv.store.item_get(row.item?).await.unwrap()
        })
        .await
    }
}

fn sms(number: &str, key: &str, text: &str) -> Envelope {
    let sender = Sender::Phone(Pii::new(number.into()));
    Envelope::text(Channel::Sms, "carrier", key.into(), sender, text.into(), now_ms())
}

/// Looks until there is an answer; ten seconds at most.
async fn until<T, F: Future<Output = Option<T>>>(mut look: impl FnMut() -> F) -> T {
    for _ in 0..1_000 {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("nothing came of it in ten seconds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_is_numbered_answered_asked_about_and_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let door = Door::open(folder.path(), |_| {}).await;
    let first = door.writes("13812345678", "a1", "路灯不亮了").await;
    assert_eq!(
        door.writes("13812345678", "a1", "路灯不亮了").await,
        match first {
            Taken::New { message, .. } => Taken::Duplicate { message },
            other => panic!("{other:?}"),
        }
    );
    let item = door.item_of("a1").await;
    assert_eq!((item.channel, item.urgency, item.source.as_str()), (2, 4, "message"));
    let receipt = &door.texts("13812345678", 1).await[0];
    assert!(receipt.text.contains(&item.acceptance_no) && receipt.text.contains(&item.query_code), "{}", receipt.text);
    assert_eq!(receipt.template, "receipt_ask_place");
    assert!(door.sv.store.handoffs_of_item(item.id).await.unwrap().is_empty(), "it may still grow");

    // Progress, by another citizen who knows the code: the state, never the text.
    door.writes("13600000001", "b1", &format!("CX{}", item.query_code)).await;
    let answer = &door.texts("13600000001", 1).await[0];
    assert!(answer.purpose == OutgoingPurpose::Progress && !answer.text.contains("路灯"), "{}", answer.text);
    // Guessing ends in silence, even for a right code.
    for n in 0..7 {
        door.writes("13600000002", &format!("g{n}"), "CX00000000").await;
    }
    door.writes("13600000002", "g8", &format!("CX{}", item.query_code)).await;
    assert_eq!(door.texts("13600000002", 5).await.len(), 5);

    // TD: confirmed once, and no receipt after it.
    door.writes("13812345678", "a2", "TD").await;
    door.writes("13812345678", "a3", "td").await;
    door.writes("13812345678", "a4", &format!("CX{}", item.query_code)).await;
    let texts = door.texts("13812345678", 3).await;
    let purposes: Vec<_> = texts.iter().map(|t| t.purpose.as_str()).collect();
    assert_eq!(purposes, ["receipt", "stop", "progress"]);
    door.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn danger_goes_out_at_once_and_machines_and_the_blocked_get_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let door = Door::open(folder.path(), |c| {
        c.intake.per_sender_hour = 3;
        c.intake.receipt_quiet_s = 60;
    })
    .await;
    door.writes("13812345678", "r1", "人民路88号燃气泄漏").await;
    let item = door.item_of("r1").await;
    assert_eq!((item.urgency, item.location_text.as_deref()), (2, Some("人民路88号")));
    let handoffs = door.sv.store.handoffs_of_item(item.id).await.unwrap();
    assert_eq!((handoffs.len(), handoffs[0].state), (1, HandoffState::Pending));
    let page = &door.texts("13900000000", 1).await[0];
    assert!(page.purpose == OutgoingPurpose::Page && page.text.contains("燃气泄漏"), "{}", page.text);
    assert!(!page.text.contains("5678"), "the citizen isn't named");

    assert!(matches!(door.writes("106901234567", "m1", "您的验证码是1234,请勿泄露").await, Taken::New { .. }));
    let blocked = draft::address(&door.sv, AddressKind::Phone, "13700000000").unwrap().unwrap();
    door.sv.store.block_add(blocked, "骚扰", None, "leader", now_ms()).await.unwrap();
    assert_eq!(door.writes("13700000000", "x1", "路灯不亮了").await, Taken::Refused(Refusal::Blocked));
    for n in 0..4 {
        door.writes("13500000000", &format!("l{n}"), "占道经营").await;
    }
    let state = |key: &'static str| {
        let store = door.sv.store.clone();
        async move { store.message_by_key("sms", key).await.unwrap().unwrap().state }
    };
    assert_eq!(state("m1").await, MessageState::Automatic);
    assert_eq!(state("x1").await, MessageState::Refused);
    assert_eq!((state("l2").await, state("l3").await), (MessageState::Taken, MessageState::Limited));
    for number in ["106901234567", "13700000000"] {
        assert!(door.texts(number, 0).await.is_empty(), "{number}");
    }
    door.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_database_is_locked_messages_wait_in_the_journal_in_order_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let quick = |c: &mut Config| {
        c.intake.store_timeout_ms = 200;
        c.intake.receipt_quiet_s = 60;
    };
    let door = Door::open(folder.path(), quick).await;
    assert!(matches!(door.writes("13812345678", "k0", "路灯不亮了").await, Taken::New { seq: 1, .. }));
    let link = NewWebLink {
        token_hash: "link".into(),
        purpose: LinkPurpose::Report,
        party: None,
        contact: None,
        call: None,
        item: None,
        task: None,
        created_by: None,
        at: now_ms(),
        expires_at: now_ms() + 60_000,
    };
    door.sv.store.web_link_add(link).await.unwrap();
    let thief = rusqlite::Connection::open(folder.path().join("hotline.db")).unwrap();
    thief.execute_batch("BEGIN IMMEDIATE").unwrap();
    for n in 1..=30 {
        let link = (n == 15).then(|| "link".to_owned());
        let e = Envelope { link, ..sms("13812345678", &format!("k{n}"), "路灯不亮了") };
        assert_eq!(message(&door.sv, e).await.unwrap(), Taken::Journaled);
        // The carrier didn't hear us.
        if n % 3 == 0 {
            assert_eq!(door.writes("13812345678", &format!("k{n}"), "路灯不亮了").await, Taken::Journaled);
        }
    }
    // The gateway dies and comes back while the database is still away for others' sake.
    let Door { sv, workers } = door;
    sv.cancel.cancel();
    for worker in workers {
        worker.abort();
    }
    thief.execute_batch("ROLLBACK").unwrap();
    sv.store.close().await;
    drop(sv);

    let door = Door::open(folder.path(), quick).await;
    // Whatever comes now stands behind all of them.
    let after = door.writes("13812345678", "k31", "路灯不亮了").await;
    assert!(matches!(after, Taken::Journaled | Taken::New { .. }), "{after:?}");
    until(|| async { (!door.sv.intake.journal.is_active()).then_some(()) }).await;
    let mut keys: Vec<String> =
        door.sv.store.messages(None, 200).await.unwrap().into_iter().map(|m| m.dedup_key).collect();
    keys.reverse();
    assert_eq!(keys, (0..=31).map(|n| format!("k{n}")).collect::<Vec<_>>());
    let link = door.sv.store.web_link_get("link").await.unwrap().unwrap();
    let through = door.sv.store.message_by_key("sms", "k15").await.unwrap().unwrap();
    assert!(link.used_at.is_some() && link.message == Some(through.id), "a link of the journal is used up too");
    assert_eq!(std::fs::metadata(folder.path().join("intake.journal")).unwrap().len(), 0);
    assert!(matches!(door.writes("13812345678", "k32", "路灯不亮了").await, Taken::New { .. }));
    door.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_and_a_full_journal_are_refused_so_that_the_carrier_sends_again() {
    let folder = tempfile::tempdir().unwrap();
    let door = Door::open(folder.path(), |c| c.intake.per_second_max = 2).await;
    let mut refused = 0;
    for n in 0..6 {
        refused += usize::from(message(&door.sv, sms("13812345678", &format!("f{n}"), "a")).await.is_err());
    }
    assert!(refused >= 2, "{refused} of 6 in a moment");
    let mut long = sms("13812345678", "long", "路");
    long.dedup_key = "k".repeat(2_000);
    let error = message(&door.sv, long).await.unwrap_err();
    assert!(!error.is_transient(), "sending it again is useless: {error}");
    door.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_typed_into_the_page_commands_nothing_and_gets_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let door = Door::open(folder.path(), |_| {}).await;
    door.writes("13812345678", "a1", "路灯不亮了").await;
    let own = door.item_of("a1").await;
    assert_eq!(door.texts("13812345678", 1).await.len(), 1);
    // Somebody else types that number, or it came by a link we texted there.
    let page = |key: &str, text: &str, link: Option<&str>| Envelope {
        channel: Channel::Web,
        link: link.map(str::to_owned),
        ..sms("13812345678", key, text)
    };
    let item_of = |key: &'static str| {
        until(|| async {
            let row = door.sv.store.message_by_key("web", key).await.unwrap()?;
            door.sv.store.item_get(row.item?).await.unwrap()
        })
    };
    message(&door.sv, page("w1", "补充:人民路88号门口,已有人受伤", None)).await.unwrap();
    message(&door.sv, page("w2", "TD", None)).await.unwrap();
    let other = item_of("w1").await;
    assert!(other.id != own.id && other.party == own.party, "an item of its own, for the operator to call back");
    let command = door.sv.store.message_by_key("web", "w2").await.unwrap().unwrap();
    assert_eq!(command.state, MessageState::Taken, "no command");
    assert_eq!(door.texts("13812345678", 0).await.len(), 1, "nothing more than before");

    message(&door.sv, page("w3", "人民路90号路灯不亮", Some("link"))).await.unwrap();
    let linked = item_of("w3").await;
    let receipt = &door.texts("13812345678", 2).await[1];
    assert_eq!(receipt.item, Some(linked.id), "by a link it is theirs, and texts are not stopped");
    door.close().await;
}

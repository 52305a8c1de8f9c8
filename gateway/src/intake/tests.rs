//! The door with its tables and workers: what citizens write becomes items and answers; nothing is
//! lost or doubled while the database is away.

mod absence;

use std::sync::Arc;
use std::time::Duration;

use hotline_db::{
    AddressKind, HandoffKind, HandoffState, Item, MediaKind, MessageState, NewVoiceJob, Outgoing, OutgoingPurpose,
    VOICE_WAITING, VoiceText,
};
use tokio_util::sync::CancellationToken;

use super::accept::{Refusal, Taken, message};
use super::draft;
use super::envelope::{Channel, Envelope, Fetch, Sender};
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

/// Looks until there is an answer; thirty seconds at most.
async fn until<T, F: Future<Output = Option<T>>>(mut look: impl FnMut() -> F) -> T {
    for _ in 0..3_000 {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("nothing came of it in thirty seconds");
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
    // Danger is heard from whoever wrote too much.
    door.writes("13500000000", "l9", "人民路90号燃气泄漏").await;
    let item = door.item_of("l9").await;
    assert_eq!((state("l9").await, item.urgency), (MessageState::Taken, 2));
    assert_eq!(door.sv.store.handoffs_of_item(item.id).await.unwrap().len(), 1);
    let pages = door.texts("13900000000", 2).await;
    assert!(pages[1].text.contains(&item.acceptance_no), "{}", pages[1].text);

    for number in ["106901234567", "13700000000"] {
        assert!(door.texts(number, 0).await.is_empty(), "{number}");
    }
    door.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consoles_hear_of_what_is_added_and_of_who_was_not_understood() {
    let folder = tempfile::tempdir().unwrap();
    let door = Door::open(folder.path(), |c| (c.intake.gap_s, c.intake.span_s) = (1, 1)).await;
    let who = hotline_db::WorkPerson { id: hotline_db::Id::new(), leader: false };
    let told = |kind: &'static str, has: String| {
        let events = door.sv.events.after(0, who).0;
        events.iter().any(|e| e.kind == kind && e.data.to_string().contains(&has)).then_some(())
    };
    door.writes("13812345678", "a1", "人民路88号路灯不亮了").await;
    let item = door.item_of("a1").await;
    // Its conversation is over: this one is added by name.
    until(|| async { (!door.sv.store.handoffs_of_item(item.id).await.unwrap().is_empty()).then_some(()) }).await;
    door.writes("13812345678", "a2", "补充:在3号楼后面").await;
    until(|| async { told("supplement", item.id.to_string()) }).await;
    door.writes("13600000001", "b1", "你好").await;
    until(|| async { told("work", "未完".into()) }).await;
    door.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_danger_is_some_pages_and_one_that_there_is_more() {
    let folder = tempfile::tempdir().unwrap();
    let door = Door::open(folder.path(), |c| c.intake.pages_hour = 2).await;
    for n in 0..5 {
        door.writes(&format!("1380000000{n}"), &format!("s{n}"), &format!("人民路{n}号燃气泄漏")).await;
        door.item_of(&format!("s{n}")).await;
    }
    let texts = door.texts("13900000000", 3).await;
    let templates: Vec<&str> = texts.iter().map(|text| text.template.as_str()).collect();
    // The hour may end in between.
    let count = |wanted: &str| templates.iter().filter(|template| **template == wanted).count();
    assert!((2..=4).contains(&count("page")) && (1..=2).contains(&count("page_more")), "{templates:?}");
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_added_reaches_the_case_core_in_one_note_and_danger_in_it_the_leader() {
    let folder = tempfile::tempdir().unwrap();
    let door = Door::open(folder.path(), |c| c.intake.gap_s = 4).await;
    door.writes("13812345678", "s0", "人民路88号路灯不亮了").await;
    let item = door.item_of("s0").await;
    let handoffs = || door.sv.store.handoffs_of_item(item.id);
    let names = |text: &str| format!("补充{}:{text}", item.acceptance_no);
    // What names the item while its conversation is open is in the case from the first.
    door.writes("13812345678", "s00", &names("在3号楼后面")).await;
    until(|| async { (handoffs().await.unwrap().len() == 1).then_some(()) }).await;
    let first = handoffs().await.unwrap()[0].payload.0.to_string();
    assert!(first.contains("路灯不亮了") && first.contains("3号楼后面"), "{first}");
    door.writes("13812345678", "s1", &names("联系电话13912345678")).await;
    door.writes("13812345678", "s2", &names("井盖也坏了")).await;
    let rows = handoffs().await.unwrap();
    assert_eq!((rows.len(), rows[1].kind), (2, HandoffKind::Remind));
    assert!(rows[1].next_at > now_ms(), "it waits for more");
    let told = rows[1].payload.0.to_string();
    assert!(told.contains("井盖也坏了") && !told.contains("13912345678"), "{told}");
    assert!(door.texts("13900000000", 0).await.is_empty());

    door.writes("13812345678", "s3", &names("燃气泄漏")).await;
    let rows = handoffs().await.unwrap();
    assert!(rows.len() == 2 && rows[1].next_at <= now_ms(), "danger waits for nothing");
    let page = &door.texts("13900000000", 1).await[0];
    assert!(page.text.contains(&item.acceptance_no) && page.text.contains("燃气泄漏"), "{}", page.text);
    assert_eq!(page.party, None);
    assert_eq!(door.sv.metrics.red_lane.get(), 1);
    assert_eq!(door.sv.store.item_get(item.id).await.unwrap().unwrap().urgency, 2);
    door.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_self_test_is_no_incident() {
    let folder = tempfile::tempdir().unwrap();
    let door = Door::open(folder.path(), |_| {}).await;
    let mut test = sms("13812345678", "t1", "人民路88号路灯不亮了");
    test.test = true;
    // The door believes a signature of the robot only; this one is past that.
    let new = draft::draft(&door.sv, &test, false).await.unwrap();
    door.sv.store.message_take(new).await.unwrap();
    door.sv.intake.bell.notify_one();
    let item = door.item_of("t1").await;
    assert_eq!(item.source, hotline_db::SOURCE_TEST);
    let look = rusqlite::Connection::open(folder.path().join("hotline.db")).unwrap();
    let count = |table: &str| -> i64 {
        look.query_row(&format!("SELECT COUNT(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    };
    assert_eq!((count("incident_key"), count("incident_due"), count("handoff"), count("work")), (0, 0, 0, 0));
    // A citizen's report of the same is one.
    door.writes("13600000001", "c1", "人民路88号路灯不亮了").await;
    let other = door.item_of("c1").await;
    assert!(count("incident_key") > 0 && other.merged_into.is_none());
    door.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_messages_and_reports_without_a_text_are_dropped_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let door = Door::open(folder.path(), |c| c.intake.refused_days = 2).await;
    let blocked = draft::address(&door.sv, AddressKind::Phone, "13700000000").unwrap().unwrap();
    door.sv.store.block_add(blocked, "骚扰", None, "leader", now_ms()).await.unwrap();
    door.writes("13700000000", "x1", "路灯不亮了").await;
    door.writes("13812345678", "k1", "路灯不亮了").await;
    let report = door.sv.store.outgoing_report("carrier", "p1", hotline_db::OutgoingState::Delivered, "0", now_ms());
    report.await.unwrap();
    super::prune::once(&door.sv, now_ms()).await;
    assert!(door.sv.store.message_by_key("sms", "x1").await.unwrap().is_some(), "not yet");
    super::prune::once(&door.sv, now_ms() + 3 * 86_400_000).await;
    assert!(door.sv.store.message_by_key("sms", "x1").await.unwrap().is_none());
    assert!(door.sv.store.message_by_key("sms", "k1").await.unwrap().is_some());
    assert_eq!(door.sv.store.outgoing_orphans_prune(i64::MAX).await.unwrap(), 0, "it went too");
    door.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn danger_heard_in_a_voice_after_its_conversation_raises_the_item_and_pages_the_leader() {
    let folder = tempfile::tempdir().unwrap();
    let door = Door::open(folder.path(), |c| c.intake.gap_s = 1).await;
    let sender = Sender::Openid(Pii::new("oCitizen".into()));
    let mut e = Envelope::text(Channel::Wechat, "account", "v1".into(), sender, VOICE_WAITING.into(), now_ms());
    e.fetch = vec![Fetch { kind: MediaKind::Voice, reference: "media-1".into() }];
    let Taken::New { message: id, .. } = message(&door.sv, e).await.unwrap() else { panic!("not new") };
    let store = &door.sv.store;
    let item = until(|| async {
        let row = store.message_get(id).await.unwrap()?;
        let item = row.item?;
        (!store.handoffs_of_item(item).await.unwrap().is_empty()).then_some(item)
    })
    .await;
    assert_eq!(store.item_get(item).await.unwrap().unwrap().urgency, 4);
    assert!(door.texts("13900000000", 0).await.is_empty());

    let media = store.media_of_message(id).await.unwrap().remove(0).id;
    let job = NewVoiceJob { media, message: id, path: "v.wav".into(), duration_ms: 2_000, at: now_ms() };
    store.voice_job_add(job).await.unwrap();
    let job = store.voice_job_claim("w", now_ms(), 60_000).await.unwrap().unwrap();
    let text = "人民路88号燃气泄漏";
    let (engine, model) = ("fake".into(), "none".into());
    let heard = VoiceText { text: text.into(), redacted_text: text.into(), red: true, engine, model };
    store.voice_job_done(&job, heard, now_ms()).await.unwrap();
    door.sv.intake.bell.notify_one();
    let page = &door.texts("13900000000", 1).await[0];
    assert!(page.text.contains("燃气泄漏"), "{}", page.text);
    let row = store.item_get(item).await.unwrap().unwrap();
    assert!(row.urgency == 2 && row.detail.contains(text) && !row.detail.contains(VOICE_WAITING), "{}", row.detail);
    let work = store.work_of_item(item).await.unwrap();
    assert!(!work.is_empty() && work.iter().all(|w| w.lane == 0), "{work:?}");
    let told = store.handoffs_of_item(item).await.unwrap();
    assert!(told.len() == 2 && told[1].kind == HandoffKind::Remind && told[1].next_at <= now_ms());
    assert!(told[1].payload.0.to_string().contains("燃气泄漏"));
    until(|| async { (door.sv.metrics.red_lane.get() == 1).then_some(()) }).await;
    door.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_carrier_says_again_uses_up_nobodys_limit() {
    let folder = tempfile::tempdir().unwrap();
    let door = Door::open(folder.path(), |c| (c.intake.per_sender_hour, c.intake.per_channel_hour) = (2, 3)).await;
    for _ in 0..5 {
        door.writes("13812345678", "k1", "路灯不亮了").await;
    }
    door.writes("13812345678", "k2", "人民路88号").await;
    door.writes("13612345678", "k3", "井盖坏了").await;
    door.writes("13812345678", "k4", "在吗").await;
    let mut states = Vec::new();
    for key in ["k1", "k2", "k3", "k4"] {
        states.push(door.sv.store.message_by_key("sms", key).await.unwrap().unwrap().state);
    }
    assert_eq!(states, [MessageState::Taken, MessageState::Taken, MessageState::Taken, MessageState::Limited]);
    door.close().await;
}

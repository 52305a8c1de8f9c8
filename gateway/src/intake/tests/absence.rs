//! The database goes away and comes back: nothing is lost, doubled or overtaken, and what can't be stored
//! stops nothing else.

use std::task::Poll;

use hotline_db::{LinkPurpose, NewWebLink};

use super::super::{journal::Journal, record};
use super::*;
use crate::privacy::Sealer;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_database_is_locked_messages_wait_in_the_journal_in_order_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let quick = |c: &mut Config| {
        // A commit takes its time on a busy disk; only the first that waits for the lock waits so long.
        c.intake.store_timeout_ms = 2_000;
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

/// How long another process holds the database.
#[derive(Clone, Copy)]
enum Held {
    /// From before the first message on.
    FromTheStart(Duration),
    /// From when the first has given up.
    AfterTheFirst(Duration),
}

/// Twenty messages of two lines, one every `pause`, while another process holds the database for so long; what
/// came of them, in their final order.
async fn order_after(held: Held, pause: Duration, patience_ms: u64) -> (Door, tempfile::TempDir, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let door = Door::open(folder.path(), |c| c.intake.store_timeout_ms = patience_ms).await;
    let thief = rusqlite::Connection::open(folder.path().join("hotline.db")).unwrap();
    thief.execute_batch("BEGIN IMMEDIATE").unwrap();
    let sv = Arc::clone(&door.sv);
    let gives_back = tokio::spawn(async move {
        let held = match held {
            Held::FromTheStart(held) => held,
            Held::AfterTheFirst(held) => {
                while sv.intake.counters.journaled.get() == 0 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                held
            }
        };
        drop(sv);
        tokio::time::sleep(held).await;
        thief.execute_batch("ROLLBACK").unwrap();
    });
    let mut sent = tokio::task::JoinSet::new();
    for n in 0..20_u32 {
        let sv = Arc::clone(&door.sv);
        let mut taking = Box::pin(async move {
            let line = if n % 2 == 0 { "one" } else { "other" };
            let e = Envelope { line: line.into(), ..sms("13812345678", &format!("k{n:02}"), "路灯不亮了") };
            message(&sv, e).await.unwrap()
        });
        // It enters the door here, not when its task happens to run.
        let at_once = std::future::poll_fn(|cx| Poll::Ready(taking.as_mut().poll(cx))).await;
        sent.spawn(async move {
            match at_once {
                Poll::Ready(taken) => taken,
                Poll::Pending => taking.await,
            }
        });
        tokio::time::sleep(pause).await;
    }
    for taken in sent.join_all().await {
        assert!(matches!(taken, Taken::Journaled | Taken::New { .. }), "{taken:?}");
    }
    gives_back.await.unwrap();
    until(|| async { (!door.sv.intake.journal.is_active()).then_some(()) }).await;
    let mut keys: Vec<String> =
        door.sv.store.messages(None, 200).await.unwrap().into_iter().map(|m| m.dedup_key).collect();
    keys.reverse();
    (door, folder, keys)
}

const QUICK: Duration = Duration::from_millis(25);

fn all() -> Vec<String> {
    (0..20).map(|n| format!("k{n:02}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn when_an_absence_begins_the_order_over_all_lines_is_that_of_arrival() {
    // It ends while some have given up and others still wait: none of these gets ahead of those.
    for held_ms in [20, 150, 300] {
        let held = Held::AfterTheFirst(Duration::from_millis(held_ms));
        let (door, _folder, keys) = order_after(held, QUICK, 300).await;
        assert_eq!(keys, all(), "{held_ms} ms");
        door.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn after_an_absence_of_the_database_the_order_is_that_of_arrival() {
    // Longer than SQLite's own patience: it gives up the first, and the others are still in its queue.
    let (door, _folder, keys) = order_after(Held::FromTheStart(Duration::from_millis(6_500)), QUICK, 300).await;
    assert_eq!(keys, all());
    door.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_still_waits_for_the_database_is_not_overtaken_by_those_who_come_after_the_first_gave_up() {
    // As long a patience as a site's: newcomers would wait less for the others than those for the database.
    let held = Held::FromTheStart(Duration::from_millis(4_900));
    let (door, _folder, keys) = order_after(held, Duration::from_millis(170), 2_500).await;
    assert_eq!(keys, all());
    door.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_not_be_stored_is_put_aside_and_stops_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    // Of another key: a restored backup.
    let foreign = record::seal(&Sealer::from_key([9; 32]), &sms("13812345678", "k0", "路灯不亮了"), false).unwrap();
    let journal = Journal::open(&folder.path().join("intake.journal"), 1_000_000).unwrap();
    journal.reserve().append(foreign, || ()).await.unwrap();
    drop(journal);
    let door = Door::open(folder.path(), |_| {}).await;
    until(|| async { (!door.sv.intake.journal.is_active()).then_some(()) }).await;
    assert_eq!(door.sv.intake.unread.records(), 1);

    // Two the database refuses: one for its data, one without saying why.
    let look = rusqlite::Connection::open(folder.path().join("hotline.db")).unwrap();
    look.execute_batch(
        "CREATE TRIGGER bad BEFORE INSERT ON message WHEN NEW.dedup_key = 'bad' BEGIN SELECT RAISE(ABORT, 'bad'); END; \
         CREATE TRIGGER worse BEFORE INSERT ON message WHEN NEW.dedup_key = 'worse' BEGIN SELECT json('{'); END",
    )
    .unwrap();
    drop(look);
    assert_eq!(door.writes("13812345678", "bad", "路灯不亮了").await, Taken::Journaled);
    until(|| async { (!door.sv.intake.journal.is_active()).then_some(()) }).await;
    assert_eq!(door.writes("13812345678", "worse", "路灯不亮了").await, Taken::Journaled);
    for n in 1..4 {
        door.writes("13812345678", &format!("k{n}"), "人民路88号路灯不亮了").await;
    }
    until(|| async { (!door.sv.intake.journal.is_active()).then_some(()) }).await;
    let mut keys: Vec<String> =
        door.sv.store.messages(None, 200).await.unwrap().into_iter().map(|m| m.dedup_key).collect();
    keys.reverse();
    assert_eq!(keys, ["k1", "k2", "k3"]);
    assert_eq!(door.sv.intake.unread.records(), 3);
    let health = crate::observe::health::check(&door.sv).await;
    assert!(health.problems.iter().any(|p| p.starts_with("intake: 3 ")), "{:?}", health.problems);
    door.close().await;
}

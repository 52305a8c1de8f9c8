//! What was acknowledged is there after a crash, and nothing is done twice.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use hotline_db::{CallEnd, CallbackFilter, CallbackKind, EndSide, NewCallback, Store};

use crate::stage::{Stage, T0, call, hung_up, new_call, party, recorded, recording, story};

const CHILD: &str = "HOTLINE_STORY_CRASH_URL";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "not a test of its own: the process the next test kills"]
async fn crash_child() {
    let Ok(url) = std::env::var(CHILD) else {
        return;
    };
    let store = Store::open(&url).await.unwrap();
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                loop {
                    let call = store.call_begin(new_call(None, T0)).await.unwrap();
                    println!("\nacknowledged {} {}", call.seq, call.id);
                }
            })
        })
        .collect();
    // They go on until the process is killed.
    callers.into_iter().next().unwrap().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("hotline.db").display());
    let mut last_seq = 0;
    for round in 1..=3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["crash::crash_child", "--exact", "--ignored", "--nocapture"])
            .env(CHILD, &url)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acknowledged = Vec::new();
        let told = |line: String| {
            let mut words = line.strip_prefix("acknowledged ")?.split(' ');
            let seq: i64 = words.next()?.parse().ok()?;
            Some((seq, words.next()?.parse().ok()?))
        };
        while acknowledged.len() < 60 * round {
            acknowledged.extend(told(lines.next().unwrap().unwrap()));
        }
        child.kill().unwrap();
        // What it still managed to say counts too; its last line may be torn.
        acknowledged.extend(lines.map_while(Result::ok).filter_map(told));
        child.wait().unwrap();

        let store = Store::open(&url).await.unwrap();
        for (seq, id) in &acknowledged {
            let call = store.call_get(*id).await.unwrap();
            assert_eq!(call.map(|c| c.seq), Some(*seq), "acknowledged and lost");
            last_seq = last_seq.max(*seq);
        }
        let next = call(&store, None).await.seq;
        assert!(next > last_seq, "numbers go on");
        assert!(store.call_events(acknowledged[0].1).await.unwrap().len() == 1);
        store.close().await;
    }
}

story!(a_restart_ends_cut_calls_once_however_often_it_is_tried, |s: Stage| async move {
    let mut s = s;
    let citizen = party(&s.store, 1).await;
    let cut = call(&s.store, Some(citizen.id)).await;
    let talked = call(&s.store, None).await;
    let tape = recording(&s.store, cut.id).await;
    s.store.call_end(talked.id, hung_up(T0)).await.unwrap();
    for round in 0..2 {
        s.restart().await;
        let open = s.store.calls_open(Some("gw1")).await.unwrap();
        assert_eq!(open.len(), usize::from(round == 0));
        for call in [&cut] {
            let end = CallEnd {
                end_side: EndSide::System,
                end_reason: "restart".into(),
                missed: Some(NewCallback::new(CallbackKind::Missed, T0)),
                ..hung_up(T0 + round)
            };
            assert_eq!(s.store.call_end(call.id, end).await.unwrap(), round == 0);
        }
        assert!(!s.store.recording_finish(tape, recorded(true)).await.unwrap());
    }
    let filter = CallbackFilter { limit: 9, party: Some(citizen.id), ..Default::default() };
    assert_eq!(s.store.callbacks(filter).await.unwrap().len(), 1);
    assert_eq!(s.store.job_counts().await.unwrap().queued, 1);
});

story!(a_caller_that_goes_away_spoils_nothing, |s: Stage| async move {
    // Dropped futures at every stage of a write: later writes must still get through.
    for n in 0..60_u64 {
        let write = s.store.call_begin(new_call(None, T0));
        let _ = tokio::time::timeout(std::time::Duration::from_micros(n * 40), write).await;
    }
    let seq = call(&s.store, None).await.seq;
    assert!(seq >= 1);
    for call in s.store.calls_open(None).await.unwrap() {
        assert_eq!(s.store.call_events(call.id).await.unwrap().len(), 1, "whole or not at all");
    }
});

story!(a_failing_write_takes_no_neighbour_with_it, |s: Stage| async move {
    // Gathered into one commit on SQLite: good and bad writes side by side.
    let tasks: Vec<_> = (0..60)
        .map(|n| {
            let store = s.store.clone();
            tokio::spawn(async move {
                let party = (n % 3 == 0).then(hotline_db::Id::new);
                (party.is_some(), store.call_begin(new_call(party, T0)).await.is_ok())
            })
        })
        .collect();
    for task in tasks {
        let (bad, stored) = task.await.unwrap();
        assert_eq!(stored, !bad);
    }
    let seqs: Vec<i64> = s.store.calls_open(None).await.unwrap().iter().map(|c| c.seq).collect();
    assert_eq!(seqs, (1..=40).collect::<Vec<_>>(), "a failed write leaves no trace, no number");
});

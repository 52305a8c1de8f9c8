//! Recordings, their chain, and the jobs that transcribe them.

use std::collections::HashMap;

use hotline_db::{
    ChainCheck, DbError, Id, Job, JobCounts, JobState, NewRecording, NewTranscript, RecordingKind, RecordingState,
    Store,
};
use serde_json::json;

use crate::stage::{CHINA, Stage, T0, call, hung_up, new_item, recorded, recording, story};

fn heard(text: &str) -> NewTranscript {
    NewTranscript {
        engine: "fake".into(),
        model: "none".into(),
        version: "1".into(),
        segments: json!([{"t0_ms": 0, "t1_ms": 900, "side": "L", "text": text}]).into(),
        text: text.into(),
        redacted_text: text.into(),
    }
}

async fn one_job(store: &Store) -> Id {
    let call = call(store, None).await;
    recording(store, call.id).await
}

async fn claim(store: &Store, worker: &str, now: i64) -> Option<Job> {
    store.job_claim(worker, now, 1_000).await.unwrap()
}

const NOW: i64 = T0 + 100_000;

story!(a_recording_is_finished_once_and_chained, |s: Stage| async move {
    let store = &s.store;
    let call = call(store, None).await;
    let id = Id::new();
    let new = NewRecording {
        id,
        call: call.id,
        path: "a.wav".into(),
        started_at: T0,
        channels: 2,
        kind: RecordingKind::Talk,
        notice_played: true,
    };
    store.recording_begin(new.clone()).await.unwrap();
    store.recording_begin(new).await.unwrap();
    assert_eq!(store.recordings_open().await.unwrap().len(), 1);
    assert!(store.recording_finish(id, recorded(true)).await.unwrap());
    assert!(!store.recording_finish(id, recorded(true)).await.unwrap());
    let done = store.recording_get(id).await.unwrap().unwrap();
    assert_eq!((done.state, done.chain_n), (RecordingState::Done, Some(1)));
    assert_eq!(store.job_counts().await.unwrap(), JobCounts { queued: 1, ..Default::default() });
    let unknown = store.recording_finish(Id::new(), recorded(true)).await;
    assert!(matches!(unknown, Err(DbError::NotFound)), "{unknown:?}");

    recording(store, call.id).await;
    assert_eq!(store.recordings_of_call(call.id).await.unwrap().len(), 2);
    let check = store.recordings_verify().await.unwrap();
    assert_eq!(check, ChainCheck { count: 2, first_broken: None });
    s.raw("UPDATE recording SET duration_ms = 1 WHERE chain_n = 2").await.unwrap();
    assert_eq!(store.recordings_verify().await.unwrap().first_broken, Some(2));
});

story!(a_lost_recording_says_why, |s: Stage| async move {
    let call = call(&s.store, None).await;
    let id = Id::new();
    let new = NewRecording {
        id,
        call: call.id,
        path: "b.wav".into(),
        started_at: T0,
        channels: 1,
        kind: RecordingKind::Message,
        notice_played: false,
    };
    s.store.recording_begin(new).await.unwrap();
    assert!(s.store.recording_lost(id, T0 + 1, "the file is gone").await.unwrap());
    assert!(!s.store.recording_lost(id, T0 + 2, "again").await.unwrap());
    let row = s.store.recording_get(id).await.unwrap().unwrap();
    assert_eq!(row.lost_reason.as_deref(), Some("the file is gone"));
    assert!(s.store.recordings_open().await.unwrap().is_empty());
});

story!(listening_needs_a_reason, |s: Stage| async move {
    let id = one_job(&s.store).await;
    let user = Id::new();
    let mute = s.store.recording_access(id, user, "play", "  ", T0).await;
    assert!(matches!(mute, Err(DbError::Invalid { .. })), "{mute:?}");
    s.store.recording_access(id, user, "play", "质检", T0).await.unwrap();
});

story!(a_job_is_leased_renewed_and_done_once, |s: Stage| async move {
    let store = &s.store;
    let id = one_job(store).await;
    let job = claim(store, "w1", NOW).await.unwrap();
    assert_eq!((job.recording, job.attempts, job.state), (id, 1, JobState::Running));
    assert!(claim(store, "w2", NOW + 999).await.is_none());
    store.job_renew(&job, NOW + 5_000).await.unwrap();
    assert!(claim(store, "w2", NOW + 4_999).await.is_none());
    assert!(store.job_done(&job, heard("井盖没了"), NOW + 3_000).await.unwrap());
    assert!(!store.job_done(&job, heard("again"), NOW + 3_001).await.unwrap(), "once");
    let kept = store.transcript_of(id).await.unwrap().unwrap();
    assert_eq!((kept.text.as_str(), &kept.segments[0]["side"]), ("井盖没了", &json!("L")));
    assert_eq!(store.job_of_recording(id).await.unwrap().unwrap().state, JobState::Done);
});

story!(a_worker_whose_lease_was_taken_over_stores_nothing, |s: Stage| async move {
    let store = &s.store;
    let id = one_job(store).await;
    let slow = claim(store, "w1", NOW).await.unwrap();
    let quick = claim(store, "w1", NOW + 1_000).await.unwrap();
    assert_eq!(quick.attempts, 2, "even under the same name");
    let late = store.job_done(&slow, heard("late"), NOW + 1_001).await;
    assert!(matches!(late, Err(DbError::LeaseLost)), "{late:?}");
    let late = store.job_renew(&slow, NOW + 9_000).await;
    assert!(matches!(late, Err(DbError::LeaseLost)), "{late:?}");
    let late = store.job_retry(&slow, NOW, "x").await;
    assert!(matches!(late, Err(DbError::LeaseLost)), "{late:?}");
    assert!(store.job_done(&quick, heard("quick"), NOW + 1_002).await.unwrap());
    let late = store.job_done(&slow, heard("late"), NOW + 1_003).await;
    assert!(matches!(late, Err(DbError::LeaseLost)), "{late:?}");
    assert_eq!(store.transcript_of(id).await.unwrap().unwrap().text, "quick");
});

story!(jobs_are_retried_given_up_and_laid_aside, |s: Stage| async move {
    let store = &s.store;
    one_job(store).await;
    let job = claim(store, "w", NOW).await.unwrap();
    store.job_wait_model(&job, NOW).await.unwrap();
    assert!(claim(store, "w", NOW + 9_000).await.is_none(), "no model, no work");
    assert_eq!(store.jobs_release_waiting_model(NOW + 9_000).await.unwrap(), 1);
    let job = claim(store, "w", NOW + 9_000).await.unwrap();
    assert_eq!(job.attempts, 1, "waiting for a model is no attempt");
    store.job_retry(&job, NOW + 20_000, "engine died").await.unwrap();
    assert!(claim(store, "w", NOW + 19_999).await.is_none());
    let job = claim(store, "w", NOW + 20_000).await.unwrap();
    assert_eq!((job.attempts, job.last_error.as_deref()), (2, Some("engine died")));
    store.job_fail(&job, "five times", NOW + 20_001).await.unwrap();
    let counts = store.job_counts().await.unwrap();
    assert_eq!(counts, JobCounts { failed: 1, ..JobCounts::default() });
});

story!(a_hundred_jobs_go_to_eight_workers_each_once, |s: Stage| async move {
    let store = &s.store;
    let call = call(store, None).await;
    for _ in 0..100 {
        recording(store, call.id).await;
    }
    let workers: Vec<_> = (0..8)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut mine = Vec::new();
                let mut idle = 0;
                while idle < 20 {
                    match store.job_claim(&format!("w{n}"), NOW, 600_000).await.unwrap() {
                        Some(job) => {
                            idle = 0;
                            mine.push(job.id);
                            assert!(store.job_done(&job, heard("x"), NOW).await.unwrap());
                        }
                        None => idle += 1,
                    }
                }
                mine
            })
        })
        .collect();
    let mut times: HashMap<Id, u32> = HashMap::new();
    for worker in workers {
        for id in worker.await.unwrap() {
            *times.entry(id).or_default() += 1;
        }
    }
    assert_eq!(times.len(), 100);
    assert!(times.values().all(|n| *n == 1), "none twice");
    assert_eq!(store.job_counts().await.unwrap(), JobCounts { done: 100, ..Default::default() });
});

story!(a_transcribed_call_without_an_item_is_found_until_it_has_one, |s: Stage| async move {
    let store = &s.store;
    let call = call(store, None).await;
    recording(store, call.id).await;
    let job = claim(store, "w", NOW).await.unwrap();
    store.job_done(&job, heard("路灯不亮"), NOW).await.unwrap();
    assert!(store.calls_unfiled(NOW, 10).await.unwrap().is_empty(), "it still goes on");
    store.call_end(call.id, hung_up(NOW)).await.unwrap();
    assert!(store.calls_unfiled(NOW - 1, 10).await.unwrap().is_empty(), "too fresh");
    let found = store.calls_unfiled(NOW, 10).await.unwrap();
    assert_eq!((found[0].call, found[0].text.as_str()), (call.id, "路灯不亮"));
    let new = new_item(Some(found[0].contact));
    store.item_create(new, None, NOW, CHINA).await.unwrap();
    assert!(store.calls_unfiled(NOW, 10).await.unwrap().is_empty());
});

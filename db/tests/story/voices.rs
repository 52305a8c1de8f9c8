//! Voices of messages: transcribed once, their words added where people look for them.

use hotline_db::{DbError, Id, JobState, MediaKind, MessageTaken, NewMedia, NewVoiceJob, VOICE_WAITING, VoiceText};

use sqlx::{AssertSqlSafe, Executor};

use crate::groups::{other, somebody_waits};
use crate::stage::{Stage, T0, on_postgres, story};
use crate::wechat::wechat_message;

fn heard(text: &str, red: bool) -> VoiceText {
    let (engine, model) = ("fake".into(), "none".into());
    VoiceText { text: text.into(), redacted_text: text.replace("13800138000", "138****8000"), red, engine, model }
}

/// A voice message with its job; the message's id.
async fn spoken(s: &Stage, key: &str, at: i64) -> Id {
    let mut new = wechat_message(1, key, VOICE_WAITING, at);
    new.media = vec![NewMedia { kind: MediaKind::Voice, sha256: None, reference: Some(format!("media-{key}")) }];
    let MessageTaken::New { message, .. } = s.store.message_take(new).await.unwrap() else { panic!() };
    let media = s.store.media_of_message(message).await.unwrap().remove(0).id;
    let job = NewVoiceJob { media, message, path: format!("voice/{key}.wav"), duration_ms: 2_000, at };
    s.store.voice_job_add(job.clone()).await.unwrap();
    s.store.voice_job_add(job).await.unwrap();
    message
}

story!(the_words_of_a_voice_take_its_place_in_the_message, |s: Stage| async move {
    let message = spoken(&s, "a", T0).await;
    let job = s.store.voice_job_claim("w1", T0, 60_000).await.unwrap().unwrap();
    assert!(s.store.voice_job_claim("w2", T0, 60_000).await.unwrap().is_none(), "one voice, one job, one worker");
    s.store.voice_job_renew(&job, T0 + 90_000).await.unwrap();
    s.store.voice_job_done(&job, heard("燃气泄漏,电话13800138000", true), T0 + 5).await.unwrap();
    let row = s.store.message_get(message).await.unwrap().unwrap();
    assert_eq!(row.text, "[语音] 燃气泄漏,电话13800138000");
    assert_eq!(row.redacted_text, "[语音] 燃气泄漏,电话138****8000");
    assert!(row.red);
    let conversation = s.store.conversation_get(row.conversation.unwrap()).await.unwrap().unwrap();
    assert!(conversation.red && conversation.act_at == Some(T0 + 5), "danger is dealt with at once");
    let again = s.store.voice_job_done(&job, heard("再来", false), T0 + 9).await;
    assert!(matches!(again, Err(DbError::LeaseLost)), "{again:?}");
});

story!(a_voice_whose_worker_died_is_heard_by_another, |s: Stage| async move {
    let message = spoken(&s, "a", T0).await;
    let dead = s.store.voice_job_claim("w1", T0, 1_000).await.unwrap().unwrap();
    let job = s.store.voice_job_claim("w2", T0 + 1_000, 1_000).await.unwrap().unwrap();
    assert_eq!(job.attempts, 2);
    let late = s.store.voice_job_done(&dead, heard("甲", false), T0).await;
    assert!(matches!(late, Err(DbError::LeaseLost)));
    s.store.voice_job_missed(&job, Some(T0 + 5_000), "no engine", T0).await.unwrap();
    assert!(s.store.voice_job_claim("w2", T0 + 4_999, 1_000).await.unwrap().is_none());
    let job = s.store.voice_job_claim("w2", T0 + 5_000, 1_000).await.unwrap().unwrap();
    s.store.voice_job_done(&job, heard("", false), T0 + 6_000).await.unwrap();
    let row = s.store.message_get(message).await.unwrap().unwrap();
    assert_eq!(row.text, VOICE_WAITING, "where nothing was understood somebody must listen");
    let jobs = s.store.voice_jobs_of_message(message).await.unwrap();
    assert_eq!((jobs.len(), jobs[0].state), (1, JobState::Done));
    spoken(&s, "b", T0).await;
    let job = s.store.voice_job_claim("w2", T0, 1_000).await.unwrap().unwrap();
    s.store.voice_job_missed(&job, None, "damaged", T0).await.unwrap();
    assert!(s.store.voice_job_claim("w2", T0 + 9_999_999, 1_000).await.unwrap().is_none(), "given up");
});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_words_of_a_voice_and_a_step_of_its_conversation_wait_for_each_other_in_one_order() {
    on_postgres(|s| async move {
        let message = spoken(&s, "a", T0).await;
        let row = s.store.message_get(message).await.unwrap().unwrap();
        let job = s.store.voice_job_claim("w1", T0, 60_000).await.unwrap().unwrap();
        // A step has the conversation, and writes its messages next.
        let conversation = row.conversation.unwrap();
        let mut step = other(&s, format!("SELECT 1 FROM conversation WHERE id = '{conversation}' FOR UPDATE")).await;
        let store = s.store.clone();
        let saying = tokio::spawn(async move { store.voice_job_done(&job, heard("井盖没了", true), T0 + 5).await });
        somebody_waits(&s).await;
        let write = format!("UPDATE message SET item = item WHERE conversation = '{conversation}'");
        step.execute(AssertSqlSafe(write)).await.unwrap();
        step.execute("COMMIT").await.unwrap();
        saying.await.unwrap().unwrap();
        assert_eq!(s.store.message_get(message).await.unwrap().unwrap().text, "[语音] 井盖没了");
    })
    .await;
}

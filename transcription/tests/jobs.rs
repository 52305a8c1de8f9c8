//! Recordings to transcripts through real child processes and a real database.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that fails should say where"
)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hotline_db::{Direction, Id, JobState, Json, NewCall, NewRecording, RecordingDone, RecordingKind, Store};
use hotline_transcription::worker::protocol::{Reply, Request, line, parse};
use hotline_transcription::worker::{FaultKind, Worker, WorkerCommand, WorkerError, worker_main};
use hotline_transcription::{Config, Done, EngineKind, jobs};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How the child behaves; without this variable the entry below is no child.
const MODE: &str = "HOTLINE_TEST_WORKER";
/// A file whose existence means: misbehaved once, now behave.
const MARK: &str = "HOTLINE_TEST_MARK";

/// The child's side: this very program, started with this test's name.
#[test]
fn worker_entry() {
    let Ok(mode) = std::env::var(MODE) else {
        return;
    };
    // Ends the line the test runner may have begun.
    println!();
    let misbehaved = std::env::var(MARK).is_ok_and(|m| {
        let there = Path::new(&m).exists();
        let _ = std::fs::write(m, "");
        there
    });
    match mode.as_str() {
        "die" if !misbehaved => stand_in(|| {
            eprintln!("ggml_abort");
            std::process::exit(134)
        }),
        "hang" if !misbehaved => stand_in(|| std::thread::sleep(Duration::from_secs(600))),
        "noise" => std::thread::spawn(|| {
            loop {
                println!("{{\"type\":\"progress\",\"id\":99,\"done_ms\":1,\"total_ms\":2}}\nnoise");
                eprintln!("noise");
                std::thread::sleep(Duration::from_millis(5));
            }
        })
        .thread()
        .unpark(),
        _ => {}
    }
    let _ = worker_main();
    std::process::exit(0);
}

/// Says it is ready, then does `act` at the first request.
fn stand_in(act: impl Fn()) {
    let mut text = String::new();
    std::io::stdin().read_line(&mut text).unwrap();
    let ready = Reply::Ready { engine: "fake".into(), model: "none".into(), vad: "earshot".into() };
    std::io::stdout().write_all(&line(&ready)).unwrap();
    std::io::stdin().read_line(&mut text).unwrap();
    act();
}

fn command(mode: &str, dir: &Path) -> WorkerCommand {
    WorkerCommand {
        exe: std::env::current_exe().unwrap(),
        args: ["--exact", "worker_entry", "--nocapture"].map(Into::into).to_vec(),
        env: vec![(MODE.into(), mode.into()), (MARK.into(), dir.join("mark").display().to_string())],
    }
}

fn fake() -> Config {
    Config {
        engine: EngineKind::Fake,
        fake_texts: vec!["人民路88號井蓋沒了,我電話13800138000".into()],
        nice: 0,
        poll_ms: 20,
        ..Config::default()
    }
}

/// Stereo, 8 kHz: a rendered prompt on the left, or silence where it's absent.
/// The flag says whether there is speech.
fn talk(path: &Path, seconds: usize) -> bool {
    let prompt = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sounds/zh-CN/greeting.wav");
    let speech: Vec<i16> = match hound::WavReader::open(&prompt) {
        Ok(mut reader) => reader.samples::<i16>().map(Result::unwrap).collect(),
        Err(_) => {
            println!("silence instead of speech: {} is absent", prompt.display());
            Vec::new()
        }
    };
    let spec = hound::WavSpec {
        channels: 2,
        sample_rate: 8_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    for i in 0..8_000 * seconds {
        let left = i.checked_sub(4_000).and_then(|i: usize| speech.get(i)).copied();
        writer.write_sample(left.unwrap_or(0)).unwrap();
        writer.write_sample(0_i16).unwrap();
    }
    writer.finalize().unwrap();
    !speech.is_empty()
}

struct Site {
    dir: tempfile::TempDir,
    store: Store,
}

impl Site {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("sqlite://{}/t.db", dir.path().display())).await.unwrap();
        Self { dir, store }
    }

    /// A finished call with a recording at `path`, whose job is queued.
    async fn recording(&self, path: &str) -> (Id, Id) {
        let call = NewCall {
            direction: Direction::Inbound,
            channel: "phone".into(),
            did: "12319".into(),
            caller_masked: "138****8000".into(),
            party: None,
            trunk: None,
            sip_call_id: Id::new().to_string(),
            node: "test".into(),
            at: 1,
        };
        let call = self.store.call_begin(call).await.unwrap().id;
        let id = Id::new();
        let begun = NewRecording {
            id,
            call,
            path: path.into(),
            started_at: 1,
            channels: 2,
            kind: RecordingKind::Talk,
            notice_played: true,
        };
        self.store.recording_begin(begun).await.unwrap();
        let done = RecordingDone {
            duration_ms: 8_000,
            bytes: 256_044,
            sha256: "0".repeat(64),
            gaps_ms: 0,
            paused_ranges: Json(serde_json::json!([])),
            transcribe: true,
            at: 2,
        };
        assert!(self.store.recording_finish(id, done).await.unwrap());
        (id, call)
    }

    fn start(&self, cfg: Config, mode: &str) -> Running {
        let (sender, done) = mpsc::channel(100);
        let cancel = CancellationToken::new();
        let work = jobs::run_command(
            self.store.clone(),
            cfg,
            command(mode, self.dir.path()),
            self.dir.path().into(),
            cancel.clone(),
            sender,
        );
        Running { cancel, done, task: tokio::spawn(work) }
    }

    async fn state(&self, recording: Id) -> JobState {
        self.store.job_of_recording(recording).await.unwrap().unwrap().state
    }

    async fn until(&self, recording: Id, wanted: JobState) {
        let begin = Instant::now();
        while self.state(recording).await != wanted {
            assert!(begin.elapsed() < Duration::from_secs(60), "still {:?}", self.state(recording).await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

struct Running {
    cancel: CancellationToken,
    done: mpsc::Receiver<Done>,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    async fn next(&mut self) -> Done {
        tokio::time::timeout(Duration::from_secs(60), self.done.recv()).await.unwrap().unwrap()
    }

    async fn stop(self) {
        self.cancel.cancel();
        tokio::time::timeout(Duration::from_secs(20), self.task).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_recording_becomes_a_stored_masked_simplified_transcript() {
    let site = Site::new().await;
    let speech = talk(&site.dir.path().join("a.wav"), 8);
    let (recording, call) = site.recording("a.wav").await;
    let mut running = site.start(fake(), "noise");
    let done = running.next().await;
    assert_eq!((done.recording, done.call), (recording, Some(call)));
    let row = site.store.transcript_of(recording).await.unwrap().unwrap();
    assert_eq!((row.engine.as_str(), row.text.as_str()), ("fake", done.text.as_str()));
    assert_eq!(site.state(recording).await, JobState::Done);
    if speech {
        assert!(row.text.starts_with("人民路88号井盖没了"), "{}", row.text);
        assert!(row.redacted_text.contains("[电话]") && !row.redacted_text.contains("13800138000"));
        let first = &row.segments[0];
        assert_eq!(first["side"], "L");
        assert!(first["t0_ms"].as_u64().unwrap() < first["t1_ms"].as_u64().unwrap());
    } else {
        assert_eq!(row.text, "");
    }
    running.stop().await;
}

#[tokio::test]
async fn without_an_engine_jobs_wait_and_come_back_when_there_is_one() {
    let site = Site::new().await;
    talk(&site.dir.path().join("a.wav"), 2);
    let (recording, _) = site.recording("a.wav").await;
    let idle = site.start(Config { engine: EngineKind::None, ..fake() }, "");
    site.until(recording, JobState::WaitingModel).await;
    idle.stop().await;
    let mut running = site.start(fake(), "");
    assert_eq!(running.next().await.recording, recording);
    let job = site.store.job_of_recording(recording).await.unwrap().unwrap();
    assert_eq!(job.attempts, 1, "waiting is no attempt");
    running.stop().await;
}

#[tokio::test]
async fn a_child_that_dies_costs_one_attempt_and_is_told_in_the_row() {
    let site = Site::new().await;
    talk(&site.dir.path().join("a.wav"), 2);
    let (recording, _) = site.recording("a.wav").await;
    let running = site.start(fake(), "die");
    let begin = Instant::now();
    let job = loop {
        let job = site.store.job_of_recording(recording).await.unwrap().unwrap();
        if job.last_error.is_some() {
            break job;
        }
        assert!(begin.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!((job.state, job.attempts), (JobState::Queued, 1));
    assert!(job.last_error.unwrap().contains("ggml_abort"));
    assert!(job.next_at > job.created_at);
    running.stop().await;
}

#[tokio::test]
async fn what_can_never_work_fails_at_once_and_what_is_missing_is_tried_again() {
    let site = Site::new().await;
    std::fs::write(site.dir.path().join("bad.wav"), b"RIFFnonsense").unwrap();
    let (bad, _) = site.recording("bad.wav").await;
    let (outside, _) = site.recording("../outside.wav").await;
    let (missing, _) = site.recording("missing.wav").await;
    let running = site.start(fake(), "");
    site.until(bad, JobState::Failed).await;
    site.until(outside, JobState::Failed).await;
    let begin = Instant::now();
    while site.store.job_of_recording(missing).await.unwrap().unwrap().last_error.is_none() {
        assert!(begin.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(site.state(missing).await, JobState::Queued);
    running.stop().await;
}

#[tokio::test]
async fn two_processes_share_the_jobs_and_none_is_done_twice() {
    let site = Site::new().await;
    talk(&site.dir.path().join("a.wav"), 2);
    let mut wanted = Vec::new();
    for _ in 0..12 {
        wanted.push(site.recording("a.wav").await.0);
    }
    let mut first = site.start(Config { workers: 2, ..fake() }, "");
    let mut second = site.start(fake(), "");
    let mut got = Vec::new();
    while got.len() < wanted.len() {
        let done = tokio::select! {
            done = first.next() => done,
            done = second.next() => done,
        };
        got.push(done.recording);
    }
    got.sort();
    wanted.sort();
    assert_eq!(got, wanted);
    first.stop().await;
    second.stop().await;
    assert_eq!(site.store.job_counts().await.unwrap().done, 12);
}

#[tokio::test]
async fn stopping_lays_the_job_aside_and_uses_up_no_attempt() {
    let site = Site::new().await;
    talk(&site.dir.path().join("a.wav"), 2);
    let (recording, _) = site.recording("a.wav").await;
    let running = site.start(fake(), "hang");
    site.until(recording, JobState::Running).await;
    // Give the child time to be in the middle of it.
    tokio::time::sleep(Duration::from_millis(500)).await;
    running.stop().await;
    let job = site.store.job_of_recording(recording).await.unwrap().unwrap();
    assert_eq!((job.state, job.attempts), (JobState::WaitingModel, 0));
    let mut again = site.start(fake(), "");
    assert_eq!(again.next().await.recording, recording);
    again.stop().await;
}

#[tokio::test]
async fn a_lease_is_renewed_while_the_child_works_and_a_lost_one_stops_it() {
    let site = Site::new().await;
    talk(&site.dir.path().join("a.wav"), 2);
    let (recording, _) = site.recording("a.wav").await;
    let running = site.start(Config { lease_ms: 1_000, ..fake() }, "hang");
    site.until(recording, JobState::Running).await;
    let begun = site.store.job_of_recording(recording).await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let now = site.store.job_of_recording(recording).await.unwrap().unwrap();
    assert_eq!((now.attempts, now.state), (1, JobState::Running));
    assert!(now.lease_until > begun.lease_until);
    // Somebody whose clock is ahead takes the job over: ours must leave it alone.
    let ahead = now.lease_until.unwrap() + 60_000;
    let other = site.store.job_claim("other", ahead, 600_000).await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    site.store.job_renew(&other, ahead + 600_000).await.unwrap();
    running.stop().await;
    let held = site.store.job_of_recording(recording).await.unwrap().unwrap();
    assert_eq!((held.state, held.worker.as_deref()), (JobState::Running, Some("other")));
}

#[tokio::test]
async fn an_overrunning_child_is_killed_and_the_next_one_works() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.wav");
    talk(&path, 2);
    let cfg = Config { timeout_base_ms: 700, timeout_factor: 0.0, ..fake() };
    let mut worker = Worker::new(command("hang", dir.path()), cfg);
    let err = worker.transcribe(&path, 0, &mut |_, _| {}).await.unwrap_err();
    assert!(matches!(err, WorkerError::Overrun { ms: 700 }), "{err}");
    assert_eq!(worker.pid(), None);
    // A debug build on a busy machine may need longer than the limit for the second.
    let mut tries = 0;
    let got = loop {
        match worker.transcribe(&path, 0, &mut |_, _| {}).await {
            Ok(got) => break got,
            Err(WorkerError::Overrun { .. }) if tries < 5 => tries += 1,
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(got.audio_ms, 2_000);
}

#[tokio::test]
async fn one_child_serves_many_requests_and_survives_bad_files() {
    let dir = tempfile::tempdir().unwrap();
    let (good, bad) = (dir.path().join("a.wav"), dir.path().join("b.wav"));
    talk(&good, 2);
    std::fs::write(&bad, "nonsense").unwrap();
    let mut worker = Worker::new(command("noise", dir.path()), fake());
    let mut beats = Vec::new();
    worker.transcribe(&good, 2_000, &mut |done, total| beats.push((done, total))).await.unwrap();
    assert!(beats.iter().all(|(_, total)| *total == 4_000), "{beats:?}");
    let pid = worker.pid().unwrap();
    let err = worker.transcribe(&bad, 0, &mut |_, _| {}).await.unwrap_err();
    assert_eq!(err.kind(), FaultKind::Permanent);
    worker.transcribe(&good, 2_000, &mut |_, _| {}).await.unwrap();
    assert_eq!(worker.pid(), Some(pid));
    // Killed from outside while idle: the next request has a new child.
    assert!(std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
    // A killed process is dead when each of its threads has had its turn; until we ask for its end the first stays as
    // a zombie.
    let is_alive = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let is_gone = |state: &str| state.starts_with('Z') || state.starts_with('X');
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
        stat.rsplit_once(") ").is_some_and(|(_, state)| !is_gone(state) || threads > 1)
    };
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while is_alive() {
        assert!(std::time::Instant::now() < deadline, "kill -9 ends it");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    worker.transcribe(&good, 2_000, &mut |_, _| {}).await.unwrap();
    assert_ne!(worker.pid(), Some(pid));
}

#[test]
fn a_child_whose_parent_is_gone_ends_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().join("long.wav");
    talk(&path, 600);
    let command = command("", dir.path());
    let mut child = std::process::Command::new(&command.exe)
        .args(&command.args)
        .envs(command.env)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&line(&Request::Configure { config: Box::new(fake()) })).unwrap();
    stdin.write_all(&line(&Request::Transcribe { id: 1, path })).unwrap();
    // Wait until it works on the recording.
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    loop {
        let mut text = String::new();
        assert!(std::io::BufRead::read_line(&mut stdout, &mut text).unwrap() > 0, "it ended too early");
        if matches!(parse::<Reply>(text.as_bytes()), Some(Reply::Progress { .. } | Reply::Ready { .. })) {
            break;
        }
    }
    drop(stdin);
    let begin = Instant::now();
    loop {
        if child.try_wait().unwrap().is_some() {
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "it goes on without its parent");
        std::thread::sleep(Duration::from_millis(20));
    }
}

//! kill -9 at random moments with twenty live calls: nothing acknowledged is lost, nothing is done twice.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::item_form;
use hotline_tests::api::Api;
use hotline_tests::chaos::{moments, seed_or};
use hotline_tests::gateway::{Gateway, GatewayConfig, NewUser};
use hotline_tests::sip::{Call, Citizen, CitizenConfig, Credentials, Phone, PhoneConfig};
use hotline_tests::wav::Wav;
use hotline_tests::{Waiting, until};
use serde_json::Value;

const CALLS: usize = 20;
const OPERATORS: usize = 10;
/// What the crash-safe writer may lose of a recording.
const LOST_MS_MAX: u64 = 1_000;

struct Site {
    gateway: Gateway,
    users: Vec<NewUser>,
    phones: Vec<Phone>,
}

impl Site {
    async fn open() -> Self {
        let config = GatewayConfig::default().with("callback.enabled", false).with("intake.form_grace_s", 3_600);
        let mut gateway = Gateway::prepare(config).unwrap();
        let users: Vec<NewUser> = (0..OPERATORS)
            .map(|n| {
                let mut user = NewUser::operator(&format!("10{n:02}"));
                user.roles = ["operator", "leader", "qa"].map(String::from).to_vec();
                user
            })
            .collect();
        for user in &users {
            gateway.add_user(user).unwrap();
        }
        gateway.boot().await.unwrap();
        let mut phones = Vec::new();
        for user in &users {
            let (name, password) = user.sip.clone().unwrap();
            let config = PhoneConfig::new(gateway.sip(), Credentials::new(name, password));
            phones.push(Phone::start(config).await.unwrap());
            gateway.sign_in(user).await.unwrap().set_state("ready").await.unwrap();
        }
        Self { gateway, users, phones }
    }

    async fn api(&self) -> Api {
        self.gateway.sign_in(&self.users[0]).await.unwrap()
    }
}

async fn round(site: &mut Site, n: usize, moment: Duration) {
    let waiting = Waiting::of(site.gateway.process_id());
    let mut citizens = Vec::new();
    for i in 0..CALLS {
        let number = format!("139{n:04}{i:04}");
        let citizen = Citizen::start(CitizenConfig::new(site.gateway.sip(), &number)).await.unwrap();
        citizens.push((number, citizen));
    }
    let calls: Vec<Call> = citizens.iter().map(|(_, c)| c.call("12319").unwrap()).collect();
    for call in &calls {
        call.wait_answered(20_000).await.unwrap();
    }
    let api = site.api().await;
    let rows = newest(&api).await;
    let item = api.post("/api/v1/items", &item_form(rows[0]["id"].as_str().unwrap())).await.unwrap();
    tokio::time::sleep(moment).await;
    let killed = Killed { at_ms: epoch_ms(), waited_ms: waiting.ms() };
    site.gateway.kill9();
    site.gateway.boot().await.unwrap();
    let api = site.api().await;
    for phone in &site.phones {
        phone.register(300).await.unwrap();
    }
    check(&api, site, &rows, &item, killed).await;
    for call in &calls {
        call.vanish();
    }
}

/// When it was killed, and how long it had stood without a processor until then.
#[derive(Clone, Copy)]
struct Killed {
    at_ms: u64,
    waited_ms: u64,
}

fn epoch_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}

async fn newest(api: &Api) -> Vec<Value> {
    let rows = api.get(&format!("/api/v1/calls?limit={CALLS}")).await.unwrap();
    rows.as_array().unwrap().clone()
}

async fn check(api: &Api, site: &Site, before: &[Value], item: &Value, killed: Killed) {
    let mut recordings = 0;
    for call in before {
        let id = call["id"].as_str().unwrap();
        let row = api.get(&format!("/api/v1/calls/{id}")).await.unwrap();
        assert_eq!((row["end_side"].as_str(), row["end_reason"].as_str()), (Some("system"), Some("crash")), "{row:#}");
        let tasks = api.get(&format!("/api/v1/callbacks?call={id}")).await.unwrap();
        let missed = tasks.as_array().unwrap().iter().filter(|t| t["kind"] == "漏接回拨").count();
        assert_eq!(missed, 1, "one debt for {id}: {tasks}");
        for recording in row["recordings"].as_array().unwrap() {
            recordings += 1;
            playable(api, site, recording, killed).await;
        }
    }
    assert!(recordings <= OPERATORS, "an operator has one talk at a time");
    let again = api.get(&format!("/api/v1/items/{}", item["acceptance_no"].as_str().unwrap())).await.unwrap();
    assert_eq!(again["item"]["id"], item["id"], "an acknowledged item is there");
    assert_eq!(again["handoffs"].as_array().unwrap().len(), 1);
}

async fn playable(api: &Api, site: &Site, recording: &Value, killed: Killed) {
    assert_eq!(recording["state"], "done", "{recording:#}");
    let file = site.gateway.recordings_dir().join(recording["path"].as_str().unwrap());
    let wav = Wav::read(&file).unwrap();
    assert_eq!(Some(wav.duration_ms()), recording["duration_ms"].as_u64());
    let talk_ms = killed.at_ms.saturating_sub(recording["started_at"].as_u64().unwrap());
    let length = wav.duration_ms();
    let lost_max = LOST_MS_MAX + killed.waited_ms;
    assert!(length + lost_max >= talk_ms, "{length} ms left of {talk_ms} ms, {} waited", killed.waited_ms);
    let path = format!("/api/v1/recordings/{}/transcript", recording["id"].as_str().unwrap());
    until("the transcript", 60_000, || async { (api.get(&path).await.ok()?["status"] == "done").then_some(()) })
        .await
        .unwrap();
}

fn part_files(dir: &std::path::Path) -> usize {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|e| match e.path() {
            path if path.is_dir() => part_files(&path),
            path => usize::from(path.extension().is_some_and(|x| x == "part")),
        })
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_by_kill_9_with_twenty_live_calls() {
    let rounds = if std::env::var_os("HOTLINE_TEST_LONG").is_some() { 20 } else { 5 };
    let seed = seed_or(20_261_121);
    println!("HOTLINE_TEST_SEED={seed} repeats this run");
    let mut site = Site::open().await;
    for (n, moment) in moments(seed, rounds, 0, 4_000).into_iter().enumerate() {
        println!("round {n}: kill -9 after {} ms", moment.as_millis());
        round(&mut site, n, moment).await;
    }
    assert_eq!(part_files(&site.gateway.recordings_dir()), 0, "every file has its end");
    let api = site.api().await;
    let tasks = api.get("/api/v1/callbacks?limit=200").await.unwrap();
    assert_eq!(tasks.as_array().unwrap().len(), (rounds * CALLS).min(200), "one debt per citizen, no more");
}

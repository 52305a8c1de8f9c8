//! Calls over bad networks: recordings of right length and in step, no key lost or doubled, no call dropped.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test ends at the first thing that is not as it should be, and names its seed"
)]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Desk, NUMBER, Town, call_of};
use hotline_tests::chaos::seed_or;
use hotline_tests::gateway::GatewayConfig;
use hotline_tests::impair::{Impairment, Jitter, Loss, Network};
use hotline_tests::rtp::Source;
use hotline_tests::sip::{Call, Citizen, CitizenConfig};
use hotline_tests::tone::{RATE_HZ, sine, tone_share};
use hotline_tests::wav::Wav;
use hotline_tests::{Waiting, until};
use serde_json::Value;

const CITIZEN_HZ: f64 = 440.0;
const OPERATOR_HZ: f64 = 1_000.0;
/// Tones begin this far apart …
const PERIOD_MS: usize = 1_000;
/// … and are this long.
const TONE_MS: usize = 300;
const TONES: usize = 8;
/// Windows in which a tone is there or not.
const WINDOW_MS: usize = 10;

/// Tones with silence between them.
fn pattern(hz: f64) -> Source {
    let tone = sine(hz, -16.0, TONE_MS as u64, RATE_HZ);
    let mut samples = vec![0; TONES * PERIOD_MS * 8];
    for n in 0..TONES {
        samples[n * PERIOD_MS * 8..][..tone.len()].copy_from_slice(&tone);
    }
    Source::Pcm { samples: Arc::from(samples), repeat: false }
}

/// Where the pattern begins, as `tones` of it show best, milliseconds from the recording's start. Some of the
/// tones fit one period beside too, so they are looked for `near` where all of them fit.
fn pattern_starts_ms(channel: &[i16], hz: f64, tones: std::ops::Range<usize>, near: Option<i64>) -> i64 {
    let there: Vec<i64> = channel
        .chunks_exact(WINDOW_MS * 8)
        .map(|window| if tone_share(window, RATE_HZ, hz) >= 0.6 { 1 } else { -1 })
        .collect();
    let (period, tone) = (PERIOD_MS / WINDOW_MS, TONE_MS / WINDOW_MS);
    let score = |start: usize| -> i64 {
        let of = |n: usize| -> i64 {
            let begin = start + n * period;
            let inside: i64 = there.get(begin..begin + tone).map_or(-99, |w| w.iter().sum());
            let after: i64 = there.get(begin + tone..begin + period).map_or(0, |w| w.iter().sum());
            inside - after
        };
        tones.clone().map(of).sum()
    };
    let start_ms = |start: usize| i64::try_from(start * WINDOW_MS).unwrap();
    let is_near = |start: &usize| near.is_none_or(|near| (start_ms(*start) - near).abs() < 400);
    let candidates = (0..there.len()).filter(is_near);
    start_ms(candidates.max_by_key(|start| (score(*start), std::cmp::Reverse(*start))).unwrap())
}

struct Talk {
    desk: Desk,
    citizen: Call,
    operator: Call,
    id: String,
    waiting: Waiting,
}

/// A talk; the citizen's media goes through `network`.
async fn talk(network: Network) -> Talk {
    println!("HOTLINE_TEST_SEED={} repeats this network: {network:?}", network.seed);
    let desk = Desk::open(GatewayConfig::default()).await;
    let phone = desk.phone().await;
    desk.ready().await;
    let waiting = Waiting::of(desk.gateway.process_id());
    let mut config = CitizenConfig::new(desk.gateway.sip(), NUMBER);
    config.network = Some(network);
    let citizen = Citizen::start(config).await.unwrap();
    let call = citizen.call_answered("12319", 5_000).await.unwrap();
    let operator = phone.next_call(10_000).await.unwrap();
    operator.rtp().wait_for_tone(CITIZEN_HZ, 300, 10_000).await.unwrap();
    let id = call_of(&desk, 1).await;
    Talk { desk, citizen: call, operator, id, waiting }
}

impl Talk {
    async fn hung_up(self) -> (Value, Wav) {
        self.citizen.hang_up().await.unwrap();
        let row = self.desk.ended(&self.id).await;
        let recording = until("the recording", 10_000, || async {
            let row = self.desk.api.get(&format!("/api/v1/calls/{}", self.id)).await.ok()?;
            row["recordings"].as_array()?.iter().find(|r| r["state"] == "done").cloned()
        });
        let recording = recording.await.unwrap();
        let path = self.desk.gateway.recordings_dir().join(recording["path"].as_str().unwrap());
        (row, Wav::read(&path).unwrap())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recording_has_its_length_and_its_channels_in_step_at_15_per_cent_loss_and_60_ms_jitter() {
    let up = Impairment {
        loss: Loss::Random(15.0),
        delay_ms: 40.0,
        jitter: Jitter::Even(60.0),
        reorder_percent: 1.0,
        duplicate_percent: 2.0,
        ..Impairment::default()
    };
    let down = Impairment { delay_ms: 40.0, ..Impairment::default() };
    let talk = talk(Network { up, down, seed: seed_or(4_101) }).await;
    talk.citizen.rtp().play(Source::Silence);
    talk.operator.rtp().play(Source::Silence);
    tokio::time::sleep(Duration::from_millis(300)).await;
    talk.citizen.rtp().play(pattern(CITIZEN_HZ));
    talk.operator.rtp().play(pattern(OPERATOR_HZ));
    until("both patterns sent", 20_000, || async {
        (talk.citizen.rtp().has_played() && talk.operator.rtp().has_played()).then_some(())
    })
    .await
    .unwrap();
    let began = |call: &Call| call.rtp().playing_since().unwrap();
    let (citizen_began, operator_began) = (began(&talk.citizen), began(&talk.operator));
    // The last packets are still under way.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (counts, _) = talk.citizen.rtp().network().unwrap().counts();
    println!("on the way up: {counts:?}");
    assert!(counts.lost > 30 && counts.duplicated > 2 && counts.taken > 400, "{counts:?}");
    let hung_up = Instant::now();
    let waited = i64::try_from(talk.waiting.ms()).unwrap();
    let (_, wav) = talk.hung_up().await;

    let (left, right) = (wav.channel(0), wav.channel(1));
    let left_ms = pattern_starts_ms(left, CITIZEN_HZ, 0..TONES, None);
    let right_ms = pattern_starts_ms(right, OPERATOR_HZ, 0..TONES, None);
    for (channel, hz, whole) in [(left, CITIZEN_HZ, left_ms), (right, OPERATOR_HZ, right_ms)] {
        let half = TONES / 2;
        for part in [0..half, half..TONES] {
            let found = pattern_starts_ms(channel, hz, part.clone(), Some(whole));
            assert!((found - whole).abs() <= 20, "{hz} Hz: tones {part:?} at {found}, all at {whole} ms");
        }
    }
    let millis = |span: Duration| i64::try_from(span.as_millis()).unwrap();
    let apart = if citizen_began >= operator_began {
        millis(citizen_began - operator_began)
    } else {
        -millis(operator_began - citizen_began)
    };
    // The citizen's sound needs 40 to 100 ms to the gateway, the operator's none.
    let delay = left_ms - right_ms - apart;
    println!("left {left_ms} ms, right {right_ms} ms, sent {apart} ms apart, waited {waited} ms");
    let fits = (20 - waited..=120 + waited).contains(&delay);
    assert!(fits, "left is {delay} ms behind: {left_ms}, {right_ms}, sent {apart} ms apart");
    // Nothing is missing at the end either: what follows the patterns' beginning lasts until the hang-up.
    let rest = i64::try_from(wav.duration_ms()).unwrap() - right_ms;
    let expected = millis(hung_up - operator_began);
    let fits = (-20 - waited..=500 + waited).contains(&(rest - expected));
    assert!(fits, "{rest} ms recorded after the beginning, {expected} ms passed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_pressed_through_5_per_cent_loss_arrive_once_each() {
    let up = Impairment {
        loss: Loss::Random(5.0),
        delay_ms: 20.0,
        jitter: Jitter::Even(30.0),
        reorder_percent: 1.0,
        duplicate_percent: 2.0,
        ..Impairment::default()
    };
    let talk = talk(Network { up, down: Impairment::default(), seed: seed_or(4_102) }).await;
    let digits = "0123456789*#00112233445566778899*#*#5555500000";
    talk.citizen.send_digits(digits).unwrap();
    let heard = talk.operator.rtp().wait_for_digits(digits.len(), 25_000).await.unwrap();
    assert_eq!(heard, digits);
    // A doubled one would come now.
    talk.operator.rtp().wait_for_tone(CITIZEN_HZ, 400, 5_000).await.unwrap();
    assert_eq!(talk.operator.rtp().heard().digits_text(), digits);
    let (counts, _) = talk.citizen.rtp().network().unwrap().counts();
    assert!(counts.lost > 3, "{counts:?}");
    talk.hung_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flow_takes_each_key_once_through_5_per_cent_loss() {
    let town = Town::open(GatewayConfig::default()).await;
    let item = town.reported().await;
    let code = town.story(&item).await["item"]["query_code"].as_str().unwrap().to_owned();
    let up = Impairment { loss: Loss::Random(5.0), duplicate_percent: 5.0, ..Impairment::default() };
    let mut config = CitizenConfig::new(town.desk.gateway.sip(), "13912345678");
    config.network = Some(Network { up, down: Impairment::default(), seed: seed_or(4_104) });
    let citizen = Citizen::start(config).await.unwrap();
    let call = citizen.call_answered("12319", 5_000).await.unwrap();
    let id = town.newest_call().await;
    town.asked(&id, "waiting").await;
    // Eight keys, two of them check digits: a lost or a doubled one makes another code.
    call.send_digits("4").unwrap();
    call.send_digits("00000000").unwrap();
    town.asked(&id, "progress_none").await;
    town.asked(&id, "waiting_on").await;
    call.send_digits("4").unwrap();
    call.send_digits(&code).unwrap();
    town.asked(&id, "progress_state").await;
    call.hang_up().await.unwrap();
    town.desk.ended(&id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_lives_through_three_seconds_without_a_network() {
    let talk = talk(Network { seed: seed_or(4_103), ..Network::default() }).await;
    let nothing = Impairment { loss: Loss::Random(100.0), ..Impairment::default() };
    let relay = talk.citizen.rtp().network().unwrap();
    relay.set(nothing, nothing);
    let since = Instant::now();
    tokio::time::sleep(Duration::from_secs(3)).await;
    talk.citizen.rtp().clear_heard();
    talk.operator.rtp().clear_heard();
    let hole_ms = u64::try_from(since.elapsed().as_millis()).unwrap();
    relay.set(Impairment::default(), Impairment::default());
    talk.citizen.rtp().wait_for_tone(OPERATOR_HZ, 300, 5_000).await.unwrap();
    talk.operator.rtp().wait_for_tone(CITIZEN_HZ, 300, 5_000).await.unwrap();
    let waited = talk.waiting.ms();
    let (row, wav) = talk.hung_up().await;
    assert_eq!(row["end_side"], "citizen", "{row}");
    let silent_ms = wav.duration_ms() - wav.tone_ms(0, CITIZEN_HZ);
    let fits = (hole_ms - 200 - waited.min(hole_ms - 200)..=hole_ms + 1_500 + waited).contains(&silent_ms);
    assert!(fits, "the hole of {hole_ms} ms is silence, not missing: {silent_ms} ms");
    let heard_ms = wav.tone_ms(1, OPERATOR_HZ) + 500 + waited;
    assert!(heard_ms >= wav.duration_ms(), "the operator went on: {heard_ms} of {} ms", wav.duration_ms());
}

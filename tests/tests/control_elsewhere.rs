//! Two gateways on one PostgreSQL: people at one see and control the calls of the other as if they were theirs.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use common::heard::{hears, lacks};
use common::pair::{Pair, ready};
use common::stream::{Event, stream, until};
use common::{NUMBER, item_form, pair};
use hotline_tests::Signal;
use hotline_tests::api::{Api, rows, status};
use hotline_tests::gateway::NewUser;
use hotline_tests::rtp::Source;
use hotline_tests::sip::{Call, Citizen, CitizenConfig, Credentials, Dial, Phone, PhoneConfig};
use reqwest::Method;
use serde_json::{Value, json};

const CITIZEN_HZ: f64 = 440.0;
const OPERATOR_HZ: f64 = 1_000.0;
const COLLEAGUE_HZ: f64 = 1_500.0;
const PATIENCE_MS: u64 = 40_000;

/// A person at the first gateway: signed in there, and their phone is registered there.
struct Seat {
    api: Api,
    phone: Phone,
}

/// Citizens call the second gateway; 1001 and 1002 sit at the first.
struct Floor {
    pair: Pair,
    operator: Seat,
    colleague: Seat,
    citizen: Citizen,
}

fn person(name: &str, roles: &[&str]) -> NewUser {
    NewUser { roles: roles.iter().map(|role| (*role).to_owned()).collect(), ..NewUser::operator(name) }
}

async fn seat(pair: &Pair, user: &NewUser, hz: f64) -> Seat {
    let credentials = Credentials::new(&user.login, format!("phone-{}", user.login));
    let config = PhoneConfig { source: Source::tone(hz), ..PhoneConfig::new(pair.first.sip(), credentials) };
    Seat { api: pair.first.sign_in(user).await.unwrap(), phone: Phone::start(config).await.unwrap() }
}

impl Floor {
    /// The colleague has these roles.
    async fn open(roles: &[&str]) -> Self {
        let users = [person("1001", &["operator"]), person("1002", roles)];
        let pair = Pair::open(&users).await;
        pair.joined().await;
        let operator = seat(&pair, &users[0], OPERATOR_HZ).await;
        let colleague = seat(&pair, &users[1], COLLEAGUE_HZ).await;
        let citizen = Citizen::start(CitizenConfig::new(pair.second.sip(), NUMBER)).await.unwrap();
        Self { pair, operator, colleague, citizen }
    }

    /// A talk of the operator's with a citizen at the other gateway: the citizen's call, the phone's, and its id as the
    /// operator's events tell it.
    async fn talk(&self) -> Talk {
        let mut events = stream(&self.operator.api, None).await;
        until(&mut events, |e| e.kind == "snapshot").await;
        ready(&self.operator.api).await;
        let citizen = self.citizen.call_answered("12319", PATIENCE_MS).await.unwrap();
        let phone = self.operator.phone.next_call(PATIENCE_MS).await.unwrap();
        let told = until(&mut events, |e| is_call(e, "talking")).await;
        assert!(told.iter().any(|e| is_call(e, "ringing")), "{told:#?}");
        let id = told.last().unwrap().data["call"].as_str().unwrap().to_owned();
        hears(&citizen, OPERATOR_HZ).await;
        Talk { citizen, phone, id, events }
    }
}

struct Talk {
    citizen: Call,
    phone: Call,
    id: String,
    events: reqwest::Response,
}

impl Talk {
    fn path(&self, what: &str) -> String {
        format!("/api/v1/calls/{}/{what}", self.id)
    }

    async fn post(&self, api: &Api, what: &str, body: &Value) -> Value {
        api.post(&self.path(what), body).await.unwrap()
    }
}

fn is_call(event: &Event, what: &str) -> bool {
    event.kind == "call" && event.data["what"] == what
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_controls_their_call_at_the_other_gateway_and_is_told_of_it() {
    let floor = Floor::open(&["operator"]).await;
    let (operator, colleague) = (&floor.operator.api, &floor.colleague.api);
    let mut talk = floor.talk().await;

    assert_eq!(talk.post(operator, "hold", &json!({"on": true})).await["held"], true);
    lacks(&talk.citizen, OPERATOR_HZ).await;
    let held = until(&mut talk.events, |e| is_call(e, "held")).await.pop().unwrap();
    assert_eq!(talk.post(operator, "hold", &json!({"on": false})).await["held"], false);
    hears(&talk.citizen, OPERATOR_HZ).await;
    assert_eq!(talk.post(operator, "mute", &json!({"on": true})).await["muted"], true);
    lacks(&talk.citizen, OPERATOR_HZ).await;
    hears(&talk.phone, CITIZEN_HZ).await;
    assert_eq!(talk.post(operator, "mute", &json!({"on": false})).await["muted"], false);
    assert_eq!(talk.post(operator, "record/pause", &json!({})).await["paused"], true);
    assert_eq!(talk.post(operator, "record/resume", &json!({})).await["paused"], false);
    assert!(talk.post(operator, "help", &json!({"on": true})).await["help_since"].is_i64());

    // What is no wish of theirs is refused in the words of the gateway that has the call.
    assert_eq!(status(colleague.post(&talk.path("hold"), &json!({"on": true})).await), 403);
    assert_eq!(status(operator.post(&talk.path("end"), &json!({"reason": "bored"})).await), 422);
    assert_eq!(status(operator.post(&talk.path("transfer"), &json!({"queue": "nowhere"})).await), 422);
    let press = async |digits: &str, key: &str| {
        let (body, headers) = (json!({"digits": digits}), [("idempotency-key", key)]);
        operator.send(Method::POST, &talk.path("digits"), Some(&body), &headers).await.unwrap().status().as_u16()
    };
    assert_eq!([press("19#", "first-key").await, press("19#", "first-key").await], [200, 200]);
    assert_eq!(press("2", "first-key").await, 422, "another wish under that key");
    assert_eq!(press("4", "second-key").await, 200);
    assert_eq!(talk.citizen.rtp().wait_for_digits(4, PATIENCE_MS).await.unwrap(), "19#4", "each once");

    // The phone itself can't: its operator is told what can.
    let by_phone = Dial::new(floor.pair.first.sip(), "1002");
    let refused = floor.operator.phone.agent().dial(by_phone).unwrap().wait_ended(PATIENCE_MS).await.unwrap();
    assert_eq!(refused.code, 403);
    assert!(refused.reason.contains("by the console"), "{refused:?}");

    // Attended to the colleague, blind back again.
    let asked = talk.post(operator, "consult", &json!({"phone": "1002"})).await;
    assert_eq!((asked["held"].as_bool(), &asked["guests"][0]["part"]), (Some(true), &json!("consult")), "{asked}");
    let colleagues = floor.colleague.phone.next_call(PATIENCE_MS).await.unwrap();
    hears(&colleagues, OPERATOR_HZ).await;
    let theirs = talk.post(operator, "consult/complete", &json!({})).await;
    assert_eq!(theirs["operator"]["name"], "受理员1002", "{theirs}");
    talk.phone.wait_ended(PATIENCE_MS).await.unwrap();
    hears(&talk.citizen, COLLEAGUE_HZ).await;
    until(&mut talk.events, |e| e.kind == "call_left").await;
    assert_eq!(status(operator.post(&talk.path("hold"), &json!({"on": true})).await), 403);
    talk.post(colleague, "transfer", &json!({"phone": "1001"})).await;
    let back = floor.operator.phone.next_call(PATIENCE_MS).await.unwrap();
    hears(&talk.citizen, OPERATOR_HZ).await;
    hears(&back, CITIZEN_HZ).await;
    let over = talk.post(operator, "end", &json!({})).await;
    assert_eq!(over["stage"], "after_talk", "{over}");
    back.wait_ended(PATIENCE_MS).await.unwrap();
    until(&mut talk.events, |e| e.kind == "call_left").await;

    // Who comes back goes on where they were, with what the other gateway told meanwhile.
    let missed = until(&mut stream(operator, Some(&held.id)).await, |e| e.kind == "call_left").await;
    assert!(missed.iter().all(|e| e.kind != "reset" && e.kind != "snapshot"), "{missed:#?}");
    assert!(missed.iter().any(|e| is_call(e, "talking") && e.data["muted"] == true), "{missed:#?}");
    talk.citizen.hang_up().await.unwrap();
}

/// A matter taken down at this gateway names an operator: the citizen who waits at the other never gets them.
async fn named_while_they_wait(floor: &Floor) {
    let leader = &floor.colleague.api;
    let citizen = Citizen::start(CitizenConfig::new(floor.pair.second.sip(), "13700001111")).await.unwrap();
    let call = citizen.call_answered("12319", PATIENCE_MS).await.unwrap();
    let waits = |live: &Value| {
        let calls = rows(live).into_iter();
        let mut theirs = calls.filter(|call| call["stage"] == "queue" && call["caller"].to_string().contains("1111"));
        Some(theirs.next()?["call"].as_str()?.to_owned())
    };
    let id = leader.wait_for("/api/v1/calls/live", PATIENCE_MS, waits).await.unwrap();
    let mut form = item_form(&id);
    (form["title"], form["detail"]) = (json!("投诉工号1001"), json!("工号1001态度差,挂我电话"));
    leader.post("/api/v1/items", &form).await.unwrap();
    let judged = |events: &Value| {
        let barred = |e: &Value| e["kind"] == "routing" && rows(&e["data"]["barred"]).len() == 1;
        rows(events).iter().any(barred).then_some(())
    };
    leader.wait_for(&format!("/api/v1/calls/{id}/events"), PATIENCE_MS, judged).await.unwrap();
    call.hang_up().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_hears_and_ends_calls_of_the_other_gateway_and_a_dead_ones_are_gone() {
    let mut floor = Floor::open(&["operator", "leader"]).await;
    let talk = floor.talk().await;
    let leader = &floor.colleague.api;
    // One talks at the other gateway, one waits at this: both consoles show both.
    let here = Citizen::start(CitizenConfig::new(floor.pair.first.sip(), "13987654321")).await.unwrap();
    let waiting = here.call_answered("12319", PATIENCE_MS).await.unwrap();
    let second = floor.pair.second.sign_in(&person("1002", &[])).await.unwrap();
    for console in [leader, &second] {
        let both = |live: &Value| {
            let stages: Vec<Value> = rows(live).iter().map(|call| call["stage"].clone()).collect();
            (stages == ["talk", "queue"]).then_some(())
        };
        console.wait_for("/api/v1/calls/live", PATIENCE_MS, both).await.unwrap();
        let snapshot = until(&mut stream(console, None).await, |e| e.kind == "snapshot").await.pop().unwrap();
        assert_eq!(rows(&snapshot.data["calls"]).len(), 2, "{snapshot:#?}");
        let callers = console.get("/api/v1/queue/callers").await.unwrap();
        assert!(callers[0]["number"].as_str().unwrap().contains("4321"), "{callers}");
    }

    named_while_they_wait(&floor).await;
    let listens = talk.post(leader, "supervise", &json!({"part": "listen"})).await;
    assert_eq!(listens["guests"][0]["part"], "listen", "{listens}");
    let ear = floor.colleague.phone.next_call(PATIENCE_MS).await.unwrap();
    hears(&ear, CITIZEN_HZ).await;
    hears(&ear, OPERATOR_HZ).await;
    talk.post(leader, "supervise", &json!({"part": "whisper"})).await;
    hears(&talk.phone, COLLEAGUE_HZ).await;
    lacks(&talk.citizen, COLLEAGUE_HZ).await;
    leader.json(Method::DELETE, &talk.path("supervise"), None).await.unwrap();
    ear.wait_ended(PATIENCE_MS).await.unwrap();
    let unjustified = floor.operator.api.post(&talk.path("force-end"), &json!({"reason": "不想接了"})).await;
    assert_eq!(status(unjustified), 403);
    talk.post(leader, "force-end", &json!({"reason": "辱骂受理员"})).await;
    talk.citizen.wait_ended(PATIENCE_MS).await.unwrap();
    let audited = "SELECT string_agg(action, ' ' ORDER BY action) FROM audit WHERE object = 'call:' || ";
    let audited = floor.pair.postgres.sql("hotline", &format!("{audited}'{}'", talk.id)).unwrap();
    assert_eq!(audited, "force_end supervise_listen supervise_whisper", "each before it happened");
    waiting.hang_up().await.unwrap();

    let talk = floor.talk().await;
    let mut events = stream(leader, None).await;
    let before = until(&mut events, |e| e.kind == "snapshot").await.pop().unwrap();
    assert_eq!(rows(&before.data["calls"]).len(), 1, "{before:#?}");
    let (operator, hold) = (&floor.operator.api, json!({"on": true}));
    // One that stands still for a moment: nobody knows what became of the wish, and afterwards it can be asked again.
    floor.pair.second.signal(Signal::Stop).unwrap();
    assert_eq!(status(operator.post(&talk.path("hold"), &hold).await), 504);
    floor.pair.second.signal(Signal::Cont).unwrap();
    let held = || async { operator.post(&talk.path("hold"), &hold).await.ok().filter(|state| state["held"] == true) };
    hotline_tests::until("the call to be there again", PATIENCE_MS, held).await.unwrap();
    let has_calls = |n: usize| move |e: &Event| e.kind == "snapshot" && rows(&e.data["calls"]).len() == n;
    let again = until(&mut events, has_calls(1)).await;
    assert!(again.iter().any(|e| e.kind == "reset"), "something may have been missed: {again:#?}");
    floor.pair.second.kill9();
    // Until the other gateway counts as lost nobody can say more; then its calls are over.
    let gone = pair::gone(async || status(operator.post(&talk.path("hold"), &hold).await)).await;
    assert!(!gone.is_empty() && gone.iter().all(|status| [503, 504].contains(status)), "{gone:?}");
    let after = until(&mut events, has_calls(0)).await;
    assert!(after.iter().any(|e| e.kind == "reset"), "{after:#?}");
    assert_eq!(leader.get("/api/v1/calls/live").await.unwrap(), json!([]));
    assert_eq!(status(leader.post(&talk.path("force-end"), &json!({"reason": "试一下"})).await), 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_closed_by_hand_stays_closed_when_the_gateway_that_leads_dies() {
    let user = person("1001", &["operator", "leader"]);
    let mut pair = Pair::open(std::slice::from_ref(&user)).await;
    pair.joined().await;
    let (first, second) = (pair.first.sign_in(&user).await.unwrap(), pair.second.sign_in(&user).await.unwrap());
    let close = json!({"open": false, "minutes": 5, "reason": "线路检修"});
    first.post("/api/v1/queues/main/opening", &close).await.unwrap();
    let is_closed =
        |queues: &Value| (rows(queues).iter().find(|q| q["name"] == "main")?["open"] == false).then_some(());
    second.wait_for("/api/v1/queues", PATIENCE_MS, is_closed).await.unwrap();
    pair.first.kill9();
    hotline_tests::until("the other to lead", PATIENCE_MS, || async {
        pair.second.api().metrics().await.ok()?.contains("\nhotline_cluster_leads 1\n").then_some(())
    })
    .await
    .unwrap();
    let queues = second.get("/api/v1/queues").await.unwrap();
    assert!(is_closed(&queues).is_some(), "{queues}");
}

//! Who is given to whom: recusal, the operator a citizen knows, trouble, skills, hours, and phones on call.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

mod common;

use common::{Desk, NUMBER, Town, call_of, item_form};
use hotline_tests::api::Api;
use hotline_tests::gateway::GatewayConfig;
use hotline_tests::rtp::Source;
use hotline_tests::sip::{Call, Citizen, CitizenConfig, Phone};
use hotline_tests::until;
use reqwest::Method;
use serde_json::{Value, json};

async fn citizen(desk: &Desk, number: &str) -> Citizen {
    Citizen::start(CitizenConfig::new(desk.gateway.sip(), number)).await.unwrap()
}

/// Calls, and waits until the call is in the queue; its id.
async fn queued(desk: &Desk, citizen: &Citizen, n: usize) -> (Call, String) {
    let call = citizen.call_answered("12319", 10_000).await.unwrap();
    let id = call_of(desk, n).await;
    event(desk, &id, "queue_enter").await;
    (call, id)
}

/// The call's first event of a kind.
async fn event(desk: &Desk, id: &str, kind: &str) -> Value {
    let path = format!("/api/v1/calls/{id}/events");
    until(&format!("the event {kind}"), 20_000, || async {
        let events = desk.api.get(&path).await.ok()?;
        events.as_array()?.iter().find(|e| e["kind"] == kind).cloned()
    })
    .await
    .unwrap()
}

async fn id_of(api: &Api) -> String {
    api.get("/api/v1/session").await.unwrap()["user"].as_str().unwrap().to_owned()
}

/// The call that rings a phone next.
async fn rung(phone: &Phone) -> String {
    let call = phone.next_call(20_000).await.unwrap();
    call.invite().header("X-Hotline-Call").unwrap().to_owned()
}

async fn tasks(desk: &Desk, kind: &str) -> usize {
    let all = desk.api.get("/api/v1/callbacks").await.unwrap();
    all.as_array().unwrap().iter().filter(|t| t["kind"] == kind).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_a_complaint_names_never_gets_that_caller() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let (named, (other, colleague)) = (desk.phone().await, desk.second_operator().await);
    let caller = citizen(&desk, NUMBER).await;
    let (call, id) = queued(&desk, &caller, 1).await;
    // While they wait, their complaint about 1001 is taken down.
    let mut form = item_form(&id);
    (form["title"], form["detail"]) = (json!("投诉工号1001"), json!("工号1001态度差,挂我电话"));
    desk.api.post("/api/v1/items", &form).await.unwrap();
    let routing = event(&desk, &id, "routing").await;
    assert_eq!(routing["data"]["barred"], json!([id_of(&desk.api).await]), "{routing}");
    desk.ready().await;
    let stranger = citizen(&desk, "13912340000").await;
    let (after, later) = queued(&desk, &stranger, 2).await;
    assert_eq!(rung(&named).await, later, "who is named serves the next caller");
    colleague.set_state("ready").await.unwrap();
    assert_eq!(rung(&other).await, id);
    call.rtp().wait_for_tone(1_000.0, 300, 10_000).await.unwrap();
    for call in [call, after] {
        call.hang_up().await.unwrap();
    }
    desk.ended(&id).await;
    desk.ended(&later).await;
    // The next call is judged before anybody is offered it, although 1001 has been idle as long.
    colleague.set_state("away").await.unwrap();
    let (again, id) = queued(&desk, &caller, 3).await;
    assert!(named.next_call(1_500).await.is_err(), "free, and not for this caller");
    colleague.set_state("ready").await.unwrap();
    assert_eq!(rung(&other).await, id);
    again.hang_up().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_citizen_who_calls_again_gets_the_operator_they_know() {
    let desk = Desk::open(GatewayConfig::default()).await;
    let (first, (second, colleague)) = (desk.phone().await, desk.second_operator().await);
    desk.ready().await;
    let caller = citizen(&desk, NUMBER).await;
    let talk = caller.call_answered("12319", 10_000).await.unwrap();
    let id = rung(&first).await;
    talk.rtp().wait_for_tone(1_000.0, 300, 10_000).await.unwrap();
    // Idle since before the talk's end: their turn, were it not for what the citizen knows.
    colleague.set_state("ready").await.unwrap();
    talk.hang_up().await.unwrap();
    desk.ended(&id).await;
    let talk = caller.call_answered("12319", 10_000).await.unwrap();
    let again = rung(&first).await;
    assert_ne!(again, id);
    let stranger = citizen(&desk, "13912340000").await;
    let other = stranger.call_answered("12319", 10_000).await.unwrap();
    rung(&second).await;
    for call in [talk, other] {
        call.hang_up().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_in_trouble_come_first_and_a_leader_may_still_choose() {
    let config =
        GatewayConfig::default().with("routing.sos_numbers", vec!["13900000119"]).with("routing.trouble_calls", 2);
    let desk = Desk::open(config).await;
    let phone = desk.phone().await;
    let (ordinary, known, troubled) =
        (citizen(&desk, NUMBER).await, citizen(&desk, "13900000119").await, citizen(&desk, "13912340000").await);
    let mut n = 0;
    for _ in 0..2 {
        n += 1;
        let (short, id) = queued(&desk, &troubled, n).await;
        short.hang_up().await.unwrap();
        desk.ended(&id).await;
    }
    let mut waiting = Vec::new();
    for who in [&ordinary, &troubled, &known] {
        n += 1;
        waiting.push(queued(&desk, who, n).await);
    }
    let callers = desk.api.get("/api/v1/queue/callers").await.unwrap();
    let order: Vec<(&str, &str, u64)> = callers
        .as_array()
        .unwrap()
        .iter()
        .map(|c| (c["call"].as_str().unwrap(), c["lane"].as_str().unwrap(), c["place"].as_u64().unwrap()))
        .collect();
    let id = |i: usize| waiting[i].1.as_str();
    assert_eq!(order, [(id(1), "trouble", 1), (id(2), "trouble", 2), (id(0), "normal", 3)]);
    let shown = callers[2]["number"].as_str().unwrap();
    assert!(shown.ends_with("***5678"), "{callers}");
    desk.ready().await;
    for (i, why) in [(1, "who called twice and was gone"), (2, "who is known for emergencies"), (0, "the ordinary one")]
    {
        assert_eq!(rung(&phone).await, id(i), "{why}");
        waiting[i].0.hang_up().await.unwrap();
    }
}

async fn asks_for_english(desk: &Desk, id: &str) {
    until("the skill", 20_000, || async {
        let events = desk.api.get(&format!("/api/v1/calls/{id}/events")).await.ok()?;
        let asks = |e: &Value| e["kind"] == "routing" && e["data"]["skills"] == json!(["English"]);
        events.as_array()?.iter().any(asks).then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_8_leads_to_who_speaks_english() {
    let desk = Desk::open(GatewayConfig::default().with("queue.main.skill_wait_s", 3_600)).await;
    let (chinese, (english, colleague)) = (desk.phone().await, desk.second_operator().await);
    let who = id_of(&colleague).await;
    let skills = json!({ "skills": { "English": 7 } });
    desk.api.json(Method::PUT, &format!("/api/v1/users/{who}/skills"), Some(&skills)).await.unwrap();
    let (guest, local) = (citizen(&desk, NUMBER).await, citizen(&desk, "13912340000").await);
    let (call, id) = queued(&desk, &guest, 1).await;
    call.send_digits("8").unwrap();
    asks_for_english(&desk, &id).await;
    let (after, later) = queued(&desk, &local, 2).await;
    desk.ready().await;
    assert_eq!(rung(&chinese).await, later);
    colleague.set_state("ready").await.unwrap();
    assert_eq!(rung(&english).await, id);
    colleague.set_state("away").await.unwrap();
    for (call, id) in [(call, id), (after, later)] {
        call.hang_up().await.unwrap();
        desk.ended(&id).await;
    }
    // Nobody left who speaks it: who dares takes them out of turn.
    desk.api.set_state("away").await.unwrap();
    let (call, id) = queued(&desk, &guest, 3).await;
    call.send_digits("8").unwrap();
    asks_for_english(&desk, &id).await;
    desk.ready().await;
    assert!(chinese.next_call(1_000).await.is_err(), "nobody is offered what they can't serve");
    desk.api.post(&format!("/api/v1/queue/callers/{id}/pull"), &json!({})).await.unwrap();
    assert_eq!(rung(&chinese).await, id);
    call.hang_up().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_queue_offers_a_callback_takes_danger_and_stays_closed_over_a_restart() {
    let mut town = Town::open(GatewayConfig::default()).await;
    let close = json!({ "open": false, "minutes": 60, "reason": "消防演练" });
    town.desk.api.post("/api/v1/queues/main/opening", &close).await.unwrap();
    let call = town.citizen.call_answered("12319", 10_000).await.unwrap();
    let id = call_of(&town.desk, 1).await;
    town.asked(&id, "closed").await;
    call.send_digits("1").unwrap();
    town.asked(&id, "callback_done").await;
    call.wait_ended(30_000).await.unwrap();
    assert!(town.desk.ended(&id).await["stage_abandoned"].is_null());
    assert_eq!((tasks(&town.desk, "排队回拨").await, tasks(&town.desk, "漏接回拨").await), (1, 0));
    town.desk.gateway.crash_and_restart().await.unwrap();
    town.desk.api = town.desk.gateway.sign_in(&town.desk.user).await.unwrap();
    let queues = town.desk.api.get("/api/v1/queues").await.unwrap();
    assert_eq!(queues[0]["open"], false, "{queues}");
    let call = town.citizen.call_answered("12319", 10_000).await.unwrap();
    let id = call_of(&town.desk, 2).await;
    town.asked(&id, "closed").await;
    call.send_digits("7").unwrap();
    assert_eq!(event(&town.desk, &id, "queue_enter").await["data"]["lane"], "red");
    call.hang_up().await.unwrap();
    town.desk.ended(&id).await;
    town.desk.api.json(Method::DELETE, "/api/v1/queues/main/opening", None).await.unwrap();
    assert_eq!(town.desk.api.get("/api/v1/queues").await.unwrap()[0]["open"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_too_long_keeps_a_place_as_a_callback() {
    let town = Town::open(GatewayConfig::default().with("queue.main.wait_max_s", 1)).await;
    let call = town.citizen.call_answered("12319", 10_000).await.unwrap();
    let id = call_of(&town.desk, 1).await;
    town.asked(&id, "busy").await;
    call.send_digits("1").unwrap();
    town.asked(&id, "callback_done").await;
    call.wait_ended(30_000).await.unwrap();
    assert!(town.desk.ended(&id).await["stage_abandoned"].is_null());
    assert_eq!((tasks(&town.desk, "排队回拨").await, tasks(&town.desk, "漏接回拨").await), (1, 0));
}

/// A town whose queue asks two phones on call after a second.
async fn on_call() -> Town {
    let config = GatewayConfig::default()
        .with("queue.main.on_call", vec!["13900000001", "13900000002"])
        .with("queue.main.overflow_s", 1);
    Town::open(config).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn phones_on_call_are_rung_in_order_and_who_presses_1_has_the_caller() {
    let town = on_call().await;
    let (caller, id) = queued(&town.desk, &town.citizen, 1).await;
    let first = town.citizen.next_call(20_000).await.unwrap();
    assert_eq!(first.called_user(), "13900000001");
    first.reject(486, "Busy Here").unwrap();
    let second = town.citizen.next_call(20_000).await.unwrap();
    assert_eq!(second.called_user(), "13900000002");
    second.accept().unwrap();
    event(&town.desk, &id, "on_call_asked").await;
    let waiting = town.desk.api.get("/api/v1/queue/callers").await.unwrap();
    assert_eq!(waiting[0]["call"], id.as_str(), "the place is kept until the key: {waiting}");
    second.rtp().play(Source::tone(1_500.0));
    second.send_digits("1").unwrap();
    caller.rtp().wait_for_tone(1_500.0, 300, 20_000).await.unwrap();
    event(&town.desk, &id, "talk_start").await;
    second.hang_up().await.unwrap();
    town.asked(&id, "after_talk").await;
    caller.hang_up().await.unwrap();
    let row = town.desk.ended(&id).await;
    assert_eq!(row["end_side"], "operator", "who took it hung up first: {row}");
    assert_eq!(row["recordings"].as_array().unwrap().iter().filter(|r| r["kind"] == "talk").count(), 1, "{row}");
    assert_eq!(tasks(&town.desk, "漏接回拨").await, 0);
    let metrics = town.desk.api.metrics().await.unwrap();
    assert!(metrics.contains(r#"hotline_dialout_permitted_total{purpose="on_call"} 2"#), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_who_answers_first_ends_the_call_to_a_phone_on_call() {
    let town = on_call().await;
    let (caller, id) = queued(&town.desk, &town.citizen, 1).await;
    let mobile = town.citizen.next_call(20_000).await.unwrap();
    mobile.ring(180, false).unwrap();
    let phone = town.desk.phone().await;
    town.desk.ready().await;
    assert_eq!(rung(&phone).await, id);
    caller.rtp().wait_for_tone(1_000.0, 300, 20_000).await.unwrap();
    mobile.wait_ended(20_000).await.unwrap();
    until("the call to the phone on call ended", 20_000, || async {
        let events = town.desk.api.get(&format!("/api/v1/calls/{id}/events")).await.ok()?;
        let ended = |e: &Value| e["kind"] == "on_call_end" && e["data"]["why"] == "caller waits no longer";
        events.as_array()?.iter().any(ended).then_some(())
    })
    .await
    .unwrap();
    caller.hang_up().await.unwrap();
    assert_eq!(town.desk.ended(&id).await["end_side"], "citizen");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_on_call_that_talks_uses_up_no_round_and_is_rung_once_its_talk_is_over() {
    let config = GatewayConfig::default()
        .with("queue.main.on_call", vec!["13900000001"])
        .with("queue.main.overflow_s", 1)
        .with("queue.main.wait_max_s", 8);
    let town = Town::open(config).await;
    let (first, one) = queued(&town.desk, &town.citizen, 1).await;
    let mobile = town.citizen.next_call(20_000).await.unwrap();
    mobile.accept().unwrap();
    // Nobody is sent away whom somebody has picked up for.
    event(&town.desk, &one, "wait_over_served").await;
    mobile.rtp().play(Source::tone(1_500.0));
    mobile.send_digits("1").unwrap();
    first.rtp().wait_for_tone(1_500.0, 300, 20_000).await.unwrap();
    let stranger = citizen(&town.desk, "13912340000").await;
    let (second, two) = queued(&town.desk, &stranger, 2).await;
    // Danger waits as long as it takes.
    second.send_digits("7").unwrap();
    assert_eq!(event(&town.desk, &two, "on_call_failed").await["data"]["why"], "in_use");
    mobile.hang_up().await.unwrap();
    // The first caller is asked for a verdict, and the number is free all the same.
    town.asked(&one, "after_talk").await;
    let again = town.citizen.next_call(30_000).await.unwrap();
    assert_eq!(again.called_user(), "13900000001");
    again.accept().unwrap();
    event(&town.desk, &two, "on_call_asked").await;
    again.rtp().play(Source::tone(1_500.0));
    again.send_digits("1").unwrap();
    second.rtp().wait_for_tone(1_500.0, 300, 20_000).await.unwrap();
    for call in [first, second] {
        call.hang_up().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_nobody_on_call_answers_and_nobody_is_there_the_citizen_is_told_and_called_back() {
    let config =
        GatewayConfig::default().with("queue.main.on_call", vec!["13900000001"]).with("queue.main.overflow_s", 1);
    let town = Town::open(config).await;
    let (caller, id) = queued(&town.desk, &town.citizen, 1).await;
    for _ in 0..3 {
        town.citizen.next_call(30_000).await.unwrap().reject(486, "Busy Here").unwrap();
    }
    event(&town.desk, &id, "on_call_none").await;
    town.asked(&id, "busy").await;
    caller.send_digits("1").unwrap();
    caller.wait_ended(30_000).await.unwrap();
    town.desk.ended(&id).await;
    assert_eq!(tasks(&town.desk, "排队回拨").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_speaks_a_message_when_the_phones_on_call_give_up_is_not_cut_off() {
    let config =
        GatewayConfig::default().with("queue.main.on_call", vec!["13900000001"]).with("queue.main.overflow_s", 1);
    let town = Town::open(config).await;
    let (caller, id) = queued(&town.desk, &town.citizen, 1).await;
    for _ in 0..2 {
        town.citizen.next_call(30_000).await.unwrap().reject(486, "Busy Here").unwrap();
    }
    let last = town.citizen.next_call(30_000).await.unwrap();
    caller.send_digits("2").unwrap();
    town.asked(&id, "message").await;
    // Nobody picks it up.
    last.wait_ended(60_000).await.unwrap();
    event(&town.desk, &id, "on_call_none").await;
    until("the message's recording", 30_000, || async {
        let row = town.desk.api.get(&format!("/api/v1/calls/{id}")).await.ok()?;
        (row["recordings"][0]["kind"] == "message").then_some(())
    })
    .await
    .unwrap();
    // What is said takes its time.
    caller.rtp().play(Source::tone(1_500.0));
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    caller.send_digits("#").unwrap();
    town.asked(&id, "message_done").await;
    caller.wait_ended(30_000).await.unwrap();
    town.desk.ended(&id).await;
    assert_eq!((tasks(&town.desk, "留言回拨").await, tasks(&town.desk, "漏接回拨").await), (1, 0));
}

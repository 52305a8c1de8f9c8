//! The case core refuses, times out after accepting, answers twice: one case each time, in order.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use common::{Town, item_form};
use hotline_tests::casecore::{CaseCore, Fault};
use hotline_tests::gateway::GatewayConfig;
use hotline_tests::until;
use serde_json::json;

async fn town_with(core: &CaseCore) -> Town {
    let config = GatewayConfig::default()
        .with("casecore.kind", "http")
        .with("casecore.url", core.url())
        .with("casecore.timeout_ms", 500)
        .with("casecore.webhook_secret", "s3cret");
    Town::open(config).await
}

async fn one_case_in_spite_of(fault: Fault, times: usize) {
    let core = CaseCore::start().await.unwrap();
    let town = town_with(&core).await;
    core.plan(fault, times);
    let item = town.reported().await;
    let cases = core.wait_cases(1, 20_000).await.unwrap();
    let story = town.story(&item).await;
    assert_eq!(story["handoffs"][0]["case_no"], json!(cases[0].case_no), "{fault:?}");
    // Long enough for a doubled request to arrive.
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    assert_eq!(core.cases().len(), 1, "{fault:?} made {:?}", core.cases());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_with_503_it_is_tried_again_and_filed_once() {
    one_case_in_spite_of(Fault::Refuse, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accepted_but_timed_out_it_is_looked_up_and_filed_once() {
    one_case_in_spite_of(Fault::AcceptThenTimeout { ms: 2_000 }, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accepted_but_cut_off_it_is_looked_up_and_filed_once() {
    one_case_in_spite_of(Fault::AcceptThenDrop, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreadable_answer_is_looked_up_and_filed_once() {
    one_case_in_spite_of(Fault::Garbage, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_come_twice_make_one_callback() {
    let core = CaseCore::start().await.unwrap();
    let town = town_with(&core).await;
    core.plan(Fault::AnswerTwice, 1);
    let item = town.reported().await;
    let case_no = core.wait_cases(1, 20_000).await.unwrap()[0].case_no.clone();
    let event = core.advance(&case_no, "已处置", "done");
    let webhook = format!("http://{}/api/v1/casecore/events", town.desk.gateway.http());
    assert_eq!(core.deliver(&event, &webhook, "wrong").await.unwrap(), 401);
    assert_eq!(core.deliver(&event, &webhook, "s3cret").await.unwrap(), 204);
    assert_eq!(core.deliver(&event, &webhook, "s3cret").await.unwrap(), 204);
    let call = town.citizen.next_call(15_000).await.unwrap();
    call.accept().unwrap();
    let keys = [("contacted", "1"), ("solved", "1"), ("satisfied", "1"), ("may_close", "1")];
    town.answer(&call, &keys).await;
    core.wait_command(&case_no, "close", 30_000).await.unwrap();
    assert_eq!(town.story(&item).await["callbacks"].as_array().unwrap().len(), 1);
    assert!(town.citizen.next_call(2_000).await.is_err(), "one case, one callback");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_wait_while_the_core_is_down_and_go_out_once_in_order() {
    let core = CaseCore::start().await.unwrap();
    let address = core.address();
    let town = town_with(&core).await;
    drop(core);
    let gone = || async { tokio::net::TcpStream::connect(address).await.is_err().then_some(()) };
    until("the core is gone", 5_000, gone).await.unwrap();
    let mut numbers = Vec::new();
    for n in 0..5 {
        let mut form = item_form("");
        let fields = form.as_object_mut().unwrap();
        fields.remove("call");
        fields.insert("title".into(), json!(format!("第{n}件")));
        let item = town.desk.api.post("/api/v1/items", &form).await.unwrap();
        numbers.push(item["acceptance_no"].as_str().unwrap().to_owned());
    }
    tokio::time::sleep(std::time::Duration::from_millis(1_000)).await;
    let core = CaseCore::start_on(address).await.unwrap();
    let cases = core.wait_cases(5, 30_000).await.unwrap();
    let mut filed: Vec<String> =
        cases.iter().map(|c| c.payload["acceptance_no"].as_str().unwrap().to_owned()).collect();
    filed.sort();
    assert_eq!(filed, numbers, "each once");
    let first = &cases[0].payload;
    assert!(!first.to_string().contains("13812345678"), "the hand-off carries no identity: {first}");
}

//! The case core's faults, seen by a client.

use hotline_tests::casecore::{CaseCore, Fault, sign};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

async fn post(core: &CaseCore, path: &str, key: &str) -> Result<(StatusCode, Value), reqwest::Error> {
    let request = hotline_tests::api::client().unwrap().request(Method::POST, core.url() + path);
    let request = request.header("Idempotency-Key", key).json(&json!({"title": "井盖缺失"}));
    let answer = request.timeout(std::time::Duration::from_millis(1_500)).send().await?;
    let status = answer.status();
    Ok((status, answer.json().await.unwrap_or(Value::Null)))
}

#[tokio::test]
async fn one_key_is_one_case_whatever_happens_on_the_way() {
    let core = CaseCore::start().await.unwrap();
    core.plan(Fault::Refuse, 2);
    core.plan(Fault::AcceptThenTimeout { ms: 6_000 }, 1);
    core.plan(Fault::AcceptThenDrop, 1);
    for _ in 0..2 {
        assert_eq!(post(&core, "/cases", "k1").await.unwrap().0, 503);
    }
    assert!(core.cases().is_empty());
    assert!(post(&core, "/cases", "k1").await.unwrap_err().is_timeout());
    assert_eq!(core.cases().len(), 1);
    assert!(post(&core, "/cases", "k1").await.is_err());
    let (status, answer) = post(&core, "/cases", "k1").await.unwrap();
    assert_eq!((status.as_u16(), answer["created"].as_bool()), (200, Some(false)));
    let cases = core.cases();
    assert_eq!((cases.len(), cases[0].requests, core.planned()), (1, 3, 0));
    assert_eq!(cases[0].payload["title"], "井盖缺失");
}

#[tokio::test]
async fn a_dropped_request_keeps_nothing_and_garbage_keeps_the_case() {
    let core = CaseCore::start().await.unwrap();
    core.plan(Fault::Drop, 1);
    assert!(post(&core, "/cases", "k1").await.is_err());
    assert!(core.cases().is_empty());
    core.plan(Fault::Garbage, 1);
    assert_eq!(post(&core, "/cases", "k1").await.unwrap(), (StatusCode::OK, Value::Null));
    let found = hotline_tests::api::client().unwrap();
    let found = found.get(core.url() + "/cases?idempotency_key=k1").send().await.unwrap();
    assert_eq!(found.json::<Value>().await.unwrap()["case_no"], core.cases()[0].case_no);
}

#[tokio::test]
async fn commands_count_once_per_key_and_events_are_paged() {
    let core = CaseCore::start().await.unwrap();
    core.plan(Fault::AnswerTwice, 1);
    let (_, answer) = post(&core, "/cases", "k1").await.unwrap();
    let case_no = answer["case_no"].as_str().unwrap().to_owned();
    for _ in 0..2 {
        post(&core, &format!("/cases/{case_no}/close"), "k2").await.unwrap();
    }
    assert_eq!(core.commands().len(), 1);
    core.wait_command(&case_no, "close", 5_000).await.unwrap();
    core.advance(&case_no, "已处置", "");
    let page = |query: &'static str| {
        let url = core.url() + query;
        async move {
            let answer = hotline_tests::api::client().unwrap().get(url).send().await.unwrap();
            answer.json::<Value>().await.unwrap()
        }
    };
    let all = page("/events?after=0").await;
    let ids: Vec<&str> = all["events"].as_array().unwrap().iter().map(|e| e["event_id"].as_str().unwrap()).collect();
    assert_eq!((ids.len(), ids[0], all["cursor"].as_u64()), (2, ids[1], Some(2)));
    assert_eq!(page("/events?after=2").await["events"], json!([]));
}

/// RFC 4231, test case 2.
#[test]
fn the_signature_is_hmac_sha_256() {
    let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    assert_eq!(sign("what do ya want for nothing?", "Jefe"), expected);
}

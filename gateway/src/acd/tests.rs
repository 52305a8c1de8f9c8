use std::time::Duration;

use hotline_db::{AgentState, Id, Store};
use tokio::sync::mpsc;

use super::{Acd, CallNews, Entry, Lane, OperatorRef, OperatorState, Profile, Refused};
use crate::calendar::Calendar;
use crate::config::{Config, Queue};

const LONG: Duration = Duration::from_secs(20);

struct Desk {
    acd: Acd,
    store: Store,
    dir: tempfile::TempDir,
}

async fn desk() -> Desk {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", dir.path().join("hotline.db").display());
    let store = Store::open(&url).await.unwrap();
    let mut config = Config::default();
    config.queues.insert("main".into(), Queue { wrap_s: 0, ..Queue::default() });
    Desk { acd: Acd::start(&config, &Calendar::default(), &store, "n"), store, dir }
}

impl Desk {
    async fn ready(&self, id: &str) {
        let who = OperatorRef { id: id.into(), name: "x".into(), sip_user: id.into() };
        let profile = Profile { queues: vec!["main".into()], registered: true, ..Profile::default() };
        self.acd.want(who, profile, OperatorState::Ready, "").await.unwrap();
    }

    async fn enter(&self, call: &str) -> mpsc::Receiver<Box<CallNews>> {
        let (tx, rx) = mpsc::channel(8);
        self.acd.enter(Entry::new(call, "main", Lane::Normal), tx).await.unwrap();
        rx
    }
}

async fn offered(news: &mut mpsc::Receiver<Box<CallNews>>) -> String {
    match *tokio::time::timeout(LONG, news.recv()).await.unwrap().unwrap() {
        CallNews::Offer(operator) => operator.id,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_killed_owner_goes_on_where_it_was() {
    let d = desk().await;
    d.ready("x").await;
    let (mut a, mut b, mut c) = (d.enter("a").await, d.enter("b").await, d.enter("c").await);
    assert_eq!(offered(&mut a).await, "x");
    d.acd.connected("a", "x").await;
    d.ready("y").await;
    assert_eq!(offered(&mut b).await, "y");
    for _ in 0..3 {
        d.acd.kill().await;
    }
    // b's ring goes on and a's talk too: nobody is offered twice, nobody forgotten.
    d.acd.connected("b", "y").await;
    let view = d.acd.view().await;
    assert_eq!(view[0].waiting, 1);
    let states: Vec<_> = view[0].operators.iter().map(|o| (o.state.as_str(), o.call.as_deref())).collect();
    assert_eq!(states, [("talking", Some("a")), ("talking", Some("b"))]);
    assert!(a.try_recv().is_err() && b.try_recv().is_err() && c.try_recv().is_err());
    d.acd.released("a", "x").await;
    assert_eq!(offered(&mut c).await, "x");
}

#[tokio::test]
async fn an_owner_killed_over_an_answer_offers_who_talks_nobody_else() {
    let d = desk().await;
    d.ready("x").await;
    let mut a = d.enter("a").await;
    assert_eq!(offered(&mut a).await, "x");
    // The word that x picked up, and another that x rang off, are lost with the owner.
    d.acd.mirror.lock().talks.insert("a".into(), "x".into());
    d.acd.kill().await;
    let mut b = d.enter("b").await;
    let view = d.acd.view().await;
    assert_eq!((view[0].waiting, view[0].operators[0].state.as_str()), (1, "talking"));
    assert!(b.try_recv().is_err());
    d.acd.mirror.released("a", "x");
    d.acd.kill().await;
    assert_eq!(offered(&mut b).await, "x");
}

#[tokio::test]
async fn who_took_a_transfer_without_signing_in_is_offered_nobody_when_they_sign_in_after_a_rebuild() {
    let d = desk().await;
    let _a = d.enter("a").await;
    d.acd.connected("a", "x").await;
    d.acd.kill().await;
    let mut b = d.enter("b").await;
    d.ready("x").await;
    assert_eq!(d.acd.view().await[0].waiting, 1);
    assert!(b.try_recv().is_err());
    d.acd.ended("a").await;
    assert_eq!(offered(&mut b).await, "x");
}

#[tokio::test]
async fn a_caller_whose_driver_vanished_is_no_caller_after_a_rebuild() {
    let d = desk().await;
    drop(d.enter("a").await);
    let mut b = d.enter("b").await;
    d.acd.kill().await;
    assert_eq!(d.acd.view().await[0].waiting, 1);
    d.ready("x").await;
    assert_eq!(offered(&mut b).await, "x");
}

#[tokio::test]
async fn while_the_database_is_away_the_queue_goes_on_and_its_rows_follow() {
    let d = desk().await;
    let (x, call) = (Id::new(), Id::new().to_string());
    let lock = rusqlite::Connection::open(d.dir.path().join("hotline.db")).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    d.ready(&x.to_string()).await;
    for _ in 0..50 {
        let mut news = d.enter(&call).await;
        assert_eq!(offered(&mut news).await, x.to_string());
        d.acd.connected(&call, &x.to_string()).await;
        d.acd.released(&call, &x.to_string()).await;
        d.acd.ended(&call).await;
    }
    let mut news = d.enter(&call).await;
    assert_eq!(offered(&mut news).await, x.to_string());
    d.acd.connected(&call, &x.to_string()).await;
    assert!(d.store.operator_states().await.unwrap().is_empty(), "the database was not away");
    lock.execute_batch("ROLLBACK").unwrap();
    // Ready, fifty times ringing, talking and ready, then ringing and talking: nothing is lost, nothing out of order.
    let written = tokio::time::timeout(LONG, async {
        loop {
            let history = d.store.operator_state_history(x, 0, i64::MAX).await.unwrap();
            if history.len() >= 153 {
                return history;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut last = written.await.unwrap().into_iter().rev();
    let mut next = || last.next().unwrap();
    assert_eq!(
        [next().state, next().state, next().state],
        [AgentState::Talking, AgentState::Ringing, AgentState::Ready]
    );
}

#[tokio::test]
async fn an_operator_of_a_queue_nobody_configured_is_told_so() {
    let d = desk().await;
    let who = OperatorRef { id: "x".into(), name: "x".into(), sip_user: "x".into() };
    let profile = Profile { queues: vec!["nights".into()], ..Profile::default() };
    let refused = d.acd.want(who, profile, OperatorState::Ready, "").await;
    assert!(matches!(refused, Err(super::AcdError::Refused(Refused::NoQueue(_)))), "{refused:?}");
}

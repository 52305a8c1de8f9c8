//! Links that break, leaders that die over a word.

use hotline_db::LeaseWish;

use super::super::super::wire::{What, Wire};
use super::super::super::{Decline, Service};
use super::*;
use crate::cluster::limits::{BEAT_MS, LEASE_MS};

impl Node {
    async fn is_engaged(&self, id: &str, engaged: bool) {
        until(|| async { self.acd.view().await[0].operators.iter().any(|o| o.id == id && o.engaged == engaged) }).await;
    }

    async fn led(&self, led: bool) {
        until(|| async { self.acd.figures().is_some_and(|f| (f.term > 0) == led) }).await;
    }
}

#[tokio::test]
async fn who_talks_in_a_call_from_a_task_is_offered_none_after_a_flap_and_a_change_of_leader() {
    let dir = tempfile::tempdir().unwrap();
    let (mut a, b) = two(dir.path()).await;
    b.ready("y").await;
    let (driver, _drives) = mpsc::channel(8);
    b.acd.engaged("task", "y", &driver);
    a.is_engaged("y", true).await;
    // A caller of a's waits for y: offered the moment y looks free.
    let mut waits = a.enter("one").await;
    b.cut();
    b.led(false).await;
    b.mend();
    b.led(true).await;
    // Answered after what b stated was taken in.
    let mut other = b.enter("two").await;
    a.is_engaged("y", true).await;
    assert!(waits.try_recv().is_err(), "y talks still");
    a.kill();
    b.leads().await;
    b.is_engaged("y", true).await;
    assert!(other.try_recv().is_err(), "y talks still");
    // What its driver says at last counts.
    b.acd.disengaged("task", "y");
    assert_eq!(offered(&mut other).await, "y");
}

#[tokio::test]
async fn a_call_from_a_task_that_ended_during_a_flap_leaves_its_operator_free() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = two(dir.path()).await;
    b.ready("y").await;
    let (driver, _drives) = mpsc::channel(8);
    b.acd.engaged("task", "y", &driver);
    b.acd.engaged("other", "y", &driver);
    a.is_engaged("y", true).await;
    let mut waits = a.enter("one").await;
    b.cut();
    b.led(false).await;
    b.acd.ended("task").await;
    b.acd.disengaged("other", "y");
    b.mend();
    assert_eq!(offered(&mut waits).await, "y");
}

#[tokio::test]
async fn what_a_driver_said_while_nobody_led_counts_before_a_lost_ring_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut a, b) = two(dir.path()).await;
    b.ready("x").await;
    let mut news = b.enter("one").await;
    assert_eq!(offered(&mut news).await, "x");
    is(&b, "x", "ringing", Some("one")).await;
    b.ready("y").await;
    a.kill();
    b.acd.declined("one", "x", Decline::Refused).await;
    b.leads().await;
    assert_eq!(offered(&mut news).await, "y", "and x isn't rung again");
    is(&b, "x", "away", None).await;
    let callers = b.acd.callers().await;
    assert_eq!(
        callers.iter().map(|c| (c.call.as_str(), c.ringing.as_deref())).collect::<Vec<_>>(),
        [("one", Some("y"))]
    );
    assert!(news.try_recv().is_err());
}

#[tokio::test]
async fn a_follower_without_a_link_says_so_loses_nothing_and_joins_again() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = two(dir.path()).await;
    let mut waits = b.enter("one").await;
    let mut service = b.acd.service().unwrap();
    assert_eq!(*service.borrow_and_update(), Service::Open);
    b.cut();
    tokio::time::timeout(LONG, service.wait_for(|service| *service == Service::Elsewhere)).await.unwrap().unwrap();
    until(|| async { a.acd.callers().await.is_empty() }).await;
    assert_eq!(*a.acd.service().unwrap().borrow(), Service::Open, "the leader serves");
    // Nobody takes them, and nobody who tells them hangs.
    let told = async {
        for _ in 0..10_000 {
            b.acd.set_lane("two", Lane::Red).await;
            b.acd.ended("two").await;
        }
    };
    tokio::time::timeout(LONG, told).await.unwrap();
    b.acd.set_lane("one", Lane::Red).await;
    assert!(matches!(next(&mut waits).await, CallNews::Overflow { red: true }), "danger is reported meanwhile");
    b.mend();
    tokio::time::timeout(LONG, service.wait_for(|service| *service == Service::Open)).await.unwrap().unwrap();
    until(|| async { a.acd.callers().await.iter().any(|c| c.call == "one" && c.lane == "red") }).await;
    b.ready("y").await;
    loop {
        match next(&mut waits).await {
            // The link came back later than that.
            CallNews::WaitedTooLong => {}
            CallNews::Offer(operator) => break assert_eq!(operator.id, "y"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn of_two_gateways_with_one_name_the_younger_leaves() {
    let dir = tempfile::tempdir().unwrap();
    let a = node("a", "a1", dir.path()).await;
    a.leads().await;
    let twin = node("a", "a2", dir.path()).await;
    let mut service = twin.acd.service().unwrap();
    tokio::time::timeout(LONG, service.wait_for(|service| *service == Service::Twin)).await.unwrap().unwrap();
    a.leads().await;
    a.ready("x").await;
    let mut news = a.enter("one").await;
    assert_eq!(offered(&mut news).await, "x");
    assert_eq!(twin.acd.figures().map(|f| f.term), Some(0), "it takes no part any more");
}

#[tokio::test]
async fn a_phone_that_rang_all_through_a_long_cut_rings_on_for_its_caller_and_nobody_else_is_offered_them() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = two(dir.path()).await;
    b.ready("x").await;
    let mut one = b.enter("one").await;
    assert_eq!(offered(&mut one).await, "x");
    is(&b, "x", "ringing", Some("one")).await;
    a.ready("y").await;
    b.cut();
    is(&a, "x", "ready", None).await;
    assert!(!operator(&a.acd.view().await, "x").registered, "a gave both up");
    b.mend();
    let rings = || async {
        let callers = a.acd.callers().await;
        callers.iter().any(|c| c.call == "one" && c.ringing.as_deref() == Some("x"))
    };
    until(rings).await;
    // Answered after all that came of the statement.
    b.ready("z").await;
    assert!(one.try_recv().is_err(), "its driver goes on as before");
    b.acd.connected("one", "x").await;
    is(&a, "x", "talking", Some("one")).await;
    is(&a, "y", "ready", None).await;
}

/// Leads as far as rows and its claims say, and understands nothing that is said to it.
async fn deaf_leader(dir: &Path) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (peer_address, sip_address) = (listener.local_addr().unwrap().to_string(), "127.0.0.1:5060".into());
    let row = GatewayNode { id: "z".into(), boot: "z1".into(), peer_address, sip_address, age_ms: 0 };
    let me = Me { node: "z".into(), boot: "z1".into(), secret: SECRET.into() };
    let (peers, mut events) = Peers::start(me, listener, CancellationToken::new());
    tokio::spawn(async move { while events.recv().await.is_some() {} });
    let store = Store::open(&format!("sqlite://{}", dir.join("hotline.db").display())).await.unwrap();
    let term = store.node_beat(row.clone(), LeaseWish::Take, LEASE_MS).await.unwrap().lease.unwrap().term;
    tokio::spawn(async move {
        for n in 0.. {
            // A beat that fails is made up for by the next.
            let _ = store.node_beat(row.clone(), LeaseWish::Renew(term), LEASE_MS).await;
            for node in peers.up() {
                let _ = peers.send(&node, Wire::frame(term, What::Lead { n }));
            }
            tokio::time::sleep(Duration::from_millis(BEAT_MS)).await;
        }
    });
}

#[tokio::test]
async fn a_leader_that_understands_nothing_counts_as_none() {
    let dir = tempfile::tempdir().unwrap();
    deaf_leader(dir.path()).await;
    let b = node("b", "b1", dir.path()).await;
    b.follows().await;
    let mut service = b.acd.service().unwrap();
    tokio::time::timeout(LONG, service.wait_for(|service| *service == Service::Elsewhere)).await.unwrap().unwrap();
    b.follows().await;
}

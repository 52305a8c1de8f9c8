//! Links that break, leaders that die over a word.

use super::super::super::{Decline, Service};
use super::*;

impl Node {
    /// The link others dialled breaks, and stays so.
    fn cut(&self) {
        self.cable.send_replace(false);
    }

    fn mend(&self) {
        self.cable.send_replace(true);
    }

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
    b.acd.engaged("task", "y");
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
    b.acd.engaged("task", "y");
    b.acd.engaged("other", "y");
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
    b.mend();
    tokio::time::timeout(LONG, service.wait_for(|service| *service == Service::Open)).await.unwrap().unwrap();
    until(|| async { a.acd.callers().await.iter().any(|c| c.call == "one" && c.lane == "red") }).await;
    b.ready("y").await;
    assert_eq!(offered(&mut waits).await, "y");
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

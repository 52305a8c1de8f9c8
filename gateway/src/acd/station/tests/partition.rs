//! Both gateways live and can't talk with each other.

use super::*;

impl Node {
    async fn gave_up(&self, gateways: i64) {
        until(|| async { self.acd.figures().is_some_and(|f| f.lost == gateways) }).await;
    }
}

/// Whoever talks in a call of the other gateway isn't free, though nobody here hears its driver.
#[tokio::test]
async fn who_talks_with_a_citizen_of_a_gateway_that_is_cut_off_is_rung_for_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = two(dir.path()).await;
    a.ready("x").await;
    let mut one = b.enter("one").await;
    assert_eq!(offered(&mut one).await, "x");
    b.acd.connected("one", "x").await;
    a.ready("y").await;
    let (driver, _drives) = mpsc::channel(8);
    b.acd.engaged("task", "y", &driver);
    let busy = || async {
        let view = a.acd.view().await;
        operator(&view, "x").state == "talking" && operator(&view, "y").engaged
    };
    until(busy).await;
    let mut waits = a.enter("two").await;
    b.cut();
    a.gave_up(1).await;
    assert!(busy().await);
    b.mend();
    let queued = b.enter("three");
    let mut third = tokio::time::timeout(LONG, queued).await.unwrap();
    // Answered after all that came of the statement.
    assert!(busy().await && waits.try_recv().is_err() && third.try_recv().is_err());
    b.acd.released("one", "x").await;
    assert_eq!(offered(&mut waits).await, "x");
    b.acd.disengaged("task", "y");
    assert_eq!(offered(&mut third).await, "y");
    a.gave_up(1).await;
}

#[tokio::test]
async fn whose_talk_cannot_be_told_of_any_more_is_free_when_they_say_so_or_that_gateway_dies() {
    let dir = tempfile::tempdir().unwrap();
    let (a, mut b) = two(dir.path()).await;
    let mut calls = Vec::new();
    for (who, call) in [("x", "one"), ("y", "two")] {
        a.ready(who).await;
        let mut news = b.enter(call).await;
        assert_eq!(offered(&mut news).await, who);
        b.acd.connected(call, who).await;
        is(&a, who, "talking", Some(call)).await;
        calls.push(news);
    }
    b.cut();
    a.gave_up(1).await;
    let mut third = a.enter("three").await;
    a.ready("x").await;
    assert_eq!(offered(&mut third).await, "x");
    let mut fourth = a.enter("four").await;
    is(&a, "y", "talking", Some("two")).await;
    b.kill();
    assert_eq!(offered(&mut fourth).await, "y");
    a.gave_up(1).await;
}

#[tokio::test]
async fn who_waits_at_a_gateway_that_is_cut_off_is_sent_on_and_danger_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (_a, b) = two(dir.path()).await;
    let (mut normal, mut red) = (b.enter("one").await, b.enter("two").await);
    b.acd.set_lane("two", Lane::Red).await;
    until(|| async { b.acd.callers().await.iter().any(|c| c.call == "two" && c.lane == "red") }).await;
    b.cut();
    assert!(matches!(next(&mut red).await, CallNews::Overflow { red: true }));
    assert!(normal.try_recv().is_err(), "the link may come again");
    assert!(matches!(next(&mut normal).await, CallNews::WaitedTooLong));
    assert!(red.try_recv().is_err(), "danger isn't sent away");
}

#[tokio::test]
async fn who_was_in_a_call_whose_driver_died_without_a_word_is_free_at_either_gateway() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = two(dir.path()).await;
    // Their callers live on, or the sweep would free the first for the second.
    let mut rings = Vec::new();
    for (node, who, call) in [(&a, "x", "one"), (&b, "y", "two")] {
        node.ready(who).await;
        let (driver, drives) = mpsc::channel(8);
        node.acd.engaged("task", who, &driver);
        until(|| async { operator(&a.acd.view().await, who).engaged }).await;
        let mut waits = a.enter(call).await;
        assert!(waits.try_recv().is_err());
        drop(drives);
        assert_eq!(offered(&mut waits).await, who);
        rings.push(waits);
    }
}

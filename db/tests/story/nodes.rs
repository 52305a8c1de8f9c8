//! Gateways that share a database, and the lease of the queues' leader.

use std::time::Duration;

use hotline_db::{GatewayNode, LeaseWish, NodeBeat};

use crate::stage::{Stage, story};

const LONG_MS: i64 = 3_600_000;

fn node(id: &str, boot: &str) -> GatewayNode {
    let (peer_address, sip_address) = ("10.0.0.1:7000".into(), "10.0.0.1:5060".into());
    GatewayNode { id: id.into(), boot: boot.into(), peer_address, sip_address, age_ms: 0 }
}

fn leader(beat: &NodeBeat) -> (i64, &str) {
    let lease = beat.lease.as_ref().unwrap();
    (lease.term, lease.boot.as_str())
}

story!(a_lease_is_one_gateways_until_it_is_over, |s: Stage| async move {
    let beat = |id: &'static str, boot: &'static str, wish, ms| {
        let store = s.store.clone();
        async move { store.node_beat(node(id, boot), wish, ms).await.unwrap() }
    };
    assert_eq!(beat("a", "a1", LeaseWish::Watch, LONG_MS).await.lease, None);
    assert_eq!(leader(&beat("a", "a1", LeaseWish::Take, LONG_MS).await), (1, "a1"));
    assert_eq!(leader(&beat("b", "b1", LeaseWish::Take, LONG_MS).await), (1, "a1"), "it isn't over");
    assert_eq!(leader(&beat("b", "b1", LeaseWish::Renew(1), LONG_MS).await), (1, "a1"), "it is another's");
    let renewed = beat("a", "a1", LeaseWish::Renew(1), 1).await;
    assert!(renewed.lease.unwrap().left_ms <= 1);
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(leader(&beat("b", "b1", LeaseWish::Watch, LONG_MS).await), (1, "a1"), "looking takes nothing");
    assert_eq!(leader(&beat("b", "b1", LeaseWish::Take, LONG_MS).await), (2, "b1"));
    let late = beat("a", "a1", LeaseWish::Renew(1), LONG_MS).await;
    assert_eq!(leader(&late), (2, "b1"), "who was late leads no longer");
    assert_eq!(late.nodes.iter().map(|n| n.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert!(late.nodes.iter().all(|n| (0..60_000).contains(&n.age_ms)), "{:?}", late.nodes);
});

story!(a_gateway_sees_who_had_its_name_before, |s: Stage| async move {
    assert_eq!(s.store.gateway_node("a").await.unwrap(), None);
    let first = s.store.node_beat(node("a", "a1"), LeaseWish::Watch, LONG_MS).await.unwrap();
    assert_eq!(first.before, None);
    let twin = s.store.node_beat(node("a", "a2"), LeaseWish::Watch, LONG_MS).await.unwrap();
    assert_eq!(twin.before.map(|row| row.boot).as_deref(), Some("a1"));
    let again = s.store.node_beat(node("a", "a2"), LeaseWish::Watch, LONG_MS).await.unwrap();
    assert_eq!(again.before.map(|row| row.boot).as_deref(), Some("a2"));
    let row = s.store.gateway_node("a").await.unwrap().unwrap();
    assert_eq!((row.boot.as_str(), row.peer_address.as_str()), ("a2", "10.0.0.1:7000"));
});

story!(a_gateway_that_starts_again_or_gives_up_keeps_nobody_waiting, |s: Stage| async move {
    s.store.node_beat(node("a", "a1"), LeaseWish::Take, LONG_MS).await.unwrap();
    let again = s.store.node_beat(node("a", "a2"), LeaseWish::Take, LONG_MS).await.unwrap();
    assert_eq!((leader(&again), again.nodes.len()), ((2, "a2"), 1), "its earlier run is dead");
    assert!(!s.store.lease_give_up("a1").await.unwrap());
    assert!(s.store.lease_give_up("a2").await.unwrap());
    let other = s.store.node_beat(node("b", "b1"), LeaseWish::Take, LONG_MS).await.unwrap();
    assert_eq!(leader(&other), (3, "b1"));
});

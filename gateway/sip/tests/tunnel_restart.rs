//! Gateways joined by links that start again, one after another
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

mod common;
use common::*;
use hotline_sip::*;
use std::time::{Duration, Instant};

fn udp() -> Flow {
    Flow { transport: Transport::Udp, local: addr(GATEWAY), remote: addr(PHONE), conn: None, node: None }
}

fn gateway(seed: u8, node: NodeId) -> Gateway {
    Gateway::with(Config { node: Some(node), ..config("192.0.2.0/24", seed) })
}

fn binding(now: Instant) -> Binding {
    Binding {
        contact: "<sip:1001@192.0.2.50:5060>".into(),
        flow: udp(),
        expires_at: now + Duration::from_secs(600),
        q: 1_000,
        call_id: "reg".into(),
        cseq: 7,
        instance: None,
        reg_id: None,
    }
}

fn restored(gateway: &mut Gateway) {
    let binding = binding(gateway.now);
    assert_eq!(gateway.ep.restore_bindings(gateway.now, vec![("1001".into(), binding)]), 1);
}

#[test]
fn a_phone_that_both_restored_stays_at_one_of_them() {
    let ids = [NodeId::of_name("first"), NodeId::of_name("second")];
    let mut both = [gateway(1, ids[0]), gateway(2, ids[1])];
    both.iter_mut().for_each(restored);
    for (at, other) in [(0, ids[1]), (1, ids[0])] {
        let now = both[at].now;
        both[at].ep.node_up(now, other);
        both[at].drain();
    }
    // What each told crosses on its way.
    loop {
        let told: Vec<Vec<(NodeId, Parcel)>> = both.iter_mut().map(|g| std::mem::take(&mut g.parcels)).collect();
        if told.iter().all(Vec::is_empty) {
            break;
        }
        for (from, parcels) in told.into_iter().enumerate() {
            let to = &mut both[1 - from];
            for (_, parcel) in parcels {
                to.ep.handle_parcel(to.now, ids[from], parcel);
            }
            to.drain();
        }
    }
    let greater = ids.into_iter().max();
    let places: Vec<Option<NodeId>> = both
        .iter()
        .zip(ids)
        .map(|(g, own)| {
            let found = g.ep.bindings(g.now, "1001");
            assert_eq!(found.len(), 1);
            Some(found[0].flow.node.unwrap_or(own))
        })
        .collect();
    assert_eq!(places, [greater, greater], "both know the same place");
}

#[test]
fn a_seventeenth_gateway_takes_the_place_of_one_that_is_gone() {
    let mut own = gateway(1, NodeId::of_name("own"));
    for n in 0..=limits::NODE_COUNT_MAX {
        let id = NodeId::of_name(&format!("run {n}"));
        own.ep.node_up(own.now, id);
        let contact = Contact {
            contact: "<sip:1001@192.0.2.50:5060>".into(),
            flow: udp(),
            expires_ms: 600_000,
            age_ms: Some(0),
            q: 1_000,
            call_id: "reg".into(),
            cseq: 7,
            instance: None,
            reg_id: None,
        };
        own.ep.handle_parcel(own.now, id, Parcel::Contacts { user: "1001".into(), contacts: vec![contact] });
        own.drain();
        assert_eq!(own.ep.bindings(own.now, "1001").len(), 1, "gateway {n} is heard");
        own.ep.node_down(own.now, id);
        own.pass(limits::NODE_GRACE_MS + 1);
        assert!(own.ep.bindings(own.now, "1001").is_empty());
    }
}

#[test]
fn a_whole_sites_phones_are_told_in_few_parcels() {
    const USERS: usize = limits::NODE_PHONES_MAX * 3 + 1;
    let ids = [NodeId::of_name("first"), NodeId::of_name("second")];
    let [mut first, mut second] = [gateway(1, ids[0]), gateway(2, ids[1])];
    let users = |n: usize| format!("2{n:04}");
    let account = |n| User { name: users(n), ha1_md5: String::new(), ha1_sha256: String::new() };
    first.ep.set_users(first.now, (0..USERS).map(account).collect());
    for n in 0..USERS {
        let binding = binding(first.now);
        assert_eq!(first.ep.restore_bindings(first.now, vec![(users(n), binding)]), 1);
    }
    first.ep.node_up(first.now, ids[1]);
    first.drain();
    second.ep.node_up(second.now, ids[0]);
    assert_eq!(first.parcels.len(), 4);
    for (_, parcel) in std::mem::take(&mut first.parcels) {
        second.ep.handle_parcel(second.now, ids[0], parcel);
    }
    for n in 0..USERS {
        assert_eq!(second.ep.bindings(second.now, &users(n)).len(), 1, "{n}");
    }
}

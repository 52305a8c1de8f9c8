use super::*;
use crate::transaction::test_clock::at;

fn flow(conn: Option<u64>) -> Flow {
    let transport = if conn.is_some() { Transport::Tcp } else { Transport::Udp };
    Flow {
        transport,
        local: "10.0.0.1:5060".parse().unwrap(),
        remote: "10.0.0.2:5060".parse().unwrap(),
        conn,
        node: None,
    }
}

fn change(contact: &str, expires_s: u32) -> Change {
    Change { contact: contact.into(), expires_s, q: 1_000, ..Change::default() }
}

fn add(registrar: &mut Registrar, ms: u64, contact: &str, expires_s: u32, cseq: u32) -> Result<(), OutOfOrder> {
    registrar.register(at(ms), "1001", flow(None), ("c", cseq), &[change(contact, expires_s)])
}

#[test]
fn the_newest_binding_comes_first_and_lapses() {
    let mut registrar = Registrar::default();
    add(&mut registrar, 0, "sip:a", 60, 1).unwrap();
    add(&mut registrar, 0, "sip:b", 120, 2).unwrap();
    assert_eq!(registrar.live(at(1), "1001")[0].contact, "sip:b");
    assert_eq!(registrar.next_at(), Some(at(60_000)));
    assert!(registrar.expire(at(60_000)).lost.is_empty());
    assert_eq!(registrar.live(at(60_000), "1001").len(), 1);
    assert!(registrar.has_flow(at(119_999), flow(None)) && !registrar.has_flow(at(120_000), flow(None)));
    assert_eq!(registrar.expire(at(120_000)).lost, ["1001"]);
    assert!(registrar.flows.is_empty() && registrar.phones.is_empty());
}

#[test]
fn a_higher_q_comes_first_however_old() {
    let mut registrar = Registrar::default();
    let with_q = |contact, q| Change { q, ..change(contact, 60) };
    let changes = [with_q("sip:a", 900), with_q("sip:b", 100), with_q("sip:c", 900)];
    registrar.register(at(0), "1001", flow(None), ("c", 1), &changes).unwrap();
    let order: Vec<_> = registrar.live(at(1), "1001").into_iter().map(|b| b.contact).collect();
    assert_eq!(order, ["sip:c", "sip:a", "sip:b"]);
}

#[test]
fn an_older_request_changes_nothing() {
    let mut registrar = Registrar::default();
    add(&mut registrar, 0, "sip:a", 60, 5).unwrap();
    assert_eq!(add(&mut registrar, 1, "sip:a", 0, 5), Err(OutOfOrder));
    assert_eq!(registrar.remove_all("1001", ("c", 4)), Err(OutOfOrder));
    assert_eq!(registrar.live(at(1), "1001").len(), 1);
    registrar.remove_all("1001", ("other", 1)).unwrap();
    assert!(registrar.live(at(1), "1001").is_empty());
}

#[test]
fn a_ninth_contact_replaces_the_one_that_lapses_first() {
    let mut registrar = Registrar::default();
    for i in 0..9_u32 {
        add(&mut registrar, 0, &format!("sip:{i}"), 60 + i, i + 1).unwrap();
    }
    let live = registrar.live(at(1), "1001");
    assert_eq!(live.len(), limits::BINDINGS_PER_USER_MAX);
    assert!(live.iter().all(|b| b.contact != "sip:0"));
}

#[test]
fn a_newer_flow_of_an_instance_replaces_the_older() {
    let mut registrar = Registrar::default();
    let of = |contact: &str, instance: &str, reg_id| Change {
        instance: Some(instance.into()),
        reg_id,
        ..change(contact, 60)
    };
    let mut send = |cseq, call_id: &str, change: Change| {
        registrar.register(at(0), "1001", flow(None), (call_id, cseq), &[change]).unwrap();
        registrar.live(at(1), "1001").into_iter().map(|b| b.contact).collect::<Vec<_>>()
    };
    assert_eq!(send(1, "c", of("sip:a:5060", "\"<u1>\"", Some(1))), ["sip:a:5060"]);
    assert_eq!(send(1, "after a restart", of("sip:a:6070", "\"<u1>\"", Some(1))), ["sip:a:6070"]);
    assert_eq!(send(2, "c", of("sip:a:7070", "\"<u1>\"", Some(2))).len(), 2, "another flow of the same phone");
    assert_eq!(send(3, "c", of("sip:b", "\"<u2>\"", Some(1))).len(), 3, "another phone");
    assert_eq!(send(4, "c", change("sip:c", 60)).len(), 4);
}

#[test]
fn a_closed_connection_takes_its_bindings_along() {
    let mut registrar = Registrar::default();
    registrar.register(at(0), "1001", flow(Some(4)), ("c", 1), &[change("sip:a", 60)]).unwrap();
    assert_eq!(registrar.conn_closed(5), Swept::default());
    assert!(registrar.is_at(at(1), "1001", "10.0.0.2".parse().unwrap()));
    assert_eq!(registrar.conn_closed(4).lost, ["1001"]);
    assert!(!registrar.has_flow(at(1), flow(Some(4))));
}

#[test]
fn a_restored_binding_gives_way_to_a_fresh_one() {
    let mut registrar = Registrar::default();
    add(&mut registrar, 0, "sip:a", 60, 7).unwrap();
    let kept = registrar.live(at(0), "1001").remove(0);
    let mut next = Registrar::default();
    assert!(next.restore("1001", kept.clone()) && !next.restore("1001", kept));
    assert_eq!(add(&mut next, 1, "sip:a", 60, 7), Err(OutOfOrder), "the order holds across the restart");
    add(&mut next, 1, "sip:a", 60, 8).unwrap();
    assert_eq!(next.binding_count(), 1);
}

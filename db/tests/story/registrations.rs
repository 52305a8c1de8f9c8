//! Phones' contacts and banned sources over restarts.

use hotline_db::{DbError, Registration, SipBan};

use crate::stage::{Stage, T0, story};

fn contact(user: &str, contact: &str, expires_at: i64) -> Registration {
    Registration {
        sip_user: user.into(),
        contact: contact.into(),
        transport: "udp".into(),
        local_address: "10.0.0.1:5060".into(),
        remote_address: "10.0.1.7:5071".into(),
        q: 700,
        call_id: "c".into(),
        cseq: i64::from(u32::MAX),
        instance: Some("\"<urn:uuid:1>\"".into()),
        reg_id: Some(1),
        expires_at,
    }
}

story!(a_phones_contacts_are_replaced_as_a_whole_and_survive_a_restart, |mut s: Stage| async move {
    let both = vec![contact("8001", "sip:a", T0 + 10), contact("8001", "sip:b", T0 + 20)];
    s.store.registrations_put("n1", "8001", both.clone()).await.unwrap();
    s.store.registrations_put("n1", "8002", vec![contact("8002", "sip:a", T0 + 30)]).await.unwrap();
    s.store.registrations_put("n2", "8001", vec![contact("8001", "sip:other", T0 + 30)]).await.unwrap();
    s.restart().await;
    let live = s.store.registrations_live("n1", T0).await.unwrap();
    assert_eq!(live, [both[0].clone(), both[1].clone(), contact("8002", "sip:a", T0 + 30)]);

    s.store.registrations_put("n1", "8001", vec![both[1].clone()]).await.unwrap();
    s.store.registrations_put("n1", "8002", Vec::new()).await.unwrap();
    assert_eq!(s.store.registrations_live("n1", T0).await.unwrap(), [both[1].clone()]);
    assert!(s.store.registrations_live("n1", T0 + 20).await.unwrap().is_empty(), "it has lapsed");
    assert!(s.store.registrations_live("n1", T0).await.unwrap().is_empty(), "and is gone");
    assert_eq!(s.store.registrations_live("n2", T0).await.unwrap().len(), 1, "another gateway's stays");
});

story!(too_long_or_too_many_contacts_are_refused, |s: Stage| async move {
    let long = s.store.registrations_put("n", "8001", vec![contact("8001", &"x".repeat(3_000), T0)]).await;
    assert!(matches!(long, Err(DbError::Invalid { field: "contact", .. })), "{long:?}");
    let many = (0..100).map(|n| contact("8001", &format!("sip:{n}"), T0)).collect();
    let many = s.store.registrations_put("n", "8001", many).await;
    assert!(matches!(many, Err(DbError::Invalid { field: "contacts", .. })), "{many:?}");
});

fn ban(node: &str, source: &str, until_at: i64) -> SipBan {
    SipBan { node: node.into(), source: source.into(), reason: "passwords".into(), times: 1, from_at: T0, until_at }
}

story!(a_ban_is_seen_lifted_and_taken_note_of_once, |mut s: Stage| async move {
    s.store.ban_put(ban("n1", "203.0.113.9", T0 + 100)).await.unwrap();
    s.store.ban_put(ban("n2", "203.0.113.9", T0 + 300)).await.unwrap();
    s.store.ban_put(ban("n1", "2001:db8::", T0 + 200)).await.unwrap();
    s.restart().await;
    let until: Vec<i64> = s.store.bans(T0).await.unwrap().iter().map(|b| b.until_at - T0).collect();
    assert_eq!(until, [300, 200, 100]);
    assert!(s.store.bans_lifted("n1", T0).await.unwrap().is_empty());

    assert!(s.store.ban_lift("203.0.113.9", T0 + 1).await.unwrap());
    assert!(!s.store.ban_lift("203.0.113.9", T0 + 1).await.unwrap(), "once");
    assert!(!s.store.ban_lift("203.0.113.10", T0 + 1).await.unwrap());
    assert_eq!(s.store.bans(T0 + 1).await.unwrap(), [ban("n1", "2001:db8::", T0 + 200)]);
    for node in ["n1", "n2"] {
        assert_eq!(s.store.bans_lifted(node, T0).await.unwrap(), ["203.0.113.9"], "{node}");
        assert!(s.store.bans_lifted(node, T0).await.unwrap().is_empty());
    }
    s.store.ban_put(ban("n1", "203.0.113.9", T0 + 400)).await.unwrap();
    assert_eq!(s.store.bans(T0).await.unwrap().len(), 2, "banned again");
    assert!(s.store.bans_lifted("n1", T0 + 401).await.unwrap().is_empty());
    assert!(s.store.bans(T0).await.unwrap().is_empty(), "rows of ended bans are gone");
});

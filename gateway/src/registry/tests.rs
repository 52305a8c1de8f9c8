use super::*;

#[test]
fn a_binding_comes_back_from_its_row_with_the_time_it_has_left() {
    let (then, then_ms) = (Instant::now(), 1_000_000);
    let binding = Binding {
        contact: "sip:1001@10.0.1.7:5071".into(),
        flow: Flow {
            transport: Transport::Udp,
            local: "10.0.0.1:5060".parse().unwrap(),
            remote: "[2001:db8::7]:5071".parse().unwrap(),
            conn: None,
            node: None,
        },
        expires_at: then + Duration::from_secs(90),
        q: 700,
        call_id: "c".into(),
        cseq: u32::MAX,
        instance: Some("\"<urn:uuid:1>\"".into()),
        reg_id: Some(2),
    };
    let row = row_of("1001", &binding, then, then_ms).unwrap();
    assert_eq!(row.expires_at, 1_090_000);
    // Half a minute later, on a clock that started anew.
    let now = then + Duration::from_secs(1_000);
    let back = binding_of(&row, now, then_ms + 30_000).unwrap();
    assert_eq!(back.expires_at, now + Duration::from_secs(60));
    assert_eq!((back.contact, back.flow, back.q, back.cseq), (binding.contact, binding.flow, 700, u32::MAX));
    assert_eq!((back.call_id, back.instance, back.reg_id), (binding.call_id, binding.instance, Some(2)));
    assert!(binding_of(&Registration { transport: "tcp".into(), ..row.clone() }, now, 0).is_none());
    assert!(binding_of(&Registration { remote_address: "nowhere".into(), ..row.clone() }, now, 0).is_none());
    assert!(binding_of(&Registration { cseq: -1, ..row }, now, 0).is_none());
}

#[test]
fn a_connections_binding_has_no_row() {
    let flow = Flow {
        transport: Transport::Tcp,
        local: "10.0.0.1:5060".parse().unwrap(),
        remote: "10.0.1.7:5071".parse().unwrap(),
        conn: Some(1),
        node: None,
    };
    let now = Instant::now();
    let binding = Binding {
        contact: "sip:1001@10.0.1.7;transport=tcp".into(),
        flow,
        expires_at: now,
        q: 1_000,
        call_id: "c".into(),
        cseq: 1,
        instance: None,
        reg_id: None,
    };
    assert!(row_of("1001", &binding, now, 0).is_none());
    // Nor has another gateway's: that one writes it.
    let flow = Flow { transport: Transport::Udp, conn: None, node: Some(hotline_sip::NodeId(1)), ..binding.flow };
    assert!(row_of("1001", &Binding { flow, ..binding }, now, 0).is_none());
}

#[test]
fn a_ban_comes_back_from_its_row() {
    let now = Instant::now();
    let ban = Ban {
        source: "203.0.113.9".parse().unwrap(),
        reason: BanReason::Passwords,
        until: now + Duration::from_secs(300),
        times: 3,
    };
    let row = ban_row("n", &ban, now, 5_000);
    assert_eq!((row.from_at, row.until_at, row.reason.as_str()), (5_000, 305_000, "passwords"));
    assert_eq!(ban_of(&row, now, 5_000), Some(ban));
    assert!(ban_of(&SipBan { source: "x".into(), ..row }, now, 0).is_none());
}

//! Failures, pauses, bans and rates: who keeps guessing is shut out, and nobody else
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

mod common;
use common::*;
use hotline_sip::*;

use hotline_sip::digest::Algorithm;

const ATTACKER: &str = "10.0.1.66:5060";

fn register(gateway: &mut Gateway, from: &str, name: &str, password: &str, n: u32) -> Option<String> {
    let text = |branch: String, extra: String| {
        let call_id = format!("{from}{n}");
        let request = Req { via_host: from, user: name, call_id: &call_id, cseq: 2, extra, ..req("REGISTER", &branch) };
        request.text().replace("To: <sip:12319@", &format!("To: <sip:{name}@"))
    };
    let challenge = gateway.feed(from, text(format!("a{n}{from}"), String::new()));
    let auth = authorize(challenge.first()?, Algorithm::Sha256, "REGISTER", name, password, "00000001");
    gateway.feed(from, text(format!("b{n}{from}"), auth)).pop()
}

fn bans(gateway: &mut Gateway) -> Vec<Ban> {
    let events = gateway.take_events().into_iter();
    events.filter_map(|e| if let Event::Banned { ban } = e { Some(ban) } else { None }).collect()
}

#[test]
fn a_guesser_has_to_wait_then_is_banned_and_a_phone_elsewhere_is_not() {
    let mut gateway = Gateway::new();
    assert_eq!(head(&register(&mut gateway, PHONE, "1001", "secret", 0).unwrap()), "200");
    gateway.take_events();
    let mut answered = 0;
    for n in 0..100 {
        answered += u32::from(register(&mut gateway, ATTACKER, "1001", &format!("guess{n}"), n).is_some());
        gateway.pass(10);
    }
    let bans = bans(&mut gateway);
    assert_eq!(bans.len(), 1, "{bans:?}");
    assert_eq!((bans[0].source, bans[0].reason, bans[0].times), (addr(ATTACKER).ip(), BanReason::Passwords, 1));
    assert!(answered <= limits::SOURCE_FAILURES_FREE + 1, "{answered} guesses were judged");
    assert!(gateway.feed(ATTACKER, req("OPTIONS", "o").text()).is_empty(), "nobody listens any more");
    assert_eq!(gateway.ep.standing(gateway.now, addr(GATEWAY), addr(ATTACKER).ip()), Standing::Nobody);
    let stats = gateway.ep.stats();
    assert!(stats.auth_paused > 20 && stats.refused_banned > 50 && stats.bans_total == 1, "{stats:?}");
    // The user whose password was guessed at still gets in, and so does everybody else.
    assert_eq!(head(&register(&mut gateway, PHONE, "1001", "secret", 200).unwrap()), "200");
    assert_eq!(head(&register(&mut gateway, "10.0.1.8:5060", "1002", "other", 201).unwrap()), "200");
    gateway.pass(300_000);
    assert_eq!(head(&register(&mut gateway, ATTACKER, "1001", "secret", 300).unwrap()), "200", "a ban ends");
}

#[test]
fn a_registered_phone_behind_a_banned_address_goes_on() {
    let mut gateway = Gateway::new();
    assert_eq!(head(&register(&mut gateway, PHONE, "1001", "secret", 0).unwrap()), "200");
    for n in 0..100 {
        register(&mut gateway, "10.0.1.7:6666", "1002", "guess", n);
    }
    assert_eq!(bans(&mut gateway).len(), 1);
    assert!(register(&mut gateway, "10.0.1.7:6667", "1002", "other", 101).is_none());
    assert_eq!(head(&register(&mut gateway, PHONE, "1001", "secret", 102).unwrap()), "200");
    // What belongs to running calls passes too: an unknown dialog's BYE is even answered.
    let bye = Req { to_tag: "x", ..req("BYE", "b") }.text();
    assert_eq!(heads(&gateway.feed("10.0.1.7:6667", bye)), ["481"]);
}

#[test]
fn guesses_at_one_user_from_many_addresses_slow_down() {
    let mut gateway = Gateway::new();
    let judged = (0..60)
        .filter(|n| register(&mut gateway, &format!("10.0.1.{}:5060", 100 + n), "1001", "guess", *n).is_some())
        .count();
    assert_eq!(judged, 11, "ten are free, one more sets the pause");
    let unknown = (0..60)
        .filter(|n| register(&mut gateway, &format!("10.0.1.{}:5060", 100 + n), "9999", "guess", 100 + *n).is_some())
        .count();
    assert_eq!(unknown, judged, "users that don't exist wait in the same way");
    assert!(register(&mut gateway, PHONE, "1001", "secret", 900).is_none(), "from a new address it waits too");
    gateway.pass(1_000);
    assert_eq!(head(&register(&mut gateway, PHONE, "1001", "secret", 901).unwrap()), "200");
}

#[test]
fn a_trunks_address_waits_but_is_never_banned() {
    let mut config = config("10.0.1.0/24", 1);
    config.phone_networks = vec!["10.0.0.0/8".parse().unwrap()];
    let mut gateway = Gateway::with(config);
    for n in 0..200 {
        register(&mut gateway, ATTACKER, "1001", "guess", n);
    }
    assert!(bans(&mut gateway).is_empty());
    assert_eq!(heads(&gateway.feed(ATTACKER, invite("i").text())), ["100"], "calls come in");
}

#[test]
fn who_asks_for_name_after_name_learns_nothing_and_is_banned() {
    let mut gateway = Gateway::new();
    let mut answers = Vec::new();
    for n in 1_000..1_000 + limits::PHONE_IDLE_MAX + 50 {
        answers.extend(gateway.feed_tcp(7, ATTACKER, ask_for(n, "").as_bytes()));
    }
    assert_eq!(answers.len(), usize::try_from(limits::PHONE_IDLE_MAX).unwrap());
    assert!(heads(&answers).iter().all(|code| code == "401"));
    assert_eq!(bans(&mut gateway).first().map(|b| b.reason), Some(BanReason::Scanning));
}

fn ask_for(n: u32, extra: &str) -> String {
    let name = n.to_string();
    let request = Req { via_host: ATTACKER, user: &name, call_id: &name, extra: extra.into(), ..req("REGISTER", "x") };
    request.text().replace("To: <sip:12319@", &format!("To: <sip:{n}@"))
}

#[test]
fn forged_datagrams_ban_nobody() {
    let mut gateway = Gateway::new();
    let name = "User-Agent: friendly-scanner\r\n";
    for n in 0..1_000 {
        gateway.feed(ATTACKER, ask_for(n, name));
        for method in ["OPTIONS", "INVITE"] {
            gateway.feed(STRANGER, Req { extra: name.into(), ..req(method, &format!("{method}{n}")) }.text());
        }
        gateway.pass(1_000);
    }
    assert!(bans(&mut gateway).is_empty() && gateway.ep.bans(gateway.now).is_empty());
    assert_eq!(head(&register(&mut gateway, "10.0.1.66:5062", "1001", "secret", 0).unwrap()), "200");
}

#[test]
fn a_datagram_that_answers_our_challenge_proves_its_source_and_counts() {
    let mut gateway = Gateway::new();
    let mut answered = 0;
    for n in 0..limits::PHONE_IDLE_MAX + 50 {
        // A right nonce and never a whole answer: each time it is challenged again.
        let Some(challenge) = gateway.feed(ATTACKER, ask_for(n, "")).pop() else { break };
        let auth =
            authorize(&challenge, Algorithm::Sha256, "REGISTER", "1001", "x", "00000001").replace("qop=auth", "qop=x");
        answered += gateway.feed(ATTACKER, ask_for(n, &auth)).len();
    }
    assert_eq!(answered, usize::try_from(limits::PHONE_IDLE_MAX).unwrap());
    assert_eq!(bans(&mut gateway).first().map(|b| b.reason), Some(BanReason::Scanning));
}

#[test]
fn a_scanners_name_shortens_its_stay() {
    let mut gateway = Gateway::new();
    let extra = || "User-Agent: friendly-scanner\r\n".to_owned();
    for n in 0..10 {
        gateway.feed_tcp(7, STRANGER, Req { extra: extra(), ..req("OPTIONS", &format!("s{n}")) }.text().as_bytes());
    }
    assert_eq!(bans(&mut gateway).len(), 1);
    assert_eq!(gateway.ep.stats().refused_strangers, u64::from(limits::STRANGER_IDLE_MAX / limits::SCANNER_WEIGHT));
}

#[test]
fn a_ban_can_be_lifted_and_taken_over_by_the_next_run() {
    let mut gateway = Gateway::new();
    for n in 0..100 {
        register(&mut gateway, ATTACKER, "1001", "guess", n);
    }
    let list = gateway.ep.bans(gateway.now);
    assert_eq!(list.len(), 1);
    let mut next = Gateway::new();
    next.now = gateway.now;
    next.ep.restore_bans(list);
    assert!(register(&mut next, ATTACKER, "1001", "secret", 0).is_none());
    assert!(next.ep.lift_ban(next.now, addr(ATTACKER).ip()));
    assert!(!next.ep.lift_ban(next.now, addr(ATTACKER).ip()));
    assert_eq!(head(&register(&mut next, ATTACKER, "1001", "secret", 1).unwrap()), "200");
}

#[test]
fn a_flood_is_dropped_before_it_is_parsed() {
    let mut gateway = Gateway::new();
    for _ in 0..10_000 {
        gateway.feed(STRANGER, b"garbage garbage garbage");
    }
    let stats = gateway.ep.stats();
    assert_eq!((stats.parse_errors, stats.rate_limited), (20, 9_980));
    // Phones have room for more, and what belongs to running calls is not counted.
    for n in 0..2_100 {
        gateway.feed(PHONE, req("OPTIONS", &format!("o{n}")).text());
    }
    assert_eq!(gateway.ep.stats().rate_limited, 9_980 + 100);
    let bye = Req { to_tag: "x", ..req("BYE", "b") }.text();
    assert_eq!(heads(&gateway.feed(PHONE, bye)), ["481"]);
    gateway.pass(10);
    assert_eq!(heads(&gateway.feed(PHONE, req("OPTIONS", "later").text())), ["200"]);
}

#[test]
fn the_peer_of_our_own_call_is_no_stranger() {
    let mut gateway = Gateway::new();
    gateway.ep.dial(gateway.now, dial_to(STRANGER)).unwrap();
    let invite = gateway.drain().remove(0);
    for _ in 0..100 {
        gateway.feed(STRANGER, answer(&invite, 180, "rt", "", ""));
    }
    gateway.feed(STRANGER, answer(&invite, 200, "rt", "", ANSWER));
    assert!(matches!(gateway.take_events().last(), Some(Event::Answered { .. })));
    assert_eq!(gateway.ep.stats().rate_limited, 0);
}

#[test]
fn a_listener_hears_only_its_networks() {
    let mut config = config("192.0.2.0/24", 1);
    config.listeners = vec![(addr(GATEWAY), vec!["192.0.2.0/24".parse().unwrap()])];
    let mut gateway = Gateway::with(config);
    assert_eq!(heads(&gateway.feed(TRUNK, req("OPTIONS", "a").text())), ["200"]);
    assert!(gateway.feed(PHONE, req("OPTIONS", "b").text()).is_empty());
    assert!(!gateway.ep.hears(addr(GATEWAY), addr(PHONE).ip()));
    assert!(gateway.ep.hears(addr("10.0.0.1:5070"), addr(PHONE).ip()), "a listener without a list hears all");
}

#[test]
fn calls_that_nobody_takes_up_keep_further_ones_out_and_running_ones_go_on() {
    let mut gateway = Gateway::new();
    let call = |gateway: &mut Gateway, n: usize| {
        let id = format!("c{n}");
        head(&gateway.feed(TRUNK, Req { call_id: &id, ..invite(&id) }.text())[0])
    };
    assert_eq!(call(&mut gateway, 0), "100");
    let (running, _) = gateway.incoming();
    gateway.ep.accept(gateway.now, running, ANSWER.as_bytes()).unwrap();
    let tag = tag_of(&gateway.drain()[0], "To");
    for n in 1..=limits::WAITING_COUNT_MIN {
        assert_eq!(call(&mut gateway, n), "100");
    }
    assert_eq!(call(&mut gateway, 100), "100", "no time has passed: a burst is no overload");
    gateway.pass(limits::WAITING_MS_MAX + 1);
    assert_eq!(call(&mut gateway, 101), "503");
    assert_eq!(header(&gateway.sent.last().unwrap().1, "Retry-After"), "10");
    assert_eq!((gateway.ep.stats().refused_overload, gateway.ep.stats().sessions), (1, limits::WAITING_COUNT_MIN + 2));
    let bye = Req { to_tag: &tag, call_id: "c0", cseq: 2, ..req("BYE", "bye") }.text();
    assert_eq!(heads(&gateway.feed(TRUNK, bye)), ["200"]);
    // The driver catches up.
    for event in gateway.take_events() {
        if let Event::Incoming { id, .. } = event {
            gateway.ep.provisional(gateway.now, id, 180, None).unwrap();
        }
    }
    gateway.drain();
    assert_eq!(call(&mut gateway, 102), "100");
}

#[test]
fn a_trunk_has_no_more_calls_than_it_may() {
    let mut config = config("192.0.2.0/24", 1);
    config.trunks[0].calls_max = Some(2);
    let mut gateway = Gateway::with(config);
    let call = |gateway: &mut Gateway, n: u32| {
        let id = format!("c{n}");
        head(&gateway.feed(TRUNK, Req { call_id: &id, ..invite(&id) }.text())[0])
    };
    assert_eq!([call(&mut gateway, 1), call(&mut gateway, 2), call(&mut gateway, 3)], ["100", "100", "503"]);
    let Some(Event::Incoming { id, .. }) = gateway.take_events().into_iter().next() else { panic!() };
    gateway.ep.reject(gateway.now, id, 486, "").unwrap();
    gateway.drain();
    assert_eq!(call(&mut gateway, 4), "100", "one ended");
}

fn with_roaming_trunk() -> Gateway {
    let mut config = config("192.0.2.0/24", 1);
    config.trunks[0].credentials = Some(("1001".into(), "secret of the trunk".into()));
    Gateway::with(config)
}

/// A roaming trunk's INVITE: challenge, answer; what came at last
fn roam(gateway: &mut Gateway, from: &str, password: &str, n: u32) -> Option<String> {
    let id = format!("roam{n}{from}");
    let text = |branch: &str, cseq, extra| {
        Req { via_host: from, call_id: &id, cseq, extra, ..invite(&format!("{branch}{id}")) }.text()
    };
    let challenge = gateway.feed(from, text("a", 1, String::new())).pop()?;
    let auth = authorize(&challenge, Algorithm::Sha256, "INVITE", "1001", password, "00000001");
    gateway.feed(from, text("b", 2, auth)).pop()
}

/// Strangers guess at the trunk's user name until nobody unknown is looked at any more
fn guess_at_the_trunk(gateway: &mut Gateway) {
    for n in 0..60 {
        roam(gateway, &format!("203.0.113.{}:5060", 100 + n), "guess", n);
    }
    let paused = gateway.ep.stats().auth_paused;
    assert!(paused > 20, "{paused}");
}

#[test]
fn strangers_that_guess_at_a_trunks_name_do_not_cut_the_carrier_off() {
    let mut gateway = with_roaming_trunk();
    assert_eq!(head(&roam(&mut gateway, STRANGER, "secret of the trunk", 0).unwrap()), "100");
    // Its proof serves challenges for an hour; against others' guesses it serves for days.
    for pause_ms in [10_000, limits::PROVEN_SOURCE_MS * 30] {
        gateway.pass(pause_ms);
        guess_at_the_trunk(&mut gateway);
        let n = u32::try_from(pause_ms / 1_000).unwrap();
        assert_eq!(head(&roam(&mut gateway, STRANGER, "secret of the trunk", n).unwrap()), "100");
    }
    // Whom we register at or call is no stranger either.
    guess_at_the_trunk(&mut gateway);
    assert!(roam(&mut gateway, "203.0.113.7:5060", "secret of the trunk", 1).is_none());
    gateway.ep.dial(gateway.now, dial_to("203.0.113.7:5060")).unwrap();
    gateway.drain();
    gateway.pass(limits::STRANGER_PERIOD_MS);
    guess_at_the_trunk(&mut gateway);
    assert_eq!(head(&roam(&mut gateway, "203.0.113.7:5060", "secret of the trunk", 2).unwrap()), "100");
}

#[test]
fn strangers_guesses_keep_no_phone_of_that_name_waiting() {
    let mut gateway = with_roaming_trunk();
    guess_at_the_trunk(&mut gateway);
    assert_eq!(head(&register(&mut gateway, PHONE, "1001", "secret", 0).unwrap()), "200");
}

#[test]
fn a_banned_sources_call_over_tls_keeps_its_connection() {
    let mut gateway = Gateway::new();
    let flow = Flow { transport: Transport::Tls, conn: Some(5), ..gateway.flow(ATTACKER) };
    let say = |gateway: &mut Gateway, text: String| {
        gateway.ep.handle_stream(gateway.now, flow, text.replace("SIP/2.0/UDP", "SIP/2.0/TLS").as_bytes());
        gateway.drain()
    };
    let text = |branch, cseq, extra| {
        Req { via_host: ATTACKER, user: "1001", call_id: "t", cseq, extra, ..invite(branch) }.text()
    };
    let challenge = say(&mut gateway, text("t1", 1, String::new())).remove(0);
    let auth = authorize(&challenge, Algorithm::Sha256, "INVITE", "1001", "secret", "00000001");
    assert_eq!(heads(&say(&mut gateway, text("t2", 2, auth))), ["100"]);
    for n in 0..100 {
        register(&mut gateway, "10.0.1.66:6666", "1002", "guess", n);
    }
    assert_eq!(bans(&mut gateway).len(), 1);
    let cancel = Req { via_host: ATTACKER, user: "1001", call_id: "t", cseq: 2, ..req("CANCEL", "t2") }.text();
    assert!(heads(&say(&mut gateway, cancel)).contains(&"487".to_owned()));
    assert!(gateway.closed.is_empty(), "{:?}", gateway.closed);
}

//! Digest in both roles
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

mod common;
use common::*;
use hotline_sip::*;

use hotline_sip::digest::Algorithm;

fn phone_invite(branch: &str, cseq: u32, extra: String) -> String {
    Req { via_host: PHONE, user: "1001", cseq, extra, call_id: branch, ..invite(branch) }.text()
}

fn register(branch: &str, cseq: u32, extra: String) -> String {
    let text =
        Req { via_host: PHONE, user: "1001", cseq, extra, uri: "sip:10.0.0.1", ..req("REGISTER", branch) }.text();
    text.replace("To: <sip:12319@", "To: <sip:1001@")
}

#[test]
fn a_phone_is_challenged_with_both_algorithms_and_admitted_with_either() {
    for algorithm in [Algorithm::Sha256, Algorithm::Md5] {
        let mut gateway = Gateway::new();
        let sent = gateway.feed(PHONE, phone_invite("a", 1, String::new()));
        assert_eq!(heads(&sent), ["401"]);
        let order: Vec<_> =
            sent[0].lines().filter(|l| l.starts_with("WWW-Auth")).map(|l| l.contains("SHA-256")).collect();
        assert_eq!(order, [true, false]);
        assert_eq!(gateway.ep.stats().transactions, 0, "a challenge keeps nothing");
        let auth = authorize(&sent[0], algorithm, "INVITE", "1001", "secret", "00000001");
        assert_eq!(heads(&gateway.feed(PHONE, phone_invite("b", 2, auth))), ["100"]);
        let (_, invite) = gateway.incoming();
        assert_eq!((invite.user.as_deref(), invite.trunk, invite.asserted), (Some("1001"), None, None));
    }
}

#[test]
fn only_offered_algorithms_count() {
    let mut config = config("192.0.2.0/24", 1);
    config.algorithms = vec![Algorithm::Md5];
    let mut gateway = Gateway::with(config);
    let sent = gateway.feed(PHONE, phone_invite("a", 1, String::new()));
    assert_eq!(sent[0].matches("WWW-Authenticate").count(), 1);
    let auth = authorize(&sent[0], Algorithm::Md5, "INVITE", "1001", "secret", "00000001");
    let other = auth.replace("algorithm=MD5", "algorithm=SHA-256");
    assert_eq!(heads(&gateway.feed(PHONE, phone_invite("b", 2, other))), ["401"]);
    assert_eq!(heads(&gateway.feed(PHONE, phone_invite("c", 3, auth))), ["100"]);
}

#[test]
fn a_wrong_password_and_an_unknown_user_get_the_same_answer() {
    let mut gateway = Gateway::new();
    let mut answers = Vec::new();
    for name in ["1001", "9999"] {
        let challenge = gateway.feed(PHONE, phone_invite("a", 1, String::new())).remove(0);
        let auth = authorize(&challenge, Algorithm::Md5, "INVITE", name, "wrong", "00000001");
        answers.push(gateway.feed(PHONE, phone_invite("b", 2, auth)).remove(0));
    }
    assert_eq!(head(&answers[0]), "403");
    assert_eq!(answers[0], answers[1]);
    let users: Vec<_> = gateway
        .take_events()
        .into_iter()
        .map(|e| match e {
            Event::AuthFailed { user, source } => (user, source.to_string()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(users, [("1001".into(), "10.0.1.7".into()), ("9999".into(), "10.0.1.7".into())]);
    assert_eq!(gateway.ep.stats().auth_failures, 2);
}

#[test]
fn a_nonce_serves_many_requests_but_each_count_once() {
    let mut gateway = Gateway::new();
    let challenge = gateway.feed(PHONE, phone_invite("a", 1, String::new())).remove(0);
    for count in 1..=12 {
        let nc = format!("{count:08x}");
        let auth = authorize(&challenge, Algorithm::Sha256, "INVITE", "1001", "secret", &nc);
        let branch = format!("b{count}");
        assert_eq!(heads(&gateway.feed(PHONE, phone_invite(&branch, 2, auth.clone()))), ["100"]);
        let replay = gateway.feed(PHONE, phone_invite(&format!("r{count}"), 3, auth)).remove(0);
        assert!(head(&replay) == "401" && replay.contains("stale=true"));
    }
}

#[test]
fn an_old_or_foreign_nonce_is_stale() {
    let mut gateway = Gateway::new();
    let challenge = gateway.feed(PHONE, phone_invite("a", 1, String::new())).remove(0);
    let auth = authorize(&challenge, Algorithm::Md5, "INVITE", "1001", "secret", "00000001");
    let other = gateway.feed("10.0.1.8:5060", phone_invite("b", 2, auth.clone())).remove(0);
    assert!(head(&other) == "401" && other.contains("stale=true"));
    gateway.pass(300_001);
    let late = gateway.feed(PHONE, phone_invite("c", 2, auth)).remove(0);
    assert!(head(&late) == "401" && late.contains("stale=true"));
}

#[test]
fn a_phone_registers_itself_and_nobody_else() {
    let mut gateway = Gateway::new();
    let challenge = gateway.feed(PHONE, register("a", 1, String::new())).remove(0);
    let auth = authorize(&challenge, Algorithm::Sha256, "REGISTER", "1001", "secret", "00000001");
    let request = register("b", 2, auth + "Expires: 120\r\n");
    let ok = gateway.feed(PHONE, request.clone()).remove(0);
    assert_eq!(head(&ok), "200");
    assert_eq!(header(&ok, "Contact"), format!("<sip:1001@{PHONE}>;expires=120"));
    let events = gateway.take_events();
    assert!(
        matches!(events.as_slice(), [Event::Registered { user, expires_s: 120, .. }, Event::BindingsChanged { .. }] if user == "1001"),
        "{events:?}"
    );
    assert_eq!(gateway.feed(PHONE, request), [ok], "a repetition gets the same response");
    assert!(gateway.take_events().is_empty());
    let auth = authorize(&challenge, Algorithm::Sha256, "REGISTER", "1001", "secret", "00000002");
    let foreign = register("c", 3, auth).replace("To: <sip:1001@", "To: <sip:1002@");
    assert_eq!(heads(&gateway.feed(PHONE, foreign)), ["403"]);
    assert!(gateway.ep.bindings(gateway.now, "1002").is_empty());
}

fn roaming_trunk() -> Config {
    let mut config = config("192.0.2.0/24", 1);
    config.trunks[0].credentials = Some(("line7".into(), "pw".into()));
    config
}

#[test]
fn a_trunk_with_a_password_may_call_from_anywhere() {
    let mut gateway = Gateway::with(roaming_trunk());
    let text = |branch, cseq, extra| Req { via_host: STRANGER, cseq, extra, call_id: branch, ..invite(branch) }.text();
    let challenge = gateway.feed(STRANGER, text("a", 1, String::new())).remove(0);
    assert_eq!(head(&challenge), "401");
    let auth = authorize(&challenge, Algorithm::Sha256, "INVITE", "line7", "pw", "00000001");
    assert_eq!(heads(&gateway.feed(STRANGER, text("b", 2, auth))), ["100"]);
    assert_eq!(gateway.incoming().1.trunk.as_deref(), Some("carrier"));
    // A source that proved itself is challenged for each further call at once.
    assert_eq!(heads(&gateway.feed(STRANGER, text("c", 1, String::new()))), ["401"]);
    assert_eq!(heads(&gateway.feed(STRANGER, text("d", 1, String::new()))), ["401"]);
    // A phone's password opens no door from outside.
    let auth = authorize(&challenge, Algorithm::Sha256, "INVITE", "1001", "secret", "00000002");
    gateway.pass(5_000);
    assert_eq!(heads(&gateway.feed(STRANGER, text("e", 2, auth))), ["403"]);
}

fn challenge_line(name: &str, algorithm: &str, nonce: &str, more: &str) -> String {
    format!(
        "{name}: Digest realm=\"carrier\", nonce=\"{nonce}\", algorithm={algorithm}, qop=\"auth,auth-int\"{more}\r\n"
    )
}

#[test]
fn our_dial_answers_a_challenge_with_the_strongest_algorithm() {
    for (code, name, reply) in
        [(401, "WWW-Authenticate", "Authorization"), (407, "Proxy-Authenticate", "Proxy-Authorization")]
    {
        let mut gateway = Gateway::new();
        let credentials = Some(("line7".to_owned(), "pw".to_owned()));
        gateway.ep.dial(gateway.now, Dial { credentials, ..dial_to(TRUNK) }).unwrap();
        let first = gateway.drain().remove(0);
        let extra = challenge_line(name, "MD5", "n1", "")
            + &challenge_line(name, "SHA-256", "n2", ", opaque=\"o\"")
            + &challenge_line(name, "SHA-384", "n3", "");
        let sent = gateway.feed(TRUNK, answer(&first, code, "e", &extra, ""));
        assert_eq!(heads(&sent), ["ACK", "INVITE"]);
        assert_eq!(header(&sent[0], "Via"), header(&first, "Via"));
        let given = digest::Credentials::parse(header(&sent[1], reply).as_bytes()).unwrap();
        assert_eq!((given.get("nonce"), given.get("opaque"), given.get("qop")), (Some("n2"), Some("o"), Some("auth")));
        let ha1 = digest::ha1_sha256("line7", "carrier", "pw");
        let qop = Some(("00000001", given.get("cnonce").unwrap()));
        let expected = digest::response(Algorithm::Sha256, &ha1, "n2", "INVITE", "sip:13800138000@192.0.2.9", qop);
        assert_eq!(given.get("response"), Some(expected.as_str()));
        assert_eq!(
            (header(&sent[1], "CSeq"), header(&sent[1], "Call-ID")),
            ("2 INVITE".into(), header(&first, "Call-ID"))
        );
        assert_eq!(tag_of(&sent[1], "From"), tag_of(&first, "From"));
        // A second challenge that doesn't say stale means the password is wrong.
        let again = gateway.feed(TRUNK, answer(&sent[1], code, "e", &extra, ""));
        assert_eq!(heads(&again), ["ACK"]);
        assert!(matches!(gateway.take_events().as_slice(), [Event::Failed { code: c, .. }] if *c == code));
    }
}

#[test]
fn a_stale_nonce_of_the_carrier_is_tried_once_more_and_the_call_goes_on() {
    let mut gateway = Gateway::new();
    let credentials = Some(("line7".to_owned(), "pw".to_owned()));
    let id = gateway.ep.dial(gateway.now, Dial { credentials, ..dial_to(TRUNK) }).unwrap();
    let mut invite = gateway.drain().remove(0);
    for more in ["", ", stale=true"] {
        let extra = challenge_line("WWW-Authenticate", "MD5", "n1", more);
        invite = gateway.feed(TRUNK, answer(&invite, 401, "e", &extra, "")).remove(1);
    }
    assert_eq!(header(&invite, "CSeq"), "3 INVITE");
    let ack = gateway.feed(TRUNK, answer(&invite, 200, "rt", "", ANSWER)).remove(0);
    assert_eq!(
        (header(&ack, "CSeq"), header(&ack, "Authorization")),
        ("3 ACK".into(), header(&invite, "Authorization"))
    );
    assert!(matches!(gateway.take_events().as_slice(), [Event::Answered { .. }]));
    // The BYE is challenged too.
    gateway.ep.hang_up(gateway.now, id, "").unwrap();
    let bye = gateway.drain().remove(0);
    assert_eq!(header(&bye, "CSeq"), "4 BYE");
    let extra = challenge_line("WWW-Authenticate", "MD5", "n5", "");
    let sent = gateway.feed(TRUNK, answer(&bye, 401, "rt", &extra, ""));
    assert_eq!((heads(&sent), header(&sent[0], "CSeq")), (vec!["BYE".to_owned()], "5 BYE".to_owned()));
    gateway.feed(TRUNK, answer(&sent[0], 200, "", "", ""));
    assert_eq!(gateway.ep.stats().sessions, 0);
}

#[test]
fn counts_come_in_any_order_within_a_window_and_none_twice() {
    let mut gateway = Gateway::new();
    let challenge = gateway.feed(PHONE, phone_invite("a", 1, String::new())).remove(0);
    let mut send = |count: u32, n: u32| {
        let auth = authorize(&challenge, Algorithm::Sha256, "INVITE", "1001", "secret", &format!("{count:08x}"));
        head(&gateway.feed(PHONE, phone_invite(&format!("b{n}"), 2, auth))[0])
    };
    let order = [64, 1, 33, 2, 128, 66, 65];
    for (n, count) in (0..).zip(order) {
        assert_eq!(send(count, n), "100", "{count}");
    }
    for (n, count) in (100..).zip([64, 1, 128, 63]) {
        assert_eq!(send(count, n), "401", "{count} was taken or is too far back");
    }
}

#[test]
fn what_cannot_be_checked_is_challenged_again() {
    let mut gateway = Gateway::new();
    let challenge = gateway.feed(PHONE, phone_invite("a", 1, String::new())).remove(0);
    let auth = authorize(&challenge, Algorithm::Sha256, "INVITE", "1001", "secret", "00000001");
    let cases = [
        ("qop=auth,", "qop=auth-int,"),
        ("qop=auth,", "qop=\"none\","),
        ("nc=00000001", "nc=-1"),
        ("nc=00000001", "nc=000000000001ffff1"),
        ("cnonce=", "xnonce="),
        ("username=\"1001\"", "username=\"1001\", userhash=true"),
        ("algorithm=SHA-256", "algorithm=SHA-256-sess"),
        ("algorithm=SHA-256", "algorithm=SHA-512-256"),
        ("Digest username", "Basic username"),
        ("response=", "answer="),
    ];
    for (n, (good, bad)) in (0..).zip(cases) {
        let sent = gateway.feed(PHONE, phone_invite(&format!("c{n}"), 2, auth.replace(good, bad)));
        assert_eq!(heads(&sent), ["401"], "{bad}");
        assert!(!sent[0].contains("stale"), "{bad}");
    }
    assert_eq!(gateway.ep.stats().auth_failures, 0);
    let unquoted = auth.replace("qop=auth,", "qop=\"auth\",").replace("algorithm=SHA-256", "algorithm=\"sha-256\"");
    let extended = unquoted.replace("username=\"1001\"", "username*=UTF-8''%31001");
    assert_eq!(heads(&gateway.feed(PHONE, phone_invite("d", 2, extended))), ["100"]);
}

#[test]
fn credentials_count_for_the_number_they_were_made_for() {
    let mut gateway = Gateway::new();
    let challenge = gateway.feed(PHONE, phone_invite("a", 1, String::new())).remove(0);
    let auth = authorize(&challenge, Algorithm::Sha256, "INVITE", "1001", "secret", "00000001");
    let to = |uri: &'static str, branch: &'static str| {
        Req { uri, via_host: PHONE, user: "1001", cseq: 2, extra: auth.clone(), call_id: branch, ..invite(branch) }
            .text()
    };
    assert_eq!(heads(&gateway.feed(PHONE, to("sip:95588@10.0.0.1", "b"))), ["400"]);
    let same = to("sip:12319@hotline.test:5060;transport=udp", "c");
    assert_eq!(heads(&gateway.feed(PHONE, same)), ["100"], "a proxy may have rewritten the host");
}

#[test]
fn a_phone_calls_under_its_own_name_only() {
    let mut gateway = Gateway::new();
    let challenge = gateway.feed(PHONE, phone_invite("a", 1, String::new())).remove(0);
    let auth = authorize(&challenge, Algorithm::Sha256, "INVITE", "1001", "secret", "00000001");
    let text = phone_invite("b", 2, auth).replace("From: <sip:1001@", "From: \"1001\" <sip:1002@");
    assert_eq!(heads(&gateway.feed(PHONE, text)), ["403"]);
    assert!(gateway.take_events().is_empty());
}

/// All but what names the request itself
fn shape(answer: &str) -> Vec<String> {
    let varies = ["via:", "from:", "to:", "call-id:", "cseq:"];
    let lines = answer.lines().filter(|l| !varies.iter().any(|v| l.to_ascii_lowercase().starts_with(v)));
    // A nonce is as long as any other; its digits differ.
    lines.map(|l| l.split("nonce=\"").map(|p| p.split_once('"').map_or(p, |x| x.1)).collect()).collect()
}

#[test]
fn nothing_tells_an_extension_from_none() {
    for method in ["REGISTER", "INVITE", "OPTIONS"] {
        let mut answers = Vec::new();
        for name in ["1001", "9999"] {
            let mut gateway = Gateway::new();
            let uri = format!("sip:{name}@10.0.0.1");
            let ask = |branch, extra| {
                let request = Req { uri: &uri, via_host: PHONE, user: name, extra, ..req(method, branch) };
                request.text().replace("To: <sip:12319@", &format!("To: <sip:{name}@"))
            };
            let first = gateway.feed(PHONE, ask("a", String::new())).remove(0);
            let mut both = vec![(first.len(), shape(&first))];
            if method != "OPTIONS" {
                let auth = authorize(&first, Algorithm::Sha256, method, name, "guess", "00000001");
                let auth = auth.replace("sip:12319@", &format!("sip:{name}@"));
                let second = gateway.feed(PHONE, ask("b", auth)).remove(0);
                assert_eq!(head(&second), "403");
                both.push((second.len(), shape(&second)));
            }
            answers.push(both);
        }
        assert_eq!(answers[0], answers[1], "{method}");
    }
}

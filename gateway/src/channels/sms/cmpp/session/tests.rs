use super::super::read::tests::deliver_octets;
use super::*;

const T: u64 = 60_000;
const C: u64 = 180_000;

fn settings() -> Settings {
    Settings {
        account: Account { user: "901234".into(), secret: "1234".into(), ..Account::default() },
        version: Version::V2,
        window: 16,
        rate: 0,
        response_ms: T,
        tries: 3,
        idle_ms: C,
        check: Check::Warn,
    }
}

fn framed(command: u32, sequence: u32, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len() + 12).unwrap();
    [&len.to_be_bytes()[..], &command.to_be_bytes(), &sequence.to_be_bytes(), body].concat()
}

fn sequences(output: &[u8], command: u32) -> Vec<u32> {
    let mut framer = Framer::default();
    framer.push(output);
    let mut found = Vec::new();
    while let Ok(Some(frame)) = framer.next_frame() {
        if frame.command == command {
            found.push(frame.sequence);
        }
    }
    found
}

fn events(session: &mut Session) -> Vec<Event> {
    std::iter::from_fn(|| session.poll_event()).collect()
}

/// Connected in the layout of `body`.
fn connected(settings: Settings, layout: usize, version: u8) -> (Session, Vec<Event>) {
    let mut session = Session::new(settings, 102_030_405, 100, 0);
    let sequence = sequences(&session.poll_output(), 1)[0];
    let mut body = vec![0; layout];
    *body.last_mut().unwrap() = version;
    session.handle_input(&framed(0x8000_0001, sequence, &body), 0);
    let events = events(&mut session);
    (session, events)
}

fn message() -> Submit {
    Submit {
        to: crate::privacy::Pii::new("13812345678".into()),
        total: 1,
        number: 1,
        report: true,
        fmt: 0,
        has_header: false,
        content: b"hi".to_vec(),
    }
}

#[test]
fn answers_of_either_version_connect_and_a_wrong_digest_is_said() {
    for (asked, layout, version, agreed) in [
        (Version::V2, 18, 0x20, Version::V2),
        (Version::V2, 21, 0x30, Version::V2),
        (Version::V3, 21, 0x30, Version::V3),
        (Version::V3, 18, 0x20, Version::V2),
        (Version::V3, 21, 0, Version::V3),
    ] {
        let (_, events) = connected(Settings { version: asked, ..settings() }, layout, version);
        assert_eq!(events, [Event::Warned(Warning::WrongDigest, true), Event::Up(agreed)], "{asked:?} {layout}");
    }
    let (session, events) = connected(Settings { check: Check::Strict, ..settings() }, 18, 0x20);
    assert_eq!(events, [Event::Down(Down::WrongDigest)]);
    assert_eq!(session.ready_at(0), None);
}

#[test]
fn a_right_digest_passes_the_strict_check() {
    let mut session = Session::new(Settings { check: Check::Strict, ..settings() }, 102_030_405, 1, 0);
    let output = session.poll_output();
    let ours: [u8; 16] = output[18..34].try_into().unwrap();
    let digest = pdu::answer_authenticator(&[0], &ours, "1234");
    let body = [&[0][..], &digest, &[0x20]].concat();
    session.handle_input(&framed(0x8000_0001, sequences(&output, 1)[0], &body), 0);
    assert_eq!(events(&mut session), [Event::Up(Version::V2)]);
}

#[test]
fn a_refusal_or_silence_ends_the_connection() {
    let mut session = Session::new(settings(), 1, 5, 0);
    let sequence = sequences(&session.poll_output(), 1)[0];
    let mut body = [0; 18];
    body[0] = 3;
    session.handle_input(&framed(0x8000_0001, sequence, &body), 1);
    assert_eq!(events(&mut session), [Event::Down(Down::Refused(3))]);
    let mut session = Session::new(settings(), 1, 5, 0);
    assert_eq!(session.poll_timeout(), Some(T));
    session.handle_timeout(T);
    assert_eq!(events(&mut session), [Event::Down(Down::NoAnswer)]);
    let mut session = Session::new(settings(), 1, 5, 0);
    session.handle_input(&5u32.to_be_bytes(), 1);
    assert_eq!(events(&mut session), [Event::Down(Down::BadLength(read::BadLength(5)))]);
}

#[test]
fn answers_end_submits_once_in_any_order() {
    let (mut session, _) = connected(settings(), 18, 0x20);
    for token in 0..16 {
        assert_eq!(session.ready_at(5), Some(5));
        session.submit(token, &message(), 5);
    }
    assert_eq!(session.ready_at(5), None, "the window is full");
    let sent = sequences(&session.poll_output(), 4);
    let answer = |id: u8, result: u8| [[id; 8].as_slice(), &[result]].concat();
    session.handle_input(&framed(0x8000_0004, sent[3], &answer(9, 0)), 10);
    session.handle_input(&framed(0x8000_0004, sent[3], &answer(9, 0)), 10);
    session.handle_input(&framed(0x8000_0004, sent[0], &answer(0, 13)), 10);
    session.handle_input(&framed(0x8000_0004, sent[1], &answer(0, 8)), 10);
    session.handle_input(&framed(0x8000_0004, 4_000_000, &answer(0, 0)), 10);
    let id = u64::from_be_bytes([9; 8]);
    assert_eq!(
        events(&mut session),
        [
            Event::Outcome(3, Outcome::Accepted(id)),
            Event::Warned(Warning::UnexpectedAnswer, true),
            Event::Outcome(0, Outcome::Refused(13)),
            Event::Outcome(1, Outcome::Throttled),
            Event::Warned(Warning::UnexpectedAnswer, true),
        ]
    );
    assert_eq!(session.ready_at(10), Some(1_010), "flow control is obeyed");
    session.handle_timeout(5 + T);
    assert_eq!(events(&mut session).len(), 13, "the others were never answered");
    assert_eq!(session.unanswered(), 0);
}

#[test]
fn a_connection_that_breaks_answers_for_everything_open() {
    let (mut session, _) = connected(settings(), 18, 0x20);
    session.submit(1, &message(), 0);
    session.submit(2, &message(), 0);
    let open = session.lost();
    assert_eq!(open, [Event::Outcome(1, Outcome::Unanswered), Event::Outcome(2, Outcome::Unanswered)]);
    assert!(session.lost().is_empty());
}

#[test]
fn delivers_are_answered_in_their_own_layout_and_only_when_told() {
    let (mut session, _) = connected(settings(), 18, 0x20);
    session.handle_input(&framed(5, 7, &deliver_octets(Version::V2, b"a")), 1);
    session.handle_input(&framed(5, 7, &deliver_octets(Version::V3, b"b")), 1);
    assert!(session.poll_output().is_empty());
    let got = events(&mut session);
    let [Event::Deliver(first, _), Event::Deliver(second, _)] = got.as_slice() else { panic!("{got:?}") };
    session.acknowledge(*second, 0);
    session.acknowledge(*first, 0);
    session.acknowledge(*first, 0);
    let output = session.poll_output();
    assert_eq!(output.len(), 24 + 21, "once each, with a result of four octets and of one");
    assert_eq!(sequences(&output, 0x8000_0005), [7, 7], "a repeated sequence is answered as it stands");
}

#[test]
fn more_delivers_than_we_hold_get_flow_control_and_odd_ones_their_refusal() {
    let (mut session, _) = connected(settings(), 18, 0x20);
    for sequence in 0..u32::try_from(DELIVERS_MAX).unwrap() + 1 {
        session.handle_input(&framed(5, sequence, &deliver_octets(Version::V2, b"a")), 1);
    }
    let output = session.poll_output();
    assert_eq!((output.len(), output.last()), (21, Some(&8)));
    session.handle_input(&framed(5, 9, &[0; 30]), 1);
    assert_eq!(session.poll_output().last(), Some(&4), "a wrong length is said");
    session.handle_input(&framed(0x77, 9, &[0; 30]), 1);
    assert!(session.poll_output().is_empty());
    let mut bad_report = deliver_octets(Version::V2, b"abc");
    bad_report[63] = 1;
    let (mut session, _) = connected(settings(), 18, 0x20);
    session.handle_input(&framed(5, 9, &bad_report), 1);
    assert_eq!(session.poll_output().last(), Some(&0), "or it would come for ever");
    assert_eq!(events(&mut session), [Event::Warned(Warning::BadReport, true)]);
}

#[test]
fn silence_is_tested_three_times_and_any_octet_is_a_sign_of_life() {
    let (mut session, _) = connected(settings(), 18, 0x20);
    assert_eq!(session.poll_timeout(), Some(C));
    session.handle_timeout(C);
    let test = sequences(&session.poll_output(), 8);
    assert_eq!(test.len(), 1);
    session.handle_input(&framed(0x8000_0008, test[0], &[0]), C + 1);
    assert_eq!(session.poll_timeout(), Some(2 * C + 1));
    for n in 0..3 {
        session.handle_timeout(2 * C + 1 + n * T);
        assert_eq!(sequences(&session.poll_output(), 8).len(), 1);
    }
    session.handle_timeout(2 * C + 1 + 3 * T);
    assert_eq!(events(&mut session), [Event::Down(Down::Dead)]);
    assert_eq!(session.poll_timeout(), None);
}

#[test]
fn the_peers_test_and_goodbye_are_answered() {
    let (mut session, _) = connected(settings(), 18, 0x20);
    session.handle_input(&framed(8, 77, &[]), 1);
    assert_eq!(session.poll_output(), framed(0x8000_0008, 77, &[0]));
    session.handle_input(&framed(2, 78, &[]), 1);
    assert_eq!(session.poll_output(), framed(0x8000_0002, 78, &[]));
    assert_eq!(events(&mut session), [Event::Down(Down::Terminated)]);
    let (mut session, _) = connected(settings(), 18, 0x20);
    session.terminate(5);
    assert_eq!(session.ready_at(5), None);
    let sequence = sequences(&session.poll_output(), 2)[0];
    session.handle_input(&framed(0x8000_0002, sequence, &[]), 6);
    assert_eq!(events(&mut session), [Event::Down(Down::Terminated)]);
}

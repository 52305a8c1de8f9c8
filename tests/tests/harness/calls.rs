//! Phone against phone over loopback.

use hotline_tests::net::{PHONE_IP, TRUNK_IP};
use hotline_tests::rtp::{Faults, Source};
use hotline_tests::sip::{Agent, AgentConfig, Call, Dial, Direction, Event, Side, State, Transport};
use hotline_tests::{Waiting, tone, until};

/// T1 (RFC 3261 §17.1.1.1): nothing is repeated sooner.
const T1_MS: u64 = 500;

async fn pair(transport: Transport) -> (Agent, Agent) {
    let mut caller = AgentConfig::new(TRUNK_IP, "13800000001");
    let mut callee = AgentConfig::new(PHONE_IP, "12319");
    (caller.transport, callee.transport) = (transport, transport);
    (Agent::start(caller).await.unwrap(), Agent::start(callee).await.unwrap())
}

/// Dials; returns both ends while it rings.
async fn ringing(caller: &Agent, callee: &Agent) -> (Call, Call) {
    let dial = Dial::new(callee.local(), "12319").sending(Source::tone(440.0));
    let out = caller.dial(dial).unwrap();
    let inn = callee.next_call(5_000).await.unwrap();
    inn.rtp().play(Source::tone(1_000.0));
    inn.ring(180, false).unwrap();
    assert_eq!(out.wait_ringing(5_000).await.unwrap(), 180);
    (out, inn)
}

async fn talking(caller: &Agent, callee: &Agent) -> (Call, Call) {
    let (out, inn) = ringing(caller, callee).await;
    inn.accept().unwrap();
    out.wait_answered(5_000).await.unwrap();
    inn.wait_acknowledged(5_000).await.unwrap();
    (out, inn)
}

async fn hear_each_other(out: &Call, inn: &Call) {
    inn.rtp().wait_for_tone(440.0, 300, 5_000).await.unwrap();
    out.rtp().wait_for_tone(1_000.0, 300, 5_000).await.unwrap();
}

#[tokio::test]
async fn both_ends_hear_each_others_tone_over_udp_and_tcp() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let (caller, callee) = pair(transport).await;
        let (out, inn) = talking(&caller, &callee).await;
        hear_each_other(&out, &inn).await;
        assert_eq!((inn.called_user(), inn.caller_user()), ("12319".into(), "13800000001".into()));
        out.hang_up().await.unwrap();
        let end = inn.wait_ended(5_000).await.unwrap();
        assert_eq!((end.by, end.code), (Side::Remote, 200));
        inn.rtp().wait_for_silence(200, 5_000).await.unwrap();
    }
}

#[tokio::test]
async fn the_callee_hangs_up_and_the_caller_learns_it() {
    let (caller, callee) = pair(Transport::Udp).await;
    let (out, inn) = talking(&caller, &callee).await;
    inn.hang_up().await.unwrap();
    assert_eq!(out.wait_ended(5_000).await.unwrap().by, Side::Remote);
    // The dialog is gone: a second BYE would be answered 481, which hang_up accepts.
    out.hang_up().await.unwrap();
}

#[tokio::test]
async fn early_media_is_heard_before_the_answer() {
    let (caller, callee) = pair(Transport::Udp).await;
    let out = caller.dial(Dial::new(callee.local(), "12319")).unwrap();
    let inn = callee.next_call(5_000).await.unwrap();
    inn.rtp().play(Source::tone(450.0));
    inn.ring(183, true).unwrap();
    out.rtp().wait_for_tone(450.0, 200, 5_000).await.unwrap();
    assert_eq!(out.state(), State::Ringing { code: 183, early_media: true });
}

#[tokio::test]
async fn a_cancelled_call_ends_with_487_on_both_sides() {
    let (caller, callee) = pair(Transport::Udp).await;
    let (out, inn) = ringing(&caller, &callee).await;
    out.cancel().await.unwrap();
    let (here, there) = (out.wait_ended(5_000).await.unwrap(), inn.wait_ended(5_000).await.unwrap());
    assert_eq!((here.by, here.code), (Side::Local, 487));
    assert_eq!((there.by, there.code), (Side::Remote, 487));
    assert!(inn.accept().is_err());
}

#[tokio::test]
async fn a_rejected_call_reports_the_code_and_the_words() {
    let (caller, callee) = pair(Transport::Udp).await;
    let (out, inn) = ringing(&caller, &callee).await;
    inn.reject(486, "Busy Right Now").unwrap();
    let error = out.wait_answered(5_000).await.unwrap_err();
    assert_eq!(error.sip_code(), Some(486));
    assert!(error.to_string().contains("Busy Right Now"), "{error}");
}

#[tokio::test]
async fn hold_stops_the_held_side_and_resume_starts_it() {
    let (caller, callee) = pair(Transport::Udp).await;
    let (out, inn) = talking(&caller, &callee).await;
    hear_each_other(&out, &inn).await;
    out.hold().await.unwrap();
    // On hold the caller still sends, the callee must not.
    out.rtp().wait_for_silence(200, 5_000).await.unwrap();
    assert!(inn.when(|e| *e == Event::Reinvited(Direction::SendOnly)).is_some());
    inn.rtp().wait_for_tone(440.0, 200, 5_000).await.unwrap();
    out.resume().await.unwrap();
    hear_each_other(&out, &inn).await;
}

#[tokio::test]
async fn digits_arrive_as_rfc_4733_events_and_as_info() {
    let (caller, callee) = pair(Transport::Udp).await;
    let (out, inn) = talking(&caller, &callee).await;
    out.send_digits("1*9#").unwrap();
    assert_eq!(inn.rtp().wait_for_digits(4, 5_000).await.unwrap(), "1*9#");
    let whole = || async {
        let digits = inn.rtp().heard().digits;
        digits.iter().all(|d| d.duration_ms == 100).then_some(digits.len())
    };
    assert_eq!(until("the last digit's end", 5_000, whole).await.unwrap(), 4);
    out.send_info_digit('7').await.unwrap();
    assert!(inn.when(|e| matches!(e, Event::Info(text) if text.contains("Signal=7"))).is_some());
}

#[tokio::test]
async fn the_timeline_keeps_its_length_at_15_percent_loss() {
    let (caller, callee) = pair(Transport::Udp).await;
    let (out, inn) = talking(&caller, &callee).await;
    out.rtp().set_faults(Faults { loss_percent: 15, seed: 3, ..Faults::default() });
    inn.rtp().clear_heard();
    let waiting = Waiting::of([]);
    tokio::time::sleep(std::time::Duration::from_millis(3_000)).await;
    out.hang_up().await.unwrap();
    let waited_ms = waiting.ms();
    let heard = inn.rtp().heard();
    let length_ms = heard.timeline().len() as u64 / 8;
    assert!(heard.lost() >= 5, "lost {}", heard.lost());
    assert!(length_ms + waited_ms >= 2_700 && length_ms <= 3_200 + waited_ms, "{length_ms} ms, {waited_ms} waited");
    assert!(heard.pcm().len() < heard.timeline().len());
    assert!(tone::tone_ms(&heard.timeline(), tone::RATE_HZ, 440.0) > 1_500);
}

#[tokio::test]
async fn an_offer_in_the_200_is_answered_in_the_ack() {
    let (caller, callee) = pair(Transport::Udp).await;
    let mut dial = Dial::new(callee.local(), "12319").sending(Source::tone(440.0));
    dial.with_offer = false;
    let out = caller.dial(dial).unwrap();
    let inn = callee.next_call(5_000).await.unwrap();
    inn.rtp().play(Source::tone(1_000.0));
    inn.accept().unwrap();
    out.wait_answered(5_000).await.unwrap();
    hear_each_other(&out, &inn).await;
}

#[tokio::test]
async fn a_repeated_invite_and_a_lost_ack_open_no_second_call() {
    let (caller, callee) = pair(Transport::Udp).await;
    let (out, inn) = ringing(&caller, &callee).await;
    let invite = out.invite();
    let waiting = Waiting::of([]);
    caller.send(callee.local(), &invite).unwrap();
    assert!(callee.next_call(300).await.is_err());
    inn.accept().unwrap();
    out.wait_answered(5_000).await.unwrap();
    // From here on no 200 leaves by itself.
    inn.wait_acknowledged(5_000).await.unwrap();
    let answers = |agent: &Agent| agent.received(|m| m.code() == Some(200) && m.method() == "INVITE");
    let before = answers(&caller);
    let repeated = usize::try_from(waiting.ms() / T1_MS).unwrap();
    assert!((1..=1 + repeated).contains(&before.len()), "{before:?}");
    // The peer repeats its request as if our 200 had been lost: the same 200 again.
    caller.send(callee.local(), &invite).unwrap();
    let more = || async { Some(answers(&caller)).filter(|all| all.len() > before.len()) };
    let all = until("the second 200", 5_000, more).await.unwrap();
    assert_eq!(all.len(), before.len() + 1);
    assert!(all.iter().all(|m| m.header("To") == before[0].header("To")), "one call: {all:?}");
}

#[tokio::test]
async fn a_vanished_phone_sends_nothing_and_answers_nothing() {
    let (caller, callee) = pair(Transport::Udp).await;
    let (out, inn) = talking(&caller, &callee).await;
    inn.vanish();
    out.rtp().wait_for_silence(300, 5_000).await.unwrap();
    let bye = tokio::time::timeout(std::time::Duration::from_millis(1_200), out.hang_up()).await;
    assert!(bye.is_err(), "a BYE was answered by nobody");
    let byes = || async { (callee.received(|m| m.method() == "BYE").len() >= 2).then_some(()) };
    until("the BYE's repetition", 5_000, byes).await.unwrap();
}

#[tokio::test]
async fn bytes_that_are_no_sip_are_counted_and_harm_nothing() {
    let (caller, callee) = pair(Transport::Udp).await;
    caller.send_raw(callee.local(), b"\r\n\r\n");
    caller.send_raw(callee.local(), b"INVITE nonsense\r\n\r\n");
    let unparsed = || async { Some(callee.unparsed()).filter(|count| *count > 0) };
    assert_eq!(until("the count", 5_000, unparsed).await.unwrap(), 1);
    let (out, inn) = talking(&caller, &callee).await;
    hear_each_other(&out, &inn).await;
}

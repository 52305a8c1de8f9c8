//! A handshake with ourselves on both sides.

use std::sync::Arc;
use std::time::Instant;

use hotline_media::rtc::{Fingerprint, IceCredentials, RtcParams};

use super::session::{Session, Step};
use super::*;

fn params(fingerprint: Fingerprint, is_client: bool) -> RtcParams {
    let local = Arc::new(IceCredentials { ufrag: "abcd".into(), pwd: "x".repeat(22) });
    RtcParams { local, remote_ufrag: "efgh".into(), fingerprint, is_client }
}

/// Carries datagrams between two sides until both are silent; what else each of them wanted.
fn carry(now: Instant, sides: [&mut Session; 2]) -> [Vec<Step>; 2] {
    let mut done = [Vec::new(), Vec::new()];
    for _ in 0..100 {
        let mut is_silent = true;
        for at in 0..2 {
            while let Some(step) = sides[at].step(now) {
                is_silent = false;
                match step {
                    Step::Send(bytes) => sides[1 - at].receive(&bytes),
                    step => done[at].push(step),
                }
            }
        }
        if is_silent {
            break;
        }
    }
    done
}

#[test]
fn both_sides_come_to_the_same_keys() {
    let (ours, theirs, now) = (Identity::generate().unwrap(), Identity::generate().unwrap(), Instant::now());
    let mut server = Session::new(now, &ours, &params(theirs.fingerprint, false)).unwrap();
    let mut client = Session::new(now, &theirs, &params(ours.fingerprint, true)).unwrap();
    let [at_server, at_client] = carry(now, [&mut server, &mut client]);
    let ([Step::Keys(server)], [Step::Keys(client)]) = (at_server.as_slice(), at_client.as_slice()) else {
        panic!("{at_server:?} {at_client:?}");
    };
    assert_eq!((server.suite, &server.local, &server.remote), (client.suite, &client.remote, &client.local));
    assert_ne!(server.local, server.remote);
}

#[test]
fn another_certificate_than_the_promised_one_gives_no_keys() {
    let (ours, theirs, now) = (Identity::generate().unwrap(), Identity::generate().unwrap(), Instant::now());
    let forged = Identity::generate().unwrap();
    let mut server = Session::new(now, &ours, &params(forged.fingerprint, false)).unwrap();
    let mut client = Session::new(now, &theirs, &params(ours.fingerprint, true)).unwrap();
    let [at_server, _] = carry(now, [&mut server, &mut client]);
    assert!(matches!(at_server.as_slice(), [Step::Failed(_)]), "{at_server:?}");
}

#[test]
fn a_handshake_nobody_answers_fails_in_time_and_nonsense_harms_nothing() {
    let (ours, theirs, start) = (Identity::generate().unwrap(), Identity::generate().unwrap(), Instant::now());
    let mut client = Session::new(start, &ours, &params(theirs.fingerprint, true)).unwrap();
    let mut now = start;
    let mut flights = 0;
    let end = loop {
        match client.step(now) {
            Some(Step::Send(_)) => flights += 1,
            Some(end) => break end,
            None => {
                now = client.due().unwrap();
                client.handle_timeout(now);
            }
        }
        assert!(flights < 100);
    };
    assert!(matches!(end, Step::Failed(_)) && flights > 1, "{flights} {end:?}");

    let mut server = Session::new(start, &ours, &params(theirs.fingerprint, false)).unwrap();
    for len in 0..200usize {
        server.receive(&vec![22; len]);
        server.receive(&(0..len).map(|n| (n * 7 + 20) as u8).collect::<Vec<_>>());
    }
    let mut client = Session::new(start, &theirs, &params(ours.fingerprint, true)).unwrap();
    let [at_server, at_client] = carry(start, [&mut server, &mut client]);
    assert!(
        matches!((at_server.as_slice(), at_client.as_slice()), ([Step::Keys(_)], [Step::Keys(_)])),
        "{at_server:?}"
    );
}

#[test]
fn a_panic_over_one_leg_ends_its_handshake_and_nobody_elses() {
    const BROKEN: LegId = LegId(1);
    const WELL: LegId = LegId(2);
    let (ours, theirs) = (Arc::new(Identity::generate().unwrap()), Identity::generate().unwrap());
    let (told, heard) = sync_channel(64);
    let back = Box::new(move |leg, command| {
        // In the middle of a leg's step, as the library would.
        assert!(leg != BROKEN || matches!(command, Command::SecureFailed { .. }), "the first flight");
        told.send((leg, command)).unwrap();
    });
    let (queue, join) = start(ours, back).unwrap();
    let start = |leg| DtlsOrder { leg, op: DtlsOp::Start(Arc::new(params(theirs.fingerprint, true))) };
    queue.send(start(BROKEN)).unwrap();
    queue.send(start(WELL)).unwrap();
    let first = heard.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(matches!(first, (BROKEN, Command::SecureFailed { .. })), "{first:?}");
    let second = heard.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(matches!(second, (WELL, Command::SendDtls { .. })), "{second:?}");
    drop(queue);
    join.join().unwrap();
}

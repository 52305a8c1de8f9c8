//! What calls cost whose callers never acknowledge anything; alone in its process, whose memory is measured
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

mod common;
use common::*;
use hotline_sip::*;

const CALLS: usize = 5_000;

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn five_thousand_calls_without_ack_cost_less_than_20_mb_and_are_gone_after_their_time() {
    let mut config = config("192.0.2.0/24", 1);
    config.session_count_max = CALLS * 2;
    let mut gateway = Gateway::with(config);
    let before = resident_kib();
    let mut answered = 0;
    for n in 0..CALLS {
        let id = format!("unacked{n}");
        let flow = gateway.flow(TRUNK);
        gateway.ep.handle_datagram(gateway.now, flow, Req { call_id: &id, ..invite(&id) }.text().as_bytes());
        while let Some(output) = gateway.ep.poll_output() {
            if let Output::Event(Event::Incoming { id, .. }) = output {
                gateway.ep.accept(gateway.now, id, ANSWER.as_bytes()).unwrap();
                answered += 1;
            }
        }
    }
    let grown = resident_kib().saturating_sub(before);
    assert_eq!((answered, gateway.ep.stats().sessions), (CALLS, CALLS));
    assert!(grown < 20_000_000 / 1024, "{grown} KiB for {CALLS} calls");
    let end = gateway.now + std::time::Duration::from_secs(200);
    while let Some(at) = gateway.ep.poll_timeout().filter(|at| *at <= end) {
        gateway.ep.handle_timeout(at);
        while gateway.ep.poll_output().is_some() {}
    }
    assert_eq!((gateway.ep.stats().sessions, gateway.ep.stats().transactions), (0, 0));
}

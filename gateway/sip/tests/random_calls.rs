//! Random calls between two endpoints over a bad path, and a peer that says anything at any time:
//! every session ends exactly once on each side, and nothing stays behind
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

mod common;
use common::calls::*;
use common::*;
use hotline_sip::*;

use std::collections::BTreeMap;

struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(mix(seed + 1) | 1)
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 8) % sides
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.roll(from.len() as u64)).unwrap()]
    }
}

/// How often each session ended
type Ends = BTreeMap<(usize, SessionId), u32>;

/// Something a driver might do with a session, whatever its state; the first two end it
fn act(ep: &mut Endpoint, now: std::time::Instant, id: SessionId, dice: &mut Dice, first: u64) {
    let sdp = dice.pick(&[OFFER, ANSWER]).as_bytes();
    match first + dice.roll(18 - first) {
        0 => drop(ep.hang_up(now, id, "Q.850;cause=16")),
        1 => drop(ep.reject(now, id, 486, "")),
        2..=4 => drop(ep.accept(now, id, sdp)),
        5 | 6 => drop(ep.provisional(now, id, 183, Some(sdp))),
        7 => drop(ep.provisional(now, id, 180, None)),
        8 | 9 => drop(ep.reoffer(now, id, sdp)),
        10 | 11 => drop(ep.update(now, id, Some(sdp))),
        12 => drop(ep.update(now, id, None)),
        13 => drop(ep.answer_reoffer(now, id, sdp)),
        14 => drop(ep.reject_reoffer(now, id, 488)),
        _ => {
            let code = dice.pick(&[100, 180, 200, 486]);
            let step = dice.roll(3);
            let _ = if step == 0 { ep.reject_transfer(now, id, 603) } else { ep.accept_transfer(now, id) };
            let _ = ep.transfer_progress(now, id, code, "");
        }
    }
}

fn note(ends: &mut Ends, node: usize, event: &Event) {
    match event {
        Event::Incoming { id, .. } => drop(ends.insert((node, *id), 0)),
        Event::Failed { id, .. } | Event::Cancelled { id, .. } | Event::Ended { id, .. } => {
            *ends.get_mut(&(node, *id)).expect("a session that was told of") += 1;
        }
        Event::Progress { id, .. }
        | Event::Answered { id, .. }
        | Event::Confirmed { id, .. }
        | Event::Reoffer { id, .. }
        | Event::ReofferAnswered { id, .. }
        | Event::Transfer { id, .. }
        | Event::Dtmf { id, .. } => assert_eq!(ends.get(&(node, *id)), Some(&0), "nothing follows the end: {event:?}"),
        _ => {}
    }
}

/// What happened at all: a test in which calls never meet would prove nothing
fn count<'a>(seen: &mut BTreeMap<String, u32>, names: impl Iterator<Item = &'a str>) {
    names.for_each(|name| *seen.entry(name.to_owned()).or_default() += 1);
}

fn check(ends: &Ends, seed: u64) {
    let wrong: Vec<_> = ends.iter().filter(|(_, n)| **n != 1).collect();
    assert!(wrong.is_empty(), "seed {seed}: {wrong:?}");
}

#[test]
fn two_endpoints_over_a_bad_path() {
    let mut seen = BTreeMap::new();
    for seed in 0..12 {
        let mut net = Net::new();
        let mut dice = Dice::new(seed);
        let percent = (seed % 4) * 10;
        net.lose = Box::new(move |_, serial| mix(serial + (seed << 32)) % 100 < percent);
        net.jitter_ms = (seed % 3) * 150;
        net.twice_percent = (seed % 2) * 15;
        let mut ends = Ends::new();
        for round in 0..600 {
            if round < 300 && dice.roll(8) == 0 {
                let node = usize::try_from(dice.roll(2)).unwrap();
                let id = net.dial(node);
                ends.insert((node, id), 0);
            }
            let live: Vec<_> = ends.iter().filter(|(_, n)| **n == 0).map(|(key, _)| *key).collect();
            for _ in 0..3 {
                if !live.is_empty() {
                    let (node, id) = dice.pick(&live);
                    let now = net.now;
                    act(&mut net.nodes[node].ep, now, id, &mut dice, 0);
                }
            }
            net.pass(dice.roll(600));
            for node in 0..2 {
                let events = net.take(node);
                events.iter().for_each(|event| note(&mut ends, node, event));
                count(&mut seen, events.iter().map(Event::name));
            }
        }
        count(&mut seen, net.wire.iter().map(|(_, word)| word.as_str()));
        net.lose = Box::new(|_, _| false);
        let live: Vec<_> = ends.iter().filter(|(_, n)| **n == 0).map(|(key, _)| *key).collect();
        for (node, id) in live {
            let now = net.now;
            let _ = net.nodes[node].ep.hang_up(now, id, "");
        }
        net.assert_nothing_left();
        for node in 0..2 {
            net.take(node).iter().for_each(|event| note(&mut ends, node, event));
        }
        check(&ends, seed);
    }
    let wanted = "Incoming Progress Answered Confirmed Failed Cancelled Ended Reoffer ReofferAnswered \
        INVITE ACK BYE CANCEL PRACK UPDATE 100 180 183 200 480 481 486 487 488 491";
    for name in wanted.split_whitespace() {
        assert!(seen.get(name).is_some_and(|n| *n >= 5), "{name}: {seen:?}");
    }
}

/// A response or request that may or may not fit what the gateway waits for
fn noise(gateway: &mut Gateway, legs: &mut [Leg], rack: &str, dice: &mut Dice) {
    let which = usize::try_from(dice.roll(legs.len() as u64)).unwrap();
    if dice.roll(2) == 0 {
        let at = gateway.sent.len().saturating_sub(usize::try_from(dice.roll(12)).unwrap() + 1);
        let Some((flow, request)) = gateway.sent.get(at).cloned() else {
            return;
        };
        if head(&request).parse::<u16>().is_ok() || head(&request) == "ACK" {
            return;
        }
        let code =
            dice.pick(&[100, 180, 180, 183, 183, 199, 200, 200, 200, 302, 401, 422, 481, 486, 491, 491, 500, 503]);
        let rseq = dice.roll(4);
        let extra = dice.pick(&[
            "",
            "Allow: UPDATE\r\nContact: <sip:n@192.0.2.9>\r\n",
            "Session-Expires: 90;refresher=uac\r\nAllow: UPDATE\r\n",
            "Min-SE: 1900\r\nRetry-After: 0\r\n",
            "Contact: <sip:x@192.0.2.9>;q=0.1\r\nRecord-Route: <sip:192.0.2.9>\r\n",
            "REL",
        ]);
        let extra = if extra == "REL" { format!("Require: 100rel\r\nRSeq: {rseq}\r\n") } else { extra.to_owned() };
        let sdp = dice.pick(&["", ANSWER]);
        let tag = dice.pick(&["t1", "t2", "ct", ""]);
        let text = answer(&request, code, tag, &extra, sdp);
        gateway.ep.handle_datagram(gateway.now, flow, text.as_bytes());
        return;
    }
    let leg = &mut legs[which];
    let method = dice.pick(&[
        "INVITE",
        "ACK",
        "BYE",
        "UPDATE",
        "INFO",
        "PRACK",
        "REFER",
        "NOTIFY",
        "SUBSCRIBE",
        "OPTIONS",
        "CANCEL",
        "MESSAGE",
    ]);
    if method == "BYE" && dice.roll(12) != 0 {
        return;
    }
    if method == "ACK" || method == "CANCEL" {
        leg.cseq -= 1;
    }
    let extra = dice.pick(&[
        "",
        "Refer-To: <sip:1002@h>\r\n",
        "Refer-To: <sip:1002@h>\r\nRefer-Sub: false\r\n",
        "Supported: timer, 100rel\r\nSession-Expires: 90\r\nAllow: UPDATE\r\n",
        "Event: refer\r\nExpires: 0\r\n",
        rack,
    ]);
    let sdp = dice.pick(&["", OFFER]);
    let text = leg.text(method, extra, sdp);
    let flow = gateway.flow(leg.at);
    gateway.ep.handle_datagram(gateway.now, flow, text.as_bytes());
}

#[test]
fn a_peer_that_says_anything_at_any_time() {
    let mut seen = BTreeMap::new();
    for seed in 0..60 {
        let mut gateway = Gateway::new();
        let mut dice = Dice::new(seed + 1_000);
        let mut ends = Ends::new();
        let phone = phone_call(&mut gateway, "1001", "phone");
        let carrier = trunk_call(&mut gateway, "carrier", "Supported: 100rel, timer\r\nAllow: UPDATE\r\n");
        let (ringing, _) = trunk_rings(&mut gateway, "rings", "Supported: 100rel\r\nAllow: UPDATE\r\n");
        gateway.ep.provisional(gateway.now, ringing, 183, Some(ANSWER.as_bytes())).unwrap();
        let early = gateway.drain().remove(0);
        let (tag, rack) = (tag_of(&early, "To"), format!("RAck: {} 10 INVITE\r\n", header(&early, "RSeq")));
        let (dialling, invite) = dialling(&mut gateway);
        let caller = tag_of(&invite, "From");
        let callee = |own: &str| Leg::new(dialling, TRUNK, &header(&invite, "Call-ID"), caller.clone(), own);
        let up = dialled(&mut gateway, "Session-Expires: 90\r\nAllow: UPDATE\r\n");
        let ringing = Leg::new(ringing, TRUNK, "rings", tag, "ft");
        let mut legs = [phone, carrier, ringing, callee("t1"), callee("t2"), up];
        ends.extend(legs.iter().map(|leg| ((0, leg.id), 0)));
        for _ in 0..400 {
            let live: Vec<_> = ends.iter().filter(|(_, n)| **n == 0).map(|(key, _)| key.1).collect();
            match dice.roll(5) {
                0 if !live.is_empty() => {
                    let id = dice.pick(&live);
                    // Calls that are ended at once never meet the noise.
                    let first = if dice.roll(20) == 0 { 0 } else { 2 };
                    act(&mut gateway.ep, gateway.now, id, &mut dice, first);
                }
                1 => drop(gateway.pass(dice.roll(8_000))),
                _ => noise(&mut gateway, &mut legs, &rack, &mut dice),
            }
            gateway.drain();
            let events = gateway.take_events();
            events.iter().for_each(|event| note(&mut ends, 0, event));
            count(&mut seen, events.iter().map(Event::name));
        }
        let live: Vec<_> = ends.iter().filter(|(_, n)| **n == 0).map(|(key, _)| key.1).collect();
        for id in live {
            let _ = gateway.ep.hang_up(gateway.now, id, "");
        }
        gateway.pass(600_000);
        gateway.take_events().iter().for_each(|event| note(&mut ends, 0, event));
        check(&ends, seed);
        let stats = gateway.ep.stats();
        assert_eq!((stats.sessions, stats.transactions, stats.transfers), (0, 0, 0), "seed {seed}");
    }
    let wanted = "Progress Answered Failed Ended Reoffer ReofferAnswered Transfer";
    for name in wanted.split_whitespace() {
        assert!(seen.get(name).is_some_and(|n| *n >= 10), "{name}: {seen:?}");
    }
}

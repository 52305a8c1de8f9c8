//! Many calls over a path that loses datagrams: every session ends once, nothing stays behind
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

mod common;
use common::*;
use hotline_sip::*;

use std::collections::BTreeMap;

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 8) % sides
    }
}

/// Lets a driver act at random on what happened; the session may be gone meanwhile, which is no fault
fn act(net: &mut Net, node: usize, dice: &mut Dice, ends: &mut BTreeMap<(usize, SessionId), u32>) {
    let now = net.now;
    for event in net.take(node) {
        let ep = &mut net.nodes[node].ep;
        match event {
            Event::Incoming { id, .. } => {
                ends.insert((node, id), 0);
                match dice.roll(6) {
                    0 => drop(ep.reject(now, id, 486, "")),
                    1 => drop(ep.provisional(now, id, 180, None)),
                    2 => drop(ep.hang_up(now, id, "")),
                    _ => drop(ep.accept(now, id, ANSWER.as_bytes())),
                }
            }
            Event::Progress { id, .. } if dice.roll(2) == 0 => drop(ep.hang_up(now, id, "")),
            Event::Answered { id, .. } | Event::Confirmed { id, .. } => match dice.roll(3) {
                0 => {}
                1 => drop(ep.hang_up(now, id, "")),
                _ => drop(ep.reoffer(now, id, OFFER.as_bytes())),
            },
            Event::Reoffer { id, .. } => match dice.roll(3) {
                0 => drop(ep.reject_reoffer(now, id, 488)),
                _ => drop(ep.answer_reoffer(now, id, ANSWER.as_bytes())),
            },
            Event::Failed { id, .. } | Event::Cancelled { id, .. } | Event::Ended { id, .. } => {
                *ends.get_mut(&(node, id)).unwrap() += 1
            }
            Event::Progress { .. } | Event::ReofferAnswered { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn every_session_ends_exactly_once() {
    for seed in 1..=30 {
        let mut net = Net::new();
        let mut dice = Dice(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed));
        let mut loss = Dice(0xD134_2543_DE82_EF95_u64.wrapping_mul(seed));
        let percent = (seed % 4) * 15;
        net.lose = Box::new(move |_, _| loss.roll(100) < percent);
        let mut ends = BTreeMap::new();
        let mut live = Vec::new();
        for _ in 0..40 {
            let node = usize::try_from(dice.roll(2)).unwrap();
            let id = net.dial(node);
            ends.insert((node, id), 0);
            live.push((node, id));
            net.pass(dice.roll(400));
            act(&mut net, 0, &mut dice, &mut ends);
            act(&mut net, 1, &mut dice, &mut ends);
            let (node, id) = live[usize::try_from(dice.roll(live.len() as u64)).unwrap()];
            if dice.roll(3) == 0 {
                let now = net.now;
                let _ = net.nodes[node].ep.hang_up(now, id, "");
            }
        }
        for _ in 0..2_000 {
            net.pass(100);
            act(&mut net, 0, &mut dice, &mut ends);
            act(&mut net, 1, &mut dice, &mut ends);
        }
        // A call whose drivers did nothing is still up: end what is left, over a clean path.
        net.lose = Box::new(|_, _| false);
        let open: Vec<_> = ends.iter().filter(|(_, n)| **n == 0).map(|(key, _)| *key).collect();
        for (node, id) in open {
            let now = net.now;
            let _ = net.nodes[node].ep.hang_up(now, id, "");
        }
        net.pass(1_000);
        act(&mut net, 0, &mut dice, &mut ends);
        act(&mut net, 1, &mut dice, &mut ends);
        let wrong: Vec<_> = ends.iter().filter(|(_, n)| **n != 1).collect();
        assert!(wrong.is_empty(), "seed {seed}: {wrong:?}");
        net.assert_nothing_left();
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let run = || {
        let mut gateway = Gateway::new();
        gateway.feed(TRUNK, invite("a").text());
        gateway.feed(PHONE, invite("b").text());
        gateway.ep.dial(gateway.now, dial_to(TRUNK)).unwrap();
        gateway.pass(5_000);
        gateway.sent
    };
    assert_eq!(run(), run());
}

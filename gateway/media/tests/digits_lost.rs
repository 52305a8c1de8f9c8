//! Ten thousand digits from one engine to another over a bad network: none lost, none doubled.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]
mod common;

use std::collections::BinaryHeap;

use common::*;
use hotline_media::{Codec, LegId, engine::Command};

const DIGITS: &str = "0123456789*#ABCD";

/// What the network does, in percent.
#[derive(Clone, Copy)]
struct Network {
    loss: u32,
    /// Four packets in a row are lost so often.
    burst: u32,
    reorder: u32,
    duplicate: u32,
}

/// Sends `count` digits of `ms` through `network`; what was sent and what was reported.
fn pass(count: usize, ms: u32, network: Network, seed: u64) -> (String, String) {
    let (mut sender, mut receiver) = (Sim::new(), Sim::new());
    let from = sender.leg(1, "10.0.0.9:4000", Codec::Pcma);
    let to = receiver.leg(1, "10.0.0.1:4000", Codec::Pcma);
    let mut lcg = Lcg(seed);
    let sent: String = (0..count).map(|_| char::from(DIGITS.as_bytes()[lcg.below(16) as usize])).collect();
    let mut flying: BinaryHeap<std::cmp::Reverse<(u64, usize, Vec<u8>)>> = BinaryHeap::new();
    let (mut order, mut burst_left) = (0, 0);
    let keys: Vec<char> = sent.chars().collect();
    for batch in keys.chunks(16) {
        for &digit in batch {
            sender.command(Command::SendDigit { leg: from, digit, ms });
        }
        let until = sender.ms() + batch.len() as u64 * (u64::from(ms) + 150);
        sender.advance_to(until);
        for packet in sender.sent_on(from) {
            if burst_left > 0 {
                burst_left -= 1;
                continue;
            }
            if lcg.below(400) < network.burst {
                burst_left = 3;
                continue;
            }
            if lcg.below(100) < network.loss {
                continue;
            }
            let copies = 1 + u32::from(lcg.below(100) < network.duplicate);
            for _ in 0..copies {
                let late = if lcg.below(100) < network.reorder { 30 + u64::from(lcg.below(40)) } else { 0 };
                let at = packet.at_ms + 15 + u64::from(lcg.below(5)) + late;
                order += 1;
                flying.push(std::cmp::Reverse((at, order, packet.bytes.clone())));
            }
        }
        sender.sent.clear();
        while flying.peek().is_some_and(|next| next.0.0 <= until) {
            deliver(&mut receiver, to, flying.pop().unwrap().0);
        }
    }
    while let Some(next) = flying.pop() {
        deliver(&mut receiver, to, next.0);
    }
    receiver.advance_to(receiver.ms() + 1000);
    (sent, receiver.digits())
}

fn deliver(receiver: &mut Sim, leg: LegId, (at, _, bytes): (u64, usize, Vec<u8>)) {
    receiver.advance_to(at);
    receiver.rtp(leg, addr("10.0.0.1:4000"), &bytes);
}

fn assert_all(count: usize, ms: u32, network: Network) {
    let (sent, heard) = pass(count, ms, network, 7);
    assert_eq!((sent.len(), heard.len()), (count, count));
    assert!(sent == heard, "other digits than were sent");
}

#[test]
fn ten_thousand_digits_through_five_percent_loss() {
    assert_all(10_000, 100, Network { loss: 5, burst: 0, reorder: 0, duplicate: 0 });
}

#[test]
fn ten_thousand_digits_through_loss_reorder_and_duplicates() {
    assert_all(10_000, 100, Network { loss: 5, burst: 0, reorder: 1, duplicate: 1 });
}

#[test]
fn ten_thousand_digits_through_bursts_of_loss() {
    assert_all(10_000, 100, Network { loss: 1, burst: 4, reorder: 1, duplicate: 1 });
}

#[test]
fn short_digits_of_40_ms_through_loss_reorder_and_duplicates() {
    // Five packets each: all lost once in three million.
    assert_all(10_000, 40, Network { loss: 5, burst: 0, reorder: 1, duplicate: 1 });
}

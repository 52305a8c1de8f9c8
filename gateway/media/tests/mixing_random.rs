//! Whatever the order of mixes, bridges, holds and hang-ups: everybody hears just whom the rows say.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]
mod common;
#[path = "common/room.rs"]
mod room;

use common::*;
use hotline_media::{Codec, engine::Command};
use room::*;

const PARTIES: usize = 6;

/// What the rows should be, kept in the plainest way.
#[derive(Default)]
struct Model {
    rows: [Vec<usize>; PARTIES],
    is_held: [bool; PARTIES],
}

impl Model {
    fn part(&mut self, party: usize) {
        self.rows[party].clear();
        self.rows.iter_mut().for_each(|row| row.retain(|other| *other != party));
    }

    fn connect(&mut self, rows: &[(usize, Vec<usize>)]) {
        rows.iter().for_each(|(party, _)| self.part(*party));
        rows.iter().for_each(|(party, hears)| self.rows[*party] = hears.clone());
    }

    fn hears(&self, party: usize) -> Vec<usize> {
        self.rows[party].iter().copied().filter(|other| !self.is_held[*other]).collect()
    }
}

/// Some of the parties, each with some of the others.
fn random_rows(random: &mut Lcg) -> Vec<(usize, Vec<usize>)> {
    let members: Vec<usize> = (0..PARTIES).filter(|_| random.below(3) > 0).collect();
    let is_open = random.below(3) == 0;
    let row = |party: usize, random: &mut Lcg| -> Vec<usize> {
        members.iter().copied().filter(|other| *other != party && (is_open || random.below(2) == 0)).collect()
    };
    members.iter().map(|&party| (party, row(party, random))).collect()
}

fn story(seed: u64) {
    let mut random = Lcg(seed);
    let mut room = Room::of(&[Codec::Pcma, Codec::Pcmu, Codec::Pcma, Codec::Pcma, Codec::Pcmu, Codec::Pcma]);
    // In short pieces of joined tones some of each leaks everywhere.
    room.bleed_max = 150.0;
    // Five at once stay below the limiter.
    room.parties.iter_mut().for_each(|party| party.phone.amplitude = 3000.0);
    let mut model = Model::default();
    for step in 0..25u64 {
        match random.below(6) {
            0 | 1 => {
                let rows = random_rows(&mut random);
                model.connect(&rows);
                let rows: Vec<(usize, &[usize])> = rows.iter().map(|(party, row)| (*party, row.as_slice())).collect();
                room.mix(&rows);
            }
            2 | 3 => {
                let a = random.below(PARTIES as u32) as usize;
                let b = (a + 1 + random.below(PARTIES as u32 - 1) as usize) % PARTIES;
                model.connect(&[(a, vec![b]), (b, vec![a])]);
                room.bridge(a, b);
            }
            4 => {
                let party = random.below(PARTIES as u32) as usize;
                model.part(party);
                let leg = room.leg(party);
                room.sim.command(Command::Unbridge { leg });
            }
            _ => {
                let party = random.below(PARTIES as u32) as usize;
                model.is_held[party] = !model.is_held[party];
                let is_held = model.is_held[party];
                let phone = &room.parties[party].phone;
                let mut params = params(&phone.address.to_string(), phone.codec);
                (params.send, params.recv) = (!is_held, !is_held);
                let leg = room.leg(party);
                room.sim.command(Command::Configure { leg, params });
            }
        }
        let from = (step + 1) * 700;
        room.talk_to(from + random.below(20) as u64);
        for party in 0..PARTIES {
            let is_sent_nothing = model.is_held[party] || model.rows[party].is_empty();
            let ms = from - 301..from;
            if is_sent_nothing {
                assert!(room.heard(party, ms).is_empty(), "seed {seed}, step {step}: {party} is sent something");
            } else if room.heard(party, ms.clone()).is_empty() {
                // The one it hears is on hold, and their packets go directly: none come.
                let [only] = model.rows[party][..] else { panic!("seed {seed}, step {step}: {party} hears nothing") };
                assert!(model.is_held[only], "seed {seed}, step {step}: {party} doesn't hear {only}");
            } else {
                room.assert_hears(party, &model.hears(party), ms);
            }
        }
    }
    (0..PARTIES).for_each(|party| room.assert_one_stream(party));
}

#[test]
fn rows_decide_whatever_came_before() {
    (1..=12).for_each(story);
}

//! Parties around one mix: each says a tone of its own, so that who hears whom can be measured.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]
use std::{collections::BTreeMap, ops::Range};

use hotline_media::{
    Codec, LegId,
    codec::Decoder,
    engine::{Command, MixRow},
    tone::amplitude_at,
};

use super::common::*;

/// What the network does to one party's packets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Network {
    pub loss_percent: u32,
    pub jitter_ms: u32,
}

pub struct Party {
    pub leg: LegId,
    pub phone: Phone,
    pub hz: f64,
    pub is_talking: bool,
    pub network: Network,
}

pub struct Room {
    pub sim: Sim,
    pub parties: Vec<Party>,
    /// Amplitude up to which a tone counts as not heard: −50 dB of 8000; G.711's own noise lies below.
    pub bleed_max: f64,
    /// Share of its level that a heard tone may be off by.
    pub tolerance: f64,
    /// Packets on their way: when, whose, bytes.
    under_way: BTreeMap<(u64, u32), (usize, Vec<u8>)>,
    random: Lcg,
    next_ms: u64,
}

/// Tones far enough apart to be told from each other, none a multiple of another.
pub const TONES: [f64; 9] = [440.0, 1000.0, 1530.0, 650.0, 2110.0, 2450.0, 1210.0, 1790.0, 830.0];

impl Room {
    /// `count` parties, whose legs are open and not connected.
    pub fn new(count: usize) -> Self {
        Self::of(&[Codec::Pcma; TONES.len()][..count])
    }

    pub fn of(codecs: &[Codec]) -> Self {
        Self::with(codecs, false)
    }

    pub fn with(codecs: &[Codec], agc: bool) -> Self {
        let mut sim = Sim::with_agc(agc);
        let parties = codecs
            .iter()
            .zip(TONES)
            .enumerate()
            .map(|(n, (&codec, hz))| {
                let address = format!("10.0.0.{}:4000", n + 1);
                let leg = sim.leg(n as u64 + 1, &address, codec);
                let phone = Phone::new(&address, codec, hz);
                Party { leg, phone, hz, is_talking: true, network: Network::default() }
            })
            .collect();
        Self { sim, parties, bleed_max: 25.0, tolerance: 0.1, under_way: BTreeMap::new(), random: Lcg(5), next_ms: 0 }
    }

    pub fn leg(&self, party: usize) -> LegId {
        self.parties[party].leg
    }

    /// Party, and whom it hears.
    pub fn mix(&mut self, rows: &[(usize, &[usize])]) {
        let rows = rows
            .iter()
            .map(|(party, hears)| MixRow {
                leg: self.leg(*party),
                hears: hears.iter().map(|party| self.leg(*party)).collect(),
            })
            .collect();
        self.sim.command(Command::Mix { rows });
    }

    /// Everybody hears everybody.
    pub fn mix_all(&mut self) {
        let all: Vec<usize> = (0..self.parties.len()).collect();
        let rows: Vec<(usize, &[usize])> = all.iter().map(|&n| (n, all.as_slice())).collect();
        self.mix(&rows);
    }

    pub fn bridge(&mut self, a: usize, b: usize) {
        let (a, b) = (self.leg(a), self.leg(b));
        self.sim.command(Command::Bridge { a, b });
    }

    /// Lets everybody talk until `ms`. Party n's packets leave 3 n ms after the full 20 ms.
    pub fn talk_to(&mut self, ms: u64) {
        while self.next_ms < ms {
            for n in 0..self.parties.len() {
                let party = &mut self.parties[n];
                if !party.is_talking {
                    continue;
                }
                let bytes = party.phone.packet();
                let (lost, delay) = (self.random.below(100), self.random.below(party.network.jitter_ms + 1));
                if lost >= party.network.loss_percent {
                    let at = self.next_ms + 3 * n as u64 + u64::from(delay);
                    self.under_way.insert((at, self.random.next()), (n, bytes));
                }
            }
            self.next_ms += 20;
            self.deliver();
        }
        self.sim.advance_to(ms);
    }

    fn deliver(&mut self) {
        while let Some(entry) = self.under_way.first_entry().filter(|entry| entry.key().0 < self.next_ms) {
            let ((at, _), (n, bytes)) = entry.remove_entry();
            self.sim.advance_to(at);
            let (leg, address) = (self.parties[n].leg, self.parties[n].phone.address);
            self.sim.rtp(leg, address, &bytes);
        }
    }

    /// What a party was sent in a range of time, decoded.
    pub fn heard(&self, party: usize, ms: Range<u64>) -> Vec<i16> {
        let mut samples = Vec::new();
        let mut decoder = Decoder::new(self.parties[party].phone.codec);
        // From the beginning, since a decoder's state comes from what it heard before.
        for sent in self.sim.sent_on(self.leg(party)).iter().filter(|sent| sent.at_ms < ms.end) {
            let packet = sent.packet();
            if packet.header.payload_type != 101 {
                decoder.decode(packet.payload, &mut samples);
            }
            if sent.at_ms < ms.start {
                samples.clear();
            }
        }
        samples
    }

    /// Asserts that in a range of time `listener` hears just the parties `heard` at full level.
    pub fn assert_hears(&self, listener: usize, heard: &[usize], ms: Range<u64>) {
        let samples = self.heard(listener, ms.clone());
        let expected = (ms.end - ms.start) as usize * 8;
        if heard.is_empty() && samples.is_empty() {
            return;
        }
        assert!(samples.len().abs_diff(expected) <= 320, "{listener} got {} of {expected} samples", samples.len());
        for (n, party) in self.parties.iter().enumerate() {
            let amplitude = amplitude_at(&samples, party.hz);
            let full = party.phone.amplitude;
            if heard.contains(&n) {
                assert!(
                    (full * (1.0 - self.tolerance)..full * (1.0 + self.tolerance)).contains(&amplitude),
                    "{listener} hears {n} with {amplitude}"
                );
            } else {
                assert!(amplitude < self.bleed_max, "{listener} hears {n}, with {amplitude}");
            }
        }
    }

    /// Asserts that all a party was sent is one stream: an SSRC, numbers in a row, timestamps that
    /// follow the clock and never step back.
    pub fn assert_one_stream(&self, party: usize) {
        let sent = self.sim.sent_on(self.leg(party));
        let units = self.parties[party].phone.codec.rtp_clock_hz() / 8000;
        for pair in sent.windows(2) {
            let (a, b) = (pair[0].packet().header, pair[1].packet().header);
            assert_eq!(a.ssrc, b.ssrc);
            assert_eq!(b.seq, a.seq.wrapping_add(1), "at {} ms", pair[1].at_ms);
            let step = b.timestamp.wrapping_sub(a.timestamp) as i32 / units as i32;
            let is_event = a.payload_type == 101 || b.payload_type == 101;
            assert!(step >= if is_event { 0 } else { 160 }, "step {step} at {} ms", pair[1].at_ms);
            assert!(is_event || step == 160 || b.marker, "a gap of {step} without a marker at {} ms", pair[1].at_ms);
        }
        let (Some(first), Some(last)) = (sent.first(), sent.last()) else {
            return;
        };
        let spoken = last.packet().header.timestamp.wrapping_sub(first.packet().header.timestamp) / 8 / units;
        let elapsed = (last.at_ms - first.at_ms) as u32;
        assert!(spoken.abs_diff(elapsed) <= 45, "{spoken} ms of timestamps in {elapsed} ms");
    }
}

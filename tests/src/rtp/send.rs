//! The sending half of a stream: source, digits, faults, packet building.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{PACKET_SAMPLES, PTIME_MS, g711};
use crate::limits::DIGITS_QUEUED_MAX;
use crate::{Error, Result, tone};

/// Digits in the order of their event codes (RFC 4733 §3.2).
pub(super) const EVENTS: &str = "0123456789*#ABCD";
/// Ticks of silence after a digit: 60 ms.
const DIGIT_GAP_TICKS: u64 = 3;
/// Volume written in digit events, −dBm0.
const DIGIT_VOLUME: u8 = 10;

/// What a stream sends.
#[derive(Clone, Debug, Default)]
pub enum Source {
    /// No packets at all.
    #[default]
    Nothing,
    /// Packets of silence.
    Silence,
    /// An endless sine.
    Tone {
        /// Frequency.
        hz: f64,
        /// RMS level against full scale.
        dbov: f64,
    },
    /// Samples at 8 kHz, then silence, or from the start again.
    Pcm {
        /// The samples.
        samples: Arc<[i16]>,
        /// True to repeat for ever.
        repeat: bool,
    },
}

impl Source {
    /// A tone at −16 dBov, loud and far from clipping.
    #[must_use]
    pub fn tone(hz: f64) -> Self {
        Self::Tone { hz, dbov: -16.0 }
    }
}

/// Impairment of outgoing packets; percentages 0–100.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Packets never sent.
    pub loss_percent: u8,
    /// Packets sent twice.
    pub duplicate_percent: u8,
    /// Packets held back until after the next one.
    pub reorder_percent: u8,
    /// Start of the random sequence: the same seed gives the same faults.
    pub seed: u64,
}

#[derive(Debug)]
struct DigitOut {
    event: u8,
    ticks: u64,
    ticks_sent: u64,
    started_at: u32,
}

#[derive(Debug)]
pub(super) struct Sender {
    pub(super) remote: Option<SocketAddr>,
    pub(super) audio_pt: u8,
    pub(super) dtmf_pt: Option<u8>,
    pub(super) packets_sent: u64,
    source: Source,
    /// When the source's first packet was due.
    pub(super) began: Option<Instant>,
    position: u64,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    marker: bool,
    digits: VecDeque<DigitOut>,
    gap_ticks: u64,
    faults: Faults,
    random: StdRng,
    held: Option<Vec<u8>>,
}

impl Sender {
    pub(super) fn new() -> Self {
        Self {
            remote: None,
            audio_pt: 8,
            dtmf_pt: None,
            packets_sent: 0,
            source: Source::Nothing,
            began: None,
            position: 0,
            ssrc: rand::random(),
            sequence: rand::random(),
            timestamp: rand::random(),
            marker: true,
            digits: VecDeque::new(),
            gap_ticks: 0,
            faults: Faults::default(),
            random: StdRng::seed_from_u64(0),
            held: None,
        }
    }

    pub(super) fn play(&mut self, source: Source) {
        self.source = source;
        self.position = 0;
        self.began = None;
        self.marker = true;
    }

    pub(super) fn has_played(&self) -> bool {
        match &self.source {
            Source::Pcm { samples, repeat: false } => self.position >= samples.len() as u64,
            _ => false,
        }
    }

    pub(super) fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
        self.random = StdRng::seed_from_u64(faults.seed);
    }

    pub(super) fn jump_timestamp(&mut self, samples: u32) {
        self.timestamp = self.timestamp.wrapping_add(samples);
    }

    pub(super) fn queue_digits(&mut self, digits: &str, duration_ms: u64) -> Result<()> {
        let fail = |detail: &str| Error::Audio { what: "digits".into(), detail: detail.into() };
        if self.dtmf_pt.is_none() {
            return Err(fail("the peer offered no telephone-event"));
        }
        for digit in digits.chars() {
            let event = EVENTS.find(digit.to_ascii_uppercase());
            let event = event.and_then(|e| u8::try_from(e).ok());
            let event = event.ok_or_else(|| fail("only 0-9 * # A-D are digits"))?;
            if self.digits.len() >= DIGITS_QUEUED_MAX {
                return Err(fail("too many queued"));
            }
            let ticks = (duration_ms / PTIME_MS).max(1);
            self.digits.push_back(DigitOut { event, ticks, ticks_sent: 0, started_at: 0 });
        }
        Ok(())
    }

    /// SSRC, number and timestamp of the next packet.
    pub(super) fn next_stamp(&self) -> (u32, u16, u32) {
        (self.ssrc, self.sequence, self.timestamp)
    }

    /// The packets of one 20 ms tick, due at `at`; time passes whether or not they are sent.
    pub(super) fn tick(&mut self, at: Instant) -> (Option<SocketAddr>, Vec<Vec<u8>>) {
        let packets = if self.remote.is_none() { Vec::new() } else { self.next_packets(at) };
        self.timestamp = self.timestamp.wrapping_add(PACKET_SAMPLES as u32);
        let packets = self.spoil(packets);
        self.packets_sent += packets.len() as u64;
        (self.remote, packets)
    }

    fn next_packets(&mut self, at: Instant) -> Vec<Vec<u8>> {
        if let Some(mut digit) = self.digits.pop_front() {
            let (packets, done) = self.digit_packets(&mut digit);
            if done {
                self.gap_ticks = DIGIT_GAP_TICKS;
            } else {
                self.digits.push_front(digit);
            }
            return packets;
        }
        if matches!(self.source, Source::Nothing) {
            return Vec::new();
        }
        self.began.get_or_insert(at);
        let samples = self.next_samples();
        let payload = g711::encode(&samples, self.audio_pt);
        let packet = self.packet(self.audio_pt, self.marker, self.timestamp, &payload);
        self.marker = false;
        vec![packet]
    }

    fn next_samples(&mut self) -> Vec<i16> {
        let start = self.position;
        self.position += PACKET_SAMPLES as u64;
        (start..self.position)
            .map(|n| match &self.source {
                Source::Nothing | Source::Silence => 0,
                Source::Tone { hz, dbov } => tone::sine_sample(*hz, *dbov, n, tone::RATE_HZ),
                Source::Pcm { samples, repeat } => {
                    let length = samples.len() as u64;
                    let index = if *repeat && length > 0 { n % length } else { n };
                    usize::try_from(index).ok().and_then(|i| samples.get(i)).copied().unwrap_or(0)
                }
            })
            .collect()
    }

    /// RFC 4733 §2.5.1: one packet per tick with a growing duration and the
    /// timestamp of the beginning, the last one three times with the end bit.
    fn digit_packets(&mut self, digit: &mut DigitOut) -> (Vec<Vec<u8>>, bool) {
        if digit.ticks_sent == 0 {
            if self.gap_ticks > 0 {
                self.gap_ticks -= 1;
                return (Vec::new(), false);
            }
            digit.started_at = self.timestamp;
        }
        digit.ticks_sent += 1;
        let end = digit.ticks_sent >= digit.ticks;
        let duration = (digit.ticks_sent * PACKET_SAMPLES as u64).min(0xFFFF) as u16;
        let flags = DIGIT_VOLUME | if end { 0x80 } else { 0 };
        let [high, low] = duration.to_be_bytes();
        let payload = [digit.event, flags, high, low];
        let pt = self.dtmf_pt.unwrap_or(101);
        let copies = if end { 3 } else { 1 };
        let marker = digit.ticks_sent == 1;
        let packets = (0..copies).map(|_| self.packet(pt, marker, digit.started_at, &payload)).collect();
        (packets, end)
    }

    fn packet(&mut self, pt: u8, marker: bool, timestamp: u32, payload: &[u8]) -> Vec<u8> {
        let mut packet = Vec::with_capacity(12 + payload.len());
        packet.extend([0x80, pt | if marker { 0x80 } else { 0 }]);
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend(self.ssrc.to_be_bytes());
        packet.extend(payload);
        self.sequence = self.sequence.wrapping_add(1);
        packet
    }

    fn spoil(&mut self, packets: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let faults = self.faults;
        let mut out = Vec::with_capacity(packets.len());
        for packet in packets {
            let mut chance = |percent: u8| self.random.random_range(0..100) < percent;
            if chance(faults.loss_percent) {
                continue;
            }
            if chance(faults.reorder_percent) && self.held.is_none() {
                self.held = Some(packet);
                continue;
            }
            if chance(faults.duplicate_percent) {
                out.push(packet.clone());
            }
            out.push(packet);
            out.extend(self.held.take());
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender() -> Sender {
        let mut sender = Sender::new();
        sender.remote = Some("127.0.0.1:9".parse().unwrap());
        sender.dtmf_pt = Some(101);
        sender
    }

    #[test]
    fn a_digit_ends_with_three_end_packets_and_then_a_gap() {
        let mut sender = sender();
        sender.queue_digits("5#", 60).unwrap();
        let ticks: Vec<usize> = (0..6).map(|_| sender.tick(Instant::now()).1.len()).collect();
        assert_eq!(ticks, [1, 1, 3, 0, 0, 0]);
        let (_, next) = sender.tick(Instant::now());
        assert_eq!((next.len(), next[0][12]), (1, 11));
    }

    #[test]
    fn time_passes_while_packets_are_lost() {
        let mut sender = sender();
        sender.play(Source::Silence);
        sender.set_faults(Faults { loss_percent: 100, seed: 1, ..Faults::default() });
        let first = sender.timestamp;
        for _ in 0..50 {
            assert!(sender.tick(Instant::now()).1.is_empty());
        }
        assert_eq!(sender.timestamp.wrapping_sub(first), 8_000);
    }

    #[test]
    fn the_same_seed_loses_the_same_packets() {
        let run = || {
            let mut sender = sender();
            sender.play(Source::Silence);
            sender.set_faults(Faults { loss_percent: 15, seed: 7, ..Faults::default() });
            (0..200).map(|_| sender.tick(Instant::now()).1.len()).collect::<Vec<_>>()
        };
        let lost = run().iter().filter(|&&n| n == 0).count();
        assert_eq!(run(), run());
        assert!((10..=60).contains(&lost), "{lost} of 200");
    }

    #[test]
    fn what_is_no_digit_is_refused() {
        assert!(sender().queue_digits("1x", 100).is_err());
    }
}

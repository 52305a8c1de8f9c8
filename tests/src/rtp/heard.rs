//! The receiving half of a stream: packets with their arrival, digits, timelines.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::send::EVENTS;
use super::{PACKET_SAMPLES, g711};
use crate::limits::{RTP_PACKETS_KEPT_MAX, TIMELINE_SAMPLES_MAX};

/// One audio packet.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Arrival.
    pub at: Instant,
    /// Sequence number.
    pub sequence: u16,
    /// RTP timestamp, samples.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
    /// Payload type.
    pub payload_type: u8,
    /// The decoded samples.
    pub samples: Vec<i16>,
}

/// One digit, reported once however often its packets came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digit {
    /// `0-9*#A-D`.
    pub digit: char,
    /// Arrival of its first packet.
    pub at: Instant,
    /// Longest duration it announced, milliseconds.
    pub duration_ms: u64,
    timestamp: u32,
}

/// All that a stream has received.
#[derive(Clone, Debug)]
pub struct Heard {
    /// When listening began.
    pub since: Instant,
    /// Audio packets in order of arrival.
    pub packets: Vec<Packet>,
    /// Digits in order of arrival.
    pub digits: Vec<Digit>,
    /// Address of the latest packet.
    pub source: Option<SocketAddr>,
    /// Datagrams that aren't RTP.
    pub malformed: u64,
    /// Packets beyond the limit of those kept.
    pub not_kept: u64,
    /// RTCP packets.
    pub rtcp_packets: u64,
    pub(super) dtmf_pt: Option<u8>,
}

impl Heard {
    pub(super) fn new(since: Instant) -> Self {
        Self {
            since,
            packets: Vec::new(),
            digits: Vec::new(),
            source: None,
            malformed: 0,
            not_kept: 0,
            rtcp_packets: 0,
            dtmf_pt: None,
        }
    }

    pub(super) fn packet(&mut self, at: Instant, from: SocketAddr, bytes: &[u8]) {
        let Some(packet) = parse(at, bytes) else {
            self.malformed += 1;
            return;
        };
        self.source = Some(from);
        let (header, payload) = packet;
        if Some(header.payload_type) == self.dtmf_pt {
            self.digit(&header, payload);
        } else if header.payload_type != 0 && header.payload_type != 8 {
            self.malformed += 1;
        } else if self.packets.len() < RTP_PACKETS_KEPT_MAX {
            let samples = g711::decode(payload, header.payload_type);
            self.packets.push(Packet { samples, ..header });
        } else {
            self.not_kept += 1;
        }
    }

    fn digit(&mut self, header: &Packet, payload: &[u8]) {
        let &[event, _, high, low, ..] = payload else {
            self.malformed += 1;
            return;
        };
        let Some(digit) = EVENTS.chars().nth(usize::from(event)) else {
            return;
        };
        let duration_ms = u64::from(u16::from_be_bytes([high, low])) / 8;
        // RFC 4733 §2.5.1.2: the timestamp names the event.
        match self.digits.last_mut() {
            Some(last) if last.timestamp == header.timestamp => {
                last.duration_ms = last.duration_ms.max(duration_ms);
            }
            _ => {
                let (at, timestamp) = (header.at, header.timestamp);
                self.digits.push(Digit { digit, at, duration_ms, timestamp });
            }
        }
    }

    /// The digits as text.
    #[must_use]
    pub fn digits_text(&self) -> String {
        self.digits.iter().map(|d| d.digit).collect()
    }

    /// Arrival of the first audio packet.
    #[must_use]
    pub fn first_at(&self) -> Option<Instant> {
        self.packets.first().map(|p| p.at)
    }

    /// Arrival of the latest audio packet.
    #[must_use]
    pub fn last_at(&self) -> Option<Instant> {
        self.packets.last().map(|p| p.at)
    }

    /// All samples in order of arrival, holes closed.
    #[must_use]
    pub fn pcm(&self) -> Vec<i16> {
        self.packets.iter().flat_map(|p| p.samples.iter().copied()).collect()
    }

    /// The samples that arrived in `from..to`, holes closed.
    #[must_use]
    pub fn pcm_between(&self, from: Instant, to: Instant) -> Vec<i16> {
        let inside = self.packets.iter().filter(|p| p.at >= from && p.at < to);
        inside.flat_map(|p| p.samples.iter().copied()).collect()
    }

    /// What arrived during the last `ms` before now; short when less came.
    #[must_use]
    pub fn last_ms(&self, ms: u64) -> Vec<i16> {
        // One packet more than asked for: the newest may be up to 20 ms old.
        let now = Instant::now();
        let from = now.checked_sub(Duration::from_millis(ms + super::PTIME_MS)).unwrap_or(now);
        let mut pcm = self.pcm_between(from, now);
        let wanted = usize::try_from(ms * 8).unwrap_or(usize::MAX);
        pcm.drain(..pcm.len().saturating_sub(wanted));
        pcm
    }

    /// The samples placed by their RTP timestamps, silence in the holes; it starts
    /// with the first packet. Only packets of the first packet's SSRC count.
    #[must_use]
    pub fn timeline(&self) -> Vec<i16> {
        let mut timeline: Vec<i16> = Vec::new();
        let Some(first) = self.packets.first() else {
            return timeline;
        };
        for packet in self.packets.iter().filter(|p| p.ssrc == first.ssrc) {
            let offset = packet.timestamp.wrapping_sub(first.timestamp) as usize;
            let end = offset.saturating_add(packet.samples.len());
            if end > TIMELINE_SAMPLES_MAX {
                continue;
            }
            if timeline.len() < end {
                timeline.resize(end, 0);
            }
            timeline[offset..end].copy_from_slice(&packet.samples);
        }
        timeline
    }

    /// Packets missing between the lowest and the highest sequence number of the
    /// latest SSRC (RFC 3550 §A.3).
    #[must_use]
    pub fn lost(&self) -> u64 {
        let Some(last) = self.packets.last() else {
            return 0;
        };
        let of_it: Vec<u16> = self.packets.iter().filter(|p| p.ssrc == last.ssrc).map(|p| p.sequence).collect();
        let first = of_it.first().copied().unwrap_or(0);
        let offsets = of_it.iter().scan((first, 0_i64), |(previous, total), &sequence| {
            *total += i64::from(sequence.wrapping_sub(*previous).cast_signed());
            *previous = sequence;
            Some(*total)
        });
        let seen: std::collections::BTreeSet<i64> = offsets.collect();
        let span = seen.last().unwrap_or(&0) - seen.first().unwrap_or(&0) + 1;
        span.unsigned_abs().saturating_sub(seen.len() as u64)
    }

    /// The longest time between two packets, milliseconds.
    #[must_use]
    pub fn gap_ms_max(&self) -> u64 {
        let gaps = self.packets.windows(2).map(|w| w[1].at.duration_since(w[0].at));
        gaps.max().map_or(0, |gap| u64::try_from(gap.as_millis()).unwrap_or(u64::MAX))
    }

    /// Different synchronisation sources seen.
    #[must_use]
    pub fn ssrc_count(&self) -> usize {
        let all: std::collections::BTreeSet<u32> = self.packets.iter().map(|p| p.ssrc).collect();
        all.len()
    }
}

/// RFC 3550 §5.1; the payload follows contributing sources and extension, without padding.
fn parse(at: Instant, bytes: &[u8]) -> Option<(Packet, &[u8])> {
    let (&[b0, b1, s0, s1, t0, t1, t2, t3, r0, r1, r2, r3], mut rest) = bytes.split_first_chunk()?;
    if b0 >> 6 != 2 {
        return None;
    }
    rest = rest.get(usize::from(b0 & 0x0F) * 4..)?;
    if b0 & 0x10 != 0 {
        let words = u16::from_be_bytes([*rest.get(2)?, *rest.get(3)?]);
        rest = rest.get(4 + usize::from(words) * 4..)?;
    }
    if b0 & 0x20 != 0 {
        let padding = usize::from(*rest.last()?);
        rest = rest.get(..rest.len().checked_sub(padding)?)?;
    }
    let packet = Packet {
        at,
        sequence: u16::from_be_bytes([s0, s1]),
        timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
        ssrc: u32::from_be_bytes([r0, r1, r2, r3]),
        payload_type: b1 & 0x7F,
        samples: Vec::new(),
    };
    (rest.len() <= PACKET_SAMPLES * 10).then_some((packet, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(sequence: u16, timestamp: u32, pt: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x80, pt];
        bytes.extend(sequence.to_be_bytes());
        bytes.extend(timestamp.to_be_bytes());
        bytes.extend(7_u32.to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    fn heard(datagrams: &[Vec<u8>]) -> Heard {
        let mut heard = Heard::new(Instant::now());
        heard.dtmf_pt = Some(101);
        for bytes in datagrams {
            heard.packet(Instant::now(), "127.0.0.1:9".parse().unwrap(), bytes);
        }
        heard
    }

    #[test]
    fn lost_packets_leave_silence_and_are_counted() {
        let loud = [0xAA_u8; 160];
        let heard =
            heard(&[datagram(65_534, 0, 8, &loud), datagram(1, 480, 8, &loud), datagram(65_535, 160, 8, &loud)]);
        let timeline = heard.timeline();
        assert_eq!((timeline.len(), heard.lost()), (640, 1));
        assert!(timeline[320..480].iter().all(|&s| s == 0) && timeline[160] != 0);
    }

    #[test]
    fn a_digit_counts_once_and_two_equal_digits_count_twice() {
        let event = |ts, duration: u8| datagram(1, ts, 101, &[5, 0x8A, 0, duration]);
        let heard = heard(&[event(100, 80), event(100, 160), event(100, 160), event(900, 160)]);
        assert_eq!(heard.digits_text(), "55");
        assert_eq!(heard.digits[0].duration_ms, 20);
    }

    #[test]
    fn mutated_datagrams_never_panic() {
        let good = datagram(1, 2, 8, &[0; 160]);
        let mut state = 1_u32;
        let mut all = Vec::new();
        for round in 0..3_000_usize {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let mut bytes = good[..round % good.len()].to_vec();
            if let Some(byte) = bytes.get_mut((state >> 8) as usize % 16) {
                *byte = (state >> 24) as u8;
            }
            all.push(bytes);
        }
        let heard = heard(&all);
        assert!(heard.malformed > 0);
        let _ = (heard.timeline().len(), heard.lost(), heard.gap_ms_max());
    }
}

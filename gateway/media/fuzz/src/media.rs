//! What every input has to stand: shared by the fuzz targets and by an ordinary test over the corpus

use std::fs;
use std::time::{Duration, Instant};

use hotline_media::engine::Command;
use hotline_media::jitter::{Decode, JitterBuffer, JitterPacket};
use hotline_media::limits::FRAME_SAMPLES;
use hotline_media::recorder::WavFormat;
use hotline_media::rtc::{self, IceCredentials, RtcParams};
use hotline_media::{Codec, LegId, LegParams, codec, dtmf, repair, rtcp, rtp};

use super::common::{Sim, addr, params};

/// Steps of one run: longer inputs only repeat what shorter ones do.
const STEPS_MAX: usize = 400;

/// Reads the input in pieces.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// A length, then so many bytes, or what is left.
    fn piece(&mut self) -> Option<&'a [u8]> {
        let len = usize::from(self.byte()?);
        let (piece, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        Some(piece)
    }
}

/// A bridged, recorded call under any datagrams, from anybody, at any time, with orders in between:
/// nothing goes to a third party, the recording has the length of the call, nothing is left
pub fn engine(data: &[u8]) {
    let mut sim = Sim::new();
    let (a, b) = (sim.leg(1, "10.0.0.1:4000", Codec::Pcma), sim.leg(2, "10.0.0.2:4000", Codec::Pcmu));
    sim.command(Command::Bridge { a, b });
    sim.record(a, 3_600_000);
    let mut bytes = Bytes(data);
    for _ in 0..STEPS_MAX {
        if step(&mut sim, &mut bytes, a, b).is_none() {
            break;
        }
    }
    let lasted = sim.ms();
    for leg in [a, b] {
        sim.command(Command::CloseLeg { leg });
    }
    assert_eq!(sim.finished.len(), 1, "one recording");
    let (finish, frames) = &sim.finished[0];
    assert_eq!(finish.duration_ms(), lasted, "as long as the call");
    assert_eq!(frames.len() as u64, lasted * 8);
    let peers = [addr("10.0.0.1:0").ip(), addr("10.0.0.2:0").ip()];
    assert!(sim.sent.iter().all(|sent| peers.contains(&sent.to.ip())), "to nobody else");
    let totals = sim.engine.totals();
    assert_eq!((totals.legs, totals.recordings, totals.output_overflow), (0, 0, 0));
}

fn step(sim: &mut Sim, bytes: &mut Bytes<'_>, a: LegId, b: LegId) -> Option<()> {
    let op = bytes.byte()?;
    let leg = if op & 0x80 == 0 { a } else { b };
    let own = if leg == a { "10.0.0.1:4000" } else { "10.0.0.2:4000" };
    let other_port = if leg == a { "10.0.0.1:4002" } else { "10.0.0.2:4001" };
    let source = addr([own, other_port, "198.51.100.7:4000", "10.0.0.9:5"][usize::from(op >> 5 & 3)]);
    match op & 0x0F {
        0 => sim.rtp(leg, source, bytes.piece()?),
        1 => sim.rtcp(leg, source, bytes.piece()?),
        2..=4 => packet(sim, leg, source, bytes)?,
        5 | 6 => {
            let until = sim.ms() + u64::from(bytes.byte()?);
            sim.advance_to(until);
        }
        7 => {
            let until = sim.ms() + u64::from(bytes.byte()?) * 40;
            sim.stall_to(until);
        }
        8 => {
            let way = bytes.byte()?;
            let held = LegParams { send: way & 1 == 0, recv: way & 2 == 0, ..params(own, Codec::Pcma) };
            sim.command(Command::Configure { leg, params: held });
        }
        9 => sim.play(leg, u64::from(op), vec![900; usize::from(bytes.byte()?) * 10], op & 0x40 != 0),
        10 => sim.command(Command::StopPlay { leg }),
        11 => {
            let digit = char::from(bytes.byte()?);
            sim.command(Command::SendDigit { leg, digit, ms: 80 });
        }
        12 => sim.command(Command::PauseRecord { leg, paused: op & 0x40 == 0 }),
        13 => sim.command(Command::Unbridge { leg }),
        _ => sim.command(Command::Bridge { a, b }),
    }
    Some(())
}

/// A well-formed packet of any kind: most random bytes are none.
fn packet(sim: &mut Sim, leg: LegId, source: std::net::SocketAddr, bytes: &mut Bytes<'_>) -> Option<()> {
    let (kind, seq, ticks, len) = (bytes.byte()?, bytes.byte()?, bytes.byte()?, bytes.byte()?);
    let header = rtp::Header {
        marker: kind & 0x80 != 0,
        payload_type: [8, 0, 101, 13, 18, 8, 8, 8][usize::from(kind & 7)],
        seq: u16::from(seq).wrapping_mul(if kind & 8 == 0 { 1 } else { 257 }),
        timestamp: u32::from(ticks).wrapping_mul(if kind & 16 == 0 { 160 } else { 0x0101_0101 }),
        ssrc: u32::from(kind >> 5 & 1),
    };
    let mut datagram = Vec::new();
    header.write(&mut datagram);
    if header.payload_type == 101 {
        datagram.extend_from_slice(&[seq, ticks, len, kind]);
    } else {
        datagram.extend((0..usize::from(len)).map(|n| (n as u8) ^ kind));
    }
    sim.rtp(leg, source, &datagram);
    Some(())
}

/// A report is refused or read within the limits
pub fn rtcp(data: &[u8]) {
    if let Ok(packets) = rtcp::parse(data) {
        assert!(packets.len() <= hotline_media::limits::RTCP_PACKETS_MAX);
        for packet in &packets {
            let _ = packet.sender();
        }
    }
}

/// Whatever a crash left of a file, repair makes a whole one of it, once
pub fn wav(data: &[u8]) {
    for format in [WavFormat::Pcm16, WavFormat::Alaw] {
        repaired(data, format);
    }
}

fn repaired(data: &[u8], format: WavFormat) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("x.wav.part"), data).expect("a file");
    let results = repair(folder.path(), format);
    assert_eq!(results.len(), 1);
    if let Ok(repaired) = &results[0] {
        let whole = fs::read(folder.path().join("x.wav")).expect("the final file");
        assert_eq!(whole.len() as u64, repaired.bytes);
        assert!(whole.starts_with(b"RIFF") && &whole[8..12] == b"WAVE", "a WAV file");
        let says = u32::from_le_bytes([whole[4], whole[5], whole[6], whole[7]]);
        assert_eq!(says as usize + 8, whole.len(), "of the length it says");
        assert!(repair(folder.path(), format).is_empty(), "and nothing is left to do");
    }
}

/// Any key events in any order: never more digits than packets, and each packet makes at most two
pub fn dtmf(data: &[u8]) {
    let mut receiver = dtmf::Receiver::default();
    let mut now = start();
    let (mut packets, mut digits) = (0, 0);
    for chunk in data.chunks(7).take(STEPS_MAX) {
        now += Duration::from_millis(u64::from(chunk[0]));
        digits += usize::from(receiver.handle_timeout(now).is_some());
        let timestamp = u32::from(*chunk.get(1).unwrap_or(&0)) * 160;
        let ssrc = u32::from(chunk.get(2).unwrap_or(&0) & 1);
        digits += receiver.receive(now, ssrc, timestamp, chunk.get(3..).unwrap_or(&[])).iter().flatten().count();
        packets += 1;
    }
    digits += usize::from(receiver.flush().is_some());
    assert!(digits <= packets, "{digits} digits of {packets} packets");
}

struct Alaw;

impl Decode for Alaw {
    fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) {
        codec::decode_into(Codec::Pcma, payload, out);
    }
}

/// Any stream: a frame whenever one is asked for, and every packet is accounted for
pub fn jitter(data: &[u8]) {
    let mut buffer = JitterBuffer::new();
    let mut frame = [0; FRAME_SAMPLES];
    let mut now = start();
    let mut bytes = Bytes(data);
    let mut taken = 0;
    for _ in 0..STEPS_MAX {
        let Some(op) = bytes.byte() else { break };
        if op & 1 == 0 {
            now += Duration::from_millis(20 + u64::from(op >> 6) * 7);
            let _ = buffer.next_frame(now, &mut Alaw, &mut frame);
            continue;
        }
        let (Some(seq), Some(ticks), Some(payload)) = (bytes.byte(), bytes.byte(), bytes.piece()) else { break };
        let packet = JitterPacket {
            ssrc: u32::from(op >> 1 & 1),
            seq: u16::from(seq).wrapping_mul(if op & 4 == 0 { 1 } else { 257 }),
            timestamp: u32::from(ticks).wrapping_mul(if op & 8 == 0 { 160 } else { 0x0101_0101 }),
            clock_hz: if op & 16 == 0 { 8000 } else { 48_000 },
            marker: op & 32 != 0,
            payload,
        };
        buffer.insert(now, packet);
        taken += 1;
    }
    let stats = buffer.stats();
    assert!(stats.late + stats.duplicates + stats.overflow <= taken, "{stats:?}");
    assert!(stats.target_ms <= 1000, "{stats:?}");
}

#[allow(clippy::disallowed_methods)] // some instant to begin at
fn start() -> Instant {
    Instant::now()
}

/// Any datagrams on a browser's leg, authentic checks among them: nothing goes to an address that has not
/// answered with the password, and no media anywhere, for there are no keys
pub fn stun(data: &[u8]) {
    let own = IceCredentials { ufrag: "ours".into(), pwd: "secret".into() };
    let (checked, stranger) = (addr("10.0.0.7:50000"), addr("198.51.100.7:4000"));
    if let Ok(taken) = rtc::check(data, stranger, &own, "theirs") {
        assert!(taken.bytes.len() <= 256, "an answer is no amplifier");
    }
    let mut sim = Sim::new();
    let leg = LegId(7);
    assert!(sim.engine.open_leg(sim.now, leg));
    let params = RtcParams {
        local: std::sync::Arc::new(own),
        remote_ufrag: "theirs".into(),
        fingerprint: rtc::Fingerprint([1; 32]),
        is_client: false,
    };
    let params = LegParams { rtc: Some(std::sync::Arc::new(params)), ..params_of("0.0.0.0:9") };
    sim.command(Command::Configure { leg, params });
    let mut bytes = Bytes(data);
    for n in 0..STEPS_MAX {
        let Some(op) = bytes.byte() else { break };
        let from = if op & 1 == 0 { checked } else { stranger };
        if op & 2 == 0 {
            let Some(piece) = bytes.piece() else { break };
            sim.rtp(leg, from, piece);
        } else {
            let transaction = [n as u8; 12];
            sim.rtp(leg, checked, &rtc::request(transaction, "ours:theirs", "secret", op & 4 == 0));
        }
    }
    let foreign = sim.sent.iter().filter(|sent| sent.to != checked).count();
    assert_eq!(foreign, 0, "to nobody who has not proven himself");
    sim.command(Command::CloseLeg { leg });
    assert_eq!(sim.engine.totals().legs, 0);
}

fn params_of(remote: &str) -> LegParams {
    params(remote, Codec::Pcma)
}

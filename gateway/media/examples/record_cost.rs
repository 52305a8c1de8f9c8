//! What placing and handing out a recorded packet costs: `cargo run --release -p hotline-media --example
//! record_cost`.
//!
//! Prints nanoseconds a packet of 20 ms, blocks handed out included, the best of several rounds of a minute,
//! beside the obvious way: decode sample by sample into interleaved stereo frames, and copy these out.
#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a measurement reads the clock and prints")]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use hotline_media::{
    Codec, RecordingId,
    codec::decode_into,
    recorder::{Audio, BlockPool, Channel, Origin, Packet, Recording, RecordingKey, RecordingSpec, Stamp, WavFormat},
};

const ROUNDS: usize = 15;
/// A minute of both directions.
const PACKETS: u32 = 6000;
/// Frames of the obvious ring.
const RING: usize = 8192;

/// Nanoseconds a packet of a recording in `format`.
fn placed(format: WavFormat, codec: Codec) -> f64 {
    let pool = BlockPool::new(1);
    let payload = [0x8E; 160];
    let start = Instant::now();
    let (key, rec) = (RecordingKey(1), RecordingId(String::new()));
    let spec = RecordingSpec { key, rec, path: "a.wav".into(), max_ms: 3_600_000, format };
    let mut recording = Recording::new(spec, start);
    let begun = Instant::now();
    for n in 0..PACKETS {
        let now = start + Duration::from_millis(u64::from(n / 2 + 1) * 20);
        let (channel, timestamp) = (if n % 2 == 0 { Channel::Received } else { Channel::Sent }, n / 2 * 160);
        let stamp =
            Stamp { ssrc: n % 2, timestamp, clock_hz: 8000, marker: false, in_order: true, origin: Origin::Peer };
        let packet = Packet { channel, stamp, audio: Audio::G711 { codec, payload: black_box(&payload) } };
        black_box(recording.place(now, &packet));
        if n % 5 == 0 {
            recording.flush(now, &pool, |write| drop(black_box(write)));
        }
    }
    begun.elapsed().as_nanos() as f64 / f64::from(PACKETS)
}

/// The same with neither timestamps nor clock: only the work on samples.
fn obvious() -> f64 {
    let payload = [0x8E; 160];
    let mut ring = vec![[0i16; 2]; RING];
    let (mut decoded, mut block) = (Vec::with_capacity(160), vec![0u8; 4 * 2000]);
    let begun = Instant::now();
    for n in 0..PACKETS {
        decoded.clear();
        decode_into(Codec::Pcma, black_box(&payload), &mut decoded);
        let at = (n / 2) as usize * 160;
        for (i, sample) in decoded.iter().enumerate() {
            ring[(at + i) % RING][n as usize % 2] = *sample;
        }
        if n % 25 == 0 {
            for (i, out) in block.chunks_exact_mut(4).enumerate() {
                let [left, right] = ring[(at + i) % RING];
                out[..2].copy_from_slice(&left.to_le_bytes());
                out[2..].copy_from_slice(&right.to_le_bytes());
            }
            black_box(&block);
        }
    }
    begun.elapsed().as_nanos() as f64 / f64::from(PACKETS)
}

fn main() {
    let mut best = [f64::INFINITY; 5];
    for _ in 0..ROUNDS {
        let round = [
            obvious(),
            placed(WavFormat::Pcm16, Codec::Pcma),
            placed(WavFormat::Pcm16, Codec::Pcmu),
            placed(WavFormat::Alaw, Codec::Pcma),
            placed(WavFormat::Alaw, Codec::Pcmu),
        ];
        for (best, now) in best.iter_mut().zip(round) {
            *best = best.min(now);
        }
    }
    let names = ["frame by frame", "pcm16 of A-law", "pcm16 of µ-law", "alaw of A-law", "alaw of µ-law"];
    for (name, ns) in names.iter().zip(best) {
        println!("{name:<16} {ns:>7.1} ns a packet, {:.2} of frame by frame", ns / best[0]);
    }
}

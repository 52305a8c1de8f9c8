//! What mixing costs: `cargo run --release -p hotline-media --example mix_cost`.
//!
//! Prints microseconds of CPU per leg-minute in the core alone (no sockets), beside a plain bridge,
//! the best of several rounds of one simulated minute.
#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a measurement reads the clock and prints")]

use std::{
    hint::black_box,
    net::SocketAddr,
    time::{Duration, Instant},
};

use hotline_media::{
    Codec, LegId, LegParams, XrWish,
    codec::Encoder,
    engine::{Command, Engine, EngineConfig, Input, MixRow},
    latch::Trust,
    recorder::{BlockPool, WavFormat},
    rtp::Header,
};

const ROUNDS: usize = 5;
const SECONDS: u32 = 60;

fn address(leg: u64) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, leg as u8], 4000))
}

/// Engine with the legs open, and a second of packets of each leg's coding.
fn engine(codecs: &[Codec], start: Instant) -> (Engine, Vec<Vec<Vec<u8>>>) {
    let pool = BlockPool::new(32);
    let config = EngineConfig {
        legs_max: 64,
        rtp_silence_ms: 60_000,
        seed: 1,
        unix_ms: 0,
        rtcp_xr: false,
        agc: false,
        format: WavFormat::default(),
        pool,
    };
    let mut engine = Engine::new(config, start);
    for (n, &codec) in (1u64..).zip(codecs) {
        engine.open_leg(start, LegId(n));
        let params = LegParams {
            remote: address(n),
            remote_rtcp: None,
            codec,
            payload_type: codec.static_payload_type(),
            dtmf_pt: Some(101),
            dtmf_clock_hz: codec.rtp_clock_hz(),
            others: hotline_media::OtherFormats::default(),
            inband_dtmf: false,
            trust: Trust::new(true, []),
            send: true,
            recv: true,
            srtp: None,
            rtc: None,
            xr: XrWish::default(),
        };
        engine.handle_input(start, Input::Command(Command::Configure { leg: LegId(n), params }));
    }
    let payloads = codecs.iter().map(|&codec| {
        let mut encoder = Encoder::new(codec);
        let payload = |frame: usize| {
            let samples = std::array::from_fn(|n| (((frame * 160 + n) as f64 * 0.4).sin() * 6000.0) as i16);
            let mut payload = Vec::new();
            encoder.encode(&samples, &mut payload);
            payload
        };
        (0..50).map(payload).collect()
    });
    (engine, payloads.collect())
}

/// Microseconds of one leg-minute.
fn minute(codecs: &[Codec], connect: &Command) -> u128 {
    let start = Instant::now();
    let (mut engine, payloads) = engine(codecs, start);
    engine.handle_input(start, Input::Command(connect.clone()));
    let (mut bytes, mut sent) = (Vec::new(), 0u64);
    let begun = Instant::now();
    for frame in 0..SECONDS * 50 {
        for (n, &codec) in codecs.iter().enumerate() {
            let now = start + Duration::from_millis(u64::from(frame) * 20 + n as u64 * 5);
            engine.handle_timeout(now);
            bytes.clear();
            let timestamp = frame.wrapping_mul(codec.rtp_clock_hz() / 50);
            let payload_type = codec.static_payload_type();
            Header { marker: false, payload_type, seq: frame as u16, timestamp, ssrc: n as u32 + 1 }.write(&mut bytes);
            bytes.extend_from_slice(&payloads[n][frame as usize % 50]);
            let leg = LegId(n as u64 + 1);
            engine.handle_input(now, Input::Rtp { leg, from: address(leg.0), bytes: &bytes });
            while let Some(output) = engine.poll_output() {
                black_box(output);
                sent += 1;
            }
        }
    }
    assert!(sent > u64::from(SECONDS) * 49 * codecs.len() as u64, "packets were sent");
    begun.elapsed().as_micros() / codecs.len() as u128
}

fn main() {
    use Codec::{G722, Opus, Pcma};
    let bridge = Command::Bridge { a: LegId(1), b: LegId(2) };
    let all = |count: u64| {
        let rows =
            (1..=count).map(|n| MixRow { leg: LegId(n), hears: (1..=count).filter(|m| *m != n).map(LegId).collect() });
        Command::Mix { rows: rows.collect() }
    };
    let listen = {
        let [a, b, c] = [1, 2, 3].map(LegId);
        let row = |leg, hears: &[LegId]| MixRow { leg, hears: hears.to_vec() };
        Command::Mix { rows: vec![row(a, &[b]), row(b, &[a]), row(c, &[a, b])] }
    };
    let cases: [(&str, &[Codec], &Command); 7] = [
        ("bridge, A-law", &[Pcma; 2], &bridge),
        ("bridge listened to", &[Pcma; 3], &listen),
        ("three-way, A-law", &[Pcma; 3], &all(3)),
        ("eight, A-law", &[Pcma; 8], &all(8)),
        ("A-law to G.722", &[Pcma, G722], &bridge),
        ("A-law to Opus", &[Pcma, Opus], &bridge),
        ("three-way, one of each", &[Pcma, G722, Opus], &all(3)),
    ];
    let mut plain = 0;
    for (what, codecs, connect) in cases {
        let best = (0..ROUNDS).map(|_| minute(codecs, connect)).min().unwrap_or(0);
        if plain == 0 {
            plain = best.max(1);
        }
        println!("{what:<24} {best:>8} µs per leg-minute, {:>6.1} times a plain bridge", best as f64 / plain as f64);
    }
}

//! What encryption costs: `cargo run --release -p hotline-media --example srtp_cost`.
//!
//! Prints nanoseconds per packet of 20 ms of G.711 for sending, receiving and refusing, beside
//! copying the same packet, the best of several rounds.
#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a measurement reads the clock and prints")]

use std::{hint::black_box, time::Instant};

use hotline_media::{
    rtp::Header,
    srtp::{MasterKey, Protector, SrtpError, Suite, Unprotector},
};

const PACKETS: u32 = 100_000;
const ROUNDS: usize = 5;

fn packet(seq: u16) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(200);
    Header { marker: false, payload_type: 8, seq, timestamp: u32::from(seq) * 160, ssrc: 7 }.write(&mut bytes);
    bytes.resize(172, 0xD5);
    bytes
}

fn best(what: &str, mut round: impl FnMut() -> Result<(), SrtpError>) -> Result<(), SrtpError> {
    let mut best_ns = u128::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        round()?;
        best_ns = best_ns.min(start.elapsed().as_nanos());
    }
    println!("{what:<12} {:>6} ns a packet", best_ns / u128::from(PACKETS));
    Ok(())
}

fn main() -> Result<(), SrtpError> {
    let key = MasterKey::new(std::array::from_fn(|n| n as u8));
    let mut buffer = packet(0);
    best("copy", || {
        for _ in 0..PACKETS {
            let bytes = black_box(packet(1));
            buffer.clear();
            buffer.extend_from_slice(&bytes);
        }
        Ok(())
    })?;
    for suite in Suite::SDES {
        println!("{}", suite.name());
        let sealed: Vec<Vec<u8>> = {
            let mut protector = Protector::new(suite, &key);
            let seal = |n: u32| {
                let mut bytes = packet(n as u16);
                protector.protect_rtp(&mut bytes, 0).map(|()| bytes)
            };
            (0..PACKETS).map(seal).collect::<Result<_, _>>()?
        };
        best("protect", || {
            let mut protector = Protector::new(suite, &key);
            (0..PACKETS).try_for_each(|n| {
                let mut bytes = black_box(packet(n as u16));
                protector.protect_rtp(&mut bytes, 0)
            })
        })?;
        best("unprotect", || {
            let mut unprotector = Unprotector::new(suite, &key);
            sealed.iter().try_for_each(|sealed| {
                buffer.clear();
                buffer.extend_from_slice(sealed);
                unprotector.unprotect_rtp(&mut buffer).map(drop)
            })
        })?;
        best("forged", || {
            let mut unprotector = Unprotector::new(suite, &MasterKey::new([1; 30]));
            for sealed in &sealed {
                buffer.clear();
                buffer.extend_from_slice(sealed);
                let _ = black_box(unprotector.unprotect_rtp(&mut buffer));
            }
            Ok(())
        })?;
    }
    Ok(())
}

//! Whatever a peer calls G.722 or Opus, decoders neither panic nor give more than a packet's worth.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]
mod common;

use common::Lcg;
use hotline_media::{
    Codec,
    codec::{Decoder, Encoder},
    limits::RTP_PAYLOAD_LEN_MAX,
};

#[test]
fn random_and_damaged_payloads_are_borne() {
    let mut random = Lcg(4);
    for codec in Codec::ALL {
        let (mut decoder, mut encoder) = (Decoder::new(codec), Encoder::new(codec));
        let (mut out, mut good) = (Vec::new(), Vec::new());
        for round in 0..3000 {
            let frame = std::array::from_fn(|_| random.next() as i16);
            good.clear();
            encoder.encode(&frame, &mut good);
            let payload: Vec<u8> = match round % 3 {
                0 => (0..random.below(300)).map(|_| random.next() as u8).collect(),
                1 => {
                    let mut damaged = good.clone();
                    for _ in 0..1 + random.below(4) {
                        let at = random.below(damaged.len() as u32) as usize;
                        damaged[at] = random.next() as u8;
                    }
                    damaged.truncate(1 + random.below(damaged.len() as u32) as usize);
                    damaged
                }
                _ => good.clone(),
            };
            out.clear();
            decoder.decode(&payload, &mut out);
            assert!(out.len() <= RTP_PAYLOAD_LEN_MAX, "{codec:?} gave {} samples", out.len());
            let mut gap = [0; 160];
            assert_eq!(decoder.conceal(&mut gap), codec == Codec::Opus);
            assert!(!decoder.recover(&payload, &mut gap) || codec == Codec::Opus);
        }
        let longest = vec![0xFF; RTP_PAYLOAD_LEN_MAX];
        out.clear();
        decoder.decode(&longest, &mut out);
        assert!(out.len() <= RTP_PAYLOAD_LEN_MAX, "{codec:?}");
        out.clear();
        decoder.decode(&[], &mut out);
        assert!(out.is_empty(), "{codec:?}");
    }
}

#[test]
fn concealment_takes_only_lengths_the_codec_has() {
    let mut decoder = Decoder::new(Codec::Opus);
    for len in [0, 1, 159, 961, 980, 5000] {
        let mut gap = vec![7; len];
        assert!(!decoder.conceal(&mut gap), "{len}");
        assert!(gap.iter().all(|&sample| sample == 7), "{len}");
    }
}

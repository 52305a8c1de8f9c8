//! Hostile bytes on every entrance: errors or nothing, never a panic, never a leak.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]
mod common;

use common::*;
use hotline_media::{
    Codec,
    engine::Command,
    sdp::{self, LocalAudio, LocalKeys, Security},
};

const SEEDS: [&str; 4] = [
    "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n",
    "v=0\nc=IN IP6 2001:db8::1\na=inactive\nm=video 5 RTP/AVP 96\nm=audio 4000/2 RTP/AVP 97 8\na=rtpmap:97 opus/48000/2\na=rtcp:9 IN IP6 ::1\na=rtcp-mux\nc=IN IP4 0.0.0.0\n",
    "v=0\r\nm=audio 65535 RTP/AVP 127 0\r\nc=IN IP4 224.0.0.1/127\r\na=ptime:4294967295\r\na=rtpmap:127 telephone-event/8000\r\n",
    "v=0\r\nc=IN IP4 10.0.0.1\r\nm=audio 4 RTP/SAVP 8\r\na=crypto:1 AES_CM_128_HMAC_SHA1_32 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20 KDR=0\r\nm=audio 6 RTP/AVP 8\r\n",
];

#[test]
fn mutated_and_truncated_sdp_never_panics_and_answers_stay_well_formed() {
    let keys = LocalKeys::generate(|key| {
        key.fill(9);
        Ok::<(), ()>(())
    });
    let security = Security::Preferred(keys.unwrap());
    let local = LocalAudio { security, ..LocalAudio::new(addr("192.0.2.1:30000"), 1) };
    let mut lcg = Lcg(11);
    let mut answered = 0;
    for round in 0..30_000u32 {
        let mut bytes = SEEDS[round as usize % 4].as_bytes().to_vec();
        for _ in 0..lcg.below(4) {
            if bytes.is_empty() {
                break;
            }
            let at = lcg.below(bytes.len() as u32) as usize;
            match lcg.below(4) {
                0 => bytes[at] = lcg.next() as u8,
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, b"=:/ \r\n09"[lcg.below(8) as usize]),
                _ => bytes.truncate(at.max(1)),
            }
        }
        let Ok(offer) = sdp::parse(&bytes) else {
            continue;
        };
        let _ = sdp::accept_answer(&offer, &local);
        let again = sdp::parse(&sdp::reoffer(&local, &offer)).unwrap();
        assert!(again.media.len() >= offer.media.len());
        let Ok(negotiated) = sdp::answer(&offer, &local) else {
            continue;
        };
        answered += 1;
        let answer = sdp::parse(&negotiated.sdp).unwrap();
        assert_eq!(answer.media.len(), offer.media.len());
        assert_eq!(answer.media.iter().filter(|media| media.port != 0).count(), 1);
    }
    assert!(answered > 5000, "{answered}");
}

#[test]
fn hostile_packets_do_no_harm_to_a_call() {
    let mut sim = Sim::new();
    let a = sim.leg(1, "10.0.0.1:4000", Codec::Pcma);
    let b = sim.leg(2, "10.0.0.2:4000", Codec::Pcmu);
    sim.command(Command::Bridge { a, b });
    sim.record(a, 600_000);
    let mut phone = Phone::new("10.0.0.1:4000", Codec::Pcma, 440.0);
    let mut lcg = Lcg(5);
    for n in 0..20_000u64 {
        sim.advance_to(n * 3);
        let mut packet = phone.packet();
        for _ in 0..=lcg.below(3) {
            let at = lcg.below(24) as usize;
            packet[at] = lcg.next() as u8;
        }
        if lcg.below(4) == 0 {
            packet.truncate(lcg.below(172) as usize);
        }
        sim.rtp(a, phone.address, &packet);
        sim.rtcp(a, phone.address, &packet);
        sim.sent.clear();
    }
    sim.advance_to(60_000);
    sim.command(Command::StopRecord { leg: a });
    assert_eq!(sim.finished[0].0.duration_ms(), 60_000);
    assert_eq!(sim.finished[0].0.gaps_ms, 0);
    assert!(sim.engine.totals().malformed > 1000);
}

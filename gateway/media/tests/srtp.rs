//! SRTP: what one side protects the other takes, once and unchanged, and nothing else.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]
mod common;

use common::Lcg;
use hotline_media::{
    rtp::Header,
    srtp::{MasterKey, Protector, SrtpError, Suite, Unprotector},
};

fn key(byte: u8) -> MasterKey {
    MasterKey::new(std::array::from_fn(|n| byte.wrapping_mul(31).wrapping_add(n as u8)))
}

fn pair(suite: Suite) -> (Protector, Unprotector) {
    (Protector::new(suite, &key(1)), Unprotector::new(suite, &key(1)))
}

fn plain(ssrc: u32, seq: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    Header { marker: false, payload_type: 8, seq, timestamp: u32::from(seq) * 160, ssrc }.write(&mut bytes);
    bytes.extend((0..160u32).map(|n| (n + u32::from(seq)) as u8));
    bytes
}

fn protect(protector: &mut Protector, ssrc: u32, seq: u16) -> Vec<u8> {
    let mut bytes = plain(ssrc, seq);
    protector.protect_rtp(&mut bytes, 0).unwrap();
    bytes
}

fn take(unprotector: &mut Unprotector, bytes: &[u8]) -> Result<Vec<u8>, SrtpError> {
    let mut bytes = bytes.to_vec();
    let before = bytes.clone();
    match unprotector.unprotect_rtp(&mut bytes) {
        Ok(len) => Ok(bytes[..len].to_vec()),
        Err(error) => {
            assert_eq!(bytes, before, "a refused packet is left alone");
            Err(error)
        }
    }
}

fn report(ssrc: u32, salt: u8) -> Vec<u8> {
    let mut bytes = vec![0x80, 201, 0, 1];
    bytes.extend_from_slice(&ssrc.to_be_bytes());
    bytes.extend_from_slice(&[0x81, 202, 0, 2]);
    bytes.extend_from_slice(&ssrc.to_be_bytes());
    bytes.extend_from_slice(&[1, 2, salt, b'x']);
    bytes
}

#[test]
fn packets_come_out_as_they_went_in_with_any_tag() {
    for (suite, tag_len) in [(Suite::Sha1Tag80, 10), (Suite::Sha1Tag32, 4), (Suite::Gcm128, 16), (Suite::Gcm256, 16)] {
        let (mut protector, mut unprotector) = pair(suite);
        let before = plain(7, 1);
        let sent = protect(&mut protector, 7, 1);
        assert_eq!(sent.len(), before.len() + tag_len);
        assert_eq!(sent[..12], before[..12], "the header stays readable");
        assert_ne!(sent[12..172], before[12..]);
        assert_eq!(take(&mut unprotector, &sent).unwrap(), before);

        let mut with_extension = vec![0x92, 8, 0, 2, 0, 0, 0, 9, 0, 0, 0, 7, 1, 1, 1, 1, 2, 2, 2, 2];
        with_extension.extend_from_slice(&[0xBE, 0xDE, 0, 1, 3, 3, 3, 3, b'p', b'a', b'y']);
        let mut sent = vec![0xEE; 5];
        sent.extend_from_slice(&with_extension);
        protector.protect_rtp(&mut sent, 5).unwrap();
        assert_eq!(sent[..5], [0xEE; 5], "what stands before the packet isn't touched");
        assert_eq!(sent[5..33], with_extension[..28]);
        assert_ne!(sent[33..36], *b"pay");
        assert_eq!(take(&mut unprotector, &sent[5..]).unwrap(), with_extension);
    }
}

#[test]
fn loss_and_reordering_over_the_wrap_keep_the_roll_over_count() {
    let (mut protector, mut unprotector) = pair(Suite::Sha1Tag80);
    let mut lcg = Lcg(3);
    let mut waiting: Vec<Vec<u8>> = Vec::new();
    let (mut taken, mut lost) = (0, 0);
    for n in 0..200_000u32 {
        let sent = protect(&mut protector, 7, (40_000 + n) as u16);
        if lcg.below(10) == 0 {
            lost += 1;
            continue;
        }
        waiting.push(sent);
        if waiting.len() > 12 {
            let bytes = waiting.swap_remove(lcg.below(12) as usize);
            let seq = u16::from_be_bytes([bytes[2], bytes[3]]);
            // A packet may rest here so long that it leaves the window.
            match take(&mut unprotector, &bytes) {
                Ok(packet) => {
                    assert_eq!(packet, plain(7, seq));
                    taken += 1;
                }
                Err(error) => assert_eq!(error, SrtpError::TooOld),
            }
        }
    }
    assert!(lost > 15_000 && taken > 179_000 - 2_500, "{taken} taken, {lost} lost");
}

#[test]
fn a_packet_passes_once() {
    let (mut protector, mut unprotector) = pair(Suite::Sha1Tag32);
    let old: Vec<Vec<u8>> = (0..300).map(|seq| protect(&mut protector, 7, seq)).collect();
    for bytes in &old {
        take(&mut unprotector, bytes).unwrap();
    }
    for (seq, bytes) in old.iter().enumerate() {
        let expected = if seq + 128 > 299 { SrtpError::Replayed } else { SrtpError::TooOld };
        assert_eq!(take(&mut unprotector, bytes), Err(expected), "packet {seq}");
    }
}

#[test]
fn any_changed_bit_and_any_other_key_is_refused_and_changes_nothing() {
    let (mut protector, mut unprotector) = pair(Suite::Sha1Tag80);
    let sent = protect(&mut protector, 7, 100);
    for bit in 0..sent.len() * 8 {
        let mut forged = sent.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        assert!(take(&mut unprotector, &forged).is_err(), "bit {bit}");
    }
    for len in 0..sent.len() {
        assert!(take(&mut unprotector, &sent[..len]).is_err(), "{len} bytes");
    }
    let mut stranger = Protector::new(Suite::Sha1Tag80, &key(2));
    let forged = protect(&mut stranger, 7, 20_000);
    assert_eq!(take(&mut unprotector, &forged), Err(SrtpError::Unauthentic));
    assert!(take(&mut unprotector, &sent).is_ok(), "forgeries have moved no window");
    assert_eq!(take(&mut unprotector, &forged), Err(SrtpError::Unauthentic));
    assert!(take(&mut unprotector, &protect(&mut protector, 7, 101)).is_ok());
}

#[test]
fn the_same_number_is_never_protected_twice() {
    let (mut protector, _) = pair(Suite::Sha1Tag80);
    protect(&mut protector, 7, 100);
    let mut again = plain(7, 100);
    assert_eq!(protector.protect_rtp(&mut again, 0), Err(SrtpError::Replayed));
    assert_eq!(again, plain(7, 100), "nothing was written");
    assert_eq!(protector.protect_rtp(&mut plain(8, 101), 0), Err(SrtpError::OtherStream));
    assert_eq!(protector.protect_rtp(&mut vec![0x80; 11], 0), Err(SrtpError::Malformed));
    assert_eq!(protector.protect_rtp(&mut Vec::new(), 3), Err(SrtpError::Malformed));
}

#[test]
fn reports_are_encrypted_counted_and_taken_once() {
    let (mut protector, mut unprotector) = pair(Suite::Sha1Tag32);
    for n in 0..20u8 {
        let before = report(7, n);
        let mut sent = before.clone();
        protector.protect_rtcp(&mut sent, 0).unwrap();
        assert_eq!(sent.len(), before.len() + 4 + 10, "SRTCP has the long tag in both suites");
        assert_eq!(sent[..8], before[..8]);
        assert_ne!(sent[8..before.len()], before[8..]);
        assert_eq!(sent[before.len()..before.len() + 4], (0x8000_0000 | u32::from(n)).to_be_bytes());
        for bit in 0..sent.len() * 8 {
            let mut forged = sent.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(unprotector.unprotect_rtcp(&mut forged).is_err(), "bit {bit}");
        }
        let mut received = sent.clone();
        let len = unprotector.unprotect_rtcp(&mut received).unwrap();
        assert_eq!(received[..len], before);
        assert_eq!(unprotector.unprotect_rtcp(&mut sent), Err(SrtpError::Replayed));
    }
    for len in 0..30 {
        assert!(unprotector.unprotect_rtcp(&mut vec![0x80; len]).is_err());
    }
}

#[test]
fn a_new_key_goes_on_counting_and_takes_a_peer_that_begins_again() {
    let round = |protector: &mut Protector, unprotector: &mut Unprotector, from: u32, to: u32| {
        for n in from..to {
            let bytes = protect(protector, 7, n as u16);
            take(unprotector, &bytes).unwrap();
        }
    };
    let (mut protector, mut unprotector) = pair(Suite::Sha1Tag80);
    round(&mut protector, &mut unprotector, 65_000, 66_000);
    let old = protect(&mut protector, 7, 500);
    protector.rekey(Suite::Sha1Tag32, &key(2));
    unprotector.rekey(Suite::Sha1Tag32, &key(2));
    assert_eq!(take(&mut unprotector, &old), Err(SrtpError::Unauthentic), "the old key is over");
    round(&mut protector, &mut unprotector, 66_100, 66_200);

    let mut fresh = Protector::new(Suite::Sha1Tag80, &key(3));
    unprotector.rekey(Suite::Sha1Tag80, &key(3));
    round(&mut fresh, &mut unprotector, 700, 800);
    let replayed = {
        let mut again = Protector::new(Suite::Sha1Tag80, &key(3));
        protect(&mut again, 7, 750)
    };
    assert_eq!(take(&mut unprotector, &replayed), Err(SrtpError::Replayed));
}

#[test]
fn a_stream_that_wrapped_before_its_first_packet_got_through_is_taken() {
    let (mut protector, mut unprotector) = pair(Suite::Sha1Tag80);
    for seq in 65_500..=65_535 {
        protect(&mut protector, 7, seq);
    }
    for seq in 0..200 {
        take(&mut unprotector, &protect(&mut protector, 7, seq)).unwrap();
    }
}

#[test]
fn a_peer_with_many_streams_is_followed_and_costs_no_more() {
    let mut unprotector = Unprotector::new(Suite::Sha1Tag80, &key(1));
    for ssrc in 0..100 {
        let mut protector = Protector::new(Suite::Sha1Tag80, &key(1));
        let bytes = protect(&mut protector, ssrc, 9);
        take(&mut unprotector, &bytes).unwrap();
        assert_eq!(take(&mut unprotector, &bytes), Err(SrtpError::Replayed));
    }
}

#[test]
fn random_bytes_never_panic_and_never_pass() {
    let mut unprotector = Unprotector::new(Suite::Sha1Tag32, &key(1));
    let mut protector = Protector::new(Suite::Sha1Tag32, &key(1));
    let good = protect(&mut protector, 7, 5);
    let mut lcg = Lcg(17);
    for round in 0..60_000 {
        let mut bytes: Vec<u8> =
            if round % 2 == 0 { (0..lcg.below(200)).map(|_| lcg.next() as u8).collect() } else { good.clone() };
        for _ in 0..=lcg.below(4) {
            if !bytes.is_empty() {
                let at = lcg.below(bytes.len().min(40) as u32) as usize;
                bytes[at] = lcg.next() as u8;
            }
        }
        if bytes == good {
            continue;
        }
        let mut report = bytes.clone();
        assert!(take(&mut unprotector, &bytes).is_err());
        assert!(unprotector.unprotect_rtcp(&mut report).is_err());
        let _ = Protector::new(Suite::Sha1Tag32, &key(1)).protect_rtp(&mut bytes, lcg.below(300) as usize);
        let _ = Protector::new(Suite::Sha1Tag32, &key(1)).protect_rtcp(&mut report, lcg.below(300) as usize);
    }
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

// The keys of RFC 3711 Appendix B.3; the packets were computed apart, with AES of OpenSSL and HMAC of Python.
#[test]
fn whole_packets_are_those_of_another_computation() {
    let master = hex("E1F97A0D3E018BE0D64FA32C06DE41390EC675AD498AFEEBB6960B3AABE6");
    let key = MasterKey::new(master.try_into().unwrap());
    let mut protector = Protector::new(Suite::Sha1Tag80, &key);
    let mut packet = hex("800f1234decafbadcafebabeabababababababababababababababab");
    protector.protect_rtp(&mut packet, 0).unwrap();
    assert_eq!(packet, hex("800f1234decafbadcafebabe4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb"));
    let report = hex("81c8000bcafebabeabababababababababababababababab");
    protector.protect_rtcp(&mut report.clone(), 0).unwrap();
    let mut second = report;
    protector.protect_rtcp(&mut second, 0).unwrap();
    assert_eq!(second, hex("81c8000bcafebabe7128035be487b9bdbef89041f977a5a880000001993e08cd54d6c1230798"));
}

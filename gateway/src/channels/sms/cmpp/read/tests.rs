use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

use super::*;

pub(in super::super) fn deliver_octets(version: Version, content: &[u8]) -> Vec<u8> {
    let long = version == Version::V3;
    let mut body = 0x7000_0000_0000_0001u64.to_be_bytes().to_vec();
    let fixed = |text: &str, len: usize| {
        let mut octets = text.as_bytes().to_vec();
        octets.resize(len, 0);
        octets
    };
    body.extend(fixed("10629100", 21));
    body.extend(fixed("HOTLINE", 10));
    body.extend([0, 0, 8]);
    body.extend(fixed("13812345678", if long { 32 } else { 21 }));
    body.extend(vec![0; usize::from(long)]);
    body.push(0);
    body.push(u8::try_from(content.len()).unwrap());
    body.extend(content);
    body.extend(vec![0; if long { 20 } else { 8 }]);
    body
}

fn framed(command: u32, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len() + 12).unwrap();
    [&len.to_be_bytes()[..], &command.to_be_bytes(), &7u32.to_be_bytes(), body].concat()
}

#[test]
fn half_packets_and_several_at_once_are_read_alike() {
    let stream =
        [framed(8, &[]), framed(5, &deliver_octets(Version::V2, b"hello")), framed(0x8000_0008, &[0])].concat();
    for step in [1, 2, 5, 12, 13, 1_000] {
        let mut framer = Framer::default();
        let mut got = Vec::new();
        for piece in stream.chunks(step) {
            framer.push(piece);
            while let Some(frame) = framer.next_frame().unwrap() {
                got.push(frame.command);
            }
        }
        assert_eq!(got, [8, 5, 0x8000_0008], "in pieces of {step}");
    }
}

#[test]
fn a_hostile_length_is_refused_at_its_fourth_octet() {
    for len in [0u32, 11, 4_097, 0x7FFF_FFFF, u32::MAX] {
        let mut framer = Framer::default();
        framer.push(&len.to_be_bytes());
        assert_eq!(framer.next_frame(), Err(BadLength(len)));
    }
    let mut framer = Framer::default();
    framer.push(&12u32.to_be_bytes());
    assert_eq!(framer.next_frame(), Ok(None));
}

#[test]
fn the_layout_is_chosen_by_the_length_whatever_was_agreed() {
    for agreed in [Version::V2, Version::V3] {
        for version in [Version::V2, Version::V3] {
            for len in [0usize, 1, 24, 32, 140, 158, 195, 255] {
                let content = vec![0xABu8; len];
                let frame = Frame { command: 5, sequence: 1, body: deliver_octets(version, &content) };
                let Ok(Pdu::Deliver(got)) = read(&frame, agreed) else { panic!("{version:?} {len}") };
                assert_eq!((got.version, got.source.reveal().as_str(), got.content), (version, "13812345678", content));
            }
        }
        let resp = |body: Vec<u8>| read(&Frame { command: 0x8000_0004, sequence: 1, body }, agreed);
        assert_eq!(resp([[0; 8].as_slice(), &[8]].concat()), Ok(Pdu::SubmitResp { msg_id: 0, result: 8 }));
        assert_eq!(
            resp([[1; 8].as_slice(), &[0, 0, 0, 9]].concat()).map(|p| matches!(p, Pdu::SubmitResp { result: 9, .. })),
            Ok(true)
        );
        assert_eq!(resp(vec![0; 10]), Err(Unread::Length(0x8000_0004, 10)));
        for (len, status) in [(18, 1), (21, 0x0100_0000)] {
            let mut body = vec![0; len];
            body[0] = 1;
            let got = read(&Frame { command: 0x8000_0001, sequence: 1, body }, agreed);
            assert!(matches!(got, Ok(Pdu::ConnectResp(c)) if c.status == status), "{len}");
        }
    }
}

#[test]
fn reports_are_read_in_both_lengths_and_when_cut() {
    let mut content = 42u64.to_be_bytes().to_vec();
    content.extend(b"DELIVRD2611220430261122043113812345678");
    content.resize(60, 0);
    let want = Report { msg_id: 42, stat: "DELIVRD".into(), done: "2611220431".into() };
    assert_eq!(report(&content), Some(want.clone()));
    content.resize(71, 0);
    assert_eq!(report(&content), Some(want));
    assert_eq!(report(&content[..15]).unwrap().stat, "DELIVRD");
    assert_eq!(report(&content[..14]), None);
    assert_eq!(report(&[0; 60]), None);
}

#[test]
fn ids_with_a_date_are_told_from_counters() {
    let dated = (11u64 << 60) | (22 << 55) | (4 << 50) | (30 << 44) | (59 << 38) | (1 << 16) | 7;
    assert!(is_dated(dated));
    for id in [0, 1, 4_711, u64::MAX, 13 << 60 | 1 << 55, u64::from(u32::MAX)] {
        assert!(!is_dated(id), "{id:#x}");
    }
}

#[test]
fn no_mutation_of_a_stream_breaks_the_reader() {
    let mut rng = StdRng::seed_from_u64(11);
    let seeds = [
        framed(5, &deliver_octets(Version::V2, &[9; 60])),
        framed(5, &deliver_octets(Version::V3, &[9; 71])),
        framed(0x8000_0001, &[0; 18]),
        framed(0x8000_0004, &[0; 12]),
        framed(8, &[]),
    ];
    for _ in 0..30_000 {
        let mut stream = seeds[rng.random_range(0..seeds.len())].clone();
        for _ in 0..rng.random_range(1..6) {
            let at = rng.random_range(0..stream.len());
            match rng.random_range(0..4) {
                0 => stream[at] = rng.random(),
                1 => stream.truncate(at + 1),
                2 => stream.insert(at, rng.random()),
                _ => stream[at] ^= 1 << rng.random_range(0..8),
            }
        }
        let mut framer = Framer::default();
        framer.push(&stream);
        while let Ok(Some(frame)) = framer.next_frame() {
            if let Ok(Pdu::Deliver(d)) = read(&frame, Version::V2) {
                let _ = report(&d.content);
            }
        }
    }
    let mut noise = vec![0; 1_000];
    rng.fill_bytes(&mut noise);
    let _ = report(&noise);
}

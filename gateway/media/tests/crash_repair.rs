//! A crash at any byte: repair makes every recording whole, and touches nothing else.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]
mod common;

use std::fs;

use common::Lcg;
use hotline_media::{
    Repaired,
    recorder::{HEADER_LEN, WavFile, WavFormat, part_path, sha256_file},
    repair,
};

fn repair_all(dir: &std::path::Path) -> Vec<Repaired> {
    repair(dir, WavFormat::Pcm16).into_iter().map(Result::unwrap).collect()
}

#[test]
fn a_file_cut_at_any_byte_is_repaired() {
    let dir = tempfile::tempdir().unwrap();
    let mut lcg = Lcg(3);
    let mut lengths = Vec::new();
    for n in 0..200u32 {
        let folder = dir.path().join(format!("2026/{:02}", n % 12));
        let path = folder.join(format!("{n:03}.wav"));
        let mut file = WavFile::create(&path, WavFormat::Pcm16).unwrap();
        for block in 0..10u64 {
            file.write_at(block * 100, &[n as u8; 400]).unwrap();
        }
        let part = part_path(&path);
        drop(file);
        let len = u64::from(lcg.below(HEADER_LEN as u32 + 4000 + 1));
        fs::OpenOptions::new().write(true).open(&part).unwrap().set_len(len).unwrap();
        lengths.push((path, len));
    }
    let finished = dir.path().join("done.wav");
    WavFile::create(&finished, WavFormat::Pcm16).unwrap().finish(80).unwrap();
    fs::write(dir.path().join("notes.txt"), "untouched").unwrap();

    let mut repaired = repair_all(dir.path());
    repaired.sort_by_key(|repaired| repaired.path.file_name().unwrap().to_owned());
    assert_eq!(repaired.len(), 200);
    for (repaired, (path, len)) in repaired.iter().zip(&lengths) {
        assert_eq!(&repaired.path, path);
        let frames = len.saturating_sub(HEADER_LEN as u64) / 4;
        let mut reader = hound::WavReader::open(path).unwrap();
        assert_eq!(u64::from(reader.duration()), frames);
        assert_eq!(reader.samples::<i16>().filter(Result::is_ok).count() as u64, frames * 2);
        assert_eq!(repaired.duration_ms, frames / 8);
        assert_eq!(repaired.bytes, fs::metadata(path).unwrap().len());
        assert_eq!(repaired.sha256, sha256_file(path).unwrap());
        assert!(!part_path(path).exists());
    }
    assert!(repair_all(dir.path()).is_empty(), "the second run finds nothing");
    assert_eq!(hound::WavReader::open(&finished).unwrap().duration(), 80);
}

#[test]
fn a_file_that_only_missed_its_name_is_not_called_broken() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.wav");
    let mut file = WavFile::create(&path, WavFormat::Pcm16).unwrap();
    file.write_at(0, &[0; 3200]).unwrap();
    drop(file);
    let repaired = repair_all(dir.path());
    assert_eq!((repaired[0].was_broken, repaired[0].duration_ms), (false, 100));
}

#[test]
fn a_header_full_of_garbage_is_written_anew_and_no_file_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.wav"), "somebody's").unwrap();
    fs::write(dir.path().join("a.wav.part"), vec![0xFF; 44 + 33]).unwrap();
    let repaired = repair_all(dir.path());
    assert!(repaired[0].was_broken);
    assert!(repaired[0].path.ends_with("a-repaired-1.wav"));
    assert_eq!(hound::WavReader::open(&repaired[0].path).unwrap().duration(), 8);
    assert_eq!(fs::read(dir.path().join("a.wav")).unwrap(), b"somebody's");
}

#[test]
fn a_file_that_cannot_be_repaired_keeps_no_other_from_it() {
    let dir = tempfile::tempdir().unwrap();
    let whole = |name: &str| {
        let path = dir.path().join(name);
        let mut file = WavFile::create(&path, WavFormat::Pcm16).unwrap();
        file.write_at(0, &[1; 3200]).unwrap();
        path
    };
    let (before, after) = (whole("a/1.wav"), whole("z/1.wav"));
    // Its name is taken, and the name to give it instead is longer than a name may be.
    let stem = "m".repeat(246);
    let taken = dir.path().join(format!("{stem}.wav"));
    fs::write(&taken, "somebody's").unwrap();
    fs::write(part_path(&taken), vec![0; 444]).unwrap();

    let results = repair(dir.path(), WavFormat::Pcm16);
    assert_eq!(results.len(), 3);
    let done: Vec<_> = results.iter().flatten().map(|file| file.path.clone()).collect();
    assert_eq!(done, [before, after]);
    let errors: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    assert_eq!(errors[0].path, part_path(&taken));
    assert!(part_path(&taken).exists(), "left for the next time");
    assert_eq!(repair(dir.path(), WavFormat::Pcm16).len(), 1, "which tries it again");

    let missing = repair(&dir.path().join("missing"), WavFormat::Pcm16);
    assert!(matches!(missing.as_slice(), [Err(e)] if e.path.ends_with("missing")), "{missing:?}");
}

#[test]
fn pages_of_an_alaw_file_that_were_never_written_are_silent_to_the_last_byte() {
    let dir = tempfile::tempdir().unwrap();
    for tail in [2, 1000, 4094, 4096] {
        let path = dir.path().join(format!("{tail}.wav"));
        let mut file = WavFile::create(&path, WavFormat::Alaw).unwrap();
        // A first page of speech, one whole page and a part of one that never came to the disk.
        file.write_at(0, &vec![0x55; 4096 - HEADER_LEN]).unwrap();
        drop(file);
        let part = fs::OpenOptions::new().write(true).open(part_path(&path)).unwrap();
        part.set_len(8192 + tail).unwrap();
        repair_all(dir.path());
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes.len() as u64, 8192 + tail);
        assert!(bytes[HEADER_LEN..4096].iter().all(|code| *code == 0x55));
        assert!(bytes[4096..].iter().all(|code| *code == 0xD5), "{tail} bytes at the end");
    }
}

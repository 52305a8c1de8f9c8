//! The prompts in `sounds/`: all there, in both languages, in the right format and length.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failing test may panic

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use hotline_ivr::Flow;
use toml::Table;

const LANGUAGES: [(&str, &str); 2] = [("zh-CN", "zh"), ("en", "en")];
const ALL_BYTES_MAX: u64 = 12_000_000;

fn sounds() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../sounds")
}

fn texts() -> Table {
    std::fs::read_to_string(sounds().join("prompts.toml")).unwrap().parse().unwrap()
}

fn wav(folder: &str, id: &str) -> PathBuf {
    sounds().join(folder).join(format!("{id}.wav"))
}

/// Duration in milliseconds, rounded up.
fn duration_ms(path: &Path) -> u64 {
    let reader = hound::WavReader::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    (u64::from(reader.duration()) * 1000).div_ceil(u64::from(reader.spec().sample_rate))
}

#[test]
fn every_prompt_of_every_flow_has_a_text_and_a_wav_in_both_languages() {
    let texts = texts();
    for name in Flow::builtin_names() {
        let flow = Flow::builtin(name).unwrap();
        for id in flow.prompts() {
            let entry = texts.get(id).unwrap_or_else(|| panic!("{name}: prompts.toml has no [{id}]"));
            for (folder, language) in LANGUAGES {
                let text = entry.get(language).and_then(|text| text.as_str());
                assert!(text.is_some_and(|text| !text.trim().is_empty()), "{id}: no {language} text");
                assert!(wav(folder, id).is_file(), "{folder}/{id}.wav is missing");
            }
        }
        let findings = flow.check(&|id| texts.contains_key(id));
        assert!(findings.is_empty(), "{findings:#?}");
    }
}

#[test]
fn texts_and_files_are_the_same_set() {
    let texts: BTreeSet<String> = texts().keys().cloned().collect();
    for (folder, _) in LANGUAGES {
        let files: BTreeSet<String> = std::fs::read_dir(sounds().join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(files, texts, "{folder}");
    }
}

#[test]
fn ids_are_lower_snake_case() {
    for id in texts().keys() {
        let good = id.starts_with(|c: char| c.is_ascii_lowercase())
            && id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        assert!(good, "{id}");
    }
}

#[test]
fn no_prompt_is_longer_than_it_may_be() {
    for (id, entry) in texts() {
        let Some(max_ms) = entry.get("max_ms").and_then(|ms| ms.as_integer()) else {
            continue;
        };
        for (folder, _) in LANGUAGES {
            let ms = duration_ms(&wav(folder, &id));
            assert!(ms <= max_ms as u64, "{folder}/{id}.wav takes {ms} ms, at most {max_ms}");
        }
    }
}

#[test]
fn the_greeting_with_the_recording_notice_takes_6_s_at_most() {
    let entry = &texts()["greeting"];
    assert!(entry["zh"].as_str().unwrap().contains("录音"));
    assert!(entry["max_ms"].as_integer().unwrap() <= 6_000);
}

#[test]
fn all_wavs_are_8_khz_mono_16_bit_and_neither_silent_nor_clipped() {
    for (id, entry) in texts() {
        for (folder, language) in LANGUAGES {
            let path = wav(folder, &id);
            let mut reader = hound::WavReader::open(&path).unwrap();
            let spec = reader.spec();
            assert_eq!((spec.sample_rate, spec.channels, spec.bits_per_sample), (8000, 1, 16), "{folder}/{id}");
            let peak = reader.samples::<i16>().map(|sample| sample.unwrap().unsigned_abs()).max().unwrap();
            let tone = entry.get(format!("tone_{language}")).or(entry.get("tone"));
            if tone.and_then(|tone| tone.as_str()) == Some("silence") {
                assert_eq!(peak, 0, "{folder}/{id}");
            } else {
                assert!((2_000..32_000).contains(&peak), "{folder}/{id}: peak {peak}");
            }
        }
    }
}

#[test]
fn all_prompts_together_stay_small() {
    let sizes = LANGUAGES.iter().flat_map(|(folder, _)| std::fs::read_dir(sounds().join(folder)).unwrap());
    let total: u64 = sizes.map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert!(total < ALL_BYTES_MAX, "{total} bytes");
}

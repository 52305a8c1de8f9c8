//! Published ggml models by name.
//!
//! A checksum stands here only where several independent publications state
//! the same SHA-256 for the file. Other names need `--sha256` or a
//! `<file>.sha256` beside the file at the configured address.

/// Where the speech models are published.
pub const SPEECH_BASE_URL: &str = "https://huggingface.co/ggerganov/whisper.cpp/resolve/main";
/// Where the voice activity models are published.
pub const VAD_BASE_URL: &str = "https://huggingface.co/ggml-org/whisper-vad/resolve/main";

/// One published model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Name given to `hotline model get`.
    pub name: &'static str,
    /// File name at the publisher and in the models folder.
    pub file: &'static str,
    /// Address of the folder, without a slash at its end.
    pub base_url: &'static str,
    /// SHA-256 in lower-case hex, where known for certain.
    pub sha256: Option<&'static str>,
    /// Size in bytes, as a hint for people.
    pub bytes: Option<u64>,
    /// What it is good for.
    pub about: &'static str,
}

const fn speech(
    name: &'static str,
    file: &'static str,
    sha256: Option<&'static str>,
    bytes: Option<u64>,
    about: &'static str,
) -> Entry {
    Entry { name, file, base_url: SPEECH_BASE_URL, sha256, bytes, about }
}

/// All known models, smallest first.
pub const ENTRIES: &[Entry] = &[
    Entry {
        name: "silero-v6.2.0",
        file: "ggml-silero-v6.2.0.bin",
        base_url: VAD_BASE_URL,
        sha256: Some("2aa269b785eeb53a82983a20501ddf7c1d9c48e33ab63a41391ac6c9f7fb6987"),
        bytes: Some(885_098),
        about: "voice activity detection",
    },
    speech(
        "tiny",
        "ggml-tiny.bin",
        Some("be07e048e1e599ad46341c8d2a135645097a538221678b7acdd1b1919c6e1b21"),
        Some(77_691_713),
        "only for trying out",
    ),
    speech("base-q8_0", "ggml-base-q8_0.bin", None, None, "live hints on small machines"),
    speech(
        "base",
        "ggml-base.bin",
        Some("60ed5bc3dd14eea856493d334349b405782ddcaf0028d4b5df4088345fba2efe"),
        Some(147_951_465),
        "live hints",
    ),
    speech("small-q5_1", "ggml-small-q5_1.bin", None, None, "records, least memory"),
    speech(
        "small-q8_0",
        "ggml-small-q8_0.bin",
        Some("49c8fb02b65e6049d5fa6c04f81f53b867b5ec9540406812c643f177317f779f"),
        Some(264_464_607),
        "records, less memory",
    ),
    speech(
        "small",
        "ggml-small.bin",
        Some("1be3a9b2063867b937e64e2ec7483364a79917e157fa98c5d94b5c1fffea987b"),
        Some(487_601_967),
        "the least for a record",
    ),
    speech("medium-q5_0", "ggml-medium-q5_0.bin", None, None, "records"),
    speech(
        "medium",
        "ggml-medium.bin",
        Some("6c14d5adee5f86394037b4e4e8b59f1673b6cee10e3cf0b11bbdbee79c156208"),
        None,
        "records",
    ),
    speech(
        "large-v3-turbo-q5_0",
        "ggml-large-v3-turbo-q5_0.bin",
        Some("394221709cd5ad1f40c46e6031ca61bce88931e6e088c188294c6d5a55ffa7e2"),
        Some(574_041_195),
        "best per megabyte",
    ),
    speech(
        "large-v3-turbo",
        "ggml-large-v3-turbo.bin",
        Some("1fc70f774d38eb169993ac391eea357ef47c88757ef72ee5943879b7e8e2bc69"),
        Some(1_624_555_275),
        "best that still runs on a CPU",
    ),
    speech("large-v3", "ggml-large-v3.bin", None, None, "needs a strong machine"),
];

/// The entry called `name`, also by its file name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|e| e.name == name || e.file == name)
}

/// All names, comma-separated, for messages.
#[must_use]
pub fn names() -> String {
    ENTRIES.iter().map(|e| e.name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_well_formed_and_unique() {
        for (i, e) in ENTRIES.iter().enumerate() {
            assert!(e.file.starts_with("ggml-") && e.file.ends_with(".bin"), "{}", e.file);
            assert!(e.base_url.starts_with("https://") && !e.base_url.ends_with('/'));
            if let Some(sum) = e.sha256 {
                assert_eq!(sum.len(), 64, "{}", e.name);
                assert!(sum.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
            }
            assert!(ENTRIES[i + 1..].iter().all(|o| o.name != e.name && o.file != e.file));
        }
    }

    #[test]
    fn a_model_is_found_by_name_and_by_file() {
        assert_eq!(find("small"), find("ggml-small.bin"));
        assert!(find("smal").is_none());
        assert!(names().contains("large-v3-turbo"));
    }
}

//! Judges a model file by reading it, before native code does.
//!
//! Native loaders abort the process on a file of the wrong kind, so the file's
//! layout is walked here: magic, parameters, vocabulary, every tensor's header.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::limits;

/// "ggml" as a little-endian number.
const GGML_MAGIC: u32 = 0x6767_6d6c;
/// The file begins with these bytes where it is the newer container.
const GGUF_MAGIC: &[u8; 4] = b"GGUF";

/// What a model file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelKind {
    /// Speech to text.
    Whisper,
    /// Voice activity detection (Silero).
    Vad,
}

impl fmt::Display for ModelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Whisper => "whisper speech model",
            Self::Vad => "voice activity model",
        })
    }
}

/// What the file says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelInfo {
    /// Speech or voice activity.
    pub kind: ModelKind,
    /// `tiny`, `base`, `small`, `medium`, `large`, `large-v3-turbo`, `silero-16k 6.2.0`.
    pub name: String,
    /// Number format of the weights: `f16`, `q5_0` …
    pub format: String,
    /// Vocabulary size; 0 for voice activity.
    pub n_vocab: u32,
    /// Knows Chinese.
    pub multilingual: bool,
    /// Tensors with weights. 0: the file has none and understands nothing.
    pub tensors: u32,
    /// Size of the file.
    pub bytes: u64,
}

impl fmt::Display for ModelInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} \"{}\", {}, {} tensors, {} bytes", self.kind, self.name, self.format, self.tensors, self.bytes)?;
        if self.kind == ModelKind::Whisper && !self.multilingual {
            f.write_str("; English only: it does not understand Chinese")?;
        }
        if self.tensors == 0 {
            f.write_str("; it has no weights and understands nothing")?;
        }
        Ok(())
    }
}

/// Why a file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// No such file, or no right to read it.
    #[error("{path}: {source}; `hotline model get small` fetches a model")]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The newer container, which this engine doesn't read.
    #[error("{0}: a GGUF file; whisper needs the ggml form (`hotline model get small`)")]
    Gguf(PathBuf),
    /// Something else entirely.
    #[error("{path}: not a ggml model: {why}")]
    NotAModel {
        /// The file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// The file ends too early or holds too few tensors.
    #[error("{path}: cut off or damaged: {why}; delete it and fetch it again with `hotline model get`")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is missing.
        why: String,
    },
    /// A good file for another purpose.
    #[error("{path}: this is a {found}, but a {wanted} is needed here")]
    WrongKind {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: ModelKind,
        /// What was asked for.
        wanted: ModelKind,
    },
}

/// Reads the file's structure without loading its weights.
///
/// # Errors
/// [`CheckError`], each with its remedy.
pub fn check(path: &Path) -> Result<ModelInfo, CheckError> {
    let open = |source| CheckError::Open { path: path.into(), source };
    let file = File::open(path).map_err(open)?;
    let meta = file.metadata().map_err(open)?;
    if !meta.is_file() {
        return Err(CheckError::NotAModel { path: path.into(), why: "not a regular file".into() });
    }
    let mut walk = Walk { path, len: meta.len(), at: 0, input: BufReader::new(file) };
    let mut magic = [0_u8; 4];
    if walk.len < 64 {
        return Err(walk.not_a_model(format!("only {} bytes", meta.len())));
    }
    walk.bytes(&mut magic, "magic")?;
    if &magic == GGUF_MAGIC {
        return Err(CheckError::Gguf(path.into()));
    }
    if u32::from_le_bytes(magic) != GGML_MAGIC {
        return Err(walk.not_a_model(format!("it begins with {}", describe(magic))));
    }
    let first = walk.u32("first parameter")?;
    // A voice activity file continues with the length of its type's name, a
    // speech file with its vocabulary's size.
    if (4..=64).contains(&first) { walk.vad(first) } else { walk.whisper(first) }
}

/// Like [`check`], and the file must be of kind `wanted`.
///
/// # Errors
/// As [`check`], and [`CheckError::WrongKind`].
pub fn expect(path: &Path, wanted: ModelKind) -> Result<ModelInfo, CheckError> {
    let info = check(path)?;
    if info.kind == wanted {
        return Ok(info);
    }
    Err(CheckError::WrongKind { path: path.into(), found: info.kind, wanted })
}

fn describe(magic: [u8; 4]) -> String {
    if magic.iter().all(|b| b.is_ascii_graphic() || *b == b' ') {
        format!("\"{}\"", String::from_utf8_lossy(&magic))
    } else {
        format!("{magic:02x?}")
    }
}

struct Walk<'a> {
    path: &'a Path,
    len: u64,
    at: u64,
    input: BufReader<File>,
}

impl Walk<'_> {
    fn not_a_model(&self, why: String) -> CheckError {
        CheckError::NotAModel { path: self.path.into(), why }
    }

    fn damaged(&self, why: String) -> CheckError {
        CheckError::Damaged { path: self.path.into(), why }
    }

    fn bytes(&mut self, out: &mut [u8], what: &str) -> Result<(), CheckError> {
        self.input.read_exact(out).map_err(|_| self.damaged(format!("it ends inside its {what}")))?;
        self.at += out.len() as u64;
        Ok(())
    }

    fn u32(&mut self, what: &str) -> Result<u32, CheckError> {
        let mut b = [0; 4];
        self.bytes(&mut b, what)?;
        Ok(u32::from_le_bytes(b))
    }

    fn skip(&mut self, n: u64, what: &str) -> Result<(), CheckError> {
        if n > self.len.saturating_sub(self.at) {
            return Err(self.damaged(format!("it ends inside its {what}")));
        }
        let step = i64::try_from(n).map_err(|_| self.damaged(format!("absurd {what}")))?;
        self.input.seek_relative(step).map_err(|source| CheckError::Open { path: self.path.into(), source })?;
        self.at += n;
        Ok(())
    }

    fn whisper(mut self, n_vocab: u32) -> Result<ModelInfo, CheckError> {
        let mut p = [0_u32; 10];
        for slot in &mut p {
            *slot = self.u32("parameters")?;
        }
        let [
            audio_ctx,
            audio_state,
            audio_head,
            audio_layer,
            text_ctx,
            text_state,
            text_head,
            text_layer,
            n_mels,
            ftype,
        ] = p;
        let sane = (1_000..=limits::MODEL_VOCAB_MAX).contains(&n_vocab)
            && (1..=8_192).contains(&audio_ctx)
            && (1..=8_192).contains(&text_ctx)
            && (64..=8_192).contains(&audio_state)
            && text_state == audio_state
            && (1..=128).contains(&audio_head)
            && (1..=128).contains(&text_head)
            && (1..=128).contains(&audio_layer)
            && (1..=128).contains(&text_layer)
            && (n_mels == 80 || n_mels == 128);
        if !sane {
            return Err(self.not_a_model(format!("its parameters are not whisper's: {n_vocab} {p:?}")));
        }
        let (mel, fft) = (self.u32("mel filters")?, self.u32("mel filters")?);
        if mel != n_mels || fft > 4_096 {
            return Err(self.damaged(format!("mel filters {mel}×{fft} do not fit {n_mels} bands")));
        }
        self.skip(u64::from(mel) * u64::from(fft) * 4, "mel filters")?;
        self.vocabulary()?;
        let tensors = self.tensors()?;
        let expected = 11 + 15 * audio_layer + 24 * text_layer;
        if tensors != 0 && tensors != expected {
            return Err(self.damaged(format!("{tensors} of {expected} tensors")));
        }
        Ok(ModelInfo {
            kind: ModelKind::Whisper,
            name: whisper_name(audio_layer, text_layer, n_vocab),
            format: ftype_name(ftype % 1_000).into(),
            n_vocab,
            // Multilingual vocabularies have at least one entry more.
            multilingual: n_vocab >= 51_865,
            tensors,
            bytes: self.len,
        })
    }

    fn vocabulary(&mut self) -> Result<(), CheckError> {
        let n = self.u32("vocabulary")?;
        if n > limits::MODEL_VOCAB_MAX {
            return Err(self.damaged(format!("a vocabulary of {n} words")));
        }
        for _ in 0..n {
            let len = self.u32("vocabulary")?;
            self.skip(len.into(), "vocabulary")?;
        }
        Ok(())
    }

    fn vad(mut self, name_len: u32) -> Result<ModelInfo, CheckError> {
        let mut name = vec![0; name_len as usize];
        self.bytes(&mut name, "name")?;
        let Ok(name) = String::from_utf8(name) else {
            return Err(self.not_a_model("its type's name is not text".into()));
        };
        if !name.starts_with("silero") {
            return Err(self.not_a_model(format!("type {name:?} is unknown")));
        }
        let version = [self.u32("version")?, self.u32("version")?, self.u32("version")?];
        self.skip(8, "parameters")?;
        let layers = self.u32("parameters")?;
        if !(1..=64).contains(&layers) {
            return Err(self.damaged(format!("{layers} layers")));
        }
        self.skip(u64::from(layers) * 12 + 16, "parameters")?;
        let tensors = self.tensors()?;
        let expected = layers * 2 + 7;
        if tensors != expected {
            return Err(self.damaged(format!("{tensors} of {expected} tensors")));
        }
        let [major, minor, patch] = version;
        Ok(ModelInfo {
            kind: ModelKind::Vad,
            name: format!("{name} {major}.{minor}.{patch}"),
            format: "f16".into(),
            n_vocab: 0,
            multilingual: true,
            tensors,
            bytes: self.len,
        })
    }

    /// Walks all tensors up to the file's last byte.
    fn tensors(&mut self) -> Result<u32, CheckError> {
        let mut count = 0;
        while self.at < self.len {
            let (dims, name_len, kind) =
                (self.u32("tensor header")?, self.u32("tensor header")?, self.u32("tensor header")?);
            // A single number has no dimension at all.
            if !(0..=4).contains(&dims) || !(1..=256).contains(&name_len) {
                return Err(self.damaged(format!("tensor {count} has {dims} dimensions")));
            }
            let mut elements = 1_u64;
            for _ in 0..dims {
                elements = elements.saturating_mul(self.u32("tensor header")?.into());
            }
            self.skip(name_len.into(), "tensor header")?;
            let Some((bytes, per)) = type_size(kind) else {
                return Err(self.damaged(format!("tensor {count} has the unknown type {kind}")));
            };
            self.skip(elements.div_ceil(per).saturating_mul(bytes), "weights")?;
            count += 1;
            if count > limits::MODEL_TENSORS_MAX {
                return Err(self.damaged("too many tensors".into()));
            }
        }
        Ok(count)
    }
}

fn whisper_name(audio_layer: u32, text_layer: u32, n_vocab: u32) -> String {
    let name = match (audio_layer, text_layer) {
        (4, _) => "tiny",
        (6, _) => "base",
        (12, _) => "small",
        (24, _) => "medium",
        (32, 4) => "large-v3-turbo",
        (32, 2) => "distil-large",
        (32, _) if n_vocab >= 51_866 => "large-v3",
        (32, _) => "large",
        _ => "unknown size",
    };
    if n_vocab < 51_865 { format!("{name}.en") } else { name.into() }
}

fn ftype_name(ftype: u32) -> &'static str {
    match ftype {
        0 => "f32",
        1 => "f16",
        2 => "q4_0",
        3 => "q4_1",
        7 => "q8_0",
        8 => "q5_0",
        9 => "q5_1",
        10..=14 => "k-quant",
        _ => "unknown format",
    }
}

/// Bytes per block and elements per block of a ggml number type.
fn type_size(kind: u32) -> Option<(u64, u64)> {
    Some(match kind {
        0 => (4, 1),
        1 | 30 => (2, 1),
        2 => (18, 32),
        3 => (20, 32),
        6 => (22, 32),
        7 => (24, 32),
        8 => (34, 32),
        10 => (84, 256),
        11 => (110, 256),
        12 => (144, 256),
        13 => (176, 256),
        14 => (210, 256),
        _ => return None,
    })
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;

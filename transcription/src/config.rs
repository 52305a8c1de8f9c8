//! The `[transcription]` table of the configuration.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::limits;
use crate::model::check::{self, ModelKind};

/// Which engine turns speech into text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// None: jobs wait as `waiting_model`, calls go on.
    None,
    /// Deterministic texts for tests and demonstrations.
    Fake,
    /// A server that speaks `/v1/audio/transcriptions`.
    Http,
    /// whisper.cpp in the child process; needs the cargo feature `whisper`. Without a model, jobs wait.
    #[default]
    Whisper,
}

impl EngineKind {
    /// The word used in configuration and transcripts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Fake => "fake",
            Self::Http => "http",
            Self::Whisper => "whisper",
        }
    }
}

/// Which voice activity detector runs before the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VadKind {
    /// Silero where `vad_model` names a good file and the build has whisper, else earshot.
    #[default]
    Auto,
    /// The pure-Rust detector that carries its own weights.
    Earshot,
    /// Silero; a missing file is an error.
    Silero,
}

/// The HTTP engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Full address, for example `http://127.0.0.1:8000/v1/audio/transcriptions`.
    pub url: String,
    /// The form's `model` field.
    pub model: String,
    /// Name of the environment variable that holds the bearer token; empty: none.
    pub token_env: String,
    /// `verbose_json` (with times) or `json`.
    pub response_format: String,
    /// Longest wait for one window of at most 28 s, ms.
    pub timeout_ms: u64,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            model: "sensevoice".into(),
            token_env: String::new(),
            response_format: "verbose_json".into(),
            timeout_ms: 120_000,
        }
    }
}

/// All settings of transcription. Every field has a default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Which engine.
    pub engine: EngineKind,
    /// ggml model file of the whisper engine.
    pub model: Option<PathBuf>,
    /// Which voice activity detector.
    pub vad: VadKind,
    /// Silero in ggml form.
    pub vad_model: Option<PathBuf>,
    /// Spoken language, ISO 639-1, or `auto`.
    pub language: String,
    /// Words the engine should expect; the default asks for simplified Chinese.
    pub prompt: String,
    /// Threads of one whisper engine.
    pub threads: u32,
    /// The HTTP engine's settings.
    pub http: HttpConfig,
    /// Texts the fake engine says in turn for the citizen; beyond them: `[speech 3.2s]`.
    pub fake_texts: Vec<String>,
    /// Child processes side by side, at most [`limits::WORKERS_MAX`].
    pub workers: u32,
    /// Niceness of a child, 0 to 19.
    pub nice: i32,
    /// How long a claimed job belongs to this process without renewal, ms.
    pub lease_ms: i64,
    /// Pause between two looks for work, ms.
    pub poll_ms: u64,
    /// A request may take this long plus `timeout_factor` × the audio's length, ms.
    pub timeout_base_ms: u64,
    /// See `timeout_base_ms`.
    pub timeout_factor: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            engine: EngineKind::default(),
            model: None,
            vad: VadKind::Auto,
            vad_model: None,
            language: "zh".into(),
            prompt: "以下是普通话的热线通话,内容是城市管理问题和地址。".into(),
            threads: 1,
            http: HttpConfig::default(),
            fake_texts: Vec::new(),
            workers: 1,
            nice: 10,
            lease_ms: 60_000,
            poll_ms: 1_000,
            timeout_base_ms: 120_000,
            timeout_factor: 8.0,
        }
    }
}

/// Why no transcription is possible now, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// `engine = "none"`.
    #[error(
        "no speech engine is configured: set transcription.engine to \"whisper\" (after `hotline model get small`) or \"http\""
    )]
    NoEngine,
    /// The model file is missing, damaged or of another kind.
    #[error("the whisper model is not usable: {0}; `hotline model get small` fetches one")]
    Model(String),
    /// The Silero file is asked for and not usable.
    #[error("the voice activity model is not usable: {0}; set transcription.vad to \"auto\" or fetch silero-v6.2.0")]
    VadModel(String),
    /// This build lacks the cargo feature.
    #[error("this build has no whisper: build with `--features whisper` or set transcription.engine to \"http\"")]
    NotBuilt,
    /// The HTTP engine has no address.
    #[error("transcription.http.url is empty: write the address of a /v1/audio/transcriptions server")]
    NoUrl,
}

impl Config {
    /// True where this build contains whisper.
    #[must_use]
    pub fn whisper_built() -> bool {
        cfg!(feature = "whisper")
    }

    /// Can a recording be transcribed now? Reads the model files' heads.
    ///
    /// # Errors
    /// [`NotReady`] names the cause and the remedy.
    pub fn ready(&self) -> Result<(), NotReady> {
        match self.engine {
            EngineKind::None => return Err(NotReady::NoEngine),
            EngineKind::Fake => {}
            EngineKind::Http if self.http.url.trim().is_empty() => return Err(NotReady::NoUrl),
            EngineKind::Http => {}
            EngineKind::Whisper => self.whisper_ready()?,
        }
        if self.vad == VadKind::Silero {
            self.silero_path().map_err(NotReady::VadModel)?;
        }
        Ok(())
    }

    fn whisper_ready(&self) -> Result<(), NotReady> {
        if !Self::whisper_built() {
            return Err(NotReady::NotBuilt);
        }
        let Some(path) = &self.model else {
            return Err(NotReady::Model("transcription.model names no file".into()));
        };
        check::expect(path, ModelKind::Whisper).map(drop).map_err(|e| NotReady::Model(e.to_string()))
    }

    /// The Silero file where it can be used.
    ///
    /// # Errors
    /// A sentence that says why not.
    pub fn silero_path(&self) -> Result<PathBuf, String> {
        if !Self::whisper_built() {
            return Err("this build has no whisper, which runs Silero".into());
        }
        let Some(path) = &self.vad_model else {
            return Err("transcription.vad_model names no file".into());
        };
        check::expect(path, ModelKind::Vad).map_err(|e| e.to_string())?;
        Ok(path.clone())
    }

    /// Child processes to run, within the limit.
    #[must_use]
    pub fn workers_bounded(&self) -> u32 {
        self.workers.clamp(1, limits::WORKERS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_engine_names_the_remedy() {
        let text = Config { engine: EngineKind::None, ..Config::default() }.ready().unwrap_err().to_string();
        assert!(text.contains("hotline model get small"), "{text}");
    }

    #[test]
    fn http_without_an_address_is_not_ready() {
        let mut cfg = Config { engine: EngineKind::Http, ..Config::default() };
        assert_eq!(cfg.ready(), Err(NotReady::NoUrl));
        cfg.http.url = "http://127.0.0.1:1/v1/audio/transcriptions".into();
        assert_eq!(cfg.ready(), Ok(()));
    }

    #[test]
    fn whisper_without_a_model_is_not_ready() {
        let cfg = Config { engine: EngineKind::Whisper, ..Config::default() };
        let expected_not_built = !Config::whisper_built();
        match cfg.ready() {
            Err(NotReady::NotBuilt) => assert!(expected_not_built),
            Err(NotReady::Model(why)) => assert!(why.contains("transcription.model")),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn unknown_keys_are_refused_and_every_key_has_a_default() {
        assert!(serde_json::from_str::<Config>(r#"{"engin":"fake"}"#).is_err());
        let cfg: Config = serde_json::from_str("{}").unwrap();
        assert_eq!(cfg, Config::default());
    }

    #[test]
    fn the_number_of_workers_is_bounded() {
        let cfg = Config { workers: 10_000, ..Config::default() };
        assert_eq!(cfg.workers_bounded(), limits::WORKERS_MAX);
        assert_eq!(Config { workers: 0, ..Config::default() }.workers_bounded(), 1);
    }
}

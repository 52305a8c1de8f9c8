//! whisper.cpp through whisper-rs, only ever in the child process.

use std::path::Path;

use whisper_rs::{FullParams, SamplingStrategy, WhisperContext, WhisperContextParameters, WhisperState};

use super::{Engine, EngineError, Window};
use crate::audio::ENGINE_RATE_HZ;
use crate::config::Config;
use crate::segment::{Segment, Side};

/// Shorter audio makes whisper.cpp return without a result.
const SAMPLES_MIN: usize = ENGINE_RATE_HZ as usize + ENGINE_RATE_HZ as usize / 10;
/// Text from what is most likely no speech is an invention.
const NO_SPEECH_MAX: f32 = 0.85;

/// One loaded model with one decoding state.
pub struct Whisper {
    state: WhisperState,
    /// Cloned per window: language and prompt leak each time they are set.
    template: FullParams<'static, 'static>,
    model: String,
}

impl Whisper {
    /// Loads the model that [`Config::ready`] has accepted.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`] where whisper.cpp refuses the file.
    pub fn open(cfg: &Config) -> Result<Self, EngineError> {
        let unavailable = |e: String| EngineError::Unavailable(format!("whisper: {e}"));
        let path = cfg.model.as_deref().ok_or_else(|| unavailable("no model is configured".into()))?;
        // Without a logging backend this silences the native library.
        whisper_rs::install_logging_hooks();
        let context = WhisperContext::new_with_params(path, WhisperContextParameters::default())
            .map_err(|e| unavailable(e.to_string()))?;
        let state = context.create_state().map_err(|e| unavailable(e.to_string()))?;
        Ok(Self { state, template: template(cfg), model: name(path) })
    }
}

fn name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned())
}

fn template(cfg: &Config) -> FullParams<'static, 'static> {
    let mut params = FullParams::new(SamplingStrategy::Greedy { best_of: 1 });
    params.set_n_threads(i32::try_from(cfg.threads.clamp(1, 64)).unwrap_or(1));
    params.set_translate(false);
    // Windows are far apart in time, and the two sides alternate.
    params.set_no_context(true);
    params.set_print_special(false);
    params.set_print_progress(false);
    params.set_print_realtime(false);
    params.set_print_timestamps(false);
    params.set_suppress_blank(true);
    params.set_suppress_nst(true);
    let known = whisper_rs::get_lang_id(&clean(&cfg.language)).is_some();
    let language: &'static str = Box::leak(clean(&cfg.language).into_boxed_str());
    params.set_language(if known || language == "auto" { Some(language) } else { Some("zh") });
    let prompt = clean(&cfg.prompt);
    if !prompt.is_empty() {
        params.set_initial_prompt(&prompt);
    }
    params
}

/// A NUL inside would panic in the binding.
fn clean(text: &str) -> String {
    text.replace('\0', "").trim().to_owned()
}

impl Engine for Whisper {
    fn name(&self) -> &'static str {
        "whisper"
    }

    fn model(&self) -> String {
        self.model.clone()
    }

    fn transcribe(&mut self, audio: &Window, side: Side) -> Result<Vec<Segment>, EngineError> {
        let padded;
        let samples = if audio.samples.len() < SAMPLES_MIN {
            let mut copy = audio.samples.clone();
            copy.resize(SAMPLES_MIN, 0.0);
            padded = copy;
            &padded
        } else {
            &audio.samples
        };
        self.state.full(self.template.clone(), samples).map_err(|e| EngineError::Failed(format!("whisper: {e}")))?;
        let mut out = Vec::new();
        for segment in self.state.as_iter() {
            if segment.no_speech_probability() > NO_SPEECH_MAX {
                continue;
            }
            let text = segment.to_str_lossy().map_err(|e| EngineError::Failed(format!("whisper: {e}")))?;
            let ms = |centiseconds: i64| u64::try_from(centiseconds).unwrap_or(0) * 10;
            let (t0_ms, t1_ms) = audio.to_recording(ms(segment.start_timestamp()), ms(segment.end_timestamp()));
            let n = segment.n_tokens();
            let sum: f32 = (0..n).filter_map(|i| segment.get_token(i)).map(|t| t.token_probability()).sum();
            let confidence = (n > 0).then(|| (sum / n as f32).clamp(0.0, 1.0));
            out.push(Segment { t0_ms, t1_ms, side, text: text.into_owned(), confidence });
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::EngineKind;
    use crate::engine::Piece;
    use crate::testdata;
    use crate::vad::Span;

    #[test]
    fn the_test_model_loads_and_a_window_runs_through() {
        let Some(models) = testdata::dir("models") else {
            return;
        };
        let cfg = Config {
            engine: EngineKind::Whisper,
            model: Some(models.join("for-tests-ggml-tiny.bin")),
            ..Config::default()
        };
        let mut engine = Whisper::open(&cfg).unwrap();
        assert_eq!(engine.model(), "for-tests-ggml-tiny.bin");
        for len in [0_usize, 100, 16_000, 48_000] {
            let ms = len as u64 / 16;
            let window = Window {
                samples: vec![0.01; len],
                pieces: vec![Piece { at_ms: 0, span: Span { t0_ms: 5_000, t1_ms: 5_000 + ms } }],
            };
            // No weights: any text is possible, but times stay inside.
            if let Ok(got) = engine.transcribe(&window, Side::Citizen) {
                assert!(got.iter().all(|s| s.t0_ms >= 5_000 && s.t1_ms <= 5_000 + ms), "{got:?}");
            }
        }
    }

    #[test]
    fn a_voice_activity_file_is_refused_before_native_code_sees_it() {
        let Some(models) = testdata::dir("models") else {
            return;
        };
        let cfg = Config {
            engine: EngineKind::Whisper,
            model: Some(models.join("for-tests-silero-v6.2.0-ggml.bin")),
            ..Config::default()
        };
        let err = crate::engine::open(&cfg).map(|_| ()).unwrap_err();
        assert!(err.to_string().contains("voice activity model"), "{err}");
    }
}

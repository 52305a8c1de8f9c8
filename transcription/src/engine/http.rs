//! An OpenAI-style server: `POST /v1/audio/transcriptions`.

use std::io::Cursor;
use std::time::Duration;

use reqwest::multipart::{Form, Part};
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;

use super::{Engine, EngineError, Window};
use crate::audio::{ENGINE_RATE_HZ, to_i16};
use crate::config::{Config, HttpConfig};
use crate::limits;
use crate::segment::{Segment, Side};

/// Posts each window as a WAV. Attempts are repeated by the job, not here.
pub struct Http {
    cfg: HttpConfig,
    language: String,
    prompt: String,
    token: Option<String>,
    client: Client,
    runtime: tokio::runtime::Runtime,
}

/// The answer; `segments` only with `verbose_json`.
#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    segments: Option<Vec<AnswerSegment>>,
}

#[derive(Debug, Deserialize)]
struct AnswerSegment {
    #[serde(default)]
    start: f64,
    #[serde(default)]
    end: f64,
    #[serde(default)]
    text: String,
    #[serde(default)]
    avg_logprob: Option<f64>,
}

impl Http {
    /// A client for `cfg.http`.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`] for a token that isn't there or a client
    /// that can't be built.
    pub fn new(cfg: &Config) -> Result<Self, EngineError> {
        let unavailable = |e: String| EngineError::Unavailable(format!("transcription.http: {e}"));
        let name = cfg.http.token_env.trim();
        let token =
            match name {
                "" => None,
                _ => Some(std::env::var(name).map_err(|_| {
                    unavailable(format!("the environment variable {name} named by token_env is not set"))
                })?),
            };
        // Fails only where another part of the program already chose a provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .timeout(Duration::from_millis(cfg.http.timeout_ms.max(1)))
            .build()
            .map_err(|e| unavailable(e.to_string()))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| unavailable(e.to_string()))?;
        Ok(Self {
            cfg: cfg.http.clone(),
            language: cfg.language.clone(),
            prompt: cfg.prompt.clone(),
            token,
            client,
            runtime,
        })
    }

    fn form(&self, wav: Vec<u8>) -> Result<Form, EngineError> {
        let file = Part::bytes(wav)
            .file_name("audio.wav")
            .mime_str("audio/wav")
            .map_err(|e| EngineError::Failed(e.to_string()))?;
        let mut form = Form::new()
            .part("file", file)
            .text("model", self.cfg.model.clone())
            .text("response_format", self.cfg.response_format.clone())
            .text("temperature", "0");
        if !self.language.is_empty() && self.language != "auto" {
            form = form.text("language", self.language.clone());
        }
        if !self.prompt.is_empty() {
            form = form.text("prompt", self.prompt.clone());
        }
        Ok(form)
    }

    async fn post(&self, wav: Vec<u8>) -> Result<Answer, EngineError> {
        let mut request = self.client.post(&self.cfg.url).multipart(self.form(wav)?);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.map_err(|e| self.network(&e))?;
        let status = answer.status();
        let body = self.body(answer).await?;
        if !status.is_success() {
            return Err(self.refused(status, &body));
        }
        let wrong = |e: String| EngineError::Failed(format!("{}: not the expected JSON: {e}", self.cfg.url));
        // By way of an object: serde would take a bare list for a struct.
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(&body).map_err(|e| wrong(e.to_string()))?;
        let answer: Answer = serde_json::from_value(object.into()).map_err(|e| wrong(e.to_string()))?;
        if answer.text.is_none() && answer.segments.is_none() {
            return Err(wrong("it has neither text nor segments".into()));
        }
        Ok(answer)
    }

    async fn body(&self, mut answer: Response) -> Result<Vec<u8>, EngineError> {
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|e| self.network(&e))? {
            body.extend(&piece);
            if body.len() > limits::HTTP_ANSWER_BYTES_MAX {
                return Err(EngineError::Failed(format!("{}: the answer is too long", self.cfg.url)));
            }
        }
        Ok(body)
    }

    fn network(&self, err: &reqwest::Error) -> EngineError {
        let text = format!("{}: {err}", self.cfg.url);
        if err.is_connect() { EngineError::Unavailable(text) } else { EngineError::Failed(text) }
    }

    /// A server that is down or refuses us is no fault of the recording.
    fn refused(&self, status: StatusCode, body: &[u8]) -> EngineError {
        let said: String = String::from_utf8_lossy(body).chars().take(200).collect();
        let text = format!("{}: {status}: {said}", self.cfg.url);
        match status {
            StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::NOT_FOUND
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE => EngineError::Unavailable(text),
            _ => EngineError::Failed(text),
        }
    }
}

impl Engine for Http {
    fn name(&self) -> &'static str {
        "http"
    }

    fn model(&self) -> String {
        self.cfg.model.clone()
    }

    fn transcribe(&mut self, audio: &Window, side: Side) -> Result<Vec<Segment>, EngineError> {
        let wav = wav(&audio.samples)?;
        let answer = self.runtime.block_on(self.post(wav))?;
        Ok(segments(answer, audio, side))
    }
}

/// 16-bit mono WAV at 16 kHz.
fn wav(samples: &[f32]) -> Result<Vec<u8>, EngineError> {
    let failed = |e: hound::Error| EngineError::Failed(e.to_string());
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: ENGINE_RATE_HZ,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut out = Cursor::new(Vec::with_capacity(samples.len() * 2 + 64));
    let mut writer = hound::WavWriter::new(&mut out, spec).map_err(failed)?;
    for s in samples {
        writer.write_sample(to_i16(*s)).map_err(failed)?;
    }
    writer.finalize().map_err(failed)?;
    Ok(out.into_inner())
}

fn segments(answer: Answer, audio: &Window, side: Side) -> Vec<Segment> {
    let timed = answer.segments.unwrap_or_default();
    if timed.iter().all(|s| s.text.trim().is_empty()) {
        let (t0_ms, t1_ms) = audio.to_recording(0, audio.len_ms());
        let text = strip_tags(&answer.text.unwrap_or_default());
        return vec![Segment { t0_ms, t1_ms, side, text, confidence: None }];
    }
    let ms = |s: f64| {
        if s.is_finite() && s > 0.0 { (s * 1_000.0).min(1e9) as u64 } else { 0 }
    };
    timed
        .into_iter()
        .map(|s| {
            let (t0_ms, t1_ms) = audio.to_recording(ms(s.start), ms(s.end));
            let confidence = s.avg_logprob.filter(|p| p.is_finite()).map(|p| p.exp().clamp(0.0, 1.0) as f32);
            Segment { t0_ms, t1_ms, side, text: strip_tags(&s.text), confidence }
        })
        .collect()
}

/// Some engines leave marks such as `<|zh|><|NEUTRAL|>` in the text.
fn strip_tags(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("<|") {
        let (before, tag) = rest.split_at(at);
        let Some(end) = tag.find("|>") else { break };
        out.push_str(before);
        rest = &tag[end + 2..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;

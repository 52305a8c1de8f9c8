//! `hotline transcribe-worker`.

use std::io::{BufRead, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::protocol::{FaultKind, Reply, Request, line, parse};
use crate::audio::AudioError;
use crate::config::Config;
use crate::engine::EngineError;
use crate::limits;
use crate::pipeline::{Pipeline, PipelineError};

/// The whole child: requests from standard input, replies to standard output,
/// until standard input ends. A bad line never ends it; a parent that is gone does,
/// also in the middle of a recording.
pub fn worker_main() -> ExitCode {
    let (sender, requests) = sync_channel(1);
    // An own thread sees the end of input while the engine computes.
    let reader = std::thread::Builder::new().name("requests".into()).spawn(move || {
        read(std::io::stdin().lock(), &sender);
        std::process::exit(0);
    });
    if reader.is_err() {
        return ExitCode::FAILURE;
    }
    serve(&requests, &mut std::io::stdout());
    ExitCode::SUCCESS
}

/// Forwards each request; a line that is none is answered by silence.
fn read(mut input: impl BufRead, sender: &SyncSender<Request>) {
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let most = limits::LINE_BYTES_MAX as u64;
        match (&mut input).take(most).read_until(b'\n', &mut bytes) {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                if let Some(request) = parse(&bytes)
                    && sender.send(request).is_err()
                {
                    return;
                }
            }
        }
    }
}

fn serve(requests: &Receiver<Request>, out: &mut impl Write) {
    let mut pipeline = None;
    while let Ok(request) = requests.recv() {
        let reply = match request {
            Request::Configure { config } => configure(&config, &mut pipeline),
            Request::Transcribe { id, path } => one(id, &path, &mut pipeline, out),
        };
        if !send(out, &reply) {
            return;
        }
    }
}

fn send(out: &mut impl Write, reply: &Reply) -> bool {
    out.write_all(&line(reply)).and_then(|()| out.flush()).is_ok()
}

fn configure(config: &Config, pipeline: &mut Option<Pipeline>) -> Reply {
    // Calls come first. Only root may lower it again, so an error means: already nice.
    let _ = rustix::process::nice(config.nice.clamp(0, 19));
    match guarded(|| Pipeline::open(config)) {
        Ok(opened) => {
            let reply =
                Reply::Ready { engine: opened.engine().into(), model: opened.model(), vad: opened.vad().into() };
            *pipeline = Some(opened);
            reply
        }
        Err((kind, message)) => Reply::Fault { id: None, kind, message },
    }
}

fn one(id: u64, path: &Path, pipeline: &mut Option<Pipeline>, out: &mut impl Write) -> Reply {
    let Some(pipeline) = pipeline else {
        let message = "the worker is not configured".into();
        return Reply::Fault { id: Some(id), kind: FaultKind::Unavailable, message };
    };
    let mut last = None;
    let outcome = guarded(|| {
        pipeline.transcribe(path, &mut |done_ms, total_ms| {
            if last != Some(done_ms) {
                last = Some(done_ms);
                send(out, &Reply::Progress { id, done_ms, total_ms });
            }
        })
    });
    match outcome {
        Ok(transcript) => Reply::Result { id, transcript: Box::new(transcript) },
        Err((kind, message)) => Reply::Fault { id: Some(id), kind, message },
    }
}

/// A panic below is a failed attempt, not the end of the child.
fn guarded<T>(work: impl FnOnce() -> Result<T, PipelineError>) -> Result<T, (FaultKind, String)> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err((kind(&error), short(&error.to_string()))),
        Err(payload) => {
            let said = payload.downcast_ref::<String>().map(String::as_str);
            let said = said.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("panic");
            Err((FaultKind::Retry, short(&format!("the worker panicked: {said}"))))
        }
    }
}

fn kind(error: &PipelineError) -> FaultKind {
    match error {
        PipelineError::Audio(AudioError::Format { .. }) => FaultKind::Permanent,
        PipelineError::Audio(AudioError::Open { .. }) => FaultKind::Retry,
        PipelineError::Vad(crate::vad::VadError::Model(_)) | PipelineError::Engine(EngineError::Unavailable(_)) => {
            FaultKind::Unavailable
        }
        PipelineError::Vad(_) | PipelineError::Engine(_) => FaultKind::Retry,
    }
}

fn short(text: &str) -> String {
    text.chars().take(limits::ERROR_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::EngineKind;

    /// Feeds lines to a child without a process; yields its replies.
    fn talk(input: &[u8]) -> Vec<Reply> {
        let (sender, requests) = sync_channel(1_000);
        read(input, &sender);
        drop(sender);
        let mut out = Vec::new();
        serve(&requests, &mut out);
        out.split(|b| *b == b'\n').filter_map(parse).collect()
    }

    fn fake() -> Vec<u8> {
        let config = Config { engine: EngineKind::Fake, nice: 0, ..Config::default() };
        line(&Request::Configure { config: Box::new(config) })
    }

    fn ask(id: u64, path: &str) -> Vec<u8> {
        line(&Request::Transcribe { id, path: path.into() })
    }

    #[test]
    fn a_request_before_the_configuration_is_refused() {
        let got = talk(&ask(1, "/x.wav"));
        assert!(matches!(&got[..], [Reply::Fault { id: Some(1), kind: FaultKind::Unavailable, .. }]));
    }

    #[test]
    fn bad_lines_are_passed_over_and_the_next_request_is_served() {
        let mut input = b"\xff\xfe\nnot json\n{\"type\":\"transcribe\"}\n{}\n\n".to_vec();
        input.extend(fake());
        input.extend(b"{\"type\":\"unknown\"}\n");
        input.extend(ask(2, "/nonexistent.wav"));
        let got = talk(&input);
        assert!(matches!(&got[0], Reply::Ready { engine, vad, .. } if engine == "fake" && vad == "earshot"));
        assert!(matches!(&got[1], Reply::Fault { id: Some(2), kind: FaultKind::Retry, .. }));
        assert_eq!(got.len(), 2);
    }

    #[test]
    fn a_file_that_is_no_wav_fails_for_good() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.wav");
        std::fs::write(&path, "nonsense").unwrap();
        let got = talk(&[fake(), ask(3, path.to_str().unwrap())].concat());
        assert!(matches!(&got[1], Reply::Fault { kind: FaultKind::Permanent, .. }), "{got:?}");
    }

    #[test]
    fn without_an_engine_the_configuration_is_unavailable() {
        let got = talk(&line(&Request::Configure { config: Box::new(Config { nice: 0, ..Config::default() }) }));
        assert!(matches!(&got[..], [Reply::Fault { id: None, kind: FaultKind::Unavailable, .. }]));
    }

    #[test]
    fn a_panic_is_a_failed_attempt() {
        let got = guarded::<()>(|| panic!("boom"));
        assert_eq!(got, Err((FaultKind::Retry, "the worker panicked: boom".into())));
    }
}

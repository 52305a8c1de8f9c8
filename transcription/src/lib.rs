//! Speech to text: engines, voice activity, durable jobs, text and fields.
//!
//! A recording becomes a transcript in a child process ([`worker`]), because
//! native speech libraries may abort the process that loads them. The gateway
//! calls [`jobs::run`]; `hotline transcribe-worker` calls
//! [`worker::child::worker_main`]; `hotline model …` calls [`model`].

pub mod audio;
pub mod config;
pub mod engine;
pub mod fields;
pub mod jobs;
pub mod limits;
pub mod model;
pub mod pipeline;
pub mod segment;
pub mod text;
pub mod vad;
pub mod worker;

pub use config::{Config, EngineKind, HttpConfig, VadKind};
pub use jobs::{Done, run};
pub use segment::{Segment, Side, Transcript};

#[cfg(test)]
mod testdata {
    //! Recorded speech and model files that are not part of the project.

    use std::path::{Path, PathBuf};

    /// `clips` or `models`; `None` and a line that says so where it's absent.
    pub(crate) fn dir(name: &str) -> Option<PathBuf> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let data = std::env::var("HOTLINE_TEST_DATA").unwrap_or_else(|_| "../shared/data".into());
        let dir = root.join(data).join(name);
        if !dir.is_dir() {
            println!("skipped: {} is absent", dir.display());
            return None;
        }
        Some(dir)
    }
}

//! Peers and tools for whole-call tests: everything around the gateway that a
//! test needs, and nothing of the gateway itself.
//!
//! - [`sip`]: an independent SIP user agent ([`sip::Citizen`], [`sip::Phone`],
//!   [`sip::Registrar`]), its messages parsed and built by `rsip`;
//! - [`rtp`]: G.711 media streams that send tones and keep what they hear;
//! - [`tone`], [`wav`]: what is in a piece of audio or in a recording;
//! - [`peer`]: SIPp, baresip, linphonec, Kamailio, sipvicious and PostgreSQL as child processes;
//! - [`gateway`], [`api`]: the `hotline` binary and its REST interface;
//! - [`casecore`]: a case core that keeps cases and fails on request;
//! - [`hep`]: a HEP3 collector;
//! - [`wechat`]: the WeChat platform: pushes, tokens, media, messages, 微信客服;
//! - [`chaos`]: TCP faults and seeded moments;
//! - [`ismg`]: a carrier's short message gateway that does wrong on request;
//! - [`impair`]: a bad network: loss, delay, jitter, reordering, duplicates, rate.
//!
//! Invariant: no package of the project is linked here. What the gateway says
//! about itself is judged by code that shares no line with it.

pub mod api;
pub mod casecore;
pub mod chaos;
pub mod gateway;
pub mod hep;
pub mod impair;
pub mod ismg;
pub mod lan;
pub mod limits;
pub mod net;
pub mod peer;
pub mod rtp;
pub mod sip;
pub mod tls;
pub mod tone;
pub mod wav;
pub mod wechat;

mod error;
mod machine;
mod process;
mod wait;

pub use error::{Error, Result};
pub use machine::Waiting;
pub use process::{Process, Signal};
pub use wait::{patience, until, within};

use std::path::PathBuf;

/// The repository's root folder (the one that holds the workspace's `Cargo.toml`).
///
/// `HOTLINE_REPO` overrides it, for test binaries that run away from their source.
#[must_use]
pub fn repo_root() -> PathBuf {
    if let Some(path) = std::env::var_os("HOTLINE_REPO") {
        return PathBuf::from(path);
    }
    let package = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    package.parent().map(PathBuf::from).unwrap_or(package)
}

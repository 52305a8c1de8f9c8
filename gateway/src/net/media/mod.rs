//! The media threads: sockets, clock and files around the sans-IO core `hotline-media`.
//!
//! Dedicated epoll threads (one, and a further one only when that is busy) own the legs' UDP sockets and one [`hotline_media::engine`]
//! each; no tokio task and no tokio timer is on a packet's way. Beside them a writer thread stores
//! recordings and a sync thread pays for `fdatasync`, hashing and renaming.
//!
//! Invariant: a media thread never waits, neither for a disk nor for a full channel.

mod config;
mod dtls;
mod event;
mod handle;
mod limits;
mod mailbox;
mod pace;
mod ports;
mod sockets;
mod stats;
mod sync;
mod sys;
#[cfg(test)]
mod tests;
mod thread;
mod threads;
mod writer;

pub use config::MediaConfig;
pub use event::MediaEvent;
pub use handle::{LegInfo, Media, MediaError};
pub use hotline_media::engine::MixRow;
pub use hotline_media::{Clip, ClipError, Codec, LegId, LegParams, LegStats, RecordingId};
pub use stats::MediaStats;

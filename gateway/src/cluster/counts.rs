//! What of links is counted, and how they fail.

use std::sync::atomic::AtomicU64;

/// Figures of the links.
#[derive(Debug, Default)]
pub struct LinkCounts {
    /// Links cut because they were too far behind, and what nobody took.
    pub dropped: AtomicU64,
    /// Links that ended.
    pub ended: AtomicU64,
    /// Greetings refused: no gateway, or a wrong secret.
    pub refused: AtomicU64,
    /// Links cut over a word of another version.
    pub misunderstood: AtomicU64,
}

/// A frame isn't on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// No link.
    #[error("没有到该网关的连接 / no link to that gateway")]
    NoLink,
    /// The link is so far behind that it was cut.
    #[error("到该网关的连接积压过多,已断开 / the link was too far behind: cut")]
    Behind,
    /// Longer than [`super::limits::FRAME_BYTES_MAX`].
    #[error("报文过长 / the frame is too long")]
    TooLong,
}

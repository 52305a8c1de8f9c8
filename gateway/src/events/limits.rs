//! Bounds of the event stream, with what happens at each.

use std::time::Duration;

/// Events kept for who comes back; who missed more gets `reset` and a snapshot.
pub const KEPT_MAX: usize = 4_096;
/// Streams at once; further ones get 429.
pub const STREAMS_MAX: usize = 512;
/// Streams of one person at once; further ones get 429.
pub const STREAMS_PER_USER_MAX: usize = 8;
/// Bytes of a stream not yet taken by its reader; the stream waits there, and what it misses meanwhile is a `reset` and a snapshot.
pub const PIPE_BYTES: usize = 16 * 1024;

/// How long a stream waits for what.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Without an event a line of comment goes out so often, so that proxies keep the connection.
    pub quiet: Duration,
    /// A stream ends after so long and is opened anew: who signed out meanwhile isn't let in again.
    pub life: Duration,
    /// A reader that takes nothing for so long is gone.
    pub stuck: Duration,
}

/// In service.
pub const PATIENCE: Patience =
    Patience { quiet: Duration::from_secs(15), life: Duration::from_secs(300), stuck: Duration::from_secs(30) };

//! Every bound of an SMPP link, with what happens at it.

use std::time::Duration;

/// Largest command read; of a larger one only its header goes on, which gets an error response.
pub(super) const COMMAND_BYTES_MAX: usize = 16 * 1024;
/// A length beyond this is no SMPP: the connection is given up.
pub(super) const COMMAND_BYTES_ABSURD: usize = 1024 * 1024;
/// Commands read and not yet looked at; a peer that sends more without waiting is cut off.
pub(super) const UNREAD_MAX: usize = 1_024;
/// Messages waiting for the door on one connection; further ones get ESME_RMSGQFUL and come again.
pub(super) const WAITING_MAX: usize = 256;
/// Messages at work with the door at once, per connection.
pub(super) const AT_WORK_MAX: usize = 32;
/// Name look-up, TCP, TLS and bind together.
pub(super) const BIND: Duration = Duration::from_secs(20);
/// A command that can't be written for so long means that the peer no longer reads: the connection is given up.
pub(super) const WRITE: Duration = Duration::from_secs(10);
/// Time for the peer to answer our unbind at the end.
pub(super) const UNBIND: Duration = Duration::from_secs(3);
/// First pause before a new connection; doubles, with full jitter.
pub(super) const RECONNECT_MS: u64 = 500;
/// Longest pause before a new connection.
pub(super) const RECONNECT_MS_MAX: u64 = 60_000;
/// A connection that lived so long was a good one: the pauses begin anew.
pub(super) const GOOD: Duration = Duration::from_secs(60);
/// First pause after ESME_RTHROTTLED or ESME_RMSGQFUL; doubles up to the next.
pub(super) const THROTTLED_MS: i64 = 1_000;
/// Longest pause after throttling.
pub(super) const THROTTLED_MS_MAX: i64 = 60_000;
/// Octets of a receipt's text that are read.
pub(super) const RECEIPT_BYTES_MAX: usize = 1_024;
/// Characters of a carrier's message id (SMPP 3.4 §4.4.2 has 65 octets with the NUL).
pub(super) const MESSAGE_ID_MAX: usize = 64;
/// Octets in `short_message` (§5.2.22); more go into `message_payload`.
pub(super) const SHORT_MESSAGE_MAX: usize = 254;
/// A later part of a long text that was throttled is tried so often …
pub(super) const PART_TRIES_MAX: usize = 8;
/// … after so long each time; the window itself pauses too.
pub(super) const PART_THROTTLED: Duration = Duration::from_secs(1);

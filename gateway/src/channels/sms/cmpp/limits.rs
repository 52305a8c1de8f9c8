//! Every bound of a CMPP connection, with what happens at it.

/// Octets of the header: length, command, sequence.
pub(super) const HEADER_BYTES: usize = 12;
/// Largest PDU taken; the longest a carrier has reason to send is under 400. A longer one, or one shorter
/// than its header, ends the connection: where the next one begins can't be known.
pub(super) const PDU_BYTES_MAX: usize = 4_096;
/// DELIVERs that wait for our acknowledgement; a further one is answered with result 8 (flow control).
pub(super) const DELIVERS_MAX: usize = 64;
/// Octets waiting for the socket; beyond them nothing further is submitted.
pub(super) const OUTPUT_BYTES_MAX: usize = 256 * 1_024;
/// First pause after "flow control" (result 8), doubled up to [`THROTTLE_MS_MAX`].
pub(super) const THROTTLE_MS: u64 = 1_000;
/// Longest pause after "flow control".
pub(super) const THROTTLE_MS_MAX: u64 = 30_000;
/// Warnings of one kind a connection reports; the rest is counted only.
pub(super) const WARNINGS_MAX: u32 = 5;
/// A connection is tried for so long.
pub(super) const CONNECT_MS: u64 = 10_000;
/// TERMINATE's answer is waited for so long when the gateway stops.
pub(super) const GOODBYE_MS: u64 = 2_000;
/// Octets read at once.
pub(super) const READ_BYTES: usize = 16 * 1_024;
/// The first pause before connecting again is at most so long; doubled up to [`RECONNECT_MS_MAX`].
pub(super) const RECONNECT_MS: u64 = 1_000;
/// Longest pause before connecting again.
pub(super) const RECONNECT_MS_MAX: u64 = 60_000;
/// A connection that was up for so long begins with short pauses again.
pub(super) const STEADY_MS: u64 = 60_000;
/// Texts of which parts are unanswered, per connection; no further one is taken.
pub(super) const ORDERS_OPEN_MAX: usize = 256;
/// A part refused by flow control is sent again so often by the same connection …
pub(super) const PART_TRIES_MAX: u32 = 3;
/// … and so often when other parts of its text have left.
pub(super) const PART_TRIES_BEGUN_MAX: u32 = 8;

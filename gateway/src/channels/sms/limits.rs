//! Every bound of the SMS channels, with what happens at it.

/// Octets of user data one short message carries (3GPP TS 23.040 §9.2.3.16).
pub(super) const PART_BYTES_MAX: usize = 140;
/// Characters of a single message in a seven-bit alphabet: 160 septets fill 140 octets.
pub(super) const SEPTETS_MAX: usize = 160;
/// Parts of an outgoing text; a longer one is refused before anything is sent.
pub(super) const PARTS_OUT_MAX: usize = 10;
/// Characters looked back for a place where a part may end without breaking what is read as one character.
pub(super) const CLUSTER_BACK_MAX: usize = 8;
/// Octets of a message in an unknown coding that are kept, written as hex; the rest is cut.
pub(super) const UNKNOWN_BYTES_KEPT: usize = 1_024;
/// Texts waiting in front of a line's driver; those who send further ones wait.
pub(super) const ORDERS_MAX: usize = 64;
/// Texts claimed at once and sent side by side.
pub(super) const SENDING_MAX: usize = 64;
/// A claimed text is ours for so long; after a crash it is sent again then, so that a receipt still is in time.
pub(super) const LEASE_MS: i64 = 120_000;
/// All lines together have so long for a text, their queues included: less than its lease.
pub(super) const SEND_WAIT_MS: u64 = 100_000;
/// When the gateway stops, texts under way have so long to be written down.
pub(super) const STOP_WAIT_MS: u64 = 2_000;
/// Due texts are looked for so often.
pub(super) const OUTGOING_EVERY_MS: u64 = 250;
/// A line that failed comes last for so long.
pub(super) const AVOID_MS: i64 = 30_000;
/// Lines tried for one text before it waits.
pub(super) const LINES_TRIED_MAX: usize = 4;
/// Incomplete long messages are looked through so often.
pub(super) const JOIN_EVERY_MS: u64 = 5_000;
/// Parts are kept for so long after their message was taken: a carrier's repetition is known by them.
pub(super) const PARTS_KEPT_MS: i64 = 72 * 3_600_000;
/// A repetition of a message whose id says nothing comes within so long: what a carrier repeats is what it had no
/// acknowledgement of, one response time or one new connection later. The same words later are a new message.
pub(super) const REPEAT_MS: i64 = 90_000;
/// The same for a part, whose reference tells it from the next.
pub(super) const PART_REPEAT_MS: i64 = 600_000;
/// Texts that wait for a line without connections are handed back so often.
pub(super) const TURN_AWAY_MS: u64 = 500;
/// Parts deleted in one go.
pub(super) const PARTS_PRUNED_MAX: i64 = 1_000;
/// Messages looked at in one go.
pub(super) const JOIN_BATCH: i64 = 100;

//! Every limit between gateways, with what happens there.

/// A frame's content; a longer one isn't sent, and who sends one is cut.
pub const FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A greeting; a longer one is refused.
pub const HELLO_BYTES_MAX: usize = 1_024;
/// Frames waiting for one link; with one more it is cut and counted, and both sides state anew what holds.
pub const OUT_MAX: usize = 8_192;
/// Frames of all links waiting for the queues; the links wait then, until they fall silent.
pub const IN_MAX: usize = 8_192;
/// SIP messages of other gateways waiting; with one more the link is cut and counted, and both sides state anew what
/// holds.
pub const SIP_IN_MAX: usize = 4_096;
/// Messages of other gateways about calls waiting; as above.
pub const DESK_IN_MAX: usize = 4_096;
/// Links at once; one more is closed.
pub const LINKS_MAX: usize = 64;
/// Connections that prove nothing yet have places of their own, and so has each address; one more is closed.
pub const UNPROVEN_MAX: usize = 16;
/// Of one address.
pub const UNPROVEN_PER_ADDRESS_MAX: usize = 4;
/// Refused connections are told of in the log once in so long; all are counted.
pub const REFUSED_LOG_MS: u64 = 60_000;
/// A sign of life on a link that has nothing to say, this often.
pub const LINK_BEAT_MS: u64 = 500;
/// A link that is silent, or takes nothing, for so long is cut.
pub const LINK_SILENT_MS: u64 = 3_000;
/// Connecting and proving the secret take so long at most.
pub const HANDSHAKE_MS: u64 = 2_000;
/// Pause before a link is dialled again: the first, and the longest.
pub const REDIAL_MS: (u64, u64) = (100, 1_000);
/// A gateway whose row had no beat for so long is dialled no longer, and doesn't count as known.
pub const KNOWN_MS: i64 = 10_000;
/// Rows and the lease are looked after this often.
pub const BEAT_MS: u64 = 500;
/// A beat that takes longer failed.
pub const BEAT_TIMEOUT_MS: u64 = 1_500;
/// The lease lasts so long after the database renewed it.
pub const LEASE_MS: i64 = 3_000;
/// A leader stands down so long before that, by its own clock from before it asked.
pub const LEASE_MARGIN_MS: u64 = 500;
/// Who takes an abandoned lease saw the database answer for so long: whoever has it would have renewed it by then.
pub const WATCHED_MS: u64 = 2_000;
/// A gateway without a link for so long is cut off: its callers and phones are given up. Once its row had no beat for
/// as long either it is lost: its talks are over.
pub const LOST_MS: u64 = 4_000;
/// A link that comes after a long silence has so long at least until its gateway states what holds there.
pub const STATE_MS: u64 = 500;
/// Who waits at a gateway nobody queues callers for any more is sent on to a callback or a message so long after.
pub const STRANDED_MS: u64 = 6_000;
/// So many beats that found another process in this gateway's row tell of a twin.
pub const TWIN_BEATS: u8 = 3;
/// So many in a row that found none let it be forgotten.
pub const TWIN_FORGOTTEN_BEATS: u8 = 20;

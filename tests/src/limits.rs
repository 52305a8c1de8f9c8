//! Every bound of the harness in one place. A test that needs more raises it here.

/// Largest SIP message taken from a stream, bytes. A longer one closes the connection.
pub const SIP_MESSAGE_BYTES_MAX: usize = 65_535;
/// SIP messages kept in an agent's trace; later ones are only counted.
pub const SIP_TRACE_LEN_MAX: usize = 20_000;
/// Responses remembered for retransmitted requests; the oldest goes first.
pub const SIP_RESPONSE_CACHE_LEN_MAX: usize = 4_096;
/// RTP packets one stream keeps: an hour at 20 ms. Later ones are only counted.
pub const RTP_PACKETS_KEPT_MAX: usize = 180_000;
/// Messages and reports an ISMG keeps; later ones are dropped.
pub const ISMG_ROWS_MAX: usize = 100_000;
/// Samples of a timeline rebuilt from RTP timestamps: an hour at 8 kHz.
/// A timestamp beyond it is left out and counted as out of range.
pub const TIMELINE_SAMPLES_MAX: usize = 8_000 * 3_600;
/// Digits waiting to be sent on one stream; more are refused.
pub const DIGITS_QUEUED_MAX: usize = 64;
/// Cases, requests and faults a case core double keeps; more answer 507.
pub const CASECORE_ROWS_MAX: usize = 100_000;
/// Bytes of a child's log shown in an error.
pub const LOG_TAIL_BYTES: usize = 4_000;
/// Bytes of one HTTP answer kept in an error text.
pub const HTTP_ERROR_BYTES: usize = 2_000;
/// Time a child has between SIGTERM and SIGKILL when a helper stops it, milliseconds.
pub const STOP_GRACE_MS: u64 = 5_000;
/// Pieces of data one direction of a chaos proxy or UDP relay may hold back.
pub const RELAY_QUEUE_LEN_MAX: usize = 4_096;
/// Ports tried before a search for a free one gives up.
pub const PORT_TRIES_MAX: usize = 200;
/// Timers of RFC 3261 §17: T1 and T2 in milliseconds, and 64 × T1.
pub const SIP_T1_MS: u64 = 500;
/// See [`SIP_T1_MS`].
pub const SIP_T2_MS: u64 = 4_000;
/// See [`SIP_T1_MS`].
pub const SIP_TIMEOUT_MS: u64 = 64 * SIP_T1_MS;

//! Every limit of the trace, with what happens at it.

/// Messages kept of one dialog; further ones are counted, not kept.
pub const DIALOG_MESSAGES_MAX: usize = 200;
/// Bytes kept of one dialog, repeats not counted twice; further messages are counted, not kept.
pub const DIALOG_BYTES_MAX: usize = 128 * 1024;
/// Dialogs kept of one call (an operator's phone that is rung is one); further ones are not traced.
pub const CALL_DIALOGS_MAX: usize = 64;
/// Share of the memory that dialogs of no call may take (refused calls); the oldest go first.
pub const LOOSE_SHARE: usize = 4;
/// A dialog that belongs to no call is forgotten after so long.
pub const LOOSE_US: i64 = 64_000_000;
/// What a message costs beside its bytes, for the sums.
pub const MESSAGE_OVERHEAD_BYTES: usize = 96;
/// A repeat is looked for among so many last messages of its dialog.
pub const REPEAT_LOOK_BACK: usize = 8;
/// After a call's end its last answers are waited for so long before the trace is stored.
pub const LINGER_MS: i64 = 3_000;
/// Calls whose traces wait to be stored; a further one is dropped and counted.
pub const ENDED_MAX: usize = 8_192;
/// Traces stored in one transaction.
pub const BATCH_MAX: usize = 128;
/// Bytes of one stored trace; dialogs that don't fit are left out.
pub const STORED_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Messages waiting for the HEP socket; further ones are dropped and counted.
pub const HEP_QUEUE_MAX: usize = 4_096;
/// Bytes of one HEP packet: what fits a UDP datagram; a longer message is dropped and counted.
pub const HEP_PACKET_BYTES_MAX: usize = 65_000;

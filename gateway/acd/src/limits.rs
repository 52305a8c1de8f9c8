//! Every limit of this package, with what happens when it is reached

/// Queues of a site; further ones are refused when the machine is made
pub const QUEUES_MAX: usize = 64;
/// Skills of a site; further ones are refused when first named
pub const SKILLS_MAX: usize = 64;
/// Operators and excluded persons known by name; a sign-in or a caller that brings one more is refused
pub const OPERATORS_MAX: usize = 16_384;
/// Callers waiting in all queues together, those who return from a talk too; one more is refused as by a full queue
pub const CALLERS_MAX: usize = 65_536;
/// Steps of a queue's widening; further ones are left out
pub const STEPS_MAX: usize = 16;
/// Guest and consultation legs of one operator; further ones aren't counted
pub const ENGAGED_MAX: usize = 8;
/// Past the ring limit an operator whose phone is said to ring is released so much later, whatever the driver says
pub const RING_GRACE_MS: i64 = 5_000;
/// A phone that couldn't be rung for want of room here is tried again after so long
pub const NO_ROOM_PAUSE_MS: i64 = 2_000;
/// A caller waits so long for somebody else while one who declined them is back at work; then anybody will do
pub const DECLINED_MS: i64 = 30_000;
/// A phone that failed is tried again after so long
pub const DEVICE_PAUSE_MS: i64 = 2_000;
/// Whether anybody but whom a caller's matters name has come is looked so often
pub const BARRED_LOOK_MS: i64 = 5_000;
/// 话后 ends at the latest so long after the talk, however often it is extended
pub const WRAP_MAX_MS: i64 = 30 * 60_000;

//! Every bound of this package in one place, with what happens at the bound.

/// Largest flow file in bytes; a longer one is refused by [`Flow::parse`](crate::Flow::parse).
pub const FILE_BYTES_MAX: usize = 256 * 1024;

/// Most nodes of one flow; more are refused when parsing.
pub const NODES_MAX: usize = 512;

/// Longest node id, variable name, prompt id or label in bytes; longer ones are refused when parsing.
pub const NAME_BYTES_MAX: usize = 64;

/// Most items in one list of things to say; more are refused when parsing.
pub const PHRASES_MAX: usize = 32;

/// Most pieces one speech is made of at run time; the rest is left out and an
/// error event is put out.
pub const SPEECH_ITEMS_MAX: usize = 64;

/// Most digits one [`Say::Digits`](crate::Say::Digits) reads out; the rest is left out.
pub const SPOKEN_DIGITS_MAX: usize = 32;

/// Largest number that is read as a number; larger ones are read digit by digit.
pub const SPOKEN_NUMBER_MAX: u32 = 999;

/// Longest silence in milliseconds; a longer one is cut to this.
pub const SILENCE_MS_MAX: u32 = 10_000;

/// Steps from node to node that one input may cause. One more ends the call
/// with `HangUp { reason: "flow_loop" }` and an error event.
pub const TRANSITIONS_PER_INPUT_MAX: usize = 64;

/// Most digits one `collect` node may ask for; a larger `max_len` is refused when parsing.
pub const COLLECT_DIGITS_MAX: usize = 32;

/// Digits remembered while a prompt that must not be cut is playing; further ones are dropped.
pub const TYPE_AHEAD_MAX: usize = 32;

/// Most variables of a running machine; further names are dropped with an error event.
pub const VARS_MAX: usize = 128;

/// Longest value of a variable in bytes; a longer one is cut at a character boundary.
pub const VAR_BYTES_MAX: usize = 512;

/// Outputs that may wait for `poll_output`. One more means that nobody reads
/// them: the machine ends with `HangUp { reason: "outputs_unread" }`.
pub const OUTPUTS_MAX: usize = 1024;

/// Longest time of any timer in a flow file in milliseconds (24 h); longer ones are refused when parsing.
pub const TIMER_MS_MAX: u64 = 24 * 3600 * 1000;

/// Longest recording a flow may ask for in milliseconds (10 min); longer ones are refused when parsing.
pub const RECORD_MS_MAX: u64 = 600_000;

/// How long after `max_ms` a recording's end is waited for, in milliseconds.
/// Then the machine goes on as if it had ended, so that a lost report never
/// leaves a citizen in silence.
pub const RECORD_GRACE_MS: u64 = 2_000;

/// How long a speech that isn't repeated may take, in milliseconds. Then the
/// machine goes on as if it had ended, for the same reason.
pub const SPEECH_MS_MAX: u64 = 120_000;

/// Most skills one `queue` node asks for; more are refused when parsing.
pub const SKILLS_MAX: usize = 8;

/// Most repeats of a question; a larger `repeats` is refused when parsing.
pub const REPEATS_MAX: u32 = 10;

//! Every bound of an aggregator's line, with what happens at it.

/// Octets of an answer that are read; the rest is cut.
pub(super) const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Octets of a push; a larger one gets 413.
pub(super) const PUSH_BYTES_MAX: usize = 512 * 1024;
/// Messages or reports in one push; one with more gets 413 and nothing of it is taken.
pub(super) const PUSH_LEN_MAX: usize = 500;
/// Nesting of a pushed document that is followed to sign it; deeper ones are written as they are.
pub(super) const FIELD_BYTES_MAX: usize = 8 * 1024;
/// Characters of an aggregator's id.
pub(super) const ID_CHARS_MAX: usize = 64;

//! Every bound of the citizens' pages, with what happens there.

use std::time::Duration;

use super::pace::Pace;

/// Characters of the report; longer is an error at the field.
pub(super) const TEXT_CHARS_MAX: usize = 2_000;
/// Characters that make a report without a photo; shorter is an error at the field.
pub(super) const TEXT_CHARS_MIN: usize = 4;
/// Characters of the place (GB/T 35651); longer is an error at the field.
pub(super) const PLACE_CHARS_MAX: usize = 256;
/// Bytes of any field that isn't a file; more ends the request.
pub(super) const FIELD_BYTES_MAX: u64 = 16 * 1024;
/// Parts of a form, files among them; more end the request.
pub(super) const PARTS_MAX: usize = 48;
/// Bytes of all fields that aren't files; more ends the request.
pub(super) const FIELDS_BYTES_MAX: u64 = 64 * 1024;
/// Reports whose files are received at once, one file of each in memory; a further one waits …
pub(super) const UPLOADS_MAX: usize = 12;
/// … and of one address, as are those behind one provider's gateway …
pub(super) const UPLOADS_EACH_MAX: usize = 3;
/// … for so long; then it is asked to try again.
pub(super) const PLACE_WAIT: Duration = Duration::from_secs(20);
/// The longest a report may take to arrive; then it is broken off.
pub(super) const UPLOAD_TIME: Duration = Duration::from_secs(300);
/// An upload brings at least 1 KiB a second, looked at every 30 s; a slower one is broken off, and told so.
pub(super) const PACE: Pace = Pace { bytes: 30 * 1_024, span: Duration::from_secs(30) };
/// Nobody fills in the form faster; programs do.
pub(super) const FILL_MIN_MS: i64 = 2_000;
/// A form left open for longer must be loaded again.
pub(super) const FORM_AGE_MAX_MS: i64 = 24 * 3_600_000;
/// Reports an address may send in an hour, taken or not, by link or without; then it is asked to wait.
pub(super) const TRIES_HOUR_MAX: u32 = 240;
/// The same of all addresses together.
pub(super) const TRIES_ALL_MAX: u32 = 20_000;
/// Addresses whose requests are counted one by one; while the table is full, new ones are counted …
pub(super) const ADDRESSES_MAX: usize = 16_384;
/// … with their neighbours, in so many counters.
pub(super) const NEIGHBOURS_MAX: usize = 4_096;
/// Links that lead nowhere an address may try in an hour; then it is asked to wait.
pub(super) const UNKNOWN_HOUR_MAX: u32 = 60;
/// Links texted in one call; a further wish gets the last one's answer.
pub(super) const CALL_LINKS_MAX: usize = 3;
/// Lapsed links are kept so long: a late visitor hears what happened.
pub(super) const LAPSED_KEPT_MS: i64 = 90 * 86_400_000;
/// Lapsed links are looked for so often.
pub(super) const PRUNE_EVERY: Duration = Duration::from_secs(3_600);
/// Bytes of the map picture; a larger one is an error at the start.
pub(super) const MAP_BYTES_MAX: u64 = 8 * 1024 * 1024;

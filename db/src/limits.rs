//! Every limit of this package, with what happens at it.

use std::time::Duration;

use crate::error::{DbError, Result};

/// Read connections on SQLite; a further reader waits up to [`ACQUIRE_TIMEOUT`].
pub const SQLITE_READERS_MAX: u32 = 4;
/// Connections to PostgreSQL; a further user waits up to [`ACQUIRE_TIMEOUT`].
pub const POSTGRES_CONNECTIONS_MAX: u32 = 16;
/// Connections beside those, one for each gatherer.
pub const POSTGRES_GATHERERS: u32 = 4;
/// A connection to PostgreSQL that was idle for so long is tried before it is used.
pub const CONNECTION_TRUSTED: Duration = Duration::from_secs(1);
/// Longest wait for a connection or a place in the writer's queue; then [`DbError::Busy`].
pub const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for SQLite's file lock held by another process; then [`DbError::Busy`].
pub const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Prepared statements SQLite's writer keeps; a further one replaces the least used.
pub const STATEMENTS_KEPT_MAX: usize = 256;
/// Write jobs waiting for SQLite's one writer; a further job waits, then [`DbError::Busy`].
pub const WRITE_QUEUE_LEN_MAX: usize = 1024;
/// Write jobs gathered into one commit; the rest go into the next one.
pub const WRITE_GROUP_LEN_MAX: usize = 256;
/// Messages PostgreSQL takes in one commit; the rest go into the next one.
pub const MESSAGE_GROUP_LEN_MAX: usize = 128;
/// Steps of conversations PostgreSQL takes in one commit; the rest go into the next one. A citizen's next
/// message waits for it.
pub const SETTLE_GROUP_LEN_MAX: usize = 64;
/// Hand-offs noted, and cases the ledger takes, in one commit on PostgreSQL; the rest go into the next one.
pub const HANDOFF_GROUP_LEN_MAX: usize = 64;
/// Jobs in one commit from which the writer counts as crowded …
pub const WRITE_CROWD_LEN: usize = 4;
/// … and then begins a commit so often at most: each one writes every page it touched and waits
/// for the disk, so that fewer, larger ones carry more calls. A lone job never waits for this.
pub const WRITE_PACE: Duration = Duration::from_millis(8);
/// Pages of the write-ahead log before they are copied into the database file (16 MiB); pages
/// written often, as the newest ones are, are then copied once.
pub const WAL_PAGES_MAX: i64 = 4_096;
/// Pages the writer keeps in memory, KiB.
pub const WRITE_CACHE_KIB: i64 = 16 * 1024;
/// Contacts kept of one phone; more are [`DbError::Invalid`].
pub const REGISTRATIONS_PER_USER_MAX: usize = 64;
/// Bans listed; those that end last.
pub const BANS_LEN_MAX: i64 = 4_096;
/// Longest page of any listing; a larger request is cut to it.
pub const PAGE_LEN_MAX: i64 = 200;
/// Most rows one claim leases; a larger request is cut to it.
pub const CLAIM_LEN_MAX: i64 = 100;
/// Most rows one pruning deletes; a larger request is cut to it.
pub const PRUNE_LEN_MAX: i64 = 1_000;
/// Draws of a random query code before giving up with [`DbError::Exhausted`].
pub const QUERY_CODE_DRAWS_MAX: u32 = 64;
/// Items per region, day and channel: five digits; then [`DbError::Exhausted`].
pub const DAILY_NUMBERS_MAX: i64 = 99_999;
/// Characters of a short text (names, reasons, notes, errors); longer is [`DbError::Invalid`].
pub const SHORT_TEXT_CHARS_MAX: usize = 2_000;
/// Characters of an item's title; longer is [`DbError::Invalid`].
pub const TITLE_CHARS_MAX: usize = 256;
/// Characters of a place; longer is [`DbError::Invalid`].
pub const LOCATION_CHARS_MAX: usize = 256;
/// Characters up to which an item's text grows by what its citizen adds; what comes after stays in the messages.
pub const GROWN_DETAIL_CHARS_MAX: i64 = 20_000;
/// Characters of an item's detail or a transcript; longer is [`DbError::Invalid`].
pub const LONG_TEXT_CHARS_MAX: usize = 200_000;
/// Bytes of one JSON value; longer is [`DbError::Invalid`].
pub const JSON_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Characters of an error kept with a row for the operator; longer is cut.
pub const ERROR_CHARS_KEPT: usize = 1_000;
/// People planned for one shift; more are [`DbError::Invalid`].
pub const SHIFT_MEMBERS_MAX: usize = 500;
/// Pieces of work in one handover; with more it is [`DbError::Conflict`].
pub const HANDOVER_WORKS_MAX: usize = 500;
/// Radius in which the same incident is looked for, metres; a larger one is cut to it.
pub const INCIDENT_RADIUS_M_MAX: f64 = 300.0;
/// Names of places an item is found by; further ones of its text aren't kept.
pub const INCIDENT_NAMES_MAX: usize = 4;
/// Rows read under one key of a place, the newest; older ones of a crowded place aren't candidates.
pub const INCIDENT_ROWS_PER_KEY_MAX: i64 = 64;
/// Candidates read in all; those found under several keys stay.
pub const INCIDENT_CANDIDATES_MAX: usize = 256;
/// Items of one incident, itself included; a merge beyond it is [`DbError::Conflict`].
pub const INCIDENT_MEMBERS_MAX: i64 = 500;
/// Contacts moved by one split; more are [`DbError::Invalid`].
pub const SPLIT_CONTACTS_MAX: usize = 200;
/// Announced incidents at once; a further one is [`DbError::Conflict`].
pub const ANNOUNCEMENTS_MAX: i64 = 5;
/// Payments of one batch; what is beyond it waits for the next month's.
pub const BATCH_PAYMENTS_MAX: i64 = 100_000;
/// Rows read per step while a hash chain is verified.
pub const VERIFY_STEP_LEN: i64 = 1_000;

/// A page length within `1..=PAGE_LEN_MAX`.
pub(crate) fn page(wanted: i64) -> i64 {
    wanted.clamp(1, PAGE_LEN_MAX)
}

/// A claim size within `1..=CLAIM_LEN_MAX`.
pub(crate) fn claim(wanted: i64) -> i64 {
    wanted.clamp(1, CLAIM_LEN_MAX)
}

/// Refuses a text of more than `chars_max` characters or with a NUL (PostgreSQL has none in text).
pub(crate) fn text(field: &'static str, value: &str, chars_max: usize) -> Result<()> {
    if value.len() > chars_max && value.chars().count() > chars_max {
        return Err(DbError::Invalid { field, why: format!("more than {chars_max} characters") });
    }
    if value.contains('\0') {
        return Err(DbError::Invalid { field, why: "contains a NUL character".into() });
    }
    Ok(())
}

/// Refuses JSON that is too large.
pub(crate) fn json(field: &'static str, value: &serde_json::Value) -> Result<String> {
    let text = value.to_string();
    if text.len() > JSON_BYTES_MAX {
        return Err(DbError::Invalid { field, why: format!("more than {JSON_BYTES_MAX} bytes") });
    }
    Ok(text)
}

/// The head of an error text that is kept with a row.
pub(crate) fn error_text(value: &str) -> String {
    value.chars().filter(|c| *c != '\0').take(ERROR_CHARS_KEPT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_counted_not_bytes() {
        assert!(text("title", &"井".repeat(256), 256).is_ok());
        assert!(text("title", &"井".repeat(257), 256).is_err());
    }

    #[test]
    fn a_nul_is_refused_and_an_error_text_is_cut() {
        assert!(text("note", "a\0b", 10).is_err());
        assert_eq!(error_text(&"x".repeat(5_000)).len(), ERROR_CHARS_KEPT);
        assert_eq!(page(10_000), PAGE_LEN_MAX);
        assert_eq!(page(-1), 1);
    }
}

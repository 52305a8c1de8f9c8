//! Every limit of the mail channel, with what happens at it.

use std::time::Duration;

/// Characters kept of a mail's text; the rest is cut off, and the text says so.
pub(super) const TEXT_CHARS_MAX: usize = 10_000;
/// Characters kept of a subject.
pub(super) const SUBJECT_CHARS_MAX: usize = 200;
/// Attachments taken of one mail; further ones stay in the mailbox, and the text says so.
pub(super) const ATTACHMENTS_MAX: usize = 10;
/// An inline picture smaller than this is a logo, and no evidence.
pub(super) const LOGO_BYTES_MAX: usize = 8 * 1024;
/// A store with too many pictures waiting is asked so often again …
pub(super) const BUSY_TRIES_MAX: u32 = 10;
/// … after such a pause; then the picture stays in the mailbox.
pub(super) const BUSY_PAUSE: Duration = Duration::from_millis(500);
/// Message-IDs looked at of `References`, the newest.
pub(super) const REFERENCES_MAX: usize = 20;
/// A longer Message-ID is known by its hash only.
pub(super) const MESSAGE_ID_CHARS_MAX: usize = 200;
/// Read of a mail above `mail.message_max_bytes`: enough for headers and text.
pub(super) const HEAD_BYTES: usize = 256 * 1024;
/// Mails listed at once; the rest come in the next round.
pub(super) const LISTED_MAX: usize = 500;
/// Bytes of one answer of the IMAP server beside the mail itself; more ends the connection.
pub(super) const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Longest wait for an answer of the IMAP server; then the connection is given up.
pub(super) const ANSWER: Duration = Duration::from_secs(60);
/// Longest wait for a mail's bytes.
pub(super) const FETCH: Duration = Duration::from_secs(300);
/// Longest wait for TCP, TLS and greeting.
pub(super) const CONNECT: Duration = Duration::from_secs(20);
/// First pause before connecting again; doubles, with full jitter …
pub(super) const RECONNECT_MS: u64 = 1_000;
/// … up to this.
pub(super) const RECONNECT_MAX_MS: u64 = 120_000;
/// A connection that lived so long begins the pauses anew.
pub(super) const STEADY: Duration = Duration::from_secs(60);
/// A mail whose answer could not be read so often in a row is set aside …
pub(super) const UNREADABLE_MAX: u32 = 3;
/// … and one at which the connection ended otherwise so often.
pub(super) const BREAKS_MAX: u32 = 10;
/// At the very first look, mail that came in so long before is taken; older mail is left alone.
pub(super) const FIRST_LOOK_BACK_MS: i64 = 24 * 3_600_000;
/// Bytes of hook requests in memory before their signatures are known, in KiB; beyond, they are asked to come
/// again: who sends nothing takes up nothing.
pub(super) const HOOK_BODIES_KIB_MAX: usize = 192 * 1024;
/// Longest wait for a hook request's body.
pub(super) const HOOK_BODY: Duration = Duration::from_secs(60);
/// Signed hook requests at work at once; further ones wait.
pub(super) const HOOKS_AT_WORK_MAX: usize = 4;
/// A hook's time stamp may differ from our clock by so much.
pub(super) const HOOK_WINDOW_S: i64 = 300;
/// Outgoing mails claimed at once.
pub(super) const SENT_AT_ONCE: i64 = 4;
/// A claimed mail is ours for so long beyond the server's time limit.
pub(super) const LEASE_MARGIN_MS: i64 = 60_000;
/// Pause while nothing is to be sent.
pub(super) const IDLE: Duration = Duration::from_millis(500);

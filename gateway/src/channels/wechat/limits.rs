//! Every limit of this channel, with what happens at it.

/// Bytes of one pushed body; a longer one is refused with 413 before it is read whole.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// XML nodes of one message; more are refused.
pub const NODES_MAX: u32 = 512;
/// Characters of one field of a message (openid, ids, types); longer is refused.
pub const FIELD_CHARS_MAX: usize = 512;
/// Characters of a citizen's text; the rest is cut off and marked.
pub const TEXT_CHARS_MAX: usize = 8_000;
/// WeChat gives up on an answer after 5 s: ours comes before.
pub const ANSWER_MS: u64 = 4_500;
/// A pushed message whose time stamp lies further ahead than this is refused.
pub const AHEAD_S: i64 = 300;
/// Bytes of one text we send; WeChat refuses longer ones (45002), so the rest is cut off.
pub const REPLY_BYTES_MAX: usize = 2_048;
/// Characters of one value of a template message; the platform refuses longer ones.
pub const TEMPLATE_VALUE_CHARS_MAX: usize = 64;
/// Bytes of an answer of the platform that is no media; more is an error.
pub const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of one picture, voice or video fetched; more is given up.
pub const MEDIA_BYTES_MAX: usize = 20 * 1024 * 1024;
/// Media are fetched by so many at once.
pub const FETCHES_AT_ONCE: usize = 4;
/// A media id lives three days: after so long without success the fetch is given up.
pub const FETCH_LIFE_MS: i64 = 3 * 24 * 3_600 * 1_000;
/// First pause after a failed fetch or send; doubles up to [`RETRY_MS_MAX`].
pub const RETRY_MS_MIN: i64 = 2_000;
/// Longest pause between two tries.
pub const RETRY_MS_MAX: i64 = 600_000;
/// A row being fetched or sent comes back after so long when its worker died.
pub const LEASE_MS: i64 = 15_000;
/// Rows taken at once.
pub const CLAIM_ROWS: i64 = 20;
/// The workers look for rows so often when nobody wakes them.
pub const LOOK_EVERY_MS: u64 = 500;
/// A token is taken as run out so long before it is.
pub const TOKEN_MARGIN_MS: i64 = 120_000;
/// After an access token was refused it is asked for anew this often at most.
pub const TOKEN_REFRESH_MS: i64 = 5_000;
/// Pages of one `sync_msg` round; the rest waits for the next.
pub const SYNC_PAGES_MAX: usize = 50;
/// Accounts of 微信客服 served; hints of more are dropped, and the list asked for in this many entries.
pub const KF_ACCOUNTS_MAX: usize = 100;
/// Bytes of an `open_kfid`; longer ones aren't the platform's.
pub const KF_ACCOUNT_BYTES_MAX: usize = 64;
/// Messages asked for in one page of `sync_msg`.
pub const SYNC_PAGE_ROWS: u32 = 500;
/// Seconds of a voice that are decoded; WeChat allows 60.
pub const VOICE_S_MAX: u32 = 120;
/// Time the decoder may take before it is killed.
pub const DECODE_MS: u64 = 30_000;
/// A decoder that takes too long or fails for the disk's sake is tried so often in all.
pub const DECODE_TRIES_MAX: i64 = 3;
/// Bytes of a decoded voice; the decoder is stopped there.
pub const VOICE_WAV_BYTES_MAX: u64 = 8_000 * 2 * 130;
/// Items named by 我的诉求.
pub const MY_ITEMS: i64 = 5;
/// One warning about refused pushes a minute; the counter has them all.
pub const WARN_EVERY_MS: i64 = 60_000;

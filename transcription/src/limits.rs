//! Every limit of this package: its value and what happens there.

/// Longest recording transcribed, ms. Longer: the rest is dropped and the
/// transcript is marked `truncated`. The longest call known took 4,751 s.
pub const AUDIO_MS_MAX: u64 = 3 * 3_600_000;
/// Most channels read from a WAV. More: only these are transcribed.
pub const CHANNELS_MAX: u16 = 2;
/// Sample rates accepted, Hz. Outside: the recording fails for good.
pub const RATE_HZ_MIN: u32 = 4_000;
/// See [`RATE_HZ_MIN`].
pub const RATE_HZ_MAX: u32 = 192_000;
/// Bytes of a WAV's head searched for its `data` chunk. Beyond: not a WAV.
pub const WAV_HEAD_BYTES_MAX: u64 = 64 * 1024;

/// A window sent to the engine holds at most this much, ms (whisper hears 30 s).
pub const WINDOW_MS_MAX: u64 = 28_000;
/// Longer speech is cut at its quietest place between this and [`WINDOW_MS_MAX`].
pub const WINDOW_MS_MIN: u64 = 20_000;
/// Silence between two packed pieces, ms, so that the engine hears a pause.
pub const PIECE_GAP_MS: u64 = 300;

/// Longest text of one segment, characters. Beyond: cut.
pub const SEGMENT_CHARS_MAX: usize = 2_000;
/// Most segments of a transcript. Beyond: dropped, `truncated` is set.
pub const SEGMENTS_MAX: usize = 20_000;
/// Longest text searched for fields, characters. Beyond: not searched.
pub const FIELD_TEXT_CHARS_MAX: usize = 200_000;
/// Most place candidates returned, best first.
pub const PLACES_MAX: usize = 8;
/// Longest place, characters (the item's location text holds 256).
pub const PLACE_CHARS_MAX: usize = 40;
/// Most class guesses returned, best first.
pub const CLASSES_MAX: usize = 3;

/// Longest line between parent and child, bytes. Beyond: the child is killed.
pub const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Longest error message kept, characters. Beyond: cut.
pub const ERROR_CHARS_MAX: usize = 500;
/// Lines of the child's stderr logged per request. Beyond: read and dropped.
pub const STDERR_LINES_MAX: usize = 200;
/// Time for a fresh child to load its model and say so, ms. Beyond: killed.
pub const WORKER_START_MS_MAX: u64 = 180_000;
/// First pause after a child died, ms; doubles up to [`WORKER_BACKOFF_MS_MAX`].
pub const WORKER_BACKOFF_MS_MIN: u64 = 500;
/// Longest pause before a child is started again, ms.
pub const WORKER_BACKOFF_MS_MAX: u64 = 60_000;
/// Requests after which a child is replaced: native libraries leak a little.
pub const WORKER_REQUESTS_MAX: u32 = 200;

/// Attempts of one job. After the last failure the job has failed for good.
pub const JOB_ATTEMPTS_MAX: i64 = 5;
/// Pause before the second attempt, ms; grows fourfold up to [`JOB_RETRY_MS_MAX`].
pub const JOB_RETRY_MS_MIN: i64 = 15_000;
/// Longest pause between two attempts, ms.
pub const JOB_RETRY_MS_MAX: i64 = 3_600_000;
/// How often the loop looks again for a missing model, ms.
pub const MODEL_LOOK_MS: u64 = 10_000;
/// Pause after an engine turned a request away, ms; then waiting jobs are tried again.
pub const ENGINE_PAUSE_MS: i64 = 60_000;
/// Times a transcript is offered to a busy database. Then the lease runs out.
pub const STORE_TRIES_MAX: u32 = 5;
/// Workers side by side. More are not started.
pub const WORKERS_MAX: u32 = 16;

/// Largest answer of an HTTP engine, bytes. Beyond: the request fails.
pub const HTTP_ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Times a broken download is resumed before it is given up.
pub const DOWNLOAD_TRIES_MAX: u32 = 5;
/// Download without a byte for this long, ms: the connection is dropped.
pub const DOWNLOAD_STALL_MS_MAX: u64 = 30_000;
/// Bytes that stay free on the disk beside the model.
pub const DISK_SPARE_BYTES: u64 = 64 * 1024 * 1024;
/// Largest model accepted, bytes (large-v3 has 3.1 GB).
pub const MODEL_BYTES_MAX: u64 = 8 * 1024 * 1024 * 1024;
/// Largest checksum file read, bytes.
pub const CHECKSUM_FILE_BYTES_MAX: usize = 4_096;
/// Tensors of a model file looked at. Beyond: not a speech model.
pub const MODEL_TENSORS_MAX: u32 = 10_000;
/// Vocabulary entries of a model file. Beyond: not a speech model.
pub const MODEL_VOCAB_MAX: u32 = 200_000;

//! Every bound of the attachment store, with what happens there.

/// Bytes of a picture; a larger one is refused.
pub const IMAGE_BYTES_MAX: usize = 20 * 1024 * 1024;
/// Bytes of a sound; a larger one is refused.
pub const AUDIO_BYTES_MAX: usize = 10 * 1024 * 1024;
/// Bytes of a video; a larger one is refused.
pub const VIDEO_BYTES_MAX: usize = 50 * 1024 * 1024;
/// Width or height of a picture that is decoded; a larger one is refused.
pub const EDGE_MAX_PX: u32 = 20_000;
/// Pixels of a picture that is decoded (50-megapixel phones exist); more are refused as a bomb.
pub const PIXELS_MAX: u64 = 52_000_000;
/// Bytes one decoded picture may take; more are refused.
pub const DECODED_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Pictures decoded at once: each may take `DECODED_BYTES_MAX`, and calls come first.
pub const DECODING_MAX: usize = 1;
/// Pictures that wait for that; a further one gets a "try again".
pub const WAITING_MAX: usize = 64;
/// Longest edge of the copy people look at.
pub const PAGE_EDGE_PX: u32 = 1_600;
/// Longest edge of the copy in lists.
pub const THUMB_EDGE_PX: u32 = 320;
/// JPEG quality of both copies.
pub const JPEG_QUALITY: u8 = 82;
/// Metadata in a picture (EXIF) that is read; a larger file's beginning counts.
pub const EXIF_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Below so much free space attachments are turned away: calls' recordings share the disk.
pub const DISK_FREE_MIN_BYTES: u64 = 1024 * 1024 * 1024;

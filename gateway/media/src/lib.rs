//! RTP, G.711, DTMF, prompts, bridging and recording as a deterministic core.
//!
//! The core opens no socket and reads no clock: [`engine::Engine`] takes packets and commands with
//! the time they happened at, and hands back packets to send, blocks of audio to store and events.
//! Only [`recorder`] touches files, on the threads of its caller.
//!
//! A packet's way: `engine` → `latch` (is it from the right peer?) → `rtp` (is it new?) → the
//! bridged leg's stream and the recordings of both legs, all in the same call.

pub mod codec;
pub mod comfort;
pub mod conceal;
pub mod dtmf;
pub mod engine;
pub mod jitter;
pub mod latch;
pub mod limits;
pub mod mixer;
pub mod player;
pub mod quality;
pub mod recorder;
pub mod rtc;
pub mod rtcp;
pub mod rtp;
pub mod sdp;
pub mod srtp;
mod table;
pub mod tone;
mod types;

pub use player::{Clip, ClipError};
pub use recorder::{RepairError, Repaired, repair};
pub use table::LegTable;
pub use types::{Codec, LegId, LegParams, LegStats, OtherFormats, RecordingId, XrWish};

//! Two-channel recordings: left what the leg's peer sent, right what was sent to it.
//!
//! [`Recording`] places audio by RTP timestamp in a window of a second and hands blocks to a writer;
//! [`WavFile`] stores them on the writer's thread; [`repair`] finishes what a crash left behind.

mod hash;
mod held;
mod levels;
mod op;
mod pool;
mod recording;
mod repair;
mod stretch;
mod timeline;
mod wav;
mod window;
mod writer;

pub use hash::sha256_file;
pub use held::Audio;
pub use levels::{LEVEL_MIN_DBFS, Levels, levels_path, read_levels, write_levels};
pub use op::{Finish, RecordingKey, Write};
pub use pool::{Block, BlockPool};
pub use recording::{Channel, Packet, Placed, Recording, RecordingSpec};
pub use repair::{RepairError, Repaired, repair};
pub use timeline::{Moved, Origin, Place, Stamp, Timeline};
pub use wav::{HEADER_LEN, WavError, WavFormat, WavHeader, header, parse_header};
pub use window::{Cell, Window};
pub use writer::{Finished, WavFile, part_path};

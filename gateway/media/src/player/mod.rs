//! Prompts: clips in memory, played one after the other in frames of 20 ms.
//!
//! The player only knows what comes next; when it is due is the engine's wheel's business.

mod clip;
mod queue;

pub use clip::{Clip, ClipError};
pub use queue::Player;

//! Mixing 20 ms frames: who hears whom ([`Matrix`]), the sum ([`mix`]), how loud somebody is
//! ([`Meter`]) and making quiet voices louder ([`AutoGain`]).
//!
//! Three-way, listening, whispering and barging in are rows of one matrix and nothing else: a
//! member whose row doesn't name another gets not one bit of it.

mod gain;
mod level;
mod matrix;
mod sum;

pub use gain::AutoGain;
pub use level::Meter;
pub use matrix::{Hears, Matrix, MatrixError};
pub use sum::mix;

use crate::limits::FRAME_SAMPLES;

/// 20 ms of 8 kHz mono.
pub type Frame = [i16; FRAME_SAMPLES];
/// A frame of silence.
pub const SILENT: Frame = [0; FRAME_SAMPLES];

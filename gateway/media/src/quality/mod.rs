//! How a leg sounds: the E-model (ITU-T G.107) over loss, delay and jitter of both directions, and
//! legs whose packets carry no sound. Pure arithmetic; the engine feeds it.

mod burst;
mod emodel;
mod meter;
mod silence;

pub use burst::{BurstSummary, Bursts};
pub use emodel::{Equipment, Path, mos, r_factor};
pub use meter::{DirectionQuality, LegQuality, Meter, PeerView, Reception};
pub use silence::Ear;

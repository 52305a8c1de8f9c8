//! Queues and operators. `assign` and `core` decide and are pure; `owner` is the one task per queue
//! that feeds them, rings the calls' drivers and writes the rows.

pub mod assign;
mod core;
mod owner;
mod rows;

pub use assign::Lane;
pub use core::{Decline, OperatorRef, OperatorState};
pub use owner::{Acd, AcdError, CallNews, OperatorView, QueueView};

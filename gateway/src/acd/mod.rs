//! Queues and operators. `hotline_acd` decides and is pure; `owner` is the one task that feeds it, rings the calls'
//! drivers and hands the rows to `rows`; what outlives the task stands in `mirror`.

mod handle;
mod jobs;
mod mirror;
mod owner;
mod rows;
#[cfg(test)]
mod tests;
mod truth;
mod views;

pub use handle::{Acd, AcdError, Change};
pub use hotline_acd::{Decline, Entry, Lane, Move, OperatorRef, OperatorState, Profile, Refused, Standing};
pub use mirror::CallNews;
pub use views::{CallerView, OperatorView, QueueView};

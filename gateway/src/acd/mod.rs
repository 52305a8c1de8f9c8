//! Queues and operators. `hotline_acd` decides and is pure; `owner` is the one task that feeds it, rings the calls'
//! drivers and hands the rows to `rows`; what outlives the task stands in `mirror`. Where several gateways share the
//! queues, `station` is this gateway's part in that: what is said (`command`) goes to the one that leads.

mod command;
mod engaged;
mod handle;
mod jobs;
mod keep;
mod look;
mod mirror;
mod opening;
mod outlet;
mod owner;
mod phones;
mod route;
mod rows;
mod service;
mod station;
#[cfg(test)]
mod tests;
mod truth;
mod views;
mod wire;

pub use handle::{Acd, AcdError, Change, Figures};
pub use hotline_acd::{Decline, Entry, Lane, Move, OperatorRef, OperatorState, Profile, Refused, Standing};
pub use mirror::CallNews;
pub(crate) use route::ASK_WITHIN;
pub use service::Service;
pub use views::{CallerView, OperatorView, QueueView};

//! Queues and operators' states as a deterministic machine: no sockets, no clock, no rows.
//!
//! [`Core`] is the one door: what happens goes in as a method with a time, [`Effect`]s come out of
//! [`Core::poll_output`], deadlines out of [`Core::poll_timeout`]. Who serves whom is decided by [`assign::assign`]
//! alone, a pure function over the waiting callers and the free operators.

pub mod assign;
mod core;
mod effect;
mod estimate;
pub mod limits;
mod model;
mod names;
mod operator;
mod waiting;

pub use crate::core::{CallerView, Core, OperatorView, QueueView};
pub use effect::{CallerRow, Effect, OperatorRow};
pub use estimate::Estimator;
pub use model::{
    ALL_ASKED, Decline, Entry, Lane, Move, OperatorRef, OperatorState, Profile, QueueSettings, Refused, Standing, Widen,
};

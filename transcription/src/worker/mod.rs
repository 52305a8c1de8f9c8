//! The child process that runs the engine, and its parent.
//!
//! Native speech code may abort, loop or eat memory; in a child none of this
//! reaches a call. One request at a time, JSON lines both ways.

pub mod child;
pub mod parent;
pub mod protocol;

pub use child::worker_main;
pub use parent::{Worker, WorkerCommand, WorkerError};
pub use protocol::{FaultKind, Reply, Request};

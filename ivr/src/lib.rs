//! Voice flows in TOML, run by a deterministic machine.
//!
//! [`Flow`] is what a flow file says; [`Flow::check`] finds what would leave a
//! citizen in silence, [`Flow::mermaid`] draws it. [`Machine`] runs a flow for
//! one call: it is told what happened ([`Input`]) and when, and answers with
//! what to do ([`Output`]). It opens no sockets, files or clocks.

mod check;
mod flow;
mod graph;
pub mod limits;
mod machine;
pub mod say;

pub use check::{Finding, Severity};
pub use flow::{Flow, FlowError, Problem};
pub use machine::{EventKind, Input, Lane, Machine, NotQueued, Output};
pub use say::Say;

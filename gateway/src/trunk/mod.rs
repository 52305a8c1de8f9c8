//! Carrier trunks: sockets and certificates, registration, health, and which one a call of ours takes.
//!
//! `registration`, `health`, `choose` and `rewrite` decide; `state` keeps, `driver` asks.

pub mod choose;
mod driver;
mod health;
mod metrics;
mod registration;
mod resolve;
mod rewrite;
mod sockets;
mod state;

pub use driver::{spawn, unregister};
pub use metrics::render as render_metrics;
pub use registration::RegistrationState;
pub use rewrite::rewrite;
pub(crate) use sockets::towards;
pub use sockets::{advertised, core_trunks, local_of, sockets};
pub use state::{Attempt, TargetView, TrunkCall, TrunkState, TrunkView, Trunks};

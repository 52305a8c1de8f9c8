//! Counters, health and logs.

pub mod health;
pub mod logs;
mod metrics;
mod sip;

pub use metrics::{Metrics, follow_outbox};
pub use sip::{Passing, SipCounters};

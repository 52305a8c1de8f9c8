//! Counters, health and logs.

pub mod health;
pub mod logs;
mod metrics;

pub use metrics::{Metrics, follow_outbox};

//! Counters, health and logs.

pub mod health;
pub mod logs;
mod metrics;
mod quality;
mod sip;

pub use metrics::{Metrics, follow_outbox};
pub use quality::QualityMetrics;
pub use sip::{Passing, SipCounters};

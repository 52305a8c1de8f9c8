//! Counters, health and logs.

mod cluster;
pub mod health;
pub mod logs;
mod mail;
mod metrics;
mod quality;
mod robot;
mod sip;

pub use cluster::follow_cluster;
pub use metrics::{Metrics, follow_outbox};
pub use quality::QualityMetrics;
pub use sip::{Passing, SipCounters};

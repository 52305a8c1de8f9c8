//! The operators' work queue: how long work is lent, and how much time there is.

use serde::{Deserialize, Serialize};

/// The work queue (诉求受理队列).
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Worklist {
    /// Work taken is lent for so long; who works on it renews it. Then it returns to its place.
    pub lease_s: u64,
    /// A citizen who wrote hears of us within so long (GB/T 33358: three minutes).
    pub acknowledge_s: u64,
    /// Work is done within so many minutes, by urgency: 特急, 紧急, 及时, 一般, 疑难.
    pub handle_min: [u64; 5],
    /// Hours of 工作日, as 08:30-12:00, in which the time of 及时, 一般 and 疑难 passes; none: it always does.
    pub hours: Vec<String>,
}

impl Default for Worklist {
    fn default() -> Self {
        Self { lease_s: 90, acknowledge_s: 180, handle_min: [5, 10, 60, 240, 480], hours: Vec::new() }
    }
}

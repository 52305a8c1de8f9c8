//! What is kept and sent on of the SIP messages that pass.

use serde::{Deserialize, Serialize};

/// Traces of calls.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Trace {
    /// Memory for the traces of running calls; the oldest call's gives way. 0: nothing is traced.
    pub memory_mb: u32,
    /// Days a call's trace is kept after it, sealed like numbers; 0: only while it runs.
    pub keep_days: u32,
    /// Where messages are sent on to.
    pub hep: Hep,
}

impl Default for Trace {
    fn default() -> Self {
        Self { memory_mb: 16, keep_days: 7, hep: Hep::default() }
    }
}

/// A Homer or heplify collector.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Hep {
    /// `host:port` of the collector's UDP input; empty: none.
    pub address: String,
    /// Capture agent id.
    pub capture_id: u32,
    /// Authenticate key; empty: none.
    pub password: String,
    /// Numbers and names are masked before they leave. Unmasked, the collector holds citizens' numbers in
    /// the clear and needs the same protection as this machine.
    pub masked: bool,
}

impl Default for Hep {
    fn default() -> Self {
        Self { address: String::new(), capture_id: 2_001, password: String::new(), masked: true }
    }
}

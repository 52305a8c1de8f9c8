//! When the shift leader is alarmed.

use serde::{Deserialize, Serialize};

/// Alarms of the floor (值班告警). 0 switches one off.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Alarm {
    /// A caller waits for so long.
    pub wait_s: u64,
    /// 话后 lasts for so long.
    pub wrap_s: u64,
    /// 离席 lasts for so long (脱岗).
    pub away_s: u64,
    /// A queue has had no operator signed in for so long.
    pub signed_out_s: u64,
}

impl Default for Alarm {
    fn default() -> Self {
        Self { wait_s: 60, wrap_s: 300, away_s: 900, signed_out_s: 60 }
    }
}

//! When two reports are taken for one incident.

use serde::{Deserialize, Serialize};

use super::judge::{Fault, fault};

/// What the gateway does about strong matches by itself.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Merging {
    /// Candidates are shown; a person merges.
    #[default]
    Suggest,
    /// A strong match is merged at once; a person can take it apart.
    Auto,
}

/// Same-incident radar.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Incident {
    /// Metres around a position in which candidates are looked for.
    pub radius_m: u32,
    /// Hours back in which candidates are looked for.
    pub window_h: u32,
    /// What happens to a strong match.
    pub merge: Merging,
    /// Score from which a match is strong, 50 to 100.
    pub merge_score: i64,
    /// Minutes between two reports beyond which no match is strong.
    pub merge_window_min: u32,
    /// Reporters from which on an urgent incident (urgency 1 or 2) is announced to callers by
    /// itself; 0: a shift leader announces.
    pub announce_reporters: u32,
    /// Minutes an incident is announced.
    pub announce_min: u32,
}

impl Default for Incident {
    fn default() -> Self {
        Self {
            radius_m: 120,
            window_h: 72,
            merge: Merging::Suggest,
            merge_score: 80,
            merge_window_min: 60,
            announce_reporters: 0,
            announce_min: 120,
        }
    }
}

impl Incident {
    pub(super) fn judge(&self) -> Result<(), Fault> {
        for (key, value, least, most) in [
            ("incident.radius_m", i64::from(self.radius_m), 10, 300),
            ("incident.window_h", i64::from(self.window_h), 1, 720),
            ("incident.merge_score", self.merge_score, 50, 100),
            ("incident.merge_window_min", i64::from(self.merge_window_min), 1, 10_080),
            ("incident.announce_reporters", i64::from(self.announce_reporters), 0, 1_000),
            ("incident.announce_min", i64::from(self.announce_min), 5, 2_880),
        ] {
            if !(least..=most).contains(&value) {
                return fault(
                    key,
                    format!("{value} is outside {least}…{most}"),
                    "取范围内的值 / choose a value inside",
                );
            }
        }
        Ok(())
    }
}

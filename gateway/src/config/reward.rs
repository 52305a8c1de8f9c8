//! Rewards: whether, by which rules, and when they are paid.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::judge::{Fault, fault};

/// Rewards (有奖举报).
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Reward {
    /// Decide on rewards at all.
    pub enabled: bool,
    /// The rules, a TOML file; see `ops/reward.example.toml`.
    pub rules_file: Option<PathBuf>,
    /// Day of the month on which the batch of the month before is made.
    pub payment_day: u32,
    /// Local hour from which it is made.
    pub payment_hour: u32,
    /// Numbers of inspectors and staff, E.164: they get nothing.
    pub excluded_numbers: Vec<String>,
    /// How often it is looked whether something is due, ms.
    pub poll_ms: u64,
}

impl Default for Reward {
    fn default() -> Self {
        Self {
            enabled: false,
            rules_file: None,
            payment_day: 5,
            payment_hour: 3,
            excluded_numbers: Vec::new(),
            poll_ms: 5_000,
        }
    }
}

impl Reward {
    pub(super) fn judge(&self) -> Result<(), Fault> {
        if self.enabled && self.rules_file.is_none() {
            return fault(
                "reward.rules_file",
                "is missing".into(),
                "填写规则文件,参见 ops/reward.example.toml / name the rules' file, see ops/reward.example.toml",
            );
        }
        for (key, value, least, most) in [
            ("reward.payment_day", u64::from(self.payment_day), 1, 28),
            ("reward.payment_hour", u64::from(self.payment_hour), 0, 23),
            ("reward.poll_ms", self.poll_ms, 100, 3_600_000),
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

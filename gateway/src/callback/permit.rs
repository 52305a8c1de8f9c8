//! The trunk callbacks leave by. Whether a number is called at all, `dialout` decides.

use crate::config::{Config, Trunk};

/// No trunk places calls.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("没有可外呼的中继 / no trunk with `outbound` is configured")]
pub struct NoTrunk;

/// The configured trunk, else the first that places calls.
pub fn trunk(config: &Config) -> Result<&Trunk, NoTrunk> {
    let wanted = &config.callback.trunk;
    config.trunks.iter().find(|t| t.outbound.is_some() && (wanted.is_empty() || t.name == *wanted)).ok_or(NoTrunk)
}

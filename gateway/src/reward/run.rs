//! Decides what is due, and makes the month's batch on its day.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hotline_db::DbError;
use tracing::{error, info, warn};

use super::judge::judge;
use super::rules::Rules;
use crate::app::Services;
use crate::clock::{local_date, now_ms};
use crate::config::Config;
use crate::privacy::{Sealer, normalize_phone};

/// Items of one sweep.
const BATCH: i64 = 50;
/// What nobody pays for is forgotten so often.
const CLEAR: Duration = Duration::from_secs(60);
const HOUR_MS: i64 = 3_600_000;

/// Local month of a moment, `2026-03`.
#[must_use]
pub fn month_of(at: i64, utc_offset_min: i32) -> String {
    let (year, month, _) = local_date(at, utc_offset_min);
    format!("{year:04}-{month:02}")
}

/// The month before the local month of a moment.
#[must_use]
pub fn month_before(at: i64, utc_offset_min: i32) -> String {
    let (year, month, _) = local_date(at, utc_offset_min);
    if month == 1 { format!("{:04}-12", year - 1) } else { format!("{year:04}-{:02}", month - 1) }
}

/// Whether the batch of the month before is due: from its day and hour to the month's end.
#[must_use]
pub fn is_payment_time(at: i64, utc_offset_min: i32, day: u32, hour: u32) -> bool {
    // A day has begun `hour` hours later.
    let (_, _, today) = local_date(at - i64::from(hour) * HOUR_MS, utc_offset_min);
    let (_, _, date) = local_date(at, utc_offset_min);
    today >= i64::from(day) && date >= i64::from(day)
}

/// Keyed hashes of the numbers that get nothing.
#[must_use]
pub fn excluded(config: &Config, sealer: &Sealer) -> BTreeSet<String> {
    let numbers = &config.reward.excluded_numbers;
    numbers.iter().filter_map(|n| normalize_phone(n, &config.site.area_code)).map(|n| sealer.hash(&n)).collect()
}

/// Starts the work; with rewards off it only forgets what is due.
pub fn spawn(sv: &Arc<Services>) {
    let sv = Arc::clone(sv);
    tokio::spawn(async move {
        let rules = match (&sv.config.reward.rules_file, sv.config.reward.enabled) {
            (Some(path), true) => match Rules::load(path) {
                Ok(rules) => Some(Arc::new(rules)),
                Err(e) => {
                    error!(error = %e, "奖励规则不可用,暂不决定 / no reward is decided until the rules are right");
                    return;
                }
            },
            _ => None,
        };
        let pause = if rules.is_some() { Duration::from_millis(sv.config.reward.poll_ms) } else { CLEAR };
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = sv.cancel.cancelled() => return,
            }
            let done = match &rules {
                Some(rules) => step(&sv, rules).await,
                None => sv.store.rewards_due_clear().await.map(|_| ()),
            };
            if let Err(e) = done {
                warn!(error = %e, "rewards");
            }
        }
    });
}

async fn step(sv: &Services, rules: &Arc<Rules>) -> Result<(), DbError> {
    let offset = sv.config.site.utc_offset_min;
    let staff = Arc::new(excluded(&sv.config, &sv.sealer));
    for item in sv.store.rewards_due(BATCH).await? {
        let now = now_ms();
        let (rules, staff) = (Arc::clone(rules), Arc::clone(&staff));
        let judged = Box::new(move |e: &hotline_db::RewardEvidence| judge(&rules, &staff, offset, e));
        match sv.store.reward_decide(item, judged, &month_of(now, offset), now).await {
            Ok(Some(decision)) => {
                info!(item = %decision.item, rev = decision.rev, outcome = decision.outcome.as_str(), "reward decided");
            }
            Ok(None) => {}
            Err(e) if e.is_transient() => return Err(e),
            // One that can't be decided holds up neither the others nor the month's batch.
            Err(e) => {
                error!(%item, error = %e, "此件奖励无法决定,稍后再试 / this reward can't be decided: tried again later");
                sv.store.reward_put_off(item, now).await?;
            }
        }
    }
    let now = now_ms();
    if is_payment_time(now, offset, sv.config.reward.payment_day, sv.config.reward.payment_hour) {
        let month = month_before(now, offset);
        // Asked by month first: making it takes the writer.
        if sv.store.reward_batch_of(&month).await?.is_none() {
            let (batch, made) = sv.store.reward_batch_make(&month, None, now).await?;
            if made {
                info!(month, payments = batch.payments, fen = batch.total_fen, "reward batch made: waits for approval");
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-03-05 03:00 in China.
    const PAYDAY: i64 = 1_772_650_800_000;

    #[test]
    fn the_batch_is_due_from_the_fifth_at_three_local_time() {
        let due = |at| is_payment_time(at, 480, 5, 3);
        assert!(!due(PAYDAY - 1) && due(PAYDAY) && due(PAYDAY + 24 * HOUR_MS));
        assert!(due(PAYDAY + 26 * 24 * HOUR_MS), "the 31st");
        assert!(!due(PAYDAY + 27 * 24 * HOUR_MS - 2 * HOUR_MS), "the first of April");
        assert_eq!(month_before(PAYDAY, 480), "2026-02");
        assert_eq!(month_of(PAYDAY, 480), "2026-03");
        assert_eq!(month_before(PAYDAY - 60 * 24 * HOUR_MS, 480), "2025-12");
    }
}

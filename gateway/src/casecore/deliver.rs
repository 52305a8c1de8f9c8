//! The outbox's driver: takes due rows in order per item, delivers, and remembers what happened.

use std::sync::Arc;
use std::time::Duration;

use hotline_db::{Handoff, Store};
use rand::Rng;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::contract::{CaseCore, Core, DeliverError, Receipt};
use crate::app::now_ms;
use crate::config::CaseCore as Settings;

/// Rows claimed at once; they are delivered side by side.
const BATCH: i64 = 16;
/// A claimed row is ours for so long beyond the request's own limit.
const LEASE_MARGIN_MS: i64 = 30_000;
const IDLE: Duration = Duration::from_millis(250);

/// Runs until cancelled.
pub async fn run(store: Store, core: Arc<Core>, settings: Settings, cancel: CancellationToken) {
    let lease_ms = i64::try_from(settings.timeout_ms).unwrap_or(10_000) * 2 + LEASE_MARGIN_MS;
    loop {
        let claimed = store.handoff_claim(now_ms(), lease_ms, BATCH).await.unwrap_or_else(|e| {
            warn!(error = %e, "outbox");
            Vec::new()
        });
        if claimed.is_empty() {
            tokio::select! {
                () = tokio::time::sleep(IDLE) => continue,
                () = cancel.cancelled() => return,
            }
        }
        let mut tasks = tokio::task::JoinSet::new();
        for row in claimed {
            let (store, core, settings) = (store.clone(), Arc::clone(&core), settings.clone());
            tasks.spawn(async move { deliver_one(&store, &core, &settings, row).await });
        }
        tasks.join_all().await;
        if cancel.is_cancelled() {
            return;
        }
    }
}

async fn deliver_one(store: &Store, core: &Core, settings: &Settings, row: Handoff) {
    let outcome = attempt(core, &row).await;
    let written = match &outcome {
        Ok(receipt) => {
            info!(item = %row.item, kind = row.kind.as_str(), case = receipt.case_no, attempts = row.attempts, "handed off");
            store.handoff_delivered(row.id, &receipt.case_no, now_ms()).await.map(|_| ())
        }
        Err(e @ (DeliverError::Permanent(_) | DeliverError::NotFound)) => {
            error!(item = %row.item, kind = row.kind.as_str(), error = %e, "case core refuses: a person must look");
            store.handoff_poison(row.id, &e.to_string()).await.map(|_| ())
        }
        Err(e) if row.attempts >= settings.attempts_max => {
            error!(item = %row.item, error = %e, "hand-off given up after {} attempts: a person must look", row.attempts);
            store.handoff_poison(row.id, &e.to_string()).await.map(|_| ())
        }
        Err(e) => {
            let pause = backoff_ms(row.attempts, settings, &mut rand::rng());
            info!(item = %row.item, error = %e, pause_ms = pause, "hand-off will be tried again");
            // Once unknown, always asked first: a failed question answers nothing.
            let unknown = row.unknown_outcome || matches!(e, DeliverError::UnknownOutcome(_));
            store.handoff_retry(row.id, now_ms() + pause, &e.to_string(), unknown).await.map(|_| ())
        }
    };
    if let Err(e) = written {
        // The lease runs out and the row is tried again with the same key: nothing doubles.
        warn!(item = %row.item, error = %e, "outbox row not updated");
    }
}

/// After an unknown outcome the case core is asked first; only a clear "not here" sends again.
async fn attempt(core: &Core, row: &Handoff) -> Result<Receipt, DeliverError> {
    if row.unknown_outcome
        && let Some(receipt) = core.find(&row.idempotency_key).await?
    {
        return Ok(receipt);
    }
    core.deliver(row).await
}

/// Equal jitter: half the doubled pause is certain, so a core that is down is never hammered.
fn backoff_ms(attempts: i64, settings: &Settings, rng: &mut impl Rng) -> i64 {
    let doubled = settings.retry_ms.saturating_mul(1 << attempts.clamp(0, 20).unsigned_abs());
    let ceiling = doubled.min(settings.retry_max_ms).max(1);
    i64::try_from(rng.random_range(ceiling / 2..=ceiling)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_below_the_ceiling() {
        let settings = Settings { retry_ms: 100, retry_max_ms: 5_000, ..Settings::default() };
        let mut rng = rand::rng();
        for attempts in 0..100 {
            let pause = backoff_ms(attempts, &settings, &mut rng);
            assert!((50..=5_000).contains(&pause), "{attempts}: {pause}");
        }
        assert!(backoff_ms(10, &settings, &mut rng) >= 2_500);
    }
}

//! The outbox's driver: takes due rows in order per item, delivers, and remembers what happened.

use std::sync::Arc;
use std::time::Duration;

use hotline_db::{Handoff, HandoffKind, Store};
use rand::Rng;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::contract::{CaseCore, Core, DeliverError, Receipt};
use crate::clock::now_ms;
use crate::config::CaseCore as Settings;

/// Rows claimed at once; they are delivered side by side.
const BATCH: i64 = 32;
/// A claimed row is ours for so long beyond the request's own limit.
const LEASE_MARGIN_MS: i64 = 30_000;
const IDLE: Duration = Duration::from_millis(250);

/// What happens with a row that wasn't delivered.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// Tried again.
    Again,
    /// Set aside until a person looks.
    Aside,
}

/// Runs until cancelled.
pub async fn run(store: Store, core: Arc<Core>, settings: Settings, cancel: CancellationToken) {
    let lease_ms = i64::try_from(settings.timeout_ms).unwrap_or(10_000) * 2 + LEASE_MARGIN_MS;
    tell_of_others(&store, core.target()).await;
    loop {
        let claimed = store.handoff_claim(core.target(), now_ms(), lease_ms, BATCH).await.unwrap_or_else(|e| {
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
        finish_all(tasks).await;
        if cancel.is_cancelled() {
            return;
        }
    }
}

/// Rows written for another case core wait until it is configured again: a person should know.
async fn tell_of_others(store: &Store, target: &str) {
    let waiting = store.handoffs_undelivered(hotline_db::limits::PAGE_LEN_MAX).await.unwrap_or_default();
    let others = waiting.iter().filter(|row| row.target != target).count();
    if others > 0 {
        warn!(
            others,
            target, "hand-offs wait for another case core than the configured one: see `hotline outbox list`"
        );
    }
}

/// Waits for every delivery; how many of them broke. A broken one's lease runs out and its row is tried again.
async fn finish_all(mut tasks: tokio::task::JoinSet<()>) -> usize {
    let mut broken = 0;
    while let Some(joined) = tasks.join_next().await {
        if let Err(e) = joined {
            error!(error = %e, "a delivery broke off");
            broken += 1;
        }
    }
    broken
}

/// "Not there" refuses a command about a case, but to a new case it says only that the address is
/// wrong or the case core half up.
fn fate(kind: HandoffKind, error: &DeliverError, attempts: i64, attempts_max: i64) -> Fate {
    match error {
        DeliverError::Permanent(_) => Fate::Aside,
        DeliverError::NotFound if kind != HandoffKind::Create => Fate::Aside,
        _ if attempts >= attempts_max => Fate::Aside,
        _ => Fate::Again,
    }
}

async fn deliver_one(store: &Store, core: &Core, settings: &Settings, row: Handoff) {
    let outcome = attempt(core, &row).await;
    let written = match &outcome {
        Ok(receipt) => {
            info!(item = %row.item, kind = row.kind.as_str(), case = receipt.case_no, attempts = row.attempts, "handed off");
            store.handoff_delivered(row.id, &receipt.case_no, now_ms()).await.map(|_| ())
        }
        Err(e) if fate(row.kind, e, row.attempts, settings.attempts_max) == Fate::Aside => {
            error!(row = %row.id, item = %row.item, kind = row.kind.as_str(), attempts = row.attempts, error = %e,
                "hand-off set aside: a person must look, then `hotline outbox retry`");
            store.handoff_poison(row.id, &e.to_string()).await.map(|_| ())
        }
        Err(e) => {
            let pause = backoff_ms(row.attempts, settings, &mut rand::rng());
            warn!(item = %row.item, error = %e, pause_ms = pause, "hand-off will be tried again");
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

    #[test]
    fn only_what_a_person_must_see_is_set_aside() {
        let of = |kind, e: &DeliverError, attempts| fate(kind, e, attempts, 10);
        let (create, close) = (HandoffKind::Create, HandoffKind::Close);
        assert_eq!(of(create, &DeliverError::NotFound, 1), Fate::Again, "a wrong address loses no item");
        assert_eq!(of(close, &DeliverError::NotFound, 1), Fate::Aside);
        assert_eq!(of(create, &DeliverError::Permanent("422".into()), 1), Fate::Aside);
        assert_eq!(of(create, &DeliverError::Transient("401".into()), 9), Fate::Again);
        assert_eq!(of(create, &DeliverError::Transient("401".into()), 10), Fate::Aside);
    }

    #[tokio::test]
    async fn a_delivery_that_breaks_takes_no_other_with_it() {
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async { panic!("broken") });
        tasks.spawn(async {});
        assert_eq!(finish_all(tasks).await, 1);
    }
}

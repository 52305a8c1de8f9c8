//! Traces after their calls: sealed rows, written in few commits off every call's path, gone after
//! `trace.keep_days`.

use std::sync::Arc;
use std::time::Duration;

use hotline_db::{DbError, Id, NewSipTrace, Store};
use tracing::{debug, warn};

use super::limits::STORED_BYTES_MAX;
use super::message::{TracedLeg, decode, encode};
use super::{DamagedTrace, Trace};
use crate::app::Services;
use crate::clock::now_ms;
use crate::privacy::{SealError, Sealer};

/// Traces are stored together, so often.
const STORE_EVERY: Duration = Duration::from_secs(1);
/// Old traces are looked for so often.
const PRUNE_EVERY_MS: i64 = 3_600_000;
/// Rows deleted in one transaction: a long one would hold up calls.
const PRUNE_ROWS: i64 = 500;
const DAY_MS: i64 = 86_400_000;

/// Why a trace can't be shown.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] DbError),
    /// The key is wrong or missing.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The row is damaged.
    #[error(transparent)]
    Damaged(#[from] DamagedTrace),
}

/// Runs until cancelled.
pub async fn run(sv: Arc<Services>) {
    let mut prune_at = 0;
    loop {
        tokio::select! {
            () = tokio::time::sleep(STORE_EVERY) => {}
            () = sv.cancel.cancelled() => return,
        }
        let now = now_ms();
        while store_due(&sv, now).await > 0 {}
        if now >= prune_at {
            prune_at = now + PRUNE_EVERY_MS;
            prune(&sv, now).await;
        }
    }
}

/// Stores everything that still waits: the gateway stops.
pub async fn store_all(sv: &Services) {
    while store_due(sv, i64::MAX).await > 0 {}
}

/// One batch; how many calls it took from memory.
async fn store_due(sv: &Services, now: i64) -> usize {
    let due = sv.trace.take_due(now);
    let taken = due.len();
    if taken == 0 || !sv.trace.is_kept {
        return taken;
    }
    let at = now_ms();
    let rows: Vec<NewSipTrace> = due.into_iter().filter_map(|(call, legs)| row(&sv.sealer, call, legs, at)).collect();
    let count = rows.len() as u64;
    if let Err(e) = sv.store.sip_traces_put(rows).await {
        warn!(error = %e, count, "SIP traces not stored");
        sv.trace.lost(count);
    }
    taken
}

fn row(sealer: &Sealer, call: Id, mut legs: Vec<TracedLeg>, at: i64) -> Option<NewSipTrace> {
    let size = |legs: &[TracedLeg]| legs.iter().flat_map(|l| &l.messages).map(|m| m.bytes.len()).sum::<usize>();
    while size(&legs) > STORED_BYTES_MAX {
        legs.pop();
    }
    let messages = legs.iter().map(|l| l.messages.len()).sum::<usize>();
    let body = sealer.seal(&encode(&legs).ok()?).ok()?;
    Some(NewSipTrace { call, at, messages: i64::try_from(messages).unwrap_or(i64::MAX), body })
}

async fn prune(sv: &Services, now: i64) {
    let days = i64::from(sv.config.trace.keep_days);
    loop {
        match sv.store.sip_traces_prune(now - days * DAY_MS, PRUNE_ROWS).await {
            Ok(gone) if gone < PRUNE_ROWS.unsigned_abs() => return,
            Ok(gone) => debug!(gone, "old SIP traces deleted"),
            Err(e) => {
                warn!(error = %e, "old SIP traces not deleted");
                return;
            }
        }
    }
}

/// A call's trace: from memory while `trace` holds it, else from its row. Empty: none was kept.
pub async fn read(
    trace: Option<&Trace>,
    store: &Store,
    sealer: &Sealer,
    call: Id,
) -> Result<Vec<TracedLeg>, TraceError> {
    let live = trace.map(|t| t.legs(call)).unwrap_or_default();
    if !live.is_empty() {
        return Ok(live);
    }
    let Some(sealed) = store.sip_trace_get(call).await? else { return Ok(Vec::new()) };
    Ok(decode(&sealer.open_sealed(&sealed)?)?)
}

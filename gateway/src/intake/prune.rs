//! What nobody was heard by and nobody asked for isn't kept for ever: messages of blocked senders and
//! carriers' reports that belong to no text of ours.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use crate::app::Services;
use crate::clock::now_ms;

/// How often it looks.
const EVERY: Duration = Duration::from_secs(3_600);
const DAY_MS: i64 = 86_400_000;
/// A lookup takes at most so many rounds of rows; the rest waits for the next one.
const ROUNDS_MAX: usize = 100;

/// Runs until cancelled.
pub async fn run(sv: Arc<Services>) {
    loop {
        once(&sv, now_ms()).await;
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = sv.cancel.cancelled() => return,
        }
    }
}

/// Drops what is older than `intake.refused_days`.
pub(super) async fn once(sv: &Services, now: i64) {
    let days = i64::try_from(sv.config.intake.refused_days).unwrap_or(i64::MAX);
    let before = now.saturating_sub(days.saturating_mul(DAY_MS));
    let mut dropped = 0;
    for _ in 0..ROUNDS_MAX {
        let round = match (sv.store.messages_refused_prune(before).await, sv.store.outgoing_orphans_prune(before).await)
        {
            (Ok(messages), Ok(reports)) => messages + reports,
            (Err(e), _) | (_, Err(e)) => {
                warn!(error = %e, "refused messages and reports without a text were not dropped");
                return;
            }
        };
        dropped += round;
        if round == 0 || sv.cancel.is_cancelled() {
            break;
        }
    }
    if dropped > 0 {
        info!(rows = dropped, "old refused messages and reports without a text dropped");
    }
}

//! Timers: what isn't acknowledged or done in time goes to the shift leader.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tracing::{info, warn};

use crate::app::Services;
use crate::clock::now_ms;
use crate::events::Audience;

/// The rows are the timers: so often they are looked at.
const EVERY: Duration = Duration::from_secs(1);
/// Rows noted in one transaction; the rest follow a second later.
const BATCH: i64 = 100;

/// Runs until the gateway stops.
pub fn spawn(sv: &Arc<Services>) {
    let sv = Arc::clone(sv);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = sv.cancel.cancelled() => return,
            }
            if let Err(e) = sweep(&sv).await {
                warn!(error = %e, "work queue: timers not looked at");
            }
        }
    });
}

async fn sweep(sv: &Services) -> Result<(), hotline_db::DbError> {
    for late in sv.store.work_late(now_ms(), BATCH).await? {
        let work = &late.work;
        sv.metrics.work_late.with_label_values(&[late.what]).inc();
        info!(work = %work.id, what = late.what, urgency = work.urgency, "work is late: told the shift leader");
        let data = json!({
            "work": work.id, "what": late.what, "kind": work.kind, "lane": work.lane, "channel": work.channel,
            "item": work.item, "due_at": work.due_at,
        });
        sv.events.publish("work_late", Audience::Leaders, work.excluded, data);
        super::tell(sv, "work", work);
    }
    Ok(())
}

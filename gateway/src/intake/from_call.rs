//! Items nobody filled in: made from the call itself once its recording is transcribed.

use std::sync::Arc;
use std::time::Duration;

use hotline_db::{DbError, NewItem, UnfiledCall};
use hotline_transcription::{Done, fields};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::item::{CHANNEL_PHONE, create};
use crate::app::Services;
use crate::clock::now_ms;

/// Calls looked at in one sweep.
const BATCH: i64 = 50;
/// Even without news of a transcript, rows are swept so often: a crash may have swallowed the news.
const SWEEP: Duration = Duration::from_secs(5);
/// Detail text kept from a transcript.
const DETAIL_CHARS_MAX: usize = 2_000;

/// Runs until cancelled. The rows say what is to do; `done` only wakes the sweep early.
pub async fn run(sv: Arc<Services>, mut done: mpsc::Receiver<Done>) {
    let mut open = true;
    loop {
        tokio::select! {
            news = done.recv(), if open => {
                open = news.is_some();
                // A voice's words may be what a conversation waited for.
                sv.intake.bell.notify_one();
            }
            () = tokio::time::sleep(SWEEP) => {}
            () = sv.cancel.cancelled() => return,
        }
        if let Err(e) = sweep(&sv).await {
            warn!(error = %e, "calls without an item");
        }
    }
}

async fn sweep(sv: &Services) -> Result<(), DbError> {
    // The operator's form comes first: it has until the grace after the call's end.
    let grace_ms = i64::try_from(sv.config.intake.form_grace_s).unwrap_or(120) * 1000;
    for call in sv.store.calls_unfiled(now_ms() - grace_ms, BATCH).await? {
        let new = item_of(sv, &call);
        match create(sv, new).await {
            Ok((item, true)) => {
                info!(call = %call.call, item = item.acceptance_no, "item made from the call's transcript")
            }
            Ok((_, false)) => {}
            // One that can't be filed must not hold up the next.
            Err(e) => warn!(call = %call.call, error = %e, "no item made from the call"),
        }
    }
    Ok(())
}

fn item_of(sv: &Services, call: &UnfiledCall) -> NewItem {
    let found = fields::extract(&call.text);
    let place = found.place().map(str::to_owned);
    let class = found.class();
    let title = match (&class, &place) {
        (Some(c), Some(p)) => format!("{p} {}", c.name),
        (Some(c), None) => c.name.clone(),
        (None, Some(p)) => format!("{p} 反映问题"),
        (None, None) => "电话反映(待核实)".to_owned(),
    };
    NewItem {
        region: sv.config.site.region.clone(),
        channel: CHANNEL_PHONE,
        kind: "投诉".into(),
        urgency: if found.red { 2 } else { 4 },
        title,
        detail: call.text.chars().take(DETAIL_CHARS_MAX).collect(),
        occurred_at: Some(call.at),
        class_code: class.map(|c| c.code5.clone()),
        location_text: place,
        lon: None,
        lat: None,
        source: "call".into(),
        first_contact: Some(call.contact),
        party: call.party,
        created_by: None,
        idempotency_key: Some(format!("call-{}", call.call)),
    }
}

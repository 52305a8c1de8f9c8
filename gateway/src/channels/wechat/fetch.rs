//! Media of WeChat messages: fetched as soon as the message is committed, and again until the platform
//! forgets them, three days later.

use std::sync::Arc;
use std::time::Duration;

use hotline_db::{MediaKind, MessageMedia};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::client::{ApiError, Client, Meaning};
use super::send::{lease_ms, pause_ms};
use super::{CHANNEL, KF_LINE, limits, voice};
use crate::app::Services;
use crate::clock::now_ms;

/// Fetches what is due until cancelled.
pub(super) async fn run(sv: Arc<Services>) {
    let places = Arc::new(Semaphore::new(limits::FETCHES_AT_ONCE));
    // A voice is decoded within its row's lease.
    let lease = lease_ms(&sv) + i64::try_from(limits::DECODE_MS).unwrap_or(limits::LEASE_MS);
    loop {
        let rows = sv.store.media_claim(CHANNEL, now_ms(), lease, limits::CLAIM_ROWS).await;
        let found = match rows {
            Ok(rows) => {
                let found = !rows.is_empty();
                all(&sv, &places, rows).await;
                found
            }
            Err(e) => {
                warn!(error = %e, "media of WeChat can't be looked for now");
                false
            }
        };
        if found {
            continue;
        }
        tokio::select! {
            () = sv.wechat.to_fetch.notified() => {}
            () = tokio::time::sleep(Duration::from_millis(limits::LOOK_EVERY_MS)) => {}
            () = sv.cancel.cancelled() => return,
        }
    }
}

async fn all(sv: &Arc<Services>, places: &Arc<Semaphore>, rows: Vec<MessageMedia>) {
    let mut tasks = JoinSet::new();
    for row in rows {
        let (sv, places) = (Arc::clone(sv), Arc::clone(places));
        tasks.spawn(async move {
            let Ok(_place) = places.acquire().await else { return };
            one(&sv, &row).await;
        });
    }
    while tasks.join_next().await.is_some() {}
}

async fn one(sv: &Services, row: &MessageMedia) {
    let Some(client) = client_of(sv, &row.line) else {
        return missed(sv, row, false, "no account serves this line").await;
    };
    let reference = row.reference.as_deref().unwrap_or_default();
    let (kind, bytes) = match client.media(reference).await {
        Ok(found) => found,
        Err(e) => {
            let again = e.meaning() == Meaning::Later || matches!(e, ApiError::Code { code: -1, .. });
            return missed(sv, row, again, &e.to_string()).await;
        }
    };
    let stored = match sv.attachments.put(bytes, &kind).await {
        Ok(stored) => stored,
        Err(e) => return missed(sv, row, e.is_temporary(), &e.to_string()).await,
    };
    // The voice's job first: it is queued once, and a row that isn't done yet is done again.
    if row.kind == MediaKind::Voice
        && let Err(e) = voice::arrived(sv, row, &stored).await
    {
        return missed(sv, row, true, &e.to_string()).await;
    }
    match sv.store.media_fetched(row.id, &stored.sha256).await {
        Ok(_) => {}
        // The file is there; the lease runs out and the row is done again.
        Err(e) => warn!(error = %e, "a fetched file of WeChat wasn't noted"),
    }
}

/// The API that serves a line of ours.
fn client_of<'a>(sv: &'a Services, line: &str) -> Option<&'a Client> {
    if line.starts_with(KF_LINE) {
        sv.wechat.kf.as_ref().map(|kf| &kf.client)
    } else {
        sv.wechat.official.as_ref().map(|official| &official.client)
    }
}

async fn missed(sv: &Services, row: &MessageMedia, again: bool, why: &str) {
    // The pauses' sum stands for the age: after three days the platform has forgotten the file.
    let again = again && row.attempts < attempts_max();
    let next = again.then(|| now_ms() + pause_ms(row.attempts));
    if again {
        info!(id = %row.id, why, "a file of WeChat is fetched again later");
    } else {
        warn!(id = %row.id, why, "微信附件无法取回 / a file of WeChat can't be had");
    }
    if let Err(e) = sv.store.media_missed(row.id, next, why).await {
        warn!(id = %row.id, error = %e, "its row wasn't changed: the lease runs out");
    }
}

/// So many attempts with their pauses take three days.
fn attempts_max() -> i64 {
    limits::FETCH_LIFE_MS / (limits::RETRY_MS_MAX * 3 / 4)
}

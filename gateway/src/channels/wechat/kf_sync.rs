//! `sync_msg`: page after page behind a cursor that is kept. A page's messages go through the door
//! first; only then the cursor moves, so that a crash reads the page again and the door knows it.

use std::sync::Arc;
use std::time::Duration;

use hotline_db::OutgoingState;
use serde_json::{Value, json};
use tracing::{debug, error, warn};

use super::kf::{Entry, entry};
use super::quota::Action;
use super::take::{Letter, envelope};
use super::webhook::grant;
use super::{KF_LINE, Kf, limits, openid_hash, send};
use crate::app::Services;
use crate::clock::now_ms;
use crate::intake::accept::{self, Taken};

/// Where the cursor is kept.
const CURSOR: &str = "wechat.kf.cursor";
/// A greeting later than this is refused by the platform.
const GREETING_S: i64 = 15;

/// Why a round ended early.
#[derive(Debug, thiserror::Error)]
enum SyncError {
    #[error(transparent)]
    Api(#[from] super::client::ApiError),
    #[error(transparent)]
    Store(#[from] hotline_db::DbError),
    #[error("a message wasn't taken: {0}")]
    Door(#[from] accept::AcceptError),
}

/// Fetches at every hint and every `poll_s`, until cancelled.
pub(super) async fn run(sv: Arc<Services>) {
    let Some(kf) = &sv.wechat.kf else { return };
    let mut failures = 0;
    loop {
        let pause = match round(&sv, kf).await {
            Ok(()) => {
                failures = 0;
                Duration::from_secs(kf.poll_s)
            }
            Err(e) => {
                failures += 1;
                warn!(error = %e, "微信客服消息未取完 / messages of 微信客服 weren't all fetched, again soon");
                Duration::from_millis(u64::try_from(send::pause_ms(failures)).unwrap_or(1_000))
            }
        };
        tokio::select! {
            () = kf.to_sync.notified() => {}
            () = tokio::time::sleep(pause) => {}
            () = sv.cancel.cancelled() => return,
        }
    }
}

async fn round(sv: &Services, kf: &Kf) -> Result<(), SyncError> {
    let token = kf.take_token();
    for _ in 0..limits::SYNC_PAGES_MAX {
        let cursor = sv.store.setting_get(CURSOR).await?.unwrap_or_default();
        let mut body = json!({"cursor": cursor, "limit": limits::SYNC_PAGE_ROWS, "voice_format": 0});
        if let Some(token) = &token {
            body["token"] = json!(token);
        }
        let page = kf.client.post("/cgi-bin/kf/sync_msg", &body).await?;
        for value in page["msg_list"].as_array().into_iter().flatten() {
            one(sv, kf, value).await?;
        }
        let next = page["next_cursor"].as_str().unwrap_or_default();
        if !next.is_empty() && next != cursor {
            sv.store.setting_set(CURSOR, next).await?;
        }
        if page["has_more"].as_i64() != Some(1) || next.is_empty() || next == cursor {
            return Ok(());
        }
    }
    // More than a round's worth: the next one goes on.
    kf.to_sync.notify_one();
    Ok(())
}

async fn one(sv: &Services, kf: &Kf, value: &Value) -> Result<(), SyncError> {
    let now = now_ms();
    match entry(value) {
        Some(Entry::Message { id, account, from, created_s, content }) => {
            let hash = openid_hash(sv, &from);
            let line = format!("{KF_LINE}{account}");
            let letter = Letter { line, dedup_key: format!("kf:{id}"), from, to: account, created_s, content };
            let letter = envelope(letter, now);
            let has_media = !letter.fetch.is_empty();
            match accept::message(sv, letter).await {
                Ok(Taken::New { .. }) => {
                    grant(sv, &hash, Action::Message, created_s).await;
                    if has_media {
                        sv.wechat.to_fetch.notify_one();
                    }
                }
                Ok(Taken::Duplicate { .. } | Taken::Journaled | Taken::Refused(_)) => {}
                Err(e) if e.is_transient() => return Err(e.into()),
                // One message that can never be taken must not keep all later ones away.
                Err(e) => {
                    sv.metrics.wechat_refused.with_label_values(&["sync"]).inc();
                    error!(error = %e, "微信客服消息无法入库 / a message of 微信客服 can't be taken and was left out");
                }
            }
        }
        Some(Entry::Entered { code, created_s }) => {
            // A page read late holds sessions long over.
            if now / 1_000 - created_s <= GREETING_S
                && let Err(e) = send::welcome(&kf.client, &code, &kf.welcome).await
            {
                debug!(error = %e, "a greeting of 微信客服 didn't go out");
            }
        }
        Some(Entry::Failed { account, id, code }) => {
            let line = format!("{KF_LINE}{account}");
            sv.store.outgoing_report(&line, &id, OutgoingState::Failed, &code, now).await?;
        }
        Some(Entry::Other) => {}
        None => {
            sv.metrics.wechat_refused.with_label_values(&["sync"]).inc();
            warn!("a message of 微信客服 without id, account or sender was left out");
        }
    }
    Ok(())
}

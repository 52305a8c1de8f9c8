//! `sync_msg`: page after page behind a cursor that is kept. A page's messages go through the door
//! first; only then the cursor moves, so that a crash reads the page again and the door knows it.

use std::sync::Arc;
use std::time::Duration;

use hotline_db::OutgoingState;
use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::{debug, error, warn};

use super::kf::{Entry, entry};
use super::take::{Letter, envelope};
use super::{KF_LINE, Kf, limits, send};
use crate::app::Services;
use crate::clock::now_ms;
use crate::intake::accept::{self, Taken};

/// Where the cursors are kept, each under its account's `open_kfid`.
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

/// Fetches what hints name, and every `poll_s` from all accounts, until cancelled.
pub(super) async fn run(sv: Arc<Services>) {
    let Some(kf) = &sv.wechat.kf else { return };
    let (mut failures, mut poll_at) = (0, Instant::now());
    loop {
        let is_poll = Instant::now() >= poll_at;
        match round(&sv, kf, is_poll).await {
            Ok(()) => {
                failures = 0;
                if is_poll {
                    poll_at = Instant::now() + Duration::from_secs(kf.poll_s);
                }
            }
            Err(e) => {
                failures += 1;
                warn!(error = %e, "微信客服消息未取完 / messages of 微信客服 weren't all fetched, again soon");
                poll_at =
                    Instant::now() + Duration::from_millis(u64::try_from(send::pause_ms(failures)).unwrap_or(1_000));
            }
        }
        tokio::select! {
            () = kf.to_sync.notified() => {}
            () = tokio::time::sleep_until(poll_at) => {}
            () = sv.cancel.cancelled() => return,
        }
    }
}

/// One account's trouble keeps no other away; the last one's is told.
async fn round(sv: &Services, kf: &Kf, is_poll: bool) -> Result<(), SyncError> {
    let (mut todo, mut outcome) = (kf.take_hints(), Ok(()));
    if is_poll {
        match accounts(kf).await {
            Ok(all) => {
                for account in all {
                    todo.entry(account).or_default();
                }
            }
            Err(e) => outcome = Err(e),
        }
    }
    for (account, token) in todo {
        match pages(sv, kf, &account, &token).await {
            Ok(true) => {}
            Ok(false) => {
                // More than a round's worth: the next one goes on.
                kf.note(&account, &token, false);
                kf.to_sync.notify_one();
            }
            Err(e) => {
                kf.note(&account, &token, false);
                outcome = Err(e);
            }
        }
    }
    outcome
}

/// The accounts whose messages are ours to fetch (kf/account/list).
async fn accounts(kf: &Kf) -> Result<Vec<String>, SyncError> {
    let body = json!({"offset": 0, "limit": limits::KF_ACCOUNTS_MAX});
    let list = kf.client.post("/cgi-bin/kf/account/list", &body).await?;
    let all = list["account_list"].as_array().into_iter().flatten();
    let ours = all.filter(|a| a["manage_privilege"] != false).filter_map(|a| a["open_kfid"].as_str());
    let fits = |id: &&str| !id.is_empty() && id.len() <= limits::KF_ACCOUNT_BYTES_MAX;
    Ok(ours.filter(fits).take(limits::KF_ACCOUNTS_MAX).map(str::to_owned).collect())
}

/// An account's pages; `false` when more are left than a round takes.
async fn pages(sv: &Services, kf: &Kf, account: &str, token: &str) -> Result<bool, SyncError> {
    let key = format!("{CURSOR}.{account}");
    for _ in 0..limits::SYNC_PAGES_MAX {
        let cursor = sv.store.setting_get(&key).await?.unwrap_or_default();
        let mut body =
            json!({"open_kfid": account, "cursor": cursor, "limit": limits::SYNC_PAGE_ROWS, "voice_format": 0});
        if !token.is_empty() {
            body["token"] = json!(token);
        }
        let page = kf.client.post("/cgi-bin/kf/sync_msg", &body).await?;
        for value in page["msg_list"].as_array().into_iter().flatten() {
            one(sv, kf, value).await?;
        }
        let next = page["next_cursor"].as_str().unwrap_or_default();
        if !next.is_empty() && next != cursor {
            sv.store.setting_set(&key, next).await?;
        }
        if page["has_more"].as_i64() != Some(1) || next.is_empty() || next == cursor {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn one(sv: &Services, kf: &Kf, value: &Value) -> Result<(), SyncError> {
    let now = now_ms();
    match entry(value) {
        Some(Entry::Message { id, account, from, created_s, content }) => {
            let line = format!("{KF_LINE}{account}");
            let letter = Letter { line, dedup_key: format!("kf:{id}"), from, to: account, created_s, content };
            let letter = envelope(letter, now);
            let has_media = !letter.fetch.is_empty();
            match accept::message(sv, letter).await {
                Ok(Taken::New { .. }) => {
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

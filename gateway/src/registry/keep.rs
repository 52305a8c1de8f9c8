//! Writing rows behind the SIP side's back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hotline_sip::Ban;
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use super::{ban_row, row_of};
use crate::app::Services;
use crate::clock::now_ms;

/// Changes taken up at once; a phone that changes twice among them is written once.
const CHANGES_AT_ONCE: usize = 64;
/// Bans lifted from outside (`hotline ban lift`) count within this time.
const LIFTED_EVERY: Duration = Duration::from_secs(5);
/// Rows of ended bans are kept so long.
const ENDED_BANS_MS: i64 = 86_400_000;

/// Something to write.
#[derive(Debug)]
pub enum Change {
    /// The contacts of this phone.
    Contacts(String),
    /// A ban.
    Banned(Ban),
}

/// Writes changes and looks for lifted bans until cancelled.
pub async fn keep(sv: Arc<Services>, mut changes: mpsc::Receiver<Change>) {
    let mut lifted = tokio::time::interval(LIFTED_EVERY);
    lifted.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut batch = Vec::with_capacity(CHANGES_AT_ONCE);
    loop {
        tokio::select! {
            count = changes.recv_many(&mut batch, CHANGES_AT_ONCE) => {
                if count == 0 {
                    return;
                }
                write(&sv, &mut batch).await;
            }
            _ = lifted.tick() => follow_lifted(&sv).await,
            () = sv.cancel.cancelled() => {
                // What came while the last talks ended is written too.
                while let Ok(change) = changes.try_recv() {
                    batch.push(change);
                }
                return write(&sv, &mut batch).await;
            }
        }
    }
}

async fn write(sv: &Services, batch: &mut Vec<Change>) {
    let mut users = BTreeSet::new();
    for change in batch.drain(..) {
        match change {
            Change::Contacts(user) => drop(users.insert(user)),
            Change::Banned(ban) => {
                let row = ban_row(&sv.node, &ban, Instant::now(), now_ms());
                if let Err(e) = sv.store.ban_put(row).await {
                    warn!(source = %ban.source, error = %e, "ban not stored: it holds until the next restart");
                }
            }
        }
    }
    for user in users {
        let (now, now_ms) = (Instant::now(), now_ms());
        // What holds now, not what held at the change: the last word is always right.
        let rows = sv.sip.bindings(&user).iter().filter_map(|b| row_of(&user, b, now, now_ms)).collect();
        match sv.store.registrations_put(&sv.node, &user, rows).await {
            Ok(()) => debug!(%user, "contacts stored"),
            Err(e) => {
                warn!(%user, error = %e, "contacts not stored: after a restart the phone has to come back by itself");
            }
        }
    }
}

async fn follow_lifted(sv: &Services) {
    match sv.store.bans_lifted(&sv.node, now_ms().saturating_sub(ENDED_BANS_MS)).await {
        Ok(sources) => {
            for source in sources {
                if source.parse().is_ok_and(|ip| sv.sip.lift_ban(ip)) {
                    info!(%source, "SIP ban lifted");
                }
            }
        }
        Err(e) => warn!(error = %e, "lifted bans not read"),
    }
}

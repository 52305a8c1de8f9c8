//! After a start: phones ring at once, and who was banned still is.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use tracing::info;

use super::{ban_of, binding_of};
use crate::app::Services;
use crate::clock::now_ms;

/// Takes registrations and bans of the last run over.
///
/// A connection ended with that run: phones on TCP and TLS notice it and register again.
pub async fn restore(sv: &Arc<Services>) -> Result<(), hotline_db::DbError> {
    let rows = sv.store.registrations_live(&sv.node, now_ms()).await?;
    let bans = sv.store.bans(now_ms()).await?;
    let (now, now_ms) = (Instant::now(), now_ms());
    let bindings: Vec<_> =
        rows.iter().filter_map(|row| Some((row.sip_user.clone(), binding_of(row, now, now_ms)?))).collect();
    let users: BTreeSet<String> = bindings.iter().map(|(user, _)| user.clone()).collect();
    let restored = sv.sip.restore_bindings(bindings);
    for user in users {
        if !sv.sip.bindings(&user).is_empty() {
            sv.acd.registered(&user, true).await;
        }
    }
    let bans: Vec<_> = bans.iter().filter(|row| row.node == sv.node).filter_map(|r| ban_of(r, now, now_ms)).collect();
    let banned = bans.len();
    sv.sip.restore_bans(bans);
    if restored + banned > 0 {
        info!(registrations = restored, bans = banned, "taken over from the last run");
    }
    Ok(())
}

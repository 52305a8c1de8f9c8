//! Two gateways of one name: somebody copied a data directory.

use std::time::Duration;

use hotline_db::{DbError, GatewayNode, Store};
use tokio::time::{Instant, sleep};

use super::limits::{BEAT_MS, LEASE_MS};

/// A row younger than this may be of a gateway that lives.
const YOUNG_MS: i64 = LEASE_MS;

/// The address of a gateway that runs under the name of the one that is about to start, if there is one. An earlier
/// run of its own that ended a moment ago isn't: its row grows old.
///
/// # Errors
/// As any read.
pub async fn living(store: &Store, me: &GatewayNode) -> Result<Option<String>, DbError> {
    let until = Instant::now() + Duration::from_millis(LEASE_MS.unsigned_abs());
    loop {
        let row = store.gateway_node(&me.id).await?;
        let is_young = |row: &GatewayNode| row.peer_address != me.peer_address && row.age_ms < YOUNG_MS;
        let Some(row) = row.filter(is_young) else { return Ok(None) };
        if Instant::now() >= until {
            return Ok(Some(row.peer_address));
        }
        sleep(Duration::from_millis(BEAT_MS)).await;
    }
}

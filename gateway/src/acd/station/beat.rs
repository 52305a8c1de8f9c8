//! The beat: this gateway's row, the lease, and what they say of whether callers can be queued here.

use std::time::Duration;

use hotline_db::{GatewayNode, NodeBeat};
use tokio::time::Instant;
use tracing::{error, warn};

use super::super::service::Service;
use super::{Office, Station};
use crate::cluster::Lease;
use crate::cluster::limits::{BEAT_MS, BEAT_TIMEOUT_MS, LEASE_MS, LOST_MS};

/// The database's answer, if it gave one in time.
pub(super) struct Beat {
    asked: Instant,
    answer: Option<NodeBeat>,
}

impl Station {
    pub(super) fn beat(&mut self, now: Instant) {
        self.is_beating = true;
        self.beat_at = Some(now + Duration::from_millis(BEAT_MS));
        let (store, row, wish) = (self.setup.store.clone(), self.setup.row.clone(), self.lease.wish(now));
        let to = self.beats.0.clone();
        tokio::spawn(async move {
            let beat = store.node_beat(row, wish, LEASE_MS);
            let answer = match tokio::time::timeout(Duration::from_millis(BEAT_TIMEOUT_MS), beat).await {
                Ok(Ok(answer)) => Some(answer),
                Ok(Err(e)) => {
                    warn!(error = %e, "网关心跳未写入 / the database took no beat");
                    None
                }
                Err(_) => None,
            };
            let _ = to.send(Beat { asked: now, answer }).await;
        });
    }

    pub(super) fn beaten(&mut self, beat: Beat) {
        self.is_beating = false;
        let Some(answer) = beat.answer else { return self.lease.failed() };
        if self.is_twin_of(answer.before.as_ref()) {
            self.is_twin = true;
            self.lease = Lease::new(self.me.clone(), self.setup.row.boot.clone());
            return self.setup.peers.end();
        }
        let others = answer.nodes.iter().filter(|row| row.id != self.me);
        let others = others.map(|row| (row.id.clone(), row.age_ms)).collect();
        self.lease.answered(beat.asked, Instant::now(), answer.lease, others);
        self.setup.peers.know(answer.nodes);
    }

    /// Whether somebody else writes this gateway's row, and runs for longer. Both see each other: the younger run
    /// leaves, else nobody would be left.
    fn is_twin_of(&mut self, before: Option<&GatewayNode>) -> bool {
        let is_first = !std::mem::replace(&mut self.has_beaten, true);
        let ours = self.setup.row.boot.as_str();
        let other = before.filter(|row| row.boot != ours && !is_first);
        let lives = self.sightings.beat(other.is_some());
        let Some(other) = other.filter(|_| lives) else { return false };
        error!(
            at = other.peer_address,
            "另一进程使用本网关的名称:数据目录是复制的? / another process has this gateway's name: was its data directory copied?"
        );
        other.boot.as_str() < ours
    }

    /// From the moment nobody leads here it takes a while until that counts: a leader is elected meanwhile.
    pub(super) fn service(&mut self, now: Instant) -> Service {
        if !matches!(self.office, Office::Vacant | Office::Following { joined: false, .. }) {
            self.vacant_since = None;
            return Service::Open;
        }
        let since = *self.vacant_since.get_or_insert(now);
        match now - since >= Duration::from_millis(LOST_MS) {
            _ if self.is_twin => Service::Twin,
            false => Service::Open,
            true if self.lease.is_led_elsewhere(now) => Service::Elsewhere,
            true => Service::Leaderless,
        }
    }
}

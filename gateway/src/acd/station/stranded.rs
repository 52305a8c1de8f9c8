//! Who waits here while nobody queues callers: without a leader no clock runs for them.

use std::time::Duration;

use hotline_acd::Lane;
use tokio::time::Instant;

use super::super::command::Command;
use super::super::mirror::CallNews;
use super::super::service::Service;
use super::Station;
use crate::cluster::limits::STRANDED_MS;

/// What they were told: who reports danger at once that the phones on call are asked, all others later that they
/// waited for too long.
pub(super) struct Stranded {
    since: Instant,
    are_all_told: bool,
}

impl Station {
    pub(super) fn look_after_stranded(&mut self, service: Service, now: Instant) {
        if service == Service::Open {
            self.stranded = None;
            return;
        }
        match &mut self.stranded {
            None => {
                self.stranded = Some(Stranded { since: now, are_all_told: false });
                self.tell_stranded(Lane::Red);
            }
            Some(stranded) => {
                let is_due = now.saturating_duration_since(stranded.since) >= Duration::from_millis(STRANDED_MS);
                if is_due && !std::mem::replace(&mut stranded.are_all_told, true) {
                    self.tell_stranded(Lane::Normal);
                }
            }
        }
    }

    fn tell_stranded(&self, lane: Lane) {
        let mirror = &self.setup.shared.mirror;
        let told: Vec<String> = {
            let kept = mirror.lock();
            let ours = kept.callers.values().filter(|row| row.entry.node == self.me);
            ours.filter(|row| (row.lane == Lane::Red) == (lane == Lane::Red)).map(|r| r.entry.call.clone()).collect()
        };
        for call in told {
            let is_red = lane == Lane::Red;
            // Whoever waits no longer takes no notice; one that is gone is swept.
            mirror.tell(&call, if is_red { CallNews::Overflow { red: true } } else { CallNews::WaitedTooLong });
        }
    }

    /// Danger that is reported meanwhile isn't left waiting either.
    pub(super) fn said_while_stranded(&self, command: &Command) {
        if let (Some(_), Command::SetLane { call, lane: Lane::Red }) = (&self.stranded, command) {
            self.setup.shared.mirror.tell(call, CallNews::Overflow { red: true });
        }
    }
}

//! When there is no room or no time for one more call

use super::Endpoint;
use super::authenticate::Identity;
use crate::event::SessionId;
use crate::flow::Flow;
use crate::limits;
use crate::message::Message;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// Which calls wait for the driver's first word, and how many each trunk has
#[derive(Default)]
pub(super) struct Load {
    /// Ids grow: the first waits for longest
    waiting: BTreeMap<SessionId, Instant>,
    trunk_of: HashMap<SessionId, String>,
    per_trunk: HashMap<String, usize>,
}

impl Load {
    /// A call was admitted
    pub(super) fn admitted(&mut self, now: Instant, id: SessionId, trunk: Option<&str>) {
        self.waiting.insert(id, now);
        if let Some(trunk) = trunk {
            self.trunk_of.insert(id, trunk.to_owned());
            *self.per_trunk.entry(trunk.to_owned()).or_default() += 1;
        }
    }

    /// The driver spoke
    pub(super) fn taken_up(&mut self, id: SessionId) {
        self.waiting.remove(&id);
    }

    /// The session is over
    pub(super) fn gone(&mut self, id: SessionId) {
        self.waiting.remove(&id);
        if let Some(trunk) = self.trunk_of.remove(&id)
            && let Some(count) = self.per_trunk.get_mut(&trunk)
        {
            *count = count.saturating_sub(1);
        }
    }

    /// Whether calls come faster than the driver takes them up
    ///
    /// Some calls have to wait already, and the first of them for longer than a caller should: one
    /// more would only make all of them wait longer. A slow moment with few calls is no overload.
    fn is_behind(&self, now: Instant) -> bool {
        let oldest = self.waiting.first_key_value().map(|(_, since)| now.saturating_duration_since(*since));
        self.waiting.len() >= limits::WAITING_COUNT_MIN
            && oldest.is_some_and(|age| age > Duration::from_millis(limits::WAITING_MS_MAX))
    }
}

impl Endpoint {
    /// Answers 503 with `Retry-After` to a new call that can't be served; true if it did
    ///
    /// Stateless and before any transaction.
    pub(super) fn refuse_overload(&mut self, now: Instant, flow: Flow, message: &Message, from: &Identity) -> bool {
        let is_full = self.sessions.len() >= self.config.session_count_max || self.is_reserve_due(from);
        // Who talks here may still consult by phone, or go on at another one.
        let is_closed = self.admits_none() && matches!(from, Identity::Trunk(_));
        if !(is_closed || is_full || self.is_trunk_full(from) || self.load.is_behind(now)) {
            return false;
        }
        self.counters.refused_overload += 1;
        self.reply(flow, message, 503, "", &[("Retry-After", &limits::RETRY_AFTER_S.to_string())]);
        true
    }

    /// Whether one more call from a trunk would take the room of ours: callers in a queue are
    /// served only while operators' phones can be rung
    fn is_reserve_due(&self, from: &Identity) -> bool {
        let most = self.config.session_count_max;
        matches!(from, Identity::Trunk(_)) && self.load.trunk_of.len() >= most - most / limits::OWN_LEG_PART
    }

    fn is_trunk_full(&self, from: &Identity) -> bool {
        let Identity::Trunk(name) = from else {
            return false;
        };
        let trunk = self.config.trunks.iter().find(|t| t.name == *name);
        let most = trunk.and_then(|t| t.calls_max);
        most.is_some_and(|most| self.load.per_trunk.get(name).copied().unwrap_or(0) >= most)
    }
}

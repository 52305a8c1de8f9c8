//! Gateways that fall silent while this one leads: dead, or cut off.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hotline_acd::OperatorState;
use tokio::time::Instant;
use tracing::warn;

use super::lead::Phase;
use super::{Office, Station};
use crate::cluster::limits::{LOST_MS, STATE_MS};

/// A gateway without a link, or that states nothing.
pub(super) struct Silence {
    since: Instant,
    /// It lives: its callers and phones are given up, its talks aren't.
    pub(super) is_given_up: bool,
}

impl From<Instant> for Silence {
    fn from(since: Instant) -> Self {
        Self { since, is_given_up: false }
    }
}

impl Silence {
    /// A link is there, and nothing stated yet. Links that end again and again don't make the silence a short one.
    pub(super) fn linked(before: Option<Self>, now: Instant) -> Self {
        let Some(before) = before else { return Self::from(now) };
        let soon = now.checked_sub(Duration::from_millis(LOST_MS - STATE_MS)).unwrap_or(now);
        Self { since: before.since.max(soon), ..before }
    }
}

impl Station {
    /// A link ended: whoever was waited for isn't any more.
    pub(super) async fn left(&mut self, node: &str) {
        if let Office::Leading(leading) = &mut self.office {
            leading.partial.remove(node);
            if let Phase::Gathering { held, .. } = &mut leading.phase {
                // It sends them again.
                held.retain(|(of, _, _)| of != node);
            }
        }
    }

    /// Looks for those that were silent for too long.
    pub(super) async fn give_up(&mut self, now: Instant) {
        let late = Duration::from_millis(LOST_MS);
        let silent = self.silent.iter().filter(|(_, silence)| now.saturating_duration_since(silence.since) >= late);
        let silent: Vec<(String, bool)> = silent.map(|(node, s)| (node.clone(), s.is_given_up)).collect();
        for (node, is_given_up) in silent {
            match self.setup.peers.lives(&node, now) {
                true if is_given_up => {}
                true => self.cut_off(&node).await,
                false => {
                    self.silent.remove(&node);
                    self.lost(&node, !is_given_up).await;
                }
            }
        }
    }

    fn is_in_office(&self) -> bool {
        matches!(&self.office, Office::Leading(leading) if leading.is_in_office())
    }

    /// It lives and has no link, or says nothing that is understood: nobody can be offered its callers, its phones
    /// can't be rung. Its talks go on, and who talks in them isn't free.
    async fn cut_off(&mut self, node: &str) {
        if !self.is_in_office() {
            return;
        }
        warn!(
            node,
            "网关失联但仍在运行:其来电和话机暂不分配 / a gateway is cut off: its callers and phones are given up"
        );
        self.setup.figures.lost.fetch_add(1, Ordering::Relaxed);
        if let Some(silence) = self.silent.get_mut(node) {
            silence.is_given_up = true;
        }
        let moved = self.phones.replace(node, &[]);
        let of = node.to_owned();
        self.job(Box::new(move |now, core| core.node_cut_off(now, &of))).await;
        self.place(moved).await;
    }

    /// A gateway is dead: its callers and talks are over, its phones gone.
    pub(super) async fn lost(&mut self, node: &str, is_news: bool) {
        if !self.is_in_office() {
            return;
        }
        warn!(node, "网关失联:释放其来电和坐席 / a gateway is lost: its callers and operators are released");
        if is_news {
            self.setup.figures.lost.fetch_add(1, Ordering::Relaxed);
        }
        let moved = self.phones.replace(node, &[]);
        let calls = self.setup.shared.mirror.lock().abroad.remove(node).map(|a| a.calls).unwrap_or_default();
        let (of, calls) = (node.to_owned(), calls.into_iter().collect::<Vec<_>>());
        self.job(Box::new(move |now, core| {
            core.node_lost(now, &of);
            core.calls_lost(now, &calls);
        }))
        .await;
        self.place(moved).await;
    }

    /// Somebody who talks in a call of a gateway that is cut off says they are free: they know, its driver can't tell.
    /// Should the talk go on nevertheless, that gateway states it when it is back.
    pub(super) async fn free_of_cut_off(&self, operator: &str) {
        let talk = {
            let kept = self.setup.shared.mirror.lock();
            let row = kept.operators.get(operator).filter(|row| row.state == OperatorState::Talking);
            row.and_then(|row| Some((row.call.clone()?, row.call_node.clone())))
        };
        let Some((call, node)) = talk else { return };
        if !self.silent.get(&*node).is_some_and(|silence| silence.is_given_up) {
            return;
        }
        if let Some(abroad) = self.setup.shared.mirror.lock().abroad.get_mut(&*node) {
            abroad.talks.remove(&*call);
        }
        let operator = operator.to_owned();
        self.job(Box::new(move |now, core| core.released(now, &call, &operator))).await;
    }
}

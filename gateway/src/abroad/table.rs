//! The other gateways' calls, and what people here asked of them. Pure: times come in.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::warn;

use super::limits::{CALLS_MAX, WAITING_MAX};
use crate::call::{ControlError, LiveCall, Outcome};
use crate::cluster::limits::LOST_MS;

/// One other gateway.
#[derive(Default)]
struct Node {
    /// The link that stands.
    link: Option<u64>,
    /// Heard last, where none does.
    heard: Option<Instant>,
    calls: BTreeMap<String, LiveCall>,
    /// The parts of all its calls that have come so far.
    coming: BTreeMap<String, LiveCall>,
}

struct Waiting {
    node: String,
    reply: oneshot::Sender<Outcome>,
}

#[derive(Default)]
pub(super) struct Table {
    nodes: BTreeMap<String, Node>,
    waiting: BTreeMap<u64, Waiting>,
    id_next: u64,
}

fn keep(calls: &mut BTreeMap<String, LiveCall>, call: LiveCall) {
    if calls.len() < CALLS_MAX || calls.contains_key(&call.call) {
        calls.insert(call.call.clone(), call);
    } else {
        warn!(call = call.call, "another gateway has too many calls: this one can't be controlled from here");
    }
}

impl Table {
    pub(super) fn up(&mut self, node: &str, link: u64) {
        let known = self.nodes.entry(node.to_owned()).or_default();
        (known.link, known.heard) = (Some(link), None);
        known.coming.clear();
        // Whatever was asked over another link is answered over none.
        self.drop_waiting(node);
    }

    /// Its calls stay until it is lost: they may go on, and the link may come again.
    pub(super) fn down(&mut self, node: &str, link: u64, heard: Instant) {
        let Some(known) = self.nodes.get_mut(node).filter(|known| known.link == Some(link)) else { return };
        (known.link, known.heard) = (None, Some(heard));
        self.drop_waiting(node);
    }

    /// Nobody knows what became of what was asked.
    fn drop_waiting(&mut self, node: &str) {
        for (_, waiting) in self.waiting.extract_if(.., |_, waiting| waiting.node == node) {
            let _ = waiting.reply.send(Err(ControlError::NoAnswer));
        }
    }

    /// Whether a gateway's word came over the link that stands.
    pub(super) fn is_link(&self, node: &str, link: u64) -> bool {
        self.nodes.get(node).is_some_and(|known| known.link == Some(link))
    }

    /// Gateways with a link.
    pub(super) fn linked(&self) -> Vec<String> {
        self.nodes.iter().filter(|(_, known)| known.link.is_some()).map(|(node, _)| node.clone()).collect()
    }

    /// A gateway tells all its calls. True: these were the last, and count from now on.
    pub(super) fn all(&mut self, node: &str, calls: Vec<LiveCall>, more: bool) -> bool {
        let Some(known) = self.nodes.get_mut(node) else { return false };
        calls.into_iter().for_each(|call| keep(&mut known.coming, call));
        if !more {
            known.calls = std::mem::take(&mut known.coming);
        }
        !more
    }

    pub(super) fn changed(&mut self, node: &str, calls: Vec<LiveCall>, over: &[String]) {
        let Some(known) = self.nodes.get_mut(node) else { return };
        calls.into_iter().for_each(|call| keep(&mut known.calls, call));
        for call in over {
            known.calls.remove(call);
        }
    }

    /// Forgets gateways that were silent for too long; of one that runs without a link the calls go on. True: there
    /// was one.
    pub(super) fn lost(&mut self, now: Instant, lives: &dyn Fn(&str) -> bool) -> bool {
        let late = Duration::from_millis(LOST_MS);
        let before = self.nodes.len();
        let is_late = |heard: Instant| now.saturating_duration_since(heard) >= late;
        self.nodes.retain(|node, known| !known.heard.is_some_and(is_late) || lives(node));
        self.nodes.len() < before
    }

    pub(super) fn calls(&self) -> impl Iterator<Item = &LiveCall> {
        self.nodes.values().flat_map(|known| known.calls.values())
    }

    pub(super) fn has(&self, call: &str) -> bool {
        self.nodes.values().any(|known| known.calls.contains_key(call))
    }

    /// Somebody here asks something of a call: which gateway has it, and under which number its answer will come.
    pub(super) fn ask(&mut self, call: &str, reply: oneshot::Sender<Outcome>) -> Result<(String, u64), ControlError> {
        let mut having = self.nodes.iter().filter(|(_, known)| known.calls.contains_key(call));
        let (node, known) = having.next().ok_or(ControlError::Gone)?;
        if known.link.is_none() || self.waiting.len() >= WAITING_MAX {
            return Err(ControlError::Unreachable);
        }
        let (node, id) = (node.clone(), self.id_next);
        self.id_next += 1;
        self.waiting.insert(id, Waiting { node: node.clone(), reply });
        Ok((node, id))
    }

    pub(super) fn answered(&mut self, node: &str, id: u64, outcome: Outcome) {
        if self.waiting.get(&id).is_some_and(|waiting| waiting.node == node)
            && let Some(waiting) = self.waiting.remove(&id)
        {
            // Who asked may have gone.
            let _ = waiting.reply.send(outcome);
        }
    }

    /// Whoever asked waits no longer.
    pub(super) fn forget(&mut self, id: u64) {
        self.waiting.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(id: &str, stage: &str) -> LiveCall {
        LiveCall {
            call: id.into(),
            stage: stage.into(),
            queue: "main".into(),
            caller: "138****5678".into(),
            operator: None,
            since: 1,
            stage_since: 2,
            audio: Vec::new(),
        }
    }

    fn table() -> Table {
        let mut table = Table::default();
        table.up("b", 1);
        assert!(table.all("b", vec![call("1", "talk")], false));
        table
    }

    fn ids(table: &Table) -> Vec<&str> {
        table.calls().map(|call| call.call.as_str()).collect()
    }

    fn ask(table: &mut Table, of: &str) -> Result<(u64, oneshot::Receiver<Outcome>), ControlError> {
        let (reply, outcome) = oneshot::channel();
        let (node, id) = table.ask(of, reply)?;
        assert_eq!(node, "b");
        Ok((id, outcome))
    }

    fn answer(outcome: &mut oneshot::Receiver<Outcome>) -> Option<ControlError> {
        outcome.try_recv().ok()?.err()
    }

    #[test]
    fn calls_follow_what_their_gateway_says() {
        let mut table = table();
        table.changed("b", vec![call("2", "queue"), call("1", "after_talk")], &[]);
        assert_eq!(ids(&table), ["1", "2"]);
        assert_eq!(table.calls().next().map(|call| call.stage.as_str()), Some("after_talk"));
        table.changed("b", Vec::new(), &["1".into(), "9".into()]);
        assert_eq!(ids(&table), ["2"]);
        // Begun anew: until the last part came, what was known counts.
        assert!(!table.all("b", vec![call("3", "talk")], true));
        assert_eq!(ids(&table), ["2"]);
        assert!(table.all("b", vec![call("4", "talk")], false));
        assert_eq!(ids(&table), ["3", "4"]);
        // Of a gateway nobody has a link to.
        table.changed("c", vec![call("5", "talk")], &[]);
        assert!(!table.all("c", vec![call("5", "talk")], false) && !table.has("5"));
    }

    #[test]
    fn an_answer_reaches_who_asked_and_only_from_the_gateway_asked() {
        let mut table = table();
        let (id, mut outcome) = ask(&mut table, "1").unwrap();
        table.answered("c", id, Err(ControlError::NoTalk));
        assert_eq!(answer(&mut outcome), None);
        table.answered("b", id, Err(ControlError::NotYours));
        assert_eq!(answer(&mut outcome), Some(ControlError::NotYours));
        table.answered("b", id, Err(ControlError::NotYours));
        assert_eq!(ask(&mut table, "9").unwrap_err(), ControlError::Gone);
    }

    #[test]
    fn when_the_link_is_lost_nobody_waits_and_nothing_is_asked_until_it_is_back() {
        let (mut table, now) = (table(), Instant::now());
        let (_, mut outcome) = ask(&mut table, "1").unwrap();
        table.down("b", 7, now);
        assert_eq!(answer(&mut outcome), None, "of another link");
        table.down("b", 1, now);
        assert_eq!(answer(&mut outcome), Some(ControlError::NoAnswer), "it may have been done");
        assert_eq!(ask(&mut table, "1").unwrap_err(), ControlError::Unreachable, "it was not");
        assert!(table.has("1") && table.linked().is_empty() && !table.is_link("b", 1));
        assert!(!table.lost(now + Duration::from_millis(LOST_MS - 1), &|_| false));
        table.up("b", 2);
        assert!(table.is_link("b", 2) && !table.is_link("b", 1));
        assert!(!table.lost(now + Duration::from_secs(3_600), &|_| false));
        assert!(ask(&mut table, "1").is_ok());
    }

    #[test]
    fn a_lost_gateways_calls_are_gone() {
        let (mut table, now) = (table(), Instant::now());
        table.down("b", 1, now);
        // Cut off, its calls go on: they can't be reached, and aren't over.
        assert!(!table.lost(now + Duration::from_secs(3_600), &|node| node == "b"));
        assert_eq!(ids(&table), ["1"]);
        assert_eq!(ask(&mut table, "1").unwrap_err(), ControlError::Unreachable);
        assert!(table.lost(now + Duration::from_millis(LOST_MS), &|_| false));
        assert!(!table.lost(now + Duration::from_millis(LOST_MS), &|_| false), "once");
        assert!(ids(&table).is_empty());
        assert_eq!(ask(&mut table, "1").unwrap_err(), ControlError::Gone);
    }

    #[test]
    fn so_many_wait_at_most() {
        let mut table = table();
        let waiting: Vec<_> = (0..WAITING_MAX).map(|_| ask(&mut table, "1").unwrap()).collect();
        assert_eq!(ask(&mut table, "1").unwrap_err(), ControlError::Unreachable);
        table.forget(waiting[0].0);
        assert!(ask(&mut table, "1").is_ok());
    }
}

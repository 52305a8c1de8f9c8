//! What outlives the owner's task: the way to every call's driver, and the last row of everybody.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hotline_acd::{CallerRow, OperatorRef, OperatorRow, OperatorState};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::command::Command;
use super::engaged::Engaged;
use super::opening::ByHand;
use super::wire::State;

/// What a queue tells a call's driver.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum CallNews {
    /// Ring this operator.
    Offer(OperatorRef),
    /// Ring this operator no longer; nothing has to be said about it.
    Withdraw {
        /// User id.
        operator: String,
    },
    /// The caller waits in this queue now.
    Moved {
        /// Its name.
        queue: String,
    },
    /// Nobody answered for long enough: the phones on call are asked.
    Overflow {
        /// Red lane.
        red: bool,
    },
    /// The longest wait is over: they are called back.
    WaitedTooLong,
    /// 回避: nobody is there but whom their matters name.
    OnlyBarred,
}

/// Shared by the handle, the owner and whoever starts the next owner. Locked for single look-ups only.
#[derive(Default)]
pub(super) struct Mirror {
    kept: Mutex<Kept>,
}

#[derive(Default)]
pub(super) struct Kept {
    /// Every call that ever waited, or somebody is engaged in, until it ends.
    pub(super) news: HashMap<String, mpsc::Sender<Box<CallNews>>>,
    /// Who talks in each call, as its driver last said: the owner may have died over that word.
    pub(super) talks: HashMap<String, String>,
    /// Whose phones ring or talk in a call otherwise.
    pub(super) engaged: Engaged,
    /// Queues opened or closed by hand.
    pub(super) by_hand: ByHand,
    pub(super) operators: BTreeMap<String, OperatorRow>,
    pub(super) callers: BTreeMap<String, CallerRow>,
    /// Whom each driver was last told to ring, until it said what came of it.
    pub(super) offered: HashMap<String, String>,
    /// While this gateway leads queues that several share: what the others' drivers said, by gateway.
    pub(super) abroad: BTreeMap<String, Abroad>,
}

/// Calls of another gateway.
#[derive(Debug, Default)]
pub(super) struct Abroad {
    /// Those with a driver.
    pub(super) calls: BTreeSet<String>,
    /// Who talks in them.
    pub(super) talks: BTreeMap<String, String>,
    /// Whose phones ring or talk in them otherwise.
    pub(super) engaged: Engaged,
}

impl Abroad {
    /// What a gateway stated.
    pub(super) fn of(state: &State) -> Self {
        Self {
            calls: state.live.iter().cloned().collect(),
            talks: state.talks.iter().cloned().collect(),
            engaged: state.engaged.iter().cloned().collect(),
        }
    }
}

impl Kept {
    fn not_offered(&mut self, call: &str, operator: &str) {
        if self.offered.get(call).is_some_and(|of| of == operator) {
            self.offered.remove(call);
        }
    }

    /// Calls whose drivers live here.
    pub(super) fn live_here(&self) -> BTreeSet<String> {
        self.news.iter().filter(|(_, to)| !to.is_closed()).map(|(call, _)| call.clone()).collect()
    }

    /// Somebody is in a call otherwise; one made from a task never waits, so its driver is known by this alone.
    pub(super) fn engage(&mut self, call: &str, operator: &str, news: &mpsc::Sender<Box<CallNews>>) {
        self.engaged.add(call, operator);
        self.news.entry(call.to_owned()).or_insert_with(|| news.clone());
    }

    fn forget(&mut self, call: &str) {
        self.news.remove(call);
        self.talks.remove(call);
        self.engaged.end(call);
        self.offered.remove(call);
    }

    /// Who talks in them, as the drivers last said.
    pub(super) fn talks_here(&self) -> Vec<(String, String)> {
        let live = |call: &String| self.news.get(call).is_some_and(|to| !to.is_closed());
        self.talks.iter().filter(|(call, _)| live(call)).map(|(c, o)| (c.clone(), o.clone())).collect()
    }

    /// All gateways the rows name.
    pub(super) fn nodes(&self) -> BTreeSet<String> {
        let calls = self.callers.values().map(|row| row.entry.node.clone());
        let people = self.operators.values().flat_map(|row| [row.call_node.to_string(), row.profile.node.clone()]);
        calls.chain(people).filter(|node| !node.is_empty()).collect()
    }

    /// What another gateway's driver says.
    pub(super) fn note(&mut self, node: &str, command: &Command) {
        let Some(call) = command.call() else { return };
        let abroad = self.abroad.entry(node.to_owned()).or_default();
        match command {
            Command::Enter(_) => {
                abroad.calls.insert(call.to_owned());
                abroad.talks.remove(call);
            }
            Command::Connected { operator, .. } => {
                abroad.calls.insert(call.to_owned());
                abroad.talks.insert(call.to_owned(), operator.clone());
                abroad.engaged.remove(call, operator);
            }
            Command::Engaged { operator, .. } => {
                abroad.calls.insert(call.to_owned());
                abroad.engaged.add(call, operator);
            }
            Command::Disengaged { operator, .. } => abroad.engaged.remove(call, operator),
            Command::Released { operator, .. } if abroad.talks.get(call) == Some(operator) => {
                abroad.talks.remove(call);
            }
            Command::Ended { .. } => {
                abroad.calls.remove(call);
                abroad.talks.remove(call);
                abroad.engaged.end(call);
            }
            _ => {}
        }
    }

    /// A new leader puts together what it has itself and what the others stated.
    pub(super) fn merge(&mut self, me: &str, stated: &BTreeMap<String, State>) {
        self.abroad.clear();
        for (node, state) in stated {
            self.callers.retain(|_, row| row.entry.node != *node);
            let callers = state.rows.callers.iter().cloned().map(CallerRow::from);
            for row in callers.filter(|row| state.live.contains(&row.entry.call)) {
                self.callers.insert(row.entry.call.clone(), row);
            }
            for row in state.rows.operators.iter().cloned().map(OperatorRow::from) {
                if self.operators.get(&row.who.id).is_none_or(|ours| ours.since < row.since) {
                    self.operators.insert(row.who.id.clone(), row);
                }
            }
            self.abroad.insert(node.clone(), Abroad::of(state));
        }
        // Of those who said nothing the rows alone tell, until they are lost.
        let silent = |node: &str| !node.is_empty() && node != me && !stated.contains_key(node);
        for row in self.callers.values().filter(|row| silent(&row.entry.node)) {
            self.abroad.entry(row.entry.node.clone()).or_default().calls.insert(row.entry.call.clone());
        }
        for row in self.operators.values().filter(|row| silent(&row.call_node)) {
            let Some(call) = &row.call else { continue };
            let abroad = self.abroad.entry(row.call_node.to_string()).or_default();
            abroad.calls.insert(call.to_string());
            if row.state == OperatorState::Talking {
                abroad.talks.insert(call.to_string(), row.who.id.clone());
            }
        }
        for abroad in self.abroad.iter_mut().filter(|(node, _)| silent(node)).map(|(_, abroad)| abroad) {
            for row in self.operators.values() {
                for call in row.engaged.iter().filter(|call| abroad.calls.contains(&***call)) {
                    abroad.engaged.add(call, &row.who.id);
                }
            }
        }
    }
}

impl Mirror {
    pub(super) fn lock(&self) -> MutexGuard<'_, Kept> {
        // Every change is one insertion or removal: what a panic left is whole.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// False: the driver is gone, or so far behind that it drives nothing.
    pub(super) fn tell(&self, call: &str, news: CallNews) -> bool {
        let mut kept = self.lock();
        match &news {
            CallNews::Offer(operator) => {
                kept.offered.insert(call.to_owned(), operator.id.clone());
            }
            CallNews::Withdraw { operator } => kept.not_offered(call, operator),
            _ => {}
        }
        kept.news.get(call).is_some_and(|to| to.try_send(Box::new(news)).is_ok())
    }

    pub(super) fn is_live(&self, call: &str) -> bool {
        let kept = self.lock();
        kept.news.get(call).is_some_and(|to| !to.is_closed())
            || kept.abroad.values().any(|abroad| abroad.calls.contains(call))
    }

    /// This operator talks in the call now.
    pub(super) fn connected(&self, call: &str, operator: &str) {
        let mut kept = self.lock();
        kept.talks.insert(call.to_owned(), operator.to_owned());
        kept.engaged.remove(call, operator);
        kept.not_offered(call, operator);
    }

    /// The offer is answered.
    pub(super) fn answered(&self, call: &str, operator: &str) {
        self.lock().not_offered(call, operator);
    }

    /// The call waits no longer.
    pub(super) fn left(&self, call: &str) {
        self.lock().offered.remove(call);
    }

    /// Calls whose drivers are gone without a word.
    pub(super) fn dead(&self) -> Vec<String> {
        let mut kept = self.lock();
        let dead: Vec<String> = kept.news.iter().filter(|(_, to)| to.is_closed()).map(|(c, _)| c.clone()).collect();
        for call in &dead {
            kept.forget(call);
        }
        dead
    }

    /// The call is over.
    pub(super) fn forget(&self, call: &str) {
        self.lock().forget(call);
    }

    /// This operator talks in this call no longer.
    pub(super) fn released(&self, call: &str, operator: &str) {
        let mut kept = self.lock();
        if kept.talks.get(call).is_some_and(|of| of == operator) {
            kept.talks.remove(call);
        }
    }

    /// Who talks in the calls that are live, as their drivers last said.
    pub(super) fn talks(&self) -> Vec<(String, String)> {
        let kept = self.lock();
        let mut talks = kept.talks_here();
        talks.extend(kept.abroad.values().flat_map(|a| a.talks.iter().map(|(c, o)| (c.clone(), o.clone()))));
        talks
    }

    /// Whose phones ring or talk in them otherwise.
    pub(super) fn engaged(&self) -> Engaged {
        let kept = self.lock();
        kept.engaged.pairs().chain(kept.abroad.values().flat_map(|abroad| abroad.engaged.pairs())).collect()
    }
}

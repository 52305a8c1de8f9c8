//! What outlives the owner's task: the way to every call's driver, and the last row of everybody.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hotline_acd::{CallerRow, OperatorRef, OperatorRow};
use tokio::sync::mpsc;

/// What a queue tells a call's driver.
#[derive(Debug)]
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
    /// The longest wait is over: they are called back.
    WaitedTooLong,
}

/// Shared by the handle, the owner and whoever starts the next owner. Locked for single look-ups only.
#[derive(Default)]
pub(super) struct Mirror {
    kept: Mutex<Kept>,
}

#[derive(Default)]
pub(super) struct Kept {
    /// Every call that ever waited, until it ends.
    pub(super) news: HashMap<String, mpsc::Sender<Box<CallNews>>>,
    /// Who talks in each call, as its driver last said: the owner may have died over that word.
    pub(super) talks: HashMap<String, String>,
    pub(super) operators: BTreeMap<String, OperatorRow>,
    pub(super) callers: BTreeMap<String, CallerRow>,
}

impl Mirror {
    pub(super) fn lock(&self) -> MutexGuard<'_, Kept> {
        // Every change is one insertion or removal: what a panic left is whole.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// False: the driver is gone, or so far behind that it drives nothing.
    pub(super) fn tell(&self, call: &str, news: CallNews) -> bool {
        self.lock().news.get(call).is_some_and(|to| to.try_send(Box::new(news)).is_ok())
    }

    pub(super) fn is_live(&self, call: &str) -> bool {
        self.lock().news.get(call).is_some_and(|to| !to.is_closed())
    }

    /// Calls whose drivers are gone without a word.
    pub(super) fn dead(&self) -> Vec<String> {
        let mut kept = self.lock();
        let dead: Vec<String> = kept.news.iter().filter(|(_, to)| to.is_closed()).map(|(c, _)| c.clone()).collect();
        for call in &dead {
            kept.news.remove(call);
            kept.talks.remove(call);
        }
        dead
    }

    /// The call is over.
    pub(super) fn forget(&self, call: &str) {
        let mut kept = self.lock();
        kept.news.remove(call);
        kept.talks.remove(call);
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
        let live = |call: &String| kept.news.get(call).is_some_and(|to| !to.is_closed());
        kept.talks.iter().filter(|(call, _)| live(call)).map(|(c, o)| (c.clone(), o.clone())).collect()
    }
}

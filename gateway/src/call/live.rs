//! The calls that are going on now, and the way to reach their drivers.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tracing::warn;

use super::control::Control;
use super::quality::AudioTrouble;

/// A live call for lists.
#[derive(Clone, Debug, serde::Serialize, utoipa::ToSchema)]
pub struct LiveCall {
    /// Call id.
    pub call: String,
    /// `greeting`, `queue`, `talk`, `survey` …
    pub stage: String,
    /// The queue it waits in, or came from.
    pub queue: String,
    /// Masked number.
    pub caller: String,
    /// Operator talking or ringing.
    pub operator: Option<String>,
    /// Start (epoch ms).
    pub since: i64,
    /// Since when it is at this stage (epoch ms).
    pub stage_since: i64,
    /// Who can't be heard just now.
    pub audio: Vec<AudioTrouble>,
}

struct Entry {
    view: LiveCall,
    control: mpsc::Sender<Box<Control>>,
}

/// All live calls.
#[derive(Default)]
pub struct LiveCalls {
    calls: Mutex<BTreeMap<String, Entry>>,
}

impl LiveCalls {
    /// A call begins.
    pub fn add(&self, view: LiveCall, control: mpsc::Sender<Box<Control>>) {
        self.lock().insert(view.call.clone(), Entry { view, control });
    }

    /// A call is over.
    pub fn remove(&self, call: &str) {
        self.lock().remove(call);
    }

    /// A call moved on.
    pub fn update(&self, call: &str, (stage, since): (&str, i64), queue: &str, operator: Option<String>) {
        if let Some(entry) = self.lock().get_mut(call) {
            stage.clone_into(&mut entry.view.stage);
            entry.view.stage_since = since;
            queue.clone_into(&mut entry.view.queue);
            entry.view.operator = operator;
        }
    }

    /// Who can't be heard in a call.
    pub fn troubles(&self, call: &str, audio: Vec<AudioTrouble>) {
        if let Some(entry) = self.lock().get_mut(call) {
            entry.view.audio = audio;
        }
    }

    /// The way to a call's driver.
    #[must_use]
    pub fn control(&self, call: &str) -> Option<mpsc::Sender<Box<Control>>> {
        self.lock().get(call).map(|e| e.control.clone())
    }

    /// The way to the driver of the talk this operator is in.
    #[must_use]
    pub fn control_of_talk(&self, operator: &str) -> Option<mpsc::Sender<Box<Control>>> {
        let calls = self.lock();
        let mut talks = calls.values().filter(|e| e.view.stage == super::driver::Stage::Talk.as_str());
        talks.find(|e| e.view.operator.as_deref() == Some(operator)).map(|e| e.control.clone())
    }

    /// The way to the driver of the call this operator rings or talks in.
    #[must_use]
    pub fn control_of_operator(&self, operator: &str) -> Option<mpsc::Sender<Box<Control>>> {
        let calls = self.lock();
        calls.values().find(|e| e.view.operator.as_deref() == Some(operator)).map(|e| e.control.clone())
    }

    /// Somebody's matter began to name one of us: the callers who wait are judged again.
    pub fn judge_again(&self) {
        let waiting = super::driver::Stage::Queue.as_str();
        for (call, entry) in self.lock().iter().filter(|(_, e)| e.view.stage == waiting) {
            if entry.control.try_send(Box::new(Control::JudgeAgain)).is_err() {
                warn!(call, "a caller isn't judged again: too many commands wait for the call");
            }
        }
    }

    /// All of them, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<LiveCall> {
        self.lock().values().map(|e| e.view.clone()).collect()
    }

    /// The masked number of each.
    #[must_use]
    pub fn numbers(&self) -> BTreeMap<String, String> {
        self.lock().iter().map(|(call, e)| (call.clone(), e.view.caller.clone())).collect()
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Everybody's mailbox, for the drain.
    #[must_use]
    pub fn controls(&self) -> Vec<mpsc::Sender<Box<Control>>> {
        self.lock().values().map(|e| e.control.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

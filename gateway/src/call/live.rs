//! The calls that are going on now, and the way to reach their drivers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc};
use tracing::warn;

use super::control::Control;
use super::quality::AudioTrouble;

/// A live call for lists.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
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
    /// Calls that are new here since other gateways were told; `None`: there are none to tell.
    news: Mutex<Option<BTreeSet<String>>>,
    has_news: Notify,
}

impl LiveCalls {
    /// A call begins.
    pub fn add(&self, view: LiveCall, control: mpsc::Sender<Box<Control>>) {
        let call = view.call.clone();
        self.lock().insert(call.clone(), Entry { view, control });
        self.is_new(&call);
    }

    /// A call is over.
    pub fn remove(&self, call: &str) {
        self.lock().remove(call);
        self.is_new(call);
    }

    /// A call moved on.
    pub fn update(&self, call: &str, (stage, since): (&str, i64), queue: &str, operator: Option<String>) {
        if let Some(entry) = self.lock().get_mut(call) {
            stage.clone_into(&mut entry.view.stage);
            entry.view.stage_since = since;
            queue.clone_into(&mut entry.view.queue);
            entry.view.operator = operator;
        }
        self.is_new(call);
    }

    /// Who can't be heard in a call.
    pub fn troubles(&self, call: &str, audio: Vec<AudioTrouble>) {
        if let Some(entry) = self.lock().get_mut(call) {
            entry.view.audio = audio;
        }
        self.is_new(call);
    }

    /// From now on other gateways are told of changes.
    pub fn tell_others(&self) {
        self.news().get_or_insert_default();
    }

    /// Until there is something to tell other gateways.
    pub async fn changed(&self) {
        self.has_news.notified().await;
    }

    /// What changed since this was asked last: calls as they are now, and those that are over.
    #[must_use]
    pub fn take_changed(&self) -> (Vec<LiveCall>, Vec<String>) {
        let changed = self.news().as_mut().map(std::mem::take).unwrap_or_default();
        let (mut now, mut over) = (Vec::new(), Vec::new());
        let calls = self.lock();
        for call in changed {
            match calls.get(&call) {
                Some(entry) => now.push(entry.view.clone()),
                None => over.push(call),
            }
        }
        (now, over)
    }

    /// Whatever was told of it is old; said after the change.
    fn is_new(&self, call: &str) {
        if let Some(news) = self.news().as_mut() {
            news.insert(call.to_owned());
            self.has_news.notify_one();
        }
    }

    fn news(&self) -> MutexGuard<'_, Option<BTreeSet<String>>> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// The call this operator rings or talks in.
    #[must_use]
    pub fn call_of_operator(&self, operator: &str) -> Option<String> {
        let calls = self.lock();
        calls.values().find(|e| e.view.operator.as_deref() == Some(operator)).map(|e| e.view.call.clone())
    }

    /// Somebody's matter began to name one of us: who waits or talks is judged again.
    pub fn judge_again(&self) {
        let stages = [super::driver::Stage::Queue.as_str(), super::driver::Stage::Talk.as_str()];
        for (call, entry) in self.lock().iter().filter(|(_, e)| stages.contains(&e.view.stage.as_str())) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn call(id: &str) -> LiveCall {
        LiveCall {
            call: id.into(),
            stage: "greeting".into(),
            queue: "main".into(),
            caller: "138****5678".into(),
            operator: None,
            since: 1,
            stage_since: 1,
            audio: Vec::new(),
        }
    }

    #[tokio::test]
    async fn what_changed_is_told_once_as_it_is_then() {
        let (live, (control, _mailbox)) = (LiveCalls::default(), mpsc::channel(1));
        live.add(call("1"), control.clone());
        assert_eq!(live.take_changed(), (Vec::new(), Vec::new()), "nobody to tell");
        live.tell_others();
        live.add(call("2"), control.clone());
        live.add(call("3"), control);
        live.update("2", ("talk", 5), "main", Some("x".into()));
        live.remove("3");
        live.changed().await;
        let (now, over) = live.take_changed();
        assert_eq!((now.len(), now[0].call.as_str(), now[0].stage.as_str()), (1, "2", "talk"));
        assert_eq!(over, ["3"]);
        assert_eq!(live.take_changed(), (Vec::new(), Vec::new()));
        assert_eq!(live.call_of_operator("x").as_deref(), Some("2"));
    }
}

//! An operator calls by a task themselves: it is theirs for as long as the call takes, and what comes of it counts as
//! if the machine had called.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use hotline_db::{CallbackTask, DbError, Id};
use tokio::sync::oneshot;
use tracing::{error, info};

use super::conclude::conclude;
use super::dial::{LEASE_MS, number_of, renew};
use super::schedule::Owed;
use crate::acd::{OperatorRef, OperatorState};
use crate::app::Services;
use crate::call::{CallState, ControlError, from_desk, has_trunk};
use crate::clock::{local_time, now_ms};
use crate::dialout::{Purpose, Refusal, judge};
use crate::privacy::Pii;

/// `Idempotency-Key`s remembered; the oldest go first.
const KEYS_MAX: usize = 1_024;

/// Why no phone rings.
#[derive(Debug, thiserror::Error)]
pub enum NotCalled {
    /// No such task, or not for this person.
    #[error("没有这项任务 / no such task")]
    Missing,
    /// It has its result.
    #[error("该任务已办结 / this task is done")]
    Done,
    /// The machine or a colleague is calling this citizen.
    #[error("正在呼叫该市民,请稍候 / this citizen is being called just now: wait a moment")]
    UnderWay,
    /// It is somebody else's.
    #[error("该任务已指派他人 / this task is somebody else's")]
    NotYours,
    /// The operator's phone is in use.
    #[error("您正在通话或振铃 / your own phone rings or talks")]
    Busy,
    /// Not signed in.
    #[error("请先签到 / sign in first: calls are made on one's shift")]
    SignedOut,
    /// Tried not long ago: the citizen is left alone until then.
    #[error("刚呼叫过该市民,请于 {0} 后再呼叫 / this citizen was called not long ago: not again before {0}")]
    TooSoon(String),
    /// There is no number, or it can't be opened.
    #[error("没有可用的号码 / there is no number to call")]
    NoNumber,
    /// `dialout` says no.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// No trunk, no phone …
    #[error("{0}")]
    Control(#[from] ControlError),
    /// The rows.
    #[error(transparent)]
    Store(#[from] DbError),
}

/// Which key made which call, and who is about to make one.
#[derive(Default)]
pub struct Keys {
    made: Mutex<VecDeque<(String, String)>>,
    beginning: Mutex<BTreeSet<String>>,
}

/// One person's call begins; nobody begins two at once.
struct Beginning<'a> {
    keys: &'a Keys,
    who: String,
}

impl Drop for Beginning<'_> {
    fn drop(&mut self) {
        self.keys.beginning.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.who);
    }
}

impl Keys {
    /// The call made under this key.
    #[must_use]
    pub fn call(&self, key: &str) -> Option<String> {
        let keys = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        keys.iter().find(|(known, _)| known == key).map(|(_, call)| call.clone())
    }

    /// From now on `key` stands for `call`.
    pub fn keep(&self, key: String, call: String) {
        let mut keys = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= KEYS_MAX {
            keys.pop_front();
        }
        keys.push_back((key, call));
    }

    fn begin(&self, who: &str) -> Option<Beginning<'_>> {
        let first = self.beginning.lock().unwrap_or_else(PoisonError::into_inner).insert(who.to_owned());
        first.then(|| Beginning { keys: self, who: who.to_owned() })
    }
}

/// Rings `who`, then the citizen; returns how the call stands once the phone rings.
///
/// # Errors
/// [`NotCalled`].
pub async fn by_operator(sv: &Arc<Services>, task: Id, who: OperatorRef) -> Result<CallState, NotCalled> {
    // Until the queues know of this call.
    let _beginning = sv.desk_keys.begin(&who.id).ok_or(NotCalled::Busy)?;
    let task = sv.store.callback_get(task).await?.ok_or(NotCalled::Missing)?;
    may_call(sv, &task, &who).await?;
    let number = match number_of(sv, &task).await? {
        Some(Ok(number)) => number,
        Some(Err(e)) => {
            error!(task = %task.id, error = %e, "the citizen's number can't be opened: restore secret.key");
            return Err(NotCalled::NoNumber);
        }
        None => return Err(NotCalled::NoNumber),
    };
    let purpose = Purpose::Task(Owed::of(&task));
    judge(&sv.config, &sv.rules, purpose, number.reveal(), now_ms())?;
    has_trunk(sv, purpose, number.reveal()).map_err(ControlError::Outside)?;
    // From here on the machine leaves it alone.
    let task = sv.store.callback_take(task.id, now_ms(), LEASE_MS).await?.ok_or(NotCalled::UnderWay)?;
    // The rows took their time: an attempt may have come and gone meanwhile, or a queue's talk have begun.
    if let Err(why) = is_time(sv, &task, &who).await {
        sv.store.callback_postpone(task.id, task.next_at).await?;
        return Err(why);
    }
    let (began, outcome) = oneshot::channel();
    let (sv, id) = (Arc::clone(sv), task.id);
    sv.calls.clone().spawn(async move {
        tokio::select! {
            served = serve(&sv, task, number, who, began) => if let Err(e) = served {
                // The lease runs out and the task comes back.
                error!(task = %id, error = %e, "an operator's callback is not written");
            },
            () = renew(&sv, id) => {}
        }
    });
    Ok(outcome.await.map_err(|_| ControlError::Gone)??)
}

/// Whether this person may call by this task, and now.
async fn may_call(sv: &Services, task: &CallbackTask, who: &OperatorRef) -> Result<(), NotCalled> {
    let me: Option<Id> = who.id.parse().ok();
    if task.excluded.is_some() && task.excluded == me {
        return Err(NotCalled::Missing);
    }
    // 回避: nobody calls a citizen whose matters name them.
    if let Some(me) = me
        && sv.store.citizen_recused(task.party, task.call).await?.contains(&me)
    {
        return Err(NotCalled::Missing);
    }
    if task.finished_at.is_some() {
        return Err(NotCalled::Done);
    }
    if task.assignee.is_some() && task.assignee != me {
        return Err(NotCalled::NotYours);
    }
    is_time(sv, task, who).await?;
    let off = OperatorState::Off.as_str();
    let seats = sv.acd.view().await;
    if !seats.iter().flat_map(|queue| &queue.operators).any(|o| o.id == who.id && o.state != off) {
        return Err(NotCalled::SignedOut);
    }
    Ok(())
}

/// Whether the citizen may be called just now, and this person is free for it. Attempts lie apart, whoever makes them,
/// and "later" moves the task for everybody (domain rules §4); a first one may be made before its time.
async fn is_time(sv: &Services, task: &CallbackTask, who: &OperatorRef) -> Result<(), NotCalled> {
    if now_ms() < task.next_at && sv.store.callback_was_noticed(task.id).await? {
        return Err(NotCalled::TooSoon(local_time(task.next_at, sv.config.site.utc_offset_min)));
    }
    if sv.acd.calls_of(&who.id).await.is_empty() { Ok(()) } else { Err(NotCalled::Busy) }
}

async fn serve(
    sv: &Arc<Services>,
    task: CallbackTask,
    number: Pii<String>,
    who: OperatorRef,
    began: oneshot::Sender<crate::call::Outcome>,
) -> Result<(), DbError> {
    info!(task = %task.id, kind = task.kind.as_str(), operator = who.id, to = %number, "an operator calls back");
    match Box::pin(from_desk(Arc::clone(sv), task.clone(), number, who, began)).await {
        Some(finished) => Box::pin(conclude(sv, &task, finished)).await,
        // Nobody called the citizen: the task is as it was.
        None => sv.store.callback_postpone(task.id, task.next_at).await.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stands_for_its_call_and_the_oldest_are_forgotten() {
        let keys = Keys::default();
        keys.keep("a".into(), "1".into());
        assert_eq!((keys.call("a").as_deref(), keys.call("b")), (Some("1"), None));
        for n in 0..KEYS_MAX {
            keys.keep(n.to_string(), "2".into());
        }
        assert_eq!(keys.call("a"), None);
        assert_eq!(keys.made.lock().unwrap().len(), KEYS_MAX);
    }

    #[test]
    fn nobody_begins_two_calls_at_once() {
        let keys = Keys::default();
        let first = keys.begin("a");
        assert!(first.is_some() && keys.begin("a").is_none() && keys.begin("b").is_some());
        drop(first);
        assert!(keys.begin("a").is_some());
    }
}

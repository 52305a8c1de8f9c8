//! The task that owns one queue: the only place its state changes, so no lock and no race.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use hotline_db::Store;
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use super::assign::Lane;
use super::core::{Core, Decline, Effect, OperatorRef, OperatorState};
use super::rows::{Row, write_rows};
use crate::clock::now_ms;

/// Messages waiting for a queue's owner.
const OWNER_QUEUE_MAX: usize = 4_096;

/// What a queue tells a waiting call's driver.
#[derive(Debug)]
pub enum CallNews {
    /// Ring this operator.
    Offer(Box<OperatorRef>),
}

/// The queue's owner is gone or drowned.
#[derive(Debug, thiserror::Error)]
pub enum AcdError {
    /// No queue of this name.
    #[error("没有这个队列 / no queue named {0:?}")]
    NoQueue(String),
    /// The queue holds `waiting_max` callers.
    #[error("队列已满 / the queue is full")]
    Full,
    /// The owner doesn't take messages.
    #[error("the queue's owner does not answer")]
    Unavailable,
}

/// An operator for lists.
#[derive(Clone, Debug, serde::Serialize, utoipa::ToSchema)]
pub struct OperatorView {
    /// User id.
    pub id: String,
    /// Name.
    pub name: String,
    /// State word.
    pub state: String,
    /// Reason.
    pub reason: String,
    /// Since when (epoch ms).
    pub since: i64,
    /// Whether the phone is registered.
    pub registered: bool,
    /// Call at hand.
    pub call: Option<String>,
}

/// A queue for lists.
#[derive(Clone, Debug, serde::Serialize, utoipa::ToSchema)]
pub struct QueueView {
    /// Name.
    pub name: String,
    /// Calls waiting.
    pub waiting: usize,
    /// Operators signed in.
    pub operators: Vec<OperatorView>,
}

enum Message {
    SignOut {
        operator: String,
    },
    Enter {
        call: String,
        lane: Lane,
        returns: bool,
        excluded: BTreeSet<String>,
        news: mpsc::Sender<CallNews>,
        reply: oneshot::Sender<Result<(), AcdError>>,
    },
    Leave {
        call: String,
    },
    SetLane {
        call: String,
        lane: Lane,
    },
    Connected {
        call: String,
        operator: String,
    },
    Declined {
        call: String,
        operator: String,
        why: Decline,
    },
    Released {
        operator: String,
    },
    Want {
        who: OperatorRef,
        registered: bool,
        state: OperatorState,
        reason: String,
        reply: oneshot::Sender<OperatorState>,
    },
    Registered {
        sip_user: String,
        registered: bool,
    },
    Position {
        call: String,
        reply: oneshot::Sender<Option<(usize, u64)>>,
    },
    View {
        reply: oneshot::Sender<QueueView>,
    },
}

/// Handle to all queues.
#[derive(Clone)]
pub struct Acd {
    queues: BTreeMap<String, mpsc::Sender<Message>>,
}

impl Acd {
    /// Starts one owner per queue.
    #[must_use]
    pub fn start(config: &crate::config::Config, store: &Store, node: &str) -> Self {
        let queues = config
            .queue_names()
            .into_iter()
            .map(|name| {
                let settings = config.queue(&name);
                let (tx, rx) = mpsc::channel(OWNER_QUEUE_MAX);
                let rows = write_rows(store.clone(), node.to_owned());
                let owner = Owner {
                    name: name.clone(),
                    core: Core::new(i64::try_from(settings.wrap_s * 1000).unwrap_or(i64::MAX)),
                    waiting_max: settings.waiting_max,
                    news: HashMap::new(),
                    rows,
                };
                tokio::spawn(owner.run(rx));
                (name, tx)
            })
            .collect();
        Self { queues }
    }

    /// A caller joins a queue; offers come through `news`. Who `returns` from a talk is never turned away:
    /// there is no more of them than of calls.
    pub async fn enter(
        &self,
        queue: &str,
        call: &str,
        lane: Lane,
        returns: bool,
        excluded: BTreeSet<String>,
        news: mpsc::Sender<CallNews>,
    ) -> Result<(), AcdError> {
        let (reply, answer) = oneshot::channel();
        self.send(queue, Message::Enter { call: call.into(), lane, returns, excluded, news, reply }).await?;
        answer.await.map_err(|_| AcdError::Unavailable)?
    }

    /// The caller left the queue.
    pub async fn leave(&self, queue: &str, call: &str) {
        self.tell(queue, Message::Leave { call: call.into() }).await;
    }

    /// The caller changes lane.
    pub async fn set_lane(&self, queue: &str, call: &str, lane: Lane) {
        self.tell(queue, Message::SetLane { call: call.into(), lane }).await;
    }

    /// The offered operator answered.
    pub async fn connected(&self, queue: &str, call: &str, operator: &str) {
        self.tell(queue, Message::Connected { call: call.into(), operator: operator.into() }).await;
    }

    /// The offered operator didn't take the call.
    pub async fn declined(&self, queue: &str, call: &str, operator: &str, why: Decline) {
        self.tell(queue, Message::Declined { call: call.into(), operator: operator.into(), why }).await;
    }

    /// The operator's talk is over.
    pub async fn released(&self, queue: &str, operator: &str) {
        self.tell(queue, Message::Released { operator: operator.into() }).await;
    }

    /// An operator asks for a state; returns what holds now.
    pub async fn want(
        &self,
        queue: &str,
        who: OperatorRef,
        registered: bool,
        state: OperatorState,
        reason: &str,
    ) -> Result<OperatorState, AcdError> {
        // One queue at a time: two owners must never ring the same phone.
        for other in self.queues.keys().filter(|q| *q != queue) {
            self.tell(other, Message::SignOut { operator: who.id.clone() }).await;
        }
        let (reply, answer) = oneshot::channel();
        self.send(queue, Message::Want { who, registered, state, reason: reason.into(), reply }).await?;
        answer.await.map_err(|_| AcdError::Unavailable)
    }

    /// A phone came or went.
    pub async fn registered(&self, sip_user: &str, registered: bool) {
        for queue in self.queues.keys() {
            self.tell(queue, Message::Registered { sip_user: sip_user.into(), registered }).await;
        }
    }

    /// Place in the queue and estimated wait in seconds.
    pub async fn position(&self, queue: &str, call: &str) -> Option<(usize, u64)> {
        let (reply, answer) = oneshot::channel();
        self.send(queue, Message::Position { call: call.into(), reply }).await.ok()?;
        answer.await.ok()?
    }

    /// All queues for lists.
    pub async fn view(&self) -> Vec<QueueView> {
        let mut out = Vec::new();
        for queue in self.queues.keys() {
            let (reply, answer) = oneshot::channel();
            if self.send(queue, Message::View { reply }).await.is_ok()
                && let Ok(view) = answer.await
            {
                out.push(view);
            }
        }
        out
    }

    async fn send(&self, queue: &str, message: Message) -> Result<(), AcdError> {
        let to = self.queues.get(queue).ok_or_else(|| AcdError::NoQueue(queue.into()))?;
        to.send(message).await.map_err(|_| AcdError::Unavailable)
    }

    async fn tell(&self, queue: &str, message: Message) {
        if let Err(e) = self.send(queue, message).await {
            warn!(queue, error = %e, "queue message lost");
        }
    }
}

struct Owner {
    name: String,
    core: Core,
    waiting_max: usize,
    news: HashMap<String, mpsc::Sender<CallNews>>,
    rows: mpsc::Sender<Row>,
}

impl Owner {
    async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        loop {
            let deadline = self.core.poll_timeout();
            let sleep = async {
                match deadline {
                    Some(at) => {
                        tokio::time::sleep(Duration::from_millis(u64::try_from(at - now_ms()).unwrap_or(0))).await
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                message = messages.recv() => match message {
                    Some(message) => self.handle(now_ms(), message),
                    None => return,
                },
                () = sleep => self.core.handle_timeout(now_ms()),
            }
            self.carry_out();
        }
    }

    fn handle(&mut self, now: i64, message: Message) {
        match message {
            Message::Enter { call, lane, returns, excluded, news, reply } => {
                if !returns && self.core.waiting.len() >= self.waiting_max {
                    let _ = reply.send(Err(AcdError::Full));
                    return;
                }
                self.news.insert(call.clone(), news);
                self.row(Row::Enter { call: call.clone(), queue: self.name.clone(), lane: lane.as_str(), at: now });
                self.core.enter(now, &call, lane, excluded);
                let _ = reply.send(Ok(()));
            }
            Message::Leave { call } => {
                self.core.leave(now, &call);
                self.forget(call);
            }
            Message::SetLane { call, lane } => self.core.set_lane(now, &call, lane),
            Message::Connected { call, operator } => {
                self.core.connected(now, &call, &operator);
                self.forget(call);
            }
            Message::Declined { call, operator, why } => self.core.declined(now, &call, &operator, why),
            Message::Released { operator } => self.core.released(now, &operator),
            Message::Want { who, registered, state, reason, reply } => {
                let _ = reply.send(self.core.want(now, &who, registered, state, &reason));
            }
            Message::SignOut { operator } => self.core.sign_out(now, &operator),
            Message::Registered { sip_user, registered } => self.core.registered(now, &sip_user, registered),
            Message::Position { call, reply } => {
                let _ = reply.send(self.core.position(&call));
            }
            Message::View { reply } => {
                let _ = reply.send(self.view());
            }
        }
    }

    fn forget(&mut self, call: String) {
        if self.news.remove(&call).is_some() {
            self.row(Row::Leave { call });
        }
    }

    fn view(&self) -> QueueView {
        let operators = self
            .core
            .operators
            .values()
            .map(|o| OperatorView {
                id: o.who.id.clone(),
                name: o.who.name.clone(),
                state: o.state.as_str().into(),
                reason: o.reason.clone(),
                since: o.since,
                registered: o.registered,
                call: o.call.clone(),
            })
            .collect();
        QueueView { name: self.name.clone(), waiting: self.core.waiting.len(), operators }
    }

    fn carry_out(&mut self) {
        // Declining a dead caller may free an operator for the next: repeat until quiet.
        loop {
            let effects = self.core.take_effects();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                match effect {
                    Effect::Offer { call, operator } => self.offer(&call, operator),
                    Effect::State { operator, state, reason } => {
                        info!(queue = %self.name, operator, state = state.as_str(), reason, "operator state");
                        self.row(Row::State { operator, state: state.as_str(), reason, at: now_ms() });
                    }
                    Effect::Row { call, state } => self.row(Row::Update { call, state }),
                }
            }
        }
    }

    fn offer(&mut self, call: &str, operator: OperatorRef) {
        let id = operator.id.clone();
        let gone = self.news.get(call).is_none_or(|to| to.try_send(CallNews::Offer(Box::new(operator))).is_err());
        if gone {
            warn!(call, operator = id, "caller's driver is gone: removed from the queue");
            self.core.leave(now_ms(), call);
            self.forget(call.to_owned());
        }
    }

    fn row(&self, row: Row) {
        if self.rows.try_send(row).is_err() {
            warn!(queue = %self.name, "queue row not written: the database is too slow");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_turns_new_callers_away_but_nobody_who_was_served_before() {
        let (rows, _written) = mpsc::channel(16);
        let (name, news) = ("q".to_owned(), HashMap::new());
        let mut owner = Owner { name, core: Core::new(0), waiting_max: 1, news, rows };
        let mut enter = |call: &str, returns: bool| {
            let ((reply, mut answer), (news, _)) = (oneshot::channel(), mpsc::channel(1));
            let (lane, excluded) = (Lane::Callback, BTreeSet::new());
            owner.handle(0, Message::Enter { call: call.into(), lane, returns, excluded, news, reply });
            answer.try_recv().unwrap()
        };
        assert!(enter("a", false).is_ok());
        assert!(matches!(enter("b", false), Err(AcdError::Full)));
        assert!(enter("c", true).is_ok());
        assert!(matches!(enter("d", false), Err(AcdError::Full)));
        assert_eq!(owner.core.waiting.len(), 2);
    }
}

//! The way to the owner's task, for everybody else.

use std::sync::Arc;

use hotline_acd::{Core, Decline, Entry, Lane, Move, OperatorRef, OperatorState, Profile, Refused, Standing};
use hotline_db::Store;
use tokio::sync::{broadcast, mpsc, oneshot};
use tracing::{error, warn};

use super::jobs;
use super::mirror::{CallNews, Mirror};
use super::owner::{Job, Shared, supervise};
use super::rows::Rows;
use super::views::{self, CallerView, QueueView};
use crate::config::Config;

/// Changes a slow listener may be behind; it misses the oldest then and is told so.
const CHANGES_MAX: usize = 1_024;

/// A queue refuses, or its owner doesn't answer.
#[derive(Debug, thiserror::Error)]
pub enum AcdError {
    /// What was asked can't be done; the text says why.
    #[error("{0}")]
    Refused(#[from] Refused),
    /// The owner died over this, or is shutting down.
    #[error("排队服务未应答,请重试 / the queue does not answer, try again")]
    Unavailable,
}

/// What changed, as it happens; for whoever shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An operator's state or its reason.
    State {
        /// User id.
        operator: String,
        /// State.
        state: OperatorState,
        /// Why.
        reason: String,
        /// Since when (epoch ms).
        since: i64,
        /// The call it belongs to.
        call: Option<String>,
    },
    /// A caller joined a queue, or left it.
    Waiting {
        /// Call.
        call: String,
        /// Queue.
        queue: String,
        /// Joined.
        waiting: bool,
    },
}

/// Handle to all queues.
#[derive(Clone)]
pub struct Acd {
    jobs: jobs::Sender<Job>,
    pub(super) mirror: Arc<Mirror>,
    changes: broadcast::Sender<Change>,
    node: Arc<str>,
    queues: Arc<[String]>,
}

impl Acd {
    /// Starts the owner of all queues, and the writer of its rows.
    #[must_use]
    pub fn start(config: &Config, store: &Store, node: &str) -> Self {
        let (jobs, to_do) = jobs::channel();
        let (changes, _) = broadcast::channel(CHANGES_MAX);
        let mirror = Arc::new(Mirror::default());
        let names = config.queue_names();
        let settings = names.iter().map(|name| config.queue(name).settings(name)).collect();
        let rows = Rows::start(store.clone(), node.to_owned());
        let shared = Shared { settings, mirror: Arc::clone(&mirror), rows, changes: changes.clone() };
        tokio::spawn(supervise(Arc::new(shared), to_do));
        Self { jobs, mirror, changes, node: node.into(), queues: names.into() }
    }

    /// What changes from now on. A listener that lags gets `Lagged` and should read [`Self::view`].
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// A caller joins a queue; offers come through `news`.
    ///
    /// # Errors
    /// [`Refused::NoQueue`], [`Refused::Full`], [`Refused::Closed`]; [`AcdError::Unavailable`].
    pub async fn enter(&self, mut entry: Entry, news: mpsc::Sender<Box<CallNews>>) -> Result<(), AcdError> {
        entry.node = self.node.to_string();
        let call = entry.call.clone();
        let before = {
            let mut kept = self.mirror.lock();
            // Whoever talked with them doesn't any more.
            kept.talks.remove(&call);
            kept.news.insert(call.clone(), news)
        };
        // The owner may die over somebody else's job just then: a caller tries once more.
        let again = entry.clone();
        let entered = match self.ask(move |now, core| core.enter(now, entry)).await {
            Err(AcdError::Unavailable) => self.ask(move |now, core| core.enter(now, again)).await,
            answer => answer,
        };
        if entered.is_err() && before.is_none() {
            self.mirror.lock().news.remove(&call);
        }
        entered
    }

    /// The caller left the queue.
    pub async fn leave(&self, call: &str) {
        let call = call.to_owned();
        self.tell(move |now, core| core.leave(now, &call)).await;
    }

    /// The caller changes lane.
    pub async fn set_lane(&self, call: &str, lane: Lane) {
        let call = call.to_owned();
        self.tell(move |now, core| core.set_lane(now, &call, lane)).await;
    }

    /// This operator's phone was picked up for this call, offered or handed over.
    pub async fn connected(&self, call: &str, operator: &str) {
        let (call, operator) = (call.to_owned(), operator.to_owned());
        self.mirror.lock().talks.insert(call.clone(), operator.clone());
        self.tell(move |now, core| core.connected(now, &call, &operator)).await;
    }

    /// The offered operator didn't take the call.
    pub async fn declined(&self, call: &str, operator: &str, why: Decline) {
        let (call, operator) = (call.to_owned(), operator.to_owned());
        self.tell(move |now, core| core.declined(now, &call, &operator, why)).await;
    }

    /// The operator's talk in this call is over.
    pub async fn released(&self, call: &str, operator: &str) {
        let (call, operator) = (call.to_owned(), operator.to_owned());
        self.mirror.released(&call, &operator);
        self.tell(move |now, core| core.released(now, &call, &operator)).await;
    }

    /// The call is over, whatever was said about it before.
    pub async fn ended(&self, call: &str) {
        self.mirror.forget(call);
        let call = call.to_owned();
        self.tell(move |now, core| core.ended(now, &call)).await;
    }

    /// The operator's phone rings or talks in somebody else's call: as a guest, or asked by a colleague.
    pub fn engaged(&self, call: &str, operator: &str) {
        let (call, operator) = (call.to_owned(), operator.to_owned());
        self.post(move |now, core| core.engaged(now, &call, &operator));
    }

    /// It does no longer.
    pub fn disengaged(&self, call: &str, operator: &str) {
        let (call, operator) = (call.to_owned(), operator.to_owned());
        self.post(move |now, core| core.disengaged(now, &call, &operator));
    }

    /// An operator asks for a state; returns what holds now and what comes after a call at hand.
    ///
    /// # Errors
    /// [`Refused::StateOfACall`], [`Refused::NoQueue`] for a queue nobody configured; [`AcdError::Unavailable`].
    pub async fn want(
        &self,
        who: OperatorRef,
        mut profile: Profile,
        state: OperatorState,
        reason: &str,
    ) -> Result<Standing, AcdError> {
        if let Some(unknown) = profile.queues.iter().find(|q| !self.queues.contains(q)) {
            return Err(Refused::NoQueue(unknown.clone()).into());
        }
        profile.node = self.node.to_string();
        let reason = reason.to_owned();
        self.ask(move |now, core| core.want(now, who, profile, state, &reason)).await
    }

    /// A supervisor decides an operator's state: at once, also while the phone rings, else after the talk at hand.
    ///
    /// # Errors
    /// [`Refused::StateOfACall`], [`Refused::NoOperator`]; [`AcdError::Unavailable`].
    pub async fn force_state(&self, operator: &str, state: OperatorState, reason: &str) -> Result<Standing, AcdError> {
        let (operator, reason) = (operator.to_owned(), reason.to_owned());
        self.ask(move |now, core| core.force_state(now, &operator, state, &reason)).await
    }

    /// What a signed-in operator can do from now on; of others nothing is known here.
    pub async fn set_skills(&self, operator: &str, skills: Vec<(String, u8)>) {
        let operator = operator.to_owned();
        self.tell(move |now, core| core.set_skills(now, &operator, skills)).await;
    }

    /// 话后 lasts so much longer; its new end (epoch ms).
    ///
    /// # Errors
    /// [`Refused::NoWrapUp`]; [`AcdError::Unavailable`].
    pub async fn extend_wrap(&self, operator: &str, by_ms: i64) -> Result<i64, AcdError> {
        let operator = operator.to_owned();
        self.ask(move |now, core| core.extend_wrap(now, &operator, by_ms)).await
    }

    /// Moves a waiting caller.
    ///
    /// # Errors
    /// [`Refused::NotWaiting`], [`Refused::NoQueue`]; [`AcdError::Unavailable`].
    pub async fn move_caller(&self, call: &str, to: Move) -> Result<(), AcdError> {
        let call = call.to_owned();
        self.ask(move |now, core| core.move_caller(now, &call, &to)).await
    }

    /// Offers a waiting caller to this operator before anybody's turn.
    ///
    /// # Errors
    /// [`Refused::NotWaiting`], [`Refused::NotFree`], [`Refused::Barred`], [`Refused::NoOperator`];
    /// [`AcdError::Unavailable`].
    pub async fn pull(&self, call: &str, operator: &str) -> Result<(), AcdError> {
        let (call, operator) = (call.to_owned(), operator.to_owned());
        self.ask(move |now, core| core.pull(now, &call, &operator)).await
    }

    /// Opens or closes a queue; who waits already goes on waiting, the red lane always may.
    pub async fn set_open(&self, queue: &str, open: bool) {
        let queue = queue.to_owned();
        self.tell(move |_, core| core.set_open(&queue, open)).await;
    }

    /// A phone came or went.
    pub async fn registered(&self, sip_user: &str, registered: bool) {
        let sip_user = sip_user.to_owned();
        self.tell(move |now, core| core.registered(now, &sip_user, registered)).await;
    }

    /// Place in the queue and the time still to wait in seconds, 0 where nothing was measured yet.
    pub async fn position(&self, call: &str) -> Option<(usize, u64)> {
        let call = call.to_owned();
        let (place, estimate) = self.see(move |core| core.position(&call)).await.ok()??;
        Some((place, estimate.and_then(|ms| u64::try_from(ms / 1000).ok()).unwrap_or(0)))
    }

    /// All queues for lists; none while the owner doesn't answer.
    pub async fn view(&self) -> Vec<QueueView> {
        self.see(views::queues).await.unwrap_or_default()
    }

    /// All waiting callers in the order in which they are served; none while the owner doesn't answer.
    pub async fn callers(&self) -> Vec<CallerView> {
        self.see(views::callers).await.unwrap_or_default()
    }

    async fn see<T: Send + 'static>(&self, look: impl Fn(&Core) -> T + Clone + Send + 'static) -> Result<T, AcdError> {
        let again = look.clone();
        // An owner that dies over another's job must not look like an empty floor.
        match self.ask(move |_, core| Ok(look(core))).await {
            Err(AcdError::Unavailable) => self.ask(move |_, core| Ok(again(core))).await,
            seen => seen,
        }
    }

    async fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(i64, &mut Core) -> Result<T, Refused> + Send + 'static,
    ) -> Result<T, AcdError> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |now, core| {
            // Who asked may have gone.
            let _ = reply.send(job(now, core));
        });
        self.jobs.send(job).await.map_err(|_| AcdError::Unavailable)?;
        Ok(answer.await.map_err(|_| AcdError::Unavailable)??)
    }

    pub(super) async fn tell(&self, job: impl FnOnce(i64, &mut Core) + Send + 'static) {
        if self.jobs.send(Box::new(job)).await.is_err() {
            warn!("queue message lost: its owner is gone");
        }
    }

    /// For those who can't wait: in order all the same.
    fn post(&self, job: impl FnOnce(i64, &mut Core) + Send + 'static) {
        if let Err(e) = self.jobs.post(Box::new(job)) {
            error!(error = %e, "排队消息未送达 / a message to the queues' owner is lost");
        }
    }
}

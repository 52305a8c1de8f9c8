//! The way to the owner's task, for everybody else.

use std::sync::{Arc, Mutex};

use hotline_acd::{Decline, Entry, Lane, Move, OperatorRef, OperatorState, Profile, Refused, Standing};
use hotline_db::{GatewayNode, Store};
use tokio::sync::{broadcast, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::command::{Command, Reply};
use super::jobs;
use super::mirror::{CallNews, Mirror};
use super::opening::{ByHand, Opening};
use super::outlet::Outlet;
use super::owner::{Shared, supervise};
use super::route::{ASK_WITHIN, Route};
use super::rows::Rows;
use super::station::{self, Setup, Station};
use super::views::QueueView;
use crate::calendar::Calendar;
use crate::clock::now_ms;
use crate::cluster::{PeerEvent, Peers};
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
    /// Something else about an operator: phone, skills, what comes next.
    Seat {
        /// User id.
        operator: String,
    },
    /// A caller joined a queue, moved or left it.
    Waiting {
        /// Call.
        call: String,
        /// Queue.
        queue: String,
        /// Is in it now.
        waiting: bool,
    },
}

/// What `/metrics` shows of queues that several gateways share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// The term that holds; 0: nobody leads, as far as is known here.
    pub term: i64,
    /// This gateway leads.
    pub leads: bool,
    /// Gateways this one declared lost since its start.
    pub lost: i64,
}

/// Handle to all queues.
#[derive(Clone)]
pub struct Acd {
    pub(super) route: Route,
    pub(super) mirror: Arc<Mirror>,
    changes: broadcast::Sender<Change>,
    node: Arc<str>,
    queues: Arc<[String]>,
    /// The queues as they were seen last.
    pub(super) seen: Arc<Mutex<Vec<QueueView>>>,
    opening: Arc<Opening>,
}

impl Acd {
    /// Starts the owner of all queues, and the writer of its rows.
    #[must_use]
    pub fn start(config: &Config, calendar: &Calendar, store: &Store, node: &str) -> Self {
        let (acd, shared) = Self::prepare(config, calendar, store, node, None);
        let (jobs, to_do) = jobs::channel();
        tokio::spawn(supervise(shared, to_do));
        acd(Route::Owner(jobs))
    }

    /// Starts this gateway's part in queues that several gateways share. `row` says who it is.
    #[must_use]
    pub fn start_shared(
        config: &Config,
        calendar: &Calendar,
        store: &Store,
        row: GatewayNode,
        (peers, events): (Peers, mpsc::Receiver<PeerEvent>),
        cancel: CancellationToken,
    ) -> Self {
        let node = row.id.clone();
        let outlet = Arc::new(Outlet::new(node.clone(), peers.clone()));
        let (acd, shared) = Self::prepare(config, calendar, store, &node, Some(Arc::clone(&outlet)));
        let (orders, to_do) = jobs::channel();
        let figures = Arc::<station::Figures>::default();
        let (store, of) = (store.clone(), Arc::clone(&figures));
        let setup = Setup { row, store, shared, outlet, peers, cancel, figures: of };
        tokio::spawn(Station::new(setup).run(to_do, events));
        acd(Route::Station(orders, figures))
    }

    fn prepare(
        config: &Config,
        calendar: &Calendar,
        store: &Store,
        node: &str,
        outlet: Option<Arc<Outlet>>,
    ) -> (impl FnOnce(Route) -> Self, Arc<Shared>) {
        let (changes, _) = broadcast::channel(CHANGES_MAX);
        let mirror = Arc::new(Mirror::default());
        let names = config.queue_names();
        let settings = names.iter().map(|name| config.queue(name).settings(name)).collect();
        let rows = Rows::start(store.clone(), node.to_owned());
        let opening = Arc::new(Opening::new(config, calendar));
        let shared = Shared {
            settings,
            mirror: Arc::clone(&mirror),
            rows,
            changes: changes.clone(),
            outlet,
            opening: Arc::clone(&opening),
        };
        let node = node.into();
        let acd = |route| Self { route, mirror, changes, node, queues: names.into(), seen: Arc::default(), opening };
        (acd, Arc::new(shared))
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
        // The owner may die over somebody else's job just then: a caller tries once more, but waits no longer for that.
        let again = entry.clone();
        let entering = async {
            match self.ask(Command::Enter(entry)).await {
                Err(AcdError::Unavailable) => self.ask(Command::Enter(again)).await,
                answer => answer,
            }
        };
        let entered = timeout(ASK_WITHIN, entering).await.unwrap_or(Err(AcdError::Unavailable)).map(drop);
        if entered.is_err() && before.is_none() {
            self.mirror.lock().news.remove(&call);
        }
        entered
    }

    /// The caller left the queue.
    pub async fn leave(&self, call: &str) {
        self.mirror.left(call);
        self.tell(Command::Leave { call: call.to_owned() }).await;
    }

    /// The caller changes lane.
    pub async fn set_lane(&self, call: &str, lane: Lane) {
        self.tell(Command::SetLane { call: call.to_owned(), lane }).await;
    }

    /// This operator's phone was picked up for this call, offered or handed over.
    pub async fn connected(&self, call: &str, operator: &str) {
        let (call, operator) = (call.to_owned(), operator.to_owned());
        self.mirror.connected(&call, &operator);
        self.tell(Command::Connected { call, operator }).await;
    }

    /// The offered operator didn't take the call.
    pub async fn declined(&self, call: &str, operator: &str, why: Decline) {
        let (call, operator) = (call.to_owned(), operator.to_owned());
        self.mirror.answered(&call, &operator);
        self.tell(Command::Declined { call, operator, why }).await;
    }

    /// The operator's talk in this call is over.
    pub async fn released(&self, call: &str, operator: &str) {
        let (call, operator) = (call.to_owned(), operator.to_owned());
        self.mirror.released(&call, &operator);
        self.tell(Command::Released { call, operator }).await;
    }

    /// The call is over, whatever was said about it before.
    pub async fn ended(&self, call: &str) {
        self.mirror.forget(call);
        self.tell(Command::Ended { call: call.to_owned() }).await;
    }

    /// The operator's phone rings or talks in somebody else's call: as a guest, or asked by a colleague. `news` is the
    /// way to the call's driver: when that one is gone without a word, so is the engagement.
    pub fn engaged(&self, call: &str, operator: &str, news: &mpsc::Sender<Box<CallNews>>) {
        self.mirror.lock().engage(call, operator, news);
        let (call, operator) = (call.to_owned(), operator.to_owned());
        self.post(Command::Engaged { call, operator });
    }

    /// It does no longer.
    pub fn disengaged(&self, call: &str, operator: &str) {
        self.mirror.lock().engaged.remove(call, operator);
        let (call, operator) = (call.to_owned(), operator.to_owned());
        self.post(Command::Disengaged { call, operator });
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
        standing(self.ask(Command::Want { who, profile, state, reason }).await?)
    }

    /// A supervisor decides an operator's state: at once, also while the phone rings, else after the talk at hand.
    ///
    /// # Errors
    /// [`Refused::StateOfACall`], [`Refused::NoOperator`]; [`AcdError::Unavailable`].
    pub async fn force_state(&self, operator: &str, state: OperatorState, reason: &str) -> Result<Standing, AcdError> {
        let (operator, reason) = (operator.to_owned(), reason.to_owned());
        standing(self.ask(Command::ForceState { operator, state, reason }).await?)
    }

    /// What a signed-in operator can do from now on; of others nothing is known here.
    pub async fn set_skills(&self, operator: &str, skills: Vec<(String, u8)>) {
        let operator = operator.to_owned();
        self.tell(Command::SetSkills { operator, skills }).await;
    }

    /// 话后 lasts so much longer; its new end (epoch ms).
    ///
    /// # Errors
    /// [`Refused::NoWrapUp`]; [`AcdError::Unavailable`].
    pub async fn extend_wrap(&self, operator: &str, by_ms: i64) -> Result<i64, AcdError> {
        let operator = operator.to_owned();
        match self.ask(Command::ExtendWrap { operator, by_ms }).await? {
            Reply::Until(at) => Ok(at),
            _ => Err(AcdError::Unavailable),
        }
    }

    /// Moves a waiting caller.
    ///
    /// # Errors
    /// [`Refused::NotWaiting`], [`Refused::NoQueue`]; [`AcdError::Unavailable`].
    pub async fn move_caller(&self, call: &str, to: Move) -> Result<(), AcdError> {
        let call = call.to_owned();
        self.ask(Command::MoveCaller { call, to }).await.map(drop)
    }

    /// Offers a waiting caller to this operator before anybody's turn.
    ///
    /// # Errors
    /// [`Refused::NotWaiting`], [`Refused::NotFree`], [`Refused::Barred`], [`Refused::NoOperator`];
    /// [`AcdError::Unavailable`].
    pub async fn pull(&self, call: &str, operator: &str) -> Result<(), AcdError> {
        let (call, operator) = (call.to_owned(), operator.to_owned());
        self.ask(Command::Pull { call, operator }).await.map(drop)
    }

    /// Opens or closes a queue until some time (epoch ms), or leaves it to its hours again. Who waits already goes on
    /// waiting; the red lane and callbacks always may.
    pub async fn open_by_hand(&self, queue: &str, by_hand: Option<(bool, i64)>) {
        let queue = queue.to_owned();
        let open = {
            let mut kept = self.mirror.lock();
            match by_hand {
                Some(by_hand) => kept.by_hand.insert(queue.clone(), by_hand),
                None => kept.by_hand.remove(&queue),
            };
            self.opening.is_open(&queue, now_ms(), &kept.by_hand)
        };
        self.tell(Command::SetOpen { queue, open }).await;
    }

    /// What is decided by hand, as the rows say: with several gateways somebody may have decided at another.
    pub fn know_by_hand(&self, rows: impl IntoIterator<Item = (String, (bool, i64))>) {
        let rows: ByHand = rows.into_iter().collect();
        self.mirror.lock().by_hand = rows;
    }

    /// A phone came or went.
    pub async fn registered(&self, sip_user: &str, registered: bool) {
        let (sip_user, node) = (sip_user.to_owned(), self.node.to_string());
        self.tell(Command::Phone { sip_user, node, registered }).await;
    }
}

fn standing(reply: Reply) -> Result<Standing, AcdError> {
    match reply {
        Reply::Standing(standing) => Ok(standing),
        _ => Err(AcdError::Unavailable),
    }
}

//! This gateway's part in queues that several gateways share. One of them leads: its owner decides for all. The
//! others send it what their drivers say, and keep a copy of its rows, from which any of them goes on when it leads.
//!
//! Whatever was said and not answered is said again to the next leader, after what holds here. So a word may count
//! twice, which the machine takes, and none is lost.

mod beat;
mod follow;
mod gone;
mod lead;
mod stranded;
#[cfg(test)]
mod tests;
mod words;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use hotline_db::{GatewayNode, Store};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::command::{Command, Reply};
use super::jobs;
use super::outlet::Outlet;
use super::owner::Shared;
use super::phones::Phones;
use super::service::Service;
use super::wire::{What, Wire};
use crate::cluster::limits::{BEAT_MS, BEAT_TIMEOUT_MS};
use crate::cluster::twin::Sightings;
use crate::cluster::{Frame, Lease, PeerEvent, PeerNews, Peers, Role};
use beat::Beat;
use gone::Silence;
use lead::Leading;
use stranded::Stranded;
use words::Words;

/// The lease, links and lost gateways are looked after this often.
const TICK: Duration = Duration::from_millis(100);
/// Questions for leave to go on whose answers count.
const ASKED_MAX: usize = 16;
/// Drivers that ended without a word are looked for so often.
const SWEEP: Duration = Duration::from_secs(5);

/// Something for the queues, wherever they are led.
pub(super) struct Order {
    pub(super) command: Command,
    pub(super) reply: Option<oneshot::Sender<Reply>>,
}

/// What the station begins with.
pub(super) struct Setup {
    pub(super) row: GatewayNode,
    pub(super) store: Store,
    pub(super) shared: Arc<Shared>,
    pub(super) outlet: Arc<Outlet>,
    pub(super) peers: Peers,
    pub(super) cancel: CancellationToken,
    pub(super) figures: Arc<Figures>,
}

/// Figures for `/metrics`.
#[derive(Debug, Default)]
pub(super) struct Figures {
    /// The term that holds here; 0: none.
    pub(super) term: AtomicI64,
    /// 1: this gateway leads.
    pub(super) leads: AtomicI64,
    /// Gateways lost since the start.
    pub(super) lost: AtomicI64,
    /// Whether callers can be queued here.
    pub(super) service: watch::Sender<Service>,
    /// The station's task is over.
    pub(super) ended: CancellationToken,
}

/// What this gateway does at present.
enum Office {
    /// No leader is known, or there is no link to it: what is said waits.
    Vacant,
    Leading(Leading),
    Following {
        node: String,
        term: i64,
        /// It took in what holds here, and sent all rows.
        joined: bool,
    },
}

pub(super) struct Station {
    me: String,
    setup: Setup,
    lease: Lease,
    office: Office,
    /// Gateways with a link, and which.
    links: BTreeMap<String, u64>,
    /// Gateways without a link, or that state nothing, since when.
    silent: BTreeMap<String, Silence>,
    /// The last run of each gateway.
    boots: BTreeMap<String, String>,
    phones: Phones,
    words: Words,
    /// When each of the last questions for leave to go on was asked.
    leave_asked: VecDeque<(u64, Instant)>,
    leave_next: u64,
    beats: (mpsc::Sender<Beat>, mpsc::Receiver<Beat>),
    beat_at: Option<Instant>,
    is_beating: bool,
    /// This run has written its row.
    has_beaten: bool,
    /// What beats found in it.
    sightings: Sightings,
    /// Another process has this gateway's name, for longer: this one takes no part until it starts anew.
    is_twin: bool,
    /// Nobody leads as far as is known here, since when.
    vacant_since: Option<Instant>,
    /// What who waits here was told about it.
    stranded: Option<Stranded>,
    lead_at: Option<Instant>,
    sweep_at: Instant,
    snapshot: follow::Copy,
}

impl Station {
    pub(super) fn new(setup: Setup) -> Self {
        Self {
            me: setup.row.id.clone(),
            lease: Lease::new(setup.row.id.clone(), setup.row.boot.clone()),
            setup,
            office: Office::Vacant,
            links: BTreeMap::new(),
            silent: BTreeMap::new(),
            boots: BTreeMap::new(),
            phones: Phones::default(),
            words: Words::default(),
            leave_asked: VecDeque::new(),
            leave_next: 1,
            beats: mpsc::channel(4),
            beat_at: None,
            is_beating: false,
            has_beaten: false,
            sightings: Sightings::default(),
            is_twin: false,
            vacant_since: None,
            stranded: None,
            lead_at: None,
            sweep_at: Instant::now(),
            snapshot: follow::Copy::default(),
        }
    }

    /// Until the gateway stops.
    pub(super) async fn run(mut self, mut orders: jobs::Receiver<Order>, mut events: mpsc::Receiver<PeerEvent>) {
        let cancel = self.setup.cancel.clone();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.words.sweep_done();
            let takes = !self.words.is_full();
            tokio::select! {
                () = cancel.cancelled() => break,
                Some(event) = events.recv() => self.peer(event).await,
                Some(beat) = self.beats.1.recv() => self.beaten(beat),
                _ = tick.tick() => self.tick().await,
                order = orders.recv(), if takes => match order {
                    Some(order) => self.order(order).await,
                    None => break,
                },
            }
            self.settle().await;
        }
        self.resign().await;
        self.setup.figures.ended.cancel();
    }

    /// The others needn't wait for the lease to run out.
    async fn resign(&mut self) {
        let term = match &self.office {
            Office::Leading(leading) => Some(leading.term),
            _ => None,
        };
        self.vacate().await;
        let give_up = self.setup.store.lease_give_up(&self.setup.row.boot);
        let given = tokio::time::timeout(Duration::from_millis(BEAT_TIMEOUT_MS), give_up).await;
        if let (Some(term), Ok(Ok(true))) = (term, given) {
            for node in self.links.keys() {
                let _ = self.setup.peers.send(node, Wire::frame(term, What::Resign));
            }
        }
    }

    async fn order(&mut self, order: Order) {
        let is_phone = match &order.command {
            // A phone that moves on must be known to whoever leads next.
            Command::Phone { sip_user, node, registered } if *node == self.me => {
                let me = self.me.clone();
                self.phones.set(&me, sip_user, *registered);
                true
            }
            _ => false,
        };
        match &self.office {
            Office::Following { node, term, .. } => {
                let (node, term) = (node.clone(), *term);
                self.ask(&node, term, order);
            }
            Office::Leading(leading) if leading.is_in_office() => {
                let command = order.command.clone();
                let id = self.words.keep(order);
                self.lead_own(id, command).await;
            }
            // The next leader is told of all phones.
            _ if is_phone => {}
            _ => {
                self.said_while_stranded(&order.command);
                self.words.keep_for_later(order);
            }
        }
    }

    async fn peer(&mut self, event: PeerEvent) {
        let PeerEvent { node, link, what } = event;
        match what {
            PeerNews::Up { boot } => {
                // What an earlier link still had to say doesn't count any more.
                if self.links.get(&node).is_some_and(|known| *known > link) {
                    return;
                }
                let is_other_run = self.boots.get(&node).is_some_and(|old| *old != boot);
                self.boots.insert(node.clone(), boot);
                let silence = self.silent.remove(&node);
                self.links.insert(node.clone(), link);
                if is_other_run {
                    self.lost(&node, true).await;
                }
                if matches!(self.office, Office::Leading(_)) {
                    // Until it states what holds there: one of another version may never do so.
                    self.silent.insert(node.clone(), Silence::linked(silence, Instant::now()));
                    self.claim(&node);
                }
            }
            PeerNews::Down { heard } => {
                if self.links.get(&node) == Some(&link) {
                    self.links.remove(&node);
                    self.silent.entry(node.clone()).or_insert_with(|| Silence::from(heard));
                    self.lease.lost(&node);
                    self.setup.outlet.remove(&node);
                    self.left(&node).await;
                }
            }
            PeerNews::Frame(Frame::Acd(bytes)) => {
                if self.links.get(&node) != Some(&link) {
                    return;
                }
                match serde_json::from_slice::<Wire>(&bytes) {
                    Ok(wire) => self.said(&node, wire).await,
                    Err(e) => self.setup.peers.misunderstood(&node, link, &e),
                }
            }
            PeerNews::Frame(_) => {}
        }
    }

    async fn said(&mut self, node: &str, Wire { term, what }: Wire) {
        match what {
            What::Lead { n } => {
                if self.lease.led(Instant::now(), node, term) {
                    let _ = self.setup.peers.send(node, Wire::frame(term, What::Grant { n }));
                }
            }
            What::Grant { n } => {
                if let Some((_, asked)) = self.leave_asked.iter().find(|(of, _)| *of == n) {
                    self.lease.granted(Instant::now(), node, term, *asked);
                }
            }
            What::Resign => {
                if self.lease.resigned(node, term) {
                    self.beat_at = None;
                }
            }
            What::State(_) | What::Ask { .. } => {
                if matches!(&self.office, Office::Leading(leading) if leading.term == term) {
                    self.heard_as_leader(node, what).await;
                }
            }
            _ => {
                if matches!(&self.office, Office::Following { node: leader, term: of, .. } if leader == node && *of == term)
                {
                    self.heard_as_follower(what);
                }
            }
        }
    }

    async fn tick(&mut self) {
        let now = Instant::now();
        if !self.is_beating && !self.is_twin && self.beat_at.is_none_or(|at| now >= at) {
            self.beat(now);
        }
        if matches!(self.office, Office::Leading(_)) && self.lead_at.is_none_or(|at| now >= at) {
            self.lead_at = Some(now + Duration::from_millis(BEAT_MS));
            self.leave_next += 1;
            self.leave_asked.push_back((self.leave_next, now));
            // Older answers would prolong nothing.
            if self.leave_asked.len() > ASKED_MAX {
                self.leave_asked.pop_front();
            }
            let nodes: Vec<String> = self.links.keys().cloned().collect();
            for node in nodes {
                self.claim(&node);
            }
        }
        self.words.sweep();
        self.look_after().await;
        if now >= self.sweep_at && !matches!(self.office, Office::Leading(_)) {
            self.sweep_at = now + SWEEP;
            for call in self.setup.shared.mirror.dead() {
                warn!(call, "a call's driver is gone without a word: taken out of the queue");
                self.report(Command::Ended { call });
            }
        }
    }

    /// Does what the lease says.
    async fn settle(&mut self) {
        let now = Instant::now();
        let role = self.lease.role(now);
        if matches!(&self.office, Office::Leading(leading) if leading.is_dead()) {
            // Its lease was over before anybody looked.
            self.vacate().await;
        }
        match (&self.office, &role) {
            (Office::Leading(leading), Role::Leader(term)) if leading.term == *term => {
                self.setup.outlet.extend(*term, self.lease.believed_until(now));
            }
            (_, Role::Leader(term)) => {
                self.vacate().await;
                info!(term, "本网关主管队列 / this gateway leads the queues");
                self.setup.outlet.extend(*term, self.lease.believed_until(now));
                self.begin(*term, now);
            }
            (Office::Following { node, term, .. }, Role::Follower { node: leader, term: of })
                if node == leader && term == of && self.links.contains_key(leader) => {}
            (_, Role::Follower { node, term }) if self.links.contains_key(node) => {
                self.vacate().await;
                info!(leader = node, term, "队列由其他网关主管 / another gateway leads the queues");
                self.follow(node, *term);
            }
            (Office::Vacant, _) => {}
            _ => {
                warn!("队列暂无主管网关,等待选出 / no gateway leads the queues: waiting for the next");
                self.vacate().await;
            }
        }
        let (term, leads) = match &self.office {
            Office::Vacant => (0, 0),
            Office::Leading(leading) => (leading.term, 1),
            Office::Following { term, .. } => (*term, 0),
        };
        self.setup.figures.term.store(term, Ordering::Relaxed);
        self.setup.figures.leads.store(leads, Ordering::Relaxed);
        let service = self.service(now);
        self.look_after_stranded(service, now);
        self.setup.figures.service.send_if_modified(|old| std::mem::replace(old, service) != service);
    }

    async fn vacate(&mut self) {
        if let Office::Leading(leading) = std::mem::replace(&mut self.office, Office::Vacant) {
            // First: whatever the owner is at, its next step is none any more.
            self.setup.outlet.end();
            leading.end().await;
            self.words.sweep_done();
            self.setup.shared.rows.forget();
            self.setup.shared.mirror.lock().abroad.clear();
            let me = self.me.clone();
            self.phones.keep_only(&me);
            warn!("本网关不再主管队列 / this gateway leads the queues no longer");
        }
        self.snapshot = follow::Copy::default();
        self.lead_at = None;
        self.leave_asked.clear();
    }
}

//! Links to all other gateways: who is there, frames to and from them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hotline_db::GatewayNode;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::Frame;
use super::counts::{LinkCounts, SendError};
use super::crypt::{Hello, VERSION};
use super::guests::{Door, Place};
use super::inbox::Inbox;
use super::limits::{
    DESK_IN_MAX, FRAME_BYTES_MAX, HANDSHAKE_MS, IN_MAX, KNOWN_MS, LINKS_MAX, LOST_MS, OUT_MAX, REDIAL_MS, SIP_IN_MAX,
};
use super::link::{Joined, LinkError, carry};

/// Who and where this gateway is.
#[derive(Clone, Debug)]
pub struct Me {
    /// Its name, the same after a restart.
    pub node: String,
    /// Its run, another after a restart.
    pub boot: String,
    /// What it shares with the others.
    pub secret: String,
}

/// What happens on links.
#[derive(Debug)]
pub struct PeerEvent {
    /// The other gateway.
    pub node: String,
    /// Which link to it: what an earlier one still had to say doesn't count any more.
    pub link: u64,
    /// What.
    pub what: PeerNews,
}

/// What happens on a link.
#[derive(Clone, Debug)]
pub enum PeerNews {
    /// It is there.
    Up {
        /// The other gateway's run.
        boot: String,
    },
    /// It is gone.
    Down {
        /// When the other gateway was heard last.
        heard: Instant,
    },
    /// It brought this.
    Frame(Frame),
}

struct Peer {
    link: u64,
    out: mpsc::Sender<Frame>,
    cut: CancellationToken,
    /// Over a word of another version.
    is_foreign: Arc<AtomicBool>,
}

struct Dialler {
    address: String,
    stop: CancellationToken,
}

#[derive(Default)]
struct Table {
    peers: BTreeMap<String, Peer>,
    diallers: BTreeMap<String, Dialler>,
    rows: Vec<GatewayNode>,
    rows_at: Option<Instant>,
}

struct Inner {
    me: Me,
    table: Mutex<Table>,
    links: AtomicU64,
    door: Arc<Door>,
    to_acd: mpsc::Sender<PeerEvent>,
    to_sip: Inbox,
    to_desk: Inbox,
    counts: LinkCounts,
    cancel: CancellationToken,
}

/// Handle to all links.
#[derive(Clone)]
pub struct Peers(Arc<Inner>);

impl Peers {
    /// Links come through `listener`, and to the gateways [`Self::know`] names; the queues' frames, and all links that
    /// come and go, through the receiver.
    #[must_use]
    pub fn start(me: Me, listener: TcpListener, cancel: CancellationToken) -> (Self, mpsc::Receiver<PeerEvent>) {
        let cancel = cancel.child_token();
        let (to_acd, events) = mpsc::channel(IN_MAX);
        let inner = Inner {
            me,
            table: Mutex::default(),
            links: AtomicU64::new(1),
            door: Arc::default(),
            to_acd,
            to_sip: Inbox::new(SIP_IN_MAX),
            to_desk: Inbox::new(DESK_IN_MAX),
            counts: LinkCounts::default(),
            cancel,
        };
        let peers = Self(Arc::new(inner));
        tokio::spawn(peers.clone().listen(listener));
        (peers, events)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a frame to a gateway, in order. `Ok`: it is on its way, which is no promise that it arrives; of a link
    /// that ends [`PeerNews::Down`] tells.
    ///
    /// # Errors
    /// As [`SendError`] says.
    pub fn send(&self, node: &str, frame: Frame) -> Result<(), SendError> {
        if frame.len() > FRAME_BYTES_MAX {
            return Err(SendError::TooLong);
        }
        let table = self.lock();
        let peer = table.peers.get(node).ok_or(SendError::NoLink)?;
        match peer.out.try_send(frame) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed(_)) => Err(SendError::NoLink),
            Err(TrySendError::Full(_)) => {
                // Nothing is left out in silence: the link ends, and both sides begin anew.
                peer.cut.cancel();
                self.0.counts.dropped.fetch_add(1, Ordering::Relaxed);
                Err(SendError::Behind)
            }
        }
    }

    /// Gateways with a link.
    #[must_use]
    pub fn up(&self) -> BTreeSet<String> {
        self.lock().peers.keys().cloned().collect()
    }

    /// All gateways the rows name, with their addresses; `None`: no row yet, or no link needed.
    #[must_use]
    pub fn row(&self, node: &str) -> Option<GatewayNode> {
        self.lock().rows.iter().find(|row| row.id == node).cloned()
    }

    /// Whether a gateway runs, link or no link, by what the database told: its row had a beat not long ago.
    #[must_use]
    pub fn lives(&self, node: &str, now: Instant) -> bool {
        let table = self.lock();
        let Some(at) = table.rows_at else { return false };
        let age = |row: &GatewayNode| Duration::from_millis(u64::try_from(row.age_ms).unwrap_or(0));
        let row = table.rows.iter().find(|row| row.id == node);
        row.is_some_and(|row| age(row) + now.saturating_duration_since(at) < Duration::from_millis(LOST_MS))
    }

    /// What this link brought can't be read: whoever speaks another version is no partner, so it ends and is counted.
    /// Nothing of the words is logged: they may be somebody's.
    pub fn misunderstood(&self, node: &str, link: u64, e: &serde_json::Error) {
        let table = self.lock();
        let Some(peer) = table.peers.get(node).filter(|peer| peer.link == link) else { return };
        peer.is_foreign.store(true, Ordering::Relaxed);
        peer.cut.cancel();
        self.0.counts.misunderstood.fetch_add(1, Ordering::Relaxed);
        let (error, line, column) = (e.classify(), e.line(), e.column());
        warn!(node, link, ?error, line, column, "网关版本不同:升级两端 / a message of another version: update both");
    }

    /// What other gateways send about phones, and all links that come and go; once.
    #[must_use]
    pub fn take_sip(&self) -> Option<mpsc::Receiver<PeerEvent>> {
        self.0.to_sip.take()
    }

    /// What other gateways send about calls, and all links that come and go; once.
    #[must_use]
    pub fn take_desk(&self) -> Option<mpsc::Receiver<PeerEvent>> {
        self.0.to_desk.take()
    }

    /// Figures.
    #[must_use]
    pub fn counts(&self) -> &LinkCounts {
        &self.0.counts
    }

    /// This gateway.
    #[must_use]
    pub fn me(&self) -> &Me {
        &self.0.me
    }

    /// The rows as they are now. Of two gateways the one whose name is smaller dials.
    pub fn know(&self, rows: Vec<GatewayNode>) {
        let wanted: BTreeMap<String, String> = rows
            .iter()
            .filter(|row| row.age_ms < KNOWN_MS && row.id > self.0.me.node)
            .map(|row| (row.id.clone(), row.peer_address.clone()))
            .collect();
        let mut locked = self.lock();
        let table = &mut *locked;
        (table.rows, table.rows_at) = (rows, Some(Instant::now()));
        table.diallers.retain(|node, dialler| {
            // A link that stands says more than an old row: its end is told by itself.
            let stays = wanted.get(node) == Some(&dialler.address) || table.peers.contains_key(node);
            if !stays {
                dialler.stop.cancel();
            }
            stays
        });
        for (node, address) in wanted {
            if table.diallers.contains_key(&node) || table.diallers.len() >= LINKS_MAX {
                continue;
            }
            let stop = self.0.cancel.child_token();
            table.diallers.insert(node.clone(), Dialler { address: address.clone(), stop: stop.clone() });
            tokio::spawn(self.clone().dial(node, address, stop));
        }
    }

    /// No link stands from now on, and none comes.
    pub fn end(&self) {
        self.0.cancel.cancel();
    }

    fn hello(&self) -> Hello {
        let Me { node, boot, .. } = &self.0.me;
        Hello { version: VERSION, node: node.clone(), boot: boot.clone(), nonce: rand::random() }
    }

    async fn listen(self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.0.cancel.cancelled() => return,
            };
            let Ok((stream, from)) = accepted else {
                // Out of descriptors, say: the next try mustn't spin.
                sleep(Duration::from_millis(REDIAL_MS.0)).await;
                continue;
            };
            let peers = self.clone();
            match self.0.door.enter(from.ip()) {
                Some(place) => drop(tokio::spawn(async move {
                    if let Err(e) = peers.serve(stream, None, Some(place)).await {
                        peers.refused(from, &e);
                    }
                })),
                None => peers.refused(from, &LinkError::Full),
            }
        }
    }

    async fn dial(self, node: String, address: String, stop: CancellationToken) {
        let mut pause = REDIAL_MS.0;
        loop {
            let begun = Instant::now();
            let once = async {
                let within = Duration::from_millis(HANDSHAKE_MS);
                let stream = timeout(within, connect(&address)).await.map_err(|_| LinkError::Timeout)??;
                self.serve(stream, Some(&node), None).await
            };
            let outcome = tokio::select! {
                outcome = once => outcome,
                () = stop.cancelled() => return,
            };
            match outcome {
                // One that ended at once, refused after its greeting, is no reason to hurry.
                Ok(()) if begun.elapsed() >= Duration::from_millis(REDIAL_MS.1) => pause = REDIAL_MS.0,
                Ok(()) => pause = (pause * 2).min(REDIAL_MS.1),
                Err(e) => {
                    // Once a second at most; a wrong secret must not hide among them.
                    if matches!(e, LinkError::Secret | LinkError::Version) {
                        warn!(node, address, error = %e, "网关间连接失败 / no link");
                    } else {
                        debug!(node, address, error = %e, "no link");
                    }
                    pause = (pause * 2).min(REDIAL_MS.1);
                }
            }
            tokio::select! {
                () = sleep(Duration::from_millis(pause)) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    fn refused(&self, from: SocketAddr, why: &LinkError) {
        self.0.counts.refused.fetch_add(1, Ordering::Relaxed);
        if self.0.door.tells() {
            warn!(%from, error = %why, "网关间连接被拒 / links refused, this one among them");
        }
    }

    /// Proves a connection and carries its frames until it ends.
    async fn serve(&self, stream: TcpStream, expected: Option<&str>, place: Option<Place>) -> Result<(), LinkError> {
        let joined = Joined::new(stream, &self.hello(), &self.0.me.secret, expected.is_some()).await?;
        drop(place);
        let (node, boot) = (joined.peer.node.clone(), joined.peer.boot.clone());
        if node == self.0.me.node || expected.is_some_and(|e| e != node) {
            return Err(LinkError::Stranger);
        }
        let is_full = {
            let table = self.lock();
            table.peers.len() >= LINKS_MAX && !table.peers.contains_key(&node)
        };
        if is_full {
            return Err(LinkError::Full);
        }
        let (out, frames) = mpsc::channel(OUT_MAX);
        let (link, cut) = (self.0.links.fetch_add(1, Ordering::Relaxed), self.0.cancel.child_token());
        let is_foreign = Arc::new(AtomicBool::new(false));
        let peer = Peer { link, out, cut: cut.clone(), is_foreign: Arc::clone(&is_foreign) };
        let old = self.lock().peers.insert(node.clone(), peer);
        if let Some(old) = old {
            old.cut.cancel();
            self.tell(&node, old.link, PeerNews::Down { heard: Instant::now() }).await;
        }
        info!(node, link, "网关间连接建立 / link up");
        self.tell(&node, link, PeerNews::Up { boot }).await;
        let carried = carry(joined, frames, |frame| self.take(&node, link, frame));
        let (heard, why) = tokio::select! {
            ended = carried => ended,
            () = cut.cancelled() => (Instant::now(), LinkError::Cut),
        };
        let (heard, why) = match is_foreign.load(Ordering::Relaxed) {
            true => (heard, LinkError::Version),
            false => (heard, why),
        };
        let is_last = {
            let mut table = self.lock();
            let is_last = table.peers.get(&node).is_some_and(|peer| peer.link == link);
            if is_last {
                table.peers.remove(&node);
            }
            is_last
        };
        self.0.counts.ended.fetch_add(1, Ordering::Relaxed);
        warn!(node, link, why = %why, "网关间连接断开 / link down");
        if is_last {
            self.tell(&node, link, PeerNews::Down { heard }).await;
        }
        if matches!(why, LinkError::Version) { Err(why) } else { Ok(()) }
    }

    /// False: nobody takes frames any more, or not fast enough.
    async fn take(&self, node: &str, link: u64, frame: Frame) -> bool {
        let inbox = match frame {
            Frame::Sip(_) => &self.0.to_sip,
            Frame::Desk(_) => &self.0.to_desk,
            frame => return self.tell_acd(node, link, PeerNews::Frame(frame)).await,
        };
        let has_room = inbox.bring(node, link, PeerNews::Frame(frame));
        if !has_room {
            // Where phones are is said once: what was left out would be missing until the next link.
            self.0.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
        has_room
    }

    /// All hear of links.
    async fn tell(&self, node: &str, link: u64, what: PeerNews) {
        self.0.to_sip.tell(node, link, what.clone()).await;
        self.0.to_desk.tell(node, link, what.clone()).await;
        self.tell_acd(node, link, what).await;
    }

    async fn tell_acd(&self, node: &str, link: u64, what: PeerNews) -> bool {
        self.0.to_acd.send(PeerEvent { node: node.to_owned(), link, what }).await.is_ok()
    }
}

async fn connect(address: &str) -> std::io::Result<TcpStream> {
    let address: SocketAddr = address.parse().map_err(std::io::Error::other)?;
    TcpStream::connect(address).await
}

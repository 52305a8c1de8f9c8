//! Links to all other gateways: who is there, frames to and from them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
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
use super::crypt::{Hello, VERSION};
use super::guests::{Door, Place};
use super::inbox::Inbox;
use super::limits::{
    DESK_IN_MAX, FRAME_BYTES_MAX, HANDSHAKE_MS, IN_MAX, KNOWN_MS, LINKS_MAX, OUT_MAX, REDIAL_MS, SIP_IN_MAX,
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

/// A frame isn't on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// No link.
    #[error("没有到该网关的连接 / no link to that gateway")]
    NoLink,
    /// The link is so far behind that it was cut.
    #[error("到该网关的连接积压过多,已断开 / the link was too far behind: cut")]
    Behind,
    /// Longer than [`FRAME_BYTES_MAX`].
    #[error("报文过长 / the frame is too long")]
    TooLong,
}

struct Peer {
    link: u64,
    out: mpsc::Sender<Frame>,
    cut: CancellationToken,
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
}

/// Figures of the links.
#[derive(Debug, Default)]
pub struct LinkCounts {
    /// Links cut because they were too far behind, and what nobody took.
    pub dropped: AtomicU64,
    /// Links that ended.
    pub ended: AtomicU64,
    /// Greetings refused: no gateway, or a wrong secret.
    pub refused: AtomicU64,
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
        table.rows = rows;
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
                Ok(()) => pause = REDIAL_MS.0,
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
        let old = self.lock().peers.insert(node.clone(), Peer { link, out, cut: cut.clone() });
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
        Ok(())
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

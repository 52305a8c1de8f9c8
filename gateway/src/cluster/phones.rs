//! Phones registered at other gateways: what the SIP side has for those gateways goes over the links, what they have
//! for it comes from there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hotline_sip::NodeId;
use tokio::sync::mpsc;
use tracing::warn;

use super::{Frame, PeerEvent, PeerNews, Peers};
use crate::net::sip::{Link, Sip};

/// Gateways with a link: the one that stands, and the name. As many as there are links.
type Names = Arc<Mutex<BTreeMap<NodeId, (u64, String)>>>;

struct ByLink {
    peers: Peers,
    names: Names,
}

fn lock(names: &Names) -> MutexGuard<'_, BTreeMap<NodeId, (u64, String)>> {
    names.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link for ByLink {
    fn send(&self, node: NodeId, parcel: Vec<u8>) -> bool {
        let name = lock(&self.names).get(&node).map(|(_, name)| name.clone());
        name.is_some_and(|name| self.peers.send(&name, Frame::Sip(parcel)).is_ok())
    }
}

/// Joins the SIP side and the links, once; it ends with the links.
pub fn join(sip: &Sip, peers: &Peers) {
    let Some(news) = peers.take_sip() else { return };
    let names = Names::default();
    sip.join(Box::new(ByLink { peers: peers.clone(), names: Arc::clone(&names) }));
    tokio::spawn(listen(sip.clone(), names, news));
}

async fn listen(sip: Sip, names: Names, mut news: mpsc::Receiver<PeerEvent>) {
    while let Some(PeerEvent { node, link, what }) = news.recv().await {
        let id = NodeId::of_name(&node);
        let stands = lock(&names).get(&id).cloned();
        let is_it = stands.as_ref().is_some_and(|(known, _)| *known == link);
        match what {
            PeerNews::Up { .. } if stands.as_ref().is_some_and(|(_, name)| *name != node) => {
                // One in four thousand million pairs; a node's name is made anew if its file is removed.
                warn!(
                    node,
                    "两个网关的标识冲突:删除其一的 node 文件后重启 / two gateways look the same: remove one's file node and restart it"
                );
            }
            PeerNews::Up { .. } => {
                lock(&names).insert(id, (link, node));
                sip.node_up(id);
            }
            PeerNews::Down { .. } if is_it => {
                lock(&names).remove(&id);
                sip.node_down(id);
            }
            PeerNews::Frame(Frame::Sip(parcel)) if is_it => {
                if let Err(error) = sip.take_parcel(id, &parcel) {
                    warn!(node, %error, "网关间信令无法读取 / a parcel that can't be read");
                }
            }
            // Of a link that was replaced.
            PeerNews::Down { .. } | PeerNews::Frame(_) => {}
        }
    }
}

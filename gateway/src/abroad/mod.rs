//! Calls of the other gateways on the same PostgreSQL: people here see and control them, and are told what happens to
//! them, as if they were driven here. Who may ask what is judged and audited here; what is asked goes to the gateway
//! that drives the call, in the form the console here uses itself (`call::Request`).

mod follow;
mod limits;
mod table;
mod wire;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

pub use follow::spawn;

use crate::app::Services;
use crate::call::{ControlError, LiveCall, Outcome, Request};
use crate::cluster::Peers;
use limits::{ANSWER_WITHIN, AT_WORK_MAX};
use table::Table;
use wire::Parcel;

/// What is known here of the other gateways' calls; nothing where this gateway is alone.
pub struct Abroad {
    peers: Option<Peers>,
    table: Mutex<Table>,
    /// Requests of other gateways at work here.
    room: Arc<Semaphore>,
    unanswered: AtomicU64,
}

impl Abroad {
    /// Over these links.
    #[must_use]
    pub fn new(peers: Option<Peers>) -> Self {
        Self {
            peers,
            table: Mutex::default(),
            room: Arc::new(Semaphore::new(AT_WORK_MAX)),
            unanswered: AtomicU64::new(0),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests of people here that another gateway didn't answer, since the start.
    #[must_use]
    pub fn unanswered(&self) -> u64 {
        self.unanswered.load(Ordering::Relaxed)
    }

    fn call_of_operator(&self, operator: &str) -> Option<String> {
        let table = self.table();
        table.calls().find(|call| call.operator.as_deref() == Some(operator)).map(|call| call.call.clone())
    }

    async fn ask(&self, call: &str, user: &str, request: Request) -> Outcome {
        let Some(peers) = &self.peers else { return Err(ControlError::Gone) };
        let (reply, outcome) = oneshot::channel();
        let (node, id) = self.table().ask(call, reply)?;
        let _waits = Waits { abroad: self, id };
        let parcel = Parcel::Ask { id, call: call.to_owned(), user: user.to_owned(), request };
        peers.send(&node, parcel.frame()).map_err(|_| ControlError::Unreachable)?;
        // Let go without a word, it may have been done as well.
        let outcome = timeout(ANSWER_WITHIN, outcome).await.ok().and_then(Result::ok);
        let outcome = outcome.unwrap_or(Err(ControlError::NoAnswer));
        if matches!(outcome, Err(ControlError::NoAnswer)) {
            self.unanswered.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    fn tell_all(&self, parcel: &Parcel) {
        let Some(peers) = &self.peers else { return };
        let frame = parcel.frame();
        let linked = self.table().linked();
        for node in linked {
            // A link that takes nothing ends; with the next one both begin anew.
            let _ = peers.send(&node, frame.clone());
        }
    }
}

/// Somebody waits for an answer.
struct Waits<'a> {
    abroad: &'a Abroad,
    id: u64,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.abroad.table().forget(self.id);
    }
}

/// Asks something of a call, whichever gateway drives it.
///
/// # Errors
/// As [`ControlError`] says; [`ControlError::Unreachable`] and [`ControlError::NoAnswer`] of another gateway's call.
pub async fn ask(sv: &Services, call: &str, user: &str, request: Request) -> Outcome {
    match sv.live.control(call) {
        Some(control) => request.ask(control, user.to_owned()).await,
        None => sv.abroad.ask(call, user, request).await,
    }
}

/// Whether a call goes on, at whichever gateway.
#[must_use]
pub fn has(sv: &Services, call: &str) -> bool {
    sv.live.control(call).is_some() || sv.abroad.table().has(call)
}

/// The calls of all gateways, oldest first.
#[must_use]
pub fn calls(sv: &Services) -> Vec<LiveCall> {
    let mut calls = sv.live.list();
    let ours = calls.len();
    calls.extend(sv.abroad.table().calls().cloned());
    if calls.len() > ours {
        calls.sort_by(|a, b| a.call.cmp(&b.call));
    }
    calls
}

/// The call this operator rings or talks in, at whichever gateway.
#[must_use]
pub fn call_of_operator(sv: &Services, operator: &str) -> Option<String> {
    sv.live.call_of_operator(operator).or_else(|| sv.abroad.call_of_operator(operator))
}

/// Somebody's matter began to name one of us: the callers who wait are judged again, at every gateway.
pub fn judge_again(sv: &Services) {
    sv.live.judge_again();
    sv.abroad.tell_all(&Parcel::JudgeAgain);
}

/// A queue was opened or closed by hand, and its row is written: whichever gateway leads must know.
pub fn tell_openings(sv: &Services) {
    sv.abroad.tell_all(&Parcel::Openings);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hotline_db::GatewayNode;
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::call::Wish;
    use crate::cluster::{Frame, Me, PeerEvent, PeerNews};

    const LONG: Duration = Duration::from_secs(20);

    struct End {
        peers: Peers,
        desk: mpsc::Receiver<PeerEvent>,
        row: GatewayNode,
        stop: CancellationToken,
        _acd: mpsc::Receiver<PeerEvent>,
    }

    async fn end(node: &str) -> End {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let row = GatewayNode {
            id: node.into(),
            boot: format!("{node}1"),
            peer_address: listener.local_addr().unwrap().to_string(),
            sip_address: String::new(),
            age_ms: 0,
        };
        let me = Me { node: node.into(), boot: row.boot.clone(), secret: "a long shared secret".into() };
        let stop = CancellationToken::new();
        let (peers, acd) = Peers::start(me, listener, stop.clone());
        let desk = peers.take_desk().unwrap();
        End { peers, desk, row, stop, _acd: acd }
    }

    async fn next(desk: &mut mpsc::Receiver<PeerEvent>) -> PeerEvent {
        timeout(LONG, desk.recv()).await.unwrap().unwrap()
    }

    fn call() -> LiveCall {
        LiveCall {
            call: "c".into(),
            stage: "talk".into(),
            queue: "main".into(),
            caller: "138****5678".into(),
            operator: Some("u".into()),
            since: 1,
            stage_since: 2,
            audio: Vec::new(),
        }
    }

    fn hold() -> Request {
        Request::Operator { wish: Wish::Hold(true), key: None }
    }

    #[tokio::test]
    async fn a_wish_goes_to_the_gateway_that_has_the_call_and_a_lost_link_leaves_nobody_waiting() {
        let (mut a, mut b) = (end("a").await, end("b").await);
        a.peers.know(vec![b.row.clone()]);
        let abroad = Abroad::new(Some(a.peers.clone()));
        assert_eq!(abroad.ask("c", "u", hold()).await.unwrap_err(), ControlError::Gone);
        let up = next(&mut a.desk).await;
        assert!(matches!((&up.what, up.node.as_str()), (PeerNews::Up { .. }, "b")), "{up:?}");
        assert!(matches!(next(&mut b.desk).await.what, PeerNews::Up { .. }));
        abroad.table().up("b", up.link);
        assert!(abroad.table().all("b", vec![call()], false));
        assert_eq!(abroad.call_of_operator("u").as_deref(), Some("c"));

        let asked = async {
            let PeerNews::Frame(Frame::Desk(bytes)) = next(&mut b.desk).await.what else { panic!("nothing asked") };
            let Parcel::Ask { id, call, user, request } = Parcel::of(&bytes).unwrap() else { panic!("nothing asked") };
            assert_eq!((call.as_str(), user.as_str()), ("c", "u"));
            assert!(matches!(request, Request::Operator { wish: Wish::Hold(true), key: None }));
            abroad.table().answered("b", id, Err(ControlError::NotYours));
        };
        let (outcome, ()) = tokio::join!(abroad.ask("c", "u", hold()), asked);
        assert_eq!(outcome.unwrap_err(), ControlError::NotYours);

        // The other gateway dies over the next one.
        let dies = async {
            assert!(matches!(next(&mut b.desk).await.what, PeerNews::Frame(Frame::Desk(_))));
            b.stop.cancel();
            let PeerNews::Down { heard } = next(&mut a.desk).await.what else { panic!("still there") };
            abroad.table().down("b", up.link, heard);
        };
        let (outcome, ()) = tokio::join!(abroad.ask("c", "u", hold()), dies);
        assert_eq!(outcome.unwrap_err(), ControlError::NoAnswer);
        assert_eq!(abroad.unanswered(), 1);
        assert_eq!(abroad.ask("c", "u", hold()).await.unwrap_err(), ControlError::Unreachable);
    }
}

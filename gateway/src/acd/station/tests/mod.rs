mod faults;
mod partition;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use hotline_db::{GatewayNode, Store};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::super::{
    Acd, CallNews, CallerView, Entry, Lane, OperatorRef, OperatorState, OperatorView, Profile, QueueView,
};
use crate::cluster::{Me, Peers};
use crate::config::{Config, Queue};

const LONG: Duration = Duration::from_secs(30);

/// A gateway's queues on a runtime of their own: without it they are as dead as after kill -9.
struct Node {
    name: &'static str,
    acd: Acd,
    /// Whether the link that others dial gets through.
    cable: watch::Sender<bool>,
    runtime: Option<Runtime>,
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

type News = mpsc::Receiver<Box<CallNews>>;

const SECRET: &str = "a long shared secret";

async fn node(name: &'static str, boot: &'static str, dir: &Path) -> Node {
    node_with(name, boot, dir, SECRET).await
}

/// What others dial: the way from there to `to`, while it is whole.
async fn cable(to: std::net::SocketAddr) -> (String, watch::Sender<bool>) {
    let (whole, is_whole) = watch::channel(true);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let Ok((mut from, _)) = listener.accept().await else { return };
            let mut is_whole = is_whole.clone();
            if !*is_whole.borrow() {
                continue;
            }
            tokio::spawn(async move {
                let Ok(mut on) = TcpStream::connect(to).await else { return };
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut from, &mut on) => {}
                    _ = is_whole.wait_for(|is_whole| !is_whole) => {}
                }
            });
        }
    });
    (address, whole)
}

async fn node_with(name: &'static str, boot: &'static str, dir: &Path, secret: &'static str) -> Node {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let url = format!("sqlite://{}", dir.join("hotline.db").display());
    let store = Store::open(&url).await.unwrap();
    let begun = runtime.spawn(async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (peer_address, whole) = cable(listener.local_addr().unwrap()).await;
        let sip_address = "127.0.0.1:5060".into();
        let row = GatewayNode { id: name.into(), boot: boot.into(), peer_address, sip_address, age_ms: 0 };
        let me = Me { node: name.into(), boot: boot.into(), secret: secret.into() };
        let cancel = CancellationToken::new();
        let (peers, events) = Peers::start(me, listener, cancel.clone());
        let mut config = Config::default();
        config.queues.insert("main".into(), Queue { wrap_s: 0, ..Queue::default() });
        let calendar = crate::calendar::Calendar::default();
        (Acd::start_shared(&config, &calendar, &store, row, (peers, events), cancel), whole)
    });
    let (acd, cable) = begun.await.unwrap();
    Node { name, acd, cable, runtime: Some(runtime) }
}

impl Node {
    /// The link others dialled breaks, and stays so.
    fn cut(&self) {
        self.cable.send_replace(false);
    }

    fn mend(&self) {
        self.cable.send_replace(true);
    }

    fn kill(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }

    async fn ready(&self, id: &str) {
        let who = OperatorRef { id: id.into(), name: "x".into(), sip_user: id.into() };
        let profile = Profile { queues: vec!["main".into()], ..Profile::default() };
        self.acd.want(who, profile, OperatorState::Ready, "").await.unwrap();
        self.acd.registered(id, true).await;
    }

    async fn enter(&self, call: &str) -> News {
        let (tx, rx) = mpsc::channel(8);
        self.acd.enter(Entry::new(call, "main", Lane::Normal), tx).await.unwrap();
        rx
    }

    async fn leads(&self) {
        until(|| async { self.acd.figures().is_some_and(|f| f.leads) }).await;
    }

    /// Both ends know who leads, and have each other's rows.
    async fn follows(&self) {
        until(|| async { self.acd.figures().is_some_and(|f| f.term > 0 && !f.leads) }).await;
    }
}

async fn until<F: Future<Output = bool>>(holds: impl Fn() -> F) {
    let waited = tokio::time::timeout(LONG, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    waited.await.unwrap();
}

async fn next(news: &mut News) -> CallNews {
    *tokio::time::timeout(LONG, news.recv()).await.unwrap().unwrap()
}

async fn offered(news: &mut News) -> String {
    match next(news).await {
        CallNews::Offer(operator) => operator.id,
        other => panic!("{other:?}"),
    }
}

fn operator(views: &[QueueView], id: &str) -> OperatorView {
    views[0].operators.iter().find(|o| o.id == id).cloned().unwrap()
}

async fn is(node: &Node, id: &str, state: &str, call: Option<&str>) {
    until(|| async {
        let view = node.acd.view().await;
        view[0].operators.iter().any(|o| o.id == id && o.state == state && o.call.as_deref() == call)
    })
    .await;
}

fn nobody() -> String {
    super::super::Refused::NoOperator.to_string()
}

async fn two(dir: &Path) -> (Node, Node) {
    let a = node("a", "a1", dir).await;
    a.leads().await;
    let b = node("b", "b1", dir).await;
    b.follows().await;
    // Answered by a, after what b stated was taken in.
    assert_eq!(b.acd.force_state("nobody", OperatorState::Ready, "").await.unwrap_err().to_string(), nobody());
    (a, b)
}

#[tokio::test]
async fn a_caller_on_either_gateway_is_offered_an_operator_of_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = two(dir.path()).await;
    for (there, here, x, call) in [(&a, &b, "x", "one"), (&b, &a, "y", "two")] {
        there.ready(x).await;
        let mut news = here.enter(call).await;
        assert_eq!(offered(&mut news).await, x, "{} → {}", here.name, there.name);
        let callers: Vec<CallerView> = there.acd.callers().await;
        assert_eq!(callers.iter().map(|c| c.call.as_str()).collect::<Vec<_>>(), [call], "both consoles see them");
        here.acd.connected(call, x).await;
        is(there, x, "talking", Some(call)).await;
        is(here, x, "talking", Some(call)).await;
        assert!(news.try_recv().is_err());
    }
    // In one queue, in the order of arrival whichever gateway they came to.
    let (mut third, mut fourth) = (b.enter("three").await, a.enter("four").await);
    a.acd.released("two", "y").await;
    assert_eq!(offered(&mut third).await, "y");
    b.acd.released("one", "x").await;
    assert_eq!(offered(&mut fourth).await, "x");
}

#[tokio::test]
async fn what_changes_is_told_at_the_gateway_that_does_not_lead_too() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = two(dir.path()).await;
    let mut changes = b.acd.changes();
    a.ready("x").await;
    let _news = a.enter("one").await;
    let told = tokio::time::timeout(LONG, async {
        let mut left = BTreeSet::from(["one true", "x ready", "x ringing"].map(str::to_owned));
        while !left.is_empty() {
            left.remove(&match changes.recv().await.unwrap() {
                super::super::Change::State { operator, state, .. } => format!("{operator} {}", state.as_str()),
                super::super::Change::Waiting { call, waiting, .. } => format!("{call} {waiting}"),
                super::super::Change::Seat { .. } => continue,
            });
        }
    });
    told.await.unwrap();
}

#[tokio::test]
async fn a_dead_gateways_callers_and_operators_are_released() {
    let dir = tempfile::tempdir().unwrap();
    let (a, mut b) = two(dir.path()).await;
    a.ready("x").await;
    let mut news = b.enter("one").await;
    assert_eq!(offered(&mut news).await, "x");
    b.acd.connected("one", "x").await;
    b.ready("y").await;
    let mut rings = a.enter("two").await;
    assert_eq!(offered(&mut rings).await, "y");
    let _waits = b.enter("three").await;
    until(|| async { a.acd.callers().await.len() == 2 }).await;
    b.kill();
    // x talked with a caller of the dead gateway, y's phone was registered there: x gets the caller y was rung for.
    loop {
        match *tokio::time::timeout(LONG, rings.recv()).await.unwrap().unwrap() {
            CallNews::Withdraw { operator } => assert_eq!(operator, "y"),
            CallNews::Offer(operator) => break assert_eq!(operator.id, "x"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(a.acd.callers().await.len(), 1);
    assert!(!operator(&a.acd.view().await, "y").registered);
    // The phone comes to the survivor: its operator works on.
    a.acd.registered("y", true).await;
    let mut last = a.enter("four").await;
    assert_eq!(offered(&mut last).await, "y");
}

#[tokio::test]
async fn when_the_leader_dies_the_other_goes_on_with_all_that_lives() {
    let dir = tempfile::tempdir().unwrap();
    let (mut a, b) = two(dir.path()).await;
    b.ready("y").await;
    let mut one = b.enter("one").await;
    assert_eq!(offered(&mut one).await, "y");
    b.acd.connected("one", "y").await;
    a.ready("x").await;
    let mut two = b.enter("two").await;
    assert_eq!(offered(&mut two).await, "x");
    let mut three = b.enter("three").await;
    is(&b, "y", "talking", Some("one")).await;
    a.kill();
    // Said and asked while nobody leads.
    let mut four = b.enter("four").await;
    b.leads().await;
    // x's phone was at the dead gateway; that ring is over, and nobody is offered twice.
    match *tokio::time::timeout(LONG, two.recv()).await.unwrap().unwrap() {
        CallNews::Withdraw { operator } => assert_eq!(operator, "x"),
        other => panic!("{other:?}"),
    }
    is(&b, "y", "talking", Some("one")).await;
    assert!(!operator(&b.acd.view().await, "x").registered);
    assert!(one.try_recv().is_err() && three.try_recv().is_err() && four.try_recv().is_err());
    b.acd.released("one", "y").await;
    assert_eq!(offered(&mut two).await, "y", "the order is as before");
    let order: Vec<String> = b.acd.callers().await.into_iter().map(|c| c.call).collect();
    assert_eq!(order, ["two", "three", "four"]);
}

#[tokio::test]
async fn a_gateway_that_starts_again_joins_and_its_earlier_calls_are_over() {
    let dir = tempfile::tempdir().unwrap();
    let (mut a, b) = two(dir.path()).await;
    b.ready("y").await;
    let mut one = a.enter("one").await;
    assert_eq!(offered(&mut one).await, "y");
    a.acd.connected("one", "y").await;
    is(&b, "y", "talking", Some("one")).await;
    a.kill();
    let a = node("a", "a2", dir.path()).await;
    // Its earlier run led: it may lead again at once, or follow.
    until(|| async { a.acd.figures().is_some_and(|f| f.term > 0) }).await;
    is(&a, "y", "ready", None).await;
    let mut two = a.enter("two").await;
    assert_eq!(offered(&mut two).await, "y");
    a.acd.connected("two", "y").await;
    is(&b, "y", "talking", Some("two")).await;
}

use std::time::Duration;

use hotline_db::GatewayNode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::crypt::{Hello, VERSION};
use super::link::{Joined, LinkError};
use super::{Frame, Me, PeerEvent, PeerNews, Peers, SendError};

const LONG: Duration = Duration::from_secs(20);

struct End {
    peers: Peers,
    events: mpsc::Receiver<PeerEvent>,
    address: String,
    cancel: CancellationToken,
}

async fn end(node: &str, secret: &str) -> End {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let cancel = CancellationToken::new();
    let me = Me { node: node.into(), boot: format!("{node}1"), secret: secret.into() };
    let (peers, events) = Peers::start(me, listener, cancel.clone());
    End { peers, events, address, cancel }
}

fn row(node: &str, address: &str) -> GatewayNode {
    let boot = format!("{node}1");
    GatewayNode { id: node.into(), boot, peer_address: address.into(), sip_address: String::new(), age_ms: 0 }
}

impl End {
    async fn next(&mut self) -> PeerEvent {
        tokio::time::timeout(LONG, self.events.recv()).await.unwrap().unwrap()
    }

    fn know(&self, others: &[&End]) {
        let of = |e: &&End| row(&e.peers.me().node, &e.address);
        self.peers.know(others.iter().map(of).collect());
    }
}

const SECRET: &str = "a long shared secret";

#[tokio::test]
async fn frames_go_both_ways_in_order_and_the_end_is_told() {
    let (mut a, mut b) = (end("a", SECRET).await, end("b", SECRET).await);
    assert_eq!(a.peers.send("b", Frame::Beat), Err(SendError::NoLink));
    b.know(&[&a]);
    a.know(&[&b]);
    for (one, name) in [(&mut a, "b1"), (&mut b, "a1")] {
        let event = one.next().await;
        assert!(matches!(&event.what, PeerNews::Up { boot } if boot == name), "{event:?}");
    }
    for n in 0..100_u8 {
        a.peers.send("b", Frame::Acd(vec![n])).unwrap();
        b.peers.send("a", Frame::Acd(vec![n])).unwrap();
    }
    b.peers.send("a", Frame::Sip(b"INVITE".to_vec())).unwrap();
    for end in [&mut a, &mut b] {
        for n in 0..100_u8 {
            let event = end.next().await;
            assert!(matches!(&event.what, PeerNews::Frame(Frame::Acd(c)) if *c == [n]), "{n}: {event:?}");
        }
    }
    let mut sip = a.peers.take_sip().unwrap();
    let first = tokio::time::timeout(LONG, sip.recv()).await.unwrap().unwrap();
    assert!(matches!(first.what, PeerNews::Up { .. }), "{first:?}");
    let second = tokio::time::timeout(LONG, sip.recv()).await.unwrap().unwrap();
    assert!(matches!(&second.what, PeerNews::Frame(Frame::Sip(m)) if m == b"INVITE"), "{second:?}");
    assert_eq!((second.node.as_str(), second.link), ("b", first.link));
    b.cancel.cancel();
    drop(b);
    assert!(matches!(a.next().await.what, PeerNews::Down { .. }));
    assert!(a.peers.up().is_empty());
}

#[tokio::test]
async fn a_link_that_stands_outlives_its_gateways_row_and_is_dialled_where_that_says_afterwards() {
    let (mut a, mut b) = (end("a", SECRET).await, end("b", SECRET).await);
    a.know(&[&b]);
    for end in [&mut a, &mut b] {
        assert!(matches!(end.next().await.what, PeerNews::Up { .. }));
    }
    // The other one can't write, or shows another address.
    let elsewhere = end("b", SECRET).await;
    let old = GatewayNode { age_ms: 60_000, ..row("b", &b.address) };
    for row in [old, row("b", &elsewhere.address)] {
        a.peers.know(vec![row]);
        a.peers.send("b", Frame::Acd(vec![7])).unwrap();
        assert!(matches!(b.next().await.what, PeerNews::Frame(_)), "no end is told");
    }
    b.peers.end();
    let mut elsewhere = elsewhere;
    let up = async {
        loop {
            a.know(&[&elsewhere]);
            if let Ok(event) = tokio::time::timeout(Duration::from_millis(100), elsewhere.events.recv()).await {
                break event.unwrap();
            }
        }
    };
    let up = tokio::time::timeout(LONG, up).await.unwrap();
    assert!(matches!(up.what, PeerNews::Up { .. }));
}

#[tokio::test]
async fn a_link_that_is_too_far_behind_is_cut_and_comes_again() {
    let (mut a, b) = (end("a", SECRET).await, end("b", SECRET).await);
    a.know(&[&b]);
    assert!(matches!(a.next().await.what, PeerNews::Up { .. }));
    // b's owner takes nothing.
    let behind = (0..1_000_000).find_map(|_| a.peers.send("b", Frame::Acd(vec![0; 64])).err());
    assert!(matches!(behind, Some(SendError::Behind)), "{behind:?}");
    assert!(matches!(a.next().await.what, PeerNews::Down { .. }));
    let mut b = b;
    tokio::spawn(async move { while b.events.recv().await.is_some() {} });
    assert!(matches!(a.next().await.what, PeerNews::Up { .. }));
    assert_eq!(a.peers.counts().dropped.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[tokio::test]
async fn who_has_another_secret_or_none_gets_no_link() {
    let (a, mut b) = (end("a", "another shared secret").await, end("b", SECRET).await);
    a.know(&[&b]);
    let refused = || b.peers.counts().refused.load(std::sync::atomic::Ordering::Relaxed);
    tokio::time::timeout(LONG, async {
        while refused() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    a.cancel.cancel();
    // Garbage, and a length nobody has: closed without an answer, and without the memory.
    for garbage in [b"GET / HTTP/1.1\r\n\r\n".as_slice(), &[0xff; 64], &[0, 0, 0, 2, b'{', b'}']] {
        let mut stranger = TcpStream::connect(&b.address).await.unwrap();
        stranger.write_all(garbage).await.unwrap();
        let mut answer = Vec::new();
        // A reset is as good as an end.
        let _ = tokio::time::timeout(LONG, stranger.read_to_end(&mut answer)).await.unwrap();
        assert!(answer.len() < 1_024 && !answer.windows(2).any(|w| w == b"OK"));
    }
    assert!(b.events.try_recv().is_err() && b.peers.up().is_empty());
}

#[tokio::test]
async fn a_newer_link_of_the_same_gateway_replaces_the_older() {
    let (mut b, a) = (end("b", SECRET).await, end("a", SECRET).await);
    a.know(&[&b]);
    assert!(matches!(b.next().await.what, PeerNews::Up { .. }));
    // The same gateway started again before anybody missed it.
    let again = end("a", SECRET).await;
    again.know(&[&b]);
    let (down, up) = (b.next().await, b.next().await);
    assert!(matches!(down.what, PeerNews::Down { .. }) && matches!(up.what, PeerNews::Up { .. }), "{down:?} {up:?}");
    assert!(up.link > down.link);
}

#[tokio::test]
async fn idle_strangers_keep_no_gateway_out() {
    let (a, mut b) = (end("a", SECRET).await, end("b", SECRET).await);
    let mut strangers = Vec::new();
    for n in 0..200 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(format!("127.0.2.{}:0", 1 + n % 3).parse().unwrap()).unwrap();
        strangers.push(socket.connect(b.address.parse().unwrap()).await.unwrap());
    }
    let refused = || b.peers.counts().refused.load(std::sync::atomic::Ordering::Relaxed);
    tokio::time::timeout(LONG, async {
        while refused() < 188 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    a.know(&[&b]);
    assert!(matches!(b.next().await.what, PeerNews::Up { .. }));
}

#[tokio::test]
async fn a_long_block_instead_of_the_proof_is_refused_at_its_length() {
    let hello = |node: &str| Hello { version: VERSION, node: node.into(), boot: "1".into(), nonce: [0; 32] };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut stranger = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let greeting = serde_json::to_vec(&hello("z")).unwrap();
    for (length, block) in [(greeting.len(), greeting.as_slice()), (1_000_000, &[])] {
        stranger.write_all(&u32::try_from(length).unwrap().to_be_bytes()).await.unwrap();
        stranger.write_all(block).await.unwrap();
    }
    let (stream, _) = listener.accept().await.unwrap();
    let refused = Joined::new(stream, &hello("a"), SECRET, false).await.err();
    // Not the end of the time there is for a handshake.
    assert!(matches!(refused, Some(LinkError::Secret)), "{refused:?}");
}

#[tokio::test]
async fn a_word_of_another_version_ends_the_link_and_is_counted() {
    let (mut a, mut b) = (end("a", SECRET).await, end("b", SECRET).await);
    a.know(&[&b]);
    let up = a.next().await;
    assert!(matches!(b.next().await.what, PeerNews::Up { .. }));
    let odd = serde_json::from_str::<u8>("{").unwrap_err();
    a.peers.misunderstood("b", up.link + 1, &odd);
    a.peers.send("b", Frame::Acd(vec![1])).unwrap();
    assert!(matches!(b.next().await.what, PeerNews::Frame(_)), "of a link that is gone: this one stands");
    a.peers.misunderstood("b", up.link, &odd);
    for end in [&mut a, &mut b] {
        assert!(matches!(end.next().await.what, PeerNews::Down { .. }));
    }
    let counted = |end: &End| end.peers.counts().misunderstood.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!((counted(&a), counted(&b)), (1, 0));
    assert!(matches!(a.next().await.what, PeerNews::Up { .. }), "dialled again: it may be updated");
}

#[tokio::test]
async fn a_gateway_lives_as_long_as_the_database_tells_of_its_beats() {
    let a = end("a", SECRET).await;
    let now = tokio::time::Instant::now();
    assert!(!a.peers.lives("b", now), "nothing is known");
    let aged = |node: &str, age_ms| GatewayNode { age_ms, ..row(node, "127.0.0.1:1") };
    a.peers.know(vec![aged("b", 0), aged("c", 4_000)]);
    assert!(a.peers.lives("b", now) && !a.peers.lives("c", now) && !a.peers.lives("d", now));
    assert!(!a.peers.lives("b", now + LONG), "nobody told since");
}

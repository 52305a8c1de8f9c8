//! The WebSocket driver with a client nobody here wrote.

use axum::Router;
use axum::extract::{ConnectInfo, WebSocketUpgrade};
use axum::routing::get;
use futures::{SinkExt, StreamExt};
use hotline_sip::{Config, User, digest};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async};

use std::time::Duration;

use super::*;

const WAIT: Duration = Duration::from_secs(20);
type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A driver whose WebSockets are let in without any question.
async fn start() -> (Sip, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let web = listener.local_addr().unwrap();
    let mut config = Config::new("test", [1; 32]);
    config.web_listeners = vec![web];
    let mut endpoint = Endpoint::new(config);
    let (ha1_md5, ha1_sha256) = (digest::ha1_md5("1001", "test", "secret"), String::new());
    endpoint.set_users(std::time::Instant::now(), vec![User { name: "1001".into(), ha1_md5, ha1_sha256 }]);
    let (sip, events) = Sip::start(endpoint, Sockets::default(), CancellationToken::new()).await.unwrap();
    // The receiving ends live as long as the test.
    std::mem::forget(events);
    let served = sip.clone();
    let connect = move |ConnectInfo(remote): ConnectInfo<SocketAddr>, upgrade: WebSocketUpgrade| async move {
        let peer = WebPeer { local: web, remote, is_secure: false };
        upgrade.max_message_size(MESSAGE_BYTES_MAX).on_upgrade(move |socket| served.serve_web(socket, peer))
    };
    let app = Router::new().route("/ws", get(connect)).into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    (sip, web)
}

async fn connect(to: SocketAddr) -> Client {
    let stream = MaybeTlsStream::Plain(TcpStream::connect(to).await.unwrap());
    client_async(format!("ws://{to}/ws"), stream).await.unwrap().0
}

fn options(n: u32) -> String {
    format!(
        "OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/WS x.invalid;branch=z9hG4bK{n}\r\nFrom: <sip:1001@h>;tag=t\r\n\
         To: <sip:1001@h>\r\nCall-ID: c\r\nCSeq: {n} OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    )
}

/// The next message that isn't the connection's own; `None` once it has ended.
async fn next(client: &mut Client) -> Option<Message> {
    let reading = async {
        loop {
            match client.next().await {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(message)) => return Some(message),
            }
        }
    };
    tokio::time::timeout(WAIT, reading).await.unwrap()
}

async fn until_no_connection(sip: &Sip) {
    let deadline = Instant::now() + WAIT;
    while !sip.conns().by_id.is_empty() {
        assert!(Instant::now() < deadline, "the connection's place was never given back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(sip.conns().by_peer.is_empty());
}

#[tokio::test]
async fn a_frame_is_a_message_text_or_not_and_a_keep_alive_is_answered() {
    let (sip, web) = start().await;
    let mut client = connect(web).await;
    client.send(Message::text(options(1))).await.unwrap();
    assert!(next(&mut client).await.unwrap().into_text().unwrap().starts_with("SIP/2.0 200 "));
    client.send(Message::binary(options(2).into_bytes())).await.unwrap();
    assert!(next(&mut client).await.unwrap().into_text().unwrap().contains("CSeq: 2 OPTIONS"));
    client.send(Message::text("\r\n\r\n")).await.unwrap();
    assert_eq!(next(&mut client).await.unwrap().into_text().unwrap().as_str(), "\r\n");
    for nonsense in [Message::text("hello"), Message::binary(vec![0; 100]), Message::text("")] {
        client.send(nonsense).await.unwrap();
    }
    client.send(Message::text(options(3))).await.unwrap();
    assert!(next(&mut client).await.unwrap().into_text().unwrap().contains("CSeq: 3 OPTIONS"));
    client.close(None).await.unwrap();
    until_no_connection(&sip).await;
}

#[tokio::test]
async fn a_browser_that_answers_no_ping_is_let_go_and_one_that_does_stays() {
    let (sip, web) = start().await;
    // Who doesn't read answers no ping.
    let deaf = connect(web).await;
    until_no_connection(&sip).await;
    drop(deaf);
    let mut alive = connect(web).await;
    let quiet = tokio::time::timeout(web::SILENT_FOR * 2, alive.next());
    assert!(quiet.await.is_ok_and(|ping| matches!(ping, Some(Ok(Message::Ping(_))))));
    let reading = async { while let Some(Ok(Message::Ping(_))) = alive.next().await {} };
    assert!(tokio::time::timeout(web::SILENT_FOR * 2, reading).await.is_err(), "it is still served");
    assert_eq!(sip.conns().by_id.len(), 1);
}

#[tokio::test]
async fn a_message_beyond_all_measure_ends_the_connection() {
    let (sip, web) = start().await;
    let mut client = connect(web).await;
    let _ = client.send(Message::text("x".repeat(MESSAGE_BYTES_MAX + 1))).await;
    assert!(next(&mut client).await.is_none());
    until_no_connection(&sip).await;
}

#[tokio::test]
async fn an_address_has_as_many_places_as_a_phone_s() {
    let (sip, web) = start().await;
    for n in 1..=PHONE_CONN_PER_SOURCE_MAX {
        let mut client = connect(web).await;
        if n == PHONE_CONN_PER_SOURCE_MAX {
            client.send(Message::text(options(1))).await.unwrap();
            assert!(next(&mut client).await.is_some(), "the last one has its place");
        }
        // Who doesn't read answers no ping, and loses its place.
        tokio::spawn(async move { while let Some(Ok(_)) = client.next().await {} });
    }
    // Those that connect at once may still be on their way to their places.
    let deadline = Instant::now() + WAIT;
    while sip.conns().by_id.len() < PHONE_CONN_PER_SOURCE_MAX {
        assert!(Instant::now() < deadline, "{} have their places", sip.conns().by_id.len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut refused = connect(web).await;
    assert!(next(&mut refused).await.is_none());
}

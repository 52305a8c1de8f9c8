//! The SIP driver with real sockets on the loopback.

use std::io::Write;
use std::net::UdpSocket as StdUdpSocket;
use std::time::Duration;

use hotline_sip::{Config, EndedBy, Target, Trunk, User, digest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::*;

const PHONES: &str = "127.0.3.0/24";
const PHONE: &str = "127.0.3.1";
const WAIT: Duration = Duration::from_secs(20);

fn config(trunk_password: bool) -> Config {
    let mut config = Config::new("test", [1; 32]);
    config.phone_networks = vec![PHONES.parse().unwrap()];
    config.algorithms = vec![digest::Algorithm::Sha256];
    let credentials = trunk_password.then(|| ("roamer".to_owned(), "pw".to_owned()));
    let sources = vec!["127.0.4.1".parse().unwrap()];
    config.trunks = vec![Trunk { name: "carrier".into(), sources, credentials, ..Trunk::default() }];
    config
}

async fn start(config: Config) -> (Sip, SipEvents, SocketAddr) {
    // A port that is free for TCP is taken for both; another test's UDP socket may sit there.
    for _ in 0..20 {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut endpoint = Endpoint::new(config.clone());
        endpoint.set_users(std::time::Instant::now(), vec![phone_user()]);
        if let Ok((sip, events)) =
            Sip::start(endpoint, Sockets { plain: vec![free], ..Sockets::default() }, CancellationToken::new()).await
        {
            return (sip, events, free);
        }
    }
    panic!("no free port")
}

fn phone_user() -> User {
    User { name: "1001".into(), ha1_md5: String::new(), ha1_sha256: digest::ha1_sha256("1001", "test", "secret") }
}

async fn connect(from: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
    tokio::time::timeout(WAIT, socket.connect(to)).await.unwrap().unwrap()
}

/// Whether the other side has closed within `wait`.
async fn is_closed(stream: &mut TcpStream, wait: Duration) -> bool {
    let mut buffer = [0; 4096];
    let reading = async { while let Ok(1..) = stream.read(&mut buffer).await {} };
    tokio::time::timeout(wait, reading).await.is_ok()
}

fn message(method: &str, n: u32, more: &str) -> String {
    format!(
        "{method} sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP h;rport;branch=z9hG4bK{n}\r\nFrom: <sip:1001@h>;tag=t\r\n\
         To: <sip:1001@h>\r\nCall-ID: c\r\nCSeq: {n} {method}\r\nMax-Forwards: 70\r\n{more}Content-Length: 0\r\n\r\n"
    )
}

/// Puts an event into the mailbox of a session with room for one.
fn full_mailbox(sip: &Sip, id: SessionId) -> mpsc::Receiver<Box<Event>> {
    let (tx, rx) = mpsc::channel(1);
    sip.lock().routes.insert(id, tx);
    sip.deliver(&mut sip.lock(), Event::Dtmf { id, digit: '1', duration_ms: 111_111 });
    rx
}

#[tokio::test]
async fn a_full_mailbox_never_loses_the_end_of_a_session() {
    let (sip, _events, _) = start(config(false)).await;
    let id = SessionId(900);
    let ends = [
        Event::Ended { id, by: EndedBy::Remote, reason: None },
        Event::Failed { id, code: 486, reason: "Busy Here".into(), retry_after_s: None, contacts: Vec::new() },
        Event::Cancelled { id, reason: None },
    ];
    for end in ends {
        let name = end.name();
        let mut mailbox = full_mailbox(&sip, id);
        sip.deliver(&mut sip.lock(), end);
        assert!(!sip.lock().routes.contains_key(&id), "nothing follows");
        assert_eq!(mailbox.recv().await.unwrap().name(), "Dtmf");
        let last = tokio::time::timeout(WAIT, mailbox.recv()).await.unwrap().unwrap();
        assert_eq!(last.name(), name);
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_dropped_event_is_named_in_the_log_and_not_shown() {
    let (sip, _events, _) = start(config(false)).await;
    let log = Log::default();
    let to = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || to.clone()).without_time().finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let id = SessionId(901);
    let _mailbox = full_mailbox(&sip, id);
    sip.deliver(&mut sip.lock(), Event::Dtmf { id, digit: '7', duration_ms: 987_654 });
    sip.deliver(&mut sip.lock(), Event::Reoffer { id, sdp: Some(b"v=0 secret".to_vec()) });
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("Dtmf") && text.contains("Reoffer") && text.contains("901"), "{text}");
    assert!(!text.contains("987654") && !text.contains("digit") && !text.contains("118, 61"), "{text}");
}

#[tokio::test]
async fn a_connection_nobody_could_use_is_closed_at_once() {
    let (_sip, _events, address) = start(config(false)).await;
    let mut stranger = connect("127.0.9.1", address).await;
    assert!(is_closed(&mut stranger, Duration::from_secs(1)).await);
    let mut phone = connect(PHONE, address).await;
    phone.write_all(message("OPTIONS", 1, "").as_bytes()).await.unwrap();
    let mut buffer = [0; 11];
    tokio::time::timeout(WAIT, phone.read_exact(&mut buffer)).await.unwrap().unwrap();
    assert_eq!(&buffer, b"SIP/2.0 200");
}

#[tokio::test]
async fn strangers_get_few_connections_and_lose_them_when_they_say_nothing() {
    let (sip, _events, address) = start(config(true)).await;
    let mut streams = Vec::new();
    // The most that stood at once: where connecting takes long, the first are let go meanwhile.
    let (mut of_all, mut of_one) = (0, 0);
    let mut look = || {
        let conns = sip.conns();
        of_all = of_all.max(conns.by_id.len());
        of_one = of_one.max(conns.by_id.values().filter(|c| c.stranger == "127.0.9.1".parse().ok()).count());
        (of_all, of_one)
    };
    for n in 0..11 {
        for _ in 0..9 {
            streams.push(connect(&format!("127.0.9.{}", n + 1), address).await);
            look();
        }
    }
    let opened = Instant::now();
    while look().0 < STRANGER_CONN_MAX && opened.elapsed() < Duration::from_secs(1) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(look(), (STRANGER_CONN_MAX, STRANGER_CONN_PER_SOURCE_MAX));
    let mut phone = connect(PHONE, address).await;
    phone.write_all(message("OPTIONS", 1, "").as_bytes()).await.unwrap();
    phone.read_exact(&mut [0; 11]).await.unwrap();

    // Bytes alone keep no connection: only a whole valid message does.
    let (mut dripping, mut talking) = (streams.remove(0), streams.remove(0));
    for n in 0..12 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let _ = dripping.write_all(b"X").await;
        let _ = talking.write_all(message("OPTIONS", n, "").as_bytes()).await;
    }
    assert!(is_closed(&mut dripping, WAIT).await);
    for stream in &mut streams {
        assert!(is_closed(stream, WAIT).await);
    }
    assert_eq!(sip.conns().by_id.len(), 2, "one that talks, and a phone");
    talking.write_all(message("OPTIONS", 12, "").as_bytes()).await.unwrap();
    assert!(!is_closed(&mut talking, Duration::from_millis(200)).await);
    assert!(!is_closed(&mut phone, Duration::from_millis(200)).await, "a phone that has spoken may be silent");
}

fn tcp_dial(remote: SocketAddr, local: SocketAddr) -> Dial {
    Dial {
        target: Target::Uri { uri: "sip:1@127.0.4.1".into(), transport: Transport::Tcp, remote, local },
        from: "12319".into(),
        display: None,
        to: None,
        sdp: b"v=0\r\n".to_vec(),
        credentials: None,
        ring_timeout_ms: 30_000,
        first_response_ms: None,
        extra_headers: Vec::new(),
    }
}

#[tokio::test]
async fn a_call_that_finds_no_place_for_its_connection_fails_at_once() {
    let (sip, _events, local) = start(config(false)).await;
    let (queue, _kept) = queue::queue();
    for conn in 1_000_000..1_000_000 + CONN_MAX as u64 {
        sip.conns().by_id.insert(conn, Conn { queue: queue.clone(), stranger: None, phone: None });
    }
    let (tx, mut events) = mpsc::channel(8);
    let remote: SocketAddr = "127.0.4.1:5060".parse().unwrap();
    sip.dial(tcp_dial(remote, local), tx).unwrap();
    let event = tokio::time::timeout(WAIT, events.recv()).await.unwrap().unwrap();
    assert!(matches!(*event, Event::Failed { code: 503, .. }), "{}", event.name());
}

#[tokio::test]
async fn an_answer_to_a_stranger_who_hung_up_opens_no_connection() {
    let (sip, _events, local) = start(config(true)).await;
    let listener = tokio::net::TcpListener::bind("127.0.9.1:0").await.unwrap();
    let remote = listener.local_addr().unwrap();
    let flow = Flow { transport: Transport::Tcp, local, remote, conn: Some(77), node: None };
    tcp::send(&sip, &sip.lock().endpoint, flow, b"SIP/2.0 403 Forbidden\r\n\r\n".to_vec());
    assert!(sip.conns().by_id.is_empty());
    assert!(tokio::time::timeout(Duration::from_millis(200), listener.accept()).await.is_err());
}

/// Sends from a phone over UDP; gives the answer.
fn ask(phone: &StdUdpSocket, to: SocketAddr, text: &str) -> String {
    phone.send_to(text.replace("/TCP h", "/UDP h").as_bytes(), to).unwrap();
    let mut buffer = [0; 4096];
    let len = phone.recv(&mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..len]).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_taken_away_is_told_at_once_without_a_packet() {
    let (sip, mut events, address) = start(config(false)).await;
    let phone = StdUdpSocket::bind((PHONE, 0)).unwrap();
    phone.set_read_timeout(Some(WAIT)).unwrap();
    let contact = "Contact: <sip:1001@127.0.3.1>\r\n";
    let challenge = ask(&phone, address, &message("REGISTER", 1, contact));
    let nonce = challenge.split("nonce=\"").nth(1).unwrap().split('"').next().unwrap();
    let ha1 = phone_user().ha1_sha256;
    let qop = Some(("00000001", "x"));
    let response = digest::response(digest::Algorithm::Sha256, &ha1, nonce, "REGISTER", "sip:127.0.0.1", qop);
    let authorization = format!(
        "Authorization: Digest username=\"1001\", realm=\"test\", nonce=\"{nonce}\", uri=\"sip:127.0.0.1\", \
         response=\"{response}\", algorithm=SHA-256, qop=auth, nc=00000001, cnonce=\"x\"\r\n{contact}"
    );
    let ok = ask(&phone, address, &message("REGISTER", 2, &authorization));
    assert!(ok.starts_with("SIP/2.0 200"), "{ok}");
    let notice = tokio::time::timeout(WAIT, events.notices.recv()).await.unwrap();
    assert!(matches!(notice, Some(Notice::Registered { user }) if user == "1001"));
    let notice = tokio::time::timeout(WAIT, events.notices.recv()).await.unwrap();
    assert!(matches!(notice, Some(Notice::Contacts { user }) if user == "1001"));

    sip.set_users(Vec::new());
    let notice = events.notices.try_recv();
    assert!(matches!(notice, Ok(Notice::Unregistered { user }) if user == "1001"), "told before set_users returns");
    sip.drain();
    assert!(sip.lock().endpoint.poll_output().is_none(), "nothing waits for the next packet");
}

#[tokio::test]
async fn a_call_whose_connection_breaks_before_any_answer_fails_at_once() {
    let (sip, _events, local) = start(config(false)).await;
    let listener = tokio::net::TcpListener::bind("127.0.4.1:0").await.unwrap();
    let remote = listener.local_addr().unwrap();
    let (tx, mut events) = mpsc::channel(8);
    sip.dial(tcp_dial(remote, local), tx).unwrap();
    let (mut stream, _) = tokio::time::timeout(WAIT, listener.accept()).await.unwrap().unwrap();
    let mut buffer = [0; 6];
    stream.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"INVITE");
    drop(stream);
    let event = tokio::time::timeout(WAIT, events.recv()).await.unwrap().unwrap();
    assert!(matches!(*event, Event::Failed { code: 503, .. }), "{}", event.name());
}

#[tokio::test]
async fn a_trunk_hears_that_its_own_connection_ended_and_of_no_other() {
    let (sip, _events, local) = start(config(false)).await;
    let mut lost = sip.lost();
    let listener = tokio::net::TcpListener::bind("127.0.4.1:0").await.unwrap();
    let remote = listener.local_addr().unwrap();
    let mut phone = connect(PHONE, local).await;
    phone.write_all(message("OPTIONS", 1, "").as_bytes()).await.unwrap();
    phone.read_exact(&mut [0; 11]).await.unwrap();
    drop(phone);
    let (tx, _kept) = mpsc::channel(8);
    sip.dial(tcp_dial(remote, local), tx).unwrap();
    let (mut stream, _) = tokio::time::timeout(WAIT, listener.accept()).await.unwrap().unwrap();
    stream.read_exact(&mut [0; 6]).await.unwrap();
    while sip.conns().by_id.len() > 1 {
        tokio::task::yield_now().await;
    }
    let early = tokio::time::timeout(Duration::from_millis(50), lost.of(Transport::Tcp, local, remote));
    assert!(early.await.is_err(), "only a phone's ended");
    drop(stream);
    tokio::time::timeout(WAIT, lost.of(Transport::Tcp, local, remote)).await.unwrap();
}

#[tokio::test]
async fn a_burst_on_a_trunk_s_connection_does_not_cut_it() {
    let (sip, _events, local) = start(config(false)).await;
    let listener = tokio::net::TcpListener::bind("127.0.4.1:0").await.unwrap();
    let flow =
        Flow { transport: Transport::Tcp, local, remote: listener.local_addr().unwrap(), conn: None, node: None };
    // No await in between: nothing is written until all are queued.
    for _ in 0..500 {
        tcp::send(&sip, &sip.lock().endpoint, flow, vec![b'x'; 1_024]);
    }
    let (mut stream, _) = tokio::time::timeout(WAIT, listener.accept()).await.unwrap().unwrap();
    let mut heard = vec![0; 500 * 1_024];
    tokio::time::timeout(WAIT, stream.read_exact(&mut heard)).await.unwrap().unwrap();
}

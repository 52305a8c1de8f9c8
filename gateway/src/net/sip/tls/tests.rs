//! Real handshakes between two gateways on the loopback.

use std::path::PathBuf;

use hotline_sip::{Config, Dial, Endpoint, Event, Target, Transport, Trunk};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::net::sip::{Sip, SipEvents, Sockets};

const WAIT: Duration = Duration::from_secs(20);

/// A folder with two certification authorities and a certificate of each for 127.0.0.1.
struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self { dir: tempfile::tempdir().unwrap() };
        for name in ["ours", "theirs"] {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let ca = CertifiedIssuer::self_signed(params, key).unwrap();
            std::fs::write(files.path(&format!("{name}-ca.pem")), ca.pem()).unwrap();
            let key = KeyPair::generate().unwrap();
            let names = vec!["127.0.0.1".to_owned(), "sbc.test".to_owned()];
            let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &ca).unwrap();
            std::fs::write(files.path(&format!("{name}.pem")), leaf.pem()).unwrap();
            std::fs::write(files.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
        }
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn certificate(&self, name: &str) -> Arc<Certificate> {
        let (chain, key) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
        Certificate::load("sip.tls", chain, key).unwrap()
    }
}

/// A gateway that takes calls over TLS at a free port of 127.0.0.1.
async fn server(files: &Files, wanted: ClientCertificate) -> (Sip, SipEvents, SocketAddr) {
    for _ in 0..20 {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut config = Config::new("test", [2; 32]);
        config.trunks =
            vec![Trunk { name: "a".into(), sources: vec!["127.0.0.0/8".parse().unwrap()], ..Trunk::default() }];
        let ca = files.path("ours-ca.pem");
        let tls = ServerTls::new(files.certificate("ours"), wanted, Some(("sip.tls.client_ca", &ca))).unwrap();
        let sockets = Sockets { tls: vec![(free, tls)], ..Sockets::default() };
        if let Ok((sip, events)) = Sip::start(Endpoint::new(config), sockets, CancellationToken::new()).await {
            return (sip, events, free);
        }
    }
    panic!("no free port")
}

/// Calls `remote` over TLS from a gateway of its own; gives the call's events.
async fn call(client: ClientTls, remote: SocketAddr) -> (Sip, mpsc::Receiver<Box<Event>>) {
    let local: SocketAddr = "127.0.0.1:5061".parse().unwrap();
    let sockets = Sockets { clients: vec![(local, vec![remote], Arc::new(client))], ..Sockets::default() };
    let endpoint = Endpoint::new(Config::new("test", [1; 32]));
    let (sip, _events) = Sip::start(endpoint, sockets, CancellationToken::new()).await.unwrap();
    let dial = Dial {
        target: Target::Uri { uri: "sip:1@127.0.0.1".into(), transport: Transport::Tls, remote, local },
        from: "12319".into(),
        display: None,
        to: None,
        sdp: b"v=0\r\n".to_vec(),
        credentials: None,
        ring_timeout_ms: 30_000,
        first_response_ms: None,
        extra_headers: Vec::new(),
    };
    let (tx, events) = mpsc::channel(8);
    sip.dial(dial, tx).unwrap();
    (sip, events)
}

/// Whether the call gets through, and if not the code it fails with.
async fn outcome(client: ClientTls, wanted: ClientCertificate, files: &Files) -> Result<(), u16> {
    let (callee, mut arriving, remote) = server(files, wanted).await;
    let (_caller, mut events) = call(client, remote).await;
    let arrived = async { arriving.incoming.recv().await.map(|new| callee.accept(new.id, b"v=0\r\n").unwrap()) };
    tokio::select! {
        arrived = tokio::time::timeout(WAIT, arrived) => arrived.unwrap().unwrap(),
        event = events.recv() => match event.map(|event| *event) {
            Some(Event::Failed { code, .. }) => return Err(code),
            other => panic!("{other:?}"),
        }
    }
    let answered = tokio::time::timeout(WAIT, events.recv()).await.unwrap();
    assert!(matches!(answered.as_deref(), Some(Event::Answered { .. })), "{answered:?}");
    Ok(())
}

fn client(files: &Files, own: Option<&str>, ca: &str, name: &str) -> ClientTls {
    let ca = files.path(&format!("{ca}-ca.pem"));
    let own = own.map(|own| files.certificate(own));
    ClientTls::new("a", own, &Trust::Ca("trunk[a].tls.ca", &ca), "trunk[a].tls.server_name", name).unwrap()
}

#[tokio::test]
async fn a_call_goes_over_tls_when_the_certificate_is_good() {
    let files = Files::new();
    for name in ["127.0.0.1", "sbc.test"] {
        assert_eq!(outcome(client(&files, None, "ours", name), ClientCertificate::Off, &files).await, Ok(()), "{name}");
    }
}

#[tokio::test]
async fn a_certificate_of_another_authority_or_name_ends_the_call() {
    let files = Files::new();
    assert_eq!(outcome(client(&files, None, "theirs", "127.0.0.1"), ClientCertificate::Off, &files).await, Err(503));
    assert_eq!(outcome(client(&files, None, "ours", "other.test"), ClientCertificate::Off, &files).await, Err(503));
    let anybody = ClientTls::new("a", None, &Trust::Anybody, "x", "other.test").unwrap();
    assert_eq!(outcome(anybody, ClientCertificate::Off, &files).await, Ok(()), "the explicit switch accepts it");
}

#[tokio::test]
async fn a_required_client_certificate_keeps_all_others_out() {
    let files = Files::new();
    let required = ClientCertificate::Required;
    assert_eq!(outcome(client(&files, None, "ours", "127.0.0.1"), required, &files).await, Err(503), "none");
    assert_eq!(outcome(client(&files, Some("theirs"), "ours", "127.0.0.1"), required, &files).await, Err(503), "wrong");
    assert_eq!(outcome(client(&files, Some("ours"), "ours", "127.0.0.1"), required, &files).await, Ok(()));
    let optional = ClientCertificate::Optional;
    assert_eq!(outcome(client(&files, None, "ours", "127.0.0.1"), optional, &files).await, Ok(()));
    assert_eq!(outcome(client(&files, Some("theirs"), "ours", "127.0.0.1"), optional, &files).await, Err(503));
}

#[tokio::test]
async fn who_does_not_finish_the_handshake_loses_the_connection() {
    let files = Files::new();
    let (sip, _events, address) = server(&files, ClientCertificate::Off).await;
    let mut silent = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut plain = tokio::net::TcpStream::connect(address).await.unwrap();
    plain.write_all(b"OPTIONS sip:a SIP/2.0\r\n\r\n").await.unwrap();
    for stream in [&mut silent, &mut plain] {
        let mut heard = Vec::new();
        let _ = tokio::time::timeout(WAIT, stream.read_to_end(&mut heard)).await.unwrap();
        assert!(!heard.starts_with(b"SIP"), "{heard:?}");
    }
    assert!(sip.conns().by_id.is_empty() && sip.conns().by_peer.is_empty());
}

#[test]
fn a_renewed_certificate_is_taken_and_a_bad_one_is_not() {
    let files = Files::new();
    let certificate = files.certificate("ours");
    let first = certificate.current();
    let touch = |name: &str, bytes: &[u8], ahead_s: u64| {
        std::fs::write(files.path(name), bytes).unwrap();
        let file = std::fs::File::options().write(true).open(files.path(name)).unwrap();
        file.set_modified(std::time::SystemTime::now() + Duration::from_secs(ahead_s)).unwrap();
    };
    touch("ours.pem", b"nonsense", 10);
    certificate.reload_if_changed();
    assert_eq!(certificate.current().cert, first.cert);
    touch("ours.pem", &std::fs::read(files.path("theirs.pem")).unwrap(), 20);
    certificate.reload_if_changed();
    assert_eq!(certificate.current().cert, first.cert, "the key doesn't fit");
    touch("ours.key", &std::fs::read(files.path("theirs.key")).unwrap(), 30);
    certificate.reload_if_changed();
    assert_ne!(certificate.current().cert, first.cert);
}

#[test]
fn a_bad_file_is_named_with_its_setting_and_a_remedy() {
    let files = Files::new();
    std::fs::write(files.path("empty.pem"), "").unwrap();
    let load = |chain: &str, key: &str| {
        let loaded = Certificate::load("trunk[ims].tls", files.path(chain), files.path(key));
        loaded.map(drop).unwrap_err().to_string()
    };
    for (error, key) in [
        (load("none.pem", "ours.key"), "trunk[ims].tls.certificate"),
        (load("empty.pem", "ours.key"), "trunk[ims].tls.certificate"),
        (load("ours.pem", "empty.pem"), "trunk[ims].tls.key"),
        (load("ours.pem", "theirs.key"), "trunk[ims].tls.key"),
    ] {
        assert!(error.starts_with(key) && error.contains("PEM"), "{error}");
    }
    let empty = files.path("empty.pem");
    let refused = ClientTls::new("a", None, &Trust::Ca("trunk[ims].tls.ca", &empty), "x", "127.0.0.1");
    assert!(refused.map(drop).unwrap_err().to_string().starts_with("trunk[ims].tls.ca"));
}

#[test]
fn trunks_on_one_listener_are_told_apart_by_every_address_of_theirs() {
    let files = Files::new();
    let local: SocketAddr = "127.0.0.1:5061".parse().unwrap();
    let peers = TlsPeers::default();
    for (owner, remote, network) in [("a", "192.0.2.1:5061", "198.51.100.0/24"), ("b", "192.0.2.2:5061", "203.0.113.7")]
    {
        let ca = files.path("ours-ca.pem");
        let trust = Trust::Ca("x", &ca);
        let client = ClientTls::new(owner, None, &trust, "x", "sbc.test").unwrap();
        let client = client.with_networks(vec![network.parse().unwrap()]);
        peers.set(local, vec![remote.parse().unwrap()], &Arc::new(client));
    }
    let owner = |remote: &str| peers.find(local, remote.parse().unwrap()).map(|c| c.owner.clone());
    for (remote, wanted) in [
        ("192.0.2.2:5061", Some("b")),
        ("192.0.2.2:5099", Some("b")),
        ("203.0.113.7:5061", Some("b")),
        ("198.51.100.9:5061", Some("a")),
        ("192.0.2.9:5061", None),
    ] {
        assert_eq!(owner(remote).as_deref(), wanted, "{remote}");
    }
}

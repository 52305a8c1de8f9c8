//! One connection to an IMAP server (RFC 3501, RFC 2177): commands one after the other, every wait bounded.
//! `async-imap` brings coding and framing; commands are read here, so that an answer too long, a server
//! that falls silent and mail that arrives between two commands are all seen.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_imap::imap_proto::{AttributeValue, Capability, MailboxDatum, Response, ResponseCode, Status};
use async_imap::{Client, Session};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tracing::debug;

use super::cursor::internal_date;
use super::limits::{ANSWER, ANSWER_BYTES_MAX, CONNECT, FETCH, HEAD_BYTES};
use crate::config::{Imap, MailTls};

/// Why a connection ended. No text of the server's in it: it may hold mail.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    /// Name, TCP or TLS.
    #[error("{0}: 请检查 mail.imap 的地址、端口和证书 / check host, port and certificate in mail.imap")]
    Connect(String),
    /// The server refused a command.
    #[error("服务器拒绝 {0} / the server refused {0}: check user, password (授权码) and mailbox in mail.imap")]
    Refused(&'static str),
    /// It closed the connection.
    #[error("connection closed ({0})")]
    Closed(String),
    /// It said nothing for too long.
    #[error("no answer")]
    Silent,
    /// Its answer can't be read, or is larger than allowed.
    #[error("unreadable answer")]
    Unreadable,
}

impl From<io::Error> for LinkError {
    fn from(e: io::Error) -> Self {
        // The library's own errors quote the answer.
        if e.kind() == io::ErrorKind::Other { Self::Unreadable } else { Self::Closed(e.kind().to_string()) }
    }
}

impl From<async_imap::error::Error> for LinkError {
    fn from(e: async_imap::error::Error) -> Self {
        match e {
            async_imap::error::Error::Io(e) => e.into(),
            async_imap::error::Error::ConnectionLost => Self::Closed("lost".into()),
            _ => Self::Unreadable,
        }
    }
}

/// A mail as the server gave it.
pub(super) struct Fetched {
    /// Headers and body, perhaps cut.
    pub(super) raw: Vec<u8>,
    /// All of it was read.
    pub(super) whole: bool,
    /// When the server got it (epoch ms).
    pub(super) arrived: Option<i64>,
}

/// A signed-in connection with its mailbox open.
pub(super) struct Link {
    session: Session<Stream>,
    can_idle: bool,
    /// The server told of mail since [`Link::search`].
    news: bool,
}

impl Link {
    /// Connects, signs in and opens the mailbox; its UIDVALIDITY.
    pub(super) async fn open(settings: &Imap, password: &str) -> Result<(Self, u32), LinkError> {
        let opening = async {
            let stream = connect(settings).await?;
            let mut client = Client::new(stream);
            match client.read_response().await?.as_ref().map(|r| r.parsed()) {
                Some(Response::Data { status: Status::Ok, .. }) => {}
                _ => return Err(LinkError::Closed("no greeting".into())),
            }
            client.login(&settings.user, password).await.map_err(|(e, _)| match e {
                async_imap::error::Error::No(_) | async_imap::error::Error::Bad(_) => LinkError::Refused("LOGIN"),
                e => e.into(),
            })
        };
        let session = timeout(CONNECT, opening).await.map_err(|_| LinkError::Silent)??;
        let mut link = Self { session, can_idle: false, news: true };
        link.capabilities().await?;
        let validity = link.select(&settings.mailbox).await?;
        Ok((link, validity))
    }

    async fn capabilities(&mut self) -> Result<(), LinkError> {
        let (mut idle, mut id) = (false, false);
        self.command("CAPABILITY", "CAPABILITY", |response| {
            if let Response::Capabilities(all) = response {
                let has =
                    |name: &str| all.iter().any(|c| matches!(c, Capability::Atom(a) if a.eq_ignore_ascii_case(name)));
                (idle, id) = (has("IDLE"), has("ID"));
            }
        })
        .await?;
        self.can_idle = idle;
        if id {
            // Some providers (163, 126) open no mailbox to who doesn't say what it is (RFC 2971).
            let named = r#"ID ("name" "hotline-gateway" "version" "1")"#;
            match self.command("ID", named, |_| {}).await {
                Ok(()) | Err(LinkError::Refused(_)) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    async fn select(&mut self, mailbox: &str) -> Result<u32, LinkError> {
        let mut validity = None;
        let quoted = mailbox.replace('\\', "\\\\").replace('"', "\\\"");
        self.command("SELECT", &format!("SELECT \"{quoted}\""), |response| {
            if let Response::Data { outcome, .. } = response
                && let Some(ResponseCode::UidValidity(v)) = outcome.code
            {
                validity = Some(v);
            }
        })
        .await?;
        validity.ok_or(LinkError::Unreadable)
    }

    /// UIDs for a search command.
    pub(super) async fn search(&mut self, command: &str) -> Result<Vec<u32>, LinkError> {
        let mut found = Vec::new();
        self.news = false;
        self.command("SEARCH", command, |response| {
            if let Response::MailboxData(MailboxDatum::Search(uids)) = response {
                found.extend_from_slice(uids);
            }
        })
        .await?;
        Ok(found)
    }

    /// A mail without marking it; larger than `bytes_max`, only its head. `None`: it is gone.
    pub(super) async fn fetch(&mut self, uid: u32, bytes_max: usize) -> Result<Option<Fetched>, LinkError> {
        let (mut size, mut arrived) = (None, None);
        self.command("FETCH", &format!("UID FETCH {uid} (UID RFC822.SIZE INTERNALDATE)"), |response| {
            let Some(attributes) = of_uid(response, uid) else { return };
            for attribute in attributes {
                match attribute {
                    AttributeValue::Rfc822Size(n) => size = Some(*n as usize),
                    AttributeValue::InternalDate(date) => arrived = internal_date(date),
                    _ => {}
                }
            }
        })
        .await?;
        let Some(size) = size else { return Ok(None) };
        let whole = size <= bytes_max;
        let wanted = if whole { bytes_max } else { HEAD_BYTES.min(bytes_max) };
        let mut raw = None;
        self.allow(wanted.saturating_add(ANSWER_BYTES_MAX));
        let command = format!("UID FETCH {uid} (UID BODY.PEEK[]<0.{wanted}>)");
        self.run("FETCH", &command, FETCH, |response| {
            let Some(attributes) = of_uid(response, uid) else { return };
            for attribute in attributes {
                if let AttributeValue::BodySection { section: None, data: Some(data), .. } = attribute {
                    raw = Some(data.to_vec());
                }
            }
        })
        .await?;
        Ok(raw.map(|raw| Fetched { raw, whole, arrived }))
    }

    /// Marks a mail; that it can't be marked (a read-only mailbox) changes nothing for us.
    pub(super) async fn mark(&mut self, uid: u32, flag: &str) -> Result<(), LinkError> {
        match self.command("STORE", &format!("UID STORE {uid} +FLAGS.SILENT ({flag})"), |_| {}).await {
            Ok(()) | Err(LinkError::Refused(_)) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Waits for mail: by IDLE for `idle`, or for `poll` where the server can't.
    pub(super) async fn wait(&mut self, idle: Duration, poll: Duration) -> Result<(), LinkError> {
        if self.news {
            return Ok(());
        }
        if !self.can_idle {
            tokio::time::sleep(poll).await;
            return self.command("NOOP", "NOOP", |_| {}).await;
        }
        self.allow(ANSWER_BYTES_MAX);
        let id = timeout(ANSWER, self.session.run_command("IDLE")).await.map_err(|_| LinkError::Silent)??;
        let end = Instant::now() + idle;
        let mut begun = false;
        // Something of ours to come back to: news, or the end of the time.
        while !self.news || !begun {
            let until = if begun { end } else { Instant::now() + ANSWER };
            let Ok(answer) = timeout_at(until, self.session.read_response()).await else {
                if begun {
                    break;
                }
                return Err(LinkError::Silent);
            };
            let answer = answer?.ok_or_else(|| LinkError::Closed("end".into()))?;
            match answer.parsed() {
                Response::Continue(_) => {
                    begun = true;
                    debug!("waiting for mail");
                }
                Response::Done { .. } => return Err(LinkError::Refused("IDLE")),
                other => self.hear(other)?,
            }
        }
        self.session.run_command_untagged("DONE").await?;
        self.finish("IDLE", &id, ANSWER, |_| {}).await
    }

    fn allow(&mut self, bytes: usize) {
        self.session.get_mut().left = bytes;
    }

    async fn command(
        &mut self,
        name: &'static str,
        text: &str,
        each: impl FnMut(&Response<'_>),
    ) -> Result<(), LinkError> {
        self.allow(ANSWER_BYTES_MAX);
        self.run(name, text, ANSWER, each).await
    }

    async fn run(
        &mut self,
        name: &'static str,
        text: &str,
        patience: Duration,
        each: impl FnMut(&Response<'_>),
    ) -> Result<(), LinkError> {
        let id = timeout(ANSWER, self.session.run_command(text)).await.map_err(|_| LinkError::Silent)??;
        self.finish(name, &id, patience, each).await
    }

    async fn finish(
        &mut self,
        name: &'static str,
        id: &async_imap::imap_proto::RequestId,
        patience: Duration,
        mut each: impl FnMut(&Response<'_>),
    ) -> Result<(), LinkError> {
        loop {
            let answer = timeout(patience, self.session.read_response()).await.map_err(|_| LinkError::Silent)??;
            let answer = answer.ok_or_else(|| LinkError::Closed("end".into()))?;
            match answer.parsed() {
                Response::Done { tag, status: Status::Ok, .. } if tag == id => return Ok(()),
                Response::Done { tag, .. } if tag == id => return Err(LinkError::Refused(name)),
                response => {
                    each(response);
                    self.hear(response)?;
                }
            }
        }
    }

    /// What a server says unasked.
    fn hear(&mut self, response: &Response<'_>) -> Result<(), LinkError> {
        match response {
            Response::MailboxData(MailboxDatum::Exists(_) | MailboxDatum::Recent(_)) => self.news = true,
            Response::Data { status: Status::Bye, .. } => return Err(LinkError::Closed("BYE".into())),
            _ => {}
        }
        Ok(())
    }
}

/// The attributes of a FETCH answer about this mail.
fn of_uid<'r, 'd>(response: &'r Response<'d>, uid: u32) -> Option<&'r [AttributeValue<'d>]> {
    match response {
        Response::Fetch(_, all) if all.iter().any(|a| matches!(a, AttributeValue::Uid(u) if *u == uid)) => Some(all),
        _ => None,
    }
}

async fn connect(settings: &Imap) -> Result<Stream, LinkError> {
    let fail = |e: &dyn std::fmt::Display| LinkError::Connect(e.to_string());
    let tcp = TcpStream::connect((settings.host.as_str(), settings.port)).await.map_err(|e| fail(&e))?;
    let alive = socket2::TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(20));
    // Without it a dead connection is found by the next command.
    let _ = socket2::SockRef::from(&tcp).set_tcp_keepalive(&alive);
    let inner = if settings.tls == MailTls::Plain {
        Inner::Plain(tcp)
    } else {
        let name = ServerName::try_from(settings.host.clone()).map_err(|e| fail(&e))?;
        let roots = roots(settings.ca.as_deref()).map_err(|e| fail(&e))?;
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| fail(&e))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.map_err(|e| fail(&e))?;
        Inner::Tls(Box::new(tls))
    };
    Ok(Stream { inner, left: ANSWER_BYTES_MAX })
}

fn roots(ca: Option<&std::path::Path>) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            let pem = std::fs::read(path)?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(roots)
}

/// Bytes from the server, so many for each command.
#[derive(Debug)]
struct Stream {
    inner: Inner,
    left: usize,
}

#[derive(Debug)]
enum Inner {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = match &mut self.inner {
            Inner::Plain(s) => Pin::new(s).poll_read(cx, buf),
            Inner::Tls(s) => Pin::new(s.as_mut()).poll_read(cx, buf),
        };
        if let Poll::Ready(Ok(())) = polled {
            let read = buf.filled().len() - before;
            match self.left.checked_sub(read) {
                Some(left) => self.left = left,
                None => return Poll::Ready(Err(io::Error::other("answer too large"))),
            }
        }
        polled
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.inner {
            Inner::Plain(s) => Pin::new(s).poll_write(cx, buf),
            Inner::Tls(s) => Pin::new(s.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Plain(s) => Pin::new(s).poll_flush(cx),
            Inner::Tls(s) => Pin::new(s.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Plain(s) => Pin::new(s).poll_shutdown(cx),
            Inner::Tls(s) => Pin::new(s.as_mut()).poll_shutdown(cx),
        }
    }
}

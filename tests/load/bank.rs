//! Many telephones, or callers, behind one socket: just enough SIP to be called, to call and to hang up, and the
//! moment each INVITE came in. They say nothing and throw away what they hear.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hotline_tests::sip::Message;
use hotline_tests::sip::message::{uri_of, user_of};
use hotline_tests::{Error, Result};
use tokio::net::UdpSocket;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;

/// What an INVITE or the answer to one says: A-law, keys.
const SDP_TAIL: &str = "RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\n";

/// What happened at one of them.
#[derive(Debug)]
pub(crate) enum Told {
    /// An INVITE came for this user, and was answered at once.
    Called { user: String, call: String, at: Instant },
    /// Somebody ended it.
    Ended { call: String },
}

/// One side of a call.
struct Dialog {
    local: String,
    remote: String,
    target: String,
    sequence: u32,
}

/// A session description of a stream's address.
pub(crate) fn sdp(media: SocketAddr) -> String {
    let (ip, port) = (media.ip(), media.port());
    format!("v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} {SDP_TAIL}")
}

/// Where a description says its audio goes.
pub(crate) fn audio_of(message: &Message) -> Option<SocketAddr> {
    let text = String::from_utf8_lossy(&message.body);
    let line = |start: &str| text.lines().find_map(|l| l.strip_prefix(start).map(str::to_owned));
    let ip = line("c=IN IP4 ")?.trim().parse().ok()?;
    let port = line("m=audio ")?.split_whitespace().next()?.parse().ok()?;
    Some(SocketAddr::new(ip, port))
}

struct Inner {
    socket: UdpSocket,
    local: SocketAddr,
    gateway: SocketAddr,
    media: SocketAddr,
    dialogs: Mutex<HashMap<String, Dialog>>,
    /// Where each call's media goes at the gateway.
    streams: Mutex<HashMap<String, SocketAddr>>,
    next: AtomicU32,
    told: UnboundedSender<Told>,
}

/// See the module's description. Dropping it ends it.
pub(crate) struct Bank {
    inner: Arc<Inner>,
    receiving: AbortHandle,
}

impl Drop for Bank {
    fn drop(&mut self) {
        self.receiving.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Bank {
    /// At `local` for its SIP; its media is said to be at `media`.
    pub(crate) async fn open(
        local: SocketAddr,
        gateway: SocketAddr,
        media: SocketAddr,
    ) -> Result<(Self, UnboundedReceiver<Told>)> {
        let socket = UdpSocket::bind(local).await.map_err(Error::io(format!("bind {local}")))?;
        let local = socket.local_addr().map_err(Error::io("local_addr"))?;
        let (told, news) = unbounded_channel();
        let inner = Inner {
            socket,
            local,
            gateway,
            media,
            dialogs: Mutex::default(),
            streams: Mutex::default(),
            next: AtomicU32::new(1),
            told,
        };
        let inner = Arc::new(inner);
        let receiving = tokio::spawn(Arc::clone(&inner).receive()).abort_handle();
        Ok((Self { inner, receiving }, news))
    }

    /// Where each call's media goes now.
    pub(crate) fn streams(&self) -> Vec<SocketAddr> {
        lock(&self.inner.streams).values().copied().collect()
    }

    /// Calls `user`; the call's id.
    pub(crate) async fn call(&self, user: &str) -> Result<String> {
        let inner = &self.inner;
        let n = inner.next.fetch_add(1, Ordering::Relaxed);
        let (call, uri) = (format!("b{n}x{}", inner.local.port()), format!("sip:{user}@{}", inner.gateway));
        let local = format!("<sip:138{n:08}@{}>;tag=b{n}", inner.local.ip());
        let invite = inner
            .request("INVITE", &uri, &call, &local, &format!("<{uri}>"), 1)
            .with_body("application/sdp", sdp(inner.media));
        let dialog = Dialog { local, remote: format!("<{uri}>"), target: uri, sequence: 1 };
        lock(&inner.dialogs).insert(call.clone(), dialog);
        inner.send(&invite).await?;
        Ok(call)
    }

    /// Ends a call with BYE.
    pub(crate) async fn hang_up(&self, call: &str) -> Result<()> {
        let Some(dialog) = lock(&self.inner.dialogs).remove(call) else { return Ok(()) };
        lock(&self.inner.streams).remove(call);
        let sequence = dialog.sequence + 1;
        let bye = self.inner.request("BYE", &dialog.target, call, &dialog.local, &dialog.remote, sequence);
        self.inner.send(&bye).await
    }

    /// Ends all of them.
    pub(crate) async fn hang_up_all(&self) -> Result<()> {
        let calls: Vec<String> = lock(&self.inner.dialogs).keys().cloned().collect();
        for call in calls {
            self.hang_up(&call).await?;
        }
        Ok(())
    }
}

impl Inner {
    fn request(&self, method: &str, uri: &str, call: &str, from: &str, to: &str, sequence: u32) -> Message {
        Message::request(method, uri)
            .with("Via", format!("SIP/2.0/UDP {};branch=z9hG4bK{call}x{sequence}x{method};rport", self.local))
            .with("Max-Forwards", "70")
            .with("From", from)
            .with("To", to)
            .with("Call-ID", call)
            .with("CSeq", format!("{sequence} {method}"))
            .with("Contact", format!("<sip:bank@{}>", self.local))
    }

    async fn send(&self, message: &Message) -> Result<()> {
        let bytes = message.to_bytes()?;
        self.socket.send_to(&bytes, self.gateway).await.map_err(Error::io("send SIP")).map(|_| ())
    }

    async fn receive(self: Arc<Self>) {
        let mut buffer = vec![0; 65_536];
        loop {
            let Ok((length, _)) = self.socket.recv_from(&mut buffer).await else { continue };
            let at = Instant::now();
            let Ok(message) = Message::parse(&buffer[..length]) else { continue };
            let treated = if message.is_request() {
                self.on_request(&message, at).await
            } else {
                self.on_response(&message).await
            };
            if let Err(problem) = treated {
                eprintln!("bank: {problem}");
            }
        }
    }

    async fn on_request(&self, request: &Message, at: Instant) -> Result<()> {
        let call = request.call_id().to_owned();
        match request.method() {
            "ACK" => Ok(()),
            "INVITE" => self.on_invite(request, call, at).await,
            method => {
                if method == "BYE" && lock(&self.dialogs).remove(&call).is_some() {
                    lock(&self.streams).remove(&call);
                    let _ = self.told.send(Told::Ended { call });
                }
                self.send(&Message::response_to(request, 200, "OK")).await
            }
        }
    }

    async fn on_invite(&self, invite: &Message, call: String, at: Instant) -> Result<()> {
        let header = |name: &str| invite.header(name).unwrap_or("").to_owned();
        let user = user_of(invite.uri()).to_owned();
        let local = match invite.to_tag() {
            Some(_) => header("To"),
            None => format!("{};tag=p{call}", header("To")),
        };
        let mut answer = Message::response_to(invite, 200, "OK")
            .with("Contact", format!("<sip:{user}@{}>", self.local))
            .with_body("application/sdp", sdp(self.media));
        answer.set("To", local.clone());
        let target = uri_of(invite.header("Contact").unwrap_or("")).to_owned();
        let dialog = Dialog { local, remote: header("From"), target, sequence: 1 };
        let is_new = lock(&self.dialogs).insert(call.clone(), dialog).is_none();
        if let Some(audio) = audio_of(invite) {
            lock(&self.streams).insert(call.clone(), audio);
        }
        if is_new {
            let _ = self.told.send(Told::Called { user, call, at });
        }
        self.send(&answer).await
    }

    async fn on_response(&self, response: &Message) -> Result<()> {
        let call = response.call_id().to_owned();
        if response.method() != "INVITE" || response.code().is_none_or(|code| code < 200) {
            return Ok(());
        }
        let ack = {
            let mut dialogs = lock(&self.dialogs);
            let Some(dialog) = dialogs.get_mut(&call) else { return Ok(()) };
            response.header("To").unwrap_or("").clone_into(&mut dialog.remote);
            if let Some(contact) = response.header("Contact") {
                uri_of(contact).clone_into(&mut dialog.target);
            }
            self.request("ACK", &dialog.target, &call, &dialog.local, &dialog.remote, response.cseq())
        };
        if response.code() == Some(200) {
            if let Some(audio) = audio_of(response) {
                lock(&self.streams).insert(call.clone(), audio);
            }
            return self.send(&ack).await;
        }
        lock(&self.dialogs).remove(&call);
        let _ = self.told.send(Told::Ended { call });
        self.send(&ack).await
    }
}

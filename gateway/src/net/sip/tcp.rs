//! SIP over TCP and TLS: a queue and two loops a connection, and who may have one.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hotline_sip::{Endpoint, Flow, Standing, Transport};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout_at;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tracing::{debug, info, warn};

use super::queue::{Waiting, queue};
use super::tls::HANDSHAKE;
use super::{
    CONN_MAX, Conn, PHONE_CONN_PER_SOURCE_MAX, STRANGER_CONN_MAX, STRANGER_CONN_PER_SOURCE_MAX, Sip,
    TRUNK_CONN_RESERVE, peer_of,
};

/// A connection that says nothing for so long is closed; registered phones send keep-alives.
const IDLE_S: u64 = 4_000;
/// A peer of ours that doesn't accept in this time is down.
const CONNECT_S: u64 = 5;
/// Whoever completes no valid message in this time is cut off, trunks aside; shorter in tests.
const STRANGER_QUIET_MS: u64 = if cfg!(test) { 1_500 } else { 10_000 };
/// A peer that takes no bytes for so long is cut off.
pub(super) const WRITE_S: u64 = 10;
/// Bytes a trunk's peer doesn't acknowledge for so long end the connection (RFC 5482); TCP alone takes minutes.
const UNACKED: Duration = Duration::from_secs(10);
/// A silent connection is probed after this, and so often: three lost probes in [`UNACKED`] end it.
const PROBE_AFTER: Duration = Duration::from_secs(4);
const PROBE_EVERY: Duration = Duration::from_secs(2);
const READ_BUFFER_BYTES: usize = 16 * 1024;

/// Why there is no place for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoPlace {
    #[error("{CONN_MAX} connections are open")]
    Full,
    #[error("strangers have {STRANGER_CONN_MAX} connections, or this one {STRANGER_CONN_PER_SOURCE_MAX}")]
    Strangers,
    #[error("this phone's address has {PHONE_CONN_PER_SOURCE_MAX} connections, or only trunks' places are left")]
    Phones,
}

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// A trunk's, or one we opened.
    Trunk,
    Phone,
    Stranger,
}

impl Conn {
    /// It is a trunk's, or one we opened.
    pub(super) const fn is_trunk(&self) -> bool {
        self.stranger.is_none() && self.phone.is_none()
    }
}

pub(super) async fn accept(sip: Sip, local: SocketAddr, listener: TcpListener, tls: Option<TlsAcceptor>) {
    let transport = if tls.is_some() { Transport::Tls } else { Transport::Tcp };
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = sip.inner.cancel.cancelled() => return,
        };
        match accepted {
            Ok((stream, remote)) => {
                let standing = sip.standing(local, remote.ip());
                if standing == Standing::Nobody {
                    debug!(%remote, "connection of a stranger closed");
                    continue;
                }
                let flow = Flow { transport, local, remote, conn: Some(sip.next_conn()), node: None };
                let whose = match standing {
                    Standing::Served if sip.is_trunk(local, remote.ip()) => Whose::Trunk,
                    Standing::Served => Whose::Phone,
                    Standing::Stranger | Standing::Nobody => Whose::Stranger,
                };
                match register(&sip, flow, whose) {
                    Ok(queue) => {
                        if whose != Whose::Phone {
                            notice_death(&stream);
                        }
                        tokio::spawn(serve_accepted(sip.clone(), stream, flow, queue, tls.clone()));
                    }
                    Err(why) => debug!(%remote, %why, "connection refused"),
                }
            }
            Err(e) => {
                // Out of descriptors: waiting frees some.
                warn!(error = %e, "SIP listener");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve_accepted(sip: Sip, stream: TcpStream, flow: Flow, queue: Waiting, tls: Option<TlsAcceptor>) {
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        let (reader, writer) = stream.into_split();
        return serve(sip, reader, writer, flow, queue).await;
    };
    match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok(stream)) => {
            let (reader, writer) = tokio::io::split(stream);
            serve(sip, reader, writer, flow, queue).await;
        }
        other => {
            let why = other.map_or_else(
                |_| "no handshake in time".to_owned(),
                |r| r.err().map_or_else(String::new, |e| e.to_string()),
            );
            info!(remote = %flow.remote, why, "TLS connection refused");
            closed(&sip, flow);
        }
    }
}

pub(super) fn register(sip: &Sip, flow: Flow, whose: Whose) -> Result<Waiting, NoPlace> {
    let conn = flow.conn.unwrap_or_default();
    let mut conns = sip.conns();
    if conns.by_id.len() >= CONN_MAX {
        return Err(NoPlace::Full);
    }
    let source = Some(flow.remote.ip());
    let phone = source.filter(|_| whose == Whose::Phone);
    if phone.is_some() {
        let of_this_one = conns.by_id.values().filter(|c| c.phone == phone).count();
        if conns.by_id.len() >= CONN_MAX - TRUNK_CONN_RESERVE || of_this_one >= PHONE_CONN_PER_SOURCE_MAX {
            return Err(NoPlace::Phones);
        }
    }
    let stranger = source.filter(|_| whose == Whose::Stranger);
    if stranger.is_some() {
        let of_strangers = || conns.by_id.values().filter_map(|c| c.stranger);
        let of_this_one = of_strangers().filter(|ip| Some(*ip) == stranger).count();
        if of_strangers().count() >= STRANGER_CONN_MAX || of_this_one >= STRANGER_CONN_PER_SOURCE_MAX {
            return Err(NoPlace::Strangers);
        }
    }
    let (queue, rx) = queue();
    conns.by_id.insert(conn, Conn { queue, stranger, phone });
    conns.by_peer.insert(peer_of(flow), conn);
    Ok(rx)
}

/// Queues `bytes` on the flow's connection, or on a new one where there is none.
///
/// Called with the endpoint's lock held: what the endpoint must hear of is told by a task.
pub(super) fn send(sip: &Sip, endpoint: &Endpoint, flow: Flow, bytes: Vec<u8>) {
    let open = {
        let conns = sip.conns();
        let conn = flow.conn.filter(|c| conns.by_id.contains_key(c));
        let conn = conn.or_else(|| conns.by_peer.get(&peer_of(flow)).copied());
        conn.and_then(|id| conns.by_id.get(&id).map(|conn| (id, conn.queue.clone(), conn.is_trunk())))
    };
    if let Some((conn, queue, is_trunk)) = open {
        if queue.send(bytes, is_trunk).is_err() {
            debug!(conn, remote = %flow.remote, "peer reads too slowly: connection closed");
            sip.close_conn(conn);
            let sip = sip.clone();
            let gone = Flow { conn: Some(conn), ..flow };
            tokio::spawn(async move { closed(&sip, gone) });
        }
        return;
    }
    // A browser opens its connections itself.
    if flow.transport.is_web() {
        return fail(sip, flow);
    }
    // Who asked and hung up is not called back, unless it is somebody we serve: else a stranger
    // could make us open connections by the thousand.
    if flow.conn.is_some() && endpoint.standing(Instant::now(), flow.local, flow.remote.ip()) != Standing::Served {
        return fail(sip, flow);
    }
    let conn = sip.next_conn();
    let opened = Flow { conn: Some(conn), ..flow };
    let queue = match register(sip, opened, Whose::Trunk) {
        Ok(queue) => queue,
        Err(why) => {
            warn!(remote = %flow.remote, %why, "no connection: message not sent");
            return fail(sip, flow);
        }
    };
    if let Some(to) = sip.conns().by_id.get(&conn) {
        let _ = to.queue.send(bytes, true);
    }
    tokio::spawn(connect(sip.clone(), flow, opened, queue));
}

/// Tells the endpoint, once it can listen, that a message went nowhere.
pub(super) fn fail(sip: &Sip, flow: Flow) {
    let sip = sip.clone();
    tokio::spawn(async move { sip.with(|core, now| core.endpoint.send_failed(now, flow)) });
}

/// Opens a connection for `asked`, which is `flow` once it stands.
async fn connect(sip: Sip, asked: Flow, flow: Flow, queue: Waiting) {
    let opening = async {
        let stream = tokio::time::timeout(Duration::from_secs(CONNECT_S), open(flow)).await??;
        let _ = stream.set_nodelay(true);
        notice_death(&stream);
        if flow.transport != Transport::Tls {
            return Ok(Opened::Plain(stream));
        }
        let client = sip.inner.tls_peers.find(flow.local, flow.remote);
        let client = client.ok_or_else(|| io::Error::other("no TLS trunk leads there"))?;
        let (config, name) = client.connector();
        let handshake = TlsConnector::from(config).connect(name, stream);
        let stream = tokio::time::timeout(HANDSHAKE, handshake).await??;
        Ok::<_, io::Error>(Opened::Tls(Box::new(stream)))
    };
    match opening.await {
        Ok(Opened::Plain(stream)) => {
            let (reader, writer) = stream.into_split();
            serve(sip, reader, writer, flow, queue).await;
        }
        Ok(Opened::Tls(stream)) => {
            let (reader, writer) = tokio::io::split(*stream);
            serve(sip, reader, writer, flow, queue).await;
        }
        Err(e) => {
            warn!(remote = %flow.remote, transport = flow.transport.via_token(), error = %e, "no connection");
            sip.with(|core, now| core.endpoint.send_failed(now, asked));
            closed(&sip, flow);
        }
    }
}

enum Opened {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

/// From the listener's own address, where it has one: carriers let known addresses in.
async fn open(flow: Flow) -> io::Result<TcpStream> {
    let socket = if flow.remote.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    let local = flow.local.ip();
    if !local.is_unspecified() && local.is_ipv4() == flow.remote.is_ipv4() {
        socket.bind(SocketAddr::new(local, 0))?;
    }
    socket.connect(flow.remote).await
}

/// Lets the system end a connection whose peer is gone without a word. Phones' networks may falter for
/// longer, and a lost connection costs a phone its registration.
fn notice_death(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let probes = TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_EVERY);
    if let Err(e) = socket.set_tcp_keepalive(&probes).and_then(|()| socket.set_tcp_user_timeout(Some(UNACKED))) {
        debug!(error = %e, "a dead peer will be noticed late");
    }
}

/// Tells the endpoint that a connection is gone. Requests of ours that opened it don't carry its number,
/// so they are failed by where they went, unless a newer connection leads there already.
pub(super) fn closed(sip: &Sip, flow: Flow) {
    let conn = flow.conn.unwrap_or_default();
    sip.with(|core, now| {
        sip.close_conn(conn);
        core.endpoint.conn_closed(now, conn);
        if !sip.conns().by_peer.contains_key(&peer_of(flow)) {
            core.endpoint.send_failed(now, Flow { conn: None, ..flow });
        }
    });
}

async fn serve(
    sip: Sip,
    reader: impl AsyncRead + Unpin,
    mut writer: impl AsyncWrite + Unpin,
    flow: Flow,
    mut queue: Waiting,
) {
    let patience = Duration::from_secs(WRITE_S);
    let writing = async move {
        while let Some(bytes) = queue.next().await {
            let written = tokio::time::timeout(patience, async {
                writer.write_all(&bytes).await?;
                writer.flush().await
            });
            if !matches!(written.await, Ok(Ok(()))) {
                break;
            }
        }
        let _ = tokio::time::timeout(patience, writer.shutdown()).await;
    };
    tokio::select! {
        () = writing => {}
        () = read(&sip, flow, reader) => {}
        () = sip.inner.cancel.cancelled() => {}
    }
    closed(&sip, flow);
}

/// Reads until the peer ends, or has been silent for too long: a phone's time runs until its first whole
/// valid message, a stranger's until its next, however many bytes they drip.
async fn read(sip: &Sip, flow: Flow, mut reader: impl AsyncRead + Unpin) {
    let conn = flow.conn.unwrap_or_default();
    let must_speak = sip.conns().by_id.get(&conn).is_some_and(|c| c.stranger.or(c.phone).is_some());
    let quiet = Duration::from_millis(STRANGER_QUIET_MS);
    let mut speak_until = must_speak.then(|| Instant::now() + quiet);
    let mut buffer = vec![0u8; READ_BUFFER_BYTES];
    loop {
        let until = speak_until.unwrap_or_else(|| Instant::now() + Duration::from_secs(IDLE_S));
        let Ok(Ok(len @ 1..)) = timeout_at(until.into(), reader.read(&mut buffer)).await else { return };
        let valid = sip.with(|core, now| core.endpoint.handle_stream(now, flow, &buffer[..len]));
        if speak_until.is_some() && valid > 0 {
            speak_until = (!now_served(sip, flow)).then(|| Instant::now() + quiet);
        }
    }
}

/// Whether a stranger has become somebody we serve; its connection then counts as such.
fn now_served(sip: &Sip, flow: Flow) -> bool {
    let is_served = sip.standing(flow.local, flow.remote.ip()) == Standing::Served;
    if is_served
        && let Some(id) = flow.conn
        && let Some(conn) = sip.conns().by_id.get_mut(&id)
    {
        conn.stranger = None;
    }
    is_served
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_system_watches_a_trunk_s_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        notice_death(&stream);
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(UNACKED));
        assert_eq!(socket.tcp_keepalive_time().unwrap(), PROBE_AFTER);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), PROBE_EVERY);
    }
}

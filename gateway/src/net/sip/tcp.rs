//! SIP over TCP: a queue and two loops a connection, and who may have one.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hotline_sip::{Endpoint, Flow, Standing, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout_at;
use tracing::{debug, warn};

use super::{CONN_MAX, CONN_QUEUE_MAX, Conn, STRANGER_CONN_MAX, STRANGER_CONN_PER_SOURCE_MAX, Sip};

/// A connection that says nothing for so long is closed; registered phones send keep-alives.
const IDLE_S: u64 = 4_000;
/// A peer of ours that doesn't accept in this time is down.
const CONNECT_S: u64 = 5;
/// A stranger that completes no valid message in this time is cut off; shorter in tests.
const STRANGER_QUIET_MS: u64 = if cfg!(test) { 1_500 } else { 10_000 };
/// A peer that takes no bytes for so long is cut off.
const WRITE_S: u64 = 10;
const READ_BUFFER_BYTES: usize = 16 * 1024;

/// Why there is no place for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum NoPlace {
    #[error("{CONN_MAX} connections are open")]
    Full,
    #[error("strangers have {STRANGER_CONN_MAX} connections, or this one {STRANGER_CONN_PER_SOURCE_MAX}")]
    Strangers,
}

pub(super) async fn accept(sip: Sip, local: SocketAddr, listener: TcpListener) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = sip.inner.cancel.cancelled() => return,
        };
        match accepted {
            Ok((stream, remote)) => {
                let standing = sip.standing(local, remote.ip());
                if standing == Standing::Nobody {
                    debug!(%remote, "TCP connection of a stranger closed");
                    continue;
                }
                let conn = sip.next_conn();
                match register(&sip, conn, remote, standing == Standing::Stranger) {
                    Ok(queue) => {
                        let flow = Flow { transport: Transport::Tcp, local, remote, conn: Some(conn) };
                        tokio::spawn(serve(sip.clone(), stream, flow, queue));
                    }
                    Err(why) => debug!(%remote, %why, "TCP connection refused"),
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

fn register(sip: &Sip, conn: u64, remote: SocketAddr, is_stranger: bool) -> Result<mpsc::Receiver<Vec<u8>>, NoPlace> {
    let mut conns = sip.conns();
    if conns.by_id.len() >= CONN_MAX {
        return Err(NoPlace::Full);
    }
    let stranger = is_stranger.then_some(remote.ip());
    if stranger.is_some() {
        let of_strangers = || conns.by_id.values().filter_map(|c| c.stranger);
        let of_this_one = of_strangers().filter(|ip| Some(*ip) == stranger).count();
        if of_strangers().count() >= STRANGER_CONN_MAX || of_this_one >= STRANGER_CONN_PER_SOURCE_MAX {
            return Err(NoPlace::Strangers);
        }
    }
    let (queue, rx) = mpsc::channel(CONN_QUEUE_MAX);
    conns.by_id.insert(conn, Conn { queue, stranger });
    conns.by_remote.insert(remote, conn);
    Ok(rx)
}

/// Queues `bytes` on the flow's connection, or on a new one where there is none.
///
/// Called with the endpoint's lock held: what the endpoint must hear of is told by a task.
pub(super) fn send(sip: &Sip, endpoint: &Endpoint, flow: Flow, bytes: Vec<u8>) {
    let open = {
        let conns = sip.conns();
        let conn = flow.conn.filter(|c| conns.by_id.contains_key(c));
        let conn = conn.or_else(|| conns.by_remote.get(&flow.remote).copied());
        conn.and_then(|conn| Some((conn, conns.by_id.get(&conn)?.queue.clone())))
    };
    if let Some((conn, queue)) = open {
        if queue.try_send(bytes).is_err() {
            debug!(conn, remote = %flow.remote, "peer reads too slowly: connection closed");
            sip.close_conn(conn);
            let sip = sip.clone();
            tokio::spawn(async move { closed(&sip, conn) });
        }
        return;
    }
    // Who asked and hung up is not called back, unless it is somebody we serve: else a stranger
    // could make us open connections by the thousand.
    if flow.conn.is_some() && endpoint.standing(Instant::now(), flow.local, flow.remote.ip()) != Standing::Served {
        return fail(sip, flow);
    }
    let conn = sip.next_conn();
    let queue = match register(sip, conn, flow.remote, false) {
        Ok(queue) => queue,
        Err(why) => {
            warn!(remote = %flow.remote, %why, "SIP over TCP: message not sent");
            return fail(sip, flow);
        }
    };
    if let Some(to) = sip.conns().by_id.get(&conn) {
        let _ = to.queue.try_send(bytes);
    }
    tokio::spawn(connect(sip.clone(), flow, conn, queue));
}

/// Tells the endpoint, once it can listen, that a message went nowhere.
fn fail(sip: &Sip, flow: Flow) {
    let sip = sip.clone();
    tokio::spawn(async move { sip.with(|core, now| core.endpoint.send_failed(now, flow)) });
}

async fn connect(sip: Sip, flow: Flow, conn: u64, queue: mpsc::Receiver<Vec<u8>>) {
    let connecting = tokio::time::timeout(Duration::from_secs(CONNECT_S), TcpStream::connect(flow.remote));
    match connecting.await {
        Ok(Ok(stream)) => serve(sip, stream, Flow { conn: Some(conn), ..flow }, queue).await,
        other => {
            debug!(remote = %flow.remote, ?other, "SIP over TCP: no connection");
            sip.with(|core, now| core.endpoint.send_failed(now, flow));
            closed(&sip, conn);
        }
    }
}

fn closed(sip: &Sip, conn: u64) {
    sip.close_conn(conn);
    sip.with(|core, now| core.endpoint.conn_closed(now, conn));
}

async fn serve(sip: Sip, stream: TcpStream, flow: Flow, mut queue: mpsc::Receiver<Vec<u8>>) {
    let Some(conn) = flow.conn else { return };
    let _ = stream.set_nodelay(true);
    let (reader, mut writer) = stream.into_split();
    let writing = async move {
        while let Some(bytes) = queue.recv().await {
            let written = tokio::time::timeout(Duration::from_secs(WRITE_S), writer.write_all(&bytes)).await;
            if !matches!(written, Ok(Ok(()))) {
                break;
            }
        }
        let _ = writer.shutdown().await;
    };
    tokio::select! {
        () = writing => {}
        () = read(&sip, flow, reader) => {}
        () = sip.inner.cancel.cancelled() => {}
    }
    closed(&sip, conn);
}

/// Reads until the peer ends, or has been silent for too long: a stranger's time runs until its next
/// whole valid message, however many bytes it drips.
async fn read(sip: &Sip, flow: Flow, mut reader: OwnedReadHalf) {
    let conn = flow.conn.unwrap_or_default();
    let is_stranger = sip.conns().by_id.get(&conn).is_some_and(|c| c.stranger.is_some());
    let quiet = Duration::from_millis(STRANGER_QUIET_MS);
    let mut stranger_until = is_stranger.then(|| Instant::now() + quiet);
    let mut buffer = vec![0u8; READ_BUFFER_BYTES];
    loop {
        let until = stranger_until.unwrap_or_else(|| Instant::now() + Duration::from_secs(IDLE_S));
        let Ok(Ok(len @ 1..)) = timeout_at(until.into(), reader.read(&mut buffer)).await else { return };
        let valid = sip.with(|core, now| core.endpoint.handle_stream(now, flow, &buffer[..len]));
        if stranger_until.is_some() && valid > 0 {
            stranger_until = (!now_served(sip, flow)).then(|| Instant::now() + quiet);
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

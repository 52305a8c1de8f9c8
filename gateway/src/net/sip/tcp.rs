use std::net::SocketAddr;
use std::time::Duration;

use hotline_sip::{Flow, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::{CONN_MAX, CONN_QUEUE_MAX, Sip};

/// A connection that says nothing for so long is closed; registered phones send keep-alives.
const IDLE_S: u64 = 4_000;
/// A peer of ours that doesn't accept in this time is down.
const CONNECT_S: u64 = 5;
const READ_BUFFER_BYTES: usize = 16 * 1024;

pub(super) async fn accept(sip: Sip, local: SocketAddr, listener: TcpListener) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = sip.inner.cancel.cancelled() => return,
        };
        match accepted {
            Ok((stream, remote)) => {
                let conn = sip.next_conn();
                match register(&sip, conn, remote) {
                    Some(queue) => drop(tokio::spawn(serve(
                        sip.clone(),
                        stream,
                        Flow { transport: Transport::Tcp, local, remote, conn: Some(conn) },
                        queue,
                    ))),
                    None => debug!(%remote, "TCP connection refused: {CONN_MAX} are open"),
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

fn register(sip: &Sip, conn: u64, remote: SocketAddr) -> Option<mpsc::Receiver<Vec<u8>>> {
    let mut conns = sip.conns();
    if conns.by_id.len() >= CONN_MAX {
        return None;
    }
    let (tx, rx) = mpsc::channel(CONN_QUEUE_MAX);
    conns.by_id.insert(conn, tx);
    conns.by_remote.insert(remote, conn);
    Some(rx)
}

/// Queues `bytes` on the flow's connection, or on a new one where there is none.
pub(super) fn send(sip: &Sip, flow: Flow, bytes: Vec<u8>) {
    let conn = {
        let conns = sip.conns();
        flow.conn.filter(|c| conns.by_id.contains_key(c)).or_else(|| conns.by_remote.get(&flow.remote).copied())
    };
    if let Some(conn) = conn {
        let to = sip.conns().by_id.get(&conn).cloned();
        if to.is_some_and(|to| to.try_send(bytes).is_err()) {
            debug!(conn, remote = %flow.remote, "peer reads too slowly: connection closed");
            sip.close_conn(conn);
        }
        return;
    }
    let conn = sip.next_conn();
    let Some(queue) = register(sip, conn, flow.remote) else { return };
    if let Some(to) = sip.conns().by_id.get(&conn) {
        let _ = to.try_send(bytes);
    }
    let sip = sip.clone();
    tokio::spawn(async move {
        let connecting = tokio::time::timeout(Duration::from_secs(CONNECT_S), TcpStream::connect(flow.remote));
        match connecting.await {
            Ok(Ok(stream)) => serve(sip, stream, Flow { conn: Some(conn), ..flow }, queue).await,
            other => {
                debug!(remote = %flow.remote, ?other, "SIP over TCP: no connection");
                sip.with(|core, now| core.endpoint.send_failed(now, flow));
                closed(&sip, conn);
            }
        }
    });
}

fn closed(sip: &Sip, conn: u64) {
    sip.close_conn(conn);
    sip.with(|core, now| core.endpoint.conn_closed(now, conn));
}

async fn serve(sip: Sip, stream: TcpStream, flow: Flow, mut queue: mpsc::Receiver<Vec<u8>>) {
    let Some(conn) = flow.conn else { return };
    let _ = stream.set_nodelay(true);
    let (mut reader, mut writer) = stream.into_split();
    let writing = async move {
        while let Some(bytes) = queue.recv().await {
            if writer.write_all(&bytes).await.is_err() {
                break;
            }
        }
        let _ = writer.shutdown().await;
    };
    let reading = async {
        let mut buffer = vec![0u8; READ_BUFFER_BYTES];
        loop {
            match tokio::time::timeout(Duration::from_secs(IDLE_S), reader.read(&mut buffer)).await {
                Ok(Ok(len)) if len > 0 => sip.with(|core, now| core.endpoint.handle_stream(now, flow, &buffer[..len])),
                _ => break,
            }
        }
    };
    tokio::select! {
        () = writing => {}
        () = reading => {}
        () = sip.inner.cancel.cancelled() => {}
    }
    closed(&sip, conn);
}

//! SIP over WebSocket (RFC 7118): the console's port hands over connections it has let in. A frame is a
//! message; beyond that a connection is a phone's on TCP, with the same places and the same queue.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use hotline_sip::{Flow, Transport};
use tracing::debug;

use super::Sip;
use super::queue::Waiting;
use super::tcp::{WRITE_S, Whose, closed, register};

/// Longest message taken; a longer one ends the connection. Browsers' session descriptions have some 3 KiB.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// A browser is pinged so often: proxies drop what is silent for a minute …
const PING_EVERY: Duration = Duration::from_millis(if cfg!(test) { 300 } else { 20_000 });
/// … and one that answers none for so long is gone.
pub(super) const SILENT_FOR: Duration = Duration::from_millis(if cfg!(test) { 1_000 } else { 50_000 });
/// The keep-alive of RFC 5626 §3.5.1, should a phone send it here too, and its answer.
const PING: &[u8] = b"\r\n\r\n";
const PONG: &[u8] = b"\r\n";

/// A WebSocket the console has let in.
#[derive(Clone, Copy, Debug)]
pub struct WebPeer {
    /// The console's listener, one of `hotline_sip::Config::web_listeners`.
    pub local: SocketAddr,
    /// The browser.
    pub remote: SocketAddr,
    /// It came through HTTPS.
    pub is_secure: bool,
}

impl Sip {
    /// Serves a phone's WebSocket until it ends.
    pub async fn serve_web(self, mut socket: WebSocket, peer: WebPeer) {
        let transport = if peer.is_secure { Transport::Wss } else { Transport::Ws };
        let flow = Flow { transport, local: peer.local, remote: peer.remote, conn: Some(self.next_conn()), node: None };
        match register(&self, flow, Whose::Phone) {
            Ok(queue) => {
                self.carry(&mut socket, flow, queue).await;
                closed(&self, flow);
            }
            Err(why) => {
                debug!(remote = %peer.remote, %why, "WebSocket refused");
                let frame = CloseFrame { code: close_code::AGAIN, reason: "busy".into() };
                let _ = send(&mut socket, Message::Close(Some(frame))).await;
            }
        }
    }

    async fn carry(&self, socket: &mut WebSocket, flow: Flow, mut queue: Waiting) {
        let mut heard_at = Instant::now();
        let mut ping_at = heard_at + PING_EVERY;
        loop {
            let sent = tokio::select! {
                received = socket.recv() => {
                    let Some(Ok(message)) = received else { return };
                    heard_at = Instant::now();
                    match self.take(flow, &message) {
                        Taken::Nothing => true,
                        Taken::KeepAlive => send(socket, text(PONG.to_vec())).await,
                        Taken::Close => return,
                    }
                }
                bytes = queue.next() => {
                    let Some(bytes) = bytes else { return };
                    send(socket, text(bytes)).await
                }
                () = tokio::time::sleep_until(ping_at.into()) => {
                    if heard_at.elapsed() >= SILENT_FOR {
                        debug!(remote = %flow.remote, "browser is silent: WebSocket closed");
                        return;
                    }
                    ping_at = Instant::now() + PING_EVERY;
                    send(socket, Message::Ping(Vec::new().into())).await
                }
                () = self.inner.cancel.cancelled() => {
                    let frame = CloseFrame { code: close_code::AWAY, reason: "".into() };
                    send(socket, Message::Close(Some(frame))).await;
                    return;
                }
            };
            if !sent {
                return;
            }
        }
    }

    fn take(&self, flow: Flow, message: &Message) -> Taken {
        let bytes: &[u8] = match message {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
            // The library answers pings by itself.
            Message::Ping(_) | Message::Pong(_) => return Taken::Nothing,
            Message::Close(_) => return Taken::Close,
        };
        if bytes == PING {
            return Taken::KeepAlive;
        }
        self.with(|core, now| core.endpoint.handle_datagram(now, flow, bytes));
        Taken::Nothing
    }
}

/// What is left to do about a frame.
enum Taken {
    Nothing,
    KeepAlive,
    Close,
}

/// Text, as browsers' libraries want it, unless a header has bytes of another encoding.
fn text(bytes: Vec<u8>) -> Message {
    match String::from_utf8(bytes) {
        Ok(text) => Message::Text(text.into()),
        Err(other) => Message::Binary(other.into_bytes().into()),
    }
}

/// False: the browser takes nothing.
async fn send(socket: &mut WebSocket, message: Message) -> bool {
    let patience = Duration::from_secs(WRITE_S);
    matches!(tokio::time::timeout(patience, socket.send(message)).await, Ok(Ok(())))
}

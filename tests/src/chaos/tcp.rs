//! A TCP proxy that misbehaves on request: before a database or a case core.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::net::GATEWAY_IP;
use crate::{Error, Result};

/// What the proxy does. A change acts on open connections too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpMode {
    /// Passes everything.
    Pass,
    /// Closes open connections and every new one at once.
    Refuse,
    /// Keeps connections open and passes nothing: a cable that was pulled.
    Blackhole,
    /// Passes every piece of data so many milliseconds late.
    Delay {
        /// Milliseconds.
        ms: u64,
    },
    /// Passes requests, never an answer: the outcome stays unknown.
    LoseAnswers,
    /// Cuts a connection after so many bytes of the answer.
    CutAnswerAfter {
        /// Bytes.
        bytes: usize,
    },
    /// Sends every piece of the answer twice.
    RepeatAnswers,
}

/// A proxy in front of one address; dropping it closes everything.
#[derive(Debug)]
pub struct TcpProxy {
    local: SocketAddr,
    mode: watch::Sender<TcpMode>,
    accepting: AbortHandle,
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.mode.send_replace(TcpMode::Refuse);
    }
}

impl TcpProxy {
    /// Starts in [`TcpMode::Pass`] on a free port.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn start(upstream: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(SocketAddr::new(GATEWAY_IP, 0)).await;
        let listener = listener.map_err(Error::io("TCP proxy"))?;
        let local = listener.local_addr().map_err(Error::io("TCP proxy"))?;
        let mode = watch::Sender::new(TcpMode::Pass);
        let modes = Arc::new(mode.subscribe());
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let modes = modes.as_ref().clone();
                tokio::spawn(connection(client, upstream, modes));
            }
        });
        Ok(Self { local, mode, accepting: accepting.abort_handle() })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.local
    }

    /// Changes what it does.
    pub fn set(&self, mode: TcpMode) {
        self.mode.send_replace(mode);
    }
}

async fn connection(client: TcpStream, upstream: SocketAddr, modes: watch::Receiver<TcpMode>) {
    if *modes.borrow() == TcpMode::Refuse {
        return;
    }
    let Ok(server) = TcpStream::connect(upstream).await else {
        return;
    };
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    let mut refused = modes.clone();
    // Either direction's end ends the connection; halves are enough for no test.
    tokio::select! {
        () = pump(client_read, server_write, modes.clone(), false) => {}
        () = pump(server_read, client_write, modes, true) => {}
        _ = refused.wait_for(|mode| *mode == TcpMode::Refuse) => {}
    }
}

async fn pump(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut modes: watch::Receiver<TcpMode>,
    is_answer: bool,
) {
    let mut buffer = vec![0_u8; 16_384];
    let mut passed = 0_usize;
    loop {
        let length = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(length) => length,
        };
        if modes.wait_for(|mode| *mode != TcpMode::Blackhole).await.is_err() {
            return;
        }
        let mode = *modes.borrow();
        let mut piece = buffer[..length].to_vec();
        match mode {
            TcpMode::Delay { ms } => tokio::time::sleep(Duration::from_millis(ms)).await,
            TcpMode::LoseAnswers if is_answer => continue,
            TcpMode::RepeatAnswers if is_answer => piece.extend_from_slice(&buffer[..length]),
            TcpMode::CutAnswerAfter { bytes } if is_answer => {
                piece.truncate(bytes.saturating_sub(passed));
            }
            _ => {}
        }
        passed += piece.len();
        if to.write_all(&piece).await.is_err() {
            return;
        }
        if is_answer && matches!(mode, TcpMode::CutAnswerAfter { bytes } if passed >= bytes) {
            return;
        }
    }
}

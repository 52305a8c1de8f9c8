//! Messages on their way to a Homer or heplify collector: UDP, never waited for.

use std::sync::Arc;
use std::time::Duration;

use prometheus::IntCounter;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::hep::{Sender, encode};
use super::limits::HEP_QUEUE_MAX;
use super::message::Traced;
use super::{Trace, View, show};
use crate::clock::now_us;

/// A message waits so long, so that its call is known by then: it becomes the correlation id.
const DELAY_US: i64 = 500_000;
/// A collector's name that can't be resolved is tried again after so long.
const RESOLVE_AGAIN: Duration = Duration::from_secs(30);

/// Where to, and how.
#[derive(Clone, Debug)]
pub struct CollectorSettings {
    /// `host:port`.
    pub address: String,
    /// Who we are.
    pub sender: Sender,
    /// Numbers and names masked, or the bytes as they are.
    pub is_masked: bool,
}

/// The way to the collector.
#[derive(Clone)]
pub struct Collector {
    queue: mpsc::Sender<(Traced, Box<[u8]>)>,
    dropped: IntCounter,
}

impl Collector {
    /// Starts the sending task; `dropped` counts what a full queue or socket lost.
    #[must_use]
    pub fn start(
        settings: CollectorSettings,
        trace: Arc<Trace>,
        dropped: IntCounter,
        cancel: CancellationToken,
    ) -> Self {
        let (queue, waiting) = mpsc::channel(HEP_QUEUE_MAX);
        let lost = dropped.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = run(settings, &trace, waiting, &lost) => {}
                () = cancel.cancelled() => {}
            }
        });
        Self { queue, dropped }
    }

    /// Takes a message unless the queue is full.
    pub fn offer(&self, message: Traced, call_id: &[u8]) {
        if self.queue.try_send((message, call_id.into())).is_err() {
            self.dropped.inc();
        }
    }
}

async fn run(
    settings: CollectorSettings,
    trace: &Trace,
    mut waiting: mpsc::Receiver<(Traced, Box<[u8]>)>,
    dropped: &IntCounter,
) {
    let socket = loop {
        match connect(&settings.address).await {
            Ok(socket) => break socket,
            Err(e) => {
                warn!(collector = settings.address, error = %e, "HEP: 采集器地址不可用 / no way to the collector")
            }
        }
        tokio::time::sleep(RESOLVE_AGAIN).await;
    };
    info!(collector = settings.address, masked = settings.is_masked, "HEP: SIP messages go to the collector");
    while let Some((message, call_id)) = waiting.recv().await {
        let early = message.at_us + DELAY_US - now_us();
        if early > 0 {
            tokio::time::sleep(Duration::from_micros(early.unsigned_abs())).await;
        }
        let correlation = match trace.call_of(&call_id) {
            Some(call) => call.to_string(),
            None => String::from_utf8_lossy(&call_id).into_owned(),
        };
        let packet = if settings.is_masked {
            encode(&settings.sender, &message, show(&message.bytes, View::Masked).as_bytes(), &correlation)
        } else {
            encode(&settings.sender, &message, &message.bytes, &correlation)
        };
        // A collector that is away must cost nothing: refused and full are the same to us.
        if packet.is_none_or(|packet| socket.try_send(&packet).is_err()) {
            dropped.inc();
        }
    }
}

async fn connect(address: &str) -> std::io::Result<UdpSocket> {
    let Some(remote) = tokio::net::lookup_host(address).await?.next() else {
        return Err(std::io::Error::other("the name has no address"));
    };
    let any = if remote.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(remote).await?;
    socket.writable().await?;
    Ok(socket)
}

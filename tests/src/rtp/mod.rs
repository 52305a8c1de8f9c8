//! A media stream as a telephone has it: sends 20 ms of G.711 every 20 ms and
//! keeps all it hears with the time of arrival.

pub mod g711;

mod heard;
mod send;

pub use heard::{Digit, Heard, Packet};
pub use send::{Faults, Source};

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;

use crate::impair::{MediaRelay, Network};
use crate::net::{bind_udp, free_ports};
use crate::{Error, Result, tone, until};

/// Packet interval, milliseconds.
pub const PTIME_MS: u64 = 20;
/// Samples in one packet.
pub const PACKET_SAMPLES: usize = 160;

/// One RTP stream in both directions on an even UDP port, its RTCP on the next.
/// Cloning gives another handle; the last one dropped closes the sockets.
#[derive(Clone, Debug)]
pub struct RtpStream(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    local: SocketAddr,
    sender: Mutex<send::Sender>,
    heard: Mutex<Heard>,
    tasks: Mutex<Vec<AbortHandle>>,
    network: OnceLock<MediaRelay>,
    described: Mutex<Option<SocketAddr>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        for task in lock(&self.tasks).drain(..) {
            task.abort();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl RtpStream {
    /// Opens the two sockets and starts to listen. Nothing is sent before
    /// [`RtpStream::set_remote`]. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Missing`] when no pair of ports is free.
    pub fn open(ip: IpAddr) -> Result<Self> {
        let port = free_ports(ip, 2)?;
        let local = SocketAddr::new(ip, port);
        let (rtp, rtp_out) = bind_udp(local)?;
        let (rtcp, _) = bind_udp(SocketAddr::new(ip, port + 1))?;
        let inner = Arc::new(Inner {
            local,
            sender: Mutex::new(send::Sender::new()),
            heard: Mutex::new(Heard::new(Instant::now())),
            tasks: Mutex::default(),
            network: OnceLock::new(),
            described: Mutex::default(),
        });
        let weak = || Arc::downgrade(&inner);
        let tasks = [
            tokio::spawn(send_loop(weak(), rtp_out)).abort_handle(),
            tokio::spawn(receive_loop(weak(), rtp)).abort_handle(),
            tokio::spawn(rtcp_loop(weak(), rtcp)).abort_handle(),
        ];
        lock(&inner.tasks).extend(tasks);
        Ok(Self(inner))
    }

    /// The same behind a bad network: what others see is the network's far end.
    ///
    /// # Errors
    /// As [`RtpStream::open`].
    pub fn open_through(ip: IpAddr, network: Network) -> Result<Self> {
        let stream = Self::open(ip)?;
        let relay = MediaRelay::start(stream.0.local, network)?;
        // Nobody else has the stream yet.
        let _ = stream.0.network.set(relay);
        Ok(stream)
    }

    /// The bad network it is behind, if any.
    #[must_use]
    pub fn network(&self) -> Option<&MediaRelay> {
        self.0.network.get()
    }

    /// The address for the session description.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        let described = *lock(&self.0.described);
        described.unwrap_or_else(|| self.network().map_or(self.0.local, MediaRelay::outer))
    }

    /// Where to send; `None` stops sending.
    pub fn set_remote(&self, remote: Option<SocketAddr>) {
        let next = match self.network() {
            Some(relay) => {
                relay.set_gateway(remote);
                remote.map(|_| relay.inner())
            }
            None => remote,
        };
        lock(&self.0.sender).remote = next;
    }

    /// Payload types agreed on: audio (8 or 0) and telephone-event.
    pub fn set_payload_types(&self, audio: u8, dtmf: Option<u8>) {
        let mut sender = lock(&self.0.sender);
        (sender.audio_pt, sender.dtmf_pt) = (audio, dtmf);
        lock(&self.0.heard).dtmf_pt = dtmf;
    }

    /// What to send from now on.
    pub fn play(&self, source: Source) {
        lock(&self.0.sender).play(source);
    }

    /// True when a [`Source::Pcm`] that doesn't repeat has been sent to its end.
    #[must_use]
    pub fn has_played(&self) -> bool {
        lock(&self.0.sender).has_played()
    }

    /// When the first packet of what plays was due; `None` before that.
    #[must_use]
    pub fn playing_since(&self) -> Option<Instant> {
        lock(&self.0.sender).began
    }

    /// SSRC, sequence number and timestamp of the next packet.
    #[must_use]
    pub fn next_stamp(&self) -> (u32, u16, u32) {
        lock(&self.0.sender).next_stamp()
    }

    /// Says `local` is the stream's address in session descriptions from now on: a lie.
    pub fn describe_as(&self, local: SocketAddr) {
        *lock(&self.0.described) = Some(local);
    }

    /// Loss, duplicates and reordering on the way out, by a seed.
    pub fn set_faults(&self, faults: Faults) {
        lock(&self.0.sender).set_faults(faults);
    }

    /// Moves the outgoing RTP timestamp, as a broken sender does.
    pub fn jump_timestamp(&self, samples: u32) {
        lock(&self.0.sender).jump_timestamp(samples);
    }

    /// Queues digits (`0-9*#A-D`) as RFC 4733 events of `duration_ms` each, with
    /// 60 ms between them; audio pauses meanwhile.
    ///
    /// # Errors
    /// [`Error::Audio`] on a character that is no digit, when the peer didn't offer
    /// telephone-event, or beyond 64 queued digits.
    pub fn send_digits(&self, digits: &str, duration_ms: u64) -> Result<()> {
        lock(&self.0.sender).queue_digits(digits, duration_ms)
    }

    /// A copy of all that was heard so far.
    #[must_use]
    pub fn heard(&self) -> Heard {
        lock(&self.0.heard).clone()
    }

    /// Forgets what was heard.
    pub fn clear_heard(&self) {
        let mut heard = lock(&self.0.heard);
        let dtmf_pt = heard.dtmf_pt;
        *heard = Heard::new(Instant::now());
        heard.dtmf_pt = dtmf_pt;
    }

    /// Packets sent so far.
    #[must_use]
    pub fn packets_sent(&self) -> u64 {
        lock(&self.0.sender).packets_sent
    }

    /// RTCP packets received so far.
    #[must_use]
    pub fn rtcp_received(&self) -> u64 {
        lock(&self.0.heard).rtcp_packets
    }

    /// Waits until the last `ms` of audio heard carry the tone `hz`: at least seven tenths of them, in windows of
    /// 40 ms, since a phone with a timer of its own skips samples where it runs late.
    ///
    /// # Errors
    /// [`Error::Timeout`] that says what was heard instead.
    pub async fn wait_for_tone(&self, hz: f64, ms: u64, timeout_ms: u64) -> Result<()> {
        let look = || async {
            let pcm = lock(&self.0.heard).last_ms(ms);
            let enough = pcm.len() as u64 * 1_000 >= ms * u64::from(tone::RATE_HZ);
            (enough && tone::tone_ms(&pcm, tone::RATE_HZ, hz) * 10 >= ms * 7).then_some(())
        };
        let found = until("tone", timeout_ms, look).await;
        found.map_err(|_| {
            let heard = self.heard();
            let dominant = tone::dominant_hz(&heard.last_ms(ms), tone::RATE_HZ);
            let packets = heard.packets.len();
            let what = format!("{hz} Hz on {} ({packets} packets, {dominant:?})", self.0.local);
            Error::Timeout { what, after_ms: timeout_ms }
        })
    }

    /// Waits until at least `count` digits were received and returns all of them.
    ///
    /// # Errors
    /// [`Error::Timeout`].
    pub async fn wait_for_digits(&self, count: usize, timeout_ms: u64) -> Result<String> {
        let look = || async {
            let digits = lock(&self.0.heard).digits_text();
            (digits.len() >= count).then_some(digits)
        };
        until(&format!("{count} digits on {}", self.0.local), timeout_ms, look).await
    }

    /// Waits until nothing has arrived for `quiet_ms`.
    ///
    /// # Errors
    /// [`Error::Timeout`].
    pub async fn wait_for_silence(&self, quiet_ms: u64, timeout_ms: u64) -> Result<()> {
        let quiet = Duration::from_millis(quiet_ms);
        let look = || async {
            let last = lock(&self.0.heard).last_at();
            last.is_none_or(|at| at.elapsed() >= quiet).then_some(())
        };
        until(&format!("no packets on {}", self.0.local), timeout_ms, look).await
    }
}

async fn send_loop(inner: Weak<Inner>, socket: std::net::UdpSocket) {
    let mut ticks = tokio::time::interval(Duration::from_millis(PTIME_MS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    loop {
        let due = ticks.tick().await.into_std();
        let Some(inner) = inner.upgrade() else { return };
        let (remote, packets) = lock(&inner.sender).tick(due);
        let Some(remote) = remote else { continue };
        for packet in packets {
            // A full socket or an unreachable peer is packet loss, as on a network.
            let _ = socket.send_to(&packet, remote);
        }
    }
}

async fn receive_loop(inner: Weak<Inner>, socket: UdpSocket) {
    let mut buffer = [0_u8; 2_048];
    loop {
        // An ICMP error of an earlier datagram shows up here; the stream goes on.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        let Some(inner) = inner.upgrade() else { return };
        lock(&inner.heard).packet(Instant::now(), from, &buffer[..length]);
    }
}

async fn rtcp_loop(inner: Weak<Inner>, socket: UdpSocket) {
    let mut buffer = [0_u8; 2_048];
    loop {
        if socket.recv_from(&mut buffer).await.is_err() {
            continue;
        }
        let Some(inner) = inner.upgrade() else { return };
        lock(&inner.heard).rtcp_packets += 1;
    }
}

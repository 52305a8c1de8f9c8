//! The handle the call logic holds: every method only queues a command and returns.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hotline_media::{
    Clip, LegId, LegParams, RecordingId,
    engine::{Command, MixRow, RecordSpec},
    rtc::Fingerprint,
};
use tokio::sync::mpsc;

use super::{
    MediaConfig, MediaEvent, MediaStats, dtls::Identity, mailbox::Order, ports::Ports, stats::Shared, threads::Threads,
};

/// Why a leg could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// `legs_max` legs are open.
    #[error("all {0} media legs are in use")]
    TooManyLegs(usize),
    /// No port pair of the range is free and rested.
    #[error("no free RTP port in {0}-{1}")]
    PortsExhausted(u16, u16),
    /// The operating system refused the socket.
    #[error("RTP socket: {0}")]
    Socket(#[from] io::Error),
    /// The media threads have stopped or can't keep up.
    #[error("media thread is not taking commands")]
    Unavailable,
}

/// A leg that was just opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegInfo {
    /// Its name in every later call and event.
    pub id: LegId,
    /// Advertised address and RTP port, for the SDP; RTCP is on the next port.
    pub local: SocketAddr,
}

/// Handle to the media threads. Cheap to clone; the threads end with [`Media::shutdown`] or when
/// the last handle is dropped.
#[derive(Clone)]
pub struct Media {
    inner: Arc<Inner>,
}

struct Inner {
    cfg: MediaConfig,
    ports: Arc<Ports>,
    threads: Threads,
    shared: Arc<Shared>,
    next_leg: AtomicU64,
    identity: Arc<Identity>,
}

impl Media {
    /// Starts a media thread, the writer and the sync thread. Events go to `events`; when that channel
    /// is full they wait in a bounded backlog and are retried.
    ///
    /// # Errors
    /// The recordings folder, epoll or a thread can't be created, or the port range is empty.
    pub fn start(cfg: MediaConfig, events: mpsc::Sender<MediaEvent>) -> io::Result<Media> {
        std::fs::create_dir_all(&cfg.recordings_dir)?;
        let ports = Arc::new(Ports::new(cfg.port_min, cfg.port_max)?);
        let shared = Arc::new(Shared::new(cfg.threads.max(1)));
        let identity = Arc::new(Identity::generate().map_err(io::Error::other)?);
        let threads = Threads::start(&cfg, &shared, &ports, &identity, events)?;
        let next_leg = AtomicU64::new(1);
        Ok(Media { inner: Arc::new(Inner { cfg, ports, threads, shared, next_leg, identity }) })
    }

    /// Of the certificate shown to browsers, for the SDP.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.inner.identity.fingerprint
    }

    /// Binds an RTP/RTCP port pair in the caller's thread and hands it to the media thread with the
    /// least to do, which is a new one when all are busy and the configuration allows it.
    ///
    /// # Errors
    /// See [`MediaError`].
    pub fn open_leg(&self) -> Result<LegInfo, MediaError> {
        self.open_on(self.inner.threads.choose())
    }

    /// Like [`Media::open_leg`], on the thread of `other`: legs that will be bridged live together.
    ///
    /// # Errors
    /// See [`MediaError`].
    pub fn open_leg_beside(&self, other: LegId) -> Result<LegInfo, MediaError> {
        self.open_on(self.thread_of(other))
    }

    fn open_on(&self, thread: usize) -> Result<LegInfo, MediaError> {
        let inner = &self.inner;
        if !inner.shared.admit_leg(inner.cfg.legs_max) {
            return Err(MediaError::TooManyLegs(inner.cfg.legs_max));
        }
        let opened = self.bind_and_post(thread);
        if opened.is_err() {
            inner.shared.release_leg();
        }
        opened
    }

    fn bind_and_post(&self, thread: usize) -> Result<LegInfo, MediaError> {
        let inner = &self.inner;
        let pair = inner.ports.bind(inner.cfg.bind)?;
        // The thread is part of the id, so no table is needed to find it again.
        let serial = inner.next_leg.fetch_add(1, Ordering::Relaxed);
        let count = inner.threads.most() as u64;
        let id = LegId(serial * count + thread as u64);
        let (port, stale) = (pair.port, pair.stale);
        if !inner.threads.post(thread, Order::Open { leg: id, pair }) {
            inner.ports.give_back(port, stale);
            return Err(MediaError::Unavailable);
        }
        Ok(LegInfo { id, local: SocketAddr::new(inner.cfg.advertise, port) })
    }

    /// Whether two legs can be bridged: they live on one thread.
    #[must_use]
    pub fn are_beside(&self, a: LegId, b: LegId) -> bool {
        self.thread_of(a) == self.thread_of(b)
    }

    fn thread_of(&self, leg: LegId) -> usize {
        usize::try_from(leg.0 % self.inner.threads.most() as u64).unwrap_or(0)
    }

    fn command(&self, leg: LegId, command: Command) {
        if !self.inner.threads.post(self.thread_of(leg), Order::Command(command)) {
            self.inner.shared.count_refused_command();
            tracing::error!(%leg, "media thread refuses commands: queue full or thread ended");
        }
    }

    /// Sets what offer/answer agreed on; also after each re-INVITE. A changed remote address makes
    /// the leg learn its peer anew.
    pub fn configure(&self, leg: LegId, params: LegParams) {
        self.command(leg, Command::Configure { leg, params });
    }

    /// Plays clips one after the other, replacing what plays; `repeat` starts over for ever.
    /// [`MediaEvent::PlayDone`] comes when the last clip ended by itself, never after a
    /// replacement or [`Media::stop_play`]. Bridged audio is not sent to the leg meanwhile.
    pub fn play(&self, leg: LegId, play_id: u64, clips: Vec<Arc<Clip>>, repeat: bool) {
        self.command(leg, Command::Play { leg, play_id, clips, repeat });
    }

    /// Stops what plays; no event follows.
    pub fn stop_play(&self, leg: LegId) {
        self.command(leg, Command::StopPlay { leg });
    }

    /// Sends each leg's audio and digits to the other; former bridges of both end.
    pub fn bridge(&self, a: LegId, b: LegId) {
        if self.thread_of(a) == self.thread_of(b) {
            self.command(a, Command::Bridge { a, b });
        } else {
            self.inner.shared.count_refused_command();
            tracing::error!(%a, %b, "legs of different media threads can't be bridged: open one beside the other");
        }
    }

    /// Connects legs as the rows say, instead of whatever they were connected to: each hears the sum of
    /// the legs it names, at most eight legs in all, every one with a row, all opened beside each other.
    /// What can be passed on packet by packet is: so nobody hears that a further leg listens.
    /// [`MediaEvent::MixRefused`] comes for rows that are no mix; then nothing changes. Audio and digits
    /// of a leg that plays a prompt pause as in a bridge.
    pub fn mix(&self, rows: Vec<MixRow>) {
        let Some(first) = rows.first().map(|row| row.leg) else {
            return;
        };
        let is_here = |leg: &LegId| self.thread_of(*leg) == self.thread_of(first);
        if rows.iter().all(|row| is_here(&row.leg) && row.hears.iter().all(is_here)) {
            self.command(first, Command::Mix { rows });
        } else {
            self.inner.shared.count_refused_command();
            tracing::error!(%first, "legs of different media threads can't be mixed: open one beside the other");
        }
    }

    /// Disconnects this leg from all others; they stay connected with each other.
    pub fn unbridge(&self, leg: LegId) {
        self.command(leg, Command::Unbridge { leg });
    }

    /// Records the leg: left channel what the peer sent, right channel what was sent to it.
    /// `path` is the final name, below `recordings_dir` if relative; `.part` is appended while
    /// open. Ends by itself after `max_ms`. Always answered by [`MediaEvent::RecordingDone`].
    pub fn record(&self, leg: LegId, rec: RecordingId, path: PathBuf, max_ms: u64) {
        let path = self.inner.cfg.recordings_dir.join(path);
        self.command(leg, Command::Record { leg, spec: RecordSpec { rec, path, max_ms } });
    }

    /// Ends the leg's recording, if any.
    pub fn stop_record(&self, leg: LegId) {
        self.command(leg, Command::StopRecord { leg });
    }

    /// Writes silence from now on (`true`) or records again (`false`); the range is remembered.
    pub fn pause_record(&self, leg: LegId, paused: bool) {
        self.command(leg, Command::PauseRecord { leg, paused });
    }

    /// Sends a digit (`0-9 * # A-D`) as RFC 4733 event, or as a tone where none was agreed.
    pub fn send_digit(&self, leg: LegId, digit: char, ms: u32) {
        self.command(leg, Command::SendDigit { leg, digit, ms });
    }

    /// Ends the leg and its recording; [`MediaEvent::LegClosed`] follows.
    pub fn close_leg(&self, leg: LegId) {
        self.command(leg, Command::CloseLeg { leg });
    }

    /// A snapshot of the counters over all threads.
    #[must_use]
    pub fn stats(&self) -> MediaStats {
        self.inner.shared.snapshot()
    }

    /// Closes every leg, finishes every recording and ends the threads; their last events are
    /// sent. Blocks up to `wait`: call it through `spawn_blocking`. Returns whether all ended.
    #[must_use]
    pub fn shutdown(&self, wait: Duration) -> bool {
        self.inner.threads.shutdown(wait)
    }

    /// Has a thread look as if it had so much to do, until it measures itself again.
    #[cfg(test)]
    pub(super) fn pretend_load(&self, thread: usize, permille: u32) {
        self.inner.shared.store_load(thread, permille);
    }
}

//! The media thread: one loop around an engine, an epoll instance and the legs' sockets.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    io,
    net::{SocketAddr, UdpSocket},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use hotline_media::{
    LegId, LegTable,
    engine::{Command, Engine, EngineConfig, Event, Input, Output, Port, RecordSpec, RecorderOp},
};
use tokio::sync::mpsc;

use super::{
    MediaConfig, MediaEvent,
    event::EventSink,
    limits::{COMMANDS_MAX, COMMANDS_PER_TURN_MAX, DATAGRAM_LEN_MAX, RETRY_MS, WAKE_MS_MAX, WRITER_BACKLOG_MAX},
    ports::{Pair, Ports},
    stats::Shared,
    sys::{Poller, Waker},
    writer::WriterHandle,
};

/// Token of the waker; legs' tokens are their id times two, plus one for RTCP.
const WAKER_TOKEN: u64 = u64::MAX;

/// What the handle sends to a thread.
#[derive(Debug)]
pub(super) enum Order {
    Open { leg: LegId, pair: Pair },
    Command(Command),
}

/// What a thread and its mailbox share beside the queue.
#[derive(Debug)]
struct Signal {
    waker: Waker,
    /// The thread has been woken and has not looked yet: saves a system call per order.
    awake: AtomicBool,
    /// End after the orders that wait; a flag, so that a full queue can't swallow it.
    stop: AtomicBool,
}

/// The sending side of a thread's queue.
#[derive(Debug)]
pub(super) struct Mailbox {
    tx: SyncSender<Order>,
    signal: Arc<Signal>,
}

impl Mailbox {
    /// Queues an order; false if the queue is full or the thread has ended.
    pub(super) fn post(&self, order: Order) -> bool {
        let sent = self.tx.try_send(order).is_ok();
        self.wake();
        sent
    }

    /// Tells the thread to do what waits, close its legs and end.
    pub(super) fn stop(&self) {
        self.signal.stop.store(true, Ordering::Release);
        self.wake();
    }

    fn wake(&self) {
        if !self.signal.awake.swap(true, Ordering::AcqRel) {
            self.signal.waker.wake();
        }
    }
}

struct Sockets {
    port: u16,
    rtp: UdpSocket,
    rtcp: UdpSocket,
}

struct MediaThread {
    index: usize,
    engine: Engine,
    poller: Poller,
    signal: Arc<Signal>,
    orders: Receiver<Order>,
    sockets: LegTable<Sockets>,
    ports: Arc<Ports>,
    shared: Arc<Shared>,
    events: EventSink,
    writer: WriterHandle,
    /// Operations a full writer queue refused, in order; see [`WRITER_BACKLOG_MAX`].
    writer_backlog: VecDeque<RecorderOp>,
    /// A bounded number of orders was taken and more are there.
    more_orders: bool,
    stopping: bool,
    is_waiting: bool,
}

/// Starts media thread number `index`.
pub(super) fn start(
    index: usize,
    cfg: &MediaConfig,
    shared: &Arc<Shared>,
    ports: &Arc<Ports>,
    writer: WriterHandle,
    events: mpsc::Sender<MediaEvent>,
) -> io::Result<(Mailbox, JoinHandle<()>)> {
    let (tx, orders) = sync_channel(COMMANDS_MAX);
    let signal = Arc::new(Signal { waker: Waker::new()?, awake: AtomicBool::new(false), stop: AtomicBool::new(false) });
    let poller = Poller::new()?;
    poller.add(signal.waker.as_fd(), WAKER_TOKEN)?;
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let engine_config = EngineConfig {
        legs_max: cfg.legs_max,
        rtp_silence_ms: cfg.rtp_silence_ms,
        rtcp_xr: cfg.rtcp_xr,
        // The standard library's own keys are drawn from the system's randomness.
        seed: RandomState::new().hash_one((index, unix)),
        unix_ms: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX),
        pool: writer.pool(),
        format: cfg.recording_format,
    };
    let mut thread = MediaThread {
        index,
        engine: Engine::new(engine_config, Instant::now()),
        poller,
        signal: Arc::clone(&signal),
        orders,
        sockets: LegTable::default(),
        ports: Arc::clone(ports),
        shared: Arc::clone(shared),
        events: EventSink::new(events, Arc::clone(shared)),
        writer,
        writer_backlog: VecDeque::new(),
        more_orders: false,
        stopping: false,
        is_waiting: false,
    };
    let join = std::thread::Builder::new().name(format!("media-{index}")).spawn(move || thread.run())?;
    Ok((Mailbox { tx, signal }, join))
}

/// Waits for threads, but not for ever. Returns whether all have ended.
pub(super) fn join_all(joins: &mut Vec<JoinHandle<()>>, wait: Duration) -> bool {
    let deadline = Instant::now() + wait;
    while joins.iter().any(|join| !join.is_finished()) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(2));
    }
    joins.retain(|join| !join.is_finished());
    joins.is_empty()
}

impl MediaThread {
    fn run(&mut self) {
        let mut tokens = Vec::new();
        let mut buffer = vec![0u8; DATAGRAM_LEN_MAX];
        loop {
            tokens.clear();
            if let Err(error) = self.poller.wait(self.patience(), &mut tokens) {
                tracing::error!(%error, "epoll_wait failed; media thread ends");
                self.close_all(Instant::now());
                return;
            }
            // The one look at the clock of this turn.
            let now = Instant::now();
            // Timers first: recordings are flushed before new packets push their window on.
            self.engine.handle_timeout(now);
            self.drain();
            if tokens.contains(&WAKER_TOKEN) || self.more_orders {
                self.take_orders(now);
            }
            for token in tokens.iter().filter(|token| **token != WAKER_TOKEN) {
                self.read(now, *token, &mut buffer);
            }
            let writer_waits = self.retry_writer();
            let events_wait = self.events.retry();
            self.is_waiting = writer_waits || events_wait;
            self.shared.store(self.index, self.engine.totals());
            if self.stopping && !self.is_waiting {
                return;
            }
        }
    }

    /// How long to sleep at most.
    fn patience(&self) -> Duration {
        if self.more_orders {
            return Duration::ZERO;
        }
        let max = Duration::from_millis(if self.is_waiting || self.stopping { RETRY_MS } else { WAKE_MS_MAX });
        let due = self.engine.poll_timeout().map(|at| at.saturating_duration_since(Instant::now()));
        due.map_or(max, |due| due.min(max))
    }

    fn take_orders(&mut self, now: Instant) {
        self.signal.waker.clear();
        // Before the queue is read, so that a later order wakes us again; a swap, not a store,
        // since it must see what was queued before the flag was last set.
        self.signal.awake.swap(false, Ordering::AcqRel);
        self.more_orders = false;
        for _ in 0..COMMANDS_PER_TURN_MAX {
            match self.orders.try_recv() {
                Ok(Order::Open { leg, pair }) => self.open(now, leg, pair),
                Ok(Order::Command(Command::Record { leg, spec }))
                    if self.writer_backlog.len() >= WRITER_BACKLOG_MAX =>
                {
                    self.refuse_recording(leg, spec);
                }
                Ok(Order::Command(command)) => {
                    self.engine.handle_input(now, Input::Command(command));
                    self.drain();
                }
                Err(TryRecvError::Empty) if !self.signal.stop.load(Ordering::Acquire) => return,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => {
                    self.stopping = true;
                    self.close_all(now);
                    return;
                }
            }
        }
        self.more_orders = true;
    }

    fn open(&mut self, now: Instant, leg: LegId, pair: Pair) {
        let token = leg.0.wrapping_mul(2);
        let added = self
            .poller
            .add(pair.rtp.as_fd(), token)
            .and_then(|()| self.poller.add(pair.rtcp.as_fd(), token.wrapping_add(1)));
        if let Err(error) = &added {
            tracing::error!(%leg, %error, "leg refused by epoll");
        }
        if self.stopping || added.is_err() || !self.engine.open_leg(now, leg) {
            self.ports.give_back(pair.port);
            self.shared.release_leg();
            let stats = hotline_media::LegStats::default();
            self.events.push(MediaEvent::LegClosed { leg, stats });
            return;
        }
        self.sockets.insert(leg, Sockets { port: pair.port, rtp: pair.rtp, rtcp: pair.rtcp });
    }

    /// The disk is so far behind that one recording more would only grow memory.
    fn refuse_recording(&mut self, leg: LegId, spec: RecordSpec) {
        tracing::error!(%leg, rec = %spec.rec, "recording refused: the disk is too far behind");
        self.shared.count_refused_recording();
        self.events.push(MediaEvent::refused(leg, spec.rec, spec.path, "the disk is too far behind"));
    }

    fn close_all(&mut self, now: Instant) {
        for leg in self.engine.leg_ids() {
            self.engine.handle_input(now, Input::Command(Command::CloseLeg { leg }));
            self.drain();
        }
    }

    fn read(&mut self, now: Instant, token: u64, buffer: &mut [u8]) {
        let leg = LegId(token / 2);
        let is_rtcp = token % 2 == 1;
        let Some(sockets) = self.sockets.get(&leg) else {
            return;
        };
        let socket = if is_rtcp { &sockets.rtcp } else { &sockets.rtp };
        // An ICMP refusal shows as an error here; it is used up by being read. More datagrams are
        // reported again at once, which costs less than asking every socket for a second one.
        let Ok((len, from)) = socket.recv_from(buffer) else {
            return;
        };
        let bytes = &buffer[..len];
        let input = if is_rtcp { Input::Rtcp { leg, from, bytes } } else { Input::Rtp { leg, from, bytes } };
        self.engine.handle_input(now, input);
        self.drain();
    }

    /// Carries out what the engine wants.
    fn drain(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Packet { leg, port, to, bytes } => {
                    let Some(sockets) = self.sockets.get(&leg) else {
                        continue;
                    };
                    let socket = match port {
                        Port::Rtp => &sockets.rtp,
                        Port::Rtcp => &sockets.rtcp,
                    };
                    if !send(socket, bytes, to) {
                        self.shared.count_send_error();
                    }
                }
                Output::Event(event) => {
                    if let Event::LegClosed { leg, .. } = event {
                        if let Some(sockets) = self.sockets.remove(&leg) {
                            let port = sockets.port;
                            drop(sockets);
                            self.ports.give_back(port);
                        }
                        self.shared.release_leg();
                    }
                    self.events.push(event.into());
                }
                Output::Recorder(op) => {
                    if self.writer_backlog.is_empty() {
                        if let Err(op) = self.writer.post(op) {
                            self.writer_backlog.push_back(op);
                        }
                    } else {
                        self.writer_backlog.push_back(op);
                    }
                }
            }
        }
    }

    /// Returns whether operations still wait for the writer.
    fn retry_writer(&mut self) -> bool {
        while let Some(op) = self.writer_backlog.pop_front() {
            if let Err(op) = self.writer.post(op) {
                self.writer_backlog.push_front(op);
                return true;
            }
        }
        false
    }
}

/// Sends once more after an error: the first may be an ICMP refusal of an earlier datagram.
fn send(socket: &UdpSocket, bytes: &[u8], to: SocketAddr) -> bool {
    match socket.send_to(bytes, to) {
        Ok(_) => true,
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => socket.send_to(bytes, to).is_ok(),
        Err(_) => false,
    }
}

//! The media thread: one loop around an engine, an epoll instance and the legs' sockets.
//!
//! Per packet there is no lock, no log, no allocation and no look at the clock; the clock is read
//! once a turn, and a turn serves all that is ready.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, TryRecvError, TrySendError, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use hotline_media::{
    LegId, LegTable,
    engine::{Command, DtlsOp, Engine, EngineConfig, Event, Input, Output, RecordSpec, RecorderOp},
};
use tokio::sync::mpsc;

use super::{
    MediaConfig, MediaEvent,
    dtls::{DtlsOrder, DtlsQueue},
    event::EventSink,
    limits::{
        COMMANDS_MAX, COMMANDS_PER_TURN_MAX, DATAGRAM_LEN_MAX, LOAD_MS, PATIENT_EARLY_MS, PATIENT_MS,
        PATIENT_ROUNDS_MAX, READY_MAX, RETRY_MS, STAMP_AGE_MS_MAX, WAKE_MS_MAX, WRITER_BACKLOG_MAX,
    },
    mailbox::{Mailbox, Order, Signal},
    pace::Pace,
    ports::{Pair, Ports},
    sockets::{self, Pollers, Sockets},
    stats::Shared,
    sys::{self, Waker},
    writer::WriterHandle,
};

/// Token of the waker; no leg's id gets so far.
const WAKER_TOKEN: u64 = u64::MAX;

/// An order to give again; none once the handshakes' thread has ended.
fn refused(error: TrySendError<DtlsOrder>) -> Option<DtlsOrder> {
    match error {
        TrySendError::Full(order) => Some(order),
        TrySendError::Disconnected(_) => None,
    }
}

struct MediaThread {
    index: usize,
    engine: Engine,
    pollers: Pollers,
    /// Legs connected with nobody, read in batches …
    patient: usize,
    /// … next at this time.
    batch_at: Instant,
    /// Their tokens; kept for its allocation.
    batch: Vec<u64>,
    signal: Arc<Signal>,
    orders: Receiver<Order>,
    sockets: LegTable<Sockets>,
    ports: Arc<Ports>,
    shared: Arc<Shared>,
    events: EventSink,
    writer: WriterHandle,
    dtls: DtlsQueue,
    /// Starts and ends of handshakes a full queue refused, in order: at most two a leg.
    dtls_backlog: VecDeque<DtlsOrder>,
    /// Operations a full writer queue refused, in order; see [`WRITER_BACKLOG_MAX`].
    writer_backlog: VecDeque<RecorderOp>,
    /// A bounded number of orders was taken and more are there.
    more_orders: bool,
    stopping: bool,
    is_waiting: bool,
    pace: Pace,
    /// Counts turns.
    turn: u32,
    /// Something was reported since the counters were shown last.
    unpublished: bool,
    /// When the thread's load was measured last, and the processor time it had used then.
    measured: (Instant, Duration),
}

/// Where a media thread sends what it doesn't do itself.
pub(super) struct Ways {
    pub(super) writer: WriterHandle,
    pub(super) dtls: DtlsQueue,
    pub(super) events: mpsc::Sender<MediaEvent>,
}

/// Starts media thread number `index`.
pub(super) fn start(
    index: usize,
    cfg: &MediaConfig,
    shared: &Arc<Shared>,
    ports: &Arc<Ports>,
    ways: Ways,
) -> io::Result<(Mailbox, JoinHandle<()>)> {
    let Ways { writer, dtls, events } = ways;
    let (tx, orders) = sync_channel(COMMANDS_MAX);
    let signal = Arc::new(Signal { waker: Waker::new()?, awake: AtomicBool::new(false), stop: AtomicBool::new(false) });
    let pollers = Pollers::new()?;
    pollers.urgent.add(signal.waker.as_fd(), WAKER_TOKEN)?;
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let engine_config = EngineConfig {
        legs_max: cfg.legs_max,
        rtp_silence_ms: cfg.rtp_silence_ms,
        rtcp_xr: cfg.rtcp_xr,
        agc: cfg.agc,
        // The standard library's own keys are drawn from the system's randomness.
        seed: RandomState::new().hash_one((index, unix)),
        unix_ms: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX),
        pool: writer.pool(),
        format: cfg.recording_format,
    };
    let now = Instant::now();
    let mut thread = MediaThread {
        index,
        engine: Engine::new(engine_config, now),
        pollers,
        patient: 0,
        batch_at: now,
        batch: Vec::with_capacity(READY_MAX),
        signal: Arc::clone(&signal),
        orders,
        sockets: LegTable::default(),
        ports: Arc::clone(ports),
        shared: Arc::clone(shared),
        events: EventSink::new(events, Arc::clone(shared)),
        writer,
        dtls,
        dtls_backlog: VecDeque::new(),
        writer_backlog: VecDeque::new(),
        more_orders: false,
        stopping: false,
        is_waiting: false,
        pace: Pace::new(now),
        turn: 0,
        unpublished: true,
        measured: (now, Duration::ZERO),
    };
    let join = std::thread::Builder::new().name(format!("media-{index}")).spawn(move || thread.run())?;
    Ok((Mailbox { tx, signal }, join))
}

impl MediaThread {
    fn run(&mut self) {
        let mut tokens = Vec::with_capacity(READY_MAX);
        let mut buffer = vec![0u8; DATAGRAM_LEN_MAX];
        let mut now = Instant::now();
        loop {
            tokens.clear();
            if let Some(nap) = self.pace.nap() {
                std::thread::sleep(nap);
            }
            if let Err(error) = self.pollers.urgent.wait(self.patience(now), &mut tokens) {
                tracing::error!(%error, "epoll_wait failed; media thread ends");
                self.close_all(Instant::now());
                return;
            }
            // The one look at the clock of this turn.
            now = Instant::now();
            // Timers first: recordings are flushed before new packets push their window on.
            self.engine.handle_timeout(now);
            self.drain();
            if tokens.contains(&WAKER_TOKEN) || self.more_orders {
                self.take_orders(now, &mut buffer);
            }
            self.turn = self.turn.wrapping_add(1);
            let mut again = 0;
            for token in tokens.iter().filter(|token| **token != WAKER_TOKEN) {
                again += usize::from(self.read(now, *token, &mut buffer));
            }
            if now + Duration::from_millis(PATIENT_EARLY_MS) >= self.batch_at {
                self.read_batch(now, &mut buffer);
            }
            let writer_waits = self.retry_writer();
            let events_wait = self.events.retry();
            let dtls_waits = self.retry_dtls();
            self.is_waiting = writer_waits || events_wait || dtls_waits;
            if self.pace.note(now, tokens.len(), again) || self.unpublished {
                self.publish(now);
            }
            if self.stopping && !self.is_waiting {
                return;
            }
        }
    }

    /// Shows the counters to whoever asks: regularly, and with every event.
    fn publish(&mut self, now: Instant) {
        self.unpublished = false;
        self.shared.store(self.index, self.engine.totals());
        let (since, before) = self.measured;
        let elapsed = now.saturating_duration_since(since);
        if elapsed >= Duration::from_millis(LOAD_MS) {
            let used = sys::thread_cpu();
            let permille = used.saturating_sub(before).as_micros() * 1000 / elapsed.as_micros().max(1);
            self.shared.store_load(self.index, u32::try_from(permille).unwrap_or(u32::MAX));
            self.measured = (now, used);
        }
    }

    /// How long to sleep at most, by the clock of the turn that ends.
    fn patience(&self, now: Instant) -> Duration {
        if self.more_orders {
            return Duration::ZERO;
        }
        let max = Duration::from_millis(if self.is_waiting || self.stopping { RETRY_MS } else { WAKE_MS_MAX });
        let batch = (self.patient > 0).then_some(self.batch_at);
        let due = self.engine.poll_timeout().into_iter().chain(batch).min();
        due.map_or(max, |due| due.saturating_duration_since(now).min(max))
    }

    fn take_orders(&mut self, now: Instant, buffer: &mut [u8]) {
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
                    // These draw a line: what came before it has to be counted and recorded so.
                    if matches!(command, Command::CloseLeg { .. } | Command::Record { .. } | Command::StopRecord { .. })
                    {
                        self.read_batch(now, buffer);
                    }
                    self.engine.handle_input(now, Input::Command(command));
                    self.drain();
                }
                Err(TryRecvError::Empty) if !self.signal.stop.load(Ordering::Acquire) => return,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => {
                    self.stopping = true;
                    self.read_batch(now, buffer);
                    self.close_all(now);
                    return;
                }
            }
        }
        self.more_orders = true;
    }

    fn open(&mut self, now: Instant, leg: LegId, pair: Pair) {
        let (port, stale) = (pair.port, pair.stale);
        let opened = Sockets::new(leg, pair, &self.pollers);
        if let Err(error) = &opened {
            tracing::error!(%leg, %error, "leg refused by epoll");
        }
        let opened = opened.ok().filter(|_| !self.stopping && self.engine.open_leg(now, leg));
        let Some(sockets) = opened else {
            self.ports.give_back(port, stale);
            self.shared.release_leg();
            let stats = hotline_media::LegStats::default();
            self.events.push(MediaEvent::LegClosed { leg, stats });
            return;
        };
        if let Some(stale) = stale {
            self.engine.remember_stale(leg, stale);
        }
        self.sockets.insert(leg, sockets);
        if self.patient == 0 {
            self.batch_at = now + Duration::from_millis(PATIENT_MS);
        }
        self.patient += 1;
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

    /// Reads what has come for legs that are connected with nobody.
    fn read_batch(&mut self, now: Instant, buffer: &mut [u8]) {
        if self.patient == 0 {
            return;
        }
        self.batch_at = now + Duration::from_millis(PATIENT_MS);
        let mut tokens = std::mem::take(&mut self.batch);
        // Arrivals are noted by the wall clock; one look at both clocks serves the batch.
        let clocks = (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
        for round in 0..=PATIENT_ROUNDS_MAX {
            tokens.clear();
            if self.pollers.patient.wait(Duration::ZERO, &mut tokens).is_err() || tokens.is_empty() {
                break;
            }
            if round == PATIENT_ROUNDS_MAX {
                self.batch_at = now;
                break;
            }
            for token in &tokens {
                let leg = sockets::leg_of(*token);
                let Some(datagram) = self.sockets.get(&leg).and_then(|sockets| sockets.read_stamped(buffer)) else {
                    continue;
                };
                let at = arrival(clocks, datagram.arrived);
                let (from, bytes) = (datagram.from, &buffer[..datagram.len]);
                self.engine.handle_input(at, Input::Rtp { leg, from, bytes });
                self.drain();
            }
        }
        self.batch = tokens;
    }

    /// Reads one datagram. Returns whether the leg had one in the turn before, too.
    fn read(&mut self, now: Instant, token: u64, buffer: &mut [u8]) -> bool {
        let leg = sockets::leg_of(token);
        let Some(sockets) = self.sockets.get_mut(&leg) else {
            return false;
        };
        let again = std::mem::replace(&mut sockets.turn, self.turn).wrapping_add(1) == self.turn;
        let Some(datagram) = sockets.read(token, buffer) else {
            return again;
        };
        let (from, bytes) = (datagram.from, &buffer[..datagram.len]);
        let input = if datagram.is_rtcp { Input::Rtcp { leg, from, bytes } } else { Input::Rtp { leg, from, bytes } };
        self.engine.handle_input(now, input);
        self.drain();
        again
    }

    /// Carries out what the engine wants.
    fn drain(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Packet { leg, port, to, bytes } => {
                    let Some(sockets) = self.sockets.get_mut(&leg) else {
                        continue;
                    };
                    if !sockets.send(leg, port, bytes, to, &self.pollers) {
                        self.shared.count_send_error();
                    }
                }
                Output::Listen { leg, is_urgent } => {
                    let Some(sockets) = self.sockets.get_mut(&leg) else {
                        continue;
                    };
                    self.patient -= usize::from(!sockets.is_urgent());
                    if let Err(error) = sockets.hurry(leg, is_urgent, &self.pollers) {
                        tracing::error!(%leg, %error, "leg refused by epoll");
                    }
                    self.patient += usize::from(!sockets.is_urgent());
                }
                Output::Dtls { leg, op } => {
                    let can_wait = !matches!(op, DtlsOp::Packet(_));
                    let refused = match self.dtls_backlog.is_empty() {
                        true => self.dtls.try_send(DtlsOrder { leg, op }).err().and_then(refused),
                        false => Some(DtlsOrder { leg, op }),
                    };
                    self.dtls_backlog.extend(refused.filter(|_| can_wait));
                }
                Output::Event(event) => {
                    if let Event::LegClosed { leg, stale, .. } = event {
                        if let Some(sockets) = self.sockets.remove(&leg) {
                            self.patient -= usize::from(!sockets.is_urgent());
                            let port = sockets.port;
                            drop(sockets);
                            self.ports.give_back(port, stale);
                        }
                        self.shared.release_leg();
                    }
                    self.unpublished = true;
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

    /// Returns whether orders still wait for the handshakes.
    fn retry_dtls(&mut self) -> bool {
        while let Some(order) = self.dtls_backlog.pop_front() {
            if let Some(order) = self.dtls.try_send(order).err().and_then(refused) {
                self.dtls_backlog.push_front(order);
                return true;
            }
        }
        false
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

/// When a datagram came: the clock's word, carried over from the wall clock's by one look at `both`.
fn arrival(both: (Instant, Duration), stamp: Option<Duration>) -> Instant {
    let (now, unix) = both;
    let age = stamp.and_then(|stamp| unix.checked_sub(stamp));
    let age = age.filter(|age| *age <= Duration::from_millis(STAMP_AGE_MS_MAX)).unwrap_or_default();
    now.checked_sub(age).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_noted_arrival_counts_unless_the_wall_clock_was_set() {
        let (now, unix) = (Instant::now(), Duration::from_secs(1_700_000_000));
        let age = |age: Duration| now - arrival((now, unix), Some(unix - age));
        assert_eq!(age(Duration::from_micros(19_500)), Duration::from_micros(19_500));
        assert_eq!(age(Duration::from_secs(3600)), Duration::ZERO);
        assert_eq!(arrival((now, unix), Some(unix + Duration::from_millis(1))), now);
        assert_eq!(arrival((now, unix), None), now);
    }
}

//! A connection to an SMSC: bound through the library, kept alive, given up and made again.
//!
//! What the library leaves to us: it queues without bounds both ways (see `guard`), and of several commands ordered
//! at once it may leave the last unsent until something else happens. So this driver orders one at a time and waits
//! until it is written; the window and the responses' times are ours.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt as _;
use rusmpp::pdus::{BindReceiver, BindTransceiver, BindTransmitter, DeliverSmResp, SubmitSm};
use rusmpp::types::COctetString;
use rusmpp::values::{InterfaceVersion, Npi, Ton};
use rusmpp::{Command, CommandId, CommandStatus, Pdu};
use rusmppc::error::Error as Library;
use rusmppc::{Client, ConnectionBuilder, Event};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::guard::{Guarded, Shared, is_counted};
use super::limits::{
    AT_WORK_MAX, BIND, COMMAND_BYTES_MAX, GOOD, RECONNECT_MS, RECONNECT_MS_MAX, UNBIND, WAITING_MAX, WRITE,
};
use super::message::{self, Delivered, Mobile};
use super::receipt::{Receipt, hex_to_decimal};
use super::status::{Submitted, name, outcome};
use super::window::Window;
use crate::channels::sms::line::Ticket;
use crate::channels::sms::ordered::Ordered;
use crate::channels::sms::text::Coding;
use crate::config::{SmppDefault, SmppLine};
use crate::net::sip::tls::ClientTls;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Transceiver,
    Transmitter,
    Receiver,
}

/// What became of a message handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is durable: acknowledge.
    Taken,
    /// Not now: the carrier keeps it and comes again.
    Later,
    /// It can't be used, now or ever.
    Never,
}

impl Verdict {
    const fn status(self) -> CommandStatus {
        match self {
            Self::Taken => CommandStatus::EsmeRok,
            Self::Later => CommandStatus::EsmeRxTAppn,
            Self::Never => CommandStatus::EsmeRxRAppn,
        }
    }
}

/// Who takes what arrives, and hears how the connections are.
pub(super) trait Handler: Send + Sync + 'static {
    /// A message from a citizen, or a part of one.
    fn mobile(&self, mobile: Mobile) -> impl Future<Output = Verdict> + Send;
    /// What became of a text of ours.
    fn receipt(&self, receipt: Receipt) -> impl Future<Output = Verdict> + Send;
    /// A connection is bound; `sends` if texts may leave by it.
    fn up(&self, sends: bool);
    /// A connection that was bound, or one that came to nothing, ended.
    fn down(&self, sends: bool, was_bound: bool, why: &str);
    /// Something odd, by one of a few fixed words.
    fn odd(&self, kind: &'static str);
}

/// One `submit_sm` and who waits for its outcome.
pub(super) struct Job {
    pub(super) sm: SubmitSm,
    /// The whole text's; asked before anything leaves.
    pub(super) ticket: Ticket,
    pub(super) reply: oneshot::Sender<Submitted>,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("连接或绑定超时 / no connection or bind within {} s", BIND.as_secs())]
    Slow,
    #[error("绑定被拒绝,请核对账号 / bind refused: {0}. Check system_id, password and the carrier's list of addresses")]
    Refused(String),
    #[error("配置项过长 / {0} is too long for SMPP")]
    Setting(&'static str),
    #[error("对端停止读取 / the carrier reads nothing any more")]
    Stuck,
    #[error("对端解除绑定 / the carrier unbound")]
    Unbound,
    #[error("{0}")]
    Lost(&'static str),
    #[error("stopped")]
    Cancelled,
}

impl From<Library> for End {
    fn from(e: Library) -> Self {
        match e {
            // Its text has the whole response in it.
            Library::UnexpectedResponse { response } => Self::Refused(name(response.status())),
            Library::Connect(e) | Library::Io(e) => Self::Io(e),
            Library::EnquireLinkTimeout { .. } => Self::Lost("enquire_link 无应答 / enquire_link was not answered"),
            Library::ResponseTimeout { .. } => Self::Slow,
            Library::Decode(_) | Library::Encode(_) => Self::Lost("无法解析 / the stream can't be read"),
            _ => Self::Lost("连接已断开 / the connection was closed"),
        }
    }
}

/// A line's side that outlives its connections.
pub(super) struct Link<H> {
    pub(super) name: String,
    pub(super) settings: Arc<SmppLine>,
    /// With `tls = true`.
    pub(super) tls: Option<Arc<ClientTls>>,
    pub(super) role: Role,
    pub(super) handler: Arc<H>,
    pub(super) jobs: mpsc::Receiver<Job>,
    pub(super) cancel: CancellationToken,
}

impl<H: Handler> Link<H> {
    /// Connects, again and again, until cancelled.
    pub(super) async fn run(mut self) {
        let (mut tries, sends) = (0, self.role != Role::Receiver);
        loop {
            let began = Instant::now();
            let mut bound = false;
            let end = self.connected(&mut bound).await.err().unwrap_or(End::Cancelled);
            self.handler.down(sends, bound, &end.to_string());
            self.turn_away();
            if self.cancel.is_cancelled() {
                return;
            }
            tries = if began.elapsed() >= GOOD { 0 } else { tries + 1 };
            let pause = reconnect_pause(tries, &mut rand::rng());
            warn!(line = self.name, role = ?self.role, error = %end, pause_ms = pause.as_millis(), "SMPP 连接断开,将重连 / SMPP connection ended");
            let pause = tokio::time::sleep(pause);
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = &mut pause => break,
                    () = self.cancel.cancelled() => return,
                    Some(job) = self.jobs.recv() => turn_away(job),
                }
            }
        }
    }

    /// Texts that came too late for a connection.
    fn turn_away(&mut self) {
        while let Ok(job) = self.jobs.try_recv() {
            turn_away(job);
        }
    }

    async fn connected(&mut self, bound: &mut bool) -> Result<(), End> {
        let s = &self.settings;
        let opened = async {
            let (guarded, shared) = Guarded::new(open(&s.address, self.tls.as_deref()).await?);
            let (client, events, connection) = ConnectionBuilder::new()
                .max_command_length(COMMAND_BYTES_MAX)
                .enquire_link_interval(Duration::from_secs(s.enquire_link_s))
                .enquire_link_response_timeout(Duration::from_millis(s.response_ms))
                .response_timeout(BIND)
                .disable_interface_version_check()
                .no_spawn()
                .connected(guarded);
            let task = Abort(tokio::spawn(connection));
            bind(&client, s, self.role).await?;
            Ok::<_, End>((client, events, shared, task))
        };
        let opened = tokio::select! {
            opened = timeout(BIND, opened) => opened,
            () = self.cancel.cancelled() => return Ok(()),
        };
        let (client, mut events, shared, _task) = opened.map_err(|_| End::Slow)??;
        info!(line = self.name, role = ?self.role, "SMPP 已绑定 / SMPP bound");
        *bound = true;
        self.handler.up(self.role != Role::Receiver);
        let gone = CancellationToken::new();
        let _gone = gone.clone().drop_guard();
        let (to_door, from_link) = mpsc::channel(WAITING_MAX);
        let (answered, answers) = mpsc::channel(WAITING_MAX);
        tokio::spawn(hand_on(Arc::clone(&self.handler), from_link, answered, gone));
        let response_ms = i64::try_from(s.response_ms).unwrap_or(30_000);
        let window = Window::new(s.window, response_ms, s.rate);
        let start = Instant::now();
        let mut session = Session { link: self, client, shared, window, start, to_door, answers, mended: 0 };
        let ended = session.serve(&mut events).await;
        for job in session.window.drain() {
            let _ = job.send(Submitted::Unknown("connection lost before the response".into()));
        }
        ended
    }
}

/// A connection, plain or in TLS.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Wire for S {}

async fn open(address: &str, tls: Option<&ClientTls>) -> std::io::Result<Box<dyn Wire>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let Some(tls) = tls else { return Ok(Box::new(stream)) };
    let (config, name) = tls.connector();
    Ok(Box::new(TlsConnector::from(config).connect(name, stream).await?))
}

/// One bound connection.
struct Session<'l, H> {
    link: &'l mut Link<H>,
    client: Client,
    shared: Arc<Shared>,
    window: Window<oneshot::Sender<Submitted>>,
    start: Instant,
    to_door: mpsc::Sender<(u32, Delivered)>,
    answers: mpsc::Receiver<(u32, Verdict)>,
    mended: u64,
}

impl<H: Handler> Session<'_, H> {
    /// Ms since it was bound: the wall clock may be set back.
    fn now(&self) -> i64 {
        i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    async fn serve(&mut self, events: &mut (impl futures::Stream<Item = Event> + Unpin)) -> Result<(), End> {
        loop {
            let now = self.now();
            let may_send = self.link.role != Role::Receiver && self.window.has_room(now);
            let wait = self.window.next_timeout(now).map_or(3_600_000, |at| (at - now).clamp(1, 3_600_000));
            tokio::select! {
                event = events.next() => match event {
                    Some(Event::Incoming(command)) => self.incoming(command).await?,
                    Some(Event::Error(e)) => return Err(e.into()),
                    None => return Err(End::Lost("连接已断开 / the connection was closed")),
                },
                Some((sequence, verdict)) = self.answers.recv() => self.respond(sequence, verdict.status()).await?,
                job = self.link.jobs.recv(), if may_send => match job {
                    Some(job) => self.submit(job).await?,
                    None => return Ok(()),
                },
                () = tokio::time::sleep(Duration::from_millis(wait.unsigned_abs())) => {
                    for reply in self.window.expired(self.now()) {
                        let _ = reply.send(Submitted::Unknown("no response in time".into()));
                    }
                }
                () = self.link.cancel.cancelled() => return self.unbind().await,
            }
        }
    }

    async fn submit(&mut self, job: Job) -> Result<(), End> {
        let Job { sm, ticket, reply } = job;
        if !ticket.begin() {
            // Whoever wanted it sent has given up, and may have sent it elsewhere.
            let _ = reply.send(Submitted::NotSent("nobody waits for it".into()));
            return Ok(());
        }
        match timeout(WRITE, self.client.no_wait().submit_sm(sm)).await {
            Ok(Ok(sequence)) => {
                if let Some(pushed) = self.window.sent(sequence, reply, self.now()) {
                    let _ = pushed.send(Submitted::Unknown("sequence number used again".into()));
                }
                Ok(())
            }
            Ok(Err(e)) => {
                let _ = reply.send(Submitted::Unknown("connection lost while sending".into()));
                Err(e.into())
            }
            Err(_) => {
                let _ = reply.send(Submitted::Unknown("connection stuck while sending".into()));
                Err(End::Stuck)
            }
        }
    }

    async fn incoming(&mut self, command: Command) -> Result<(), End> {
        if is_counted(command.id()) {
            self.shared.unread.fetch_sub(1, Ordering::Relaxed);
        }
        let mended = self.shared.mended.load(Ordering::Relaxed);
        if mended > self.mended {
            warn!(
                line = self.link.name,
                count = mended - self.mended,
                "SMPP 收到不合规的报文 / commands that can't be read as they are"
            );
            self.link.handler.odd("malformed");
            self.mended = mended;
        }
        let sequence = command.sequence_number();
        match (command.id(), command.pdu()) {
            (CommandId::DeliverSm, Some(Pdu::DeliverSm(sm))) => {
                let delivered = message::read(sm, default_coding(self.link.settings.default_coding));
                if delivered == Delivered::Unreadable {
                    self.link.handler.odd("receipt_unreadable");
                }
                if self.to_door.try_send((sequence, delivered)).is_err() {
                    self.link.handler.odd("queue_full");
                    return self.respond(sequence, CommandStatus::EsmeRmsgqful).await;
                }
                Ok(())
            }
            (CommandId::DeliverSm, _) => self.respond(sequence, CommandStatus::EsmeRinvcmdlen).await,
            (CommandId::SubmitSmResp, pdu) => {
                let id = match pdu {
                    Some(Pdu::SubmitSmResp(response)) => Some(response.message_id().as_str()),
                    _ => None,
                };
                self.submitted(sequence, command.status(), id);
                Ok(())
            }
            (CommandId::GenericNack, _) => {
                self.submitted(sequence, command.status(), None);
                Ok(())
            }
            (CommandId::Unbind, _) => {
                let _ = timeout(WRITE, self.client.unbind_resp(sequence)).await;
                Err(End::Unbound)
            }
            (id, _) if id.is_operation() && id != CommandId::AlertNotification && id != CommandId::Outbind => {
                let nack = self.client.status(CommandStatus::EsmeRinvcmdid);
                written(timeout(WRITE, nack.generic_nack(sequence)).await)
            }
            _ => Ok(()),
        }
    }

    fn submitted(&mut self, sequence: u32, status: CommandStatus, id: Option<&str>) {
        // A response to nothing, or a second one, changes nothing.
        let Some(reply) = self.window.answered(sequence) else { return self.link.handler.odd("response_to_nothing") };
        let outcome = match outcome(status, id) {
            Submitted::Accepted(id) if self.link.settings.hex_ids => {
                Submitted::Accepted(hex_to_decimal(&id).unwrap_or(id))
            }
            other => other,
        };
        match &outcome {
            Submitted::Throttled => {
                self.link.handler.odd("throttled");
                self.window.throttled(self.now());
            }
            Submitted::Accepted(_) => self.window.flows(self.now()),
            _ => {}
        }
        let _ = reply.send(outcome);
    }

    async fn respond(&mut self, sequence: u32, status: CommandStatus) -> Result<(), End> {
        let response = self.client.status(status).deliver_sm_resp(sequence, DeliverSmResp::default());
        written(timeout(WRITE, response).await)
    }

    async fn unbind(&mut self) -> Result<(), End> {
        let _ = timeout(UNBIND, self.client.unbind()).await;
        let _ = timeout(UNBIND, self.client.close()).await;
        Ok(())
    }
}

fn turn_away(job: Job) {
    let _ = job.reply.send(Submitted::NotSent("line down".into()));
}

fn written(result: Result<Result<(), Library>, tokio::time::error::Elapsed>) -> Result<(), End> {
    match result {
        Ok(done) => done.map_err(End::from),
        Err(_) => Err(End::Stuck),
    }
}

/// Takes what arrived to its handler: side by side, begun in the order of arrival, which decides.
async fn hand_on<H: Handler>(
    handler: Arc<H>,
    mut incoming: mpsc::Receiver<(u32, Delivered)>,
    answers: mpsc::Sender<(u32, Verdict)>,
    gone: CancellationToken,
) {
    let mut work = Ordered::default();
    let mut count = 0;
    loop {
        tokio::select! {
            biased;
            // Whoever isn't answered comes again; what a dead connection brought needn't be taken twice.
            () = gone.cancelled() => return,
            (sequence, verdict) = work.next() => {
                count -= 1;
                if answers.send((sequence, verdict)).await.is_err() {
                    return;
                }
            }
            next = incoming.recv(), if count < AT_WORK_MAX => {
                let Some((sequence, delivered)) = next else { return };
                count += 1;
                let handler = Arc::clone(&handler);
                work.push(async move { (sequence, judge(&*handler, delivered).await) });
            }
        }
    }
}

async fn judge<H: Handler>(handler: &H, delivered: Delivered) -> Verdict {
    match delivered {
        Delivered::Mobile(mobile) => handler.mobile(mobile).await,
        Delivered::Receipt(receipt) => handler.receipt(receipt).await,
        Delivered::Notice => Verdict::Taken,
        Delivered::Unreadable => Verdict::Never,
    }
}

async fn bind(client: &Client, s: &SmppLine, role: Role) -> Result<(), End> {
    let id = text(&s.system_id, "smpp.system_id")?;
    let password = text(&s.password, "smpp.password")?;
    let kind = text(&s.system_type, "smpp.system_type")?;
    let (ton, npi, range) = (Ton::Unknown, Npi::Unknown, COctetString::empty());
    let version = InterfaceVersion::Smpp3_4;
    match role {
        Role::Transceiver => {
            let bind = BindTransceiver::new(id, password, kind, version, ton, npi, range);
            client.bind_transceiver(bind).await?;
        }
        Role::Transmitter => {
            let bind = BindTransmitter::new(id, password, kind, version, ton, npi, range);
            client.bind_transmitter(bind).await?;
        }
        Role::Receiver => {
            let bind = BindReceiver::new(id, password, kind, version, ton, npi, range);
            client.bind_receiver(bind).await?;
        }
    }
    Ok(())
}

fn text<const MAX: usize>(value: &str, what: &'static str) -> Result<COctetString<1, MAX>, End> {
    COctetString::from_string(value.to_owned()).map_err(|_| End::Setting(what))
}

const fn default_coding(configured: SmppDefault) -> Coding {
    match configured {
        SmppDefault::Gsm => Coding::Gsm,
        SmppDefault::Ascii => Coding::Ascii,
        SmppDefault::Latin1 => Coding::Latin1,
        SmppDefault::Ucs2 => Coding::Ucs2,
    }
}

/// Full jitter: many lines that lost one carrier don't come back in step.
fn reconnect_pause(tries: u32, rng: &mut impl rand::Rng) -> Duration {
    let ceiling = RECONNECT_MS.saturating_mul(1 << tries.min(16)).min(RECONNECT_MS_MAX);
    Duration::from_millis(rng.random_range(ceiling / 10..=ceiling))
}

/// A task that ends with its owner.
struct Abort(tokio::task::JoinHandle<()>);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

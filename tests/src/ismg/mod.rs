//! A carrier's short message gateway (ISMG) for CMPP 2.0 and 3.0, written from the protocol's tables alone,
//! that does wrong on request.
//!
//! It keeps every message it has for the gateway until that acknowledges it, and repeats what isn't
//! acknowledged; it keeps every text it is given, joins long ones and reports on them.

mod link;
mod octets;
mod text;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::limits::ISMG_ROWS_MAX;
use crate::net::TRUNK_IP;
use crate::{Error, Result, until};

pub use text::{UCS2, parts_of};

/// Something it does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Every write leaves in pieces of a few octets.
    HalfPackets,
    /// Answers and delivers in the layout of the other version than it was asked for.
    OtherLayout,
    /// Every DELIVER has the same sequence id.
    RepeatedSequence,
    /// The report leaves before the SUBMIT_RESP.
    ReportFirst,
    /// `AuthenticatorISMG` is nonsense.
    WrongDigest,
    /// Each SUBMIT is followed by a report about a message nobody sent.
    OrphanReports,
    /// So many SUBMITs get no answer, though they are taken.
    NoResponse(usize),
    /// So many SUBMITs get result 8.
    Throttle(usize),
    /// After so many unanswered SUBMITs the connection is cut, once.
    CutMidWindow(usize),
    /// A PDU whose body has no such length before each DELIVER, and once a header that promises 2 GB.
    WrongLengths,
    /// Every DELIVER leaves twice, and once more after its acknowledgement.
    Doubled,
    /// Every message has the same Msg_Id.
    SameId,
    /// ACTIVE_TESTs get no answer.
    DeafToTests,
}

/// Account and behaviour.
#[derive(Clone, Debug)]
pub struct IsmgConfig {
    /// Account.
    pub user: String,
    /// Shared secret; a wrong digest is refused with status 3.
    pub secret: String,
    /// Highest version spoken: 0x20 or 0x30; a higher one is refused with status 4.
    pub version: u8,
    /// What it does wrong.
    pub faults: Vec<Fault>,
    /// An unacknowledged message is repeated after so long.
    pub repeat_ms: u64,
    /// `DELIVRD` or another word for the reports.
    pub stat: String,
}

impl Default for IsmgConfig {
    fn default() -> Self {
        Self {
            user: "901234".into(),
            secret: "s3cret".into(),
            version: 0x30,
            faults: Vec::new(),
            repeat_ms: 1_000,
            stat: "DELIVRD".into(),
        }
    }
}

/// A SUBMIT as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// The recipient.
    pub to: String,
    /// The number it shows.
    pub src_id: String,
    /// `Service_Id`.
    pub service_id: String,
    /// `Msg_Fmt`.
    pub fmt: u8,
    /// `Pk_total` and `Pk_number`.
    pub part: (u8, u8),
    /// `TP_udhi`.
    pub has_header: bool,
    /// Octets as they came.
    pub content: Vec<u8>,
    /// The id it was given.
    pub msg_id: u64,
    /// A report was asked for.
    pub report: bool,
    /// Result of its answer; `None`: it got none.
    pub result: Option<u32>,
    /// Which connection of this server it came on, from 1.
    pub link: usize,
}

/// Something for the gateway: a citizen's message or a report.
#[derive(Clone, Debug)]
struct Parcel {
    msg_id: u64,
    from: String,
    to: String,
    fmt: u8,
    has_header: bool,
    report: bool,
    content: Vec<u8>,
    sent: Option<Instant>,
    first_sent: Option<Instant>,
    sent_sequence: u32,
    sent_count: usize,
    /// Leaves once more although it is acknowledged.
    again: bool,
    results: Vec<u32>,
}

#[derive(Default)]
struct State {
    parcels: Vec<Parcel>,
    submits: Vec<Submitted>,
    faults: VecDeque<Fault>,
    links: usize,
    links_seen: usize,
    refused: usize,
    tests: usize,
    next_id: u64,
    cut: usize,
    delays: Vec<Duration>,
}

struct Shared {
    config: IsmgConfig,
    state: Mutex<State>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn does(&self, fault: Fault) -> bool {
        self.config.faults.contains(&fault)
    }
}

/// One server. Dropping it cuts its connections.
pub struct Ismg {
    shared: Arc<Shared>,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Ismg {
    /// Listens on a free port.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn start(config: IsmgConfig) -> Result<Self> {
        Self::start_on(SocketAddr::new(TRUNK_IP, 0), config).await
    }

    /// Listens where another one was.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn start_on(address: SocketAddr, config: IsmgConfig) -> Result<Self> {
        let listener = TcpListener::bind(address).await.map_err(Error::io("listen for CMPP"))?;
        let address = listener.local_addr().map_err(Error::io("listen for CMPP"))?;
        let shared = Arc::new(Shared { config, state: Mutex::default() });
        let serving = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let mut links = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                links.spawn(link::serve(Arc::clone(&serving), stream));
                while links.try_join_next().is_some() {}
            }
        });
        Ok(Self { shared, address, task })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A citizen writes; long texts become parts with `reference`. Returns the ids of the parts.
    pub fn write(&self, from: &str, to: &str, text: &str, reference: u8) -> Vec<u64> {
        let parts = parts_of(text, reference);
        let has_header = parts.len() > 1;
        parts.into_iter().map(|content| self.hand_over(from, to, UCS2, has_header, content)).collect()
    }

    /// One part, octet by octet.
    pub fn hand_over(&self, from: &str, to: &str, fmt: u8, has_header: bool, content: Vec<u8>) -> u64 {
        let mut state = self.shared.state();
        let msg_id = self.next_id(&mut state);
        state.push(Parcel {
            msg_id,
            from: from.into(),
            to: to.into(),
            fmt,
            has_header,
            report: false,
            content,
            sent: None,
            first_sent: None,
            sent_sequence: 0,
            sent_count: 0,
            again: false,
            results: Vec::new(),
        });
        msg_id
    }

    fn next_id(&self, state: &mut State) -> u64 {
        state.next_id += 1;
        if self.shared.does(Fault::SameId) { 0 } else { octets::dated_id(state.next_id) }
    }

    /// SUBMITs so far.
    #[must_use]
    pub fn submits(&self) -> Vec<Submitted> {
        self.shared.state().submits.clone()
    }

    /// Whole texts a citizen's phone shows: parts joined, those that were refused left out.
    #[must_use]
    pub fn texts_to(&self, to: &str) -> Vec<String> {
        text::texts_to(&self.submits(), to)
    }

    /// Waits for `n` whole texts to a citizen.
    ///
    /// # Errors
    /// [`Error::Timeout`] with what came.
    pub async fn wait_texts(&self, to: &str, n: usize, timeout_ms: u64) -> Result<Vec<String>> {
        let what = format!("{n} texts to {to}");
        until(&what, timeout_ms, || async { Some(self.texts_to(to)).filter(|t| t.len() >= n) })
            .await
            .map_err(|_| Error::Timeout { what: format!("{what}, came {:?}", self.texts_to(to)), after_ms: timeout_ms })
    }

    /// Messages and reports that aren't acknowledged with result 0.
    #[must_use]
    pub fn unacknowledged(&self) -> usize {
        self.shared.state().parcels.iter().filter(|p| !p.results.contains(&0)).count()
    }

    /// How long each citizen's message took from its first leaving to its acknowledgement, in the order of these.
    #[must_use]
    pub fn delays(&self) -> Vec<Duration> {
        self.shared.state().delays.clone()
    }

    /// Waits until everything is acknowledged.
    ///
    /// # Errors
    /// [`Error::Timeout`].
    pub async fn wait_acknowledged(&self, timeout_ms: u64) -> Result<()> {
        let done = until("all acknowledgements", timeout_ms, || async { (self.unacknowledged() == 0).then_some(()) });
        done.await.map_err(|_| Error::Timeout {
            what: format!("all acknowledgements, {} are missing", self.unacknowledged()),
            after_ms: timeout_ms,
        })
    }

    /// Waits for `n` connections with a CONNECT behind them.
    ///
    /// # Errors
    /// [`Error::Timeout`].
    pub async fn wait_links(&self, n: usize, timeout_ms: u64) -> Result<()> {
        until(&format!("{n} CMPP links"), timeout_ms, || async { (self.links() >= n).then_some(()) }).await
    }

    /// Connections that are up.
    #[must_use]
    pub fn links(&self) -> usize {
        self.shared.state().links
    }

    /// Connections that ever were.
    #[must_use]
    pub fn links_seen(&self) -> usize {
        self.shared.state().links_seen
    }

    /// CONNECTs refused.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.shared.state().refused
    }

    /// ACTIVE_TESTs that came.
    #[must_use]
    pub fn tests(&self) -> usize {
        self.shared.state().tests
    }

    /// Cuts every connection without a goodbye.
    pub fn cut(&self) {
        self.shared.state().cut += 1;
    }
}

impl State {
    fn push(&mut self, parcel: Parcel) {
        if self.parcels.len() < ISMG_ROWS_MAX {
            self.parcels.push(parcel);
        }
    }

    /// Takes one of a counted fault.
    fn spend(&mut self, is_it: impl Fn(&Fault) -> bool) -> bool {
        match self.faults.iter().position(is_it) {
            Some(at) => self.faults.remove(at).is_some(),
            None => false,
        }
    }
}

impl Drop for Ismg {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How often a connection looks for something to send.
const LOOK_EVERY: Duration = Duration::from_millis(5);

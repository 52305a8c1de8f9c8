//! A case core as a service over HTTP that keeps its cases and fails on request.
//!
//! The contract, JSON over HTTP:
//! - `POST /cases` with `Idempotency-Key`: 201 `{"case_no": …}`; the same key again
//!   gives 200 and the same number;
//! - `POST /cases/{case_no}/{command}` (`close`, `reopen`, `remind`) with
//!   `Idempotency-Key`: 200 `{"case_no": …}`, done once per key;
//! - `GET /cases?idempotency_key=K`: 200 `{"case_no": …}`, or 404 when the key is
//!   unknown: what a client asks after an unknown outcome, also of a command;
//! - `GET /events?after=N&limit=M`: `{"events": [{"event_id", "case_no", "stage",
//!   "at_ms", "note"}], "cursor": N}`;
//! - webhooks carry `X-Signature: sha256=` and the body's HMAC-SHA-256, hexadecimal.

mod serve;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::net::GATEWAY_IP;
use crate::{Error, Result, until};

/// What happens to one write request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 503 with `Retry-After: 1`; nothing is kept.
    Refuse,
    /// 422: a refusal that a retry doesn't change.
    Reject,
    /// Kept, but answered only after so long: the client has given up.
    AcceptThenTimeout {
        /// Milliseconds.
        ms: u64,
    },
    /// Kept, then the connection is cut without an answer.
    AcceptThenDrop,
    /// The connection is cut and nothing is kept.
    Drop,
    /// Kept and answered, and the events of this case come twice.
    AnswerTwice,
    /// Kept and answered after so long, within the client's patience.
    Slow {
        /// Milliseconds.
        ms: u64,
    },
    /// Kept, but answered 200 with a body that is no JSON.
    Garbage,
}

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its number here.
    pub case_no: String,
    /// The key it was created with.
    pub key: String,
    /// What was handed over.
    pub payload: Value,
    /// `create` requests with its key, faults included.
    pub requests: u32,
    repeat_events: bool,
}

/// One command on a case, kept once per idempotency key.
#[derive(Clone, Debug)]
pub struct Command {
    /// The case.
    pub case_no: String,
    /// `close`, `reopen`, `remind`, `stage`.
    pub command: String,
    /// Its idempotency key.
    pub key: String,
    /// What came with it.
    pub payload: Value,
}

/// One request, in order of arrival.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Path.
    pub path: String,
    /// Idempotency key, empty for reads.
    pub key: String,
    /// All headers, names in lower case.
    pub headers: HashMap<String, String>,
    /// The fault it met.
    pub fault: Option<Fault>,
}

#[derive(Default)]
struct Core {
    cases: BTreeMap<String, Case>,
    commands: Vec<Command>,
    events: Vec<Value>,
    faults: VecDeque<Fault>,
    seen: Vec<Seen>,
}

type Shared = Arc<Mutex<Core>>;

/// A running case core; dropping it closes its listener.
#[derive(Clone)]
pub struct CaseCore {
    address: SocketAddr,
    core: Shared,
    _server: Arc<Server>,
}

struct Server(AbortHandle);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn lock(core: &Shared) -> MutexGuard<'_, Core> {
    core.lock().unwrap_or_else(PoisonError::into_inner)
}

impl CaseCore {
    /// Starts on a free port.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn start() -> Result<Self> {
        Self::start_on(SocketAddr::new(GATEWAY_IP, 0)).await
    }

    /// Starts on a given address, as one that comes back after an outage.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn start_on(address: SocketAddr) -> Result<Self> {
        let what = format!("case core on {address}");
        let listener = TcpListener::bind(address).await.map_err(Error::io(&what))?;
        let address = listener.local_addr().map_err(Error::io(&what))?;
        let core = Shared::default();
        let router = serve::router(core.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        let server = Arc::new(Server(server.abort_handle()));
        Ok(Self { address, core, _server: server })
    }

    /// Base address for the gateway's configuration.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its socket.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next `times` write requests meet `fault`, after those already planned.
    pub fn plan(&self, fault: Fault, times: usize) {
        lock(&self.core).faults.extend(std::iter::repeat_n(fault, times));
    }

    /// Faults planned and not met yet.
    #[must_use]
    pub fn planned(&self) -> usize {
        lock(&self.core).faults.len()
    }

    /// All cases.
    #[must_use]
    pub fn cases(&self) -> Vec<Case> {
        lock(&self.core).cases.values().cloned().collect()
    }

    /// All commands, in order.
    #[must_use]
    pub fn commands(&self) -> Vec<Command> {
        lock(&self.core).commands.clone()
    }

    /// All requests, in order.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.core).seen.clone()
    }

    /// Waits for `count` cases.
    ///
    /// # Errors
    /// [`Error::Timeout`].
    pub async fn wait_cases(&self, count: usize, timeout_ms: u64) -> Result<Vec<Case>> {
        let look = || async { Some(self.cases()).filter(|cases| cases.len() >= count) };
        until(&format!("{count} cases"), timeout_ms, look).await
    }

    /// Waits for a command on a case.
    ///
    /// # Errors
    /// [`Error::Timeout`].
    pub async fn wait_command(&self, case_no: &str, command: &str, timeout_ms: u64) -> Result<Command> {
        let wanted = |c: &Command| c.case_no == case_no && c.command == command;
        let look = || async { self.commands().into_iter().find(wanted) };
        until(&format!("{command} of {case_no}"), timeout_ms, look).await
    }

    /// Moves a case to a stage (`已处置`, `已结案` …): an event for those who poll.
    /// Returns the event; it appears twice if the case answers twice.
    pub fn advance(&self, case_no: &str, stage: &str, note: &str) -> Value {
        let mut core = lock(&self.core);
        let twice = core.cases.get(case_no).is_some_and(|case| case.repeat_events);
        let seq = core.events.len() + 1;
        let event = json!({
            "event_id": format!("{case_no}-{seq}"),
            "case_no": case_no,
            "stage": stage,
            "at_ms": now_ms(),
            "note": note,
        });
        core.events.push(event.clone());
        if twice {
            // The same event further on in the list: only its id tells.
            core.events.push(event.clone());
        }
        event
    }

    /// Sends an event to a webhook, signed with `secret`; returns the status.
    ///
    /// # Errors
    /// [`Error::Http`] when no answer came.
    pub async fn deliver(&self, event: &Value, webhook: &str, secret: &str) -> Result<u16> {
        let body = event.to_string();
        let request = crate::api::client()?.post(webhook);
        let request = request
            .header("content-type", "application/json")
            .header("x-signature", format!("sha256={}", sign(&body, secret)));
        let fail = |e: reqwest::Error| {
            let request = format!("POST {webhook}");
            Error::Http { request, status: 0, body: e.to_string() }
        };
        Ok(request.body(body).send().await.map_err(fail)?.status().as_u16())
    }
}

/// HMAC-SHA-256 (RFC 2104), hexadecimal.
#[must_use]
pub fn sign(text: &str, secret: &str) -> String {
    // `new_from_slice` takes keys of any length; the error can't occur.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        return String::new();
    };
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().iter().map(|b| format!("{b:02x}")).collect()
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

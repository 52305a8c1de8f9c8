//! The WeChat platform: what it pushes, and the part of its API the gateway uses, with faults on request.
//!
//! Written from the platform's own interface tables: `stable_token`, `media/get`, `message/custom/send`,
//! `message/template/send`, `menu/create`, and of 微信客服 `gettoken`, `kf/sync_msg`, `kf/send_msg`.

mod push;
mod serve;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

pub use self::push::{Account, Answer, Push};

use crate::net::GATEWAY_IP;
use crate::{Error, Result, until};

/// What happens to one request of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `errcode`, and nothing is kept.
    Code(i64),
    /// HTTP 502, and nothing is kept.
    BadGateway,
    /// Kept, but answered only after so long.
    Slow {
        /// Milliseconds.
        ms: u64,
    },
    /// A body that is no JSON.
    Garbage,
}

/// One request, in order of arrival.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Path.
    pub path: String,
    /// Its access token.
    pub token: String,
    /// The body's JSON; `null` for a GET.
    pub body: Value,
    /// The fault it met.
    pub fault: Option<Fault>,
    /// Its token held.
    pub holds: bool,
}

#[derive(Default)]
struct State {
    /// The token that holds; others are refused with 40001.
    token: u64,
    seen: Vec<Seen>,
    faults: BTreeMap<String, VecDeque<Fault>>,
    media: BTreeMap<String, (String, Vec<u8>)>,
    /// Entries of `sync_msg`; the cursor is an index into them.
    kf: Vec<Value>,
    page: usize,
    base: String,
}

type Shared = Arc<Mutex<State>>;

/// A running platform; dropping it closes its listener.
#[derive(Clone)]
pub struct Platform {
    address: SocketAddr,
    state: Shared,
    _server: Arc<Server>,
}

struct Server(AbortHandle);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn lock(state: &Shared) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Platform {
    /// Starts on a free port.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn start() -> Result<Self> {
        let what = "the WeChat platform";
        let listener = TcpListener::bind(SocketAddr::new(GATEWAY_IP, 0)).await.map_err(Error::io(what))?;
        let address = listener.local_addr().map_err(Error::io(what))?;
        let base = format!("http://{address}");
        let state: Shared = Arc::new(Mutex::new(State { token: 1, page: 2, base, ..State::default() }));
        let router = serve::router(Arc::clone(&state));
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { address, state, _server: Arc::new(Server(server.abort_handle())) })
    }

    /// Base address for the gateway's configuration.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next `times` requests of `path` meet `fault`, after those already planned.
    pub fn plan(&self, path: &str, fault: Fault, times: usize) {
        lock(&self.state).faults.entry(path.into()).or_default().extend(std::iter::repeat_n(fault, times));
    }

    /// The token handed out so far holds no longer; who asks gets a new one.
    pub fn expire_token(&self) {
        lock(&self.state).token += 1;
    }

    /// A file under a media id.
    pub fn add_media(&self, id: &str, kind: &str, bytes: Vec<u8>) {
        lock(&self.state).media.insert(id.into(), (kind.into(), bytes));
    }

    /// An entry of `sync_msg`.
    pub fn add_kf(&self, entry: Value) {
        lock(&self.state).kf.push(entry);
    }

    /// A citizen's text in 微信客服.
    pub fn add_kf_text(&self, id: &str, account: &str, from: &str, text: &str) {
        self.add_kf(json!({
            "msgid": id, "open_kfid": account, "external_userid": from, "send_time": push::now_s(), "origin": 3,
            "msgtype": "text", "text": {"content": text}
        }));
    }

    /// All requests of a path, in order.
    #[must_use]
    pub fn seen(&self, path: &str) -> Vec<Seen> {
        lock(&self.state).seen.iter().filter(|s| s.path == path).cloned().collect()
    }

    /// Waits until `count` requests of `path` have come.
    ///
    /// # Errors
    /// [`Error::Timeout`].
    pub async fn wait_seen(&self, path: &str, count: usize, timeout_ms: u64) -> Result<Vec<Seen>> {
        let look = || async { Some(self.seen(path)).filter(|seen| seen.len() >= count) };
        until(&format!("{count} requests of {path}"), timeout_ms, look).await
    }

    /// The texts that reached a citizen as messages of [`CUSTOM`] or [`KF_SEND`].
    #[must_use]
    pub fn texts(&self, openid: &str) -> Vec<String> {
        let sent = self.seen(CUSTOM).into_iter().chain(self.seen(KF_SEND));
        let taken = |s: &Seen| s.holds && !matches!(s.fault, Some(Fault::Code(_) | Fault::BadGateway));
        let text = |s: Seen| s.body["text"]["content"].as_str().map(str::to_owned);
        sent.filter(|s| taken(s) && s.body["touser"] == openid).filter_map(text).collect()
    }
}

/// Path of a customer-service message.
pub const CUSTOM: &str = "/cgi-bin/message/custom/send";
/// Path of a template message.
pub const TEMPLATE: &str = "/cgi-bin/message/template/send";
/// Path of the Official Account's token.
pub const TOKEN: &str = "/cgi-bin/stable_token";
/// Path of a media file.
pub const MEDIA: &str = "/cgi-bin/media/get";
/// Path of the menu.
pub const MENU: &str = "/cgi-bin/menu/create";
/// Path of 微信客服's messages.
pub const KF_SYNC: &str = "/cgi-bin/kf/sync_msg";
/// Path of a message of 微信客服.
pub const KF_SEND: &str = "/cgi-bin/kf/send_msg";

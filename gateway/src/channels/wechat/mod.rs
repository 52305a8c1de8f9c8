//! WeChat: an Official Account (公众号) and 微信客服.
//!
//! Pushes come to `webhook`, are taken by the one door and only then answered `success`; media are
//! fetched afterwards by `fetch` from rows of the same commit, texts leave by `send`. 微信客服 only
//! hints that something came: `kf` asks for it with a cursor that moves after the commit.

pub mod client;
pub mod crypto;
mod fetch;
mod kf;
mod kf_sync;
pub mod limits;
pub mod menu;
pub mod quota;
mod send;
mod take;
pub mod token;
mod voice;
pub mod webhook;
pub mod xml;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use anyhow::Context;
use tokio::sync::Notify;

use self::client::{Account, Client};
use self::crypto::Envelope;
use crate::app::Services;
use crate::config::{Wechat as Settings, WechatTemplate};

/// The name of this channel in rows.
pub const CHANNEL: &str = "wechat";
/// Lines of 微信客服 are this and the account's `open_kfid`.
const KF_LINE: &str = "kf:";

/// Whether a text is an EncodingAESKey.
#[must_use]
pub fn is_aes_key(text: &str) -> bool {
    Envelope::new("token", text, "receiver").is_ok_and(|e| e.is_safe())
}

/// What this channel keeps in memory.
pub struct Wechat {
    pub(crate) official: Option<Official>,
    pub(crate) kf: Option<Kf>,
    /// Something is to be fetched.
    to_fetch: Notify,
    warned_at: AtomicI64,
}

/// The Official Account.
pub(crate) struct Official {
    pub(crate) name: String,
    pub(crate) envelope: Envelope,
    pub(crate) client: Client,
    window_s: i64,
    welcome: String,
    templates: std::collections::BTreeMap<String, WechatTemplate>,
}

/// 微信客服.
pub(crate) struct Kf {
    pub(crate) envelope: Envelope,
    pub(crate) client: Client,
    window_s: i64,
    poll_s: u64,
    welcome: String,
    /// Accounts something came for, each with its newest callback's token (empty if none).
    hints: std::sync::Mutex<std::collections::BTreeMap<String, String>>,
    to_sync: Notify,
}

impl Wechat {
    /// Reads the secrets and prepares the accounts that are configured.
    ///
    /// # Errors
    /// A secret's file that can't be read, a key that isn't one.
    pub fn open(settings: &Settings) -> anyhow::Result<Self> {
        let mut s = settings.clone();
        s.read_secrets().context("微信密钥文件 / a secret of WeChat")?;
        let window_s = i64::try_from(s.replay_window_s).unwrap_or(600);
        let welcome = if s.welcome.is_empty() { menu::WELCOME.to_owned() } else { s.welcome.clone() };
        let official = if s.app_id.is_empty() {
            None
        } else {
            let account = Account::Official { app_id: s.app_id.clone(), secret: s.app_secret.clone() };
            Some(Official {
                name: s.name.clone(),
                envelope: Envelope::new(&s.token, &s.aes_key, &s.app_id).context("wechat.aes_key")?,
                client: Client::new(&s.base_url, s.timeout_ms, account)?,
                window_s,
                welcome: welcome.clone(),
                templates: s.templates.clone(),
            })
        };
        let kf = if s.kf.corp_id.is_empty() {
            None
        } else {
            let account = Account::Corp { corp_id: s.kf.corp_id.clone(), secret: s.kf.secret.clone() };
            Some(Kf {
                envelope: Envelope::new(&s.kf.token, &s.kf.aes_key, &s.kf.corp_id).context("wechat.kf.aes_key")?,
                client: Client::new(&s.kf.base_url, s.timeout_ms, account)?,
                window_s,
                poll_s: s.kf.poll_s,
                welcome,
                hints: std::sync::Mutex::default(),
                to_sync: Notify::new(),
            })
        };
        Ok(Self { official, kf, to_fetch: Notify::new(), warned_at: AtomicI64::new(0) })
    }

    /// The Official Account's API, if one is configured.
    #[must_use]
    pub fn official_client(&self) -> Option<&Client> {
        self.official.as_ref().map(|official| &official.client)
    }

    fn is_on(&self) -> bool {
        self.official.is_some() || self.kf.is_some()
    }

    /// True once a minute: a flood of forgeries must not become a flood of lines.
    fn may_warn(&self, now: i64) -> bool {
        let last = self.warned_at.load(Ordering::Relaxed);
        let due = last == 0 || now >= last + limits::WARN_EVERY_MS || now < last;
        due && self.warned_at.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// The keyed hash a citizen is found by.
fn openid_hash(sv: &Services, openid: &str) -> String {
    let sender = crate::intake::envelope::Sender::Openid(crate::privacy::Pii::new(openid.to_owned()));
    crate::intake::draft::hash_of(sv, &sender).unwrap_or_default()
}

/// The platform's webhooks: outside the sign-in, inside their own signatures.
pub(crate) fn routes() -> axum::Router<crate::console::Api> {
    use axum::extract::DefaultBodyLimit;
    use axum::routing::get;
    axum::Router::new()
        .route("/hooks/wechat", get(webhook::check).post(webhook::push))
        .route("/hooks/wechat/kf", get(kf::check).post(kf::push))
        .layer(DefaultBodyLimit::max(limits::BODY_BYTES_MAX))
}

/// Starts the workers of what is configured; nothing otherwise.
pub fn spawn(sv: &Arc<Services>) {
    if !sv.wechat.is_on() {
        return;
    }
    tokio::spawn(send::run(Arc::clone(sv)));
    tokio::spawn(fetch::run(Arc::clone(sv)));
    if sv.wechat.kf.is_some() {
        tokio::spawn(kf_sync::run(Arc::clone(sv)));
    }
}

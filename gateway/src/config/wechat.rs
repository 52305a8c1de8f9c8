//! WeChat: an Official Account (公众号) and 微信客服.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Config, judge};

/// An Official Account.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Wechat {
    /// The account's name in rows and counters.
    pub name: String,
    /// AppID; empty: no Official Account.
    pub app_id: String,
    /// AppSecret.
    pub app_secret: String,
    /// File that holds the AppSecret instead.
    pub app_secret_file: Option<PathBuf>,
    /// Token of the message server.
    pub token: String,
    /// File that holds the token instead.
    pub token_file: Option<PathBuf>,
    /// EncodingAESKey, 43 characters: safe mode; empty: plain mode.
    pub aes_key: String,
    /// File that holds the EncodingAESKey instead.
    pub aes_key_file: Option<PathBuf>,
    /// The platform.
    pub base_url: String,
    /// One request to the platform may take so long.
    pub timeout_ms: u64,
    /// A pushed message older than this is refused as a replay.
    pub replay_window_s: u64,
    /// Greeting of a new follower; empty: the built-in one.
    pub welcome: String,
    /// Voices become WAV with `ffmpeg` or `sox`; `auto` takes what is there, `none` leaves them for the ear.
    pub voice_decoder: String,
    /// Template messages by the name of our text.
    #[serde(rename = "template")]
    pub templates: BTreeMap<String, WechatTemplate>,
    /// 微信客服.
    pub kf: WechatKf,
}

impl Default for Wechat {
    fn default() -> Self {
        Self {
            name: "wechat".into(),
            app_id: String::new(),
            app_secret: String::new(),
            app_secret_file: None,
            token: String::new(),
            token_file: None,
            aes_key: String::new(),
            aes_key_file: None,
            base_url: "https://api.weixin.qq.com".into(),
            timeout_ms: 10_000,
            replay_window_s: 600,
            welcome: String::new(),
            voice_decoder: "auto".into(),
            templates: BTreeMap::new(),
            kf: WechatKf::default(),
        }
    }
}

/// A template of the platform's and what goes into it.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct WechatTemplate {
    /// The platform's template id.
    pub id: String,
    /// Page it opens; empty: none.
    pub url: String,
    /// Field of the template to a text with our parameters, e.g. `character_string1 = "{acceptance_no}"`.
    pub data: BTreeMap<String, String>,
}

/// 微信客服, served by 企业微信.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct WechatKf {
    /// 企业 ID; empty: no 微信客服.
    pub corp_id: String,
    /// Secret of the customer-service application.
    pub secret: String,
    /// File that holds the secret instead.
    pub secret_file: Option<PathBuf>,
    /// Token of its callback.
    pub token: String,
    /// File that holds the token instead.
    pub token_file: Option<PathBuf>,
    /// EncodingAESKey of its callback, always needed.
    pub aes_key: String,
    /// File that holds the EncodingAESKey instead.
    pub aes_key_file: Option<PathBuf>,
    /// The platform.
    pub base_url: String,
    /// Messages are asked for so often even if no callback came.
    pub poll_s: u64,
}

impl Default for WechatKf {
    fn default() -> Self {
        Self {
            corp_id: String::new(),
            secret: String::new(),
            secret_file: None,
            token: String::new(),
            token_file: None,
            aes_key: String::new(),
            aes_key_file: None,
            base_url: "https://qyapi.weixin.qq.com".into(),
            poll_s: 60,
        }
    }
}

impl Wechat {
    /// Reads the `*_file` settings into their values.
    ///
    /// # Errors
    /// The file and what the system says of it.
    pub fn read_secrets(&mut self) -> std::io::Result<()> {
        for (file, value) in [
            (&self.app_secret_file, &mut self.app_secret),
            (&self.token_file, &mut self.token),
            (&self.aes_key_file, &mut self.aes_key),
            (&self.kf.secret_file, &mut self.kf.secret),
            (&self.kf.token_file, &mut self.kf.token),
            (&self.kf.aes_key_file, &mut self.kf.aes_key),
        ] {
            if let Some(path) = file {
                let named = |e: std::io::Error| std::io::Error::new(e.kind(), format!("{}: {e}", path.display()));
                std::fs::read_to_string(path).map_err(named)?.trim().clone_into(value);
            }
        }
        Ok(())
    }
}

impl Config {
    pub(super) fn judge_wechat(&self) -> Result<(), judge::Fault> {
        let w = &self.wechat;
        let long = |key: &str| key.is_empty() || crate::channels::wechat::is_aes_key(key);
        if !w.app_id.is_empty() {
            judge_name(&w.name)?;
            needed("wechat.app_secret", &w.app_secret, w.app_secret_file.is_some())?;
            needed("wechat.token", &w.token, w.token_file.is_some())?;
            judge_address("wechat.base_url", &w.base_url)?;
        }
        if !w.kf.corp_id.is_empty() {
            needed("wechat.kf.secret", &w.kf.secret, w.kf.secret_file.is_some())?;
            needed("wechat.kf.token", &w.kf.token, w.kf.token_file.is_some())?;
            needed("wechat.kf.aes_key", &w.kf.aes_key, w.kf.aes_key_file.is_some())?;
            judge_address("wechat.kf.base_url", &w.kf.base_url)?;
        }
        for (key, value) in [("wechat.aes_key", &w.aes_key), ("wechat.kf.aes_key", &w.kf.aes_key)] {
            if !long(value) {
                let problem = "is no EncodingAESKey".into();
                return judge::fault(key, problem, "照抄平台给出的 43 个字符 / copy the platform's 43 characters");
            }
        }
        for (key, value, least, most) in [
            ("wechat.timeout_ms", w.timeout_ms, 100, 60_000),
            ("wechat.replay_window_s", w.replay_window_s, 60, 86_400),
            ("wechat.kf.poll_s", w.kf.poll_s, 1, 3_600),
        ] {
            if !(least..=most).contains(&value) {
                let problem = format!("{value} is outside {least}…{most}");
                return judge::fault(key, problem, "取范围内的值 / choose a value inside");
            }
        }
        if !matches!(w.voice_decoder.as_str(), "auto" | "ffmpeg" | "sox" | "none") {
            let problem = format!("{:?} is unknown", w.voice_decoder);
            return judge::fault(
                "wechat.voice_decoder",
                problem,
                "auto、ffmpeg、sox 或 none / auto, ffmpeg, sox or none",
            );
        }
        if let Some((name, _)) = w.templates.iter().find(|(_, t)| t.id.is_empty()) {
            let key = format!("wechat.template.{name}.id");
            return judge::fault(&key, "is empty".into(), "填写平台的模板编号 / give the platform's template id");
        }
        Ok(())
    }
}

/// The name becomes part of rows and labels.
fn judge_name(name: &str) -> Result<(), judge::Fault> {
    let fits =
        (1..=32).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if fits {
        return Ok(());
    }
    let problem = format!("{name:?} is no name");
    judge::fault("wechat.name", problem, "1–32 个字母、数字、_ 或 - / 1 to 32 letters, digits, _ or -")
}

fn needed(key: &str, value: &str, from_file: bool) -> Result<(), judge::Fault> {
    if !value.is_empty() || from_file {
        return Ok(());
    }
    judge::fault(key, "is empty".into(), "照抄平台后台的值,或写 *_file / copy it from the platform, or set its *_file")
}

fn judge_address(key: &str, address: &str) -> Result<(), judge::Fault> {
    if address.starts_with("https://") || address.starts_with("http://") {
        return Ok(());
    }
    judge::fault(key, format!("{address:?} is no address"), "写作 https://… / write https://…")
}

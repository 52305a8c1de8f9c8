//! The one typed configuration. Every default is written out in `ops/hotline.example.toml`;
//! a test keeps that file and these defaults the same.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

mod alarm;
mod cluster;
mod cmpp;
mod codecs;
mod dialout;
mod guard;
mod incident;
mod intake;
mod judge;
mod judge_trunk;
mod mail;
mod queue;
mod recording;
mod reward;
mod robot;
mod routing;
mod smpp;
mod sms;
mod sms_http;
mod srtp;
mod texts;
mod trace;
mod trunk;
mod web;
mod web_phone;
mod wechat;
mod worklist;

pub use alarm::Alarm;
pub use cluster::Cluster;
pub use cmpp::{CmppCheck, CmppLine, CmppNumbers, CmppVersion};
pub use codecs::CodecName;
pub use dialout::Dialout;
pub use guard::Guard;
pub use incident::{Incident, Merging};
pub use intake::Intake;
pub use judge::digest_algorithm;
pub use mail::{Imap, Mail, MailTls, Smtp};
pub use queue::{OpenDays, Queue, Widen};
pub use recording::{Record, RecordingFormat};
pub use reward::Reward;
pub use robot::Robot;
pub use routing::Routing;
pub use smpp::{SmppBind, SmppDefault, SmppLine, SmppLong, SmppNumbers};
pub use sms::{Sms, SmsKind, SmsLine};
pub use sms_http::{HttpAnswer, HttpFormat, HttpLine, HttpPush, HttpSign, HttpTrust, SignAlgorithm, SignEncoding};
pub use srtp::Srtp;
pub use texts::Texts;
pub use trace::{Hep, Trace};
pub use trunk::{
    BadHostPort, ClientCertificate, HostPort, NumberRule, SipTls, TransportName, Trunk, TrunkDtmf, TrunkNumbers,
    TrunkTls,
};
pub use web::Web;
pub use web_phone::WebPhone;
pub use wechat::{Wechat, WechatKf, WechatTemplate};
pub use worklist::Worklist;

/// A configuration file that cannot be used: where, what, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("{path}: {source}. 请检查路径和权限 / check the path and its permissions")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The text is no valid configuration; `detail` names line and column.
    #[error("{path}: {detail}\n对照 ops/hotline.example.toml 修改 / compare with ops/hotline.example.toml")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The parser's message with line and column.
        detail: String,
    },
    /// A value is well-formed but makes no sense.
    #[error("{path}: {key}: {problem}. {remedy}")]
    Value {
        /// The file (or the command line).
        path: PathBuf,
        /// Dotted key.
        key: String,
        /// What is wrong.
        problem: String,
        /// What to do.
        remedy: String,
    },
}

/// Everything a site can set.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The city: numbering and clock.
    pub site: Site,
    /// Where files and rows live.
    pub storage: Storage,
    /// SIP listeners and who may use them.
    pub sip: Sip,
    /// Carrier trunks.
    #[serde(rename = "trunk")]
    pub trunks: Vec<Trunk>,
    /// RTP.
    pub media: Media,
    /// Hotline numbers and where each leads.
    #[serde(rename = "hotline")]
    pub hotlines: Vec<Hotline>,
    /// Queues by name.
    #[serde(rename = "queue")]
    pub queues: BTreeMap<String, Queue>,
    /// Prompts and flows.
    pub voice: Voice,
    /// Speech to text.
    pub transcription: hotline_transcription::Config,
    /// Where speech models come from.
    pub models: Models,
    /// From contacts to items.
    pub intake: Intake,
    /// What citizens are written.
    pub texts: Texts,
    /// The operators' work queue.
    pub worklist: Worklist,
    /// What the shift leader is alarmed about.
    pub alarm: Alarm,
    /// Short messages.
    pub sms: Sms,
    /// When reports are taken for one incident.
    pub incident: Incident,
    /// Which callers come before others, and to whom.
    pub routing: Routing,
    /// Rewards for first reporters.
    pub reward: Reward,
    /// Where items are handed to.
    pub casecore: CaseCore,
    /// What may be called outside, and how often.
    pub dialout: Dialout,
    /// When and how citizens are called.
    pub callback: Callback,
    /// WeChat accounts.
    pub wechat: Wechat,
    /// The citizens' report page.
    pub web: Web,
    /// Browser phones.
    pub web_phone: WebPhone,
    /// Mail, in and out.
    pub mail: Mail,
    /// The self-test.
    pub robot: Robot,
    /// Several gateways with one queue.
    pub cluster: Cluster,
    /// Console and API.
    pub http: Http,
    /// What is kept of the messages on the wire.
    pub trace: Trace,
    /// Logs.
    pub log: Log,
}

/// The city.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Site {
    /// 行政区划 code, six digits; begins every acceptance number.
    pub region: String,
    /// Area code without its 0, e.g. `519`: completes local numbers; empty: they stay as they are.
    pub area_code: String,
    /// Local time as minutes east of UTC.
    pub utc_offset_min: i32,
    /// Spoken and written language first: `zh-CN` or `en`.
    pub language: String,
    /// A TOML file with statutory holidays and moved workdays; empty: the years the program knows.
    pub calendar: PathBuf,
}

impl Default for Site {
    fn default() -> Self {
        Self {
            region: "320400".into(),
            area_code: String::new(),
            utc_offset_min: 480,
            language: "zh-CN".into(),
            calendar: PathBuf::new(),
        }
    }
}

/// Files and rows.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// Data directory: database, recordings, models, keys.
    pub data_dir: PathBuf,
    /// `sqlite:` or `postgres:` URL; empty means SQLite in the data directory.
    pub database_url: String,
}

impl Default for Storage {
    fn default() -> Self {
        Self { data_dir: PathBuf::from("/var/lib/hotline"), database_url: String::new() }
    }
}

impl Storage {
    /// The database's URL with the default filled in.
    #[must_use]
    pub fn url(&self) -> String {
        if self.database_url.is_empty() {
            format!("sqlite://{}", self.data_dir.join("hotline.db").display())
        } else {
            self.database_url.clone()
        }
    }
    /// Where recordings are written.
    #[must_use]
    pub fn recordings(&self) -> PathBuf {
        self.data_dir.join("recordings")
    }
    /// Where speech models are kept.
    #[must_use]
    pub fn models(&self) -> PathBuf {
        self.data_dir.join("models")
    }
}

/// SIP listeners.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Sip {
    /// UDP and TCP are both opened on each address.
    pub listen: Vec<SocketAddr>,
    /// TLS listeners and their certificate.
    pub tls: SipTls,
    /// Name servers for trunks given by name, `address:port`; empty: the system's.
    pub dns: Vec<SocketAddr>,
    /// The address written into Via and Contact; empty: the listener's own.
    pub advertise: Option<IpAddr>,
    /// Digest realm.
    pub realm: String,
    /// Digest algorithms offered, best first. Phones that stumble over a second challenge need `["MD5"]`.
    pub digest: Vec<String>,
    /// Networks operators' phones may register from.
    pub phone_networks: Vec<String>,
    /// Networks phones' media may come from, beside where they signal from and what they announce.
    pub phone_media_networks: Vec<String>,
    /// `off`, `optional` or `required`: encryption of the audio of operators' phones.
    pub phone_srtp: Srtp,
    /// Write SRTP keys into signalling that isn't TLS too: whoever reads that can listen in.
    pub srtp_keys_in_clear: bool,
    /// Calls at once, each leg counted; further ones get 503 with Retry-After. A quarter is kept for calls we make.
    pub sessions_max: usize,
    /// Session timer (RFC 4028) we ask for, in seconds: a call whose peer vanished ends by itself. 0 asks for none.
    pub session_expires_s: u32,
    /// Shorter session timers of peers get 422.
    pub session_min_s: u32,
    /// Longest registration granted to a phone, seconds.
    pub register_max_s: u32,
    /// Networks a listener hears; one that isn't named hears everybody, as far as the lists above go.
    pub allow: BTreeMap<SocketAddr, Vec<String>>,
    /// Rates before parsing, failures and bans.
    pub guard: Guard,
}

impl Default for Sip {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 5060)],
            tls: SipTls::default(),
            dns: Vec::new(),
            advertise: None,
            realm: "hotline".into(),
            digest: vec!["SHA-256".into(), "MD5".into()],
            phone_networks: vec![
                "127.0.0.0/8".into(),
                "10.0.0.0/8".into(),
                "172.16.0.0/12".into(),
                "192.168.0.0/16".into(),
            ],
            phone_media_networks: Vec::new(),
            phone_srtp: Srtp::Off,
            srtp_keys_in_clear: false,
            sessions_max: 3000,
            session_expires_s: 1_800,
            session_min_s: 90,
            register_max_s: 600,
            allow: BTreeMap::new(),
            guard: Guard::default(),
        }
    }
}

/// RTP.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Media {
    /// Address the RTP sockets bind to.
    pub bind: IpAddr,
    /// Address written into SDP; empty: `bind`, or the SIP listener's where `bind` is unspecified.
    pub advertise: Option<IpAddr>,
    /// First RTP port (even).
    pub port_min: u16,
    /// Last port.
    pub port_max: u16,
    /// Media threads at most; a second one starts when the first uses 60 % of a core.
    pub threads: usize,
    /// How recordings are stored.
    pub recording_format: RecordingFormat,
    /// What phones are offered, preferred first; after the codec of the call they are rung for.
    pub codecs: Vec<CodecName>,
    /// No RTP for so long is reported as silence.
    pub rtp_silence_ms: u64,
    /// No RTP for so long ends the call (the network did).
    pub rtp_dead_ms: u64,
    /// No RTP from an operator's phone for so long puts the citizen back to the queue's head.
    pub phone_dead_ms: u64,
    /// Extended RTCP reports (RFC 3611) to every peer; otherwise to those whose SDP asks for them.
    pub rtcp_xr: bool,
    /// Automatic gain in conferences of three and more: quiet voices are raised, loud ones lowered. A
    /// talk of two is never changed.
    pub agc: bool,
}

impl Default for Media {
    fn default() -> Self {
        Self {
            bind: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            advertise: None,
            port_min: 20_000,
            port_max: 29_999,
            threads: 2,
            codecs: CodecName::g711(),
            rtp_silence_ms: 4_000,
            recording_format: RecordingFormat::Pcm16,
            rtp_dead_ms: 30_000,
            phone_dead_ms: 15_000,
            rtcp_xr: false,
            agc: false,
        }
    }
}

/// A hotline number (热线号码).
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Hotline {
    /// As dialled, e.g. `12319`.
    pub number: String,
    /// Queue it feeds.
    #[serde(default = "main_queue")]
    pub queue: String,
    /// Flow it starts with.
    #[serde(default = "hotline_flow")]
    pub flow: String,
    /// The caller hears it ring for so long before we answer; 0: answered at once, without a 180.
    #[serde(default)]
    pub ring_ms: u64,
    /// Which part of its calls is recorded.
    #[serde(default)]
    pub record: Record,
    /// Skills its callers need beside the queue's.
    #[serde(default)]
    pub skills: Vec<String>,
}

fn main_queue() -> String {
    "main".into()
}
fn hotline_flow() -> String {
    "hotline".into()
}

/// Prompts and flows.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Voice {
    /// Folder with `zh-CN/` and `en/`; empty: searched beside the program, then `/usr/share/hotline/sounds`.
    pub sounds_dir: Option<PathBuf>,
    /// Folder with a site's own flows (`NAME.toml`), which replace built-in ones.
    pub flows_dir: Option<PathBuf>,
    /// Ask for a verdict after the talk.
    pub survey_off: bool,
}

/// Where speech models come from.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Models {
    /// Where `hotline model get` fetches from; empty: the publisher's own address.
    pub base_url: String,
}

/// The case core.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct CaseCore {
    /// `ledger` (embedded) or `http`.
    pub kind: String,
    /// Base address for `http`.
    pub url: String,
    /// Bearer token for `http`.
    pub token: String,
    /// Shared secret of the status webhook (HMAC-SHA-256).
    pub webhook_secret: String,
    /// Request time limit.
    pub timeout_ms: u64,
    /// How often status events are polled.
    pub poll_ms: u64,
    /// First retry pause; doubles with full jitter.
    pub retry_ms: u64,
    /// Longest retry pause.
    pub retry_max_ms: u64,
    /// Permanent refusals and retries before a row is set aside for a person.
    pub attempts_max: i64,
}

impl Default for CaseCore {
    fn default() -> Self {
        Self {
            kind: "ledger".into(),
            url: String::new(),
            token: String::new(),
            webhook_secret: String::new(),
            timeout_ms: 10_000,
            poll_ms: 5_000,
            retry_ms: 1_000,
            retry_max_ms: 300_000,
            attempts_max: 1_000,
        }
    }
}

/// Callbacks (domain rules §4).
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Callback {
    /// Place calls at all.
    pub enabled: bool,
    /// Local windows `HH:MM-HH:MM` for 办结回访.
    pub windows: Vec<String>,
    /// 办结回访 on statutory holidays, too.
    pub holidays: bool,
    /// Local hours in which a missed caller or a message is called back; empty: any hour.
    pub waking: String,
    /// Trunk to use; empty: the first with `outbound`.
    pub trunk: String,
    /// Attempts before 无法联系.
    pub attempts: i64,
    /// Pause between attempts of 办结回访.
    pub retry_s: u64,
    /// Days the attempts must span at least.
    pub span_days: u64,
    /// Pause between attempts of 漏接/排队回拨.
    pub missed_retry_s: u64,
    /// Ringing time at the citizen.
    pub ring_s: u64,
    /// Calls placed at once.
    pub concurrent_max: usize,
    /// Divides every pause above; 1 in service. With 3600 an hour is a second.
    pub time_factor: u64,
    /// How often due tasks are looked for.
    pub poll_ms: u64,
    /// Whom no attempt about a finished case reached gets one text, where there is a line for it.
    pub unreachable_text: bool,
}

impl Default for Callback {
    fn default() -> Self {
        Self {
            enabled: true,
            windows: vec!["08:30-12:00".into(), "14:00-20:00".into()],
            holidays: false,
            waking: "08:00-21:00".into(),
            trunk: String::new(),
            attempts: 3,
            retry_s: 7_200,
            span_days: 2,
            missed_retry_s: 600,
            ring_s: 30,
            concurrent_max: 4,
            time_factor: 1,
            poll_ms: 1_000,
            unreachable_text: true,
        }
    }
}

/// Console and API.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Listener.
    pub listen: SocketAddr,
    /// A sign-in lasts so long.
    pub session_hours: u64,
    /// Largest request body.
    pub body_max_bytes: usize,
    /// Set behind TLS: the session cookie is sent over HTTPS only.
    pub secure_cookie: bool,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080),
            session_hours: 12,
            body_max_bytes: 256 * 1024,
            secure_cookie: false,
        }
    }
}

/// Logs.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug` or a filter.
    pub level: String,
    /// One JSON object a line.
    pub json: bool,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".into(), json: false }
    }
}

impl Config {
    /// Reads and judges a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.into(), source })?;
        Self::parse(path, &text)
    }

    /// Parses `text`; `path` only appears in errors.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text)
            .map_err(|e| ConfigError::Syntax { path: path.into(), detail: e.to_string().trim_end().into() })?;
        config.validate(path)?;
        Ok(config)
    }

    /// The settings of a queue; a name used by a hotline but not set has the defaults.
    #[must_use]
    pub fn queue(&self, name: &str) -> Queue {
        self.queues.get(name).cloned().unwrap_or_default()
    }

    /// The queue of the first hotline number: where operators serve who name no other.
    #[must_use]
    pub fn first_queue(&self) -> String {
        self.hotlines.first().map_or_else(main_queue, |h| h.queue.clone())
    }

    /// Names of all queues.
    #[must_use]
    pub fn queue_names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.queues.keys().cloned().chain(self.hotlines.iter().map(|h| h.queue.clone())).collect();
        if names.is_empty() {
            names.push(main_queue());
        }
        names.sort();
        names.dedup();
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_file_states_exactly_the_defaults() {
        let text = include_str!("../../../ops/hotline.example.toml");
        let example = Config::parse(Path::new("hotline.example.toml"), text).unwrap();
        let mut defaults = Config::default();
        // The lists a site must fill in are shown with one entry each.
        defaults.trunks.clone_from(&example.trunks);
        defaults.hotlines.clone_from(&example.hotlines);
        defaults.queues.clone_from(&example.queues);
        defaults.sms.lines.clone_from(&example.sms.lines);
        assert_eq!(example, defaults);
        assert_eq!(example.queue("main"), Queue::default());
    }

    #[test]
    fn an_error_names_file_line_and_remedy() {
        let text = "[http]\nlisten = \"nowhere\"\n";
        let e = Config::parse(Path::new("/etc/hotline.toml"), text).unwrap_err().to_string();
        assert!(e.contains("/etc/hotline.toml") && e.contains("line 2") && e.contains("example"), "{e}");
        let e = Config::parse(Path::new("c.toml"), "[site]\nregion = \"abc\"").unwrap_err().to_string();
        assert!(e.contains("site.region") && e.contains("六位"), "{e}");
        let e = Config::parse(Path::new("c.toml"), "[sipp]\nx = 1").unwrap_err().to_string();
        assert!(e.contains("sipp"), "{e}");
    }
}

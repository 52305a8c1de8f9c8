//! An SMS line that is an aggregator's HTTP interface, described by configuration alone.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::SmppNumbers;
use super::judge::{Fault, fault};

/// How a body is written or read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpFormat {
    /// `application/json`
    #[default]
    Json,
    /// `application/x-www-form-urlencoded`
    Form,
}

/// How a signature is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SignAlgorithm {
    /// Keyed with the secret (RFC 2104).
    #[default]
    HmacSha256,
    /// Keyed with the secret.
    HmacSha1,
    /// The secret has to stand in `over`.
    Sha256,
    /// The secret has to stand in `over`.
    Md5,
}

/// How a signature is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SignEncoding {
    /// Lower case; upper case is taken too.
    #[default]
    Hex,
    /// Upper case.
    HexUpper,
    /// RFC 4648.
    Base64,
}

/// A signature over a string that is put together from placeholders.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSign {
    /// What signs.
    pub algorithm: SignAlgorithm,
    /// What is signed, e.g. `{account}{timestamp}{secret}`; in pushes also `{body}`, `{sorted}`, `{/field}`,
    /// `{header.x-time}`.
    pub over: String,
    /// How it is written.
    pub encoding: SignEncoding,
}

/// How an aggregator's answer is read.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct HttpAnswer {
    /// JSON pointer to the status; empty: the whole body is the status (`0`, or `0,id`).
    pub status: String,
    /// Values that mean that it was taken.
    pub ok: Vec<String>,
    /// Values that mean slower.
    pub throttled: Vec<String>,
    /// Values that mean never; all others mean not now.
    pub refused: Vec<String>,
    /// JSON pointer to the aggregator's id; empty: what follows the first comma of the body.
    pub id: String,
}

impl Default for HttpAnswer {
    fn default() -> Self {
        Self {
            status: "/code".into(),
            ok: vec!["0".into()],
            throttled: Vec::new(),
            refused: Vec::new(),
            id: "/id".into(),
        }
    }
}

/// Who may push to us.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct HttpTrust {
    /// Networks pushes come from; empty: everywhere.
    pub allow: Vec<String>,
    /// Where the shared secret itself stands: `header.x-token` or `/field`; empty: nowhere.
    pub token: String,
    /// Where the signature stands: `header.x-signature` or `/field`; empty: there is none.
    pub signature: String,
    /// How it is made.
    pub sign: HttpSign,
    /// Where the time stands, in seconds or milliseconds since 1970; empty: nowhere.
    pub timestamp: String,
    /// How far that may be from our clock, seconds.
    pub window_s: u64,
}

impl Default for HttpTrust {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            token: String::new(),
            signature: String::new(),
            sign: HttpSign::default(),
            timestamp: String::new(),
            window_s: 300,
        }
    }
}

/// How a pushed message or report is read. Pointers are JSON pointers (RFC 6901); of a form, `/field`.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct HttpPush {
    /// How it is written.
    pub format: HttpFormat,
    /// Where a list of them stands; empty: the body is one of them, or a list.
    pub list: String,
    /// Citizen's number.
    pub from: String,
    /// Our number; may be absent.
    pub to: String,
    /// The text.
    pub text: String,
    /// The aggregator's id: of the message, or in a report of our text.
    pub id: String,
    /// A report's status.
    pub status: String,
    /// Values of it that mean arrived.
    pub delivered: Vec<String>,
    /// Values that mean still on its way; all others mean failed.
    pub pending: Vec<String>,
    /// What we answer when it is durable.
    pub answer_ok: String,
    /// What we answer otherwise, with 4xx or 503.
    pub answer_error: String,
}

impl Default for HttpPush {
    fn default() -> Self {
        let text = str::to_owned;
        Self {
            format: HttpFormat::Json,
            list: String::new(),
            from: text("/mobile"),
            to: text("/port"),
            text: text("/content"),
            id: text("/id"),
            status: text("/status"),
            delivered: vec![text("DELIVRD"), text("0")],
            pending: vec![text("ACCEPTD"), text("ENROUTE")],
            answer_ok: text("{\"code\":0}"),
            answer_error: text("{\"code\":1}"),
        }
    }
}

/// An aggregator.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct HttpLine {
    /// Where texts go. Placeholders here and below: `{to}` `{text}` `{from}` `{account}` `{secret}` `{sign}` `{id}`
    /// `{nonce}` `{timestamp}` (s) `{timestamp_ms}` `{template_id}` `{param.NAME}`.
    pub url: String,
    /// `POST` or `GET`.
    pub method: String,
    /// Of the body.
    pub format: HttpFormat,
    /// Headers.
    pub headers: BTreeMap<String, String>,
    /// The body: a table whose texts may have placeholders.
    pub body: Value,
    /// `{account}`.
    pub account: String,
    /// `{secret}`; also signs.
    pub secret: String,
    /// A file with the secret instead.
    pub secret_file: Option<PathBuf>,
    /// `{from}`: our number as citizens see it.
    pub from: String,
    /// How `{to}` is written.
    pub numbers: SmppNumbers,
    /// `{template_id}` by template: the numbers texts are registered under.
    pub template_ids: BTreeMap<String, String>,
    /// A text whose template has no number is refused here rather than there.
    pub templates_only: bool,
    /// `{sign}`.
    pub sign: HttpSign,
    /// How the answer is read.
    pub answer: HttpAnswer,
    /// A request may take so long; beyond it its outcome is unknown.
    pub timeout_ms: u64,
    /// Requests at once.
    pub window: usize,
    /// Who may push.
    pub trust: HttpTrust,
    /// Messages: `POST /hooks/sms/NAME`.
    pub push: HttpPush,
    /// Reports: `POST /hooks/sms/NAME/report`.
    pub report: HttpPush,
}

impl Default for HttpLine {
    fn default() -> Self {
        Self {
            url: String::new(),
            method: "POST".into(),
            format: HttpFormat::Json,
            headers: BTreeMap::new(),
            body: Value::Null,
            account: String::new(),
            secret: String::new(),
            secret_file: None,
            from: String::new(),
            numbers: SmppNumbers::National,
            template_ids: BTreeMap::new(),
            templates_only: false,
            sign: HttpSign::default(),
            answer: HttpAnswer::default(),
            timeout_ms: 10_000,
            window: 8,
            trust: HttpTrust::default(),
            push: HttpPush::default(),
            report: HttpPush::default(),
        }
    }
}

impl HttpLine {
    /// The secret, from its file if there is one.
    pub fn secret(&self) -> Result<String, String> {
        super::smpp::secret(&self.secret, self.secret_file.as_deref())
    }

    pub(super) fn judge(&self, at: &str) -> Result<(), Fault> {
        let key = |field: &str| format!("{at}.{field}");
        if !self.url.starts_with("https://") && !self.url.starts_with("http://") {
            let problem = format!("{:?} is no http address", self.url);
            return fault(&key("url"), problem, "如 https://sms.example/send / write https://sms.example/send");
        }
        if !matches!(self.method.as_str(), "POST" | "GET" | "PUT") {
            return fault(&key("method"), format!("{:?} is unknown", self.method), "POST 或 GET / POST or GET");
        }
        if !self.body.is_null() && !self.body.is_object() && !self.body.is_array() {
            return fault(&key("body"), "is no table".into(), "写成表 / write a table: { phone = \"{to}\" }");
        }
        if !self.secret.is_empty() && self.secret_file.is_some() {
            let problem = "secret and secret_file: one of them".into();
            return fault(&key("secret"), problem, "填写其中一项 / set one of them");
        }
        if let Some(bad) = self.trust.allow.iter().find(|net| net.parse::<hotline_sip::IpNet>().is_err()) {
            let problem = format!("{bad:?} is no network");
            return fault(&key("trust.allow"), problem, "如 203.0.113.0/24 / write 203.0.113.0/24");
        }
        let is_place = |at: &str| at.is_empty() || at.starts_with('/') || at.starts_with("header.");
        for (field, value) in [
            ("trust.token", &self.trust.token),
            ("trust.signature", &self.trust.signature),
            ("trust.timestamp", &self.trust.timestamp),
        ] {
            if !is_place(value) {
                let problem = format!("{value:?} names no place");
                return fault(&key(field), problem, "写作 header.x-sign 或 /sign / write header.x-sign or /sign");
            }
        }
        let needs_secret = !self.trust.token.is_empty() || !self.trust.signature.is_empty();
        if needs_secret && self.secret.is_empty() && self.secret_file.is_none() {
            return fault(&key("secret"), "is empty, and pushes are judged by it".into(), "填写密钥 / set the secret");
        }
        if !self.trust.signature.is_empty() && self.trust.sign.over.is_empty() {
            return fault(&key("trust.sign.over"), "is empty".into(), "如 {body} / write {body}, for one");
        }
        for (field, value, least, most) in [
            ("timeout_ms", self.timeout_ms, 100, 60_000),
            ("window", self.window as u64, 1, 64),
            ("trust.window_s", self.trust.window_s, 1, 86_400),
        ] {
            if !(least..=most).contains(&value) {
                let problem = format!("{value} is outside {least}…{most}");
                return fault(&key(field), problem, "取范围内的值 / choose a value inside");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Config, SmsKind};

    #[test]
    fn the_lines_shown_as_comments_in_the_example_can_be_used() {
        let example = include_str!("../../../ops/hotline.example.toml");
        let shown =
            example.lines().skip_while(|l| !l.starts_with("# [[sms.line]]")).take_while(|l| !l.starts_with('['));
        let text: String = shown.map(|l| format!("{}\n", l.strip_prefix("# ").unwrap_or(l))).collect();
        let config = Config::parse(Path::new("example"), &text).unwrap();
        let kinds: Vec<SmsKind> = config.sms.lines.iter().map(|l| l.kind).collect();
        assert_eq!(kinds, [SmsKind::Smpp, SmsKind::Http]);
        let judged = |change: fn(&mut Config)| {
            let mut changed = config.clone();
            change(&mut changed);
            changed.validate(Path::new("c")).unwrap_err().to_string()
        };
        type Change = fn(&mut Config);
        let faults: [(&str, Change); 6] = [
            ("sms.line[0].smpp.address", |c| c.sms.lines[0].smpp.address = "x".into()),
            ("sms.line[0].smpp.password", |c| c.sms.lines[0].smpp.password = "123456789".into()),
            ("sms.line[1].http.url", |c| c.sms.lines[1].http.url = "ftp://x".into()),
            ("sms.line[1].http.secret", |c| c.sms.lines[1].http.secret = String::new()),
            ("sms.line[1].http.trust.allow", |c| c.sms.lines[1].http.trust.allow = vec!["x".into()]),
            ("sms.line[1].http.trust.sign.over", |c| c.sms.lines[1].http.trust.sign.over = String::new()),
        ];
        for (fault, change) in faults {
            let said = judged(change);
            assert!(said.contains(fault), "{fault}: {said}");
            assert!(!said.contains("123456789"), "no secret in an error: {said}");
        }
    }
}

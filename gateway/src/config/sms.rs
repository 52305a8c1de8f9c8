//! Short messages: lines to carriers, and what holds for all of them.

use serde::{Deserialize, Serialize};

use super::Config;
use super::cmpp::CmppLine;
use super::judge::{Fault, fault};
use super::smpp::SmppLine;
use super::sms_http::HttpLine;

/// Short messages.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Sms {
    /// Lines to carriers; none: no short messages.
    #[serde(rename = "line")]
    pub lines: Vec<SmsLine>,
    /// Parts of a long message are waited for so long; then what came is taken, with a mark.
    pub join_s: u64,
    /// A text is tried so often; then it has failed.
    pub attempts_max: i64,
    /// Pause before another try; doubles with jitter.
    pub retry_ms: u64,
    /// Longest pause.
    pub retry_max_ms: u64,
}

impl Default for Sms {
    fn default() -> Self {
        Self { lines: Vec::new(), join_s: 90, attempts_max: 5, retry_ms: 5_000, retry_max_ms: 120_000 }
    }
}

/// How a line speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SmsKind {
    /// China Mobile Peer to Peer.
    Cmpp,
    /// SMPP 3.4.
    Smpp,
    /// An aggregator's HTTP interface.
    Http,
}

impl SmsKind {
    /// As in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cmpp => "cmpp",
            Self::Smpp => "smpp",
            Self::Http => "http",
        }
    }
}

/// A line to a carrier.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct SmsLine {
    /// Name in rows, logs and counters.
    pub name: String,
    /// How it speaks.
    pub kind: SmsKind,
    /// Texts of ours leave by the usable line with the lowest.
    #[serde(default = "ten")]
    pub priority: u32,
    /// Share among the same priority.
    #[serde(default = "ten")]
    pub weight: u32,
    /// With `kind = "cmpp"`.
    #[serde(default)]
    pub cmpp: CmppLine,
    /// With `kind = "smpp"`.
    #[serde(default)]
    pub smpp: SmppLine,
    /// With `kind = "http"`.
    #[serde(default)]
    pub http: HttpLine,
}

fn ten() -> u32 {
    10
}

impl Config {
    pub(super) fn judge_sms(&self) -> Result<(), Fault> {
        let within = |key: &str, value: u64, least: u64, most: u64| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            fault(key, format!("{value} is outside {least}…{most}"), "取范围内的值 / choose a value inside")
        };
        let sms = &self.sms;
        within("sms.join_s", sms.join_s, 1, 3_600)?;
        within("sms.attempts_max", sms.attempts_max.unsigned_abs(), 1, 100)?;
        within("sms.retry_ms", sms.retry_ms, 10, sms.retry_max_ms)?;
        within("sms.retry_max_ms", sms.retry_max_ms, 10, 3_600_000)?;
        for (i, line) in sms.lines.iter().enumerate() {
            let key = |field: &str| format!("sms.line[{i}].{field}");
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            if line.name.is_empty() || line.name.len() > 64 || !line.name.chars().all(is_word) {
                let problem = format!("{:?} is no name", line.name);
                return fault(&key("name"), problem, "用字母、数字、- 和 _ / use letters, digits, - and _");
            }
            if sms.lines[..i].iter().any(|other| other.name == line.name) {
                let problem = format!("{} stands twice", line.name);
                return fault(&key("name"), problem, "每条线路用不同的名称 / give each line its own name");
            }
            within(&key("weight"), line.weight.into(), 1, 1_000)?;
            match line.kind {
                SmsKind::Cmpp => line.cmpp.judge(&key("cmpp"))?,
                SmsKind::Smpp => line.smpp.judge(&key("smpp"))?,
                SmsKind::Http => line.http.judge(&key("http"))?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const GOOD: &str = "[[sms.line]]\nname = \"mobile\"\nkind = \"cmpp\"\n[sms.line.cmpp]\n\
        address = \"192.0.2.1:7890\"\nuser = \"901234\"\npassword = \"x\"\nsrc_id = \"10629100\"\n";

    #[test]
    fn every_fault_of_a_line_names_its_key() {
        assert!(Config::parse(Path::new("c.toml"), GOOD).is_ok());
        for (from, to, key) in [
            ("\"mobile\"", "\"移动\"", "sms.line[0].name"),
            ("192.0.2.1:7890", "192.0.2.1", "sms.line[0].cmpp.address"),
            ("901234", "9012345", "sms.line[0].cmpp.user"),
            ("password = \"x\"\n", "", "sms.line[0].cmpp.password"),
            ("10629100", "", "sms.line[0].cmpp.src_id"),
            ("user =", "window = 0\nuser =", "sms.line[0].cmpp.window"),
            ("user =", "version = \"4.0\"\nuser =", "version"),
            ("kind = \"cmpp\"", "kind = \"cmpp\"\nweight = 0", "sms.line[0].weight"),
        ] {
            let e = Config::parse(Path::new("c.toml"), &GOOD.replace(from, to)).unwrap_err().to_string();
            assert!(e.contains(key), "{key}: {e}");
        }
        let twice = format!("{GOOD}{GOOD}");
        let e = Config::parse(Path::new("c.toml"), &twice).unwrap_err().to_string();
        assert!(e.contains("sms.line[1].name"), "{e}");
    }
}

//! An SMS line that speaks SMPP 3.4.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::HostPort;
use super::judge::{Fault, fault};

/// How a session is bound (SMPP 3.4 §4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SmppBind {
    /// One connection both ways.
    #[default]
    Transceiver,
    /// A transmitter and a receiver.
    Pair,
}

/// How a long text leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SmppLong {
    /// In parts with a header in front of the text.
    #[default]
    Udh,
    /// In parts with `sar_*` parameters.
    Sar,
    /// In one, as `message_payload`.
    Payload,
}

/// How recipients' numbers are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SmppNumbers {
    /// `8613812345678`
    #[default]
    International,
    /// `+8613812345678`
    Plus,
    /// `13812345678`
    National,
}

/// What `data_coding` 0 means at this carrier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SmppDefault {
    /// The GSM alphabet.
    #[default]
    Gsm,
    /// ASCII; GBK is understood in it.
    Ascii,
    /// ISO 8859-1.
    Latin1,
    /// UTF-16.
    Ucs2,
}

/// A carrier's SMSC.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct SmppLine {
    /// `host:port`.
    pub address: String,
    /// Speak TLS; the carrier's certificate is verified.
    pub tls: bool,
    /// PEM file of who signs the certificate; `None`: the system's roots.
    pub ca: Option<PathBuf>,
    /// The name the certificate must carry; empty: the host of `address`.
    pub server_name: String,
    /// Account, at most 15 characters.
    pub system_id: String,
    /// Its password, at most 8 characters.
    pub password: String,
    /// A file with the password instead.
    pub password_file: Option<PathBuf>,
    /// As the carrier says.
    pub system_type: String,
    /// One connection or two.
    pub bind: SmppBind,
    /// Our number as citizens see it.
    pub from: String,
    /// Its type of number: 0 unknown, 1 international, 2 national, 3 network specific, 5 letters.
    pub from_ton: u8,
    /// Its numbering plan: 0 unknown, 1 telephone.
    pub from_npi: u8,
    /// How recipients are written.
    pub numbers: SmppNumbers,
    /// As the carrier says.
    pub service_type: String,
    /// How a long text leaves.
    pub long: SmppLong,
    /// What `data_coding` 0 means in what arrives.
    pub default_coding: SmppDefault,
    /// Ask for delivery receipts.
    pub receipts: bool,
    /// The carrier answers with hexadecimal ids and reports decimal ones.
    pub hex_ids: bool,
    /// Submissions outstanding at once.
    pub window: usize,
    /// Submissions a second; 0: any.
    pub rate: u32,
    /// A submission unanswered for so long has an unknown outcome.
    pub response_ms: u64,
    /// `enquire_link` after so long.
    pub enquire_link_s: u64,
}

impl Default for SmppLine {
    fn default() -> Self {
        Self {
            address: String::new(),
            tls: false,
            ca: None,
            server_name: String::new(),
            system_id: String::new(),
            password: String::new(),
            password_file: None,
            system_type: String::new(),
            bind: SmppBind::Transceiver,
            from: String::new(),
            from_ton: 0,
            from_npi: 1,
            numbers: SmppNumbers::International,
            service_type: String::new(),
            long: SmppLong::Udh,
            default_coding: SmppDefault::Gsm,
            receipts: true,
            hex_ids: false,
            window: 10,
            rate: 0,
            response_ms: 30_000,
            enquire_link_s: 30,
        }
    }
}

impl SmppLine {
    /// The password, from its file if there is one.
    pub fn secret(&self) -> Result<String, String> {
        secret(&self.password, self.password_file.as_deref())
    }

    /// The name the carrier's certificate must carry.
    #[must_use]
    pub fn certified_name(&self) -> &str {
        let host = || self.address.rsplit_once(':').map_or("", |(host, _)| host).trim_matches(['[', ']']);
        if self.server_name.is_empty() { host() } else { &self.server_name }
    }

    pub(super) fn judge(&self, at: &str) -> Result<(), Fault> {
        let key = |field: &str| format!("{at}.{field}");
        if self.address.parse::<HostPort>().ok().is_none_or(|a| a.port.is_none()) {
            let problem = format!("{:?} is no host:port", self.address);
            return fault(&key("address"), problem, "如 192.0.2.1:2775 / write 192.0.2.1:2775");
        }
        // SMPP 3.4 §4.1.1, §4.4.1
        for (field, text, least, most) in [
            ("system_id", &self.system_id, 1, 15),
            ("password", &self.password, 0, 8),
            ("system_type", &self.system_type, 0, 12),
            ("from", &self.from, 1, 20),
            ("service_type", &self.service_type, 0, 5),
        ] {
            if !(least..=most).contains(&text.len()) || !text.bytes().all(|b| b.is_ascii_graphic()) {
                let problem = format!("isn't {least} to {most} ASCII characters");
                return fault(&key(field), problem, "按运营商开户资料填写 / as the carrier's letter says");
            }
        }
        if self.tls && rustls::pki_types::ServerName::try_from(self.certified_name()).is_err() {
            let problem = format!("{:?} is no name a certificate carries", self.certified_name());
            return fault(&key("server_name"), problem, "填写域名或地址 / a name or an address");
        }
        if !self.tls && (self.ca.is_some() || !self.server_name.is_empty()) {
            let problem = "ca and server_name say nothing without tls".into();
            return fault(&key("tls"), problem, "设 tls = true / set tls = true");
        }
        if !self.password.is_empty() && self.password_file.is_some() {
            let problem = "password and password_file: one of them".into();
            return fault(&key("password"), problem, "填写其中一项 / set one of them");
        }
        for (field, value, least, most) in [
            ("from_ton", u64::from(self.from_ton), 0, 6),
            ("from_npi", self.from_npi.into(), 0, 18),
            ("window", self.window as u64, 1, 256),
            ("rate", self.rate.into(), 0, 10_000),
            ("response_ms", self.response_ms, 100, 600_000),
            ("enquire_link_s", self.enquire_link_s, 1, 3_600),
        ] {
            if !(least..=most).contains(&value) {
                let problem = format!("{value} is outside {least}…{most}");
                return fault(&key(field), problem, "取范围内的值 / choose a value inside");
            }
        }
        Ok(())
    }
}

/// A secret written here, or in a file beside.
pub(super) fn secret(text: &str, file: Option<&std::path::Path>) -> Result<String, String> {
    match file {
        None => Ok(text.to_owned()),
        Some(path) => {
            let read = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
            Ok(read.trim_end_matches(['\r', '\n']).to_owned())
        }
    }
}

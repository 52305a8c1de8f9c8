//! An SMS line that speaks CMPP 2.0 or 3.0.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::HostPort;
use super::judge::{Fault, fault};

/// The version asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub enum CmppVersion {
    /// 2.0, which every gateway speaks.
    #[default]
    #[serde(rename = "2.0")]
    V2,
    /// 3.0.
    #[serde(rename = "3.0")]
    V3,
}

/// What is done with an `AuthenticatorISMG` that doesn't fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CmppCheck {
    /// Said in the log and counted.
    #[default]
    Warn,
    /// The connection ends.
    Strict,
    /// Nothing.
    Off,
}

/// How recipients' numbers are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CmppNumbers {
    /// `13812345678`
    #[default]
    National,
    /// `8613812345678`
    International,
}

/// A carrier's gateway (ISMG) and our account there.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct CmppLine {
    /// `host:port`, usually port 7890.
    pub address: String,
    /// 企业代码, six digits.
    pub user: String,
    /// Shared secret.
    pub password: String,
    /// A file with the secret instead.
    pub password_file: Option<PathBuf>,
    /// `2.0` or `3.0`.
    pub version: CmppVersion,
    /// Our number as citizens see it.
    pub src_id: String,
    /// 业务标识, at most ten characters.
    pub service_id: String,
    /// Who pays: 0 the recipient, 1 the sender, 2 we do, 3 `fee_number`.
    pub fee_user_type: u8,
    /// With `fee_user_type` 3.
    pub fee_number: String,
    /// `01` free, `02` by message …
    pub fee_type: String,
    /// In 分.
    pub fee_code: String,
    /// How recipients are written.
    pub numbers: CmppNumbers,
    /// Connections at once.
    pub links: usize,
    /// Texts without an answer at once, per connection.
    pub window: usize,
    /// Texts a second, per connection; 0: any.
    pub rate: u32,
    /// Ask for status reports.
    pub reports: bool,
    /// References of 16 bits in long texts.
    pub wide_reference: bool,
    /// T: an answer has so long.
    pub response_ms: u64,
    /// C: silence after which a connection is tested.
    pub idle_ms: u64,
    /// N: tests without an answer that end it.
    pub tries: u32,
    /// `warn`, `strict` or `off`: the carrier's own digest.
    pub check_digest: CmppCheck,
}

impl Default for CmppLine {
    fn default() -> Self {
        Self {
            address: String::new(),
            user: String::new(),
            password: String::new(),
            password_file: None,
            version: CmppVersion::V2,
            src_id: String::new(),
            service_id: String::new(),
            fee_user_type: 2,
            fee_number: String::new(),
            fee_type: "01".into(),
            fee_code: "0".into(),
            numbers: CmppNumbers::National,
            links: 1,
            window: 16,
            rate: 50,
            reports: true,
            wide_reference: false,
            response_ms: 60_000,
            idle_ms: 180_000,
            tries: 3,
            check_digest: CmppCheck::Warn,
        }
    }
}

impl CmppLine {
    pub(super) fn judge(&self, at: &str) -> Result<(), Fault> {
        let key = |field: &str| format!("{at}.{field}");
        if self.address.parse::<HostPort>().ok().is_none_or(|a| a.port.is_none()) {
            let problem = format!("{:?} is no host:port", self.address);
            return fault(&key("address"), problem, "如 192.0.2.1:7890 / write 192.0.2.1:7890");
        }
        for (field, text, least, most) in [
            ("user", &self.user, 1, 6),
            ("src_id", &self.src_id, 3, 21),
            ("service_id", &self.service_id, 0, 10),
            ("fee_number", &self.fee_number, 0, 21),
            ("fee_type", &self.fee_type, 2, 2),
            ("fee_code", &self.fee_code, 1, 6),
        ] {
            let is_plain = text.bytes().all(|b| b.is_ascii_graphic());
            if !(least..=most).contains(&text.len()) || !is_plain {
                let problem = format!("{text:?} isn't {least} to {most} ASCII characters");
                return fault(&key(field), problem, "按运营商开户资料填写 / as the carrier's letter says");
            }
        }
        if self.password.is_empty() == self.password_file.is_none() {
            let problem = "password and password_file: one of them".into();
            return fault(&key("password"), problem, "填写其中一项 / set one of them");
        }
        let most_links = u64::try_from(self.links).unwrap_or(u64::MAX);
        let most_window = u64::try_from(self.window).unwrap_or(u64::MAX);
        for (field, value, least, most) in [
            ("links", most_links, 1, 16),
            ("window", most_window, 1, 256),
            ("rate", self.rate.into(), 0, 10_000),
            ("response_ms", self.response_ms, 100, 600_000),
            ("idle_ms", self.idle_ms, 100, 3_600_000),
            ("tries", self.tries.into(), 1, 10),
            ("fee_user_type", self.fee_user_type.into(), 0, 3),
        ] {
            if !(least..=most).contains(&value) {
                let problem = format!("{value} is outside {least}…{most}");
                return fault(&key(field), problem, "取范围内的值 / choose a value inside");
            }
        }
        Ok(())
    }
}

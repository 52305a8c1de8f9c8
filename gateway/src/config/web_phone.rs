//! Browser phones: SIP over WebSocket on the console's port.

use serde::{Deserialize, Serialize};

use super::judge::{Fault, fault};

/// Browser phones.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct WebPhone {
    /// Let browsers be phones at `/ws/sip`.
    pub enabled: bool,
    /// Origins of other sites whose pages may connect, such as `https://desk.city.gov.cn`; the console's own always may.
    pub origins: Vec<String>,
    /// How long a password of one shift is good for.
    pub key_hours: u64,
}

impl Default for WebPhone {
    fn default() -> Self {
        Self { enabled: true, origins: Vec::new(), key_hours: 12 }
    }
}

impl WebPhone {
    pub(super) fn judge(&self) -> Result<(), Fault> {
        if !(1..=24).contains(&self.key_hours) {
            let problem = format!("{} is outside 1…24", self.key_hours);
            return fault("web_phone.key_hours", problem, "取范围内的值 / choose a value inside");
        }
        let is_origin = |text: &String| {
            let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
            host.is_some_and(|host| !host.is_empty() && !host.contains('/'))
        };
        if let Some(bad) = self.origins.iter().find(|text| !is_origin(text)) {
            let problem = format!("{bad:?} is no origin");
            return fault(
                "web_phone.origins",
                problem,
                "写作 https://主机,末尾无斜杠 / write https://host without a path",
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn hours_and_origins_are_judged() {
        let judged = |text: &str| Config::parse(std::path::Path::new("c.toml"), &format!("[web_phone]\n{text}"));
        assert!(judged("origins = [\"https://desk.example:8443\"]").is_ok());
        let wrong = |text: &str| judged(text).unwrap_err().to_string();
        assert!(wrong("key_hours = 0").contains("web_phone.key_hours"));
        for bad in ["desk.example", "https://desk.example/", "https://", "*"] {
            assert!(wrong(&format!("origins = [{bad:?}]")).contains("web_phone.origins"), "{bad}");
        }
    }
}

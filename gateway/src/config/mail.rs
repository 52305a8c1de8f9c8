//! Mail as a channel: where it comes from and how answers leave.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::judge::{Fault, fault};

/// Mail. Without an address there is no mail channel.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Mail {
    /// Our address: sender of every answer; mail from it is a loop.
    pub address: String,
    /// Name beside it.
    pub name: String,
    /// Where replies go; empty: `address`.
    pub reply_to: String,
    /// Automatic answers to one address in 24 hours; further ones aren't sent. Two robots end here.
    pub answers_per_day: i64,
    /// Larger mails are read up to here and lose their attachments.
    pub message_max_bytes: usize,
    /// Shared secret of `POST /hooks/mail`; empty: closed.
    pub hook_secret: String,
    /// A file with that secret instead.
    pub hook_secret_file: Option<PathBuf>,
    /// The mailbox that is read.
    pub imap: Imap,
    /// The server answers leave through.
    pub smtp: Smtp,
}

impl Default for Mail {
    fn default() -> Self {
        Self {
            address: String::new(),
            name: String::new(),
            reply_to: String::new(),
            answers_per_day: 10,
            message_max_bytes: 25 * 1024 * 1024,
            hook_secret: String::new(),
            hook_secret_file: None,
            imap: Imap::default(),
            smtp: Smtp::default(),
        }
    }
}

/// How a mail server is spoken to.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum MailTls {
    /// TLS from the first byte.
    #[default]
    Tls,
    /// TLS after STARTTLS, or nothing at all (SMTP only).
    Starttls,
    /// None: without credentials, or on this machine.
    Plain,
}

/// The mailbox that is read.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Imap {
    /// Server; empty: no mailbox is read.
    pub host: String,
    /// Port.
    pub port: u16,
    /// `tls` or, on this machine, `plain`.
    pub tls: MailTls,
    /// PEM file with the roots that count; absent: the system's.
    pub ca: Option<PathBuf>,
    /// Account.
    pub user: String,
    /// Its password or client authorisation code.
    pub password: String,
    /// A file with it instead.
    pub password_file: Option<PathBuf>,
    /// Folder.
    pub mailbox: String,
    /// An IDLE lasts so long: a connection that died unseen is found after it. Below 29 minutes (RFC 2177).
    pub idle_s: u64,
    /// Look so often where the server has no IDLE.
    pub poll_s: u64,
}

impl Default for Imap {
    fn default() -> Self {
        Self {
            host: String::new(),
            port: 993,
            tls: MailTls::Tls,
            ca: None,
            user: String::new(),
            password: String::new(),
            password_file: None,
            mailbox: "INBOX".into(),
            idle_s: 120,
            poll_s: 30,
        }
    }
}

/// The server answers leave through.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Smtp {
    /// Server; empty: nothing is sent by mail.
    pub host: String,
    /// Port.
    pub port: u16,
    /// `tls`, `starttls` or `plain`.
    pub tls: MailTls,
    /// PEM file with the roots that count; absent: the system's.
    pub ca: Option<PathBuf>,
    /// Account; empty: no sign-in.
    pub user: String,
    /// Its password.
    pub password: String,
    /// A file with it instead.
    pub password_file: Option<PathBuf>,
    /// Longest wait for one answer of the server.
    pub timeout_ms: u64,
    /// First pause before another try; doubles with jitter.
    pub retry_ms: u64,
    /// Longest pause.
    pub retry_max_ms: u64,
}

impl Default for Smtp {
    fn default() -> Self {
        Self {
            host: String::new(),
            port: 465,
            tls: MailTls::Tls,
            ca: None,
            user: String::new(),
            password: String::new(),
            password_file: None,
            timeout_ms: 30_000,
            retry_ms: 5_000,
            retry_max_ms: 600_000,
        }
    }
}

impl Mail {
    /// The part of the address behind its `@`.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.address.rsplit_once('@').map_or("", |(_, domain)| domain)
    }

    /// Judges what types can't express.
    pub(super) fn judge(&self) -> Result<(), Fault> {
        let used = !self.imap.host.is_empty() || !self.smtp.host.is_empty() || self.has_hook();
        if self.address.is_empty() {
            if used {
                let remedy = "填写本热线的邮箱地址 / give the hotline's own address";
                return fault("mail.address", "is empty but mail is set up".into(), remedy);
            }
            return Ok(());
        }
        for (key, address) in [("mail.address", &self.address), ("mail.reply_to", &self.reply_to)] {
            if !address.is_empty() && address.parse::<lettre::Address>().is_err() {
                return fault(key, format!("{address:?} is no address"), "写作 12319@example.gov.cn / local@domain");
            }
        }
        self.judge_bounds()?;
        self.judge_plain()
    }

    fn has_hook(&self) -> bool {
        !self.hook_secret.is_empty() || self.hook_secret_file.is_some()
    }

    fn judge_bounds(&self) -> Result<(), Fault> {
        if !self.hook_secret.is_empty() && self.hook_secret.len() < 16 {
            let remedy = "至少 16 个字符 / use at least 16 characters";
            return fault("mail.hook_secret", "is short enough to be guessed".into(), remedy);
        }
        let within = |key: &str, value: u64, least: u64, most: u64| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            fault(key, format!("{value} is outside {least}…{most}"), "取范围内的值 / choose a value inside")
        };
        within("mail.answers_per_day", u64::try_from(self.answers_per_day).unwrap_or(u64::MAX), 0, 1_000)?;
        within("mail.message_max_bytes", self.message_max_bytes as u64, 64 * 1024, 64 * 1024 * 1024)?;
        within("mail.imap.idle_s", self.imap.idle_s, 1, 1_700)?;
        within("mail.imap.poll_s", self.imap.poll_s, 1, 3_600)?;
        within("mail.smtp.timeout_ms", self.smtp.timeout_ms, 100, 300_000)?;
        within("mail.smtp.retry_ms", self.smtp.retry_ms, 10, 3_600_000)?;
        within("mail.smtp.retry_max_ms", self.smtp.retry_max_ms, self.smtp.retry_ms, 86_400_000)
    }

    /// Passwords leave this machine encrypted only.
    fn judge_plain(&self) -> Result<(), Fault> {
        let remedy = "设 tls = \"tls\",或只用于本机 / set tls = \"tls\", or use it on this machine only";
        let (imap, smtp) = (&self.imap, &self.smtp);
        if imap.tls == MailTls::Starttls {
            let remedy = "用 993 端口和 tls = \"tls\" / use port 993 and tls = \"tls\"";
            return fault("mail.imap.tls", "STARTTLS is not supported for IMAP".into(), remedy);
        }
        if imap.tls == MailTls::Plain && !imap.host.is_empty() && !is_here(&imap.host) {
            return fault("mail.imap.tls", "the password would travel in the clear".into(), remedy);
        }
        if smtp.tls == MailTls::Plain && !smtp.user.is_empty() && !is_here(&smtp.host) {
            return fault("mail.smtp.tls", "the password would travel in the clear".into(), remedy);
        }
        Ok(())
    }
}

fn is_here(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(settle: impl FnOnce(&mut Mail)) -> String {
        let mut mail = Mail { address: "12319@city.gov.cn".into(), ..Mail::default() };
        settle(&mut mail);
        let mut config = crate::config::Config { mail, ..Default::default() };
        config.site.region = "320400".into();
        config.validate(std::path::Path::new("c.toml")).map_or_else(|e| e.to_string(), |()| String::new())
    }

    #[test]
    fn passwords_travel_encrypted_and_an_address_is_needed() {
        assert_eq!(judged(|_| {}), "");
        assert_eq!(judged(|m| (m.imap.host, m.imap.tls) = ("127.0.0.1".into(), MailTls::Plain)), "");
        let plain = judged(|m| (m.imap.host, m.imap.tls) = ("mail.city.gov.cn".into(), MailTls::Plain));
        assert!(plain.contains("mail.imap.tls"), "{plain}");
        assert_eq!(judged(|m| (m.smtp.host, m.smtp.tls) = ("10.0.0.5".into(), MailTls::Plain)), "", "no password");
        let nobody = judged(|m| (m.address, m.smtp.host) = (String::new(), "x".into()));
        assert!(nobody.contains("mail.address"), "{nobody}");
        assert!(judged(|m| m.address = "12319".into()).contains("mail.address"));
        assert!(judged(|m| m.hook_secret = "short".into()).contains("mail.hook_secret"));
    }
}

//! A mail server that keeps what it gets: PyPI's aiosmtpd, run by `tests/peers/smtp_sink.py`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tempfile::TempDir;

use super::python_command;
use crate::net::{GATEWAY_IP, free_port};
use crate::process::Process;
use crate::tls::Certificates;
use crate::{Error, Result, repo_root, until};

/// A cold start of Python on a busy machine.
const START_MS: u64 = 30_000;

/// How the sink is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkTls {
    /// No encryption.
    Plain,
    /// TLS from the first byte.
    Tls,
    /// TLS after STARTTLS, and nothing before it.
    Starttls,
}

/// A mail the sink kept.
#[derive(Clone, Debug)]
pub struct SunkMail {
    /// MAIL FROM.
    pub from: String,
    /// RCPT TO.
    pub to: Vec<String>,
    /// It came encrypted.
    pub tls: bool,
    /// The client had signed in.
    pub authenticated: bool,
    /// Headers and body as they came.
    pub raw: String,
}

impl SunkMail {
    /// A header's value, its folding undone; empty if it isn't there.
    #[must_use]
    pub fn header(&self, name: &str) -> String {
        let head = self.raw.split("\r\n\r\n").next().unwrap_or_default().replace("\r\n ", " ");
        let wanted = format!("{}:", name.to_lowercase());
        let line = head.lines().find(|line| line.to_lowercase().starts_with(&wanted));
        line.map_or_else(String::new, |line| line[wanted.len()..].trim().to_owned())
    }
}

/// A running sink; dropping it ends it.
#[derive(Debug)]
pub struct SmtpSink {
    process: Process,
    _dir: TempDir,
    log: PathBuf,
    address: SocketAddr,
}

impl SmtpSink {
    /// Starts one on a free port; with `user`, only who signs in may send.
    ///
    /// # Errors
    /// [`Error::Missing`] without aiosmtpd, [`Error::Process`] when it doesn't start.
    pub async fn start(tls: SinkTls, certificates: &Certificates, user: Option<(&str, &str)>) -> Result<Self> {
        Self::start_on(free_port(GATEWAY_IP)?, tls, certificates, user).await
    }

    /// Starts on a given port, as a server that comes back.
    ///
    /// # Errors
    /// As [`SmtpSink::start`].
    pub async fn start_on(
        port: u16,
        tls: SinkTls,
        certificates: &Certificates,
        user: Option<(&str, &str)>,
    ) -> Result<Self> {
        let dir = TempDir::with_prefix("smtp-").map_err(Error::io("temp dir"))?;
        let log = dir.path().join("sink.log");
        let mode = match tls {
            SinkTls::Plain => "plain",
            SinkTls::Tls => "tls",
            SinkTls::Starttls => "starttls",
        };
        let (user, password) = user.unwrap_or(("-", "-"));
        let mut command: Command = python_command()?;
        command.arg(repo_root().join("tests/peers/smtp_sink.py")).arg(port.to_string()).arg(mode);
        command.arg(certificates.chain()).arg(certificates.key()).args([user, password]);
        let process = Process::start_listening("smtp_sink.py", &mut command, &log)?;
        let mut sink = Self { process, _dir: dir, log, address: SocketAddr::new(GATEWAY_IP, port) };
        let listening = until("the SMTP sink", START_MS, || {
            let here = sink.lines().iter().any(|l| l["listening"].is_i64());
            let gone = !sink.process.is_running();
            async move { (here || gone).then_some(here) }
        });
        match listening.await {
            Ok(true) => Ok(sink),
            _ => Err(sink.process.failed("doesn't listen")),
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Plans a fault; see the head of `smtp_sink.py`.
    ///
    /// # Errors
    /// [`Error::Process`], [`Error::Timeout`].
    pub async fn plan(&mut self, fault: &str) -> Result<()> {
        let wanted = |lines: Vec<Value>| lines.iter().filter(|l| l["planned"].is_string()).count();
        let before = wanted(self.lines());
        self.process.say(fault)?;
        until("the fault's plan", 5_000, || {
            let known = wanted(self.lines()) > before;
            async move { known.then_some(()) }
        })
        .await
    }

    /// What it kept so far.
    #[must_use]
    pub fn mails(&self) -> Vec<SunkMail> {
        self.lines().iter().filter_map(mail).collect()
    }

    /// How many mails or recipients it refused so far.
    #[must_use]
    pub fn refusals(&self) -> usize {
        self.lines().iter().filter(|l| l["refused"].is_string()).count()
    }

    /// Waits until it kept `count` mails.
    ///
    /// # Errors
    /// [`Error::Timeout`].
    pub async fn wait(&self, count: usize, timeout_ms: u64) -> Result<Vec<SunkMail>> {
        let look = || async { Some(self.mails()).filter(|mails| mails.len() >= count) };
        until(&format!("{count} mails in the sink"), timeout_ms, look).await
    }

    fn lines(&self) -> Vec<Value> {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

fn mail(line: &Value) -> Option<SunkMail> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Some(SunkMail {
        from: text(&line["from"])?,
        to: line["to"].as_array()?.iter().filter_map(text).collect(),
        tls: line["tls"].as_bool()?,
        authenticated: line["authenticated"].as_bool()?,
        raw: String::from_utf8_lossy(&STANDARD.decode(line["raw"].as_str()?).ok()?).into_owned(),
    })
}

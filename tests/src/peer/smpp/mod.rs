//! SMPP peers nobody here wrote: an SMSC of the npm package `smpp`, a phone of the PyPI package `smpplib`.

use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::script::peers_dir;
use crate::process::Process;
use crate::tls::Certificates;
use crate::{Error, Result, until};

/// Time a peer may take to start on a busy machine.
const START_MS: u64 = 30_000;

/// A child that says JSON lines and takes JSON lines.
#[derive(Debug)]
struct Peer {
    process: Process,
    /// Holds the log.
    _dir: TempDir,
}

impl Peer {
    fn start(name: &str, command: &mut Command) -> Result<Self> {
        let dir = TempDir::with_prefix("hotline-smpp-").map_err(Error::io("temp dir for an SMPP peer"))?;
        let process = Process::start_listening(name, command, &dir.path().join("log"))?;
        Ok(Self { process, _dir: dir })
    }

    fn events(&self, kind: &str) -> Vec<Value> {
        let log = self.process.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|event| event["event"] == kind).collect()
    }

    async fn wait(&self, kind: &str, count: usize, timeout_ms: u64) -> Result<Vec<Value>> {
        let look = || async { Some(self.events(kind)).filter(|events| events.len() >= count) };
        match until(&format!("{count} times `{kind}`"), timeout_ms, look).await {
            Ok(events) => Ok(events),
            Err(e) => Err(self.process.failed(e.to_string())),
        }
    }
}

/// An SMSC with the accounts `hotline` and `phone` (password `secret`) that bridges the two.
#[derive(Debug)]
pub struct Smsc {
    peer: Peer,
    port: u16,
}

impl Smsc {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// [`Error::Missing`] without Node or the package, [`Error::Process`].
    pub async fn start() -> Result<Self> {
        Self::start_on(0).await
    }

    /// Starts it on a port.
    ///
    /// # Errors
    /// As [`Smsc::start`].
    pub async fn start_on(port: u16) -> Result<Self> {
        Self::start_with(port, None).await
    }

    /// Starts it on a free port; it speaks TLS.
    ///
    /// # Errors
    /// As [`Smsc::start`].
    pub async fn start_tls(certificates: &Certificates) -> Result<Self> {
        Self::start_with(0, Some(certificates)).await
    }

    async fn start_with(port: u16, certificates: Option<&Certificates>) -> Result<Self> {
        let mut command = Command::new(super::program("node")?);
        command.arg("-e").arg(include_str!("smsc.js")).arg(port.to_string());
        if let Some(certificates) = certificates {
            command.arg(certificates.key()).arg(certificates.chain());
        }
        command.env("NODE_PATH", peers_dir()?.join("node_modules"));
        let peer = Peer::start("smsc", &mut command)?;
        let listening = peer.wait("listening", 1, START_MS).await?;
        let port = listening[0]["port"].as_u64().and_then(|p| u16::try_from(p).ok()).unwrap_or_default();
        Ok(Self { peer, port })
    }

    /// `127.0.0.1:port`
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What happened so far of one kind: `bound`, `submitted`, `answered`, `throttled` …
    #[must_use]
    pub fn events(&self, kind: &str) -> Vec<Value> {
        self.peer.events(kind)
    }

    /// Waits until something happened `count` times.
    ///
    /// # Errors
    /// [`Error::Process`] with its log.
    pub async fn wait(&self, kind: &str, count: usize, timeout_ms: u64) -> Result<Vec<Value>> {
        self.peer.wait(kind, count, timeout_ms).await
    }

    /// A command: `{"set": {"throttle": 3}}`, `{"deliver": {…}}`, `{"raw": "hex"}`, `{"drop": true}`.
    ///
    /// # Errors
    /// [`Error::Process`].
    pub fn order(&mut self, command: &Value) -> Result<()> {
        self.peer.process.say(&command.to_string())
    }
}

/// A phone that texts the hotline through an [`Smsc`].
#[derive(Debug)]
pub struct SmppPhone {
    peer: Peer,
}

impl SmppPhone {
    /// Binds.
    ///
    /// # Errors
    /// [`Error::Missing`] without Python or the package, [`Error::Process`].
    pub async fn start(smsc: &Smsc) -> Result<Self> {
        let mut command = Command::new(super::program("python3")?);
        command.arg("-c").arg(include_str!("phone.py")).arg(smsc.port().to_string());
        command.env("PYTHONPATH", peers_dir()?.join("python"));
        let peer = Peer::start("smpplib", &mut command)?;
        peer.wait("bound", 1, START_MS).await?;
        Ok(Self { peer })
    }

    /// Sends a text, in parts if it is long.
    ///
    /// # Errors
    /// [`Error::Process`].
    pub fn send(&mut self, from: &str, to: &str, text: &str) -> Result<()> {
        self.peer.process.say(&json!({"from": from, "to": to, "text": text}).to_string())
    }

    /// Waits until something happened `count` times: `received`, `receipt`, `sent`.
    ///
    /// # Errors
    /// [`Error::Process`] with its log.
    pub async fn wait(&self, kind: &str, count: usize, timeout_ms: u64) -> Result<Vec<Value>> {
        self.peer.wait(kind, count, timeout_ms).await
    }
}

//! baresip as the operator: a phone nobody here wrote.
//!
//! Debian 12's baresip 1.0 knows MD5 only and gives up on a 401 that offers SHA-256
//! as well, in whatever order: its registrar must offer MD5 alone.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::net::{PHONE_IP, free_ports};
use crate::process::{Process, Signal};
use crate::sip::Credentials;
use crate::wav::Wav;
use crate::{Error, Result, until, within};

/// baresip's modules on Debian; `HOTLINE_BARESIP_MODULES` overrides it.
const MODULES: [&str; 2] = ["/usr/lib/baresip/modules", "/usr/local/lib/baresip/modules"];
/// RTP ports baresip may use.
const RTP_PORTS: u16 = 20;

/// How baresip registers and what it says.
#[derive(Clone, Debug)]
pub struct BaresipConfig {
    /// The registrar.
    pub gateway: SocketAddr,
    /// SIP user and password.
    pub credentials: Credentials,
    /// Address its SIP socket lives on; the default lies in the phone network.
    pub ip: IpAddr,
    /// True for TCP.
    pub tcp: bool,
    /// TLS instead, with the CA of the gateway's certificate (PEM).
    pub tls_ca: Option<PathBuf>,
    /// Its SIP port, UDP and TCP; TLS is on the next one. 0 takes free ones.
    pub port: u16,
    /// Its own certificate and key in one PEM file, to be called over TLS.
    pub certificate: Option<PathBuf>,
    /// `srtp-mand` (RTP/SAVP), `srtp` (RTP/AVP with keys); empty for none.
    pub media_encryption: &'static str,
    /// The one codec it speaks, as its account names it: `PCMA`, `G722/16000/1`, `opus/48000/2`.
    pub codec: &'static str,
    /// False for a peer that registers nowhere, such as a carrier's far end.
    pub registers: bool,
    /// What it says, mono 8 kHz. Default: ten minutes of 1000 Hz. Its end ends the audio.
    pub audio: Wav,
    /// True answers every call at once.
    pub auto_answer: bool,
}

impl BaresipConfig {
    /// A phone that registers, answers at once and says 1000 Hz.
    #[must_use]
    pub fn new(gateway: SocketAddr, credentials: Credentials) -> Self {
        Self {
            gateway,
            credentials,
            ip: PHONE_IP,
            tcp: false,
            tls_ca: None,
            port: 0,
            certificate: None,
            media_encryption: "",
            codec: "PCMA",
            registers: true,
            audio: Wav::tone(1_000.0, -16.0, 600_000),
            auto_answer: true,
        }
    }
}

/// A running baresip; dropping it kills it.
#[derive(Debug)]
pub struct Baresip {
    process: Process,
    dir: TempDir,
    control: SocketAddr,
}

impl Baresip {
    /// Writes a configuration and starts baresip. It registers on its own; wait for
    /// it with [`Baresip::wait_registered`].
    ///
    /// # Errors
    /// [`Error::Missing`] without baresip or its modules, [`Error::Io`].
    pub fn start(config: &BaresipConfig) -> Result<Self> {
        let program = super::program("baresip")?;
        let modules = modules()?;
        let dir = TempDir::with_prefix("baresip-").map_err(Error::io("temp dir for baresip"))?;
        config.audio.write(&dir.path().join("source.wav"))?;
        let control = SocketAddr::new(config.ip, free_ports(config.ip, 1)?);
        let settings = settings(config, &modules, dir.path(), control)?;
        let write = |name: &str, text: String| {
            std::fs::write(dir.path().join(name), text).map_err(Error::io(format!("write {name}")))
        };
        write("config", settings)?;
        write("accounts", account(config))?;
        // Left out, baresip creates a contact list with examples.
        write("contacts", String::new())?;
        let mut command = Command::new(program);
        command.arg("-f").arg(dir.path()).arg("-s").current_dir(dir.path());
        let process = Process::start("baresip", &mut command, &dir.path().join("baresip.log"))?;
        Ok(Self { process, dir, control })
    }

    /// Waits for its "200 OK" to REGISTER.
    ///
    /// # Errors
    /// [`Error::Process`] with its log when it doesn't register in time.
    pub async fn wait_registered(&mut self, timeout_ms: u64) -> Result<()> {
        self.wait_log("200 OK", timeout_ms).await
    }

    /// Waits until its log holds `text`.
    ///
    /// # Errors
    /// [`Error::Process`] with its log.
    pub async fn wait_log(&mut self, text: &str, timeout_ms: u64) -> Result<()> {
        let process = &mut self.process;
        let mut ended = false;
        let found = {
            let look = || {
                ended = !process.is_running();
                let found = process.log().contains(text);
                async move { found.then_some(()) }
            };
            until(text, timeout_ms, look).await
        };
        found.map_err(|error| self.process.failed(format!("{error}; ended: {ended}")))
    }

    /// Sends a command of baresip's menu (`hangup`, `hold`, `resume`, `accept`,
    /// `reginfo` …) and returns its answer.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Timeout`].
    pub async fn command(&self, command: &str, parameters: &str) -> Result<Value> {
        let what = format!("baresip control {}", self.control);
        let mut stream = TcpStream::connect(self.control).await.map_err(Error::io(&what))?;
        let token = format!("{:08x}", rand::random::<u32>());
        let request = json!({"command": command, "params": parameters, "token": token}).to_string();
        let netstring = format!("{}:{request},", request.len());
        stream.write_all(netstring.as_bytes()).await.map_err(Error::io(&what))?;
        within(&what, 5_000, answer(&mut stream, &token)).await?.map_err(Error::io(&what))
    }

    /// Hangs up the current call.
    ///
    /// # Errors
    /// As [`Baresip::command`].
    pub async fn hang_up(&self) -> Result<()> {
        self.command("hangup", "").await.map(|_| ())
    }

    /// What baresip heard so far, decoded, in the order of its calls. A file of a
    /// running call isn't readable yet and is left out.
    #[must_use]
    pub fn heard(&self) -> Vec<Wav> {
        let entries = std::fs::read_dir(self.dir.path()).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> =
            entries.map(|entry| entry.path()).filter(|path| path.to_string_lossy().ends_with("-dec.wav")).collect();
        files.sort();
        files.iter().filter_map(|path| Wav::read(path).ok()).collect()
    }

    /// Its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The process, for signals.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Ends it in order: it hangs up and removes its registration.
    ///
    /// # Errors
    /// [`Error::Timeout`] when it doesn't end within 10 s.
    pub async fn quit(mut self) -> Result<()> {
        self.process.signal(Signal::Term)?;
        self.process.wait(10_000).await.map(|_| ())
    }
}

fn modules() -> Result<PathBuf> {
    let named = std::env::var_os("HOTLINE_BARESIP_MODULES").map(PathBuf::from);
    let known = MODULES.iter().map(PathBuf::from);
    named
        .into_iter()
        .chain(known)
        .find(|dir| dir.join("g711.so").is_file())
        .ok_or_else(|| Error::Missing { program: "baresip's modules".into(), remedy: "run ops/install --test".into() })
}

fn settings(config: &BaresipConfig, modules: &Path, dir: &Path, control: SocketAddr) -> Result<String> {
    let sip_port = if config.port == 0 { free_ports(config.ip, 2)? } else { config.port };
    let file =
        |key: &str, path: Option<&PathBuf>| path.map_or_else(String::new, |p| format!("{key} {}\n", p.display()));
    let tls = file("sip_cafile", config.tls_ca.as_ref()) + &file("sip_certificate", config.certificate.as_ref());
    let codec = match config.codec.split('/').next() {
        Some("G722") => "module g722.so\n",
        Some("opus") => "module opus.so\n",
        _ => "",
    };
    let (rate, channels) = (config.audio.rate_hz, config.audio.channels.len());
    let rtp_first = free_ports(config.ip, RTP_PORTS)?;
    let rtp_last = rtp_first + RTP_PORTS - 1;
    let dir = dir.display();
    Ok(format!(
        "poll_method epoll\n\
         sip_listen {}:{sip_port}\n\
         call_max_calls 4\n\
         audio_source aufile,{dir}/source.wav\n\
         audio_player aubridge,nowhere\n\
         audio_alert aubridge,alert\n\
         ausrc_srate {rate}\n\
         auplay_srate {rate}\n\
         ausrc_channels {channels}\n\
         auplay_channels {channels}\n\
         audio_buffer 20-160\n\
         rtp_ports {rtp_first}-{rtp_last}\n\
         rtcp_mux no\n\
         jitter_buffer_delay 1-5\n\
         net_interface {}\n\
         snd_path {dir}\n\
         ctrl_tcp_listen {control}\n\
         module_path {}\n\
         module g711.so\n\
         {codec}\
         module aufile.so\n\
         module aubridge.so\n\
         module sndfile.so\n\
         module srtp.so\n\
         module_app account.so\n\
         module_app menu.so\n\
         module_app ctrl_tcp.so\n\
         {tls}",
        config.ip,
        config.ip,
        modules.display()
    ))
}

fn account(config: &BaresipConfig) -> String {
    let transport = match (&config.tls_ca, config.tcp) {
        (Some(_), _) => ";transport=tls",
        (None, true) => ";transport=tcp",
        (None, false) => "",
    };
    let registration = if config.registers { 60 } else { 0 };
    let encryption = match config.media_encryption {
        "" => String::new(),
        name => format!(";mediaenc={name}"),
    };
    let answer = if config.auto_answer { "auto" } else { "manual" };
    let Credentials { user, password } = &config.credentials;
    format!(
        "<sip:{user}@{}{transport}>;auth_user={user};auth_pass={password};answermode={answer};audio_codecs={};regint={registration}{encryption}\n",
        config.gateway, config.codec
    )
}

/// Reads netstrings until the one with our token; events in between are skipped.
async fn answer(stream: &mut TcpStream, token: &str) -> std::io::Result<Value> {
    let mut pending = Vec::new();
    let mut buffer = [0_u8; 4_096];
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        pending.extend_from_slice(&buffer[..length]);
        while let Some(value) = next_netstring(&mut pending) {
            if value["token"] == token {
                return Ok(value);
            }
        }
    }
}

fn next_netstring(pending: &mut Vec<u8>) -> Option<Value> {
    let colon = pending.iter().position(|&b| b == b':')?;
    let length: usize = std::str::from_utf8(&pending[..colon]).ok()?.parse().ok()?;
    let end = colon.checked_add(1)?.checked_add(length)?;
    if pending.len() <= end {
        return None;
    }
    let value = serde_json::from_slice(&pending[colon + 1..end]).unwrap_or(Value::Null);
    pending.drain(..=end);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn netstrings_are_cut_one_by_one() {
        let mut pending = b"9:{\"a\": 1 },7:{\"b\":2},3:{\"".to_vec();
        pending.splice(0..0, Vec::new());
        let first = next_netstring(&mut pending);
        assert_eq!(first.map(|v| v["a"].clone()), Some(json!(1)));
        assert_eq!(next_netstring(&mut pending).map(|v| v["b"].clone()), Some(json!(2)));
        assert_eq!(next_netstring(&mut pending), None);
    }
}

//! linphonec as the operator: a phone of another make, which knows SHA-256.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::net::{PHONE_IP, free_ports};
use crate::process::Process;
use crate::sip::{Algorithm, Credentials};
use crate::wav::Wav;
use crate::{Error, Result, tone, until};

/// RTP ports of its one stream: RTP and RTCP.
const RTP_PORTS: u16 = 2;
const WAV_HEADER_BYTES: usize = 44;

/// How linphonec registers and what it says. It answers every call at once.
#[derive(Clone, Debug)]
pub struct LinphoneConfig {
    /// The registrar.
    pub gateway: SocketAddr,
    /// SIP user and password.
    pub credentials: Credentials,
    /// Address its sockets live on; the default lies in the phone network.
    pub ip: IpAddr,
    /// True for TCP.
    pub tcp: bool,
    /// True where it may speak G.722 too, which it leaves out otherwise.
    pub g722: bool,
    /// What it says, mono 8 kHz. Default: two minutes of 1000 Hz.
    pub audio: Wav,
}

impl LinphoneConfig {
    /// A phone that registers over UDP and says 1000 Hz.
    #[must_use]
    pub fn new(gateway: SocketAddr, credentials: Credentials) -> Self {
        let audio = Wav::tone(1_000.0, -16.0, 120_000);
        Self { gateway, credentials, ip: PHONE_IP, tcp: false, g722: false, audio }
    }
}

/// A running linphonec; dropping it kills it.
#[derive(Debug)]
pub struct Linphone {
    process: Process,
    dir: TempDir,
}

impl Linphone {
    /// Writes a configuration and starts linphonec, which registers on its own.
    ///
    /// # Errors
    /// [`Error::Missing`] without linphonec, [`Error::Io`].
    pub fn start(config: &LinphoneConfig) -> Result<Self> {
        let program = super::program("linphonec")?;
        let dir = TempDir::with_prefix("linphone-").map_err(Error::io("temp dir for linphonec"))?;
        let root = dir.path();
        // Without its folder for the contacts' database its core doesn't start.
        for folder in [".local/share/linphone", ".config/linphone"] {
            std::fs::create_dir_all(root.join(folder)).map_err(Error::io("folders for linphonec"))?;
        }
        config.audio.write(&root.join("source.wav"))?;
        std::fs::write(root.join("linphonerc"), settings(config)?).map_err(Error::io("write linphonerc"))?;
        let mut command = Command::new(program);
        command.current_dir(root).env("HOME", root).env_remove("XDG_DATA_HOME").env_remove("XDG_CONFIG_HOME");
        command.args(["-a", "-d", "6", "-l", "messages.log", "-c", "linphonerc"]);
        let mut process = Process::start_listening("linphonec", &mut command, &root.join("linphonec.log"))?;
        process.say("soundcard use files")?;
        process.say(&format!("play {}", root.join("source.wav").display()))?;
        process.say(&format!("record {}", root.join("heard.wav").display()))?;
        Ok(Self { process, dir })
    }

    /// Waits for its "200 OK" to REGISTER and returns the hash it used.
    ///
    /// # Errors
    /// [`Error::Process`] with its log when it doesn't register in time.
    pub async fn wait_registered(&mut self, timeout_ms: u64) -> Result<Algorithm> {
        let path = self.dir.path().join("messages.log");
        let found = until("linphonec registered", timeout_ms, || async {
            let text = text_of(&path);
            text.contains("to [LinphoneRegistrationOk]").then_some(text)
        });
        let text = found.await.map_err(|e| self.process.failed(format!("{e}: {}", tail(&text_of(&path)))))?;
        let sent = text.lines().rfind(|line| line.starts_with("Authorization:")).unwrap_or("");
        Ok(if sent.contains("SHA-256") { Algorithm::Sha256 } else { Algorithm::Md5 })
    }

    /// Hangs up the current call.
    ///
    /// # Errors
    /// [`Error::Process`] when it is gone.
    pub fn hang_up(&mut self) -> Result<()> {
        self.process.say("terminate")
    }

    /// Puts the other side on hold, or takes it back, and waits until it thinks so itself:
    /// it drops a command that comes before.
    ///
    /// # Errors
    /// [`Error::Process`] when it is gone, [`Error::Timeout`].
    pub async fn hold(&mut self, on: bool) -> Result<()> {
        let (command, reached) =
            if on { ("pause", "to LinphoneCallPaused") } else { ("resume", "to LinphoneCallStreamsRunning") };
        let seen = self.log().matches(reached).count();
        self.process.say(command)?;
        until(reached, 10_000, || async { (self.log().matches(reached).count() > seen).then_some(()) }).await
    }

    /// What it heard, decoded, in all its calls so far.
    #[must_use]
    pub fn heard(&self) -> Wav {
        // Its header counts itself as audio, which a strict reader takes for a cut file.
        let bytes = std::fs::read(self.dir.path().join("heard.wav")).unwrap_or_default();
        // It records at the rate of the codec; the header has it after the 24th byte.
        let rate = bytes.get(24..28).map(|rate| u32::from_le_bytes([rate[0], rate[1], rate[2], rate[3]]));
        let samples = bytes.get(WAV_HEADER_BYTES..).unwrap_or_default().chunks_exact(2);
        let channel = samples.map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
        Wav { rate_hz: rate.unwrap_or(tone::RATE_HZ), channels: vec![channel] }
    }

    /// Its messages and thoughts.
    #[must_use]
    pub fn log(&self) -> String {
        text_of(&self.dir.path().join("messages.log"))
    }

    /// Ends it in order: it hangs up and removes its registration.
    ///
    /// # Errors
    /// [`Error::Timeout`] when it doesn't end within 10 s.
    pub async fn quit(&mut self) -> Result<()> {
        self.process.say("quit")?;
        self.process.wait(10_000).await.map(|_| ())
    }
}

fn text_of(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

fn tail(text: &str) -> String {
    crate::process::tail(text, crate::limits::LOG_TAIL_BYTES)
}

fn settings(config: &LinphoneConfig) -> Result<String> {
    let LinphoneConfig { gateway, ip, .. } = config;
    let Credentials { user, password } = &config.credentials;
    let port = free_ports(*ip, 2)?;
    let (udp, tcp, transport) = if config.tcp { (-1, port.into(), "tcp") } else { (i32::from(port), -1, "udp") };
    let rtp = free_ports(*ip, RTP_PORTS)?;
    let g722 = if config.g722 { "[audio_codec_0]\nmime=G722\nrate=8000\nchannels=1\nenabled=1\n" } else { "" };
    Ok(format!(
        "[sip]\nsip_port={udp}\nsip_tcp_port={tcp}\nsip_tls_port=-1\nbind_address={ip}\nguess_hostname=0\n\
         ipv6=0\ndefault_proxy=0\nregister_only_when_network_is_up=0\n\
         [rtp]\nbind_address={ip}\naudio_rtp_port={rtp}\n\
         [net]\nfirewall_policy=0\n\
         [sound]\nlocal_ring=\nremote_ring=\n\
         [auth_info_0]\nusername={user}\npasswd={password}\n\
         [proxy_0]\nreg_proxy=<sip:{gateway};transport={transport}>\nreg_identity=sip:{user}@{gateway}\n\
         reg_expires=60\nreg_sendregister=1\npublish=0\n{g722}"
    ))
}

//! The yardsticks of a recorded bridge: a bare relay, and rtpengine's forwarding in user space.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use hotline_tests::{Error, Process, Result};
use tempfile::TempDir;

use crate::callgen::{self, Figures, Load, number_after, number_before};

/// Where rtpengine takes commands.
const CONTROL: &str = "127.0.0.1:2223";
/// It has nothing to ask for its readiness.
const PROXY_STARTS: Duration = Duration::from_millis(1_500);
/// From the relay's start to its window, seconds: its streams begin and are learnt.
const RELAY_WARM_S: u32 = 3;
/// First port of the relay and of its driver.
const RELAY_PORT: u32 = 12_000;
const DRIVER_PORT: u32 = 16_000;

/// What is here to compare with.
pub(crate) struct Rivals {
    relay: Option<PathBuf>,
    proxy: bool,
}

impl Rivals {
    /// Looks for both.
    pub(crate) fn find() -> Self {
        let relay = std::env::var_os("HOTLINE_IOBENCH").map(PathBuf::from).filter(|path| path.is_file());
        let version = Command::new("rtpengine").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        Self { relay, proxy: version.is_ok() }
    }

    pub(crate) const fn has_relay(&self) -> bool {
        self.relay.is_some()
    }

    pub(crate) const fn has_proxy(&self) -> bool {
        self.proxy
    }

    /// `iobench bridge` with stereo recordings, driven by `iobench gen` in the same 1 ms slices as callgen's: CPU
    /// ms per call-minute.
    pub(crate) async fn bare_relay(&self, calls: u32, window_s: u32) -> Result<f64> {
        let Some(program) = &self.relay else { return Ok(f64::NAN) };
        let dir = TempDir::with_prefix("relay-").map_err(Error::io("temp dir"))?;
        let streams = (calls * 2).to_string();
        let mut bridge = Command::new(program);
        bridge.arg("bridge").args(["--streams", &streams, "--base", &RELAY_PORT.to_string()]);
        bridge.args(["--warm", &RELAY_WARM_S.to_string(), "--secs", &window_s.to_string()]);
        bridge.arg("--dir").arg(dir.path().join("recordings"));
        bridge.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let bridge = bridge.spawn().map_err(Error::io("start iobench bridge"))?;
        tokio::time::sleep(Duration::from_millis(400)).await;
        let mut generator = Command::new(program);
        generator.arg("gen").args(["--streams", &streams, "--base", &RELAY_PORT.to_string()]);
        generator.args(["--gport", &DRIVER_PORT.to_string(), "--slice-us", "1000"]);
        generator.args(["--secs", &(RELAY_WARM_S + window_s + 1).to_string()]);
        let mut generator = Process::start("iobench gen", &mut generator, &dir.path().join("gen.log"))?;
        let ended = tokio::task::spawn_blocking(move || bridge.wait_with_output()).await;
        generator.kill9();
        let output = ended.map_err(|e| Error::Sip(format!("iobench: {e}")))?.map_err(Error::io("iobench bridge"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        // bridge: rx N tx N in 12.00s, cpu 900.0 ms, …
        let (cpu_ms, received) = (number_after(&text, "cpu "), number_after(&text, "rx "));
        let seconds = number_before(&text, "s, cpu ");
        // What it relayed counts, not what it was asked to.
        let streams_heard = received / (seconds * 50.0);
        Ok(cpu_ms / (streams_heard / 2.0 * seconds / 60.0))
    }

    /// Userspace rtpengine without recording, driven by callgen.
    pub(crate) async fn proxy(&self, calls: u32, window_s: u32) -> Result<Option<Figures>> {
        if !self.proxy {
            return Ok(None);
        }
        let dir = TempDir::with_prefix("proxy-").map_err(Error::io("temp dir"))?;
        let mut command = Command::new("rtpengine");
        command.args(["--foreground", "--table=-1", "--interface=127.0.0.1", "--num-threads=2"]);
        command.args(["--port-min=10000", "--port-max=19998", "--log-level=3", "--log-stderr", "--delete-delay=0"]);
        command.arg(format!("--listen-ng={CONTROL}"));
        command.arg(format!("--pidfile={}", dir.path().join("pid").display()));
        let mut server = Process::start("rtpengine", &mut command, &dir.path().join("screen.log"))?;
        tokio::time::sleep(PROXY_STARTS).await;
        if !server.is_running() {
            return Err(server.failed("ended during its start (is another one running?)"));
        }
        let figures = callgen::proxy(&Load::new("", calls, window_s), server.id(), CONTROL).await?;
        Ok(Some(figures))
    }
}

//! Kamailio as the carrier's proxy: it stays in the path of every request by Record-Route.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;

use tempfile::TempDir;

use crate::lan::Host;
use crate::process::Process;
use crate::{Error, Result, until};

/// Memory of the whole and of each process, MiB; its own default of 64 is for carriers.
const MEMORY_MIB: [&str; 2] = ["16", "4"];

/// Between whom it stands.
#[derive(Clone, Debug)]
pub struct KamailioConfig {
    /// Address it lives on, in the trunk network.
    pub ip: IpAddr,
    /// Its port for UDP and TCP.
    pub port: u16,
    /// The gateway behind it.
    pub gateway: SocketAddr,
    /// True speaks TCP with the gateway. The citizen's side is UDP, so that each request
    /// then gets two Record-Routes (RFC 5658).
    pub gateway_tcp: bool,
    /// Where calls of the gateway go.
    pub citizen: SocketAddr,
}

/// A running Kamailio; dropping it ends it.
#[derive(Debug)]
pub struct Kamailio {
    process: Process,
    local: SocketAddr,
    _dir: TempDir,
}

impl Kamailio {
    /// Writes a configuration, starts Kamailio and waits until it listens.
    ///
    /// # Errors
    /// [`Error::Missing`] without Kamailio, [`Error::Process`] with its log when it doesn't
    /// start.
    pub async fn start(config: &KamailioConfig) -> Result<Self> {
        let local = SocketAddr::new(config.ip, config.port);
        let dir = TempDir::with_prefix("kamailio-").map_err(Error::io("temp dir for Kamailio"))?;
        Self::run(dir, None, local, &settings(config, local)).await
    }

    /// Starts the dispatcher of `ops/kamailio` on a host, before these gateways and this carrier.
    ///
    /// # Errors
    /// As [`Kamailio::start`].
    pub async fn dispatch(host: &Host, gateways: &[SocketAddr], carrier: SocketAddr) -> Result<Self> {
        let local = SocketAddr::new(host.ip(), 5_060);
        let dir = TempDir::with_prefix("kamailio-").map_err(Error::io("temp dir for Kamailio"))?;
        let mut list: String = gateways.iter().map(|g| format!("1 sip:{g}\n")).collect();
        list.push_str(&format!("2 sip:{carrier}\n"));
        let list_file = dir.path().join("dispatcher.list");
        std::fs::write(&list_file, list).map_err(Error::io("write dispatcher.list"))?;
        let shipped = crate::repo_root().join("ops/kamailio/kamailio.cfg");
        let text = std::fs::read_to_string(&shipped).map_err(Error::io("read ops/kamailio/kamailio.cfg"))?;
        let text = text
            .replace("listen=udp:0.0.0.0:5060", &format!("listen=udp:{local}\nlisten=tcp:{local}"))
            .replace("/etc/kamailio/dispatcher.list", &list_file.display().to_string())
            .replace("log_stderror=no", "log_stderror=yes");
        Self::run(dir, Some(host), local, &text).await
    }

    async fn run(dir: TempDir, host: Option<&Host>, local: SocketAddr, settings: &str) -> Result<Self> {
        let program = super::program("kamailio")?;
        let file = dir.path().join("kamailio.cfg");
        std::fs::write(&file, settings).map_err(Error::io("write kamailio.cfg"))?;
        let mut command = host.map_or_else(|| Command::new(&program), |host| host.command(&program));
        // In the foreground, its errors into our log.
        command.args(["-DD", "-E", "-m", MEMORY_MIB[0], "-M", MEMORY_MIB[1], "-f"]).arg(&file);
        command.arg("-Y").arg(dir.path()).arg("-w").arg(dir.path());
        let mut process = Process::start("kamailio", &mut command, &dir.path().join("kamailio.log"))?;
        let mut gone = false;
        let listening = until("Kamailio's socket", 10_000, || {
            gone = !process.is_running();
            let taken = gone || std::net::TcpStream::connect(local).is_ok();
            async move { taken.then_some(()) }
        });
        listening.await.map_err(|e| process.failed(e.to_string()))?;
        if gone {
            return Err(process.failed("ended during its start"));
        }
        Ok(Self { process, local, _dir: dir })
    }

    /// Its SIP address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.local
    }

    /// Its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        // Killed, it would leave its children behind.
        self.process.stop();
    }
}

/// A stateful proxy without a registrar: what comes from the gateway goes to the citizen
/// and the other way round; inside a dialog only the Route set counts.
fn settings(config: &KamailioConfig, local: SocketAddr) -> String {
    let transport = if config.gateway_tcp { "tcp" } else { "udp" };
    let KamailioConfig { gateway, citizen, .. } = config;
    format!(
        r#"#!KAMAILIO
debug=2
log_stderror=yes
children=1
tcp_children=1
auto_aliases=no
tcp_source_ipv4={ip}
listen=udp:{local}
listen=tcp:{local}
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "siputils.so"
modparam("rr", "enable_double_rr", 1)
request_route {{
    if (!mf_process_maxfwd_header("10")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
    if (method == "CANCEL") {{
        if (t_check_trans()) {{ t_relay(); }}
        exit;
    }}
    if (has_totag()) {{
        if (loose_route()) {{ t_relay(); exit; }}
        if (method == "ACK") {{ if (t_check_trans()) {{ t_relay(); }} exit; }}
        sl_send_reply("404", "No Route");
        exit;
    }}
    t_check_trans();
    if (method == "INVITE") {{ record_route(); }}
    if (src_ip == {gateway_ip}) {{
        $du = "sip:{citizen}";
    }} else {{
        $du = "sip:{gateway};transport={transport}";
    }}
    t_relay();
}}
"#,
        gateway_ip = gateway.ip(),
        ip = config.ip
    )
}

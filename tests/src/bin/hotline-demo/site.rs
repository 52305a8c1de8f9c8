//! The demonstration's gateway: a folder that is wiped at the start, a short configuration
//! and one process.

use std::fs::{File, TryLockError};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use hotline_tests::api::Api;
use hotline_tests::gateway::binary;
use hotline_tests::net::{GATEWAY_IP, PHONE_NETWORK, TRUNK_IP, TRUNK_NETWORK, free_port, free_ports};
use hotline_tests::{Error, Process, Result, Signal, repo_root, until};

use crate::look::unexpected;
use crate::show::{Failed, Show};

/// Signs in and has the phone.
pub(crate) const LOGIN: &str = "1001";
/// The number that is called.
pub(crate) const HOTLINE: &str = "12319";
/// Preferred ports.
const SIP_PORT: u16 = 5_060;
const HTTP_PORT: u16 = 8_080;
/// RTP ports: some calls with two legs each.
const RTP_PORTS: u16 = 100;
/// Survives the wiping: a model takes long to fetch.
const MODELS: &str = "models";
const LOCK: &str = "demo.lock";
/// Tells that a folder is ours to wipe.
const CONFIG: &str = "hotline.toml";
/// Migrations, prompts, listeners.
const START_MS: u64 = 30_000;
/// Longer than the gateway drains.
const STOP_MS: u64 = 55_000;

/// Folder, addresses, secrets and process.
pub(crate) struct Site {
    root: PathBuf,
    pub(crate) sip: SocketAddr,
    http: SocketAddr,
    /// Where the citizen's telephone is; the trunk's `outbound`.
    pub(crate) citizen: SocketAddr,
    pub(crate) password: String,
    pub(crate) phone_password: String,
    process: Option<Process>,
    _lock: File,
}

impl Site {
    /// Wipes the folder and finds ports.
    ///
    /// # Errors
    /// When another demonstration uses the folder, or it holds something else.
    pub(crate) fn prepare(root: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&root).map_err(Error::io(format!("create {}", root.display())))?;
        let root = root.canonicalize().map_err(Error::io(format!("open {}", root.display())))?;
        let lock = lock(&root)?;
        wipe(&root)?;
        let site = Self {
            sip: SocketAddr::new(GATEWAY_IP, port(GATEWAY_IP, SIP_PORT)?),
            http: SocketAddr::new(GATEWAY_IP, port(GATEWAY_IP, HTTP_PORT)?),
            citizen: SocketAddr::new(TRUNK_IP, free_port(TRUNK_IP)?),
            password: secret(),
            phone_password: secret(),
            process: None,
            _lock: lock,
            root,
        };
        let path = site.config();
        std::fs::write(&path, site.settings()?).map_err(Error::io(format!("write {}", path.display())))?;
        Ok(site)
    }

    /// Adds the operator and starts the gateway.
    pub(crate) async fn open(&mut self, show: &mut Show) -> std::result::Result<(), Failed> {
        show.step("演示受理员已添加", "a demonstration operator is added", 30_000, async {
            let said = self.add_operator()?;
            Ok(((), format!("{said}\n角色 / roles: operator leader qa")))
        })
        .await?;
        show.step("网关已启动(SQLite)", "the gateway is up, on SQLite", START_MS, async {
            let id = self.boot().await?;
            Ok(((), format!("SIP {} · HTTP {} · pid {id}\n数据 / data: {}", self.sip, self.http, self.root.display())))
        })
        .await
    }

    fn add_operator(&self) -> Result<String> {
        let mut command = Command::new(binary()?);
        command.args(["user", "add", "--login", LOGIN, "--name", "演示受理员", "--sip-user", LOGIN]);
        command.args(["--role", "operator", "--role", "leader", "--role", "qa", "--config"]).arg(self.config());
        // Through the environment: arguments can be read by everybody on the machine.
        command.env("HOTLINE_PASSWORD", &self.password).env("HOTLINE_SIP_PASSWORD", &self.phone_password);
        run(&mut command, "hotline user add")
    }

    async fn boot(&mut self) -> Result<u32> {
        let mut command = Command::new(binary()?);
        command.arg("serve").arg("--config").arg(self.config());
        let mut process = Process::start("hotline", &mut command, Path::new(&self.log()))?;
        let (id, api) = (process.id(), self.api());
        let up = until("/healthz", START_MS, || {
            let running = process.is_running();
            let api = &api;
            async move { if running { api.is_healthy().await.then_some(true) } else { Some(false) } }
        });
        let up = up.await;
        if !matches!(up, Ok(true)) {
            return Err(process.failed("启动失败 / did not start"));
        }
        self.process = Some(process);
        Ok(id)
    }

    /// The interface without a sign-in.
    pub(crate) fn api(&self) -> Api {
        Api::new(format!("http://{}", self.http))
    }

    /// The gateway's log file.
    pub(crate) fn log(&self) -> String {
        self.root.join("hotline.log").display().to_string()
    }

    /// A folder for files of the demonstration itself.
    pub(crate) fn speech_dir(&self) -> Result<PathBuf> {
        let folder = self.root.join("speech");
        std::fs::create_dir_all(&folder).map_err(Error::io(format!("create {}", folder.display())))?;
        Ok(folder)
    }

    /// True when a speech model is installed.
    pub(crate) fn has_model(&self) -> bool {
        let files = std::fs::read_dir(self.root.join(MODELS)).into_iter().flatten().flatten();
        let names = files.map(|file| file.file_name().to_string_lossy().into_owned());
        names.filter(|name| !name.contains("silero")).any(|name| name.starts_with("ggml-") && name.ends_with(".bin"))
    }

    /// The one command that gives this gateway a speech model.
    pub(crate) fn model_command(&self) -> Result<String> {
        Ok(format!("{} model get small --data {}", binary()?.display(), self.root.display()))
    }

    /// What `hotline show` prints.
    pub(crate) fn story(&self, acceptance_no: &str) -> Result<String> {
        let mut command = Command::new(binary()?);
        run(command.args(["show", acceptance_no, "--config"]).arg(self.config()), "hotline show")
    }

    /// SIGTERM, and the exit status.
    ///
    /// # Errors
    /// [`Error::Timeout`] when it doesn't end.
    pub(crate) async fn stop(&mut self) -> Result<ExitStatus> {
        let Some(mut process) = self.process.take() else {
            return Ok(ExitStatus::default());
        };
        if let Some(status) = process.status() {
            return Ok(status);
        }
        // After Ctrl-C it has the terminal's SIGINT already; one more request does no harm.
        process.signal(Signal::Term)?;
        process.wait(STOP_MS).await
    }

    /// Returns when the gateway has ended by itself.
    pub(crate) async fn gone(&mut self) {
        while self.process.as_mut().is_some_and(Process::is_running) {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// The last words before the demonstration waits.
    pub(crate) fn welcome(&self) -> Vec<String> {
        let http = self.http;
        vec![
            format!("  网页 / page:      http://{http}/"),
            format!("  工号 / login:     {LOGIN}"),
            format!("  密码 / password:  {}", self.password),
            String::new(),
            format!("  接口文档 / API:   http://{http}/openapi.json"),
            format!("  日志 / log:       {}", self.log()),
            format!(
                "  从别的机器看 / from another machine:  ssh -L {0}:{http} …  →  http://127.0.0.1:{0}/",
                http.port()
            ),
            String::new(),
            "按 Ctrl-C 停止 / press Ctrl-C to stop".into(),
        ]
    }

    fn config(&self) -> PathBuf {
        self.root.join(CONFIG)
    }

    /// Only what differs from the defaults.
    fn settings(&self) -> Result<String> {
        let rtp = free_ports(GATEWAY_IP, RTP_PORTS)?;
        let path = |path: PathBuf| toml::Value::from(path.display().to_string()).to_string();
        let (data, sounds) = (path(self.root.clone()), path(repo_root().join("sounds")));
        let (sip, http, citizen, last) = (self.sip, self.http, self.citizen, rtp + RTP_PORTS - 1);
        Ok(format!(
            r#"# 演示配置,每次运行重写;全部默认值见 ops/hotline.example.toml
# The demonstration's settings, rewritten at each run; all defaults: ops/hotline.example.toml

[storage]
data_dir = {data}

[sip]
listen = ["{sip}"]
phone_networks = ["{PHONE_NETWORK}"]   # 演示话机 / the demonstration's phone

[[trunk]]
name = "demo"
sources = ["{TRUNK_NETWORK}"]          # 演示市民 / the demonstration's citizen
outbound = "{citizen}"

[media]
bind = "{GATEWAY_IP}"
port_min = {rtp}
port_max = {last}

[[hotline]]
number = "{HOTLINE}"

[queue.main]
wrap_s = 0

[voice]
sounds_dir = {sounds}

[transcription]
poll_ms = 200

[casecore]
poll_ms = 200

[callback]
windows = []          # 不限时段,立即回访 / any hour: the callback comes at once
time_factor = 3600    # 一小时当一秒 / an hour is a second
poll_ms = 200

[http]
listen = "{http}"
"#
        ))
    }
}

fn run(command: &mut Command, name: &str) -> Result<String> {
    let output = command.output().map_err(Error::io(name))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    let detail = format!("ended with {}", output.status);
    Err(Error::Process { program: name.into(), detail, log: text(&output.stdout) + &text(&output.stderr) })
}

fn lock(root: &Path) -> Result<File> {
    let path = root.join(LOCK);
    let file = File::create(&path).map_err(Error::io(format!("create {}", path.display())))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(unexpected(format!(
            "{0} 已被占用,请先停止另一个演示 / {0} is in use, stop the other demonstration first",
            root.display()
        ))),
        Err(TryLockError::Error(source)) => Err(Error::Io { what: format!("lock {}", path.display()), source }),
    }
}

/// Empties the folder but for the models, if it is a demonstration's.
fn wipe(root: &Path) -> Result<()> {
    let what = || format!("wipe {}", root.display());
    let entries: Vec<PathBuf> =
        std::fs::read_dir(root).map_err(Error::io(what()))?.flatten().map(|entry| entry.path()).collect();
    let ours = |path: &PathBuf| [LOCK, MODELS].iter().any(|name| path.file_name().is_some_and(|n| n == *name));
    let rest: Vec<&PathBuf> = entries.iter().filter(|path| !ours(path)).collect();
    if !rest.is_empty() && !root.join(CONFIG).is_file() {
        return Err(unexpected(format!(
            "{0} 里有别的文件,不清空;用 --data 指定空目录 / {0} holds other files and isn't wiped; name an empty folder with --data",
            root.display()
        )));
    }
    for path in rest {
        let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
        removed.map_err(Error::io(what()))?;
    }
    Ok(())
}

/// The usual port where it is free, else any.
fn port(ip: IpAddr, usual: u16) -> Result<u16> {
    let address = SocketAddr::new(ip, usual);
    if UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok() { Ok(usual) } else { free_port(ip) }
}

/// Sixteen letters and digits, without those that look alike.
fn secret() -> String {
    const LETTERS: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";
    (0..16).map(|_| char::from(LETTERS[rand::random_range(0..LETTERS.len())])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_demonstrations_folder_is_wiped_and_its_models_stay() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("thesis.txt"), "years of work").unwrap();
        assert!(wipe(dir.path()).is_err());
        std::fs::write(dir.path().join(CONFIG), "").unwrap();
        std::fs::create_dir(dir.path().join(MODELS)).unwrap();
        wipe(dir.path()).unwrap();
        assert!(dir.path().join(MODELS).is_dir() && !dir.path().join("thesis.txt").exists());
    }

    #[test]
    fn a_second_demonstration_is_told_about_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let _first = lock(dir.path()).unwrap();
        assert!(lock(dir.path()).unwrap_err().to_string().contains("in use"));
    }
}

//! The `hotline` binary under test: started on free ports and a data folder of its
//! own, looked at through HTTP and its log, killed and started again.

mod settings;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};

use tempfile::TempDir;
use toml::Value;

use self::settings::{set, settings};

use crate::api::Api;
use crate::lan::Host;
use crate::net::{GATEWAY_IP, free_port};
use crate::process::{Process, Signal};
use crate::{Error, Result, until};

/// Time a start may take: migrations, repair of recordings, listeners.
const START_MS: u64 = 30_000;

/// What to start.
#[derive(Clone, Debug, Default)]
pub struct GatewayConfig {
    /// Database URL; empty for SQLite in the data folder.
    pub database_url: String,
    /// Where citizens are called back: the trunk's `outbound`.
    pub outbound: Option<SocketAddr>,
    /// Where it listens for SIP; `None` takes a free port.
    pub sip: Option<SocketAddr>,
    /// The host it lives on, with all its usual ports; `None`: this one, on loopback.
    pub host: Option<Host>,
    /// Dotted keys of the configuration file and their values, e.g.
    /// `("callback.time_factor", 3600.into())`; they replace what is there.
    pub set: Vec<(String, Value)>,
    /// Environment of the process.
    pub environment: Vec<(String, String)>,
}

impl GatewayConfig {
    /// Sets one key of the configuration file.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.set.push((key.into(), value.into()));
        self
    }
}

/// A user to be added.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// Name to sign in with.
    pub login: String,
    /// Name people see.
    pub name: String,
    /// Console password.
    pub password: String,
    /// `operator`, `leader` …
    pub roles: Vec<String>,
    /// Phone's user and password.
    pub sip: Option<(String, String)>,
}

impl NewUser {
    /// An operator whose phone's user is also the login.
    #[must_use]
    pub fn operator(sip_user: &str) -> Self {
        Self {
            login: sip_user.into(),
            name: format!("受理员{sip_user}"),
            password: format!("console-{sip_user}"),
            roles: vec!["operator".into()],
            sip: Some((sip_user.into(), format!("phone-{sip_user}"))),
        }
    }
}

/// A gateway on a folder and ports of its own. Dropping it kills the process and
/// removes the folder, unless `HOTLINE_TEST_KEEP` is set.
#[derive(Debug)]
pub struct Gateway {
    process: Option<Process>,
    dir: Option<TempDir>,
    root: PathBuf,
    environment: Vec<(String, String)>,
    host: Option<Host>,
    sip: SocketAddr,
    http: SocketAddr,
}

impl Gateway {
    /// Writes a configuration, starts the binary and waits until it is healthy.
    ///
    /// # Errors
    /// [`Error::Missing`] without the binary, [`Error::Process`] with its log when it
    /// doesn't become healthy.
    pub async fn start(config: GatewayConfig) -> Result<Self> {
        let mut gateway = Self::prepare(config)?;
        gateway.boot().await?;
        Ok(gateway)
    }

    /// Writes the configuration without starting: for `user add` before the first start.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Missing`].
    pub fn prepare(config: GatewayConfig) -> Result<Self> {
        binary()?;
        let dir = TempDir::with_prefix("hotline-").map_err(Error::io("temp dir"))?;
        let root = dir.path().to_path_buf();
        let place = |usual: u16| match &config.host {
            Some(host) => Ok(SocketAddr::new(host.ip(), usual)),
            None => Ok(SocketAddr::new(GATEWAY_IP, free_port(GATEWAY_IP)?)),
        };
        let sip = config.sip.map_or_else(|| place(5_060), Ok)?;
        let http = place(8_080)?;
        let mut table = settings(&root, sip, http, &config)?;
        for (key, value) in config.set {
            set(&mut table, &key, value);
        }
        let path = root.join("hotline.toml");
        std::fs::write(&path, table.to_string()).map_err(Error::io("write hotline.toml"))?;
        let keep = std::env::var_os("HOTLINE_TEST_KEEP").is_some();
        let dir = if keep {
            // The folder stays for a look; its path is in every error's log.
            let _ = dir.keep();
            None
        } else {
            Some(dir)
        };
        Ok(Self { process: None, dir, root, environment: config.environment, host: config.host, sip, http })
    }

    /// Starts the process (again, on the same data) and waits for `/healthz`.
    ///
    /// # Errors
    /// [`Error::Process`].
    pub async fn boot(&mut self) -> Result<()> {
        let mut command = match &self.host {
            Some(host) => host.command(binary()?),
            None => Command::new(binary()?),
        };
        command.arg("serve").arg("--config").arg(self.config_file());
        command.envs(self.environment.iter().map(|(k, v)| (k, v)));
        let mut process = Process::start("hotline", &mut command, &self.root.join("hotline.log"))?;
        let api = self.api();
        let healthy = until("/healthz", START_MS, || {
            let gone = !process.is_running();
            let api = &api;
            async move { if gone { Some(false) } else { api.is_healthy().await.then_some(true) } }
        });
        match healthy.await {
            Ok(true) => {}
            Ok(false) => return Err(process.failed("ended during its start")),
            Err(error) => return Err(process.failed(error.to_string())),
        }
        self.process = Some(process);
        Ok(())
    }

    /// Its SIP address, UDP and TCP.
    #[must_use]
    pub fn sip(&self) -> SocketAddr {
        self.sip
    }

    /// Its HTTP address.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// The REST interface without a sign-in.
    #[must_use]
    pub fn api(&self) -> Api {
        Api::new(format!("http://{}", self.http))
    }

    /// Signs in and returns the REST interface of that user.
    ///
    /// # Errors
    /// [`Error::Http`].
    pub async fn sign_in(&self, user: &NewUser) -> Result<Api> {
        self.api().sign_in(&user.login, &user.password).await
    }

    /// The configuration file.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.root.join("hotline.toml")
    }

    /// The data folder: database and recordings.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.root.join("data")
    }

    /// The recordings' folder.
    #[must_use]
    pub fn recordings_dir(&self) -> PathBuf {
        self.data_dir().join("recordings")
    }

    /// Everything the process has written, over all its starts.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.root.join("hotline.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The process id while it runs.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Ends it at once, as a power cut does.
    pub fn kill9(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill9();
        }
    }

    /// Asks it to drain and end, and waits for that.
    ///
    /// # Errors
    /// [`Error::Timeout`] when it still runs after `timeout_ms`; [`Error::Process`]
    /// when it isn't running.
    pub async fn sigterm(&mut self, timeout_ms: u64) -> Result<ExitStatus> {
        let process = self.process.as_mut();
        let process = process.ok_or_else(|| not_running("SIGTERM"))?;
        process.signal(Signal::Term)?;
        let status = process.wait(timeout_ms).await?;
        self.process = None;
        Ok(status)
    }

    /// Sends a signal and goes on.
    ///
    /// # Errors
    /// [`Error::Process`] when it isn't running.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        let process = self.process.as_mut();
        process.ok_or_else(|| not_running("a signal"))?.signal(signal)
    }

    /// kill -9 and a new start on the same data.
    ///
    /// # Errors
    /// As [`Gateway::boot`].
    pub async fn crash_and_restart(&mut self) -> Result<()> {
        self.kill9();
        self.boot().await
    }

    /// Runs `hotline` with `arguments` and, unless they name one, this gateway's `--config`.
    ///
    /// # Errors
    /// [`Error::Io`]; a failing exit status is not an error.
    pub fn run(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(binary()?);
        command.args(arguments);
        if !arguments.contains(&"--config") {
            command.arg("--config").arg(self.config_file());
        }
        command.output().map_err(Error::io(format!("hotline {}", arguments.join(" "))))
    }

    /// As [`Gateway::run`], demands success and returns the output's text.
    ///
    /// # Errors
    /// [`Error::Process`] with what it wrote.
    pub fn run_ok(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run(arguments)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        Err(Error::Process {
            program: format!("hotline {}", arguments.join(" ")),
            detail: format!("ended with {}", output.status),
            log: text(&output.stdout) + &text(&output.stderr),
        })
    }

    /// Adds a user through the command line.
    ///
    /// # Errors
    /// [`Error::Process`].
    pub fn add_user(&self, user: &NewUser) -> Result<()> {
        let mut arguments = vec!["user", "add", "--login", &user.login, "--name", &user.name];
        arguments.extend(["--password", &user.password]);
        for role in &user.roles {
            arguments.extend(["--role", role]);
        }
        if let Some((sip_user, sip_password)) = &user.sip {
            arguments.extend(["--sip-user", sip_user, "--sip-password", sip_password]);
        }
        self.run_ok(&arguments).map(|_| ())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill9();
        if self.dir.is_none() {
            let marker = self.root.join("KEPT");
            // A note for whoever finds the folder; nothing depends on it.
            let _ = std::fs::write(marker, "kept by HOTLINE_TEST_KEEP\n");
        }
    }
}

fn not_running(what: &str) -> Error {
    let detail = format!("isn't running, no {what}");
    Error::Process { program: "hotline".into(), detail, log: String::new() }
}

/// `HOTLINE_BIN`, or `hotline` beside this test binary's target folder, or in the
/// other profile's folder there.
///
/// # Errors
/// [`Error::Missing`] with the command that builds it.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("HOTLINE_BIN") {
        return Ok(PathBuf::from(path));
    }
    let test = std::env::current_exe().map_err(Error::io("current exe"))?;
    // target/debug/deps/name-hash → target/debug → target
    let folders: Vec<&Path> = test.ancestors().skip(1).take(3).collect();
    let beside = folders.iter().map(|dir| dir.join("hotline"));
    let profiles = folders.iter().flat_map(|dir| ["debug", "release"].map(|profile| dir.join(profile).join("hotline")));
    beside.chain(profiles).find(|path| path.is_file()).ok_or_else(|| Error::Missing {
        program: "the binary `hotline`".into(),
        remedy: "cargo build -p hotline-gateway --bin hotline, or set HOTLINE_BIN".into(),
    })
}

//! A throw-away PostgreSQL cluster: own folder, own port, gone when dropped.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::net::free_port;
use crate::process::{Process, Signal};
use crate::{Error, Result, until};

const IP: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// The cluster's superuser.
const USER: &str = "hotline";
/// The system user PostgreSQL runs as when the tests run as root, which it refuses.
const SYSTEM_USER: &str = "postgres";
const START_MS: u64 = 30_000;
const STOP_MS: u64 = 20_000;
/// How long the backends of a killed server may keep its memory.
const FREED_MS: u64 = 60_000;

/// A running cluster with trust authentication on a free port of 127.0.0.1.
#[derive(Debug)]
pub struct Postgres {
    process: Option<Process>,
    programs: PathBuf,
    dir: TempDir,
    ip: IpAddr,
    port: u16,
    run_as: Option<(u32, u32)>,
    environment: Vec<(String, String)>,
}

impl Postgres {
    /// Creates and starts a cluster. Durability is as in service (fsync on), unless
    /// `HOTLINE_TEST_PG_FSYNC=off`.
    ///
    /// # Errors
    /// [`Error::Missing`] without PostgreSQL, [`Error::Process`] when it won't start.
    pub async fn start() -> Result<Self> {
        Self::start_with(Vec::new()).await
    }

    /// The same, with variables in the server's environment.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub async fn start_with(environment: Vec<(String, String)>) -> Result<Self> {
        Self::start_at(IP, environment).await
    }

    /// The same on another address of this host, open to everybody who reaches it.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub async fn start_at(ip: IpAddr, environment: Vec<(String, String)>) -> Result<Self> {
        let programs = programs()?;
        let dir = TempDir::with_prefix("postgres-").map_err(Error::io("temp dir"))?;
        let run_as = if id("-u", None)? == 0 {
            let ids = (id("-u", Some(SYSTEM_USER))?, id("-g", Some(SYSTEM_USER))?);
            chown(dir.path(), Some(ids.0), Some(ids.1)).map_err(Error::io("chown"))?;
            Some(ids)
        } else {
            None
        };
        let mut cluster = Self { process: None, programs, dir, ip, port: free_port(ip)?, run_as, environment };
        cluster.create()?;
        cluster.boot().await?;
        Ok(cluster)
    }

    /// The URL of database `postgres`.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// The URL of another database.
    #[must_use]
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://{USER}@{}/{database}", self.address())
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.port)
    }

    /// Creates an empty database and returns its URL.
    ///
    /// # Errors
    /// [`Error::Process`] when the name is taken or not allowed.
    pub fn create_database(&self, name: &str) -> Result<String> {
        self.run("createdb", &["-h", &self.ip.to_string(), "-p", &self.port.to_string(), "-U", USER, name])?;
        Ok(self.url_of(name))
    }

    /// Runs one SQL command with psql and returns its unaligned output.
    ///
    /// # Errors
    /// [`Error::Process`] with psql's message.
    pub fn sql(&self, database: &str, command: &str) -> Result<String> {
        let url = self.url_of(database);
        self.run("psql", &["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &url, "-c", command])
    }

    /// Ends it with SIGKILL, as a power cut does.
    pub fn kill9(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill9();
        }
    }

    /// Stops it in order (fast shutdown: open connections are closed).
    ///
    /// # Errors
    /// [`Error::Timeout`].
    pub async fn stop(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::Int)?;
            process.wait(STOP_MS).await?;
        }
        Ok(())
    }

    /// Starts it again on the same data and port.
    ///
    /// # Errors
    /// [`Error::Process`].
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await?;
        // Backends of a killed server go on for a moment and keep its memory locked.
        let deadline = tokio::time::Instant::now() + crate::wait::patient(FREED_MS);
        loop {
            let booted = self.boot().await;
            if booted.is_ok() || tokio::time::Instant::now() >= deadline {
                return booted;
            }
            tokio::time::sleep(std::time::Duration::from_millis(250)).await;
        }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(self.dir.path());
        if let Some((user, group)) = self.run_as {
            command.uid(user).gid(group);
        }
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let output = self.command(program).args(arguments).output().map_err(Error::io(program))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
        }
        Err(Error::Process {
            program: program.into(),
            detail: format!("ended with {}", output.status),
            log: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    fn create(&self) -> Result<()> {
        let data = self.data().display().to_string();
        let options = ["-A", "trust", "-U", USER, "-E", "UTF8", "--locale=C", "--no-sync"];
        let mut arguments = vec!["-D", data.as_str()];
        arguments.extend(options);
        self.run("initdb", &arguments)?;
        if self.ip != IP {
            let access = data.as_str().to_owned() + "/pg_hba.conf";
            let rule = format!("host all all {}/24 trust\n", self.ip);
            let mut file = std::fs::OpenOptions::new().append(true).open(&access).map_err(Error::io(access))?;
            std::io::Write::write_all(&mut file, rule.as_bytes()).map_err(Error::io("write pg_hba.conf"))?;
        }
        Ok(())
    }

    async fn boot(&mut self) -> Result<()> {
        let mut command = self.command("postgres");
        let (data, sockets) = (self.data(), self.dir.path().display().to_string());
        let fsync = std::env::var("HOTLINE_TEST_PG_FSYNC").unwrap_or_else(|_| "on".into());
        command.arg("-D").arg(&data).args(["-p", &self.port.to_string()]);
        for setting in [
            format!("listen_addresses={}", self.ip),
            format!("unix_socket_directories={sockets}"),
            format!("fsync={fsync}"),
            "max_connections=200".into(),
        ] {
            command.args(["-c", &setting]);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let log = self.dir.path().join("postgres.log");
        let mut process = Process::start("postgres", &mut command, &log)?;
        let address = self.address();
        let ready = until("PostgreSQL", START_MS, || {
            let gone = !process.is_running();
            let answer = self.run("pg_isready", &["-q", "-h", &self.ip.to_string(), "-p", &self.port.to_string()]);
            async move { (gone || answer.is_ok()).then_some(!gone) }
        });
        match ready.await {
            Ok(true) => {}
            _ => return Err(process.failed(format!("doesn't listen on {address}"))),
        }
        self.process = Some(process);
        Ok(())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Immediate: the data is thrown away, but the backends should know.
            let _ = process.signal(Signal::Int);
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
            while process.is_running() && std::time::Instant::now() < deadline {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
    }
}

/// The newest `/usr/lib/postgresql/*/bin`, or `HOTLINE_PG_BIN`.
fn programs() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("HOTLINE_PG_BIN") {
        return Ok(PathBuf::from(dir));
    }
    let version = |path: &Path| -> Option<u32> { path.file_name()?.to_str()?.parse().ok() };
    let entries = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries.map(|e| e.path()).filter(|p| p.join("bin/initdb").is_file()).collect();
    found.sort_by_key(|path| version(path));
    found.pop().map(|path| path.join("bin")).ok_or_else(|| Error::Missing {
        program: "PostgreSQL".into(),
        remedy: "run ops/install --test, or set HOTLINE_PG_BIN".into(),
    })
}

fn id(what: &str, user: Option<&str>) -> Result<u32> {
    let output = Command::new("id").arg(what).args(user).output().map_err(Error::io("id"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().map_err(|_| Error::Missing {
        program: format!("system user {}", user.unwrap_or("")),
        remedy: "PostgreSQL refuses to run as root: create the user postgres".into(),
    })
}

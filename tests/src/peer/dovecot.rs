//! An IMAP server: Debian's Dovecot on a folder and ports of its own, with one account. Mail is delivered
//! as a mail server does it: into the Maildir, by renaming.

use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use crate::net::{GATEWAY_IP, free_port};
use crate::process::Process;
use crate::tls::Certificates;
use crate::{Error, Result, until};

/// The account's password; its name is any.
pub const IMAP_PASSWORD: &str = "imap-secret";
/// Who Dovecot's helpers run as where the tests run as root; it gives nobody's mail to root.
const SYSTEM_USER: &str = "nobody";
const START_MS: u64 = 20_000;

static DELIVERED: AtomicU32 = AtomicU32::new(0);

/// A running server; dropping it ends it.
#[derive(Debug)]
pub struct Dovecot {
    process: Option<Process>,
    dir: TempDir,
    plain: SocketAddr,
    tls: SocketAddr,
    run_as: Option<(u32, u32)>,
}

impl Dovecot {
    /// Starts one with `certificates` on its TLS port.
    ///
    /// # Errors
    /// [`Error::Missing`] without Dovecot, [`Error::Process`] when it doesn't start.
    pub async fn start(certificates: &Certificates) -> Result<Self> {
        let program = program()?;
        let dir = TempDir::with_prefix("dovecot-").map_err(Error::io("temp dir"))?;
        let run_as = if id(&["-u"])? == "0" {
            Some((number(&id(&["-u", SYSTEM_USER])?), number(&id(&["-g", SYSTEM_USER])?)))
        } else {
            None
        };
        let address = |port| SocketAddr::new(GATEWAY_IP, port);
        let (plain, tls) = (address(free_port(GATEWAY_IP)?), address(free_port(GATEWAY_IP)?));
        let mut server = Self { process: None, dir, plain, tls, run_as };
        server.prepare(certificates)?;
        server.boot(&program).await?;
        Ok(server)
    }

    /// Its port without TLS.
    #[must_use]
    pub fn plain(&self) -> SocketAddr {
        self.plain
    }

    /// Its port with TLS.
    #[must_use]
    pub fn tls(&self) -> SocketAddr {
        self.tls
    }

    /// Puts a mail into the inbox.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn deliver(&self, raw: &[u8]) -> Result<()> {
        let name = format!("{}.M{}.test", seconds(), DELIVERED.fetch_add(1, Ordering::Relaxed));
        let (before, after) = (self.maildir().join("tmp").join(&name), self.maildir().join("new").join(&name));
        std::fs::write(&before, raw).map_err(Error::io("write a mail"))?;
        self.give(&before)?;
        std::fs::rename(before, after).map_err(Error::io("deliver a mail"))
    }

    /// How many mails are marked as read (`S`) or flagged (`F`).
    #[must_use]
    pub fn marked(&self, flag: char) -> usize {
        let entries = std::fs::read_dir(self.maildir().join("cur")).into_iter().flatten().flatten();
        let flags = entries.filter_map(|e| e.file_name().to_str()?.split_once(":2,").map(|(_, f)| f.to_owned()));
        flags.filter(|f| f.contains(flag)).count()
    }

    /// Stops it, gives the inbox a new UIDVALIDITY and starts it again.
    ///
    /// # Errors
    /// As [`Dovecot::start`].
    pub async fn renumber(&mut self) -> Result<()> {
        self.stop();
        let entries = std::fs::read_dir(self.maildir()).map_err(Error::io("read the Maildir"))?;
        for entry in entries.flatten().filter(|e| e.file_name().to_string_lossy().starts_with("dovecot")) {
            let path = entry.path();
            let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
            removed.map_err(Error::io("renumber the inbox"))?;
        }
        // A UIDVALIDITY is a moment in seconds: it must be another one.
        tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
        self.boot(&program()?).await
    }

    /// Stops it, as an outage.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.stop();
        }
    }

    /// Starts it again.
    ///
    /// # Errors
    /// As [`Dovecot::start`].
    pub async fn restart(&mut self) -> Result<()> {
        self.boot(&program()?).await
    }

    fn maildir(&self) -> PathBuf {
        self.dir.path().join("mail")
    }

    fn give(&self, path: &Path) -> Result<()> {
        match self.run_as {
            Some((user, group)) => chown(path, Some(user), Some(group)).map_err(Error::io("chown")),
            None => Ok(()),
        }
    }

    fn prepare(&self, certificates: &Certificates) -> Result<()> {
        let root = self.dir.path();
        // Dovecot's helpers must reach what is below.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(root, open).map_err(Error::io("open the folder"))?;
        for folder in ["mail", "mail/tmp", "mail/new", "mail/cur"] {
            let path = root.join(folder);
            std::fs::create_dir_all(&path).map_err(Error::io("create the Maildir"))?;
            self.give(&path)?;
        }
        let (user, group) = match self.run_as {
            Some((user, group)) => (user.to_string(), group.to_string()),
            None => (id(&["-u"])?, id(&["-g"])?),
        };
        let name = if self.run_as.is_some() { SYSTEM_USER.to_owned() } else { id(&["-un"])? };
        let group_name = if self.run_as.is_some() { id(&["-gn", SYSTEM_USER])? } else { id(&["-gn"])? };
        let root = root.display();
        let text = format!(
            "base_dir = {root}/run\nstate_dir = {root}/run\nlog_path = {root}/dovecot.log\nprotocols = imap\n\
             listen = {ip}\nssl = yes\nssl_cert = <{cert}\nssl_key = <{key}\ndisable_plaintext_auth = no\n\
             default_internal_user = {name}\ndefault_internal_group = {group_name}\ndefault_login_user = {name}\n\
             first_valid_uid = 1\nmail_location = maildir:{root}/mail\nmail_fsync = never\n\
             passdb {{\n  driver = static\n  args = password={IMAP_PASSWORD}\n}}\n\
             userdb {{\n  driver = static\n  args = uid={user} gid={group} home={root}\n}}\n\
             service imap-login {{\n  chroot =\n  inet_listener imap {{\n    port = {plain}\n  }}\n\
             inet_listener imaps {{\n    port = {tls}\n    ssl = yes\n  }}\n}}\n\
             service anvil {{\n  chroot =\n}}\nservice stats {{\n  chroot =\n}}\n",
            ip = GATEWAY_IP,
            cert = certificates.chain().display(),
            key = certificates.key().display(),
            plain = self.plain.port(),
            tls = self.tls.port(),
        );
        std::fs::write(self.config(), text).map_err(Error::io("write dovecot.conf"))
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("dovecot.conf")
    }

    async fn boot(&mut self, program: &Path) -> Result<()> {
        let mut command = Command::new(program);
        command.arg("-F").arg("-c").arg(self.config());
        let mut process = Process::start("dovecot", &mut command, &self.dir.path().join("start.log"))?;
        let address = self.tls;
        let ready = until("Dovecot", START_MS, || {
            let gone = !process.is_running();
            async move {
                let here = tokio::net::TcpStream::connect(address).await.is_ok();
                (gone || here).then_some(!gone)
            }
        });
        if ready.await.unwrap_or(false) {
            self.process = Some(process);
            return Ok(());
        }
        let log = std::fs::read_to_string(self.dir.path().join("dovecot.log")).unwrap_or_default();
        Err(process.failed(format!("doesn't listen on {address}: {log}")))
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        self.stop();
    }
}

fn program() -> Result<PathBuf> {
    let usual = PathBuf::from("/usr/sbin/dovecot");
    if usual.is_file() { Ok(usual) } else { super::program("dovecot") }
}

fn id(arguments: &[&str]) -> Result<String> {
    let output = Command::new("id").args(arguments).output().map_err(Error::io("id"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn number(text: &str) -> u32 {
    text.parse().unwrap_or(65_534)
}

fn seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

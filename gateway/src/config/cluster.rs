//! Several gateways on one PostgreSQL with one queue.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Config;
use super::judge::{Fault, fault};

/// A secret of fewer characters can be guessed.
const SECRET_CHARS_MIN: usize = 16;

/// Links to the other gateways.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Cluster {
    /// Where the other gateways' links come in; absent: this gateway has a queue of its own.
    pub listen: Option<SocketAddr>,
    /// What the others dial; absent: `listen`.
    pub advertise: Option<SocketAddr>,
    /// Shared by all gateways.
    pub secret: String,
    /// A file with the secret instead.
    pub secret_file: Option<PathBuf>,
}

impl Cluster {
    /// The secret.
    ///
    /// # Errors
    /// A file that can't be read, or holds too short a secret.
    pub fn secret(&self) -> std::io::Result<String> {
        let secret = match &self.secret_file {
            Some(path) => std::fs::read_to_string(path)?.lines().next().unwrap_or_default().trim_end().to_owned(),
            None => self.secret.clone(),
        };
        if secret.chars().count() < SECRET_CHARS_MIN {
            return Err(std::io::Error::other("cluster.secret: 至少 16 个字符 / at least 16 characters"));
        }
        Ok(secret)
    }
}

impl Config {
    pub(super) fn judge_cluster(&self) -> Result<(), Fault> {
        let Cluster { listen, advertise, secret, secret_file } = &self.cluster;
        let Some(listen) = listen else { return Ok(()) };
        if !self.storage.url().starts_with("postgres") {
            let problem = "gateways share a queue on one PostgreSQL only".into();
            let remedy =
                "设置 storage.database_url 或删去 cluster.listen / set storage.database_url, or leave this out";
            return fault("cluster.listen", problem, remedy);
        }
        if advertise.unwrap_or(*listen).ip().is_unspecified() {
            let remedy = "填写其他网关可达的地址 / give the address the other gateways reach";
            return fault("cluster.advertise", format!("nobody can dial {listen}"), remedy);
        }
        if secret.is_empty() == secret_file.is_none() {
            let problem = "secret and secret_file: one of them".into();
            return fault("cluster.secret", problem, "填写其中一项 / set one of them");
        }
        if secret_file.is_none() && secret.chars().count() < SECRET_CHARS_MIN {
            let remedy = "至少 16 个字符,如 openssl rand -hex 24 / at least 16 characters, e.g. openssl rand -hex 24";
            return fault("cluster.secret", "is too short".into(), remedy);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_shared_queue_needs_postgresql_a_reachable_address_and_a_long_secret() {
        let on = |db: &str, text: &str| {
            let text = format!("[storage]\ndatabase_url = \"{db}\"\n[cluster]\n{text}");
            Config::parse(Path::new("c.toml"), &text).map_err(|e| e.to_string())
        };
        let (pg, secret) = ("postgres://h@db/hotline", "secret = \"0123456789abcdef\"");
        let good = on(pg, &format!("listen = \"10.0.0.1:7060\"\n{secret}")).unwrap();
        assert_eq!(good.cluster.secret().unwrap(), "0123456789abcdef");
        assert!(on(pg, &format!("listen = \"0.0.0.0:7060\"\nadvertise = \"10.0.0.1:7060\"\n{secret}")).is_ok());
        for (db, text, key) in [
            ("", format!("listen = \"10.0.0.1:7060\"\n{secret}"), "cluster.listen"),
            (pg, format!("listen = \"0.0.0.0:7060\"\n{secret}"), "cluster.advertise"),
            (pg, "listen = \"10.0.0.1:7060\"".into(), "cluster.secret"),
            (pg, "listen = \"10.0.0.1:7060\"\nsecret = \"short\"".into(), "cluster.secret"),
            (pg, format!("listen = \"10.0.0.1:7060\"\nsecret_file = \"/s\"\n{secret}"), "cluster.secret"),
        ] {
            let wrong = on(db, &text).unwrap_err();
            assert!(wrong.contains(key), "{text}: {wrong}");
        }
    }
}

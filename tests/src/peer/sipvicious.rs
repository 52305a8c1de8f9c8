//! sipvicious: the scanner every gateway on the Internet meets within the hour.

use std::net::SocketAddr;
use std::process::Command;

use tempfile::TempDir;

use crate::net::{GATEWAY_IP, free_port};
use crate::process::Process;
use crate::{Error, Result};

/// Longest run of one tool, milliseconds.
const RUN_MS: u64 = 60_000;
/// What each tool says when it has nothing to show.
const NOTHING: &str = "found nothing";

/// What a tool printed.
#[derive(Clone, Debug)]
pub struct Scan(pub String);

impl Scan {
    /// True if the tool says so itself.
    #[must_use]
    pub fn found_nothing(&self) -> bool {
        self.0.contains(NOTHING)
    }
}

/// Runs `svmap`, `svwar` or `svcrack` against a gateway to its end.
///
/// svwar and svcrack send from 127.0.0.1 whatever they are told: a gateway takes them for
/// a phone or for a stranger by its `sip.phone_networks`.
///
/// # Errors
/// [`Error::Missing`] without sipvicious, [`Error::Timeout`] when it doesn't end.
pub async fn scan(program: &str, target: SocketAddr, arguments: &[&str]) -> Result<Scan> {
    let path = super::program(program)?;
    let dir = TempDir::with_prefix("sipvicious-").map_err(Error::io("temp dir for sipvicious"))?;
    let mut command = Command::new(path);
    // It keeps its sessions at home.
    command.current_dir(dir.path()).env("HOME", dir.path());
    command.args(["-P", &free_port(GATEWAY_IP)?.to_string(), "-p", &target.port().to_string()]);
    command.args(arguments).arg(target.ip().to_string());
    let mut process = Process::start(program, &mut command, &dir.path().join("scan.log"))?;
    process.wait(RUN_MS).await?;
    Ok(Scan(process.log()))
}

//! The SIP core alone, beside SIPp's answering side: CPU of a call and memory over rounds.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use hotline_tests::net::{GATEWAY_IP, TRUNK_NETWORK, free_port};
use hotline_tests::{Error, Process, Result};

use crate::memory::kib;
use crate::options::Options;
use crate::process::resident_kib;
use crate::setup::{COLUMNS, TALK_MS, compare, of_running, of_sipp};
use crate::table::{head, note};

/// The example `uas` of the SIP package: the core on one socket. Dropping it ends it.
pub(crate) struct Core {
    process: Process,
    pub(crate) address: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Core {
    /// `None` with a remark if the environment names no program.
    pub(crate) async fn start() -> Result<Option<Self>> {
        let Some(program) = std::env::var_os("HOTLINE_UAS").map(PathBuf::from).filter(|path| path.is_file()) else {
            note("skipped: the core alone (HOTLINE_UAS names no program; ops/bench/run builds the example `uas`)");
            return Ok(None);
        };
        let dir = tempfile::TempDir::with_prefix("core-").map_err(Error::io("temp dir"))?;
        let address = SocketAddr::new(GATEWAY_IP, free_port(GATEWAY_IP)?);
        let mut start = Command::new(&program);
        start.arg(address.to_string()).arg(TRUNK_NETWORK);
        let mut process = Process::start("uas", &mut start, &dir.path().join("screen.log"))?;
        tokio::time::sleep(Duration::from_millis(300)).await;
        if !process.is_running() {
            return Err(process.failed("ended during its start"));
        }
        Ok(Some(Self { process, address, _dir: dir }))
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }
}

pub(crate) async fn run(options: &Options) -> Result<()> {
    let calls = options.rate * options.seconds;
    let command = format!("ops/bench/run core --rate {} --seconds {}", options.rate, options.seconds);
    let title = format!("SIP core: {calls} calls at {}/s, answered, BYE after {TALK_MS} ms", options.rate);
    head(&title, &command, &COLUMNS);
    // One process for all rounds: its memory must not grow after the first.
    let Some(mut core) = Core::start().await? else { return Ok(()) };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=options.rounds() {
        ours.push(of_running(&format!("round {round}  core"), core.id(), core.address, options).await?);
        note(&format!("memory after it {:.1} MiB", kib(resident_kib(core.id())?) / 1024.0));
        theirs.push(of_sipp(options, round).await?);
    }
    compare("medians, core : SIPp", &ours, &theirs);
    core.process.kill9();
    Ok(())
}

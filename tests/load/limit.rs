//! `iobench bridge`: a bare relay that records, as the physical limit. It lives outside this
//! repository; `HOTLINE_IOBENCH` names the built program.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use hotline_tests::net::{GATEWAY_IP, TRUNK_IP, free_ports};
use hotline_tests::rtp::RtpStream;
use hotline_tests::{Error, Process, Result};
use tempfile::TempDir;

use crate::bridge::voice;

/// Longer than any measurement: the relay is killed when we have seen enough.
const RUN_S: u32 = 3_600;

/// The built program and the ports it will use, the same in every round.
pub(crate) struct Relay {
    program: PathBuf,
    base: u16,
    legs: u16,
}

impl Relay {
    /// For `calls` calls; `None` if the environment names no program.
    pub(crate) fn find(calls: u32) -> Result<Option<Self>> {
        let program = std::env::var_os("HOTLINE_IOBENCH").map(PathBuf::from).filter(|path| path.is_file());
        let Some(program) = program else { return Ok(None) };
        let legs = u16::try_from(calls * 2).unwrap_or(u16::MAX);
        Ok(Some(Self { program, base: free_ports(GATEWAY_IP, legs)?, legs }))
    }
}

/// The relay with two streams of ours for each call. Dropping it ends the relay.
pub(crate) struct Limit {
    process: Process,
    /// All streams, legs of one call beside each other.
    pub(crate) streams: Vec<RtpStream>,
    _dir: TempDir,
}

impl Limit {
    /// Starts the relay and sends voice into both legs of every call.
    pub(crate) async fn start(relay: &Relay) -> Result<Self> {
        let dir = TempDir::with_prefix("limit-").map_err(Error::io("temp dir"))?;
        let (base, legs) = (relay.base, relay.legs);
        let mut command = Command::new(&relay.program);
        command.arg("bridge").args(["--streams", &legs.to_string(), "--base", &base.to_string()]);
        command.args(["--warm", "0", "--secs", &RUN_S.to_string()]).arg("--dir").arg(dir.path().join("recordings"));
        let mut process = Process::start("iobench", &mut command, &dir.path().join("screen.log"))?;
        tokio::time::sleep(Duration::from_millis(300)).await;
        if !process.is_running() {
            return Err(process.failed("ended during its start"));
        }
        let mut streams = Vec::new();
        for port in base..base + legs {
            let stream = RtpStream::open(TRUNK_IP)?;
            stream.set_payload_types(8, None);
            stream.play(voice(usize::from(port)));
            stream.set_remote(Some(SocketAddr::new(GATEWAY_IP, port)));
            streams.push(stream);
        }
        Ok(Self { process, streams, _dir: dir })
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }
}

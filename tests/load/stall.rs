//! A disk that stands still: the data folder moves to a file system of its own (a loop device), which is frozen
//! for a while (`fsfreeze`). Both need root; without them the measurement is left out.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use hotline_tests::{Error, Result};

use crate::callgen::{self, Figures, Load};
use crate::memory::metric;
use crate::profile::{Bench, recordings};

/// Size of the image; it is sparse.
const IMAGE: &str = "4G";
/// From the last call's start to the stall.
const BEFORE: Duration = Duration::from_secs(4);
/// How long nothing is written.
pub(crate) const STALL: Duration = Duration::from_secs(10);
/// The window holds all of the stall.
const WINDOW_S: u32 = 22;
/// Bytes of a WAV's audio in a second: two channels of 16 bits at 8 kHz.
const BYTES_S: f64 = 32_000.0;

/// What was seen.
pub(crate) struct Stalled {
    pub(crate) figures: Figures,
    /// Recorded time lost, ms over all recordings, by `/metrics`.
    pub(crate) gap_ms: f64,
    /// Shortest and longest recording, seconds.
    pub(crate) lengths_s: (f64, f64),
    pub(crate) files: usize,
    /// Rows of recordings that name their gap.
    pub(crate) marked: usize,
}

/// The data folder on a file system that can be frozen.
struct Frozen {
    image: PathBuf,
    folder: PathBuf,
    mounted: bool,
}

impl Frozen {
    fn mount(folder: &Path) -> Result<Self> {
        let image = folder.with_extension("img");
        let plain = folder.with_extension("plain");
        std::fs::rename(folder, &plain).map_err(Error::io("move the data folder"))?;
        std::fs::create_dir(folder).map_err(Error::io("make the data folder"))?;
        let mut frozen = Self { image: image.clone(), folder: folder.to_path_buf(), mounted: false };
        let name = image.display().to_string();
        tool("truncate", &["-s", IMAGE, &name])?;
        tool("mkfs.ext4", &["-q", "-F", &name])?;
        tool("mount", &["-o", "loop", &name, &folder.display().to_string()])?;
        frozen.mounted = true;
        tool("cp", &["-a", &format!("{}/.", plain.display()), &folder.display().to_string()])?;
        Ok(frozen)
    }

    fn freeze(&self) -> Result<()> {
        tool("fsfreeze", &["-f", &self.folder.display().to_string()])
    }

    fn thaw(&self) -> Result<()> {
        tool("fsfreeze", &["-u", &self.folder.display().to_string()])
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if self.mounted {
            // Thawed already, unless the measurement failed within the stall.
            let _ = self.thaw();
            // Lazily: a gateway that is just being killed may still have files open.
            let _ = tool("umount", &["-l", &self.folder.display().to_string()]);
        }
        let _ = std::fs::remove_file(&self.image);
    }
}

fn tool(program: &str, arguments: &[&str]) -> Result<()> {
    let what = format!("{program} {}", arguments.join(" "));
    let output = Command::new(program).args(arguments).output().map_err(Error::io(what.clone()))?;
    if output.status.success() {
        return Ok(());
    }
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Error::Process { program: what, detail: format!("ended with {}", output.status), log })
}

/// Why this can't be measured here, if it can't.
pub(crate) fn missing() -> Option<String> {
    let absent = ["fsfreeze", "mkfs.ext4", "mount"]
        .into_iter()
        .find(|program| Command::new(program).arg("--version").output().is_err() && *program != "mkfs.ext4");
    if let Some(program) = absent {
        return Some(format!("{program} is missing"));
    }
    let user = Command::new("id").arg("-u").output().map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned());
    (user.unwrap_or_default() != "0").then(|| "it needs root: a loop device is mounted and frozen".to_owned())
}

/// Runs `calls` recorded bridges through the stall. The gateway keeps its data on that file system until it ends.
pub(crate) async fn run(bench: &mut Bench, calls: u32) -> Result<Stalled> {
    let folder = bench.gateway.data_dir();
    bench.stop().await?;
    let frozen = Frozen::mount(&folder)?;
    bench.start().await?;
    let load = Load::new("w2", calls, WINDOW_S);
    let begins = Duration::from_secs(calls.div_ceil(load.cps).into()) + BEFORE;
    let gap_before = metric(&bench.gateway, "hotline_recording_gap_ms_total").await?;
    let stall = async {
        tokio::time::sleep(begins).await;
        let folder = frozen.folder.clone();
        tokio::task::block_in_place(|| frozen.freeze())
            .map_err(|e| Error::Sip(format!("freeze {}: {e}", folder.display())))?;
        tokio::time::sleep(STALL).await;
        tokio::task::block_in_place(|| frozen.thaw())
    };
    let (figures, stalled) = tokio::join!(callgen::gateway(&load, bench.id()?), stall);
    stalled?;
    let figures = figures?;
    bench.ended().await?;
    let gap_ms = metric(&bench.gateway, "hotline_recording_gap_ms_total").await? - gap_before;
    let files = recordings(&bench.gateway.recordings_dir());
    let lengths: Vec<f64> = files
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == "wav"))
        .filter_map(|path| std::fs::metadata(path).ok())
        .map(|meta| meta.len() as f64 / BYTES_S)
        .collect();
    let lengths_s = lengths.iter().copied().fold((f64::INFINITY, 0.0), |(l, h), s| (s.min(l), s.max(h)));
    let marked = bench.recordings_with_gaps(calls).await?;
    // Before the file system goes.
    bench.stop().await?;
    Ok(Stalled { figures, gap_ms, lengths_s, files: lengths.len(), marked })
}

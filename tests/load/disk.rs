//! What the disk under the gateway's data costs: the floor of every committed row.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use hotline_tests::{Error, Result};

/// Appends measured.
const APPENDS: usize = 100;
/// Size of each: a page of the database.
const APPEND_BYTES: usize = 4_096;

/// p50 and p95 of one page appended and synced in `folder`, milliseconds.
pub(crate) fn sync_ms(folder: &Path) -> Result<(f64, f64)> {
    let path = folder.join("sync-probe");
    let probe = || -> std::io::Result<Vec<f64>> {
        let mut file = std::fs::File::create(&path)?;
        let page = [7_u8; APPEND_BYTES];
        let mut times_ms = Vec::with_capacity(APPENDS);
        for _ in 0..APPENDS {
            let started = Instant::now();
            file.write_all(&page)?;
            file.sync_data()?;
            times_ms.push(started.elapsed().as_secs_f64() * 1_000.0);
        }
        std::fs::remove_file(&path)?;
        Ok(times_ms)
    };
    let mut times_ms = probe().map_err(Error::io(format!("write and sync {}", path.display())))?;
    times_ms.sort_by(f64::total_cmp);
    let at = |percent: usize| times_ms.get((times_ms.len() - 1) * percent / 100).copied().unwrap_or(0.0);
    Ok((at(50), at(95)))
}

//! CPU time and memory of a process, from /proc.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hotline_tests::{Error, Result};

/// Milliseconds of one tick in /proc: USER_HZ is 100 on every Linux.
const TICK_MS: u64 = 10;

/// CPU time a process has used so far.
#[derive(Clone, Debug)]
pub(crate) struct Cpu {
    /// User and system time of all its threads, those that ended included, milliseconds.
    pub(crate) total_ms: u64,
    /// The same by thread name, threads alive only, milliseconds.
    threads_ms: BTreeMap<String, u64>,
}

impl Cpu {
    /// Of the process `id` up to now.
    pub(crate) fn of(id: u32) -> Result<Self> {
        let folder = PathBuf::from(format!("/proc/{id}"));
        let (_, total_ms) = times(&folder)?;
        let mut threads_ms = BTreeMap::new();
        let tasks = std::fs::read_dir(folder.join("task")).map_err(Error::io("read /proc/PID/task"))?;
        for task in tasks.flatten() {
            // A thread may end while we look.
            if let Ok((name, ms)) = times(&task.path()) {
                *threads_ms.entry(name).or_default() += ms;
            }
        }
        Ok(Self { total_ms, threads_ms })
    }

    /// Used since `earlier`, milliseconds.
    pub(crate) fn since_ms(&self, earlier: &Self) -> u64 {
        self.total_ms.saturating_sub(earlier.total_ms)
    }

    /// Shares of the time since `earlier` by thread name, largest first: `media-0 61 %, …`.
    pub(crate) fn shares_since(&self, earlier: &Self) -> String {
        let total = self.since_ms(earlier).max(1);
        let used = |name: &str, now: u64| now.saturating_sub(earlier.threads_ms.get(name).copied().unwrap_or(0));
        let mut shares: Vec<(u64, &str)> =
            self.threads_ms.iter().map(|(name, now)| (used(name, *now) * 100 / total, name.as_str())).collect();
        shares.sort_by(|a, b| b.cmp(a));
        let texts = shares.iter().filter(|(share, _)| *share > 0).map(|(share, name)| format!("{name} {share} %"));
        texts.collect::<Vec<_>>().join(", ")
    }
}

/// Name and used milliseconds in `folder/stat` (proc(5): utime and stime are fields 14 and 15).
fn times(folder: &Path) -> Result<(String, u64)> {
    let path = folder.join("stat");
    let text = std::fs::read_to_string(&path).map_err(Error::io(path.display().to_string()))?;
    stat_of(&text).ok_or_else(|| Error::Missing {
        program: format!("CPU times in {}", path.display()),
        remedy: "these benchmarks need Linux".into(),
    })
}

fn stat_of(text: &str) -> Option<(String, u64)> {
    // The name is in brackets and may hold anything, brackets and spaces too.
    let (head, rest) = text.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_owned();
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((name, (user + system) * TICK_MS))
}

/// Resident memory (VmRSS), KiB.
pub(crate) fn resident_kib(id: u32) -> Result<u64> {
    let path = format!("/proc/{id}/status");
    let text = std::fs::read_to_string(&path).map_err(Error::io(path.clone()))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let value = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    value.ok_or_else(|| Error::Missing {
        program: format!("VmRSS in {path}"),
        remedy: "these benchmarks need Linux".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_times() {
        let text = "12 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20";
        assert_eq!(stat_of(text), Some(("a) b".into(), 2_000)));
        assert_eq!(stat_of("12 (a"), None);
        assert_eq!(stat_of("12 (a) S 1"), None);
    }

    #[test]
    fn a_process_has_memory_and_threads() {
        let id = std::process::id();
        assert!(resident_kib(id).unwrap() > 100);
        let first = Cpu::of(id).unwrap();
        let second = Cpu::of(id).unwrap();
        assert!(second.since_ms(&first) < 10_000);
    }
}

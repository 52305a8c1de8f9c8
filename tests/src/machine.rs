//! What the machine took from the processes under test: bounds of a quiet machine are widened by as much, and by no more.

use std::collections::HashMap;

/// How long the one thread of each process that waited most has stood ready to run without a processor
/// (`/proc/PID/task/TID/schedstat`, second figure; 0 where the kernel doesn't count it), this process among them.
#[derive(Clone, Debug)]
pub struct Waiting(Vec<(u32, HashMap<String, u64>)>);

impl Waiting {
    /// Counts from now on for `processes` and this one.
    #[must_use]
    pub fn of(processes: impl IntoIterator<Item = u32>) -> Self {
        let processes = processes.into_iter().chain([std::process::id()]);
        Self(processes.map(|process| (process, waited_ns(process))).collect())
    }

    /// Milliseconds so far, of all processes together.
    #[must_use]
    pub fn ms(&self) -> u64 {
        let since = |(process, before): &(u32, HashMap<String, u64>)| {
            let now = waited_ns(*process).into_iter();
            now.map(|(thread, ns)| ns - before.get(&thread).copied().unwrap_or(0).min(ns)).max().unwrap_or(0)
        };
        self.0.iter().map(since).sum::<u64>() / 1_000_000
    }
}

/// By thread.
fn waited_ns(process: u32) -> HashMap<String, u64> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let figure = |thread: std::fs::DirEntry| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        let waited = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
        Some((thread.file_name().to_string_lossy().into_owned(), waited))
    };
    threads.filter_map(figure).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_more_threads_than_processors_waits_and_no_longer_than_the_time_that_passed() {
        let (waiting, began) = (Waiting::of([]), std::time::Instant::now());
        let until = began + std::time::Duration::from_millis(400);
        let count = 3 * std::thread::available_parallelism().map_or(1, usize::from);
        let waited = std::thread::scope(|scope| {
            for _ in 0..count {
                scope.spawn(|| while std::time::Instant::now() < until {});
            }
            std::thread::sleep(std::time::Duration::from_millis(300));
            waiting.ms()
        });
        assert!(waited >= 50 && u128::from(waited) <= began.elapsed().as_millis(), "{waited} ms");
        assert_eq!(Waiting::of([u32::MAX]).ms(), 0);
    }
}

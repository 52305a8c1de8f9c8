//! What the machine took from the processes under test: bounds of a quiet machine are widened by as much, and by no more.

use std::path::PathBuf;

/// How long the threads of some processes, this one among them, have stood ready to run without a processor
/// (`/proc/PID/task/TID/schedstat`, second figure; 0 where the kernel doesn't count it).
#[derive(Clone, Debug)]
pub struct Waiting {
    processes: Vec<u32>,
    before_ms: u64,
}

impl Waiting {
    /// Counts from now on for `processes` and this one.
    #[must_use]
    pub fn of(processes: impl IntoIterator<Item = u32>) -> Self {
        let mut waiting = Self { processes: processes.into_iter().collect(), before_ms: 0 };
        waiting.processes.push(std::process::id());
        waiting.before_ms = waiting.total_ms();
        waiting
    }

    /// Milliseconds so far; threads that have ended since count no more.
    #[must_use]
    pub fn ms(&self) -> u64 {
        self.total_ms().saturating_sub(self.before_ms)
    }

    fn total_ms(&self) -> u64 {
        self.processes.iter().map(|id| waited_ns(*id)).sum::<u64>() / 1_000_000
    }
}

fn waited_ns(process: u32) -> u64 {
    let threads = std::fs::read_dir(PathBuf::from(format!("/proc/{process}/task"))).into_iter().flatten().flatten();
    let figures = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("schedstat")).ok());
    figures.filter_map(|text| text.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_threads_than_processors_wait_for_one_and_one_that_sleeps_does_not() {
        let sleeping = Waiting::of([]);
        let until = std::time::Instant::now() + std::time::Duration::from_millis(400);
        let count = 3 * std::thread::available_parallelism().map_or(1, usize::from);
        let spin = move || while std::time::Instant::now() < until {};
        let waited = std::thread::scope(|scope| {
            for _ in 0..count {
                scope.spawn(spin);
            }
            std::thread::sleep(std::time::Duration::from_millis(300));
            sleeping.ms()
        });
        assert!(waited >= 100, "{waited} ms");
        assert_eq!(Waiting::of([u32::MAX]).clone().ms() / 1_000, 0);
    }
}

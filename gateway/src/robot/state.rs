//! What the robot has seen: its last runs, what fails now, and whose sign it waits for.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::oneshot;

/// Runs kept of each channel; the oldest goes.
const RUNS_MAX: usize = 50;
/// Signs waited for at once.
const WAITING_MAX: usize = 64;

/// One run of one channel.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Run {
    /// When it began (epoch ms).
    pub at: i64,
    /// It came through.
    pub ok: bool,
    /// How long it took.
    pub ms: i64,
    /// What went wrong.
    pub error: Option<String>,
}

/// A channel as the robot sees it.
#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
pub struct Seen {
    /// Since when it fails (epoch ms); `null`: it works.
    pub failing_since: Option<i64>,
    /// When a test last came through.
    pub last_ok_at: Option<i64>,
    /// The last runs, newest first.
    pub runs: Vec<Run>,
}

/// What a run changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// The first miss.
    Broke,
    /// It works again.
    Mended,
    /// As before.
    None,
}

/// The robot's memory. A restart forgets it: the next run says how things are.
#[derive(Default)]
pub struct Robot {
    seen: Mutex<BTreeMap<&'static str, Seen>>,
    waiting: Mutex<HashMap<String, oneshot::Sender<()>>>,
}

impl Robot {
    fn seen(&self) -> MutexGuard<'_, BTreeMap<&'static str, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<String, oneshot::Sender<()>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells when the sign with this nonce has been stored by the intake.
    #[must_use]
    pub(crate) fn expect(&self, nonce: &str) -> oneshot::Receiver<()> {
        let (tx, rx) = oneshot::channel();
        let mut waiting = self.waiting();
        waiting.retain(|_, tx| !tx.is_closed());
        if waiting.len() < WAITING_MAX {
            waiting.insert(nonce.into(), tx);
        }
        rx
    }

    /// The intake has stored a test.
    pub(crate) fn arrived(&self, nonce: &str) {
        if let Some(tx) = self.waiting().remove(nonce) {
            // Nobody waits any more: the run was given up.
            let _ = tx.send(());
        }
    }

    /// A run is over.
    pub(crate) fn note(&self, channel: &'static str, run: Run) -> News {
        let mut all = self.seen();
        let seen = all.entry(channel).or_default();
        let news = match (run.ok, seen.failing_since) {
            (false, None) => News::Broke,
            (true, Some(_)) => News::Mended,
            _ => News::None,
        };
        if run.ok {
            (seen.failing_since, seen.last_ok_at) = (None, Some(run.at));
        } else {
            seen.failing_since.get_or_insert(run.at);
        }
        seen.runs.insert(0, run);
        seen.runs.truncate(RUNS_MAX);
        news
    }

    /// All channels.
    #[must_use]
    pub fn view(&self) -> BTreeMap<&'static str, Seen> {
        self.seen().clone()
    }

    /// What fails now, for `/healthz`.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let failing = |(channel, seen): (&&str, &Seen)| {
            seen.failing_since?;
            let why = seen.runs.first().and_then(|r| r.error.clone()).unwrap_or_default();
            Some(format!("robot: {channel} 自检未通过 / the self-test of {channel} fails: {why}"))
        };
        self.seen().iter().filter_map(failing).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(at: i64, ok: bool) -> Run {
        Run { at, ok, ms: 5, error: (!ok).then(|| "no answer".into()) }
    }

    #[test]
    fn the_first_miss_is_news_and_so_is_the_first_success_after_it() {
        let robot = Robot::default();
        assert_eq!(robot.note("sms", run(1, true)), News::None);
        assert_eq!(robot.note("sms", run(2, false)), News::Broke);
        assert_eq!(robot.note("sms", run(3, false)), News::None);
        assert_eq!(robot.view()["sms"].failing_since, Some(2));
        assert!(robot.problems()[0].contains("no answer"));
        assert_eq!(robot.note("call", run(3, true)), News::None, "each channel by itself");
        assert_eq!(robot.note("sms", run(4, true)), News::Mended);
        assert!(robot.problems().is_empty());
        for at in 0..200 {
            let _ = robot.note("sms", run(at, true));
        }
        assert_eq!(robot.view()["sms"].runs.len(), RUNS_MAX);
    }

    #[tokio::test]
    async fn a_sign_is_told_once_to_who_waits_for_it() {
        let robot = Robot::default();
        let waits = robot.expect("a");
        robot.arrived("b");
        robot.arrived("a");
        assert!(waits.await.is_ok());
        robot.arrived("a");
        for n in 0..1_000 {
            drop(robot.expect(&n.to_string()));
        }
        assert!(robot.waiting().len() <= WAITING_MAX);
    }
}

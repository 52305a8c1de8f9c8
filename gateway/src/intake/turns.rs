//! Messages in the order in which they came to the door, over all channels, though many are under way at once.
//!
//! Two steps are taken in turn: a message is handed to the database behind the ones before it, and it
//! is settled (stored, or handed to the journal) behind them. Between the steps nobody waits for anybody.

use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot::{self, error::TryRecvError};

/// The one before has passed; or it gave up, and then the one before that is to be waited for.
struct Passed(Option<oneshot::Receiver<Passed>>);

/// A place in a row of those who take a step one after another.
struct Step {
    before: Option<oneshot::Receiver<Passed>>,
    after: Option<oneshot::Sender<Passed>>,
}

impl Step {
    fn behind(last: &mut Option<oneshot::Receiver<Passed>>) -> Self {
        let (after, next) = oneshot::channel();
        Self { before: last.replace(next), after: Some(after) }
    }

    /// Waits until everyone before has passed.
    async fn wait(&mut self) {
        while let Some(before) = &mut self.before {
            self.before = before.await.ok().and_then(|passed| passed.0);
        }
    }

    fn pass(&mut self) {
        // Who never waited leaves no list of those long gone: it would grow by every message.
        while let Some(before) = &mut self.before {
            match before.try_recv() {
                Ok(passed) => self.before = passed.0,
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Closed) => self.before = None,
            }
        }
        if let Some(after) = self.after.take() {
            // Nobody behind: nobody to tell.
            let _ = after.send(Passed(self.before.take()));
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.pass();
    }
}

/// A message's place. Dropping it lets the others pass.
pub(super) struct Turn {
    queue: Step,
    settle: Step,
}

impl Turn {
    /// Waits until every earlier message is queued for the database, or won't be.
    pub(super) async fn may_queue(&mut self) {
        self.queue.wait().await;
    }

    /// This one is queued, or won't be.
    pub(super) fn queued(&mut self) {
        self.queue.pass();
    }

    /// Waits until every earlier message is stored or in the journal's queue.
    pub(super) async fn may_settle(&mut self) {
        self.settle.wait().await;
    }
}

/// The last places.
#[derive(Default)]
struct Last {
    queue: Option<oneshot::Receiver<Passed>>,
    settle: Option<oneshot::Receiver<Passed>>,
}

/// The door's row.
#[derive(Default)]
pub(super) struct Turns(Mutex<Last>);

impl Turns {
    /// The next place.
    pub(super) fn take(&self) -> Turn {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Turn { queue: Step::behind(&mut last.queue), settle: Step::behind(&mut last.settle) }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn nobody_settles_before_the_ones_before_also_when_one_between_gives_up() {
        let turns = Turns::default();
        let first = turns.take();
        let given_up = turns.take();
        let mut third = turns.take();
        drop(given_up);
        assert!(third.may_settle().now_or_never().is_none());
        assert!(third.may_queue().now_or_never().is_none());
        drop(first);
        assert!(third.may_queue().now_or_never().is_some());
        assert!(third.may_settle().now_or_never().is_some());
    }

    #[test]
    fn those_who_passed_without_waiting_leave_nothing_behind() {
        // Dropping a list of them would go as deep as it is long.
        let turns = std::thread::Builder::new().stack_size(64 * 1024).spawn(|| {
            let turns = Turns::default();
            for _ in 0..200_000 {
                let mut turn = turns.take();
                assert!(turn.may_queue().now_or_never().is_some());
                turn.queued();
            }
            let mut last = turns.take();
            assert!(last.may_settle().now_or_never().is_some());
        });
        turns.unwrap().join().unwrap();
    }

    #[test]
    fn who_is_queued_lets_the_next_one_queue_and_not_settle() {
        let turns = Turns::default();
        let mut first = turns.take();
        let mut second = turns.take();
        assert!(first.may_queue().now_or_never().is_some());
        first.queued();
        assert!(second.may_queue().now_or_never().is_some());
        assert!(second.may_settle().now_or_never().is_none());
        drop(first);
        assert!(second.may_settle().now_or_never().is_some());
    }
}

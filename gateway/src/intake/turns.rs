//! Messages of one line in the order in which they came, though many are under way at once.
//!
//! Two steps are taken in turn: a message is handed to the database behind the ones before it, and it
//! is settled (stored, or handed to the journal) behind them. Between the steps nobody waits for anybody.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

use super::envelope::Channel;

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

/// A message's place in its line. Dropping it lets the others pass.
pub(super) struct Turn {
    queue: Step,
    settle: Step,
}

impl Turn {
    /// Waits until every earlier message of the line is queued for the database.
    pub(super) async fn may_queue(&mut self) {
        self.queue.wait().await;
    }

    /// This one is queued, or won't be.
    pub(super) fn queued(&mut self) {
        self.queue.pass();
    }

    /// Waits until every earlier message of the line is stored or in the journal's queue.
    pub(super) async fn may_settle(&mut self) {
        self.settle.wait().await;
    }
}

/// Last places of a line.
#[derive(Default)]
struct Line {
    queue: Option<oneshot::Receiver<Passed>>,
    settle: Option<oneshot::Receiver<Passed>>,
}

/// All lines; as many as the configuration names.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<(Channel, String), Line>>);

impl Turns {
    /// The next place in a line.
    pub(super) fn take(&self, channel: Channel, line: &str) -> Turn {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = lines.entry((channel, line.to_owned())).or_default();
        Turn { queue: Step::behind(&mut line.queue), settle: Step::behind(&mut line.settle) }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn nobody_settles_before_the_ones_before_also_when_one_between_gives_up() {
        let turns = Turns::default();
        let first = turns.take(Channel::Sms, "mobile");
        let given_up = turns.take(Channel::Sms, "mobile");
        let mut third = turns.take(Channel::Sms, "mobile");
        let mut elsewhere = turns.take(Channel::Sms, "unicom");
        drop(given_up);
        assert!(third.may_settle().now_or_never().is_none());
        assert!(third.may_queue().now_or_never().is_none());
        assert!(elsewhere.may_settle().now_or_never().is_some(), "another line waits for nobody here");
        drop(first);
        assert!(third.may_queue().now_or_never().is_some());
        assert!(third.may_settle().now_or_never().is_some());
    }

    #[test]
    fn who_is_queued_lets_the_next_one_queue_and_not_settle() {
        let turns = Turns::default();
        let mut first = turns.take(Channel::Sms, "mobile");
        let mut second = turns.take(Channel::Sms, "mobile");
        assert!(first.may_queue().now_or_never().is_some());
        first.queued();
        assert!(second.may_queue().now_or_never().is_some());
        assert!(second.may_settle().now_or_never().is_none());
        drop(first);
        assert!(second.may_settle().now_or_never().is_some());
    }
}

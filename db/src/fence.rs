//! Messages that wait for the database together leave it together: when one isn't stored, none that
//! came after it may be, until it has its place elsewhere. So the order of arrival outlives an absence
//! of the database.
//!
//! The door asks the [`Fence`] for a [`Pass`] for each message, in the order of arrival. A pass that
//! falls (the database refused, or its owner gave up) closes the fence: passes given out before are
//! void, and none is given out until the owners of the fallen ones have dropped them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One door's.
#[derive(Debug, Default)]
pub struct Fence(Mutex<Field>);

#[derive(Debug, Default)]
struct Field {
    /// Grows with each fall: passes of an earlier epoch are void.
    epoch: u64,
    /// Fallen passes whose owners haven't dropped them.
    fallen: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Fallen,
    /// Its fate is known, or its owner is gone.
    Over,
}

#[derive(Debug)]
struct Shared {
    fence: Arc<Fence>,
    epoch: u64,
    state: Mutex<State>,
}

/// The owner's end. Dropping a fallen one says that the message has its place elsewhere, or none.
#[derive(Debug)]
pub struct Pass(Arc<Shared>);

/// The database's end. Dropped without [`Slip::done`], the pass falls.
#[derive(Debug)]
pub(crate) struct Slip(Arc<Shared>);

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Fence {
    /// Leave to be stored; `None` while somebody who came before has lost theirs.
    #[must_use]
    pub fn pass(self: &Arc<Self>) -> Option<Pass> {
        let field = locked(&self.0);
        let shared = Shared { fence: Arc::clone(self), epoch: field.epoch, state: Mutex::new(State::Open) };
        (field.fallen == 0).then(|| Pass(Arc::new(shared)))
    }

    /// Whether somebody has lost theirs and isn't elsewhere yet.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        locked(&self.0).fallen > 0
    }
}

impl Shared {
    // Locked in this order everywhere: the pass, then the fence.
    fn fall(&self) {
        let mut state = locked(&self.state);
        if *state == State::Open {
            *state = State::Fallen;
            let mut field = locked(&self.fence.0);
            field.epoch = field.epoch.wrapping_add(1);
            field.fallen += 1;
        }
    }
}

impl Pass {
    /// Waits for the database no longer; what it has stored already stays so.
    pub fn give_up(&self) {
        self.0.fall();
    }

    pub(crate) fn slip(&self) -> Slip {
        Slip(Arc::clone(&self.0))
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut state = locked(&self.0.state);
        if *state == State::Fallen {
            locked(&self.0.fence.0).fallen -= 1;
        }
        *state = State::Over;
    }
}

impl Slip {
    /// Whether the message may still be stored.
    pub(crate) fn is_valid(&self) -> bool {
        let state = locked(&self.0.state);
        *state == State::Open && self.0.epoch == locked(&self.0.fence.0).epoch
    }

    /// It is stored, or refused for good: those behind it needn't wait for it.
    pub(crate) fn done(self) {
        let mut state = locked(&self.0.state);
        if *state == State::Open {
            *state = State::Over;
        }
    }
}

impl Drop for Slip {
    fn drop(&mut self) {
        // Nothing after `done`.
        self.0.fall();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_one_falls_those_behind_it_fall_too_and_newcomers_wait_until_it_is_elsewhere() {
        let fence = Arc::new(Fence::default());
        let (first, second) = (fence.pass().unwrap(), fence.pass().unwrap());
        let (a, b) = (first.slip(), second.slip());
        assert!(a.is_valid() && b.is_valid());
        drop(a);
        assert!(!b.is_valid() && fence.is_closed() && fence.pass().is_none());
        drop(b);
        drop(first);
        assert!(fence.pass().is_none(), "the second isn't elsewhere yet");
        drop(second);
        assert!(fence.pass().unwrap().slip().is_valid());
    }

    #[test]
    fn who_is_stored_or_went_away_closes_nothing() {
        let fence = Arc::new(Fence::default());
        let (stored, gone, other) = (fence.pass().unwrap(), fence.pass().unwrap(), fence.pass().unwrap());
        stored.slip().done();
        stored.give_up();
        let slip = gone.slip();
        drop(gone);
        assert!(!slip.is_valid(), "nobody waits for it");
        drop(slip);
        let slip = other.slip();
        assert!(slip.is_valid() && !fence.is_closed());
        slip.done();
        drop((stored, other));
        assert!(!fence.is_closed());
    }

    #[test]
    fn giving_up_takes_all_others_along() {
        let fence = Arc::new(Fence::default());
        let (first, second) = (fence.pass().unwrap(), fence.pass().unwrap());
        let (a, b) = (first.slip(), second.slip());
        second.give_up();
        second.give_up();
        assert!(!a.is_valid() && !b.is_valid());
        drop((a, b, first));
        assert!(fence.is_closed());
        drop(second);
        assert!(!fence.is_closed());
    }
}

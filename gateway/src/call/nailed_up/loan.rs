//! A call's use of a nailed-up leg.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::Down;
use super::line::Line;

/// One call's use of a leg: it goes back when this is dropped, whatever becomes of the call.
#[derive(Debug)]
pub(crate) struct Loan {
    line: Arc<Line>,
    /// The call has not taken it for answered yet.
    fresh: AtomicBool,
    /// It is not to be used any more.
    down: Mutex<Option<Down>>,
    /// Nothing comes from it just now.
    silent: AtomicBool,
    given_back: AtomicBool,
}

impl Loan {
    pub(super) const fn new(line: Arc<Line>) -> Self {
        Self {
            line,
            fresh: AtomicBool::new(true),
            down: Mutex::new(None),
            silent: AtomicBool::new(false),
            given_back: AtomicBool::new(false),
        }
    }

    /// True the first time.
    pub(crate) fn begins(&self) -> bool {
        self.fresh.swap(false, Ordering::Relaxed)
    }

    /// The leg is over, or not to be used any more; the first cause counts.
    pub(crate) fn is_down(&self, why: Down) {
        self.down.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
    }

    /// As the call heard it last.
    pub(crate) fn note_silent(&self, silent: bool) {
        self.silent.store(silent, Ordering::Relaxed);
    }
}

impl Loan {
    /// From now on others may have the leg.
    pub(crate) fn give_back(&self) {
        if !self.given_back.swap(true, Ordering::Relaxed) {
            let down = *self.down.lock().unwrap_or_else(PoisonError::into_inner);
            self.line.take_back(down, self.silent.load(Ordering::Relaxed));
        }
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.give_back();
    }
}

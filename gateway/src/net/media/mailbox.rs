//! The way from the handle to a media thread.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
    mpsc::SyncSender,
};

use hotline_media::{LegId, engine::Command};

use super::{ports::Pair, sys::Waker};

/// What the handle sends to a thread.
#[derive(Debug)]
pub(super) enum Order {
    Open { leg: LegId, pair: Pair },
    Command(Command),
}

/// What a thread and its mailbox share beside the queue.
#[derive(Debug)]
pub(super) struct Signal {
    pub(super) waker: Waker,
    /// The thread has been woken and has not looked yet: saves a system call per order.
    pub(super) awake: AtomicBool,
    /// End after the orders that wait; a flag, so that a full queue can't swallow it.
    pub(super) stop: AtomicBool,
}

/// The sending side of a thread's queue.
#[derive(Debug)]
pub(super) struct Mailbox {
    pub(super) tx: SyncSender<Order>,
    pub(super) signal: Arc<Signal>,
}

impl Mailbox {
    /// Queues an order; false if the queue is full or the thread has ended.
    pub(super) fn post(&self, order: Order) -> bool {
        let sent = self.tx.try_send(order).is_ok();
        self.wake();
        sent
    }

    /// Tells the thread to do what waits, close its legs and end.
    pub(super) fn stop(&self) {
        self.signal.stop.store(true, Ordering::Release);
        self.wake();
    }

    fn wake(&self) {
        if !self.signal.awake.swap(true, Ordering::AcqRel) {
            self.signal.waker.wake();
        }
    }
}

//! What comes out: rows and things to do.

use std::sync::Arc;

use crate::model::{Entry, Lane, OperatorRef, OperatorState, Profile};

/// An operator as a row: enough to begin again from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorRow {
    /// Who.
    pub who: Arc<OperatorRef>,
    /// State.
    pub state: OperatorState,
    /// Why.
    pub reason: Arc<str>,
    /// Since when.
    pub since: i64,
    /// The longest idle is asked first.
    pub idle_since: i64,
    /// The call that rings or is talked in.
    pub call: Option<Arc<str>>,
    /// The gateway that drives it.
    pub call_node: Arc<str>,
    /// The queue that call came through, whose 话后 counts.
    pub queue: Option<Arc<str>>,
    /// End of 话后.
    pub wrap_until: Option<i64>,
    /// What they asked for meanwhile.
    pub next: Option<(OperatorState, Arc<str>)>,
    /// Calls they are a guest or a consulted colleague in.
    pub engaged: Vec<Arc<str>>,
    /// What they can do.
    pub profile: Arc<Profile>,
}

/// A waiting caller as a row: enough to begin again from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerRow {
    /// What they came with.
    pub entry: Arc<Entry>,
    /// The queue now.
    pub queue: Arc<str>,
    /// The lane now.
    pub lane: Lane,
    /// They come before everybody but the red lane.
    pub head: bool,
    /// Place in the lane: smaller is earlier.
    pub place: i64,
    /// When they joined.
    pub entered_at: i64,
    /// Whose phone rings.
    pub ringing: Option<Arc<str>>,
    /// Everybody who declined.
    pub declined: Vec<Arc<str>>,
    /// What was done already: on-call people asked, told that we call back, leaders told of a recusal.
    pub told: u8,
}

/// What the owner of the machine carries out, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Ring this operator for this call.
    Offer {
        /// Call.
        call: Arc<str>,
        /// The gateway that drives it.
        node: Arc<str>,
        /// Whom.
        operator: Arc<OperatorRef>,
    },
    /// Ring this operator for this call no longer: it belongs to neither.
    Withdraw {
        /// Call.
        call: Arc<str>,
        /// The gateway that drives it.
        node: Arc<str>,
        /// User id.
        operator: Arc<str>,
    },
    /// The caller waits in another queue now.
    Moved {
        /// Call.
        call: Arc<str>,
        /// Queue.
        queue: Arc<str>,
    },
    /// Ask the on-call people: once for each caller and queue, and again when they come into the red lane.
    Overflow {
        /// Call.
        call: Arc<str>,
        /// Red lane.
        red: bool,
    },
    /// Whoever is signed in and might serve the caller is named by their matter: once for each caller and queue.
    OnlyBarred {
        /// Call.
        call: Arc<str>,
    },
    /// The longest wait is over: once for each caller.
    WaitedTooLong {
        /// Call.
        call: Arc<str>,
    },
    /// Say place and estimate.
    Announce {
        /// Call.
        call: Arc<str>,
        /// 1 is next.
        position: usize,
        /// Milliseconds still to wait, where that was measured.
        estimate_ms: Option<i64>,
    },
    /// An operator's row changed; `state` tells whether a new interval of state began.
    Operator {
        /// The row.
        row: Box<OperatorRow>,
        /// State or reason changed.
        state: bool,
    },
    /// A waiting caller's row changed.
    Caller(Box<CallerRow>),
    /// A caller waits no longer.
    Gone {
        /// Call.
        call: Arc<str>,
        /// An operator has them.
        answered: bool,
    },
}

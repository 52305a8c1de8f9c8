//! Queues, operators and callers for lists.

use hotline_acd::{Core, OperatorRef};

/// An operator for lists.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct OperatorView {
    /// User id.
    pub id: String,
    /// Name.
    pub name: String,
    /// State word.
    pub state: String,
    /// Reason.
    pub reason: String,
    /// Since when (epoch ms).
    pub since: i64,
    /// Whether the phone is registered.
    pub registered: bool,
    /// Call at hand.
    pub call: Option<String>,
    /// State word of what comes after the call at hand.
    pub next: Option<String>,
    /// A guest, or asked by a colleague: no call is offered meanwhile.
    pub engaged: bool,
    /// End of 话后 (epoch ms).
    pub wrap_until: Option<i64>,
    /// Skills, each with its level from 1 to 9.
    pub skills: Vec<(String, u8)>,
}

/// A queue for lists.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct QueueView {
    /// Name.
    pub name: String,
    /// Open at this hour.
    pub open: bool,
    /// Calls waiting.
    pub waiting: usize,
    /// Operators who serve it.
    pub operators: Vec<OperatorView>,
}

/// A waiting caller for lists.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct CallerView {
    /// Call id.
    pub call: String,
    /// Queue.
    pub queue: String,
    /// `red`, `trouble`, `callback` or `normal`.
    pub lane: String,
    /// Since when (epoch ms).
    pub entered_at: i64,
    /// User id of the operator whose phone rings.
    pub ringing: Option<String>,
}

/// Who signed in once with this phone.
pub(super) fn by_phone(core: &Core, sip_user: &str) -> Option<OperatorRef> {
    core.operators().into_iter().find(|o| o.who.sip_user == sip_user).map(|o| OperatorRef::clone(&o.who))
}

/// The calls an operator's phone rings or talks in.
pub(super) fn calls_of(core: &Core, operator: &str) -> Vec<String> {
    let Some(o) = core.operator(operator) else { return Vec::new() };
    o.call.iter().chain(&o.engaged).map(|call| call.to_string()).collect()
}

fn operator(o: &hotline_acd::OperatorView) -> OperatorView {
    OperatorView {
        id: o.who.id.clone(),
        name: o.who.name.clone(),
        state: o.state.as_str().into(),
        reason: o.reason.to_string(),
        since: o.since,
        registered: o.registered,
        call: o.call.as_deref().map(str::to_owned),
        next: o.next.map(|s| s.as_str().to_owned()),
        engaged: !o.engaged.is_empty(),
        wrap_until: o.wrap_until,
        skills: o.profile.skills.clone(),
    }
}

pub(super) fn queues(core: &Core) -> Vec<QueueView> {
    let operators = core.operators();
    let of = |name: &str| -> Vec<OperatorView> {
        operators.iter().filter(|o| o.profile.queues.iter().any(|q| q == name)).map(operator).collect()
    };
    core.queues()
        .into_iter()
        .map(|q| QueueView { name: q.name.to_string(), open: q.open, waiting: q.callers.len(), operators: of(&q.name) })
        .collect()
}

pub(super) fn callers(core: &Core) -> Vec<CallerView> {
    let of = |c: hotline_acd::CallerView| CallerView {
        call: c.call.to_string(),
        queue: c.queue.to_string(),
        lane: c.lane.as_str().into(),
        entered_at: c.entered_at,
        ringing: c.ringing.as_deref().map(str::to_owned),
    };
    core.queues().into_iter().flat_map(|q| q.callers).map(of).collect()
}

//! What the queues are asked and told, as values: they are carried out here or by the gateway that leads the queues.

use hotline_acd::{Core, Decline, Entry, Lane, Move, OperatorRef, OperatorState, Profile, Refused, Standing};
use serde::{Deserialize, Serialize};

use super::views::{self, CallerView, QueueView};

/// One thing to do to the machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Command {
    Enter(Entry),
    Leave {
        call: String,
    },
    SetLane {
        call: String,
        lane: Lane,
    },
    Connected {
        call: String,
        operator: String,
    },
    Declined {
        call: String,
        operator: String,
        why: Decline,
    },
    Released {
        call: String,
        operator: String,
    },
    Ended {
        call: String,
    },
    Engaged {
        call: String,
        operator: String,
    },
    Disengaged {
        call: String,
        operator: String,
    },
    Want {
        who: OperatorRef,
        profile: Profile,
        state: OperatorState,
        reason: String,
    },
    ForceState {
        operator: String,
        state: OperatorState,
        reason: String,
    },
    SetSkills {
        operator: String,
        skills: Vec<(String, u8)>,
    },
    ExtendWrap {
        operator: String,
        by_ms: i64,
    },
    MoveCaller {
        call: String,
        to: Move,
    },
    Pull {
        call: String,
        operator: String,
    },
    SetOpen {
        queue: String,
        open: bool,
    },
    /// A phone came to this gateway, or went.
    Phone {
        sip_user: String,
        node: String,
        registered: bool,
    },
    Position {
        call: String,
    },
    Queues,
    Callers,
    ByPhone {
        sip_user: String,
    },
    CallsOf {
        operator: String,
    },
    SkillsOf {
        operator: String,
    },
}

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    Done,
    Standing(Standing),
    /// The new end of 话后 (epoch ms).
    Until(i64),
    /// Place and the wait in milliseconds, where that was measured.
    Place(Option<(usize, Option<i64>)>),
    Queues(Vec<QueueView>),
    Callers(Vec<CallerView>),
    Person(Option<OperatorRef>),
    Calls(Vec<String>),
    Skills(Option<Vec<(String, u8)>>),
    Refused(Refused),
}

fn of<T>(outcome: Result<T, Refused>, reply: impl FnOnce(T) -> Reply) -> Reply {
    match outcome {
        Ok(it) => reply(it),
        Err(refused) => Reply::Refused(refused),
    }
}

impl Command {
    /// Carries it out.
    pub(super) fn run(self, now: i64, core: &mut Core) -> Reply {
        match self {
            Self::Enter(entry) => return of(core.enter(now, entry), |()| Reply::Done),
            Self::Leave { call } => core.leave(now, &call),
            Self::SetLane { call, lane } => core.set_lane(now, &call, lane),
            Self::Connected { call, operator } => core.connected(now, &call, &operator),
            Self::Declined { call, operator, why } => core.declined(now, &call, &operator, why),
            Self::Released { call, operator } => core.released(now, &call, &operator),
            Self::Ended { call } => core.ended(now, &call),
            Self::Engaged { call, operator } => core.engaged(now, &call, &operator),
            Self::Disengaged { call, operator } => core.disengaged(now, &call, &operator),
            Self::Want { who, profile, state, reason } => {
                return of(core.want(now, who, profile, state, &reason), Reply::Standing);
            }
            Self::ForceState { operator, state, reason } => {
                return of(core.force_state(now, &operator, state, &reason), Reply::Standing);
            }
            Self::SetSkills { operator, skills } => core.set_skills(now, &operator, skills),
            Self::ExtendWrap { operator, by_ms } => {
                return of(core.extend_wrap(now, &operator, by_ms), Reply::Until);
            }
            Self::MoveCaller { call, to } => return of(core.move_caller(now, &call, &to), |()| Reply::Done),
            Self::Pull { call, operator } => return of(core.pull(now, &call, &operator), |()| Reply::Done),
            Self::SetOpen { queue, open } => core.set_open(&queue, open),
            Self::Phone { sip_user, node, registered: true } => core.registered_at(now, &sip_user, &node),
            Self::Phone { sip_user, registered: false, .. } => core.registered(now, &sip_user, false),
            Self::Position { call } => return Reply::Place(core.position(&call)),
            Self::Queues => return Reply::Queues(views::queues(core)),
            Self::Callers => return Reply::Callers(views::callers(core)),
            Self::ByPhone { sip_user } => return Reply::Person(views::by_phone(core, &sip_user)),
            Self::CallsOf { operator } => return Reply::Calls(views::calls_of(core, &operator)),
            Self::SkillsOf { operator } => {
                return Reply::Skills(core.operator(&operator).map(|o| o.profile.skills.clone()));
            }
        }
        Reply::Done
    }

    /// The call it is about.
    pub(super) fn call(&self) -> Option<&str> {
        match self {
            Self::Enter(entry) => Some(&entry.call),
            Self::Leave { call }
            | Self::SetLane { call, .. }
            | Self::Connected { call, .. }
            | Self::Declined { call, .. }
            | Self::Released { call, .. }
            | Self::Ended { call }
            | Self::Engaged { call, .. }
            | Self::Disengaged { call, .. }
            | Self::MoveCaller { call, .. }
            | Self::Pull { call, .. }
            | Self::Position { call } => Some(call),
            _ => None,
        }
    }
}

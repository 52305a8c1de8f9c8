//! What goes in and what comes out.

use serde::{Deserialize, Serialize};

/// Priority lanes, most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// Danger to life or limb (key 7).
    Red,
    /// A number known for emergencies, or a caller in difficulty (three short calls in ten minutes).
    Trouble,
    /// They kept their place and were called back: they have waited already.
    Callback,
    /// Everybody else.
    Normal,
}

impl Lane {
    /// All of them, most urgent first.
    pub const ALL: [Self; 4] = [Self::Red, Self::Trouble, Self::Callback, Self::Normal];

    /// Word for rows and API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Red => "red",
            Self::Trouble => "trouble",
            Self::Callback => "callback",
            Self::Normal => "normal",
        }
    }

    /// From a row's word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|l| l.as_str() == word)
    }
}

/// Operator states (坐席状态).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperatorState {
    /// 签退.
    Off,
    /// 示闲.
    Ready,
    /// 示忙: at the desk, at work that isn't a call.
    Busy,
    /// 振铃.
    Ringing,
    /// 通话.
    Talking,
    /// 话后.
    WrapUp,
    /// 小休.
    Break,
    /// 离席.
    Away,
    /// 设备异常: the phone failed; over when it registers again or the operator says ready.
    DeviceFault,
}

impl OperatorState {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Off,
        Self::Ready,
        Self::Busy,
        Self::Ringing,
        Self::Talking,
        Self::WrapUp,
        Self::Break,
        Self::Away,
        Self::DeviceFault,
    ];

    /// Word for rows and API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Ready => "ready",
            Self::Busy => "busy",
            Self::Ringing => "ringing",
            Self::Talking => "talking",
            Self::WrapUp => "wrap_up",
            Self::Break => "break",
            Self::Away => "away",
            Self::DeviceFault => "device_fault",
        }
    }

    /// From a row's word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == word)
    }

    /// Follows from a call; nobody can ask for it.
    #[must_use]
    pub const fn is_of_a_call(self) -> bool {
        matches!(self, Self::Ringing | Self::Talking | Self::WrapUp)
    }

    /// Somebody may ask for it.
    #[must_use]
    pub const fn may_be_chosen(self) -> bool {
        matches!(self, Self::Off | Self::Ready | Self::Busy | Self::Break | Self::Away)
    }
}

/// Who an operator is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorRef {
    /// User id.
    pub id: String,
    /// 工号 or name for people.
    pub name: String,
    /// SIP user of the phone.
    pub sip_user: String,
}

/// What an operator can do, and where: given with every state they ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Queues they serve; unknown names are left out.
    pub queues: Vec<String>,
    /// Skills with their level, 1 (some) to 9 (best).
    pub skills: Vec<(String, u8)>,
    /// The gateway their phone is registered at.
    pub node: String,
    /// Whether the phone is registered.
    pub registered: bool,
}

/// Why an offered call wasn't taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decline {
    /// The phone rang until the limit.
    NoAnswer,
    /// The operator refused on the phone.
    Refused,
    /// The phone couldn't be reached, or answered with nothing usable.
    Device,
    /// No session or port here to ring the phone with: the operator stays ready, and is asked again soon.
    NoRoom,
    /// The caller left while it rang: nobody's fault.
    CallerLeft,
}

/// In [`Widen::drop`]: every skill a caller asked for beside the queue's own.
pub const ALL_ASKED: &str = "*";

/// What a queue gives up after a wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Widen {
    /// After so long in the queue.
    pub after_ms: i64,
    /// Skills no longer asked for, by name or [`ALL_ASKED`].
    pub drop: Vec<String>,
    /// Queues whose operators may help.
    pub help: Vec<String>,
}

/// One queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// Its name.
    pub name: String,
    /// Skills its callers need.
    pub skills: Vec<String>,
    /// What is given up, and when.
    pub widen: Vec<Widen>,
    /// An operator's phone rings at most so long.
    pub ring_ms: i64,
    /// 话后; 0: none.
    pub wrap_ms: i64,
    /// Callers waiting at most.
    pub waiting_max: usize,
    /// A caller who waited so long is told that we call back; `None`: they may wait for ever.
    pub wait_max_ms: Option<i64>,
    /// On-call people are asked after such a wait.
    pub overflow_ms: Option<i64>,
    /// The same for the red lane.
    pub overflow_red_ms: Option<i64>,
    /// A citizen waits so long for the operator they know while that one is busy.
    pub prefer_ms: i64,
    /// First announcement of place and estimate, and the pause between further ones.
    pub announce_ms: Option<(i64, i64)>,
    /// So many failures of a phone in a row make 设备异常.
    pub device_failures: u8,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            name: "main".into(),
            skills: Vec::new(),
            widen: Vec::new(),
            ring_ms: 15_000,
            wrap_ms: 30_000,
            waiting_max: 1_000,
            wait_max_ms: None,
            overflow_ms: None,
            overflow_red_ms: None,
            prefer_ms: 0,
            announce_ms: None,
            device_failures: 2,
        }
    }
}

/// A caller who joins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Call id.
    pub call: String,
    /// The queue.
    pub queue: String,
    /// The lane.
    pub lane: Lane,
    /// They had somebody on the line and lost them: to the head, and never turned away.
    pub returns: bool,
    /// Skills this caller needs beside the queue's.
    pub skills: Vec<String>,
    /// Who served this citizen within a day.
    pub prefer: Option<String>,
    /// Who sent them on or declined them: not to them again, unless nobody else comes soon, or for too long.
    pub declined: Vec<String>,
    /// Whom the matter names (回避): never.
    pub barred: Vec<String>,
    /// The gateway that drives the call.
    pub node: String,
}

impl Entry {
    /// A caller without wishes.
    #[must_use]
    pub fn new(call: &str, queue: &str, lane: Lane) -> Self {
        Self {
            call: call.into(),
            queue: queue.into(),
            lane,
            returns: false,
            skills: Vec::new(),
            prefer: None,
            declined: Vec::new(),
            barred: Vec::new(),
            node: String::new(),
        }
    }
}

/// Where a waiting caller is put by a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Move {
    /// Before everybody in their lane.
    Front,
    /// To another queue, with the time they have waited.
    Queue(String),
    /// To another lane.
    Lane(Lane),
}

/// Why something isn't done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refused {
    /// No queue of this name.
    #[error("没有这个队列 / no queue named {0:?}")]
    NoQueue(String),
    /// No skill of this name, and no room for one.
    #[error("技能太多 / more than 64 skills: {0:?} is not taken")]
    NoSkill(String),
    /// The queue holds as many callers as it may.
    #[error("队列已满 / the queue is full")]
    Full,
    /// The queue is closed at this hour.
    #[error("队列未开放 / the queue is closed at this hour")]
    Closed,
    /// The call doesn't wait.
    #[error("该来电不在排队 / this call is not waiting")]
    NotWaiting,
    /// The operator never signed in.
    #[error("该坐席未签入 / this operator is not signed in")]
    NoOperator,
    /// The operator can't take a call now.
    #[error("该坐席现在不能接听 / this operator is not ready, or has no phone")]
    NotFree,
    /// The matter names this operator.
    #[error("该坐席须回避 / this operator is named by the matter")]
    Barred,
    /// The state follows from a call.
    #[error("该状态由通话决定 / that state follows from a call: choose ready, busy, break, away or off")]
    StateOfACall,
    /// 话后 isn't on, or can't last longer.
    #[error("不在话后,或话后已到上限 / not in wrap-up, or at its limit")]
    NoWrapUp,
}

/// What holds for an operator now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The state now.
    pub state: OperatorState,
    /// What comes after the call at hand.
    pub next: Option<OperatorState>,
}

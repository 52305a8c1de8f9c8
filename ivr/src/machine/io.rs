//! What goes into the machine and what comes out of it.

use std::collections::BTreeMap;

use crate::say::Say;

/// Something that happened to the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The call was answered. Once, before anything else.
    Start,
    /// A key, `0`–`9`, `*`, `#` or `A`–`D` (RFC 4733 §3.2 events 0–15). Others are ignored.
    Digit(char),
    /// The last [`Output::Play`] came to its end by itself. Not sent for a
    /// speech that was stopped or replaced, nor for a repeated one.
    PlayDone,
    /// The assigned operator answered: any prompt or recording is stopped and
    /// the machine moves to the node that waits for the end of the talk.
    OperatorFree,
    /// The operator ended the talk; the citizen is still there.
    TalkEnded,
    /// The citizen hung up. The machine is done afterwards.
    HungUp,
    /// The recording ended by itself, by [`Output::StopRecord`] or at its maximum.
    RecordDone {
        /// Length of what was recorded in milliseconds.
        ms: u64,
    },
    /// The host finished an [`Output::Action`].
    ActionDone {
        /// The action's name, as it was asked for. Another name than the one
        /// waited for is a late answer and is ignored.
        name: String,
        /// The label that chooses the branch: `ok`, `none`, `error` …
        result: String,
        /// Values to remember, for instance `position`.
        vars: BTreeMap<String, String>,
    },
    /// The queue doesn't take the call, or gave it up: the flow goes on as `[on]` says.
    NotQueued(NotQueued),
    /// News about the place in the queue, remembered as the variables
    /// `position`, `estimate_s` and `estimate_min` (rounded up).
    QueuePosition {
        /// 1 is the next to be answered.
        position: u32,
        /// Expected wait in seconds.
        estimate_s: u32,
    },
}

/// Why a call isn't in the queue it was put into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NotQueued {
    /// Nobody works at this hour.
    Closed,
    /// As many wait as may.
    Full,
    /// They waited for as long as anybody may.
    TooLong,
}

impl NotQueued {
    pub(crate) const ALL: [Self; 3] = [Self::Closed, Self::Full, Self::TooLong];

    /// The key in `[on]`.
    pub(crate) const fn handler(self) -> &'static str {
        match self {
            Self::Closed => "queue_closed",
            Self::Full => "queue_full",
            Self::TooLong => "waited_too_long",
        }
    }
}

/// Priority within a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// In order of arrival.
    Normal,
    /// Danger to life or property: before everybody else.
    Red,
    /// A citizen whom we owe a call: before `Normal`.
    Callback,
}

impl Lane {
    /// The word used in flow files, rows and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Lane::Normal => "normal",
            Lane::Red => "red",
            Lane::Callback => "callback",
        }
    }
}

/// What the host has to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Play this now, instead of whatever is playing.
    Play {
        /// The pieces in order; [`say::expand`](crate::say::expand) turns them into prompt ids.
        prompts: Vec<Say>,
        /// Start again at the end until stopped (music); no `PlayDone` then.
        repeat: bool,
    },
    /// Stop what is playing.
    StopPlay,
    /// Put the call into a queue. The machine goes on: keys work while waiting.
    EnterQueue {
        /// The queue's name.
        queue: String,
        /// Its priority.
        lane: Lane,
        /// What the operator must be able to do. Of a call that waits already: from now on, too.
        skills: Vec<String>,
    },
    /// Change the priority of the waiting call.
    SetLane(Lane),
    /// The citizen no longer waits, by own choice: this isn't an abandoned call.
    LeaveQueue {
        /// Why: `callback_requested`, `message_left` …
        reason: String,
    },
    /// Record the citizen and report `RecordDone`. Keys don't end the
    /// recording by themselves: the machine sends `StopRecord`.
    Record {
        /// Longest duration in milliseconds.
        max_ms: u64,
        /// What it is for: `voice_message`, `dissatisfaction_reason`.
        purpose: String,
    },
    /// End the recording, keep it, and report `RecordDone`.
    StopRecord,
    /// Do this and answer with `ActionDone`.
    Action {
        /// What to do: `callback_request`, `progress_by_code` …
        name: String,
        /// Its arguments.
        args: BTreeMap<String, String>,
    },
    /// End the call. The machine is done.
    HangUp {
        /// Why, as the flow names it, or one of `flow_loop`, `no_handler`, `outputs_unread`.
        reason: String,
    },
    /// Go on with another flow on the same call. This machine is done.
    NextFlow {
        /// The other flow's name, for instance `survey`.
        flow: String,
    },
    /// The citizen's answer to a question.
    Answer {
        /// The question: `satisfied`, `solved` …
        key: String,
        /// The answer: `yes`, `no`, `1` …
        value: String,
    },
    /// Something for the call's event log. Never holds digits or other
    /// personal data.
    Event {
        /// What happened.
        kind: EventKind,
        /// The node the machine was in.
        node: String,
        /// A word about it: the node entered, the missing label …
        detail: String,
    },
}

/// What an [`Output::Event`] tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A node was entered; `detail` is the kind of the node.
    Entered,
    /// A key chose a way; `detail` is the node it leads to.
    KeyChosen,
    /// An operator took the call over.
    OperatorTookOver,
    /// The citizen hung up in this node.
    HungUp,
    /// A mark set by the flow (`kind = "set"`, `event = "…"`), for instance `language_en`.
    Mark,
    /// The flow or the host did something wrong; the call goes on or was ended by `HangUp`.
    Error,
}

impl EventKind {
    /// The word used in rows and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            EventKind::Entered => "ivr_entered",
            EventKind::KeyChosen => "ivr_key",
            EventKind::OperatorTookOver => "ivr_operator",
            EventKind::HungUp => "ivr_hung_up",
            EventKind::Mark => "ivr_mark",
            EventKind::Error => "ivr_error",
        }
    }
}

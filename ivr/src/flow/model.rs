//! The parts of a flow after parsing: targets are indexes, times are milliseconds.

use std::collections::{BTreeMap, BTreeSet};

use super::phrase::{Phrase, Template};
use crate::machine::Lane;

/// Index into [`Flow::nodes`](crate::Flow).
pub(crate) type NodeIndex = usize;

/// Where a key leads, and what it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) to: NodeIndex,
    /// The answer's value; the key itself if `None`.
    pub(crate) value: Option<String>,
}

pub(crate) type Keys = BTreeMap<char, Way>;

/// Which of the flow's own keys work in a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GlobalKeys {
    All,
    Only(BTreeSet<char>),
}

impl GlobalKeys {
    pub(crate) fn allows(&self, key: char) -> bool {
        match self {
            GlobalKeys::All => true,
            GlobalKeys::Only(keys) => keys.contains(&key),
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) id: String,
    /// Line of the node's header, from 1.
    pub(crate) line: usize,
    pub(crate) global_keys: GlobalKeys,
    /// What is said on entering.
    pub(crate) say: Vec<Phrase>,
    /// Whether a key cuts what is said.
    pub(crate) interruptible: bool,
    pub(crate) keys: Keys,
    pub(crate) next: Option<NodeIndex>,
    pub(crate) kind: Kind,
}

/// How often and how long a question waits.
#[derive(Debug, Clone)]
pub(crate) struct Patience {
    /// From the end of the speech to the first key.
    pub(crate) timeout_ms: u64,
    /// How often the question is asked again.
    pub(crate) repeats: u32,
    /// Said before asking again after a key that means nothing.
    pub(crate) invalid: Vec<Phrase>,
    pub(crate) on_timeout: Option<NodeIndex>,
    pub(crate) on_invalid: Option<NodeIndex>,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// Speaks, then goes on.
    Say {
        /// Left out while this variable is empty.
        when: Option<String>,
    },
    /// Asks for one key.
    Menu {
        /// The question an answer belongs to; also the variable it is kept in.
        answer: Option<String>,
        patience: Patience,
    },
    /// Asks for digits up to `#`.
    Collect {
        into: String,
        min_len: usize,
        max_len: usize,
        inter_digit_ms: u64,
        on_empty: Option<NodeIndex>,
        patience: Patience,
    },
    /// Enters the queue, or changes the lane of a call that waits already.
    Queue {
        queue: Template,
        /// `None`: `normal`, or what a call that waits already has.
        lane: Option<Lane>,
        /// What the operator must be able to do, beside what was asked for before.
        skills: Vec<String>,
    },
    LeaveQueue {
        reason: String,
    },
    /// Music until an operator answers, a key, or a time.
    Wait {
        after_ms: Option<u64>,
        /// `after_ms` counts from entering the queue instead of this node.
        since_queue: bool,
    },
    /// The operator talks.
    Talk,
    Record {
        purpose: String,
        max_ms: u64,
        min_ms: u64,
        stop_keys: BTreeSet<char>,
        on_short: Option<NodeIndex>,
    },
    Action {
        name: String,
        args: BTreeMap<String, Template>,
        results: BTreeMap<String, NodeIndex>,
        otherwise: Option<NodeIndex>,
        timeout_ms: u64,
        on_timeout: Option<NodeIndex>,
    },
    Branch {
        var: String,
        values: BTreeMap<String, NodeIndex>,
        /// For any other value that isn't empty.
        filled: Option<NodeIndex>,
        otherwise: Option<NodeIndex>,
    },
    Set {
        vars: BTreeMap<String, Template>,
        event: Option<String>,
    },
    HangUp {
        reason: String,
    },
    /// Ends this machine; the host runs another flow.
    Flow {
        flow: String,
    },
}

impl Kind {
    /// The word in the file.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Kind::Say { .. } => "say",
            Kind::Menu { .. } => "menu",
            Kind::Collect { .. } => "collect",
            Kind::Queue { .. } => "queue",
            Kind::LeaveQueue { .. } => "leave_queue",
            Kind::Wait { .. } => "wait",
            Kind::Talk => "talk",
            Kind::Record { .. } => "record",
            Kind::Action { .. } => "action",
            Kind::Branch { .. } => "branch",
            Kind::Set { .. } => "set",
            Kind::HangUp { .. } => "hangup",
            Kind::Flow { .. } => "flow",
        }
    }

    /// All words in the order of the documentation.
    pub(crate) const WORDS: [&'static str; 13] = [
        "say",
        "menu",
        "collect",
        "queue",
        "leave_queue",
        "wait",
        "talk",
        "record",
        "action",
        "branch",
        "set",
        "hangup",
        "flow",
    ];

    /// Whether the machine leaves the node in the moment it enters it.
    pub(crate) fn is_instant(&self) -> bool {
        matches!(self, Kind::Queue { .. } | Kind::LeaveQueue { .. } | Kind::Branch { .. } | Kind::Set { .. })
    }

    /// Whether the flow ends here.
    pub(crate) fn is_end(&self) -> bool {
        matches!(self, Kind::HangUp { .. } | Kind::Flow { .. })
    }
}

/// Why a way is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Speech or recording at its end, or at once.
    Next,
    Key(char),
    Timeout,
    Invalid,
    Empty,
    Short,
    After(u64),
    Result(String),
    Value(String),
    Filled,
    Otherwise,
    TalkEnded,
}

/// A way from one node to another.
#[derive(Debug, Clone)]
pub(crate) struct Edge {
    pub(crate) cause: Cause,
    pub(crate) to: NodeIndex,
}

impl Edge {
    /// Whether a citizen who presses nothing can come this way.
    pub(crate) fn is_automatic(&self) -> bool {
        !matches!(self.cause, Cause::Key(_) | Cause::Invalid | Cause::Empty)
    }
}

impl Node {
    /// The ways that leave this node, the flow's own keys not included.
    pub(crate) fn edges(&self) -> Vec<Edge> {
        let mut edges = Vec::new();
        let mut add = |cause, to: Option<NodeIndex>| edges.extend(to.map(|to| Edge { cause, to }));
        for (key, way) in &self.keys {
            add(Cause::Key(*key), Some(way.to));
        }
        let next = match &self.kind {
            Kind::Wait { after_ms, .. } => Cause::After(after_ms.unwrap_or(0)),
            Kind::Talk => Cause::TalkEnded,
            _ => Cause::Next,
        };
        add(next, self.next);
        match &self.kind {
            Kind::Menu { patience, .. } => {
                add(Cause::Timeout, patience.on_timeout);
                add(Cause::Invalid, patience.on_invalid);
            }
            Kind::Collect { on_empty, patience, .. } => {
                add(Cause::Empty, *on_empty);
                add(Cause::Timeout, patience.on_timeout);
                add(Cause::Invalid, patience.on_invalid);
            }
            Kind::Record { on_short, .. } => add(Cause::Short, *on_short),
            Kind::Action { results, otherwise, on_timeout, .. } => {
                for (label, to) in results {
                    add(Cause::Result(label.clone()), Some(*to));
                }
                add(Cause::Otherwise, *otherwise);
                add(Cause::Timeout, *on_timeout);
            }
            Kind::Branch { values, filled, otherwise, .. } => {
                for (value, to) in values {
                    add(Cause::Value(value.clone()), Some(*to));
                }
                add(Cause::Filled, *filled);
                add(Cause::Otherwise, *otherwise);
            }
            _ => {}
        }
        edges
    }

    /// Everything this node may say.
    pub(crate) fn phrases(&self) -> impl Iterator<Item = &Phrase> {
        let invalid: &[Phrase] = match &self.kind {
            Kind::Menu { patience, .. } | Kind::Collect { patience, .. } => &patience.invalid,
            _ => &[],
        };
        self.say.iter().chain(invalid)
    }

    /// The templates whose variables this node reads, besides its phrases.
    pub(crate) fn templates(&self) -> Vec<&Template> {
        match &self.kind {
            Kind::Queue { queue, .. } => vec![queue],
            Kind::Action { args, .. } => args.values().collect(),
            Kind::Set { vars, .. } => vars.values().collect(),
            _ => Vec::new(),
        }
    }
}

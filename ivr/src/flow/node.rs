//! Reads one `[node.…]` table.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    error::FlowError,
    model::{GlobalKeys, Keys, Kind, Node, Patience},
    parse::{KEYS, read_keys},
    phrase::{Phrase, Template},
    reader::{Reader, shorten},
};
use crate::{
    limits::{COLLECT_DIGITS_MAX, NAME_BYTES_MAX, RECORD_MS_MAX, REPEATS_MAX, SKILLS_MAX, TIMER_MS_MAX},
    machine::Lane,
};

/// `[defaults]` of the file, and the key sets.
pub(super) struct Defaults {
    timeout_ms: u64,
    inter_digit_ms: u64,
    repeats: u64,
    invalid: Vec<Phrase>,
    keysets: BTreeMap<String, Keys>,
}

impl Defaults {
    pub(super) fn read(root: &Reader<'_>, keysets: BTreeMap<String, Keys>) -> Result<Self, FlowError> {
        let mut defaults = Self { timeout_ms: 6_000, inter_digit_ms: 4_000, repeats: 2, invalid: Vec::new(), keysets };
        if let Some(value) = root.value("defaults") {
            let table = root.source.table("defaults", value)?;
            let times = 1..=TIMER_MS_MAX;
            defaults.timeout_ms = table.number("timeout_ms", times.clone())?.unwrap_or(defaults.timeout_ms);
            defaults.inter_digit_ms = table.number("inter_digit_ms", times)?.unwrap_or(defaults.inter_digit_ms);
            defaults.repeats = table.number("repeats", 0..=REPEATS_MAX.into())?.unwrap_or(defaults.repeats);
            defaults.invalid = table.phrases("invalid")?.unwrap_or_default();
            table.finish()?;
        }
        Ok(defaults)
    }
}

/// Reads a node whose header is in `line`.
pub(super) fn read_node(table: &Reader<'_>, id: &str, line: usize, defaults: &Defaults) -> Result<Node, FlowError> {
    let Some(value) = table.value("kind") else {
        return Err(table.missing("kind", &format!("write kind = one of {}", Kind::WORDS.join(", "))));
    };
    let word = table.source.string("kind", value)?;
    let Some(word) = Kind::WORDS.into_iter().find(|w| *w == word) else {
        let what = format!("there is no kind `{}` of node", shorten(word));
        let remedy = format!("use one of {}", Kind::WORDS.join(", "));
        return Err(table.source.bad(&value.span(), what, remedy));
    };
    let mut node = Node {
        id: id.to_owned(),
        line,
        global_keys: GlobalKeys::All,
        say: Vec::new(),
        interruptible: true,
        keys: Keys::new(),
        next: None,
        kind: Kind::Talk,
    };
    read_common(table, word, &mut node, defaults)?;
    node.kind = read_kind(table, word, defaults)?;
    table.finish()?;
    Ok(node)
}

/// What several kinds share; a kind that can't speak or go on refuses the key.
fn read_common(table: &Reader<'_>, word: &str, node: &mut Node, defaults: &Defaults) -> Result<(), FlowError> {
    if matches!(word, "say" | "menu" | "collect" | "wait" | "record" | "action" | "hangup") {
        node.say = table.phrases("say")?.unwrap_or_default();
    }
    if matches!(word, "say" | "menu" | "collect" | "record" | "hangup") {
        node.interruptible = table.flag("interruptible", true)?;
    }
    if matches!(word, "say" | "menu" | "wait") {
        node.keys = read_keys(table, "keys", &defaults.keysets)?;
    }
    if !matches!(word, "menu" | "action" | "branch" | "hangup" | "flow") {
        node.next = table.target("next")?;
    }
    if matches!(word, "say" | "menu" | "collect" | "wait" | "record" | "action" | "hangup") {
        node.global_keys = read_global_keys(table, word)?;
    }
    Ok(())
}

/// `global_keys`: true, false, or the keys that work. Where digits are
/// collected, none do by default.
fn read_global_keys(table: &Reader<'_>, word: &str) -> Result<GlobalKeys, FlowError> {
    let none = || GlobalKeys::Only(BTreeSet::new());
    let Some(value) = table.value("global_keys") else {
        return Ok(if word == "collect" { none() } else { GlobalKeys::All });
    };
    match (value.get_ref().as_bool(), value.get_ref().as_str()) {
        (Some(true), _) => Ok(GlobalKeys::All),
        (Some(false), _) => Ok(none()),
        (_, Some(keys)) if keys.chars().all(|c| KEYS.contains(c)) => Ok(GlobalKeys::Only(keys.chars().collect())),
        _ => Err(table.source.wrong_type("global_keys", value, "true, false, or the keys: \"78\"")),
    }
}

fn read_kind(table: &Reader<'_>, word: &str, defaults: &Defaults) -> Result<Kind, FlowError> {
    Ok(match word {
        "say" => Kind::Say { when: table.name_if_any("when")? },
        "menu" => Kind::Menu { answer: table.name_if_any("answer")?, patience: read_patience(table, defaults)? },
        "collect" => read_collect(table, defaults)?,
        "queue" => Kind::Queue { queue: read_queue_name(table)?, lane: read_lane(table)?, skills: read_skills(table)? },
        "leave_queue" => Kind::LeaveQueue { reason: table.name("reason", "say why the citizen leaves the queue")? },
        "wait" => read_wait(table)?,
        "record" => read_record(table)?,
        "action" => read_action(table)?,
        "branch" => Kind::Branch {
            var: table.name("var", "name the variable to look at")?,
            values: table.targets("values")?,
            filled: table.target("filled")?,
            otherwise: table.target("otherwise")?,
        },
        "set" => Kind::Set { vars: table.templates("vars")?, event: table.name_if_any("event")? },
        "hangup" => Kind::HangUp { reason: table.name("reason", "say why the call ends")? },
        "flow" => Kind::Flow { flow: table.name("flow", "name the flow to go on with")? },
        _ => Kind::Talk,
    })
}

fn read_patience(table: &Reader<'_>, defaults: &Defaults) -> Result<Patience, FlowError> {
    let repeats = table.number("repeats", 0..=REPEATS_MAX.into())?.unwrap_or(defaults.repeats);
    Ok(Patience {
        timeout_ms: table.number("timeout_ms", 1..=TIMER_MS_MAX)?.unwrap_or(defaults.timeout_ms),
        repeats: u32::try_from(repeats).unwrap_or(REPEATS_MAX),
        invalid: table.phrases("invalid")?.unwrap_or_else(|| defaults.invalid.clone()),
        on_timeout: table.target("on_timeout")?,
        on_invalid: table.target("on_invalid")?,
    })
}

fn read_collect(table: &Reader<'_>, defaults: &Defaults) -> Result<Kind, FlowError> {
    let lengths = 1..=COLLECT_DIGITS_MAX as u64;
    let Some(max_len) = table.number("max_len", lengths.clone())? else {
        return Err(table.missing("max_len", "say how many digits there are at most"));
    };
    let min_len = table.number("min_len", lengths)?.unwrap_or(1);
    if min_len > max_len {
        return Err(table.source.bad(&table.span, "`min_len` is above `max_len`", "swap them"));
    }
    Ok(Kind::Collect {
        into: table.name("into", "name the variable for the digits")?,
        min_len: min_len as usize,
        max_len: max_len as usize,
        inter_digit_ms: table.number("inter_digit_ms", 1..=TIMER_MS_MAX)?.unwrap_or(defaults.inter_digit_ms),
        on_empty: table.target("on_empty")?,
        patience: read_patience(table, defaults)?,
    })
}

fn read_queue_name(table: &Reader<'_>) -> Result<Template, FlowError> {
    let Some(value) = table.value("queue") else {
        return Err(table.missing("queue", "name the queue"));
    };
    table.template(&value.span(), table.source.string("queue", value)?)
}

fn read_lane(table: &Reader<'_>) -> Result<Option<Lane>, FlowError> {
    let Some(value) = table.value("lane") else {
        return Ok(None);
    };
    let word = table.source.string("lane", value)?;
    let lanes = [Lane::Normal, Lane::Red, Lane::Callback];
    lanes.into_iter().find(|lane| lane.as_str() == word).map(Some).ok_or_else(|| {
        let what = format!("there is no lane `{}`", shorten(word));
        table.source.bad(&value.span(), what, "use normal, red or callback")
    })
}

/// Skills are words of people: 方言, English.
fn read_skills(table: &Reader<'_>) -> Result<Vec<String>, FlowError> {
    let Some(value) = table.value("skills") else { return Ok(Vec::new()) };
    let list = value.get_ref().as_array().filter(|list| list.len() <= SKILLS_MAX);
    let Some(list) = list else {
        let wanted = format!("a list of at most {SKILLS_MAX} skills, [\"English\"]");
        return Err(table.source.wrong_type("skills", value, &wanted));
    };
    let skill = |value: &_| {
        let skill = table.source.string("skills", value)?;
        let fits = !skill.is_empty() && skill.len() <= NAME_BYTES_MAX && !skill.chars().any(char::is_control);
        if fits && skill != "*" {
            return Ok(skill.to_owned());
        }
        let remedy = format!("name a skill in 1 to {NAME_BYTES_MAX} bytes");
        Err(table.source.bad(&value.span(), format!("`{}` is no skill", shorten(skill)), remedy))
    };
    list.iter().map(skill).collect()
}

fn read_wait(table: &Reader<'_>) -> Result<Kind, FlowError> {
    let after_s = table.number("after_s", 0..=TIMER_MS_MAX / 1000)?;
    let since_queue = match table.value("since") {
        None => false,
        Some(value) => match table.source.string("since", value)? {
            "queue" => true,
            "node" => false,
            _ => {
                return Err(table.source.bad(&value.span(), "`since` means nothing", "use queue or node"));
            }
        },
    };
    Ok(Kind::Wait { after_ms: after_s.map(|s| s * 1000), since_queue })
}

fn read_record(table: &Reader<'_>) -> Result<Kind, FlowError> {
    let Some(max_ms) = table.number("max_ms", 100..=RECORD_MS_MAX)? else {
        return Err(table.missing("max_ms", "say how long may be recorded"));
    };
    let stop_keys = match table.value("stop_keys") {
        None => "#",
        Some(value) => {
            let keys = table.source.string("stop_keys", value)?;
            if !keys.chars().all(|c| KEYS.contains(c)) {
                return Err(table.source.bad(&value.span(), "not telephone keys", format!("use some of {KEYS}")));
            }
            keys
        }
    };
    Ok(Kind::Record {
        purpose: table.name("purpose", "say what the recording is for")?,
        max_ms,
        min_ms: table.number("min_ms", 0..=max_ms)?.unwrap_or(0),
        stop_keys: stop_keys.chars().collect(),
        on_short: table.target("on_short")?,
    })
}

fn read_action(table: &Reader<'_>) -> Result<Kind, FlowError> {
    Ok(Kind::Action {
        name: table.name("action", "name the action")?,
        args: table.templates("args")?,
        results: table.targets("results")?,
        otherwise: table.target("otherwise")?,
        timeout_ms: table.number("timeout_ms", 1..=TIMER_MS_MAX)?.unwrap_or(10_000),
        on_timeout: table.target("on_timeout")?,
    })
}

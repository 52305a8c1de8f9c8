//! Drives flows by scripts, one line per step:
//!
//! ```text
//! <ms> <input> => <output>; <output> …
//! ```
//! The time is absolute, in milliseconds from the start of the call. Timers due
//! before it fire at their own time. Events aren't compared, except errors and marks.

// Each test file uses its own part of this module.
#![allow(dead_code)]

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use hotline_ivr::{EventKind, Flow, Input, Machine, NotQueued, Output, Say};

/// Some moment to count from: only differences matter.
#[allow(clippy::disallowed_methods)] // the test is the host here, and the host has a clock
pub(crate) fn epoch() -> Instant {
    Instant::now()
}

pub(crate) fn vars(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

/// Runs a script over a flow that comes with the program.
pub(crate) fn run_builtin(name: &str, variables: &[(&str, &str)], script: &str) -> Machine {
    run(Flow::builtin(name).unwrap(), variables, script)
}

/// Runs a script over a flow given as text.
pub(crate) fn run_text(text: &str, variables: &[(&str, &str)], script: &str) -> Machine {
    run(Flow::parse("test.toml", text).unwrap(), variables, script)
}

pub(crate) fn run(flow: Flow, variables: &[(&str, &str)], script: &str) -> Machine {
    let mut machine = Machine::new(Arc::new(flow), vars(variables));
    let zero = epoch();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (step, expected) = line.split_once("=>").unwrap_or((line, ""));
        let (ms, input) = step.trim().split_once(' ').unwrap_or((step.trim(), "timers"));
        let now = zero + Duration::from_millis(ms.parse().expect("a time in ms"));
        while let Some(due) = machine.poll_timeout().filter(|due| *due <= now) {
            machine.handle_timeout(due);
        }
        for input in inputs(input.trim()) {
            machine.handle_input(now, input);
        }
        let got = outputs(&mut machine).join("; ");
        assert_eq!(got, expected.trim(), "\nafter: {step}\nnode: {}", machine.node());
    }
    machine
}

fn inputs(text: &str) -> Vec<Input> {
    let mut words = text.split_whitespace();
    let word = words.next().unwrap();
    let rest: Vec<&str> = words.collect();
    vec![match word {
        "timers" => return Vec::new(),
        "keys" => return rest[0].chars().map(Input::Digit).collect(),
        "start" => Input::Start,
        "played" => Input::PlayDone,
        "operator" => Input::OperatorFree,
        "closed" => Input::NotQueued(NotQueued::Closed),
        "full" => Input::NotQueued(NotQueued::Full),
        "too_long" => Input::NotQueued(NotQueued::TooLong),
        "talk_ended" => Input::TalkEnded,
        "hung_up" => Input::HungUp,
        "recorded" => Input::RecordDone { ms: rest[0].parse().unwrap() },
        "position" => Input::QueuePosition { position: rest[0].parse().unwrap(), estimate_s: rest[1].parse().unwrap() },
        "done" => {
            let pairs = rest[2..].iter().map(|pair| pair.split_once('=').unwrap());
            let vars = pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
            Input::ActionDone { name: rest[0].into(), result: rest[1].into(), vars }
        }
        other => panic!("unknown input {other}"),
    }]
}

/// What the machine wants, as words.
pub(crate) fn outputs(machine: &mut Machine) -> Vec<String> {
    std::iter::from_fn(|| machine.poll_output()).filter_map(|output| describe(&output)).collect()
}

fn describe(output: &Output) -> Option<String> {
    Some(match output {
        Output::Play { prompts, repeat } => {
            let pieces: Vec<String> = prompts.iter().map(piece).collect();
            format!("{} {}", if *repeat { "loop" } else { "play" }, pieces.join(" "))
        }
        Output::StopPlay => "stop".into(),
        Output::EnterQueue { queue, lane, skills } => {
            format!("enter {queue} {}{}", lane.as_str(), skills.iter().map(|s| format!(" {s}")).collect::<String>())
        }
        Output::SetLane(lane) => format!("lane {}", lane.as_str()),
        Output::LeaveQueue { reason } => format!("leave {reason}"),
        Output::Record { max_ms, purpose } => format!("record {purpose} {max_ms}"),
        Output::StopRecord => "stop_record".into(),
        Output::Action { name, args } => {
            let args: Vec<String> = args.iter().map(|(k, v)| format!(" {k}={v}")).collect();
            format!("do {name}{}", args.concat())
        }
        Output::HangUp { reason } => format!("hangup {reason}"),
        Output::NextFlow { flow } => format!("flow {flow}"),
        Output::Answer { key, value } => format!("answer {key}={value}"),
        Output::Event { kind: EventKind::Error, detail, .. } => format!("error {detail}"),
        Output::Event { kind: EventKind::Mark, detail, .. } => format!("mark {detail}"),
        Output::Event { .. } => return None,
    })
}

fn piece(say: &Say) -> String {
    match say {
        Say::Prompt(id) => id.clone(),
        Say::Digits(digits) => format!("#{digits}"),
        Say::Number(number) => format!("n{number}"),
        Say::Silence { ms } => format!("{ms}ms"),
    }
}

/// Reproducible random numbers (xorshift64*).
pub(crate) struct Seeded(u64);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound
    }
}

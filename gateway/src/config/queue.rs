//! One queue: how long phones ring, who is asked, and what a long wait changes.

use serde::{Deserialize, Serialize};

/// One queue.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Queue {
    /// An operator's phone rings at most so long.
    pub ring_timeout_s: u64,
    /// 话后: time after a talk before the operator is ready again.
    pub wrap_s: u64,
    /// Callers waiting at most; further ones hear that we call them back.
    pub waiting_max: usize,
    /// Only shift leaders serve it: the queue of a supervision number.
    pub leaders_only: bool,
    /// A caller who waited so long hears that we call them back; 0: they may wait for ever.
    pub wait_max_s: u64,
    /// Skills its callers need, e.g. `方言`.
    pub skills: Vec<String>,
    /// What is given up as a wait grows.
    pub widen: Vec<Widen>,
    /// So many failures of a phone in a row make 设备异常.
    pub device_failures: u8,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            ring_timeout_s: 15,
            wrap_s: 30,
            waiting_max: 1_000,
            leaders_only: false,
            wait_max_s: 0,
            skills: Vec::new(),
            widen: Vec::new(),
            device_failures: 2,
        }
    }
}

/// What a queue gives up after a wait.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Widen {
    /// After so long in the queue.
    pub after_s: u64,
    /// Skills no longer asked for.
    pub drop: Vec<String>,
    /// Queues whose operators are asked too.
    pub help: Vec<String>,
}

impl Queue {
    /// In the words of the machine.
    pub(crate) fn settings(&self, name: &str) -> hotline_acd::QueueSettings {
        let ms = |s: u64| i64::try_from(s.saturating_mul(1_000)).unwrap_or(i64::MAX);
        let widen = self.widen.iter().map(|w| hotline_acd::Widen {
            after_ms: ms(w.after_s),
            drop: w.drop.clone(),
            help: w.help.clone(),
        });
        hotline_acd::QueueSettings {
            name: name.to_owned(),
            skills: self.skills.clone(),
            widen: widen.collect(),
            ring_ms: ms(self.ring_timeout_s),
            wrap_ms: ms(self.wrap_s),
            waiting_max: self.waiting_max,
            wait_max_ms: (self.wait_max_s > 0).then(|| ms(self.wait_max_s)),
            device_failures: self.device_failures,
            ..hotline_acd::QueueSettings::default()
        }
    }
}

//! What the door keeps in memory.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use hotline_db::Fence;
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use tokio::sync::Notify;

use super::journal::Journal;
use super::limit::Limits;
use super::pager::Pager;
use super::turns::Turns;
use super::unread::Unread;
use crate::config::Config;

/// The door's memory: counts of the current hour, and a bell for the worker behind it.
pub struct Intake {
    limits: Mutex<Limits>,
    /// Rung when a conversation's timer may have run out.
    pub bell: Notify,
    /// What arrived while the database was away.
    pub journal: Journal,
    /// What of it can't be stored.
    pub unread: Unread,
    /// Places of the messages under way, in their order of arrival.
    pub(super) turns: Turns,
    /// Messages that wait for the database fall out of its queue together.
    pub(super) fence: Arc<Fence>,
    /// Rung when something is in it.
    pub journal_bell: Notify,
    /// Texts about danger each leader has had.
    pub pager: Arc<Pager>,
    /// Counters.
    pub counters: Counters,
}

/// What came and what became of it.
pub struct Counters {
    /// Messages by channel and state.
    pub messages: IntCounterVec,
    /// Repeated messages, by channel.
    pub duplicates: IntCounterVec,
    /// Messages refused because all together were too many.
    pub floods: IntCounter,
    /// Messages the journal took for the database.
    pub journaled: IntCounter,
    /// Messages that report danger.
    pub red: IntCounter,
}

impl Counters {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let labelled = |name: &str, help: &str, labels: &[&str]| {
            let c = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(c.clone()))?;
            Ok::<_, prometheus::Error>(c)
        };
        let plain = |name: &str, help: &str| {
            let c = IntCounter::new(name, help)?;
            registry.register(Box::new(c.clone()))?;
            Ok::<_, prometheus::Error>(c)
        };
        Ok(Self {
            messages: labelled(
                "hotline_messages_total",
                "Messages taken, by channel and state",
                &["channel", "state"],
            )?,
            duplicates: labelled("hotline_messages_repeated_total", "Messages that came again", &["channel"])?,
            floods: plain("hotline_messages_flood_total", "Messages refused because all together were too many")?,
            journaled: plain("hotline_messages_journaled_total", "Messages the journal took for the database")?,
            red: plain("hotline_messages_red_total", "Messages that report danger")?,
        })
    }
}

impl Intake {
    /// With the site's limits, and what the journal still holds.
    pub fn new(config: &Config, registry: &Registry) -> anyhow::Result<Self> {
        let path = config.storage.data_dir.join("intake.journal");
        let bytes_max = config.intake.journal_mb.saturating_mul(1024 * 1024);
        let what = || format!("消息日志 / journal of messages {}", path.display());
        let journal = Journal::open(&path, bytes_max).with_context(what)?;
        let unread = Unread::open(&path.with_extension("unread"), bytes_max).with_context(what)?;
        Ok(Self {
            limits: Mutex::new(Limits::of(&config.intake)),
            bell: Notify::new(),
            journal,
            unread,
            turns: Turns::default(),
            fence: Arc::default(),
            journal_bell: Notify::new(),
            pager: Arc::new(Pager::new(config.intake.pages_hour)),
            counters: Counters::new(registry)?,
        })
    }

    /// The counts of this hour; held for a look and an addition only.
    pub fn limits(&self) -> MutexGuard<'_, Limits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Whether an engine is there now.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use crate::config::Config;
use crate::limits;

/// Is there an engine? Shared by all loops.
pub(super) struct Gate {
    cfg: Config,
    /// Not before this time: the engine turned a request away.
    shut_until: AtomicI64,
    looked_at: AtomicI64,
    open: AtomicBool,
}

impl Gate {
    pub(super) fn new(cfg: Config) -> Self {
        Self { cfg, shut_until: AtomicI64::new(0), looked_at: AtomicI64::new(i64::MIN), open: false.into() }
    }

    /// Looks at the model files at most every [`limits::MODEL_LOOK_MS`]. The
    /// second value is true where this call looked.
    pub(super) fn look(&self, now: i64) -> (bool, bool) {
        let due = i64::try_from(limits::MODEL_LOOK_MS).unwrap_or(i64::MAX);
        let last = self.looked_at.load(Ordering::Relaxed);
        let fresh = last.saturating_add(due) > now && last <= now;
        if fresh || self.looked_at.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return (self.open.load(Ordering::Relaxed), false);
        }
        let ready = self.cfg.ready();
        let open = ready.is_ok() && self.shut_until.load(Ordering::Relaxed) <= now;
        if let (Err(why), true) = (&ready, self.open.load(Ordering::Relaxed) || last == i64::MIN) {
            tracing::warn!(%why, "recordings wait for transcription");
        }
        self.open.store(open, Ordering::Relaxed);
        (open, true)
    }

    pub(super) fn shut(&self, now: i64) {
        self.shut_until.store(now + limits::ENGINE_PAUSE_MS, Ordering::Relaxed);
        self.open.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_looks_seldom_and_shuts_for_a_while() {
        let gate = Gate::new(Config { engine: crate::EngineKind::Fake, ..Config::default() });
        assert_eq!(gate.look(1_000), (true, true));
        assert_eq!(gate.look(1_500), (true, false));
        gate.shut(2_000);
        assert_eq!(gate.look(2_100), (false, false));
        assert_eq!(gate.look(15_000), (false, true));
        assert_eq!(gate.look(2_000 + limits::ENGINE_PAUSE_MS + 10_000), (true, true));
        // A clock that jumps back doesn't stop the looking.
        assert_eq!(gate.look(5), (false, true));
    }
}

//! The self-test in figures.

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

/// Runs by channel and outcome, and whether each channel works.
pub struct RobotMetrics {
    runs: IntCounterVec,
    up: IntGaugeVec,
    last_ms: IntGaugeVec,
}

impl RobotMetrics {
    pub(super) fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| {
            let vec = IntGaugeVec::new(Opts::new(name, help), &["channel"])?;
            r.register(Box::new(vec.clone()))?;
            Ok::<_, prometheus::Error>(vec)
        };
        let runs = IntCounterVec::new(
            Opts::new("hotline_robot_runs_total", "Self-tests by channel and outcome"),
            &["channel", "outcome"],
        )?;
        r.register(Box::new(runs.clone()))?;
        Ok(Self {
            runs,
            up: gauge("hotline_robot_up", "1 if the channel's last self-test came through")?,
            last_ms: gauge("hotline_robot_last_ms", "How long the channel's last self-test took")?,
        })
    }

    /// A test is over.
    pub fn ran(&self, channel: &str, ok: bool, ms: i64) {
        self.runs.with_label_values(&[channel, if ok { "ok" } else { "missed" }]).inc();
        self.up.with_label_values(&[channel]).set(i64::from(ok));
        self.last_ms.with_label_values(&[channel]).set(ms);
    }
}

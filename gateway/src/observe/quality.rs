//! How calls sound, over all of them: by role of the leg and direction, never by call.

use hotline_db::LegQuality;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

/// `leg` is a leg's role (`citizen`, `operator`, `third`, `guest`, `consult`), `direction` is `in` (what we hear) or `out` (what the peer hears).
pub struct QualityMetrics {
    mos: HistogramVec,
    jitter: HistogramVec,
    rtt: HistogramVec,
    received: IntCounterVec,
    lost: IntCounterVec,
    dropped: IntCounterVec,
    faults: IntCounterVec,
}

impl QualityMetrics {
    pub(super) fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        let both = ["leg", "direction"];
        let histogram = |name: &str, help: &str, labels: &[&str], buckets: &[f64]| {
            let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            let vec = HistogramVec::new(opts, labels)?;
            r.register(Box::new(vec.clone()))?;
            Ok::<_, prometheus::Error>(vec)
        };
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let vec = IntCounterVec::new(Opts::new(name, help), labels)?;
            r.register(Box::new(vec.clone()))?;
            Ok::<_, prometheus::Error>(vec)
        };
        Ok(Self {
            mos: histogram(
                "hotline_leg_mos",
                "Mean score (ITU-T G.107) of ended legs",
                &both,
                &[1.5, 2.0, 2.6, 3.1, 3.6, 3.8, 4.0, 4.1, 4.2, 4.3, 4.4, 4.5],
            )?,
            jitter: histogram(
                "hotline_leg_jitter_max_seconds",
                "Worst jitter of ended legs",
                &both,
                &[0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.06, 0.1, 0.2, 0.5],
            )?,
            rtt: histogram(
                "hotline_leg_rtt_seconds",
                "Last round trip of ended legs",
                &both[..1],
                &[0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0],
            )?,
            received: counter("hotline_leg_packets_received_total", "RTP packets taken on ended legs", &both[..1])?,
            lost: counter("hotline_leg_packets_lost_total", "RTP packets lost on ended legs", &both)?,
            dropped: counter(
                "hotline_leg_packets_dropped_total",
                "RTP packets of ended legs refused as late, doubled, foreign or malformed",
                &both[..1],
            )?,
            faults: counter("hotline_audio_faults_total", "Legs of calls that could not be heard", &["leg", "cause"])?,
        })
    }

    /// A leg has ended.
    pub fn leg(&self, leg: &LegQuality) {
        let role = leg.leg.as_str();
        let directions = [
            ("in", leg.mos_in, leg.jitter_in_max_ms, leg.lost_in),
            ("out", leg.mos_out, leg.jitter_out_max_ms, leg.lost_out),
        ];
        for (direction, mos, jitter_ms, lost) in directions {
            let labels = [role, direction];
            self.lost.with_label_values(&labels).inc_by(lost.unsigned_abs());
            // Without a score nothing was measured in this direction.
            if let Some(mos) = mos {
                self.mos.with_label_values(&labels).observe(mos);
                self.jitter.with_label_values(&labels).observe(seconds(jitter_ms));
            }
        }
        if let Some(rtt_ms) = leg.rtt_ms {
            self.rtt.with_label_values(&[role]).observe(seconds(rtt_ms));
        }
        self.received.with_label_values(&[role]).inc_by(leg.packets_in.unsigned_abs());
        self.dropped.with_label_values(&[role]).inc_by(leg.dropped.unsigned_abs());
    }

    /// Somebody can't be heard.
    pub fn fault(&self, leg: &str, cause: &str) {
        self.faults.with_label_values(&[leg, cause]).inc();
    }
}

#[allow(clippy::cast_precision_loss, reason = "a histogram of seconds")]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

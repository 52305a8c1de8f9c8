use std::sync::Arc;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};
use tracing::warn;

use super::SipCounters;
use super::mail::MailMetrics;
use super::quality::QualityMetrics;
use super::robot::RobotMetrics;
use crate::app::Services;
use crate::channels::sms::SmsMetrics;
use crate::clock::now_ms;
use crate::config::Config;

/// The outbox is counted so often.
const OUTBOX_EVERY: Duration = Duration::from_secs(10);

/// Everything `/metrics` shows. Names end in their unit.
pub struct Metrics {
    registry: Registry,
    /// Calls taken.
    pub calls_in: IntCounter,
    /// Calls placed.
    pub calls_out: IntCounter,
    /// Calls refused with an error status.
    pub calls_refused: IntCounter,
    /// Callers who reported danger.
    pub red_lane: IntCounter,
    /// Audio not stored because the disk was too slow.
    pub recording_gap_ms: IntCounter,
    /// Recordings that failed.
    pub recordings_failed: IntCounter,
    /// Wait from queue entry to an operator.
    pub queue_wait_seconds: Histogram,
    /// SIP messages by peer, method and status code.
    pub sip: SipCounters,
    /// How calls sound.
    pub quality: QualityMetrics,
    /// Mail, in and out.
    pub mail: MailMetrics,
    /// The self-test.
    pub robot: RobotMetrics,
    /// Calls to outside numbers allowed, by purpose.
    pub dialout_permitted: IntCounterVec,
    /// Calls to outside numbers refused, by purpose and reason.
    pub dialout_refused: IntCounterVec,
    /// Short messages by line.
    pub sms: SmsMetrics,
    /// Messages the HEP collector didn't get.
    pub hep_dropped: IntCounter,
    /// Alarms of the floor that began, by kind.
    pub alarms: IntCounterVec,
    /// Alarms of the floor that are on, by kind.
    pub alarms_on: IntGaugeVec,
    /// Work not acknowledged or not done in time.
    pub work_late: IntCounterVec,
    /// Pushes to the WeChat webhooks refused, by reason.
    pub wechat_refused: IntCounterVec,
    /// Texts handed to the WeChat platform, by way and outcome.
    pub wechat_sent: IntCounterVec,
    trace_bytes: IntGauge,
    traces_lost: IntGauge,
    sip_retransmissions: IntGauge,
    sip_auth_failures: IntGauge,
    sip_refused_overload: IntGauge,
    calls_live: IntGauge,
    outbox_pending: IntGauge,
    outbox_poisoned: IntGauge,
    outbox_oldest: IntGauge,
    sip_sessions: IntGauge,
    sip_transactions: IntGauge,
    sip_strangers: IntGauge,
    sip_parse_errors: IntGauge,
    sip_guard: SipGuard,
    rtp_in: IntGauge,
    rtp_out: IntGauge,
    rtp_foreign: IntGauge,
    rtp_late: IntGauge,
    rtp_other: IntGauge,
    rtp_malformed: IntGauge,
    srtp_refused: IntGauge,
    stun_refused: IntGauge,
    recordings_refused: IntGauge,
}

/// What the SIP side refused, and who is registered.
struct SipGuard {
    bindings: IntGauge,
    auth_paused: IntGauge,
    rate_limited: IntGauge,
    refused_banned: IntGauge,
    refused_tunnelled: IntGauge,
    bans: IntGauge,
}

impl SipGuard {
    fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        let of = |name: &str, help: &str| gauge(r, &format!("hotline_sip_{name}"), help);
        Ok(Self {
            bindings: of("bindings", "Contacts of registered phones")?,
            auth_paused: of("auth_paused", "Attempts dropped while their source or user had to wait, since start")?,
            rate_limited: of("rate_limited", "Messages dropped before parsing by a source's rate, since start")?,
            refused_banned: of("refused_banned", "Messages of banned sources dropped since start")?,
            refused_tunnelled: of(
                "refused_tunnelled",
                "Messages from phones at other gateways that are about no call of theirs, since start",
            )?,
            bans: of("bans", "Bans since start")?,
        })
    }

    fn set(&self, sip: &hotline_sip::Stats) {
        self.bindings.set(signed(sip.bindings as u64));
        self.auth_paused.set(signed(sip.auth_paused));
        self.rate_limited.set(signed(sip.rate_limited));
        self.refused_banned.set(signed(sip.refused_banned));
        self.refused_tunnelled.set(signed(sip.refused_tunnelled));
        self.bans.set(signed(sip.bans_total));
    }
}

impl Metrics {
    /// Where other parts register their own.
    #[must_use]
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// A registry of its own: several gateways fit in one process (tests).
    pub fn new(config: &Config) -> Result<Self, prometheus::Error> {
        let r = Registry::new();
        Ok(Self {
            calls_in: counter(&r, "hotline_calls_in_total", "Calls taken")?,
            calls_out: counter(&r, "hotline_calls_out_total", "Calls placed from a callback task")?,
            calls_refused: counter(&r, "hotline_calls_refused_total", "Calls refused with an error status")?,
            red_lane: counter(&r, "hotline_red_lane_total", "Callers who reported danger (key 7)")?,
            recording_gap_ms: counter(
                &r,
                "hotline_recording_gap_ms_total",
                "Audio lost because the disk was too slow",
            )?,
            recordings_failed: counter(&r, "hotline_recordings_failed_total", "Recordings that could not be kept")?,
            queue_wait_seconds: add(
                &r,
                Histogram::with_opts(
                    HistogramOpts::new("hotline_queue_wait_seconds", "From queue entry to an operator")
                        .buckets(vec![1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0]),
                )?,
            )?,
            sip: SipCounters::new(&r, config)?,
            quality: QualityMetrics::new(&r)?,
            mail: MailMetrics::new(&r)?,
            robot: RobotMetrics::new(&r)?,
            dialout_permitted: add(
                &r,
                IntCounterVec::new(
                    Opts::new("hotline_dialout_permitted_total", "Outside calls allowed"),
                    &["purpose"],
                )?,
            )?,
            dialout_refused: add(
                &r,
                IntCounterVec::new(
                    Opts::new("hotline_dialout_refused_total", "Outside calls refused"),
                    &["purpose", "reason"],
                )?,
            )?,
            sms: SmsMetrics::new(&r)?,
            hep_dropped: counter(&r, "hotline_hep_dropped_total", "SIP messages the HEP collector didn't get")?,
            alarms: add(
                &r,
                IntCounterVec::new(Opts::new("hotline_alarms_total", "Alarms of the floor that began"), &["alarm"])?,
            )?,
            alarms_on: add(
                &r,
                IntGaugeVec::new(Opts::new("hotline_alarms_on", "Alarms of the floor that are on"), &["alarm"])?,
            )?,
            work_late: add(
                &r,
                IntCounterVec::new(
                    Opts::new("hotline_work_late_total", "Work not acknowledged or done in time"),
                    &["what"],
                )?,
            )?,
            wechat_refused: add(
                &r,
                IntCounterVec::new(
                    Opts::new("hotline_wechat_refused_total", "Pushes to the WeChat webhooks refused"),
                    &["reason"],
                )?,
            )?,
            wechat_sent: add(
                &r,
                IntCounterVec::new(
                    Opts::new("hotline_wechat_sent_total", "Texts handed to the WeChat platform"),
                    &["way", "outcome"],
                )?,
            )?,
            trace_bytes: gauge(&r, "hotline_trace_bytes", "Memory held by the traces of running calls")?,
            traces_lost: gauge(&r, "hotline_traces_lost", "Traces of ended calls that could not be stored")?,
            sip_retransmissions: gauge(
                &r,
                "hotline_sip_retransmissions",
                "Messages repeated by our timers since start",
            )?,
            sip_auth_failures: gauge(
                &r,
                "hotline_sip_auth_failures",
                "Wrong or unknown digest credentials since start",
            )?,
            sip_refused_overload: gauge(
                &r,
                "hotline_sip_refused_overload",
                "INVITEs refused with 503 by the session limit or a drain since start",
            )?,
            calls_live: gauge(&r, "hotline_calls_live", "Calls going on")?,
            outbox_pending: gauge(&r, "hotline_outbox_pending", "Hand-offs the case core hasn't got yet")?,
            outbox_poisoned: gauge(&r, "hotline_outbox_poisoned", "Hand-offs set aside for a person")?,
            outbox_oldest: gauge(&r, "hotline_outbox_oldest_seconds", "Age of the oldest hand-off not yet delivered")?,
            sip_sessions: gauge(&r, "hotline_sip_sessions", "SIP sessions")?,
            sip_transactions: gauge(&r, "hotline_sip_transactions", "SIP transactions")?,
            sip_strangers: gauge(
                &r,
                "hotline_sip_refused_strangers",
                "Requests from addresses outside the lists since start",
            )?,
            sip_guard: SipGuard::new(&r)?,
            sip_parse_errors: gauge(&r, "hotline_sip_parse_errors", "Messages that were no SIP since start")?,
            rtp_in: gauge(&r, "hotline_rtp_packets_in", "RTP packets received since start")?,
            rtp_out: gauge(&r, "hotline_rtp_packets_out", "RTP packets sent since start")?,
            rtp_late: gauge(&r, "hotline_rtp_late", "RTP packets too late to be used since start")?,
            rtp_other: gauge(
                &r,
                "hotline_rtp_dropped_other",
                "RTP dropped since start: doubled, of unknown types or unproven streams",
            )?,
            rtp_foreign: gauge(&r, "hotline_rtp_dropped_foreign", "RTP from foreign sources dropped since start")?,
            recordings_refused: gauge(
                &r,
                "hotline_recordings_refused",
                "Recordings refused since start: the writer is behind",
            )?,
            rtp_malformed: gauge(&r, "hotline_rtp_malformed", "Malformed RTP dropped since start")?,
            srtp_refused: gauge(&r, "hotline_srtp_refused", "Unauthentic or replayed SRTP dropped since start")?,
            stun_refused: gauge(&r, "hotline_stun_refused", "Browsers' checks without our password since start")?,
            registry: r,
        })
    }

    /// Takes over what the outbox holds at `now` (epoch ms).
    pub fn outbox(&self, backlog: &hotline_db::HandoffBacklog, now: i64) {
        self.outbox_pending.set(backlog.pending);
        self.outbox_poisoned.set(backlog.poisoned);
        self.outbox_oldest.set(backlog.oldest_pending_at.map_or(0, |at| now.saturating_sub(at).max(0) / 1000));
    }

    /// Brings the gauges up to date and writes the Prometheus text format.
    #[must_use]
    pub fn render(
        &self,
        calls_live: usize,
        sip: &hotline_sip::Stats,
        media: &crate::net::media::MediaStats,
        (trace_bytes, traces_lost): (usize, u64),
    ) -> String {
        self.trace_bytes.set(signed(trace_bytes as u64));
        self.traces_lost.set(signed(traces_lost));
        self.sip_retransmissions.set(signed(sip.retransmissions));
        self.sip_auth_failures.set(signed(sip.auth_failures));
        self.sip_refused_overload.set(signed(sip.refused_overload));
        self.calls_live.set(signed(calls_live as u64));
        self.sip_sessions.set(signed(sip.sessions as u64));
        self.sip_transactions.set(signed(sip.transactions as u64));
        self.sip_strangers.set(signed(sip.refused_strangers));
        self.sip_parse_errors.set(signed(sip.parse_errors));
        self.sip_guard.set(sip);
        self.rtp_in.set(signed(media.packets_in));
        self.rtp_out.set(signed(media.packets_out));
        self.rtp_foreign.set(signed(media.dropped_foreign));
        self.rtp_late.set(signed(media.late));
        self.rtp_other.set(signed(media.dropped_other));
        self.recordings_refused.set(signed(media.recordings_refused));
        self.rtp_malformed.set(signed(media.malformed));
        self.srtp_refused.set(signed(media.srtp_refused));
        self.stun_refused.set(signed(media.stun_refused));
        let mut out = Vec::new();
        if TextEncoder::new().encode(&self.registry.gather(), &mut out).is_err() {
            return String::new();
        }
        String::from_utf8(out).unwrap_or_default()
    }
}

/// Keeps the outbox's gauges up to date until cancelled.
pub async fn follow_outbox(sv: Arc<Services>) {
    loop {
        match sv.store.handoff_backlog().await {
            Ok(backlog) => sv.metrics.outbox(&backlog, now_ms()),
            Err(e) => warn!(error = %e, "outbox not counted"),
        }
        tokio::select! {
            () = tokio::time::sleep(OUTBOX_EVERY) => {}
            () = sv.cancel.cancelled() => return,
        }
    }
}

fn add<C: Collector + Clone + 'static>(registry: &Registry, c: C) -> Result<C, prometheus::Error> {
    registry.register(Box::new(c.clone()))?;
    Ok(c)
}

fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    add(registry, IntCounter::new(name, help)?)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    add(registry, IntGauge::new(name, help)?)
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outbox_shows_what_waits_and_for_how_long() {
        let metrics = Metrics::new(&Config::default()).unwrap();
        let backlog = hotline_db::HandoffBacklog { pending: 3, poisoned: 1, oldest_pending_at: Some(10_000) };
        metrics.outbox(&backlog, 75_500);
        let text = metrics.render(0, &hotline_sip::Stats::default(), &crate::net::media::MediaStats::default(), (0, 0));
        for line in ["hotline_outbox_pending 3", "hotline_outbox_poisoned 1", "hotline_outbox_oldest_seconds 65"] {
            assert!(text.lines().any(|l| l == line), "{line}: {text}");
        }
    }
}

//! Figures of queues that several gateways share.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use prometheus::{IntGauge, Registry};
use tracing::warn;

use crate::app::Services;

/// The figures are read this often.
const EVERY: Duration = Duration::from_secs(1);

struct Gauges {
    term: IntGauge,
    leads: IntGauge,
    peers: IntGauge,
    links_ended: IntGauge,
    links_refused: IntGauge,
    misunderstood: IntGauge,
    dropped: IntGauge,
    lost: IntGauge,
    unanswered: IntGauge,
}

impl Gauges {
    fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        let of = |name: &str, help: &str| {
            let gauge = IntGauge::new(format!("hotline_cluster_{name}"), help)?;
            r.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        Ok(Self {
            term: of("leader_term", "Term of the queues' leader as known here; 0: nobody leads")?,
            leads: of("leads", "1: this gateway leads the queues")?,
            peers: of("peers", "Other gateways with a link")?,
            links_ended: of("links_ended", "Links that ended since start")?,
            links_refused: of("links_refused", "Links refused since start: a stranger, or a wrong secret")?,
            misunderstood: of("links_misunderstood", "Links cut over a word of another version, since start")?,
            dropped: of("frames_dropped", "Links cut for being behind, and SIP messages nobody took, since start")?,
            lost: of("gateways_lost", "Gateways this one declared lost since its start")?,
            unanswered: of("controls_unanswered", "Requests about calls another gateway didn't answer, since start")?,
        })
    }
}

/// Keeps them up to date until cancelled; none where this gateway is alone.
pub fn follow_cluster(sv: &Arc<Services>) {
    if sv.peers.is_none() {
        return;
    }
    match Gauges::new(sv.metrics.registry()) {
        Ok(gauges) => drop(tokio::spawn(follow(Arc::clone(sv), gauges))),
        Err(e) => warn!(error = %e, "metrics of the cluster"),
    }
}

async fn follow(sv: Arc<Services>, gauges: Gauges) {
    loop {
        if let (Some(figures), Some(peers)) = (sv.acd.figures(), &sv.peers) {
            let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
            gauges.term.set(figures.term);
            gauges.leads.set(figures.leads.into());
            gauges.lost.set(figures.lost);
            gauges.unanswered.set(count(sv.abroad.unanswered()));
            gauges.peers.set(count(peers.up().len() as u64));
            gauges.links_ended.set(count(peers.counts().ended.load(Ordering::Relaxed)));
            gauges.links_refused.set(count(peers.counts().refused.load(Ordering::Relaxed)));
            gauges.misunderstood.set(count(peers.counts().misunderstood.load(Ordering::Relaxed)));
            gauges.dropped.set(count(peers.counts().dropped.load(Ordering::Relaxed)));
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = sv.cancel.cancelled() => return,
        }
    }
}

//! Counters of the SMS lines for `/metrics`.

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

/// Everything counted by line. Names of lines come from the configuration: the label is bounded.
#[derive(Clone)]
pub struct SmsMetrics {
    received: IntCounterVec,
    repeated: IntCounterVec,
    sent: IntCounterVec,
    reports: IntCounterVec,
    warnings: IntCounterVec,
    connects: IntCounterVec,
    links: IntGaugeVec,
}

impl SmsMetrics {
    /// Registers them.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let made = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(made.clone()))?;
            Ok::<_, prometheus::Error>(made)
        };
        let links =
            IntGaugeVec::new(Opts::new("hotline_sms_links", "Connections to SMS carriers that work"), &["line"])?;
        registry.register(Box::new(links.clone()))?;
        Ok(Self {
            received: counter("hotline_sms_received_total", "Short messages and parts that came in", &["line"])?,
            repeated: counter("hotline_sms_repeated_total", "Messages a carrier delivered again", &["line"])?,
            sent: counter(
                "hotline_sms_sent_total",
                "Texts by what became of them at the carrier",
                &["line", "outcome"],
            )?,
            reports: counter("hotline_sms_reports_total", "Status reports by their state", &["line", "state"])?,
            warnings: counter("hotline_sms_warnings_total", "Odd things a carrier did", &["line", "kind"])?,
            connects: counter("hotline_sms_connects_total", "Connections tried, by outcome", &["line", "outcome"])?,
            links,
        })
    }

    /// A message or a part came in.
    pub fn received(&self, line: &str) {
        self.received.with_label_values(&[line]).inc();
    }

    /// A message came in that was there already.
    pub fn repeated(&self, line: &str) {
        self.repeated.with_label_values(&[line]).inc();
    }

    /// A text's outcome: `accepted`, `throttled`, `refused`, `not_sent`, `unknown`.
    pub fn sent(&self, line: &str, outcome: &str) {
        self.sent.with_label_values(&[line, outcome]).inc();
    }

    /// A report; `state` is one of the store's words.
    pub fn reported(&self, line: &str, state: &str) {
        self.reports.with_label_values(&[line, state]).inc();
    }

    /// Something odd; `kind` is one of a driver's fixed words.
    pub fn warned(&self, line: &str, kind: &str) {
        self.warnings.with_label_values(&[line, kind]).inc();
    }

    /// A connection was tried: `up`, `refused`, `unreachable`.
    pub fn connected(&self, line: &str, outcome: &str) {
        self.connects.with_label_values(&[line, outcome]).inc();
    }

    /// Connections that work now.
    pub fn links(&self, line: &str, links: usize) {
        self.links.with_label_values(&[line]).set(i64::try_from(links).unwrap_or(i64::MAX));
    }
}

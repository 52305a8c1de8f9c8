//! The mail channel in figures.

use std::sync::atomic::{AtomicBool, Ordering};

use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

/// What came, what left, and whether both ways are open.
pub struct MailMetrics {
    taken: IntCounterVec,
    sent: IntCounterVec,
    imap_up: IntGauge,
    smtp_up: IntGauge,
    reads: AtomicBool,
    sends: AtomicBool,
}

impl MailMetrics {
    pub(super) fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let vec = IntCounterVec::new(Opts::new(name, help), &["outcome"])?;
            r.register(Box::new(vec.clone()))?;
            Ok::<_, prometheus::Error>(vec)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            r.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        Ok(Self {
            taken: counter(
                "hotline_mail_in_total",
                "Mails by outcome: new, duplicate, automatic, aside (a person must look), hook_refused",
            )?,
            sent: counter("hotline_mail_out_total", "Outgoing mails by outcome: sent, retried, failed, held_back")?,
            imap_up: gauge("hotline_mail_imap_up", "1 while the mailbox is open")?,
            smtp_up: gauge("hotline_mail_smtp_up", "0 while the mail server can't be used")?,
            reads: AtomicBool::new(false),
            sends: AtomicBool::new(false),
        })
    }

    /// A mail came.
    pub fn taken(&self, outcome: &str) {
        self.taken.with_label_values(&[outcome]).inc();
    }

    /// A mail left, or didn't.
    pub fn sent(&self, outcome: &str) {
        self.sent.with_label_values(&[outcome]).inc();
    }

    /// The mailbox is open or not.
    pub fn imap(&self, up: bool) {
        self.reads.store(true, Ordering::Relaxed);
        self.imap_up.set(i64::from(up));
    }

    /// The server for outgoing mail can be used or not; whether that is news.
    pub fn smtp(&self, up: bool) -> bool {
        let known = self.sends.swap(true, Ordering::Relaxed);
        let before = self.smtp_up.get() == 1;
        self.smtp_up.set(i64::from(up));
        !known || before != up
    }

    /// What is wrong, for `/healthz`.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.reads.load(Ordering::Relaxed) && self.imap_up.get() == 0 {
            problems.push("mail: 收信邮箱未连接,见日志 / the mailbox is not open, see the log".into());
        }
        if self.sends.load(Ordering::Relaxed) && self.smtp_up.get() == 0 {
            problems
                .push("mail: 发信服务器不可用,见日志 / the server for outgoing mail can't be used, see the log".into());
        }
        problems
    }
}

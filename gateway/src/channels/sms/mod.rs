//! Short messages, whichever way a carrier speaks: a [`line::Line`] is one account at one carrier,
//! [`incoming`] leads to the door, [`outgoing`] sends what is owed.

use std::sync::Arc;

pub mod cmpp;
pub mod http;
pub mod incoming;
pub mod join;
pub mod line;
pub mod metrics;
pub mod order;
pub mod ordered;
pub mod outgoing;
pub mod parts;
pub mod report;
pub mod smpp;
pub mod text;

mod limits;

pub use line::Lines;
pub use metrics::SmsMetrics;

use crate::app::Services;
use crate::config::SmsKind;

/// Starts every line of the configuration; without one, nothing.
pub fn spawn(sv: &Arc<Services>) {
    let lines = &sv.config.sms.lines;
    if lines.is_empty() {
        return;
    }
    for line in lines {
        sv.metrics.sms.links(&line.name, 0);
        match line.kind {
            SmsKind::Cmpp => cmpp::link::spawn(sv, &line.name, &line.cmpp),
            SmsKind::Smpp => smpp::spawn(sv, &line.name, &line.smpp),
            SmsKind::Http => http::spawn(sv, &line.name, &line.http),
        }
    }
    tokio::spawn(outgoing::run(Arc::clone(sv)));
    tokio::spawn(incoming::sweep(Arc::clone(sv)));
}

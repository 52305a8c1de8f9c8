//! A phone's REFER and the subscription it opens (RFC 3515)

use crate::dialog::Dialog;
use crate::flow::Flow;
use std::time::Instant;

/// A transfer under way; it may outlive its session, for the phone may hang up first (RFC 5057 §4)
#[derive(Debug)]
pub(crate) struct Transfer {
    /// The REFER that waits for the driver
    pub(crate) refer: Option<u64>,
    /// Value of the NOTIFYs' `Event`
    pub(crate) event: String,
    /// The phone wants to be told (RFC 4488)
    pub(crate) is_reported: bool,
    /// When the driver's answer, or the end of the transfer, is overdue
    pub(crate) give_up_at: Instant,
    /// A NOTIFY waits for its answer: they go one by one, else a late one would be out of order
    pub(crate) is_notifying: bool,
    /// The newest status not told yet: (status line without version, `Subscription-State`)
    pub(crate) next: Option<(String, String)>,
    /// Its last status was told or waits in `next`
    pub(crate) is_over: bool,
    /// The way to the phone once its session is gone
    pub(crate) orphan: Option<Orphan>,
}

/// What of a session its transfer still needs
#[derive(Debug)]
pub(crate) struct Orphan {
    pub(crate) dialog: Dialog,
    pub(crate) flow: Flow,
    pub(crate) contact: String,
    pub(crate) credentials: Option<(String, String)>,
}

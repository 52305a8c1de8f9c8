//! A view of what passes: for traces, monitors and counters

use crate::flow::Flow;
use crate::message::Message;

/// Sees every message on its way, at the one place where both transports meet
///
/// Called with the endpoint at work: an implementation takes microseconds and waits for nothing.
pub trait Tap: Send {
    /// A whole, valid message came in; `is_served` when its source is a trunk, a phone network or has proved a
    /// trunk's password
    fn received(&mut self, flow: Flow, bytes: &[u8], message: &Message, is_served: bool);
    /// A message (or a keep-alive's CRLF) goes out, retransmissions included
    fn sent(&mut self, flow: Flow, bytes: &[u8]);
}

//! A browser phone comes back over a new WebSocket: its calls have gone on, and are reached over that one from now on

use super::Endpoint;
use crate::flow::Flow;
use crate::message::Uri;
use crate::registrar::Change;
use std::time::{Duration, Instant};

impl Endpoint {
    /// The sessions of a registered contact take its new flow, as a flow of RFC 5626 §5.3 takes over: only
    /// those of the same account whose peer named the same contact, for one account may have several phones
    pub(super) fn take_over_flows(&mut self, now: Instant, user: &str, flow: Flow, changes: &[Change]) {
        if !flow.transport.is_web() {
            return;
        }
        let hosts: Vec<String> =
            changes.iter().filter(|c| c.expires_s > 0).filter_map(|c| host_of(c.contact.as_bytes())).collect();
        let mut refreshed = Vec::new();
        for (id, session) in &mut self.sessions {
            let is_own = session.flow.transport.is_web() && session.account.as_deref() == Some(user);
            let is_meant = is_own && host_of(&session.dialog.target).is_some_and(|host| hosts.contains(&host));
            if !is_meant || session.flow == flow {
                continue;
            }
            session.flow = flow;
            // What was on its way over the old flow gets no answer any more.
            if session.reoffer_out.take_if(|reoffer| reoffer.is_refresh).is_some()
                && let Some(expiry) = &mut session.expiry
            {
                expiry.wait(now, Duration::from_secs(2));
                refreshed.push(*id);
            }
        }
        for id in refreshed {
            self.arm_session(id);
        }
    }
}

/// A browser's host is a random name under `.invalid`, its own for as long as the page lives (RFC 7118 §5.1)
fn host_of(uri: &[u8]) -> Option<String> {
    Uri::parse(uri).ok().map(|uri| uri.host.to_ascii_lowercase())
}

//! A phone comes back another way, a browser over a new WebSocket or any phone at another gateway: its calls have gone
//! on, and are reached over that one from now on

use super::Endpoint;
use crate::flow::Flow;
use crate::message::Uri;
use crate::session::Session;
use std::time::{Duration, Instant};

impl Endpoint {
    /// The sessions of registered contacts take their new flow, as a flow of RFC 5626 §5.3 takes over: only
    /// those of the same account whose peer named the same contact, for one account may have several phones
    pub(super) fn take_over_flows(&mut self, now: Instant, user: &str, flow: Flow, contacts: &[&String]) {
        // Any other phone is reached where it was, as long as its gateway is.
        let is_only = self.registrar.live(now, user).len() == 1;
        let mut refreshed = Vec::new();
        for (id, session) in &mut self.sessions {
            if session.flow == flow && !session.is_astray {
                continue;
            }
            let is_own = session.is_phone && session.account.as_deref() == Some(user);
            if !is_own || !contacts.iter().any(|contact| is_meant(session, flow, contact.as_bytes(), is_only)) {
                continue;
            }
            (session.flow, session.is_astray) = (flow, false);
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

/// Whether the phone that registered `contact` over `flow` is the peer of this session, now reached that way
fn is_meant(session: &Session, flow: Flow, contact: &[u8], is_only: bool) -> bool {
    if session.flow.transport.is_web() || flow.transport.is_web() {
        let is_web = session.flow.transport.is_web() && flow.transport.is_web();
        return is_web && host_of(contact).is_some_and(|host| host_of(&session.dialog.target) == Some(host));
    }
    let has_moved = session.is_astray || session.flow.node != flow.node;
    has_moved && (is_only || address_of(contact).is_some_and(|own| address_of(&session.dialog.target) == Some(own)))
}

/// A browser's host is a random name under `.invalid`, its own for as long as the page lives (RFC 7118 §5.1)
fn host_of(uri: &[u8]) -> Option<String> {
    Uri::parse(uri).ok().map(|uri| uri.host.to_ascii_lowercase())
}

fn address_of(uri: &[u8]) -> Option<(String, Option<u16>)> {
    Uri::parse(uri).ok().map(|uri| (uri.host.to_ascii_lowercase(), uri.port))
}

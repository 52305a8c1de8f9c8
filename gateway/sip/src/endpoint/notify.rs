//! NOTIFYs about a transfer (RFC 3515 §2.4.5), and the subscription they belong to

use super::Endpoint;
use super::client_tx::{Order, Owner};
use crate::dialog::next_hop;
use crate::event::SessionId;
use crate::flow::Flow;
use crate::message::{HeaderName, Message, Method, reason_phrase};
use crate::session::Orphan;
use std::time::Instant;

impl Endpoint {
    /// Notes a status and sends it as soon as the last NOTIFY is answered
    pub(super) fn tell_transfer(
        &mut self,
        now: Instant,
        id: SessionId,
        code: u16,
        reason: &str,
        ending: Option<&'static str>,
    ) {
        let Some(transfer) = self.transfers.get_mut(&id).filter(|t| !t.is_over) else {
            return;
        };
        let reason = if reason.is_empty() { reason_phrase(code) } else { reason };
        let left = transfer.give_up_at.saturating_duration_since(now).as_secs().max(1);
        let state = match ending {
            None => format!("active;expires={left}"),
            Some(why) => format!("terminated;reason={why}"),
        };
        transfer.is_over = ending.is_some();
        transfer.next = Some((format!("{code} {reason}"), state));
        if transfer.is_over && !transfer.is_reported {
            return self.remove_transfer(id);
        }
        self.arm_transfer(id);
        self.send_notify(now, id);
    }

    fn send_notify(&mut self, now: Instant, id: SessionId) {
        let Some(transfer) = self.transfers.get_mut(&id).filter(|t| t.is_reported && !t.is_notifying) else {
            return;
        };
        let Some((status, state)) = transfer.next.take() else {
            return;
        };
        let (dialog, flow, contact, credentials) = match (self.sessions.get_mut(&id), &mut transfer.orphan) {
            (Some(s), _) => (&mut s.dialog, s.flow, &s.contact, &s.credentials),
            (None, Some(o)) => (&mut o.dialog, o.flow, &o.contact, &o.credentials),
            (None, None) => return self.remove_transfer(id),
        };
        let mut notify = dialog.request(Method::Notify);
        notify.contact = Some(contact.clone());
        notify.headers.push(("Event".to_owned(), transfer.event.clone()));
        notify.headers.push(("Subscription-State".to_owned(), state));
        notify.sdp = format!("SIP/2.0 {status}\r\n").into_bytes();
        transfer.is_notifying = true;
        // Only phones may REFER, and a phone is reached over its own flow.
        let flow = next_hop(&dialog.next_hop_uri(), flow, true);
        let (credentials, local_tag) = (credentials.clone(), dialog.local_tag.clone());
        self.open_client(
            now,
            notify,
            Order { flow, owner: Owner::Notify(id), credentials, local_tag, try_count: 0, is_phone: false },
        );
    }

    pub(super) fn notify_response(&mut self, now: Instant, tx: u64, id: SessionId, message: &Message) {
        let code = message.code();
        if code >= 200 && self.answer_challenge(now, tx, message).is_none() {
            self.notify_done(now, id, code < 300);
        }
    }

    /// A NOTIFY was answered, or never will be: a refusal ends the subscription (RFC 6665 §4.2.2)
    pub(super) fn notify_done(&mut self, now: Instant, id: SessionId, is_taken: bool) {
        let Some(transfer) = self.transfers.get_mut(&id) else {
            return;
        };
        transfer.is_notifying = false;
        if !is_taken {
            transfer.is_reported = false;
        }
        if transfer.is_over && (transfer.next.is_none() || !transfer.is_reported) {
            return self.remove_transfer(id);
        }
        self.send_notify(now, id);
    }

    /// A SUBSCRIBE inside a dialog can only be about the phone's own transfer (RFC 3515 §2.4.4)
    pub(super) fn receive_subscribe(&mut self, now: Instant, flow: Flow, id: SessionId, message: Message) {
        let event = message.header(HeaderName::Event).unwrap_or(b"");
        let is_refer = crate::message::trim(event.split(|b| *b == b';').next().unwrap_or(b"")) == b"refer";
        let is_end = message.number(HeaderName::Expires) == Some(0);
        let running = self.transfers.get(&id).filter(|t| is_refer && t.is_reported && t.refer.is_none() && !t.is_over);
        let left = running.map(|t| t.give_up_at.saturating_duration_since(now).as_secs());
        let contact = self.sessions.get(&id).map(|s| s.contact.clone()).unwrap_or_default();
        let Some(tx) = self.open_server(now, flow, message, None) else {
            return;
        };
        let Some(left) = left else {
            let (code, headers) = if is_refer { (481, &[][..]) } else { (489, &[("Allow-Events", "refer")][..]) };
            self.respond(now, tx, code, "", headers, b"");
            return;
        };
        let expires = if is_end { 0 } else { left }.to_string();
        self.respond(now, tx, 200, "", &[("Expires", &expires), ("Contact", &contact)], b"");
        if is_end {
            // Told no more; the transfer itself goes on.
            self.tell_transfer(now, id, 100, "", Some("timeout"));
        }
    }

    /// A session goes; what its transfer needs stays
    pub(super) fn orphan_transfer(&mut self, id: SessionId, orphan: Orphan) {
        if let Some(transfer) = self.transfers.get_mut(&id) {
            transfer.orphan = Some(orphan);
        }
    }
}

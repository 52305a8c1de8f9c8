//! Requests of ours outside any dialog: REGISTER with a carrier (RFC 3261 §10.2), OPTIONS as a sign of life

use super::client_tx::{Order, Owner};
use super::{AskError, Endpoint, is_sips};
use crate::config::{Ask, AskMethod};
use crate::dialog::Outgoing;
use crate::event::{AskId, Event, Reply};
use crate::flow::Flow;
use crate::message::{HeaderName, Message, Method, NameAddr, Uri, reason_phrase};
use std::time::Instant;

impl Endpoint {
    /// Sends a request; its one final answer comes as [`Event::Replied`], at the latest after 64·T1
    ///
    /// A 401 or 407 is answered once with the credentials before it is told.
    ///
    /// # Errors
    /// [`AskError`]; then nothing was sent.
    pub fn ask(&mut self, now: Instant, ask: Ask) -> Result<AskId, AskError> {
        if !self.has_client_room() {
            return Err(AskError::Busy);
        }
        let is_uri = |text: &str| Uri::parse(text.as_bytes()).is_ok_and(|uri| uri.is_sip());
        if !is_uri(&ask.uri) || !is_uri(&ask.from) || !is_uri(&ask.to) {
            return Err(AskError::BadUri);
        }
        let flow = Flow { transport: ask.transport, local: ask.local, remote: ask.remote, conn: None, node: None };
        let local_tag = self.random.token();
        let contact = self.contact(flow, &ask.user, is_sips(ask.uri.as_bytes()));
        let (method, headers, contact) = match ask.method {
            AskMethod::Options => {
                (Method::Options, vec![("Accept".to_owned(), "application/sdp".to_owned())], Some(contact))
            }
            AskMethod::Register { expires_s } => {
                (Method::Register, vec![("Expires".to_owned(), expires_s.to_string())], Some(contact))
            }
        };
        let call_id = match ask.call_id {
            Some(call_id) => call_id,
            None => format!("{}{}", self.random.token(), self.random.token()),
        };
        let request = Outgoing {
            method,
            uri: ask.uri.into_bytes(),
            routes: Vec::new(),
            from: format!("<{}>;tag={local_tag}", ask.from).into_bytes(),
            to: format!("<{}>", ask.to).into_bytes(),
            call_id: call_id.into_bytes(),
            cseq: ask.cseq,
            contact,
            headers,
            auth: None,
            sdp: Vec::new(),
        };
        let id = AskId(self.next_id());
        let order = Order {
            flow,
            owner: Owner::Ask(id),
            credentials: ask.credentials,
            local_tag,
            try_count: 0,
            is_phone: false,
        };
        self.open_client(now, request, order);
        Ok(id)
    }

    pub(super) fn ask_response(&mut self, now: Instant, tx: u64, id: AskId, message: &Message) {
        if message.code() < 200 || self.answer_challenge(now, tx, message).is_some() {
            return;
        }
        let contact = self.clients.get(&tx).and_then(|tx| tx.request.contact.clone());
        let reply = Reply {
            code: message.code(),
            reason: String::from_utf8_lossy(message.reason()).into_owned(),
            cseq: message.cseq(),
            expires_s: granted(message, contact.as_deref().unwrap_or_default()),
            min_expires_s: message.header_named("Min-Expires").and_then(leading_number),
            retry_after_s: retry_after(message),
            is_local: false,
        };
        self.emit(Event::Replied { id, reply });
    }

    /// No answer will come (408), or the message could not be sent (503)
    pub(super) fn ask_failed(&mut self, id: AskId, cseq: u32, code: u16) {
        let reason = reason_phrase(code).to_owned();
        let reply = Reply { code, reason, cseq, is_local: true, ..Reply::default() };
        self.emit(Event::Replied { id, reply });
    }
}

/// Seconds of a `Retry-After` (RFC 3261 §20.33), comment and parameters left out
pub(super) fn retry_after(message: &Message) -> Option<u32> {
    message.header(HeaderName::RetryAfter).and_then(leading_number)
}

fn leading_number(value: &[u8]) -> Option<u32> {
    let end = value.iter().position(|b| !b.is_ascii_digit()).unwrap_or(value.len());
    // A number too large for 32 bits means "very long".
    let text = std::str::from_utf8(&value[..end]).ok().filter(|t| !t.is_empty())?;
    Some(text.parse().unwrap_or(u32::MAX))
}

/// How long a 2xx keeps our contact (RFC 3261 §10.2.4): its own `expires`, else the header field
fn granted(message: &Message, ours: &str) -> Option<u32> {
    let ours = NameAddr::parse(ours.as_bytes())?.parsed_uri()?;
    let is_ours = |uri: &Uri<'_>| {
        uri.user == ours.user
            && uri.host.eq_ignore_ascii_case(ours.host)
            && uri.port.unwrap_or(0) == ours.port.unwrap_or(0)
    };
    let contacts = || message.elements(HeaderName::Contact).filter_map(NameAddr::parse);
    let own = contacts().find(|c| c.parsed_uri().is_some_and(|uri| is_ours(&uri)));
    // Some registrars write our contact as they see it, behind a NAT: the only one is ours.
    let own = own.or_else(|| contacts().next().filter(|_| contacts().count() == 1));
    let of_contact = own.and_then(|c| c.param("expires")).and_then(leading_number);
    of_contact.or_else(|| message.header(HeaderName::Expires).and_then(leading_number))
}

//! Placing a call

use super::client_tx::{Order, Owner};
use super::{DialError, Endpoint, escape_user, is_sips};
use crate::config::{Dial, Target};
use crate::dialog::{Dialog, Outgoing};
use crate::event::SessionId;
use crate::flow::Flow;
use crate::limits;
use crate::message::{Method, Uri, quote};
use crate::session::{Session, State};
use std::time::{Duration, Instant};

impl Endpoint {
    /// Sends an INVITE; what becomes of it comes as events
    ///
    /// # Errors
    /// [`DialError`]; then nothing was sent.
    pub fn dial(&mut self, now: Instant, dial: Dial) -> Result<SessionId, DialError> {
        if dial.sdp.len() > limits::SDP_BYTES_MAX {
            return Err(DialError::SdpTooLong);
        }
        let is_name = |name: &str| !name.is_empty() && name.bytes().all(crate::message::is_token_byte);
        if dial.extra_headers.len() > limits::EXTRA_HEADER_COUNT_MAX
            || !dial.extra_headers.iter().all(|(n, _)| is_name(n))
        {
            return Err(DialError::BadHeaders);
        }
        if self.sessions.len() >= self.config.session_count_max || !self.has_client_room() {
            return Err(DialError::TooManySessions);
        }
        let (uri, flow, account) = self.resolve(now, &dial.target)?;
        let is_phone = account.is_some();
        let to = dial.to.as_deref().unwrap_or(&uri);
        if Uri::parse(uri.as_bytes()).is_err() || Uri::parse(to.as_bytes()).is_err() {
            return Err(DialError::BadUri);
        }
        let local_tag = if is_phone { self.phone_tag() } else { self.random.token() };
        let contact = self.contact(flow, &dial.from, is_sips(uri.as_bytes()));
        let from = self.caller_value(flow, &dial, &local_tag, is_sips(uri.as_bytes())).into_bytes();
        let mut headers = dial.extra_headers;
        headers.extend(self.timer_request(None));
        let local_sdp = dial.sdp.clone();
        let request = Outgoing {
            method: Method::Invite,
            routes: Vec::new(),
            from,
            to: format!("<{to}>").into_bytes(),
            call_id: format!("{}{}", self.random.token(), self.random.token()).into_bytes(),
            cseq: 1,
            contact: Some(contact.clone()),
            headers,
            auth: None,
            sdp: dial.sdp,
            uri: uri.into_bytes(),
        };
        let id = SessionId(self.next_id());
        let dialog = Dialog { call_id: request.call_id.clone(), local_tag: local_tag.clone(), ..Dialog::default() };
        let had_offer = !request.sdp.is_empty();
        let credentials = dial.credentials;
        let order =
            Order { flow, owner: Owner::Dial(id), credentials: credentials.clone(), local_tag, try_count: 0, is_phone };
        let invite = self.open_client(now, request, order);
        let session = Session {
            is_phone,
            account,
            credentials,
            ring_until: Some(now + Duration::from_millis(dial.ring_timeout_ms)),
            first_response_until: dial.first_response_ms.map(|ms| now + Duration::from_millis(ms)),
            local_sdp,
            had_offer,
            ..Session::new(State::Dialing { invite }, dialog, flow, contact)
        };
        self.add_session(id, session);
        Ok(id)
    }

    /// Request-URI, flow, and the account if it is a phone
    fn resolve(&self, now: Instant, target: &Target) -> Result<(String, Flow, Option<String>), DialError> {
        match target {
            Target::Binding { user } => {
                let newest = self.bindings(now, user).into_iter().next().filter(|newest| self.can_ring(newest));
                let newest = newest.ok_or(DialError::NotRegistered)?;
                // Header fields of a contact have no place in a Request-URI (RFC 3261 §19.1.1).
                let host = newest.contact.find('@').unwrap_or(0);
                let end = newest.contact[host..].find('?').map_or(newest.contact.len(), |at| host + at);
                Ok((newest.contact[..end].to_owned(), newest.flow, Some(user.clone())))
            }
            Target::Uri { uri, transport, remote, local } => {
                let flow = Flow { transport: *transport, local: *local, remote: *remote, conn: None, node: None };
                Ok((uri.clone(), flow, None))
            }
        }
    }

    fn caller_value(&self, flow: Flow, dial: &Dial, tag: &str, secure: bool) -> String {
        let display = dial.display.as_deref().map(|d| quote(d) + " ").unwrap_or_default();
        let user = escape_user(&dial.from);
        let at = if user.is_empty() { "" } else { "@" };
        let host = match self.advertised(flow).ip() {
            std::net::IpAddr::V4(ip) => ip.to_string(),
            std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        };
        let scheme = if secure { "sips" } else { "sip" };
        format!("{display}<{scheme}:{user}{at}{host}>;tag={tag}")
    }
}

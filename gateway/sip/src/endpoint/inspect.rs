//! Requests that nobody could serve, whoever sent them (RFC 3261 §8.2)

use super::Endpoint;
use crate::flow::Flow;
use crate::message::{Message, Uri};

impl Endpoint {
    /// Answers a request whose Request-URI can't be ours (RFC 3261 §8.2.2.1); true if it did
    pub(super) fn refuse_uri(&mut self, flow: Flow, message: &Message) -> bool {
        let code = match Uri::parse(message.uri()) {
            // Header fields have no place in a Request-URI (RFC 3261 §19.1.1).
            Ok(uri) if uri.is_sip() && !uri.headers.is_empty() => 400,
            Ok(uri) if uri.is_sip() || uri.is_tel() => return false,
            Ok(_) => 416,
            Err(_) => 400,
        };
        self.reply(flow, message, code, "", &[]);
        true
    }

    /// Answers an INVITE that takes no session description back (RFC 4475 §3.3.15); true if it did
    pub(super) fn refuse_accept(&mut self, flow: Flow, message: &Message) -> bool {
        let mut types = message.fields().filter(|(name, _)| name.eq_ignore_ascii_case(b"accept")).peekable();
        if types.peek().is_none() {
            return false;
        }
        let takes_sdp = |value: &[u8]| {
            let value = value.split(|b| *b == b';').next().unwrap_or(b"").to_ascii_lowercase();
            matches!(value.trim_ascii(), b"application/sdp" | b"application/*" | b"*/*" | b"multipart/mixed")
        };
        if types.any(|(_, value)| crate::message::split_list(value).any(takes_sdp)) {
            return false;
        }
        self.reply(flow, message, 406, "", &[]);
        true
    }
}

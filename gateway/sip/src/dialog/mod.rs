//! Dialogs (RFC 3261 §12) and the requests made in and outside them

mod next_hop;
mod outgoing;

pub(crate) use next_hop::next_hop;
pub(crate) use outgoing::{ALLOW, Outgoing, SUPPORTED};

use crate::limits;
use crate::message::{HeaderName, Message, Method, NameAddr};

/// Both sides' names for a call, and the way to the peer
#[derive(Clone, Debug, Default)]
pub(crate) struct Dialog {
    pub(crate) call_id: Vec<u8>,
    pub(crate) local_tag: String,
    pub(crate) remote_tag: Vec<u8>,
    /// Our `From` value, tag included
    pub(crate) local: Vec<u8>,
    /// Our `To` value, tag included
    pub(crate) remote: Vec<u8>,
    /// The peer's Contact URI
    pub(crate) target: Vec<u8>,
    /// Route values, nearest first
    pub(crate) routes: Vec<Vec<u8>>,
    pub(crate) local_cseq: u32,
    pub(crate) remote_cseq: Option<u32>,
}

impl Dialog {
    /// The dialog an INVITE opens towards us (RFC 3261 §12.1.1)
    pub(crate) fn of_invite(invite: &Message, local_tag: String) -> Self {
        let mut local = invite.header(HeaderName::To).unwrap_or(b"").to_vec();
        local.extend_from_slice(b";tag=");
        local.extend_from_slice(local_tag.as_bytes());
        let from = invite.from();
        let contact = invite.contact().map(|c| c.uri);
        Self {
            call_id: invite.call_id().to_vec(),
            local_tag,
            remote_tag: invite.from_tag().to_vec(),
            local,
            remote: invite.header(HeaderName::From).unwrap_or(b"").to_vec(),
            target: contact.or(from.map(|f| f.uri)).unwrap_or(b"").to_vec(),
            routes: record_routes(invite),
            local_cseq: 0,
            remote_cseq: Some(invite.cseq()),
        }
    }

    /// The dialog a 2xx to our INVITE opens (RFC 3261 §12.1.2)
    pub(crate) fn of_answer(request: &Outgoing, local_tag: String, answer: &Message) -> Self {
        let mut routes = record_routes(answer);
        routes.reverse();
        Self {
            call_id: request.call_id.clone(),
            local_tag,
            remote_tag: answer.to_tag().to_vec(),
            local: request.from.clone(),
            remote: answer.header(HeaderName::To).unwrap_or(b"").to_vec(),
            target: answer.contact().map_or_else(|| request.uri.clone(), |c| c.uri.to_vec()),
            routes,
            local_cseq: request.cseq,
            remote_cseq: None,
        }
    }

    /// The next request; an ACK takes its INVITE's number instead of a new one
    pub(crate) fn request(&mut self, method: Method) -> Outgoing {
        if method != Method::Ack {
            self.local_cseq += 1;
        }
        let (uri, routes) = self.way();
        Outgoing {
            method,
            uri,
            routes,
            from: self.local.clone(),
            to: self.remote.clone(),
            call_id: self.call_id.clone(),
            cseq: self.local_cseq,
            contact: None,
            headers: Vec::new(),
            auth: None,
            sdp: Vec::new(),
        }
    }

    // RFC 3261 §12.2.1.1: a strict router wants itself in the Request-URI.
    fn way(&self) -> (Vec<u8>, Vec<Vec<u8>>) {
        let first = self.routes.first().and_then(|r| NameAddr::parse(r));
        match first {
            Some(first) if first.parsed_uri().is_some_and(|uri| uri.param("lr").is_none()) => {
                let mut routes = self.routes[1..].to_vec();
                routes.push([b"<", &self.target[..], b">"].concat());
                (first.uri.to_vec(), routes)
            }
            _ => (self.target.clone(), self.routes.clone()),
        }
    }

    /// The URI whose address gets the next request
    pub(crate) fn next_hop_uri(&self) -> Vec<u8> {
        let first = self.routes.first().and_then(|r| NameAddr::parse(r)).map(|r| r.uri.to_vec());
        first.unwrap_or_else(|| self.target.clone())
    }

    /// Takes a new Contact of the peer (target refresh)
    pub(crate) fn refresh(&mut self, message: &Message) {
        if let Some(contact) = message.contact() {
            self.target = contact.uri.to_vec();
        }
    }
}

fn record_routes(message: &Message) -> Vec<Vec<u8>> {
    message.elements(HeaderName::RecordRoute).take(limits::ROUTE_COUNT_MAX).map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &str = "INVITE sip:12319@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.2;branch=z9hG4bK1\r\n\
        From: <sip:138@10.0.0.2>;tag=a\r\nTo: <sip:12319@10.0.0.1>\r\nCall-ID: x1\r\nCSeq: 7 INVITE\r\n\
        Contact: <sip:138@10.0.0.3:5066>\r\nRecord-Route: <sip:10.0.0.4;lr>, <sip:10.0.0.5;lr>\r\n\r\n";

    #[test]
    fn a_called_dialog_keeps_the_route_order() {
        let mut dialog = Dialog::of_invite(&Message::parse(INVITE.as_bytes()).unwrap(), "t".into());
        let bye = dialog.request(Method::Bye);
        assert_eq!(bye.uri, b"sip:138@10.0.0.3:5066");
        assert_eq!(bye.routes, [&b"<sip:10.0.0.4;lr>"[..], b"<sip:10.0.0.5;lr>"]);
        assert_eq!((bye.cseq, dialog.remote_cseq), (1, Some(7)));
        assert_eq!(dialog.next_hop_uri(), b"sip:10.0.0.4;lr");
    }

    #[test]
    fn a_strict_router_goes_into_the_request_uri() {
        let text = INVITE.replace("10.0.0.4;lr", "10.0.0.4");
        let mut dialog = Dialog::of_invite(&Message::parse(text.as_bytes()).unwrap(), "t".into());
        let bye = dialog.request(Method::Bye);
        assert_eq!(bye.uri, b"sip:10.0.0.4");
        assert_eq!(bye.routes, [&b"<sip:10.0.0.5;lr>"[..], b"<sip:138@10.0.0.3:5066>"]);
    }
}

//! The state of one dialog (RFC 3261 §12) and the requests built from it.

use std::net::SocketAddr;

use super::agent::{Agent, Inbound};
use super::message::{Message, uri_of};
use super::sdp::{Direction, Sdp};

/// What both sides agreed on.
pub(super) struct Dialog {
    pub(super) call_id: String,
    /// Our From (UAC) or To (UAS) value, with tag.
    pub(super) local: String,
    /// Theirs, with tag as soon as it is known.
    pub(super) remote: String,
    /// Their Contact's URI.
    pub(super) target: String,
    pub(super) routes: Vec<String>,
    /// Where the INVITE went or came from.
    pub(super) peer: SocketAddr,
    pub(super) sequence: u32,
    /// The INVITE that opened the dialog.
    pub(super) invite: Inbound,
    pub(super) answer: Option<Message>,
    pub(super) remote_sdp: Option<Sdp>,
    pub(super) direction: Direction,
    pub(super) sdp_version: u64,
}

impl Dialog {
    /// A request inside the dialog with the next CSeq.
    pub(super) fn request(&mut self, agent: &Agent, method: &str) -> Message {
        self.sequence += 1;
        self.build(agent, method, self.sequence)
    }

    /// The ACK of a 2xx: CSeq of the INVITE, a transaction of its own (§13.2.2.4).
    pub(super) fn ack(&self, agent: &Agent, cseq: u32) -> Message {
        self.build(agent, "ACK", cseq)
    }

    fn build(&self, agent: &Agent, method: &str, cseq: u32) -> Message {
        let mut message = Message::request(method, &self.target)
            .with("Via", agent.via())
            .with("Max-Forwards", "70")
            .with("From", &self.local)
            .with("To", &self.remote)
            .with("Call-ID", &self.call_id)
            .with("CSeq", format!("{cseq} {method}"))
            .with("Contact", agent.contact());
        for route in &self.routes {
            message = message.with("Route", route);
        }
        message
    }

    /// Next hop: the first route, else the remote target, when they are addresses.
    pub(super) fn next_hop(&self) -> SocketAddr {
        let uri = self.routes.first().map_or(self.target.as_str(), |route| uri_of(route));
        address_of(uri).unwrap_or(self.peer)
    }

    /// Takes over what a dialog-creating response of the other side says.
    pub(super) fn learn_from_response(&mut self, response: &Message) {
        if let Some(to) = response.header("To") {
            self.remote = to.to_owned();
        }
        if let Some(contact) = response.header("Contact") {
            self.target = uri_of(contact).to_owned();
        }
        // §12.1.2: a UAC's route set is the Record-Route reversed.
        self.routes = record_routes(response);
        self.routes.reverse();
    }
}

/// All values of Record-Route, commas split.
pub(super) fn record_routes(message: &Message) -> Vec<String> {
    let values = message.headers_named("Record-Route");
    values.flat_map(|v| v.split(',')).map(|v| v.trim().to_owned()).collect()
}

/// The socket address in a SIP URI with a literal address; the port defaults to 5060.
pub(super) fn address_of(uri: &str) -> Option<SocketAddr> {
    let rest = uri.split_once(':')?.1;
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let host = host.split([';', '?']).next()?;
    host.parse().ok().or_else(|| {
        let ip = host.trim_matches(['[', ']']).parse().ok()?;
        Some(SocketAddr::new(ip, 5_060))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literal_addresses_in_uris_are_found() {
        let found = |uri| address_of(uri).map(|a| a.to_string());
        assert_eq!(found("sip:8001@127.0.0.1:5070;ob").as_deref(), Some("127.0.0.1:5070"));
        assert_eq!(found("sip:127.0.0.1").as_deref(), Some("127.0.0.1:5060"));
        assert_eq!(found("sip:a@[::1]:5070").as_deref(), Some("[::1]:5070"));
        assert_eq!(found("sip:a@[::1]").as_deref(), Some("[::1]:5060"));
        assert_eq!(found("sip:a@example.org"), None);
    }
}

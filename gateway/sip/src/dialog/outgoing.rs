//! A request of ours before it becomes bytes

use crate::message::{Method, Writer};

/// What a request says, so that its ACK, CANCEL or authenticated repetition can be made from it
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) uri: Vec<u8>,
    pub(crate) routes: Vec<Vec<u8>>,
    pub(crate) from: Vec<u8>,
    pub(crate) to: Vec<u8>,
    pub(crate) call_id: Vec<u8>,
    pub(crate) cseq: u32,
    pub(crate) contact: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    /// Answer to a challenge: (header name, value)
    pub(crate) auth: Option<(String, String)>,
    /// The body: SDP, or a NOTIFY's status line
    pub(crate) sdp: Vec<u8>,
}

/// Methods we serve
pub(crate) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK, REFER, SUBSCRIBE, REGISTER";

/// Option tags of the extensions we support
pub(crate) const SUPPORTED: &str = "100rel, timer, replaces, norefersub";

impl Outgoing {
    /// The bytes; `via` is the whole `Via` value
    pub(crate) fn render(&self, via: &str, user_agent: &str) -> Vec<u8> {
        let mut writer = Writer::request(self.method, &self.uri);
        writer.header("Via", via).header("Max-Forwards", "70");
        for route in &self.routes {
            writer.header("Route", route);
        }
        writer.header("From", &self.from).header("To", &self.to).header("Call-ID", &self.call_id);
        writer.header("CSeq", format!("{} {}", self.cseq, self.method.text()));
        if let Some(contact) = &self.contact {
            writer.header("Contact", contact);
        }
        if let Some((name, value)) = &self.auth {
            writer.header(name, value);
        }
        for (name, value) in &self.headers {
            writer.header(name, value);
        }
        if matches!(self.method, Method::Invite | Method::Update) {
            writer.header("Allow", ALLOW).header("Supported", SUPPORTED);
        }
        if !matches!(self.method, Method::Ack | Method::Cancel) {
            writer.header("User-Agent", user_agent);
        }
        let body_type = if self.method == Method::Notify { "message/sipfrag;version=2.0" } else { "application/sdp" };
        writer.finish(Some((body_type, &self.sdp)))
    }

    fn follower(&self, method: Method) -> Self {
        Self { method, contact: None, headers: Vec::new(), sdp: Vec::new(), ..self.clone() }
    }

    /// The ACK of a non-2xx: all of the INVITE, but the response's `To` (RFC 3261 §17.1.1.3)
    pub(crate) fn ack_of_error(&self, to: &[u8]) -> Self {
        Self { to: to.to_vec(), auth: None, ..self.follower(Method::Ack) }
    }

    /// The ACK of a 2xx to a re-INVITE
    pub(crate) fn ack_in_dialog(&self) -> Self {
        self.follower(Method::Ack)
    }

    /// The CANCEL of an INVITE (RFC 3261 §9.1)
    pub(crate) fn cancel(&self, reason: Option<&str>) -> Self {
        let headers = reason.map(|r| ("Reason".to_owned(), r.to_owned())).into_iter().collect();
        Self { headers, auth: None, ..self.follower(Method::Cancel) }
    }
}

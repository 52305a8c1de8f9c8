//! SIP messages as tests see them: a start line, headers in order, a body.
//! `rsip` parses and builds; nothing here is shared with the gateway's parser.

use rsip::headers::Header;
use rsip::{SipMessage, StatusCode, Version};

use crate::{Error, Result};

/// Compact header names (RFC 3261 §7.3.3) and their long forms.
const COMPACT: [(&str, &str); 10] = [
    ("v", "Via"),
    ("f", "From"),
    ("t", "To"),
    ("i", "Call-ID"),
    ("m", "Contact"),
    ("l", "Content-Length"),
    ("c", "Content-Type"),
    ("k", "Supported"),
    ("s", "Subject"),
    ("e", "Content-Encoding"),
];

/// The first line of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// A request.
    Request {
        /// `INVITE`, `BYE` …
        method: String,
        /// The Request-URI as written.
        uri: String,
    },
    /// A response.
    Response {
        /// Status code.
        code: u16,
        /// Reason phrase.
        reason: String,
    },
}

/// One SIP message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Request line or status line.
    pub start: Start,
    /// Headers in order, names in their long form, values without folding.
    pub headers: Vec<(String, String)>,
    /// The body, as long as Content-Length said or as the datagram was.
    pub body: Vec<u8>,
}

impl Message {
    /// Parses one whole message.
    ///
    /// # Errors
    /// [`Error::Sip`] when rsip refuses it.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let message = SipMessage::try_from(bytes).map_err(|e| Error::Sip(format!("parse: {e}")))?;
        let (start, headers, body) = match message {
            SipMessage::Request(r) => {
                let start = Start::Request { method: r.method.to_string(), uri: request_uri(bytes) };
                (start, r.headers, r.body)
            }
            SipMessage::Response(r) => {
                let start = Start::Response { code: r.status_code.code(), reason: reason(bytes) };
                (start, r.headers, r.body)
            }
        };
        let headers = headers.iter().map(split_header).collect();
        let mut message = Self { start, headers, body };
        let length = message.header("Content-Length").and_then(|v| v.trim().parse::<usize>().ok());
        if let Some(length) = length {
            message.body.truncate(length);
        }
        Ok(message)
    }

    /// A request without headers.
    #[must_use]
    pub fn request(method: &str, uri: &str) -> Self {
        let start = Start::Request { method: method.into(), uri: uri.into() };
        Self { start, headers: Vec::new(), body: Vec::new() }
    }

    /// A response that copies what RFC 3261 §8.2.6.2 asks for.
    #[must_use]
    pub fn response_to(request: &Self, code: u16, reason: &str) -> Self {
        let start = Start::Response { code, reason: reason.into() };
        let copied = ["Via", "Record-Route", "From", "To", "Call-ID", "CSeq"];
        let headers = request
            .headers
            .iter()
            .filter(|(name, _)| copied.iter().any(|c| c.eq_ignore_ascii_case(name)))
            .cloned()
            .collect();
        Self { start, headers, body: Vec::new() }
    }

    /// Appends a header.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body and its type.
    #[must_use]
    pub fn with_body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.with("Content-Type", content_type)
    }

    /// Replaces all headers of that name by one.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        self.headers.push((name.into(), value.into()));
    }

    /// The bytes to send; Content-Length is computed.
    ///
    /// # Errors
    /// [`Error::Sip`] when rsip can't represent the method or the URI: send such a
    /// message as raw bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut headers: Vec<Header> = self
            .headers
            .iter()
            .filter(|(name, _)| !name.eq_ignore_ascii_case("Content-Length"))
            .map(|(name, value)| Header::Other(name.clone(), value.clone()))
            .collect();
        headers.push(Header::Other("Content-Length".into(), self.body.len().to_string()));
        let refused = |e: rsip::Error| Error::Sip(format!("build: {e}"));
        let head = match &self.start {
            Start::Request { method, uri } => rsip::Request {
                method: method.parse().map_err(refused)?,
                uri: uri.as_str().try_into().map_err(refused)?,
                version: Version::V2,
                headers: headers.into(),
                body: Vec::new(),
            }
            .to_string(),
            Start::Response { code, reason } => rsip::Response {
                status_code: StatusCode::Other(*code, reason.clone()),
                version: Version::V2,
                headers: headers.into(),
                body: Vec::new(),
            }
            .to_string(),
        };
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        Ok(bytes)
    }

    /// The first header of that name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let named = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str())
    }

    /// All headers of that name, in order.
    pub fn headers_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str())
    }

    /// The status code of a response.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        match self.start {
            Start::Response { code, .. } => Some(code),
            Start::Request { .. } => None,
        }
    }

    /// The reason phrase of a response, empty for a request.
    #[must_use]
    pub fn reason(&self) -> &str {
        match &self.start {
            Start::Response { reason, .. } => reason,
            Start::Request { .. } => "",
        }
    }

    /// The method: of the request line, or of the CSeq for a response.
    #[must_use]
    pub fn method(&self) -> &str {
        match &self.start {
            Start::Request { method, .. } => method,
            Start::Response { .. } => self.header("CSeq").and_then(|v| v.split_whitespace().nth(1)).unwrap_or(""),
        }
    }

    /// The Request-URI, empty for a response.
    #[must_use]
    pub fn uri(&self) -> &str {
        match &self.start {
            Start::Request { uri, .. } => uri,
            Start::Response { .. } => "",
        }
    }

    /// True for a request.
    #[must_use]
    pub fn is_request(&self) -> bool {
        matches!(self.start, Start::Request { .. })
    }

    /// The number of the CSeq.
    #[must_use]
    pub fn cseq(&self) -> u32 {
        let value = self.header("CSeq").and_then(|v| v.split_whitespace().next());
        value.and_then(|v| v.parse().ok()).unwrap_or(0)
    }

    /// The Call-ID.
    #[must_use]
    pub fn call_id(&self) -> &str {
        self.header("Call-ID").unwrap_or("")
    }

    /// The branch of the topmost Via.
    #[must_use]
    pub fn branch(&self) -> &str {
        self.header("Via").and_then(|v| param(v, "branch")).unwrap_or("")
    }

    /// The tag of From.
    #[must_use]
    pub fn from_tag(&self) -> Option<&str> {
        self.header("From").and_then(|v| param(v, "tag"))
    }

    /// The tag of To.
    #[must_use]
    pub fn to_tag(&self) -> Option<&str> {
        self.header("To").and_then(|v| param(v, "tag"))
    }
}

/// The URI of a name-addr or addr-spec value: `"x" <sip:a@b>;tag=1` → `sip:a@b`.
#[must_use]
pub fn uri_of(value: &str) -> &str {
    let after_name = skip_quoted(value);
    match after_name.split_once('<') {
        Some((_, rest)) => rest.split('>').next().unwrap_or(rest).trim(),
        None => after_name.split(';').next().unwrap_or(after_name).trim(),
    }
}

/// A header parameter's value: `param("<sip:a@b>;tag=1", "tag")` → `1`. Parameters
/// inside the angle brackets belong to the URI and aren't looked at.
#[must_use]
pub fn param<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let after_name = skip_quoted(value);
    let outside = after_name.split_once('>').map_or(after_name, |(_, rest)| rest);
    outside.split(';').skip(1).find_map(|piece| {
        let (key, value) = piece.split_once('=').unwrap_or((piece, ""));
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
    })
}

/// The user part of a URI: `sip:8001@10.0.0.1:5060` → `8001`.
#[must_use]
pub fn user_of(uri: &str) -> &str {
    let rest = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    rest.split_once('@').map_or("", |(user, _)| user)
}

/// The value after a leading quoted display name.
fn skip_quoted(value: &str) -> &str {
    let value = value.trim_start();
    let Some(quoted) = value.strip_prefix('"') else {
        return value;
    };
    let mut escaped = false;
    for (index, character) in quoted.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return &quoted[index + 1..],
            _ => {}
        }
    }
    value
}

fn split_header(header: &Header) -> (String, String) {
    let text = header.to_string();
    let (name, value) = text.split_once(':').unwrap_or((text.as_str(), ""));
    let name = name.trim();
    let long = COMPACT.iter().find(|(short, _)| short.eq_ignore_ascii_case(name));
    (long.map_or(name, |(_, long)| long).to_owned(), value.trim().to_owned())
}

/// rsip normalises URIs and reason phrases; tests want them as they were sent.
fn first_line(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&b| b == b'\r').unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn request_uri(bytes: &[u8]) -> String {
    first_line(bytes).split(' ').nth(1).unwrap_or("").to_owned()
}

fn reason(bytes: &[u8]) -> String {
    first_line(bytes).splitn(3, ' ').nth(2).unwrap_or("").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_built_message_parses_to_itself() {
        let built = Message::request("INVITE", "sip:12319@127.0.0.1:5060")
            .with("Via", "SIP/2.0/UDP 127.0.1.1:5062;branch=z9hG4bKabc;rport")
            .with("From", "\"张三 <x>\" <sip:138@127.0.1.1>;tag=f1")
            .with("To", "<sip:12319@127.0.0.1>")
            .with("Call-ID", "c1@x")
            .with("CSeq", "7 INVITE")
            .with_body("application/sdp", "v=0\r\n");
        let parsed = Message::parse(&built.to_bytes().unwrap()).unwrap();
        assert_eq!(parsed.start, built.start);
        assert_eq!((parsed.branch(), parsed.cseq()), ("z9hG4bKabc", 7));
        assert_eq!((parsed.from_tag(), parsed.to_tag()), (Some("f1"), None));
        assert_eq!(uri_of(parsed.header("From").unwrap()), "sip:138@127.0.1.1");
        assert_eq!(parsed.body, b"v=0\r\n");
    }

    #[test]
    fn the_reason_phrase_is_kept_as_sent() {
        let bytes = b"SIP/2.0 486 Busy right now\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n";
        let parsed = Message::parse(bytes).unwrap();
        assert_eq!((parsed.code(), parsed.reason()), (Some(486), "Busy right now"));
        assert_eq!(parsed.method(), "INVITE");
    }

    #[test]
    fn uri_parameters_are_not_header_parameters() {
        let value = "<sip:8001@10.0.0.1:5060;transport=tcp;tag=no>;tag=yes";
        assert_eq!(param(value, "tag"), Some("yes"));
        assert_eq!(user_of(uri_of(value)), "8001");
    }

    #[test]
    fn truncated_and_mutated_messages_never_panic() {
        let good = b"OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z\r\nFrom: \"q\\\" <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nContent-Length: 3\r\n\r\nabc";
        for end in 0..good.len() {
            let _ = Message::parse(&good[..end]).map(|m| (m.cseq(), m.branch().len()));
        }
        let mut state = 0x9E37_79B9_u32;
        for _ in 0..2_000 {
            let mut bytes = good.to_vec();
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let at = state as usize % bytes.len();
            bytes[at] = (state >> 24) as u8;
            if let Ok(message) = Message::parse(&bytes) {
                let from = message.header("From").unwrap_or("");
                let _ = (uri_of(from), param(from, "tag"), message.to_bytes().is_ok());
            }
        }
    }
}

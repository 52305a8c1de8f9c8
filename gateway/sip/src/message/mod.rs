//! Messages as bytes: parsed once into spans, never rewritten

mod address;
mod build;
mod headers;
mod method;
mod parse;
mod start;
mod text;
mod uri;
mod via;
mod write;

pub use address::NameAddr;
pub(crate) use build::reason_phrase;
pub use build::{error_response, response};
pub use headers::HeaderName;
pub use method::Method;
pub use parse::{ParseError, ParseErrorKind};
pub use text::{decode_display, params, quote, split_list, trim, unquote};
pub(crate) use text::{is_token_byte, percent_decode};
pub use uri::{Uri, UriError};
pub(crate) use via::BRANCH_COOKIE;
pub use via::Via;
pub use write::Writer;

use std::ops::Range;

/// A parsed message: its bytes and where things lie in them
///
/// Folds (RFC 3261 §7.3.1) became spaces; nothing else differs from what came
/// in, so unknown methods, headers and schemes and non-UTF-8 values survive.
#[derive(Clone, Debug)]
pub struct Message {
    buf: Vec<u8>,
    start: Start,
    headers: Vec<Header>,
    body: Range<usize>,
    cseq: u32,
    cseq_method: Method,
}

#[derive(Clone, Debug)]
enum Start {
    Request { method: Method, text: Range<usize>, uri: Range<usize> },
    Response { code: u16, reason: Range<usize> },
}

#[derive(Clone, Debug)]
struct Header {
    id: HeaderName,
    name: Range<usize>,
    value: Range<usize>,
}

impl Message {
    /// Reads one whole message, as a datagram or a stream frame carries it
    ///
    /// # Errors
    /// [`ParseError`]; for a broken request with a usable `Via` it carries the
    /// message as far as it was read, enough for [`error_response`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        parse::parse(bytes)
    }

    /// Whether this is a request
    #[must_use]
    pub fn is_request(&self) -> bool {
        matches!(self.start, Start::Request { .. })
    }

    /// The request's method; for a response the method of its `CSeq`
    #[must_use]
    pub fn method(&self) -> Method {
        match self.start {
            Start::Request { method, .. } => method,
            Start::Response { .. } => self.cseq_method,
        }
    }

    /// The method as written; empty for a response
    #[must_use]
    pub fn method_text(&self) -> &str {
        match &self.start {
            Start::Request { text, .. } => std::str::from_utf8(&self.buf[text.clone()]).unwrap_or(""),
            Start::Response { .. } => "",
        }
    }

    /// The Request-URI as written; empty for a response
    #[must_use]
    pub fn uri(&self) -> &[u8] {
        match &self.start {
            Start::Request { uri, .. } => &self.buf[uri.clone()],
            Start::Response { .. } => b"",
        }
    }

    /// The status code; 0 for a request
    #[must_use]
    pub fn code(&self) -> u16 {
        match self.start {
            Start::Response { code, .. } => code,
            Start::Request { .. } => 0,
        }
    }

    /// The reason phrase; empty for a request
    #[must_use]
    pub fn reason(&self) -> &[u8] {
        match &self.start {
            Start::Response { reason, .. } => &self.buf[reason.clone()],
            Start::Request { .. } => b"",
        }
    }

    /// The number of `CSeq`
    #[must_use]
    pub fn cseq(&self) -> u32 {
        self.cseq
    }

    /// The first field of that name
    #[must_use]
    pub fn header(&self, id: HeaderName) -> Option<&[u8]> {
        self.headers.iter().find(|h| h.id == id).map(|h| &self.buf[h.value.clone()])
    }

    /// All fields of that name, in order
    pub fn header_all(&self, id: HeaderName) -> impl Iterator<Item = &[u8]> {
        self.headers.iter().filter(move |h| h.id == id).map(|h| &self.buf[h.value.clone()])
    }

    /// The first field of any name, known or not, without regard to case
    #[must_use]
    pub fn header_named(&self, name: &str) -> Option<&[u8]> {
        let known = HeaderName::of(name.as_bytes());
        if known != HeaderName::Other {
            return self.header(known);
        }
        self.fields().find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// Every field as (name as written, value)
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.headers.iter().map(|h| (&self.buf[h.name.clone()], &self.buf[h.value.clone()]))
    }

    /// All elements of a comma-separated header, over all its fields
    pub fn elements(&self, id: HeaderName) -> impl Iterator<Item = &[u8]> {
        self.header_all(id).flat_map(split_list).filter(|e| !e.is_empty())
    }

    /// The body as `Content-Length` bounds it
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.buf[self.body.clone()]
    }

    /// The whole message, folds written as spaces
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.buf
    }

    /// `Call-ID`; empty when missing
    #[must_use]
    pub fn call_id(&self) -> &[u8] {
        self.header(HeaderName::CallId).unwrap_or(b"")
    }

    /// `From`
    #[must_use]
    pub fn from(&self) -> Option<NameAddr<'_>> {
        NameAddr::parse(self.header(HeaderName::From)?)
    }

    /// `To`
    #[must_use]
    pub fn to(&self) -> Option<NameAddr<'_>> {
        NameAddr::parse(self.header(HeaderName::To)?)
    }

    /// The tag of `From`; empty when there is none
    #[must_use]
    pub fn from_tag(&self) -> &[u8] {
        self.from().and_then(|a| a.param("tag")).unwrap_or(b"")
    }

    /// The tag of `To`; empty when there is none
    #[must_use]
    pub fn to_tag(&self) -> &[u8] {
        self.to().and_then(|a| a.param("tag")).unwrap_or(b"")
    }

    /// The topmost `Via`
    #[must_use]
    pub fn via(&self) -> Option<Via<'_>> {
        Via::parse(self.elements(HeaderName::Via).next()?)
    }

    /// The first usable `Contact`
    #[must_use]
    pub fn contact(&self) -> Option<NameAddr<'_>> {
        NameAddr::parse(self.elements(HeaderName::Contact).next()?)
    }

    /// A header that holds one number
    #[must_use]
    pub fn number(&self, id: HeaderName) -> Option<u32> {
        let value = self.header(id)?;
        std::str::from_utf8(trim(value)).ok()?.parse().ok()
    }
}

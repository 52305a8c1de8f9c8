//! Reading a message: bounds first, then structure, then the fields everything depends on

use super::start::start_line;
use super::text::{is_token_byte, trim};
use super::{Header, HeaderName, Message, Method, NameAddr, Via};
use crate::limits;
use std::ops::Range;

/// What is wrong with a message
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseErrorKind {
    /// Longer than `limits::MESSAGE_BYTES_MAX`
    #[error("Message Too Large")]
    TooLarge,
    /// Only line breaks or nothing: a keep-alive
    #[error("Empty Message")]
    Empty,
    /// Neither a request line nor a status line
    #[error("Bad Start Line")]
    StartLine,
    /// Another protocol version than SIP/2.0
    #[error("Version Not Supported")]
    Version,
    /// A header line without name or colon, or no empty line after the headers
    #[error("Bad Header Line")]
    HeaderLine,
    /// More than `limits::HEADER_COUNT_MAX` header fields
    #[error("Too Many Header Fields")]
    TooManyHeaders,
    /// `Via`, `From`, `To`, `Call-ID` or `CSeq` is missing
    #[error("Missing Header Field")]
    Missing,
    /// A field that may appear once appears twice
    #[error("Repeated Header Field")]
    Repeated,
    /// A `Via` can't be read
    #[error("Bad Via")]
    Via,
    /// `From` or `To` can't be read
    #[error("Bad From or To")]
    Address,
    /// `CSeq` is no number below 2^31 with the request's method
    #[error("Bad CSeq")]
    CSeq,
    /// `Call-ID` holds white space or a control, which no answer could repeat
    #[error("Bad Call-ID")]
    CallId,
    /// An unknown method, and a `CSeq` that names another one: 501 tells more than 400 (RFC 4475 §3.1.2.18)
    #[error("Not Implemented")]
    Method,
    /// `Content-Length` is no number, or larger than what came
    #[error("Bad Content-Length")]
    ContentLength,
    /// `Max-Forwards` is no number up to 255
    #[error("Bad Max-Forwards")]
    MaxForwards,
}

/// A message that can't be used
#[derive(Clone, Debug, thiserror::Error)]
#[error("{kind}")]
pub struct ParseError {
    /// What is wrong
    pub kind: ParseErrorKind,
    /// The broken request as far as read, if it can be answered
    pub partial: Option<Box<Message>>,
}

impl ParseError {
    /// The status code that answers it
    #[must_use]
    pub fn code(&self) -> u16 {
        match self.kind {
            ParseErrorKind::Method => 501,
            ParseErrorKind::Version => 505,
            ParseErrorKind::TooLarge | ParseErrorKind::TooManyHeaders => 513,
            _ => 400,
        }
    }
}

/// The fields every response repeats (RFC 3261 §8.2.6.2)
const ANSWER_NEEDS: [HeaderName; 5] =
    [HeaderName::Via, HeaderName::From, HeaderName::To, HeaderName::CallId, HeaderName::CSeq];

fn bare(kind: ParseErrorKind) -> ParseError {
    ParseError { kind, partial: None }
}

pub(super) fn parse(bytes: &[u8]) -> Result<Message, ParseError> {
    if bytes.len() > limits::MESSAGE_BYTES_MAX {
        return Err(bare(ParseErrorKind::TooLarge));
    }
    let skip = bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
    let bytes = &bytes[skip..];
    if bytes.iter().all(|b| matches!(b, b'\r' | b'\n' | b' ' | 0)) {
        return Err(bare(ParseErrorKind::Empty));
    }
    let buf = bytes.to_vec();
    let (line, mut at) = line(&buf, 0).ok_or_else(|| bare(ParseErrorKind::StartLine))?;
    let (start, mut problem) = start_line(&buf, line).map_err(bare)?;
    let body = buf.len()..buf.len();
    let mut message =
        Message { buf, start, headers: Vec::with_capacity(16), body, cseq: 0, cseq_method: Method::Other };
    if let Err(kind) = header_lines(&mut message, &mut at) {
        problem = problem.or(Some(kind));
    } else {
        message.body = at..message.buf.len();
    }
    match problem.map_or_else(|| check(&mut message), Err) {
        Ok(()) => Ok(message),
        Err(kind) => {
            let answerable = message.is_request() && message.method() != Method::Ack && message.via().is_some();
            Err(ParseError { kind, partial: answerable.then(|| Box::new(message)) })
        }
    }
}

/// The line at `at` without its end, and where the next one starts; bare LF is accepted
fn line(buf: &[u8], at: usize) -> Option<(Range<usize>, usize)> {
    let end = at + buf[at..].iter().position(|b| *b == b'\n')?;
    let stop = if end > at && buf[end - 1] == b'\r' { end - 1 } else { end };
    Some((at..stop, end + 1))
}

/// Reads header lines up to the empty one; folds are overwritten with spaces
///
/// Beyond the limit only what an answer needs is still kept.
fn header_lines(message: &mut Message, at: &mut usize) -> Result<(), ParseErrorKind> {
    let mut problem = None;
    loop {
        let (mut span, mut next) = line(&message.buf, *at).ok_or(ParseErrorKind::HeaderLine)?;
        if span.is_empty() {
            *at = next;
            return problem.map_or(Ok(()), Err);
        }
        while matches!(message.buf.get(next), Some(b' ' | b'\t')) {
            let (more, after) = line(&message.buf, next).ok_or(ParseErrorKind::HeaderLine)?;
            message.buf[span.end..next].fill(b' ');
            span.end = more.end;
            next = after;
        }
        *at = next;
        let text = &message.buf[span.clone()];
        let colon = text.iter().position(|b| *b == b':').ok_or(ParseErrorKind::HeaderLine)?;
        let name = text[..colon].trim_ascii_end();
        if name.is_empty() || !name.iter().all(|b| is_token_byte(*b)) {
            return Err(ParseErrorKind::HeaderLine);
        }
        let value = &text[colon + 1..];
        let start = span.start + colon + 1 + (value.len() - value.trim_ascii_start().len());
        let value = start..start + trim(value).len();
        let id = HeaderName::of(name);
        if message.headers.len() >= limits::HEADER_COUNT_MAX {
            problem = Some(ParseErrorKind::TooManyHeaders);
            if !ANSWER_NEEDS.contains(&id) || message.header(id).is_some() {
                continue;
            }
        }
        message.headers.push(Header { id, name: span.start..span.start + name.len(), value });
    }
}

fn check(message: &mut Message) -> Result<(), ParseErrorKind> {
    for (index, header) in message.headers.iter().enumerate() {
        let same = |h: &Header| h.id == header.id && message.buf[h.value.clone()] != message.buf[header.value.clone()];
        // An exact repetition is harmless only for Content-Length, which some stacks write twice.
        let repeated = match header.id {
            HeaderName::ContentLength => message.headers[..index].iter().any(same),
            id => id.is_single() && message.headers[..index].iter().any(|h| h.id == id),
        };
        if repeated {
            return Err(ParseErrorKind::Repeated);
        }
    }
    if ANSWER_NEEDS.iter().any(|id| message.header(*id).is_none_or(<[u8]>::is_empty)) {
        return Err(ParseErrorKind::Missing);
    }
    if message.header_all(HeaderName::Via).flat_map(super::split_list).any(|via| Via::parse(via).is_none()) {
        return Err(ParseErrorKind::Via);
    }
    for id in [HeaderName::From, HeaderName::To] {
        let good = message.header(id).and_then(NameAddr::parse).is_some_and(|a| a.parsed_uri().is_some());
        if !good {
            return Err(ParseErrorKind::Address);
        }
    }
    if message.call_id().iter().any(|b| *b <= b' ' || *b == 0x7F) {
        return Err(ParseErrorKind::CallId);
    }
    check_cseq(message)?;
    if let Some(value) = message.header(HeaderName::MaxForwards) {
        let good = std::str::from_utf8(value).is_ok_and(|v| v.parse::<u8>().is_ok());
        if !good {
            return Err(ParseErrorKind::MaxForwards);
        }
    }
    check_length(message)
}

fn check_cseq(message: &mut Message) -> Result<(), ParseErrorKind> {
    let value = message.header(HeaderName::CSeq).unwrap_or(b"");
    let digits = value.iter().take_while(|b| b.is_ascii_digit()).count();
    let number = std::str::from_utf8(&value[..digits]).ok().and_then(|d| d.parse::<u32>().ok());
    let number = number.filter(|n| *n < 1 << 31).ok_or(ParseErrorKind::CSeq)?;
    let method = trim(&value[digits..]);
    if method.len() == value.len() - digits || method.is_empty() {
        return Err(ParseErrorKind::CSeq);
    }
    if message.is_request() && method != message.method_text().as_bytes() {
        let is_unknown = message.method() == Method::Other;
        return Err(if is_unknown { ParseErrorKind::Method } else { ParseErrorKind::CSeq });
    }
    let method = Method::of(method);
    message.cseq = number;
    message.cseq_method = method;
    Ok(())
}

// Without Content-Length the datagram's end is the body's end (RFC 3261 §18.3).
fn check_length(message: &mut Message) -> Result<(), ParseErrorKind> {
    let Some(value) = message.header(HeaderName::ContentLength) else {
        return Ok(());
    };
    let length = std::str::from_utf8(value).ok().filter(|v| v.bytes().all(|b| b.is_ascii_digit()));
    let length: usize = length.and_then(|v| v.parse().ok()).ok_or(ParseErrorKind::ContentLength)?;
    if length > message.body.len() {
        return Err(ParseErrorKind::ContentLength);
    }
    message.body.end = message.body.start + length;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &str = "INVITE sip:12319@10.0.0.1 SIP/2.0\r\nv: SIP/2.0/UDP 10.0.0.2;branch=z9hG4bK1;rport\r\n\
        f: \"\u{57ce}\" <sip:138@10.0.0.2>;tag=a\r\nt: <sip:12319@10.0.0.1>\r\ni: x1\r\nCSeq: 1 INVITE\r\n\
        Subject: a\r\n  b\r\nMax-Forwards: 70\r\n\r\nv=0\r\n";

    #[test]
    fn compact_and_folded_headers_and_a_body_without_length_are_read() {
        let message = Message::parse(INVITE.as_bytes()).unwrap();
        assert_eq!(message.method(), Method::Invite);
        assert_eq!(message.body(), b"v=0\r\n");
        assert_eq!(message.header_named("subject"), Some(&b"a    b"[..]));
        assert_eq!(message.from_tag(), b"a");
        assert_eq!(message.call_id(), b"x1");
        assert_eq!(message.bytes().len(), INVITE.len());
    }

    #[test]
    fn a_broken_request_can_still_be_answered() {
        let text = INVITE.replace("1 INVITE", "99999999999 INVITE");
        let error = Message::parse(text.as_bytes()).unwrap_err();
        assert_eq!((error.kind, error.code()), (ParseErrorKind::CSeq, 400));
        let partial = error.partial.unwrap();
        let bytes = super::super::error_response(&partial, "10.0.0.9:5070".parse().unwrap(), 400, "", "t1");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(
            text.starts_with(
                "SIP/2.0 400 Bad Request\r\nVia: SIP/2.0/UDP 10.0.0.2;branch=z9hG4bK1;received=10.0.0.9;rport=5070\r\n"
            ),
            "{text}"
        );
        assert!(text.contains("To: <sip:12319@10.0.0.1>;tag=t1\r\n") && text.contains("Call-ID: x1\r\n"), "{text}");
    }

    #[test]
    fn a_call_id_that_no_answer_could_repeat_is_refused() {
        for bad in ["x\u{0}1", "x 1", "x\r1", "x\u{7f}"] {
            let error = Message::parse(INVITE.replace("i: x1", &format!("i: {bad}")).as_bytes()).unwrap_err();
            assert_eq!((error.kind, error.code()), (ParseErrorKind::CallId, 400), "{bad:?}");
        }
    }

    #[test]
    fn limits_hold() {
        let many = INVITE.replace("Subject: a\r\n  b\r\n", &"X: y\r\n".repeat(200));
        assert_eq!(Message::parse(many.as_bytes()).unwrap_err().kind, ParseErrorKind::TooManyHeaders);
        let huge = vec![b'a'; limits::MESSAGE_BYTES_MAX + 1];
        assert_eq!(Message::parse(&huge).unwrap_err().kind, ParseErrorKind::TooLarge);
        assert_eq!(Message::parse(b"\r\n\r\n").unwrap_err().kind, ParseErrorKind::Empty);
    }

    #[test]
    fn truncations_and_mutations_never_panic() {
        let valid = INVITE.as_bytes();
        for end in 0..valid.len() {
            let _ = Message::parse(&valid[..end]);
        }
        let mut state = 0x2545_F491_4F6C_DD1D_u64;
        for _ in 0..20_000 {
            let mut bytes = valid.to_vec();
            for _ in 0..4 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let at = usize::try_from(state % valid.len() as u64).unwrap();
                bytes[at] = (state >> 32) as u8;
            }
            if let Ok(message) = Message::parse(&bytes) {
                let _ = (message.from().map(|f| (f.number(), f.display())), message.via(), message.contact());
                let _ = super::super::error_response(&message, "10.0.0.9:5070".parse().unwrap(), 400, "", "t");
            }
        }
    }
}

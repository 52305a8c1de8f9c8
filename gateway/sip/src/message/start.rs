//! The first line: request line or status line

use super::parse::ParseErrorKind;
use super::text::is_token_byte;
use super::{Method, Start};
use std::ops::Range;

/// Reads the first line; a problem beside the result still leaves enough to answer
pub(super) fn start_line(buf: &[u8], line: Range<usize>) -> Result<(Start, Option<ParseErrorKind>), ParseErrorKind> {
    let text = &buf[line.clone()];
    if text.len() > 4 && text[..4].eq_ignore_ascii_case(b"SIP/") {
        let mut parts = text.splitn(3, |b| *b == b' ');
        let (version, code) = (parts.next().unwrap_or(b""), parts.next().unwrap_or(b""));
        let reason_start = line.end - parts.next().map_or(0, <[u8]>::len);
        if !version.eq_ignore_ascii_case(b"SIP/2.0") {
            return Err(ParseErrorKind::Version);
        }
        let code = std::str::from_utf8(code).ok().filter(|c| c.len() == 3).and_then(|c| c.parse().ok());
        let code = code.filter(|c| (100..700).contains(c)).ok_or(ParseErrorKind::StartLine)?;
        return Ok((Start::Response { code, reason: reason_start..line.end }, None));
    }
    let first = text.iter().position(|b| *b == b' ').ok_or(ParseErrorKind::StartLine)?;
    let last = text.iter().rposition(|b| *b == b' ').unwrap_or(first);
    let method = &text[..first];
    if method.is_empty() || !method.iter().all(|b| is_token_byte(*b)) {
        return Err(ParseErrorKind::StartLine);
    }
    let uri = if first < last { line.start + first + 1..line.start + last } else { line.end..line.end };
    let version = &text[last + 1..];
    let looks_like_sip = version.len() > 4 && version[..4].eq_ignore_ascii_case(b"SIP/");
    let uri_text = &buf[uri.clone()];
    // A second space, brackets or nothing at all is no Request-URI (RFC 3261 §7.1).
    let bad_uri = uri_text.is_empty() || uri_text.iter().any(|b| *b <= b' ' || matches!(b, b'<' | b'>' | b'"'));
    let problem = if bad_uri || !looks_like_sip {
        Some(ParseErrorKind::StartLine)
    } else if !version.eq_ignore_ascii_case(b"SIP/2.0") {
        Some(ParseErrorKind::Version)
    } else {
        None
    };
    let text = line.start..line.start + first;
    Ok((Start::Request { method: Method::of(method), text, uri }, problem))
}

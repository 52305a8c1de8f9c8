//! The session description in a message

use crate::limits;
use crate::message::{HeaderName, Message, params, trim, unquote};

/// Why a body can't be used; each names its response
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    /// 415: neither SDP nor a multipart with SDP, or encoded
    #[error("unsupported media type")]
    Unsupported,
    /// 413: longer than `limits::SDP_BYTES_MAX`
    #[error("session description too long")]
    TooLong,
}

impl BodyError {
    pub(crate) fn code(self) -> u16 {
        match self {
            Self::Unsupported => 415,
            Self::TooLong => 413,
        }
    }
}

/// The SDP of a message; `None` when it has no body
pub(crate) fn sdp_of(message: &Message) -> Result<Option<Vec<u8>>, BodyError> {
    let body = message.body();
    if body.is_empty() {
        return Ok(None);
    }
    let encoding = message.header(HeaderName::ContentEncoding).unwrap_or(b"identity");
    if !encoding.eq_ignore_ascii_case(b"identity") {
        return Err(BodyError::Unsupported);
    }
    let content_type = message.header(HeaderName::ContentType).unwrap_or(b"application/sdp");
    let sdp = if is_type(content_type, "application/sdp") {
        body
    } else if is_type(content_type, "multipart/mixed") {
        // SIP-I trunks wrap SDP and ISUP together (RFC 5621).
        sdp_part(content_type, body).ok_or(BodyError::Unsupported)?
    } else {
        return Err(BodyError::Unsupported);
    };
    if sdp.len() > limits::SDP_BYTES_MAX {
        return Err(BodyError::TooLong);
    }
    Ok(Some(sdp.to_vec()))
}

/// Whether a `Content-Type` value names this type
pub(crate) fn is_type(value: &[u8], wanted: &str) -> bool {
    let end = value.iter().position(|b| *b == b';').unwrap_or(value.len());
    let text: Vec<u8> = value[..end].iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
    text.eq_ignore_ascii_case(wanted.as_bytes())
}

fn sdp_part<'a>(content_type: &[u8], body: &'a [u8]) -> Option<&'a [u8]> {
    let start = content_type.iter().position(|b| *b == b';')?;
    let boundary = params(&content_type[start..]).find(|(n, _)| n.eq_ignore_ascii_case(b"boundary"))?.1?;
    let delimiter = [b"--", unquote(boundary).as_ref()].concat();
    let mut rest = &body[find(body, &delimiter)? + delimiter.len()..];
    while let Some(end) = find(rest, &delimiter) {
        let part = &rest[..end];
        rest = &rest[end + delimiter.len()..];
        let Some(blank) = find(part, b"\r\n\r\n") else {
            continue;
        };
        let is_sdp = part[..blank].split(|b| *b == b'\n').any(|line| {
            line.iter().position(|b| *b == b':').is_some_and(|at| {
                trim(&line[..at]).eq_ignore_ascii_case(b"content-type")
                    && is_type(trim(&line[at + 1..]), "application/sdp")
            })
        });
        if is_sdp {
            let content = &part[blank + 4..];
            return Some(content.strip_suffix(b"\r\n").unwrap_or(content));
        }
    }
    None
}

fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len()).position(|w| w == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(headers: &str, body: &str) -> Message {
        let text = format!(
            "INVITE sip:a@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:b@h>;tag=1\r\n\
             To: <sip:a@h>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n{headers}\r\n{body}"
        );
        Message::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn sdp_is_found_alone_and_in_a_multipart() {
        assert_eq!(sdp_of(&message("", "")), Ok(None));
        let alone = message("Content-Type: application/SDP; charset=x\r\n", "v=0\r\n");
        assert_eq!(sdp_of(&alone), Ok(Some(b"v=0\r\n".to_vec())));
        let body = "--b1\r\nContent-Type: application/isup\r\n\r\nxx\r\n--b1\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n\r\n--b1--\r\n";
        let mixed = message("c: multipart/mixed;boundary=\"b1\"\r\n", body);
        assert_eq!(sdp_of(&mixed), Ok(Some(b"v=0\r\n".to_vec())));
    }

    #[test]
    fn other_bodies_are_refused() {
        assert_eq!(sdp_of(&message("c: text/plain\r\n", "hi")), Err(BodyError::Unsupported));
        assert_eq!(sdp_of(&message("c: application/sdp\r\ne: gzip\r\n", "hi")), Err(BodyError::Unsupported));
        assert_eq!(sdp_of(&message("c: multipart/mixed\r\n", "hi")), Err(BodyError::Unsupported));
        let long = "a".repeat(limits::SDP_BYTES_MAX + 1);
        assert_eq!(sdp_of(&message("c: application/sdp\r\n", &long)), Err(BodyError::TooLong));
    }
}

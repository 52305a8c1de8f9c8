//! Keys sent by INFO

use super::body::is_type;
use crate::message::{HeaderName, Message, trim};

/// Body types a key may come in
pub(crate) const DTMF_TYPES: &str = "application/dtmf-relay, application/dtmf";

/// Where a body names no duration
const DURATION_MS_DEFAULT: u32 = 100;
/// Longer durations are cut to this
const DURATION_MS_MAX: u32 = 10_000;

/// The key of an INFO: `Ok(None)` for an INFO without body, `Err` for another type or no key
pub(crate) fn dtmf_of(message: &Message) -> Result<Option<(char, u32)>, ()> {
    let body = message.body();
    if body.is_empty() {
        return Ok(None);
    }
    let content_type = message.header(HeaderName::ContentType).unwrap_or(b"");
    if is_type(content_type, "application/dtmf") {
        return digit(trim(body)).map(|d| Some((d, DURATION_MS_DEFAULT))).ok_or(());
    }
    if !is_type(content_type, "application/dtmf-relay") {
        return Err(());
    }
    let (mut key, mut duration_ms) = (None, DURATION_MS_DEFAULT);
    for line in body.split(|b| matches!(b, b'\r' | b'\n')) {
        let Some(at) = line.iter().position(|b| *b == b'=') else {
            continue;
        };
        let (name, value) = (trim(&line[..at]), trim(&line[at + 1..]));
        if name.eq_ignore_ascii_case(b"signal") {
            key = digit(value);
        } else if name.eq_ignore_ascii_case(b"duration") {
            let number = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok());
            duration_ms = number.unwrap_or(DURATION_MS_DEFAULT).min(DURATION_MS_MAX);
        }
    }
    key.map(|d| Some((d, duration_ms))).ok_or(())
}

fn digit(text: &[u8]) -> Option<char> {
    match text {
        // Some phones send event codes of RFC 4733.
        b"10" => Some('*'),
        b"11" => Some('#'),
        [b] => {
            let c = (*b as char).to_ascii_uppercase();
            (c.is_ascii_digit() || matches!(c, '*' | '#' | 'A'..='D')).then_some(c)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(content_type: &str, body: &str) -> Result<Option<(char, u32)>, ()> {
        let text = format!(
            "INFO sip:a@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:b@h>;tag=1\r\n\
             To: <sip:a@h>\r\nCall-ID: c\r\nCSeq: 1 INFO\r\nContent-Type: {content_type}\r\n\r\n{body}"
        );
        dtmf_of(&Message::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn both_body_types_give_the_key() {
        assert_eq!(info("application/dtmf-relay", "Signal=5\r\nDuration=160\r\n"), Ok(Some(('5', 160))));
        assert_eq!(info("application/dtmf-relay", "Signal= *\nDuration= x"), Ok(Some(('*', 100))));
        assert_eq!(info("application/dtmf-relay", "Signal=11"), Ok(Some(('#', 100))));
        assert_eq!(info("application/dtmf", "7\r\n"), Ok(Some(('7', 100))));
        assert_eq!(info("application/dtmf", ""), Ok(None));
    }

    #[test]
    fn no_key_is_an_error() {
        assert_eq!(info("application/dtmf-relay", "Signal=\r\n"), Err(()));
        assert_eq!(info("application/dtmf-relay", "Duration=100"), Err(()));
        assert_eq!(info("text/plain", "5"), Err(()));
    }
}

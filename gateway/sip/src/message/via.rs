//! `Via`

use super::text::{is_token_byte, param, trim};
use super::uri::parse_host_port;

/// The start of every branch made under RFC 3261 (§8.1.1.7)
pub(crate) const BRANCH_COOKIE: &str = "z9hG4bK";

/// One element of a `Via` header
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via<'a> {
    /// Transport as written
    pub transport: &'a str,
    /// Host of sent-by, without IPv6 brackets
    pub host: &'a str,
    /// Port of sent-by
    pub port: Option<u16>,
    /// Protocol and sent-by as written
    pub head: &'a [u8],
    /// Parameters
    pub params: &'a [u8],
}

impl<'a> Via<'a> {
    /// Reads one element, white space around `/` allowed
    #[must_use]
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let semicolon = text.iter().position(|b| *b == b';').unwrap_or(text.len());
        let (head, params) = (trim(&text[..semicolon]), &text[semicolon..]);
        let mut parts = head.splitn(3, |b| *b == b'/');
        let (protocol, version) = (trim(parts.next()?), trim(parts.next()?));
        let last = trim(parts.next()?);
        let space = last.iter().position(|b| b.is_ascii_whitespace())?;
        let transport = &last[..space];
        let tokens = [protocol, version, transport];
        if tokens.iter().any(|t| t.is_empty() || !t.iter().all(|b| is_token_byte(*b))) {
            return None;
        }
        let (host, port) = parse_host_port(&last[space..]).ok()?;
        let transport = std::str::from_utf8(transport).ok()?;
        Some(Self { transport, host, port, head, params })
    }

    /// The branch; empty when there is none
    #[must_use]
    pub fn branch(&self) -> &'a [u8] {
        self.param("branch").unwrap_or(b"")
    }

    /// The value of a parameter; empty where it has none
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&'a [u8]> {
        param(self.params, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_may_stand_everywhere() {
        let via = Via::parse(b"SIP  / 2.0  / TCP     spindle.example.com   ;   branch  =   z9hG4bK9ikj8").unwrap();
        assert_eq!((via.transport, via.host, via.port), ("TCP", "spindle.example.com", None));
        assert_eq!(via.branch(), b"z9hG4bK9ikj8");
        let via = Via::parse(b"SIP/2.0/UDP [2001:db8::9:1]:5070;rport").unwrap();
        assert_eq!((via.host, via.port), ("2001:db8::9:1", Some(5070)));
        assert_eq!(via.param("rport"), Some(&b""[..]));
    }

    #[test]
    fn broken_elements_are_refused() {
        for text in ["SIP/2.0/UDP", "SIP/2.0 h", "", ";;", "SIP/2.0/UDP h:x", "SIP//UDP h"] {
            assert_eq!(Via::parse(text.as_bytes()), None, "{text}");
        }
    }
}

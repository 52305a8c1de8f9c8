//! URIs: sip, sips, tel, and whatever else comes

use super::text::{param, percent_decode};
use std::net::{IpAddr, Ipv6Addr};

/// A URI as borrowed parts
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uri<'a> {
    /// Scheme as written
    pub scheme: &'a str,
    /// User part with its parameters, still escaped; the number of a `tel:` URI
    pub user: Option<&'a [u8]>,
    /// Host without IPv6 brackets; empty for schemes without host
    pub host: &'a str,
    /// Port
    pub port: Option<u16>,
    /// URI parameters, without the first `;`
    pub params: &'a [u8],
    /// URI headers, without `?`
    pub headers: &'a [u8],
}

/// Why a text is no URI
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// No scheme before `:`
    #[error("no scheme")]
    Scheme,
    /// The host is missing or malformed
    #[error("bad host")]
    Host,
    /// The port is no number of 16 bits
    #[error("bad port")]
    Port,
    /// A byte that can't stand in a URI: white space, a control, `<`, `>`, `"`
    #[error("forbidden character")]
    Character,
}

impl<'a> Uri<'a> {
    /// Reads a URI without surrounding `<>`
    ///
    /// # Errors
    /// [`UriError`]; an unknown scheme is no error.
    pub fn parse(text: &'a [u8]) -> Result<Self, UriError> {
        if text.iter().any(|b| *b <= b' ' || *b == 0x7F || matches!(b, b'<' | b'>' | b'"')) {
            return Err(UriError::Character);
        }
        let colon = text.iter().position(|b| *b == b':').ok_or(UriError::Scheme)?;
        let scheme = std::str::from_utf8(&text[..colon]).map_err(|_| UriError::Scheme)?;
        let good = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
        if !good {
            return Err(UriError::Scheme);
        }
        let rest = &text[colon + 1..];
        let bare = Self { scheme, user: None, host: "", port: None, params: b"", headers: b"" };
        if bare.is_sip() {
            Self::parse_sip(bare, rest)
        } else if bare.is_tel() {
            let (number, params) = split_at_byte(rest, b';');
            if number.is_empty() {
                return Err(UriError::Host);
            }
            Ok(Self { user: Some(number), params, ..bare })
        } else {
            Ok(bare)
        }
    }

    fn parse_sip(bare: Self, rest: &'a [u8]) -> Result<Self, UriError> {
        // `;` and `?` may stand in the user part, `@` may not: RFC 3261 §25.1.
        let (user, rest) = match rest.iter().position(|b| *b == b'@') {
            Some(at) => {
                let (user, _password) = split_at_byte(&rest[..at], b':');
                (Some(user), &rest[at + 1..])
            }
            None => (None, rest),
        };
        let (rest, headers) = split_at_byte(rest, b'?');
        let (hostport, params) = split_at_byte(rest, b';');
        let (host, port) = parse_host_port(hostport)?;
        Ok(Self { user, host, port, params, headers, ..bare })
    }

    /// Whether the scheme is `sip` or `sips`
    #[must_use]
    pub fn is_sip(&self) -> bool {
        self.scheme.eq_ignore_ascii_case("sip") || self.scheme.eq_ignore_ascii_case("sips")
    }

    /// Whether the scheme is `tel` (RFC 3966)
    #[must_use]
    pub fn is_tel(&self) -> bool {
        self.scheme.eq_ignore_ascii_case("tel")
    }

    /// The value of a URI parameter
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&'a [u8]> {
        param(self.params, name)
    }

    /// The user or number alone: unescaped, without `;phone-context=…` and
    /// other user parameters, for phone numbers without visual separators
    #[must_use]
    pub fn number(&self) -> String {
        let is_number_host = self.user.is_none()
            && self.param("phone-context").is_some()
            && self.host.bytes().all(|b| b.is_ascii_digit());
        // Some switches write `sip:12319;phone-context=…` without any host.
        let user = if is_number_host { self.host.as_bytes() } else { self.user.unwrap_or(b"") };
        let (user, _) = split_at_byte(user, b';');
        let text = String::from_utf8_lossy(&percent_decode(user)).into_owned();
        let is_phone = self.is_tel() || self.param("user").is_some_and(|v| v.eq_ignore_ascii_case(b"phone"));
        if is_phone && text.bytes().all(|b| b.is_ascii_digit() || b"+-.()*#".contains(&b)) {
            return text.chars().filter(|c| !matches!(c, '-' | '.' | '(' | ')')).collect();
        }
        text
    }

    /// `phone-context` of a local number, from wherever the sender put it (RFC 3966 §5.1.5)
    #[must_use]
    pub fn phone_context(&self) -> Option<String> {
        let (_, in_user) = split_at_byte(self.user.unwrap_or(b""), b';');
        let value = param(in_user, "phone-context").or_else(|| self.param("phone-context"))?;
        Some(String::from_utf8_lossy(&percent_decode(value)).into_owned()).filter(|v| !v.is_empty())
    }

    /// The host, if it is an address
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok().or_else(|| parse_ipv6(self.host).map(IpAddr::V6))
    }
}

// RFC 3261's grammar allowed a third colon before an IPv4 part: RFC 5118 §4.10 wants it tolerated.
fn parse_ipv6(host: &str) -> Option<Ipv6Addr> {
    host.parse().ok().or_else(|| host.replacen(":::", "::", 1).parse().ok().filter(|_| host.contains('.')))
}

fn split_at_byte(text: &[u8], byte: u8) -> (&[u8], &[u8]) {
    match text.iter().position(|b| *b == byte) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, b""),
    }
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`; white space around `:` is allowed (in `Via`)
pub(super) fn parse_host_port(text: &[u8]) -> Result<(&str, Option<u16>), UriError> {
    let text = std::str::from_utf8(text).map_err(|_| UriError::Host)?.trim();
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or(UriError::Host)?;
        parse_ipv6(host).ok_or(UriError::Host)?;
        match rest.trim_start() {
            "" => (host, None),
            rest => (host, Some(rest.strip_prefix(':').ok_or(UriError::Port)?)),
        }
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host.trim_end(), Some(port)),
            None => (text, None),
        }
    };
    let good = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    if host.is_empty() || !(host.contains(':') || host.bytes().all(good)) {
        return Err(UriError::Host);
    }
    let port = match port {
        None => None,
        Some(port) => Some(port.trim().parse().map_err(|_| UriError::Port)?),
    };
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> String {
        Uri::parse(text.as_bytes()).unwrap().number()
    }

    #[test]
    fn the_number_stands_alone() {
        assert_eq!(number("sip:12319@city.gov"), "12319");
        assert_eq!(number("sip:12319;phone-context=+86@10.0.0.1;user=phone"), "12319");
        assert_eq!(number("sip:12319;phone-context=+86"), "12319");
        assert_eq!(number("sip:%2B8613800138000@10.0.0.1"), "+8613800138000");
        assert_eq!(number("tel:+86-10-1234.5678;phone-context=x"), "+861012345678");
        assert_eq!(number("sip:+86-138@h;user=phone"), "+86138");
        assert_eq!(number("sip:a-b@h"), "a-b");
        assert_eq!(number("sip:user:secret@h"), "user");
        assert_eq!(number("sip:city.gov"), "");
    }

    #[test]
    fn the_context_of_a_local_number_is_found_everywhere() {
        let context = |text: &str| Uri::parse(text.as_bytes()).unwrap().phone_context();
        assert_eq!(context("sip:12319;phone-context=%2B86519@h;user=phone").as_deref(), Some("+86519"));
        assert_eq!(context("sip:12319@h;user=phone;phone-context=+86").as_deref(), Some("+86"));
        assert_eq!(context("tel:12319;phone-context=ims.example").as_deref(), Some("ims.example"));
        assert_eq!(context("sip:12319;phone-context=+86").as_deref(), Some("+86"));
        assert_eq!(context("sip:12319@h"), None);
    }

    #[test]
    fn ipv6_hosts_and_ports() {
        let uri = Uri::parse(b"sip:1@[2001:db8::9]:5070;transport=tcp?x=y").unwrap();
        assert_eq!((uri.host, uri.port), ("2001:db8::9", Some(5070)));
        assert_eq!(uri.param("transport"), Some(&b"tcp"[..]));
        assert_eq!(uri.headers, b"x=y");
        assert!(uri.ip().is_some());
    }

    #[test]
    fn unknown_schemes_are_kept_and_nonsense_is_refused() {
        assert_eq!(Uri::parse(b"soap.beep://192.0.2.103:3002").unwrap().scheme, "soap.beep");
        assert_eq!(Uri::parse(b"nobody"), Err(UriError::Scheme));
        assert_eq!(Uri::parse(b"sip:"), Err(UriError::Host));
        assert_eq!(Uri::parse(b"sip:a@h:99999"), Err(UriError::Port));
        assert_eq!(Uri::parse(b"sip:a@[::g]"), Err(UriError::Host));
        assert_eq!(Uri::parse(b"sip:a b@h"), Err(UriError::Character));
        assert_eq!(Uri::parse(b"<sip:a@h>"), Err(UriError::Character));
    }
}

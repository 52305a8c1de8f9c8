//! `From`, `To`, `Contact`, `Route` and their like: name-addr and addr-spec

use super::text::{Scan, decode_display, param, trim, unquote};
use super::uri::Uri;

/// A display name, a URI, and parameters of the header
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameAddr<'a> {
    display: &'a [u8],
    /// The URI without angle brackets, as written
    pub uri: &'a [u8],
    /// Header parameters after the URI
    pub params: &'a [u8],
}

impl<'a> NameAddr<'a> {
    /// Reads one address; `None` when there is no URI or a quote or bracket stays open
    ///
    /// Without brackets `;` belongs to the header, and a `?` is refused:
    /// such a URI has to be enclosed (RFC 3261 §20.10).
    #[must_use]
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let text = trim(text);
        let mut scan = Scan::new(text);
        let (mut open, mut close, mut first_semicolon) = (None, None, None);
        while let Some((at, byte, _)) = scan.next_bare() {
            match byte {
                b'<' if open.is_none() => open = Some(at),
                b'>' if open.is_some() && close.is_none() => close = Some(at),
                b';' if open.is_none() && first_semicolon.is_none() => first_semicolon = Some(at),
                _ => {}
            }
        }
        if scan.is_open() {
            return None;
        }
        let (display, uri, params) = match (open, close, first_semicolon) {
            // A `<` in a parameter's value opens nothing.
            (Some(open), Some(close), _) => {
                (trim(&text[..open]), trim(&text[open + 1..close]), trim(&text[close + 1..]))
            }
            (None, _, at) => {
                let (uri, params) = text.split_at(at.unwrap_or(text.len()));
                if uri.contains(&b'?') {
                    return None;
                }
                (&b""[..], trim(uri), params)
            }
            (Some(_), None, _) => return None,
        };
        let params_follow = params.is_empty() || params[0] == b';';
        (!uri.is_empty() && params_follow).then_some(Self { display, uri, params })
    }

    /// The URI
    #[must_use]
    pub fn parsed_uri(&self) -> Option<Uri<'a>> {
        Uri::parse(self.uri).ok()
    }

    /// The number or user of the URI; empty when there is none
    #[must_use]
    pub fn number(&self) -> String {
        self.parsed_uri().map(|uri| uri.number()).unwrap_or_default()
    }

    /// The display name as text; `None` when absent or blank
    #[must_use]
    pub fn display(&self) -> Option<String> {
        let text = decode_display(&unquote(self.display));
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// The value of a header parameter
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&'a [u8]> {
        param(self.params, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_in_the_display_name_is_no_caller() {
        let from = NameAddr::parse(br#""x <sip:110@gov>" <sip:13800138000@carrier>;tag=1"#).unwrap();
        assert_eq!(from.number(), "13800138000");
        assert_eq!(from.display().as_deref(), Some("x <sip:110@gov>"));
        assert_eq!(from.param("tag"), Some(&b"1"[..]));
    }

    #[test]
    fn without_brackets_parameters_belong_to_the_header() {
        let to = NameAddr::parse(b"sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n").unwrap();
        assert_eq!(to.uri, b"sip:vivekg@chair-dnrc.example.com");
        assert_eq!(to.param("TAG"), Some(&b"1918181833n"[..]));
    }

    #[test]
    fn display_names_of_any_kind_are_read() {
        let name = |text: &[u8]| NameAddr::parse(text).unwrap().display();
        assert_eq!(name(b"Zhang San <sip:1@h>").as_deref(), Some("Zhang San"));
        assert_eq!(name(b"<sip:1@h>"), None);
        assert_eq!(name(b"\xb3\xc7\xb9\xdc <sip:1@h>").as_deref(), Some("城管"));
        assert_eq!(name(b"\"\xb3\xc7\x81\x5c\" <sip:1@h>").map(|t| t.chars().count()), Some(2));
        assert_eq!(name(br#""J Rosenberg \\\"" <sip:1@h>"#).as_deref(), Some("J Rosenberg \\\""));
    }

    #[test]
    fn open_quotes_and_brackets_are_refused() {
        assert_eq!(NameAddr::parse(br#""Mr. J. User <sip:j@h>"#), None);
        assert_eq!(NameAddr::parse(b"<sip:j@h"), None);
        assert_eq!(NameAddr::parse(b"<sip:j@h> junk"), None);
        assert_eq!(NameAddr::parse(b""), None);
        assert_eq!(NameAddr::parse(b"sip:j@h?Route=%3Csip:x%3E"), None);
    }
}

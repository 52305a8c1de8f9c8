//! Reading `Digest name=value, …` of both directions

use crate::message::{split_list, trim, unquote};

/// The parameters of an `Authorization` or `WWW-Authenticate` value
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    params: Vec<(String, String)>,
}

impl Credentials {
    /// Reads a value; `None` if its scheme isn't Digest
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let value = trim(value);
        let (scheme, rest) = value.split_at_checked(6)?;
        if !scheme.eq_ignore_ascii_case(b"Digest") || !rest.first()?.is_ascii_whitespace() {
            return None;
        }
        let mut params = Vec::new();
        for item in split_list(rest) {
            let Some(at) = item.iter().position(|b| *b == b'=') else {
                continue;
            };
            let name = String::from_utf8_lossy(trim(&item[..at])).to_ascii_lowercase();
            let text = unquote(trim(&item[at + 1..]));
            params.push((name, String::from_utf8_lossy(&text).into_owned()));
        }
        Some(Self { params })
    }

    /// A parameter by its lower-case name
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The claimed user, from `username` or `username*` (RFC 7616 §3.4); `None` where it is hidden
    /// by `userhash=true`, which our challenges don't offer
    #[must_use]
    pub fn user(&self) -> Option<String> {
        if self.get("userhash").is_some_and(|v| v.eq_ignore_ascii_case("true")) {
            return None;
        }
        match (self.get("username"), self.get("username*")) {
            (Some(name), None) => Some(name.to_owned()),
            (None, Some(coded)) => decode_extended(coded),
            _ => None,
        }
    }
}

/// `UTF-8'language'%E5%9F%8E` (RFC 5987 §3.2)
fn decode_extended(text: &str) -> Option<String> {
    let (charset, rest) = text.split_once('\'')?;
    let (_, coded) = rest.split_once('\'')?;
    if !charset.eq_ignore_ascii_case("UTF-8") {
        return None;
    }
    let mut bytes = Vec::with_capacity(coded.len());
    let mut rest = coded.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' { hex_digit(rest.next()?)? << 4 | hex_digit(rest.next()?)? } else { byte });
    }
    String::from_utf8(bytes).ok()
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_with_and_without_quotes() {
        let value = br#"Digest username="a\"b", realm="x, y" ,NONCE=abc,qop="auth,auth-int", stale"#;
        let credentials = Credentials::parse(value).unwrap();
        assert_eq!(credentials.get("username"), Some("a\"b"));
        assert_eq!(credentials.get("realm"), Some("x, y"));
        assert_eq!(credentials.get("nonce"), Some("abc"));
        assert_eq!(credentials.get("stale"), None);
        assert_eq!(Credentials::parse(b"Basic abc"), None);
        assert_eq!(Credentials::parse(b"Digest"), None);
    }

    #[test]
    fn a_user_is_named_plainly_or_by_an_extended_value() {
        let user = |text: &str| Credentials::parse(format!("Digest {text}").as_bytes()).unwrap().user();
        assert_eq!(user("username=\"1001\", userhash=false").as_deref(), Some("1001"));
        assert_eq!(user("username*=UTF-8''%E5%9f%8E1").as_deref(), Some("城1"));
        assert_eq!(user("username*=utf-8'zh'1001").as_deref(), Some("1001"));
        for bad in [
            "username*=ISO-8859-1''x",
            "username*=UTF-8''%E5%9",
            "username*=UTF-8''%zz",
            "username*=UTF-8''%FF",
            "username*=x",
            "username=\"0123\", userhash=true",
            "username=\"1\", username*=UTF-8''2",
            "realm=x",
        ] {
            assert_eq!(user(bad), None, "{bad}");
        }
    }
}

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
}

//! Digest access authentication (RFC 7616, RFC 8760) for both roles, MD5 and SHA-256.

use md5::Md5;
use sha2::{Digest as _, Sha256};

use crate::{Error, Result};

/// The hash of a challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// `MD5`, or no algorithm at all.
    Md5,
    /// `SHA-256` (RFC 8760).
    Sha256,
}

impl Algorithm {
    /// The token as written in headers.
    #[must_use]
    pub fn token(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
        }
    }

    fn from_token(token: &str) -> Option<Self> {
        [Self::Md5, Self::Sha256].into_iter().find(|a| a.token().eq_ignore_ascii_case(token))
    }

    /// Lower-case hexadecimal hash of `text`.
    #[must_use]
    pub fn hex(self, text: &str) -> String {
        match self {
            Self::Md5 => hex(&Md5::digest(text.as_bytes())),
            Self::Sha256 => hex(&Sha256::digest(text.as_bytes())),
        }
    }
}

/// A user's name and password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// User name.
    pub user: String,
    /// Password in clear: test data only.
    pub password: String,
}

impl Credentials {
    /// Both parts from anything string-like.
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { user: user.into(), password: password.into() }
    }
}

/// A parsed `WWW-Authenticate` or `Proxy-Authenticate` value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// Protection domain.
    pub realm: String,
    /// Server's nonce.
    pub nonce: String,
    /// Returned unchanged.
    pub opaque: Option<String>,
    /// Hash to use.
    pub algorithm: Algorithm,
    /// True when `qop` offers `auth`.
    pub qop_auth: bool,
    /// True when only the nonce was too old.
    pub stale: bool,
}

impl Challenge {
    /// Reads a challenge; `None` when it isn't Digest or its hash is unknown.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let fields = Fields::parse(value)?;
        let token = fields.get("algorithm").unwrap_or("MD5");
        let offers_auth = |qop: &str| qop.split(',').any(|q| q.trim().eq_ignore_ascii_case("auth"));
        Some(Self {
            realm: fields.get("realm")?.to_owned(),
            nonce: fields.get("nonce")?.to_owned(),
            opaque: fields.get("opaque").map(str::to_owned),
            algorithm: Algorithm::from_token(token)?,
            qop_auth: fields.get("qop").is_some_and(offers_auth),
            stale: fields.get("stale").is_some_and(|v| v.eq_ignore_ascii_case("true")),
        })
    }

    /// The challenge to answer among several headers: `prefer` if it is offered,
    /// else the first that is understood (RFC 8760 §2.4: top-most first).
    ///
    /// # Errors
    /// [`Error::Sip`] when none is understood.
    pub fn choose<'a>(values: impl Iterator<Item = &'a str>, prefer: Option<Algorithm>) -> Result<Self> {
        let offered: Vec<Self> = values.filter_map(Self::parse).collect();
        let wanted = offered.iter().find(|c| Some(c.algorithm) == prefer);
        wanted.or(offered.first()).cloned().ok_or_else(|| Error::Sip("no digest challenge that is understood".into()))
    }

    /// The value of `Authorization` for one request. `count` is the nonce count,
    /// 1 for the nonce's first use.
    #[must_use]
    pub fn answer(&self, who: &Credentials, method: &str, uri: &str, count: u32) -> String {
        let cnonce = format!("{:016x}", rand::random::<u64>());
        let nc = format!("{count:08x}");
        let qop = self.qop_auth.then_some((nc.as_str(), cnonce.as_str()));
        let ha1 = ha1(self.algorithm, &who.user, &self.realm, &who.password);
        let response = response(self.algorithm, &ha1, &self.nonce, qop, method, uri);
        let mut value = format!(
            "Digest username=\"{}\", realm=\"{}\", nonce=\"{}\", uri=\"{uri}\", response=\"{response}\", algorithm={}",
            who.user,
            self.realm,
            self.nonce,
            self.algorithm.token()
        );
        if self.qop_auth {
            value.push_str(&format!(", qop=auth, nc={nc}, cnonce=\"{cnonce}\""));
        }
        if let Some(opaque) = &self.opaque {
            value.push_str(&format!(", opaque=\"{opaque}\""));
        }
        value
    }
}

/// Checks an `Authorization` value as a server would.
#[must_use]
pub fn verify(value: &str, who: &Credentials, realm: &str, nonce: &str, method: &str) -> bool {
    let check = || {
        let fields = Fields::parse(value)?;
        let algorithm = Algorithm::from_token(fields.get("algorithm").unwrap_or("MD5"))?;
        let same =
            fields.get("username")? == who.user && fields.get("realm")? == realm && fields.get("nonce")? == nonce;
        let qop = match fields.get("qop") {
            Some(_) => Some((fields.get("nc")?, fields.get("cnonce")?)),
            None => None,
        };
        let ha1 = ha1(algorithm, &who.user, realm, &who.password);
        let expected = response(algorithm, &ha1, nonce, qop, method, fields.get("uri")?);
        Some(same && fields.get("response")? == expected)
    };
    check().unwrap_or(false)
}

/// RFC 7616 §3.4.2: H(user:realm:password), hexadecimal.
#[must_use]
pub fn ha1(algorithm: Algorithm, user: &str, realm: &str, password: &str) -> String {
    algorithm.hex(&format!("{user}:{realm}:{password}"))
}

/// RFC 7616 §3.4.1; `qop` is (nc, cnonce) for `qop=auth`, `None` for RFC 2069 style.
fn response(
    algorithm: Algorithm,
    ha1: &str,
    nonce: &str,
    qop: Option<(&str, &str)>,
    method: &str,
    uri: &str,
) -> String {
    let ha2 = algorithm.hex(&format!("{method}:{uri}"));
    match qop {
        Some((nc, cnonce)) => algorithm.hex(&format!("{ha1}:{nonce}:{nc}:{cnonce}:auth:{ha2}")),
        None => algorithm.hex(&format!("{ha1}:{nonce}:{ha2}")),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The `name=value` list after the word `Digest`.
struct Fields(Vec<(String, String)>);

impl Fields {
    fn parse(value: &str) -> Option<Self> {
        let (scheme, rest) = value.trim().split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("Digest") {
            return None;
        }
        let fields = split_unquoted(rest).into_iter().filter_map(|piece| {
            let (name, value) = piece.split_once('=')?;
            Some((name.trim().to_owned(), value.trim().trim_matches('"').to_owned()))
        });
        Some(Self(fields.collect()))
    }

    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// Splits at commas outside quotes: `qop="auth,auth-int"` stays one piece.
fn split_unquoted(text: &str) -> Vec<&str> {
    let (mut pieces, mut start, mut quoted) = (Vec::new(), 0, false);
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                pieces.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    pieces.push(&text[start..]);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7616 §3.9.1, both hashes.
    #[test]
    fn the_rfc_7616_example_gives_the_rfc_7616_response() {
        let nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
        let qop = Some(("00000001", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"));
        let path = "/dir/index.html";
        let respond = |algorithm| {
            let ha1 = ha1(algorithm, "Mufasa", "http-auth@example.org", "Circle of Life");
            response(algorithm, &ha1, nonce, qop, "GET", path)
        };
        assert_eq!(respond(Algorithm::Md5), "8ca523f5e9506fed4657c9700eebdbec");
        assert_eq!(respond(Algorithm::Sha256), "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1");
    }

    #[test]
    fn an_answer_verifies_and_a_wrong_password_does_not() {
        for algorithm in [Algorithm::Md5, Algorithm::Sha256] {
            let header =
                format!("Digest realm=\"h\", nonce=\"n1\", qop=\"auth,auth-int\", algorithm={}", algorithm.token());
            let challenge = Challenge::parse(&header).unwrap();
            assert!(challenge.qop_auth);
            let who = Credentials::new("8001", "secret");
            let value = challenge.answer(&who, "REGISTER", "sip:h", 1);
            assert!(verify(&value, &who, "h", "n1", "REGISTER"));
            assert!(!verify(&value, &Credentials::new("8001", "wrong"), "h", "n1", "REGISTER"));
            assert!(!verify(&value, &who, "h", "n1", "INVITE"));
        }
    }

    #[test]
    fn the_preferred_hash_is_chosen_among_several_challenges() {
        let offered =
            ["Digest realm=\"h\", nonce=\"a\", algorithm=SHA-256", "Digest realm=\"h\", nonce=\"b\", algorithm=MD5"];
        let choose = |prefer| Challenge::choose(offered.into_iter(), prefer).unwrap().nonce;
        assert_eq!(choose(None), "a");
        assert_eq!(choose(Some(Algorithm::Md5)), "b");
        assert!(Challenge::choose(["Basic realm=x"].into_iter(), None).is_err());
    }
}

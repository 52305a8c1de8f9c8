//! Digest authentication (RFC 8760 over RFC 7616), both roles

mod answer;
mod credentials;
mod nonce;

pub use answer::{Challenge, authorization, strongest};
pub use credentials::Credentials;
pub use nonce::{NonceBook, NonceState};

use md5::Md5;
use sha2::{Digest, Sha256, Sha512_256};

/// A hash algorithm of digest
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// `MD5`, for old phones
    Md5,
    /// `SHA-256`
    Sha256,
    /// `SHA-512-256`; accounts keep no hash of it, so we answer its challenges and offer none
    Sha512256,
}

impl Algorithm {
    /// Reads an `algorithm` parameter; an absent one means MD5, a `-sess` variant is unknown
    #[must_use]
    pub fn of(text: Option<&str>) -> Option<Self> {
        match text {
            None => Some(Self::Md5),
            Some(text) if text.eq_ignore_ascii_case("MD5") => Some(Self::Md5),
            Some(text) if text.eq_ignore_ascii_case("SHA-256") => Some(Self::Sha256),
            Some(text) if text.eq_ignore_ascii_case("SHA-512-256") => Some(Self::Sha512256),
            Some(_) => None,
        }
    }

    /// The `algorithm` parameter
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
            Self::Sha512256 => "SHA-512-256",
        }
    }

    fn hex(self, parts: &[&str]) -> String {
        let text = parts.join(":");
        match self {
            Self::Md5 => to_hex(&Md5::digest(text)),
            Self::Sha256 => to_hex(&Sha256::digest(text)),
            Self::Sha512256 => to_hex(&Sha512_256::digest(text)),
        }
    }
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, b| {
        for nibble in [b >> 4, b & 15] {
            out.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
        out
    })
}

/// Hex hash of `user:realm:password`
#[must_use]
pub fn ha1(algorithm: Algorithm, user: &str, realm: &str, password: &str) -> String {
    algorithm.hex(&[user, realm, password])
}

/// Hex MD5 of `user:realm:password`
#[must_use]
pub fn ha1_md5(user: &str, realm: &str, password: &str) -> String {
    ha1(Algorithm::Md5, user, realm, password)
}

/// Hex SHA-256 of `user:realm:password`
#[must_use]
pub fn ha1_sha256(user: &str, realm: &str, password: &str) -> String {
    ha1(Algorithm::Sha256, user, realm, password)
}

/// The `response` parameter (RFC 7616 §3.4.1); `qop` is (nc, cnonce) for qop=auth
#[must_use]
pub fn response(
    algorithm: Algorithm,
    ha1: &str,
    nonce: &str,
    method: &str,
    uri: &str,
    qop: Option<(&str, &str)>,
) -> String {
    let ha2 = algorithm.hex(&[method, uri]);
    match qop {
        Some((nc, cnonce)) => algorithm.hex(&[ha1, nonce, nc, cnonce, "auth", &ha2]),
        None => algorithm.hex(&[ha1, nonce, &ha2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The worked example of RFC 7616 §3.9.1.
    #[test]
    fn the_standards_example_comes_out() {
        let nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
        let qop = Some(("00000001", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"));
        let (user, realm, password) = ("Mufasa", "http-auth@example.org", "Circle of Life");
        let ha1 = ha1_md5(user, realm, password);
        assert_eq!(
            response(Algorithm::Md5, &ha1, nonce, "GET", "/dir/index.html", qop),
            "8ca523f5e9506fed4657c9700eebdbec"
        );
        let ha1 = ha1_sha256(user, realm, password);
        assert_eq!(
            response(Algorithm::Sha256, &ha1, nonce, "GET", "/dir/index.html", qop),
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
        );
    }
}

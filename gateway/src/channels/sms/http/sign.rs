//! Signatures and the strings they are made over.

use base64::Engine as _;
use hmac::{Hmac, Mac};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::config::{HttpSign, SignAlgorithm, SignEncoding};
use crate::privacy::constant_time_eq;

/// A text with every `{name}` that `value` knows replaced; all else stays as it is. Values are not looked into again.
pub(super) fn expand(template: &str, value: &dyn Fn(&str) -> Option<String>) -> String {
    let (mut out, mut rest) = (String::with_capacity(template.len()), template);
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let known = rest.find('}').and_then(|end| value(&rest[1..end]).map(|v| (v, end)));
        match known {
            Some((v, end)) => {
                out.push_str(&v);
                rest = &rest[end + 1..];
            }
            None => {
                out.push('{');
                rest = &rest[1..];
            }
        }
    }
    out + rest
}

/// The signature over `text`.
pub(super) fn sign(rule: &HttpSign, secret: &str, text: &str) -> String {
    let bytes = digest(rule.algorithm, secret.as_bytes(), text.as_bytes());
    match rule.encoding {
        SignEncoding::Hex => hex(&bytes),
        SignEncoding::HexUpper => hex(&bytes).to_ascii_uppercase(),
        SignEncoding::Base64 => base64::engine::general_purpose::STANDARD.encode(bytes),
    }
}

/// Whether `given` is the signature over `text`; an empty secret signs nothing.
pub(super) fn is_signed(rule: &HttpSign, secret: &str, text: &str, given: &str) -> bool {
    let given = given.strip_prefix("sha256=").unwrap_or(given).trim();
    let wanted = sign(rule, secret, text);
    let same = match rule.encoding {
        SignEncoding::Base64 => constant_time_eq(wanted.as_bytes(), given.as_bytes()),
        _ => constant_time_eq(wanted.to_ascii_lowercase().as_bytes(), given.to_ascii_lowercase().as_bytes()),
    };
    same && !secret.is_empty()
}

fn digest(algorithm: SignAlgorithm, secret: &[u8], text: &[u8]) -> Vec<u8> {
    fn mac<M: Mac + hmac::digest::KeyInit>(secret: &[u8], text: &[u8]) -> Vec<u8> {
        // HMAC takes keys of any length: the error case doesn't exist.
        let Ok(mut mac) = <M as Mac>::new_from_slice(secret) else { return Vec::new() };
        mac.update(text);
        mac.finalize().into_bytes().to_vec()
    }
    match algorithm {
        SignAlgorithm::HmacSha256 => mac::<Hmac<Sha256>>(secret, text),
        SignAlgorithm::HmacSha1 => mac::<Hmac<Sha1>>(secret, text),
        SignAlgorithm::Sha256 => Sha256::digest(text).to_vec(),
        SignAlgorithm::Md5 => Md5::digest(text).to_vec(),
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut s, b| {
        let _ = write!(s, "{b:02x}");
        s
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(algorithm: SignAlgorithm, encoding: SignEncoding) -> HttpSign {
        HttpSign { algorithm, encoding, over: String::new() }
    }

    #[test]
    fn known_answers_of_each_algorithm() {
        // RFC 4231 test case 2, RFC 2202 test case 2, FIPS 180's "abc", RFC 1321's "abc"
        let what = "what do ya want for nothing?";
        let of = |a, text| sign(&rule(a, SignEncoding::Hex), "Jefe", text);
        let sha256 = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(of(SignAlgorithm::HmacSha256, what), sha256);
        assert_eq!(of(SignAlgorithm::HmacSha1, what), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(of(SignAlgorithm::Sha256, "abc"), abc);
        assert_eq!(of(SignAlgorithm::Md5, "abc"), "900150983cd24fb0d6963f7d28e17f72");
        let base64 = sign(&rule(SignAlgorithm::Md5, SignEncoding::Base64), "", "abc");
        assert_eq!(base64, "kAFQmDzST7DWlj99KOF/cg==");
    }

    #[test]
    fn only_the_right_signature_with_a_secret_counts() {
        let r = rule(SignAlgorithm::HmacSha256, SignEncoding::Hex);
        let good = sign(&r, "s", "body");
        assert!(is_signed(&r, "s", "body", &good));
        assert!(is_signed(&r, "s", "body", &format!("sha256={}", good.to_ascii_uppercase())));
        assert!(!is_signed(&r, "s", "bodY", &good) && !is_signed(&r, "t", "body", &good));
        assert!(!is_signed(&r, "s", "body", "") && !is_signed(&r, "s", "body", &good[1..]));
        let empty = sign(&r, "", "body");
        assert!(!is_signed(&r, "", "body", &empty), "no secret, no trust");
    }

    #[test]
    fn placeholders_are_replaced_once_and_unknown_ones_stay() {
        let value = |name: &str| match name {
            "a" => Some("{b}".to_owned()),
            "b" => Some("2".to_owned()),
            _ => None,
        };
        assert_eq!(expand("x{a}{b}{c}{", &value), "x{b}2{c}{");
        assert_eq!(expand("{{a}}", &value), "{{b}}");
    }
}

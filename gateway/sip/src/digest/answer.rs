//! Answering a 401 or 407 as client

use super::{Algorithm, Credentials, response};
use crate::message::{HeaderName, Message, quote};

/// A challenge we can answer
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// From a proxy (407) rather than the peer (401)
    pub proxy: bool,
    /// Hash to use
    pub algorithm: Algorithm,
    /// Realm
    pub realm: String,
    /// Nonce
    pub nonce: String,
    /// To be repeated as is
    pub opaque: Option<String>,
    /// Whether qop=auth was offered
    pub qop: bool,
    /// Our last nonce was too old, the password may be right
    pub stale: bool,
}

/// The strongest challenge of a 401 or 407 that we can answer
#[must_use]
pub fn strongest(message: &Message) -> Option<Challenge> {
    let proxy = message.code() == 407;
    let id = if proxy { HeaderName::ProxyAuthenticate } else { HeaderName::WwwAuthenticate };
    message.header_all(id).filter_map(|value| read(value, proxy)).max_by_key(|c| c.algorithm)
}

fn read(value: &[u8], proxy: bool) -> Option<Challenge> {
    let params = Credentials::parse(value)?;
    let qops = params.get("qop");
    let qop = qops.is_some_and(|list| list.split(',').any(|q| q.trim().eq_ignore_ascii_case("auth")));
    if qops.is_some() && !qop {
        return None;
    }
    Some(Challenge {
        proxy,
        algorithm: Algorithm::of(params.get("algorithm"))?,
        realm: params.get("realm")?.to_owned(),
        nonce: params.get("nonce")?.to_owned(),
        opaque: params.get("opaque").map(str::to_owned),
        qop,
        stale: params.get("stale").is_some_and(|v| v.eq_ignore_ascii_case("true")),
    })
}

/// The header field that answers: (`Authorization` or `Proxy-Authorization`, value)
#[must_use]
pub fn authorization(
    challenge: &Challenge,
    method: &str,
    uri: &str,
    user: &str,
    password: &str,
    cnonce: &str,
) -> (String, String) {
    let ha1 = super::ha1(challenge.algorithm, user, &challenge.realm, password);
    // A nonce of the peer serves one request here, so its count is always 1.
    let nc = "00000001";
    let qop = challenge.qop.then_some((nc, cnonce));
    let digest = response(challenge.algorithm, &ha1, &challenge.nonce, method, uri, qop);
    let mut value = format!(
        "Digest username={}, realm={}, nonce={}, uri={}, response=\"{digest}\", algorithm={}",
        quote(user),
        quote(&challenge.realm),
        quote(&challenge.nonce),
        quote(uri),
        challenge.algorithm.text(),
    );
    if challenge.qop {
        value.push_str(&format!(", qop=auth, nc={nc}, cnonce=\"{cnonce}\""));
    }
    if let Some(opaque) = &challenge.opaque {
        value.push_str(&format!(", opaque={}", quote(opaque)));
    }
    let name = if challenge.proxy { "Proxy-Authorization" } else { "Authorization" };
    (name.to_owned(), value)
}

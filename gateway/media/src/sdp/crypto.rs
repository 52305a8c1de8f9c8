//! `a=crypto` (RFC 4568): keys for SRTP in a session description.

use std::{borrow::Cow, fmt::Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::srtp::{MasterKey, Suite};

/// One `a=crypto` line we can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crypto {
    /// Names the line within its media description; an answer repeats it.
    pub tag: u32,
    /// How it protects.
    pub suite: Suite,
    /// What its writer sends with.
    pub key: MasterKey,
}

/// Keys of one leg of ours, one per suite: lines of one offer never share a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalKeys([MasterKey; Suite::SDES.len()]);

impl LocalKeys {
    /// From fresh random bytes: `fill` is the system's randomness.
    ///
    /// # Errors
    /// What `fill` says.
    pub fn generate<E>(mut fill: impl FnMut(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        let mut key = || {
            let mut bytes = [0; 30];
            fill(&mut bytes)?;
            Ok(MasterKey::new(bytes))
        };
        Ok(Self([key()?, key()?]))
    }

    /// What we send with under `suite`.
    #[must_use]
    pub const fn of(&self, suite: Suite) -> &MasterKey {
        match suite {
            Suite::Sha1Tag32 => &self.0[1],
            // The others' keys come out of DTLS.
            Suite::Sha1Tag80 | Suite::Gcm128 | Suite::Gcm256 => &self.0[0],
        }
    }

    /// The lines of an offer, preferred suite first, tags from 1.
    pub(super) fn offered(&self) -> Vec<Crypto> {
        let line = |(tag, suite): (u32, Suite)| Crypto { tag, suite, key: self.of(suite).clone() };
        (1..).zip(Suite::SDES).map(line).collect()
    }
}

/// Reads the value of `a=crypto`. `None` for a line we can't or won't follow: an unknown suite, a
/// master key index, several keys, or parameters that take protection away (RFC 4568 §6.3). RFC 4568
/// §5.1.2 has the answerer pass over such lines.
pub(super) fn parse(value: &str) -> Option<Crypto> {
    let mut words = value.split_ascii_whitespace();
    let tag = words.next().filter(|tag| tag.len() <= 9 && tag.bytes().all(|byte| byte.is_ascii_digit()))?;
    let tag = tag.parse().ok()?;
    let suite = Suite::from_name(words.next()?)?;
    let key = key(words.next()?)?;
    words.all(is_harmless).then_some(Crypto { tag, suite, key })
}

/// `inline:` key and salt, perhaps `|` lifetime. The lifetime binds who sends with the key; ours
/// ends at the most RFC 3711 allows. Several keys (`;`) need an index, which we don't speak.
fn key(value: &str) -> Option<MasterKey> {
    let (method, value) = value.split_once(':')?;
    if !method.eq_ignore_ascii_case("inline") {
        return None;
    }
    let mut parts = value.split('|');
    let bytes = STANDARD.decode(parts.next()?).ok()?;
    if parts.next().is_some_and(|lifetime| !is_lifetime(lifetime)) || parts.next().is_some() {
        return None;
    }
    Some(MasterKey::new(bytes.try_into().ok()?))
}

fn is_lifetime(text: &str) -> bool {
    match text.strip_prefix("2^") {
        Some(power) => power.parse::<u8>().is_ok_and(|power| power <= 48),
        None => text.parse::<u64>().is_ok_and(|packets| (1..=1 << 48).contains(&packets)),
    }
}

/// A key derivation rate of 0 is what everybody has, a window size only a hint; what begins with
/// `-` may be passed over (RFC 4568 §6.3.7). All others change what goes over the wire.
fn is_harmless(parameter: &str) -> bool {
    parameter.starts_with('-') || parameter.starts_with("WSH=") || parameter == "KDR=0"
}

pub(super) fn write(text: &mut String, line: &Crypto) {
    let key = STANDARD.encode(line.key.bytes());
    let _ = write!(text, "a=crypto:{} {} inline:{key}\r\n", line.tag, line.suite.name());
}

/// A description, or a whole message that carries one, with every key of its `a=crypto` lines and every
/// `a=ice-pwd` overwritten with stars, for traces and logs; the length stays. Copies only where there is one.
#[must_use]
pub fn mask_sdp_keys(message: &[u8]) -> Cow<'_, [u8]> {
    const MARKS: [&[u8]; 2] = [b"inline:", b"ice-pwd:"];
    let mut shown = Cow::Borrowed(message);
    let mut at = 0;
    while let Some(found) = message[at..].iter().position(|byte| *byte == b':') {
        at += found + 1;
        let ends_with = |mark: &[u8]| {
            let start = at.checked_sub(mark.len());
            start.is_some_and(|start| message[start..at].eq_ignore_ascii_case(mark))
        };
        if !MARKS.into_iter().any(ends_with) {
            continue;
        }
        // What follows a bar is a key's lifetime; a password ends with its line.
        let has_bar = ends_with(MARKS[0]);
        let ends = |byte: u8| byte.is_ascii_whitespace() || (has_bar && byte == b'|');
        let key = message[at..].iter().take_while(|byte| !ends(**byte)).count();
        if key > 0 {
            shown.to_mut()[at..at + key].fill(b'*');
        }
        at += key;
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    // The key of RFC 4568 §10.1.
    const KEY: &str = "inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

    #[test]
    fn lines_we_can_follow_are_read() {
        for (line, tag, suite) in [
            (format!("1 AES_CM_128_HMAC_SHA1_80 {KEY}"), 1, Suite::Sha1Tag80),
            (format!("77 AES_CM_128_HMAC_SHA1_32  {KEY}|2^20"), 77, Suite::Sha1Tag32),
            (format!("2 AES_CM_128_HMAC_SHA1_80 {KEY}|1048576 WSH=128 KDR=0 -new=thing"), 2, Suite::Sha1Tag80),
        ] {
            let crypto = parse(&line).unwrap_or_else(|| panic!("{line}"));
            assert_eq!((crypto.tag, crypto.suite), (tag, suite));
            assert_eq!(crypto.key.bytes()[..4], *b"YS__");
        }
    }

    #[test]
    fn lines_we_cannot_follow_are_passed_over() {
        for line in [
            "",
            "1",
            "1 AES_CM_128_HMAC_SHA1_80",
            "1 AES_CM_128_HMAC_SHA1_80 inline:",
            "1 AES_CM_128_HMAC_SHA1_80 inline:c2hvcnQ=",
            "1 AES_CM_128_HMAC_SHA1_80 inline:@VNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz",
            &format!("1 AES_256_CM_HMAC_SHA1_80 {KEY}"),
            &format!("x AES_CM_128_HMAC_SHA1_80 {KEY}"),
            &format!("-1 AES_CM_128_HMAC_SHA1_80 {KEY}"),
            &format!("1234567890 AES_CM_128_HMAC_SHA1_80 {KEY}"),
            &format!("1 AES_CM_128_HMAC_SHA1_80 {KEY}|2^20|1:4"),
            &format!("1 AES_CM_128_HMAC_SHA1_80 {KEY}|1:4"),
            &format!("1 AES_CM_128_HMAC_SHA1_80 {KEY}|2^49"),
            &format!("1 AES_CM_128_HMAC_SHA1_80 {KEY}|0"),
            &format!("1 AES_CM_128_HMAC_SHA1_80 {KEY};{KEY}"),
            &format!("1 AES_CM_128_HMAC_SHA1_80 {KEY} UNENCRYPTED_SRTP"),
            &format!("1 AES_CM_128_HMAC_SHA1_80 {KEY} UNENCRYPTED_SRTCP"),
            &format!("1 AES_CM_128_HMAC_SHA1_80 {KEY} UNAUTHENTICATED_SRTP"),
            &format!("1 AES_CM_128_HMAC_SHA1_80 {KEY} KDR=1"),
            &format!("1 AES_CM_128_HMAC_SHA1_80 {KEY} FEC_ORDER=FEC_SRTP"),
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut bytes = 0;
        let keys = LocalKeys::generate(|key| {
            bytes += 1;
            key.fill(bytes);
            Ok::<(), ()>(())
        });
        let keys = keys.unwrap();
        let lines = keys.offered();
        assert_eq!(lines.iter().map(|line| line.tag).collect::<Vec<_>>(), [1, 2]);
        assert_ne!(lines[0].key, lines[1].key);
        for line in lines {
            let mut text = String::new();
            write(&mut text, &line);
            assert_eq!(parse(text.trim().strip_prefix("a=crypto:").unwrap()), Some(line));
        }
    }

    #[test]
    fn a_browsers_ice_password_is_masked_and_its_name_stays() {
        let message = b"a=ice-ufrag:abcd\r\na=ice-pwd:asd88fgpdd777uzjYhagZg\r\nA=ICE-PWD:x|y\na=ice-pwd:";
        let text = String::from_utf8(mask_sdp_keys(message).into_owned()).unwrap();
        assert_eq!(text, "a=ice-ufrag:abcd\r\na=ice-pwd:**********************\r\nA=ICE-PWD:***\na=ice-pwd:");
    }

    #[test]
    fn no_key_is_left_in_a_masked_message() {
        let message = format!(
            "INVITE sip:x SIP/2.0\r\n\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 {KEY}|2^20|1:4\r\n\
             a=crypto:2 AES_CM_128_HMAC_SHA1_32 INLINE:{};{KEY} FEC_KEY={KEY}\r\na=sendrecv\r\ninline:",
            &KEY[7..]
        )
        .into_bytes();
        let text = String::from_utf8(mask_sdp_keys(&message).into_owned()).unwrap();
        assert_eq!(text.len(), message.len());
        assert!(!text.contains("WVNf") && text.contains("inline:****") && text.contains("*|2^20|1:4\r\n"), "{text}");
        assert!(text.contains("a=sendrecv"));
        assert!(matches!(mask_sdp_keys(b"v=0\r\na=rtpmap:8 PCMA/8000\r\nc=inline:"), Cow::Borrowed(_)));
    }
}

//! Browsers' legs: what ICE-lite (RFC 8445 §2.5) needs of a leg, which of its datagrams is what, and what
//! DTLS-SRTP (RFC 5764) has to be told. DTLS itself is the driver's; its keys come back as for any SRTP.
//!
//! We are lite: the browser checks, nominates, and keeps asking for consent (RFC 7675); we only answer.
//! An address it has checked with our password is proven, and nothing goes to any other.

mod path;
mod stun;

pub use path::Paths;
pub use stun::{Answer, Check, StunError, check, request};

use std::sync::Arc;

use subtle::ConstantTimeEq;

/// What a datagram on a port shared by all protocols is, by its first byte (RFC 7983 §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// STUN.
    Stun,
    /// DTLS.
    Dtls,
    /// RTP or RTCP.
    Rtp,
    /// Nothing we speak.
    Other,
}

impl Kind {
    /// Of a datagram.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        match bytes.first() {
            Some(0..=3) => Self::Stun,
            Some(20..=63) => Self::Dtls,
            Some(128..=191) => Self::Rtp,
            _ => Self::Other,
        }
    }
}

/// User fragment and password of one side (RFC 8839 §5.4).
#[derive(Clone, PartialEq, Eq)]
pub struct IceCredentials {
    /// Fragment of the user name.
    pub ufrag: String,
    /// Password of checks towards that side.
    pub pwd: String,
}

impl IceCredentials {
    /// Fresh ones: `random` gives the system's randomness. 144 bits of password, as RFC 8445 §5.3 wants 128.
    ///
    /// # Errors
    /// What `random` says.
    pub fn generate<E>(mut random: impl FnMut(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
        // Base64's letters are the ice-chars of RFC 8839 §5.4.
        let (mut ufrag, mut pwd) = ([0; 6], [0; 18]);
        random(&mut ufrag)?;
        random(&mut pwd)?;
        Ok(Self { ufrag: STANDARD_NO_PAD.encode(ufrag), pwd: STANDARD_NO_PAD.encode(pwd) })
    }
}

// A password never reaches a log.
impl std::fmt::Debug for IceCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IceCredentials").field("ufrag", &self.ufrag).finish_non_exhaustive()
    }
}

/// SHA-256 of a certificate, as `a=fingerprint` names it (RFC 8122 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// `AB:CD:…`.
    #[must_use]
    pub fn text(&self) -> String {
        let bytes: Vec<String> = self.0.iter().map(|byte| format!("{byte:02X}")).collect();
        bytes.join(":")
    }

    /// Reads `sha-256 AB:CD:…`; `None` for another hash: the browser offers this one too or isn't one.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let (hash, text) = value.trim().split_once(char::is_whitespace)?;
        if !hash.eq_ignore_ascii_case("sha-256") {
            return None;
        }
        let mut bytes = [0; 32];
        let mut parts = text.trim().split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()))?;
            *byte = u8::from_str_radix(part, 16).ok()?;
        }
        parts.next().is_none().then_some(Self(bytes))
    }

    /// Compares in constant time.
    #[must_use]
    pub fn is(&self, other: &[u8]) -> bool {
        self.0.ct_eq(other).into()
    }
}

/// Who begins the DTLS handshake (RFC 4145, RFC 5763 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// Either; in offers.
    ActPass,
    /// Its writer begins.
    Active,
    /// Its writer waits.
    Passive,
}

impl Setup {
    /// The attribute's value.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ActPass => "actpass",
            Self::Active => "active",
            Self::Passive => "passive",
        }
    }

    /// Of `a=setup`; `holdconn` has no use with DTLS-SRTP.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        [Self::ActPass, Self::Active, Self::Passive].into_iter().find(|s| value.trim().eq_ignore_ascii_case(s.name()))
    }
}

/// What offer and answer settled about a browser's leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtcParams {
    /// Ours: checks towards us carry its password.
    pub local: Arc<IceCredentials>,
    /// The browser's user fragment.
    pub remote_ufrag: String,
    /// Of the certificate the browser has to show.
    pub fingerprint: Fingerprint,
    /// We begin the DTLS handshake.
    pub is_client: bool,
}

impl RtcParams {
    /// The handshake that was made for these still holds for `other`: an ICE restart alone keeps it (RFC 8842 §4).
    #[must_use]
    pub fn has_same_association(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint && self.is_client == other.is_client
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_tells_what_a_datagram_is() {
        let kinds = [0, 3, 4, 19, 20, 63, 64, 127, 128, 191, 192, 255].map(|byte| Kind::of(&[byte]));
        use Kind::{Dtls, Other, Rtp, Stun};
        assert_eq!(kinds, [Stun, Stun, Other, Other, Dtls, Dtls, Other, Other, Rtp, Rtp, Other, Other]);
        assert_eq!(Kind::of(&[]), Other);
    }

    #[test]
    fn fingerprints_are_read_as_they_are_written() {
        let print = Fingerprint(std::array::from_fn(|n| n as u8 * 7));
        assert_eq!(Fingerprint::parse(&format!("SHA-256 {}", print.text().to_ascii_lowercase())), Some(print));
        let text = print.text();
        for bad in [format!("sha-1 {text}"), format!("sha-256 {text}:00"), format!("sha-256 {}", &text[3..])] {
            assert_eq!(Fingerprint::parse(&bad), None, "{bad}");
        }
        for bad in ["", "sha-256", "sha-256 +1:00", "sha-256 é"] {
            assert_eq!(Fingerprint::parse(bad), None, "{bad}");
        }
        assert!(print.is(&print.0) && !print.is(&[0; 32]) && !print.is(&[]));
    }

    #[test]
    fn a_password_is_long_and_shows_nothing_of_itself() {
        let mut n = 0;
        let own = IceCredentials::generate(|bytes| {
            n += 1;
            bytes.fill(n);
            Ok::<(), ()>(())
        });
        let own = own.unwrap();
        assert_eq!((own.ufrag.len(), own.pwd.len()), (8, 24));
        assert!(!format!("{own:?}").contains(&own.pwd));
        assert_eq!(Setup::parse(" Active"), Some(Setup::Active));
        assert_eq!(Setup::parse("holdconn"), None);
    }
}

//! Encryption of one leg: what the site wants of it, and what its signalling permits.

use std::sync::Arc;

use hotline_media::rtc::{Fingerprint, IceCredentials};
use hotline_media::sdp::{LocalKeys, LocalRtc, Security};
use hotline_sip::Transport;
use rand::TryRngCore;
use rand::rngs::OsRng;

use crate::config::Srtp;

/// Why a leg that has to be encrypted can't be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SecurityError {
    #[error("SRTP is required and its keys would travel in clear: use TLS, or permit sip.srtp_keys_in_clear")]
    KeysInClear,
    #[error("the system gives no randomness for keys")]
    NoRandomness,
}

/// Decides for a leg whose signalling goes over `transport`. Keys are written for TLS only, unless the
/// site permits more (RFC 4568 §8.1): without that, optional encryption is none, and required
/// encryption is no call.
pub(crate) fn security(wish: Srtp, transport: Transport, keys_in_clear: bool) -> Result<Security, SecurityError> {
    let may = transport == Transport::Tls || keys_in_clear;
    match (wish, may) {
        (Srtp::Off, _) | (Srtp::Optional, false) => Ok(Security::Plain),
        (Srtp::Required, false) => Err(SecurityError::KeysInClear),
        (Srtp::Optional, true) => fresh().map(Security::Preferred),
        (Srtp::Required, true) => fresh().map(Security::Required),
    }
}

/// The same wish with fresh keys; without randomness no encryption is offered any more.
pub(crate) fn renewed(security: &Security) -> Security {
    match security {
        Security::Plain => Security::Plain,
        Security::Preferred(_) => fresh().map_or(Security::Plain, Security::Preferred),
        Security::Required(keys) => Security::Required(fresh().unwrap_or_else(|_| keys.clone())),
        Security::Dtls(local) => Security::Dtls(local.clone()),
    }
}

/// A browser's leg, with fresh ICE credentials; `fingerprint` is of our certificate.
pub(crate) fn browser(fingerprint: Fingerprint) -> Result<Security, SecurityError> {
    let ice = IceCredentials::generate(|bytes| OsRng.try_fill_bytes(bytes)).map_err(|_| SecurityError::NoRandomness)?;
    Ok(Security::Dtls(LocalRtc { ice: Arc::new(ice), fingerprint }))
}

fn fresh() -> Result<LocalKeys, SecurityError> {
    LocalKeys::generate(|key| OsRng.try_fill_bytes(key)).map_err(|_| SecurityError::NoRandomness)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_over_tls_or_by_permission_only() {
        let of = |wish, transport, permit| security(wish, transport, permit);
        assert_eq!(of(Srtp::Off, Transport::Tls, true), Ok(Security::Plain));
        assert!(matches!(of(Srtp::Optional, Transport::Tls, false), Ok(Security::Preferred(_))));
        assert!(matches!(of(Srtp::Required, Transport::Tls, false), Ok(Security::Required(_))));
        for clear in [Transport::Udp, Transport::Tcp] {
            assert_eq!(of(Srtp::Optional, clear, false), Ok(Security::Plain));
            assert_eq!(of(Srtp::Required, clear, false), Err(SecurityError::KeysInClear));
            assert!(matches!(of(Srtp::Optional, clear, true), Ok(Security::Preferred(_))));
            assert!(matches!(of(Srtp::Required, clear, true), Ok(Security::Required(_))));
        }
    }

    #[test]
    fn every_leg_has_keys_of_its_own() {
        let once = security(Srtp::Required, Transport::Tls, false).unwrap();
        assert_ne!(once, security(Srtp::Required, Transport::Tls, false).unwrap());
    }
}

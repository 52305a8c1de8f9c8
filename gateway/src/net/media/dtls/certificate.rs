//! Our certificate: nobody signed it, its fingerprint in the session description is what proves it (RFC 5763 §5).

use hotline_media::rtc::Fingerprint;
use sha2::{Digest, Sha256};

/// Certificate and key of this run.
pub(in crate::net::media) struct Identity {
    /// DER.
    pub(super) certificate: Vec<u8>,
    /// PKCS #8, DER.
    pub(super) key: Vec<u8>,
    pub(in crate::net::media) fingerprint: Fingerprint,
}

impl Identity {
    /// A fresh one: ECDSA with P-256, which every browser knows.
    pub(in crate::net::media) fn generate() -> Result<Self, rcgen::Error> {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let mut params = rcgen::CertificateParams::new(Vec::new())?;
        // Without a name: whoever can see the handshake learns nothing of the site.
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "WebRTC");
        let certificate = params.self_signed(&key)?.der().to_vec();
        let fingerprint = Fingerprint(Sha256::digest(&certificate).into());
        Ok(Self { certificate, key: key.serialize_der(), fingerprint })
    }
}

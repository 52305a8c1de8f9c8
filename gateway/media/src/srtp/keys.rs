//! Master keys, cipher suites and the derivation of session keys.

use aes::{
    Aes128Enc,
    cipher::{BlockEncrypt, KeyInit},
};
use zeroize::Zeroize;

/// Master key and master salt, as `inline:` carries them (RFC 4568 §6.1).
pub(crate) const MASTER_LEN: usize = 30;
const KEY_LEN: usize = 16;
pub(super) const SALT_LEN: usize = 14;
/// Session keys for HMAC-SHA1 have 160 bits (RFC 3711 §8.2).
pub(super) const AUTH_KEY_LEN: usize = 20;

/// The cipher suites we speak (RFC 4568 §6.2); the first is the one everybody has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// `AES_CM_128_HMAC_SHA1_80`.
    Sha1Tag80,
    /// `AES_CM_128_HMAC_SHA1_32`: a short tag on RTP, the long one on RTCP (RFC 4568 §6.2.2).
    Sha1Tag32,
}

impl Suite {
    /// Both, preferred first.
    pub const ALL: [Self; 2] = [Self::Sha1Tag80, Self::Sha1Tag32];

    /// Its name in `a=crypto`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1Tag80 => "AES_CM_128_HMAC_SHA1_80",
            Self::Sha1Tag32 => "AES_CM_128_HMAC_SHA1_32",
        }
    }

    /// The suite of that name; names are compared as RFC 4568 §9.2's grammar has them, in capitals.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.name().eq_ignore_ascii_case(name))
    }

    pub(super) const fn rtp_tag_len(self) -> usize {
        match self {
            Self::Sha1Tag80 => 10,
            Self::Sha1Tag32 => 4,
        }
    }
}

/// A master key with its salt. Debug shows nothing of it; dropping it wipes it.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey([u8; MASTER_LEN]);

impl MasterKey {
    /// 16 bytes of key, then 14 of salt; for keys of our own, fresh bytes from the system's randomness.
    #[must_use]
    pub const fn new(bytes: [u8; MASTER_LEN]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn bytes(&self) -> &[u8; MASTER_LEN] {
        &self.0
    }

    /// RFC 3711 §4.3 with a key derivation rate of 0: the first bytes of a key stream per label.
    pub(super) fn derive<const N: usize>(&self, label: u8) -> [u8; N] {
        let (key, salt) = self.0.split_at(KEY_LEN);
        let cipher = Aes128Enc::new(key.into());
        let mut counter = [0; 16];
        counter[..SALT_LEN].copy_from_slice(salt);
        counter[7] ^= label;
        let mut derived = [0; N];
        for (block, part) in derived.chunks_mut(16).enumerate() {
            counter[15] = block as u8;
            let mut stream = counter.into();
            cipher.encrypt_block(&mut stream);
            part.copy_from_slice(&stream[..part.len()]);
        }
        derived
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

impl Drop for MasterKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// What an offer and its answer settled about encryption: each side sends with a key of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SrtpParams {
    /// The suite of both directions.
    pub suite: Suite,
    /// What we send with.
    pub local: MasterKey,
    /// What the peer sends with.
    pub remote: MasterKey,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        std::array::from_fn(|n| u8::from_str_radix(&text[n * 2..n * 2 + 2], 16).unwrap())
    }

    // RFC 3711 Appendix B.3.
    #[test]
    fn session_keys_are_those_of_the_rfc() {
        let mut master = [0; MASTER_LEN];
        master[..16].copy_from_slice(&hex::<16>("E1F97A0D3E018BE0D64FA32C06DE4139"));
        master[16..].copy_from_slice(&hex::<14>("0EC675AD498AFEEBB6960B3AABE6"));
        let master = MasterKey::new(master);
        assert_eq!(master.derive::<16>(0), hex("C61E7A93744F39EE10734AFE3FF7A087"));
        assert_eq!(master.derive::<14>(2), hex("30CBBC08863D8C85D49DB34A9AE1"));
        let auth = "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCEE049646C43D9327AD175578EF72270986371C10C9A369AC2F94A8C5FBCDDDC256D6E919A48B610EF17C2041E474035766B68642C59BBFC2F34DB60DBDFB2DC68";
        assert_eq!(master.derive::<94>(1), hex(auth));
        assert_eq!(master.derive::<20>(1), hex(auth));
    }

    #[test]
    fn a_key_shows_nothing_of_itself() {
        assert_eq!(format!("{:?}", MasterKey::new([7; MASTER_LEN])), "MasterKey(…)");
        assert_eq!(Suite::from_name("AES_CM_128_HMAC_SHA1_32"), Some(Suite::Sha1Tag32));
        assert_eq!(Suite::from_name("F8_128_HMAC_SHA1_80"), None);
    }
}

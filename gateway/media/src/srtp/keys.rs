//! Master keys, cipher suites and the derivation of session keys.

use aes::{
    Aes128Enc, Aes256Enc,
    cipher::{Block, BlockEncrypt, KeyInit},
};
use zeroize::Zeroize;

/// Master key and master salt, as `inline:` carries them (RFC 4568 §6.1).
pub(crate) const MASTER_LEN: usize = 30;
const KEY_LEN: usize = 16;
const KEY_LEN_MAX: usize = 32;
pub(super) const SALT_LEN: usize = 14;
/// Session keys for HMAC-SHA1 have 160 bits (RFC 3711 §8.2).
pub(super) const AUTH_KEY_LEN: usize = 20;

/// The cipher suites we speak. Those of RFC 4568 §6.2 serve keys in SDP, the first is the one everybody
/// has; DTLS (RFC 5764, RFC 7714) has the first and the two of GCM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// `AES_CM_128_HMAC_SHA1_80`.
    Sha1Tag80,
    /// `AES_CM_128_HMAC_SHA1_32`: a short tag on RTP, the long one on RTCP (RFC 4568 §6.2.2).
    Sha1Tag32,
    /// `AEAD_AES_128_GCM` (RFC 7714).
    Gcm128,
    /// `AEAD_AES_256_GCM`.
    Gcm256,
}

impl Suite {
    /// Those whose keys we write into SDP, preferred first.
    pub const SDES: [Self; 2] = [Self::Sha1Tag80, Self::Sha1Tag32];

    /// Its name in `a=crypto`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1Tag80 => "AES_CM_128_HMAC_SHA1_80",
            Self::Sha1Tag32 => "AES_CM_128_HMAC_SHA1_32",
            Self::Gcm128 => "AEAD_AES_128_GCM",
            Self::Gcm256 => "AEAD_AES_256_GCM",
        }
    }

    /// Bytes of master key and master salt.
    #[must_use]
    pub const fn key_lens(self) -> (usize, usize) {
        match self {
            Self::Sha1Tag80 | Self::Sha1Tag32 => (KEY_LEN, SALT_LEN),
            Self::Gcm128 => (KEY_LEN, 12),
            Self::Gcm256 => (KEY_LEN_MAX, 12),
        }
    }

    /// The suite of that name, of those with keys in SDP; names are compared as RFC 4568 §9.2's grammar has them, in capitals.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::SDES.into_iter().find(|suite| suite.name().eq_ignore_ascii_case(name))
    }

    /// SRTCP has the long tag in both suites of RFC 4568 (§6.2).
    pub(super) const fn rtcp_tag_len(self) -> usize {
        match self {
            Self::Sha1Tag80 | Self::Sha1Tag32 => 10,
            Self::Gcm128 | Self::Gcm256 => 16,
        }
    }

    pub(super) const fn rtp_tag_len(self) -> usize {
        match self {
            Self::Sha1Tag80 => 10,
            Self::Sha1Tag32 => 4,
            Self::Gcm128 | Self::Gcm256 => 16,
        }
    }
}

/// A master key with its salt. Debug shows nothing of it; dropping it wipes it.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey(Box<Secret>);

#[derive(Clone, PartialEq, Eq)]
struct Secret {
    /// The first `key_len` bytes count.
    key: [u8; KEY_LEN_MAX],
    key_len: usize,
    /// A shorter one is filled up with zeros (RFC 7714 §11).
    salt: [u8; SALT_LEN],
}

impl MasterKey {
    /// 16 bytes of key, then 14 of salt; for keys of our own, fresh bytes from the system's randomness.
    #[must_use]
    pub fn new(bytes: [u8; MASTER_LEN]) -> Self {
        let (mut key, mut salt) = ([0; KEY_LEN_MAX], [0; SALT_LEN]);
        key[..KEY_LEN].copy_from_slice(&bytes[..KEY_LEN]);
        salt.copy_from_slice(&bytes[KEY_LEN..]);
        Self(Box::new(Secret { key, key_len: KEY_LEN, salt }))
    }

    /// Key and salt as a suite has them; `None` for other lengths.
    #[must_use]
    pub fn of(suite: Suite, key: &[u8], salt: &[u8]) -> Option<Self> {
        if (key.len(), salt.len()) != suite.key_lens() {
            return None;
        }
        let mut own = Box::new(Secret { key: [0; KEY_LEN_MAX], key_len: key.len(), salt: [0; SALT_LEN] });
        own.key[..key.len()].copy_from_slice(key);
        own.salt[..salt.len()].copy_from_slice(salt);
        Some(Self(own))
    }

    /// As `inline:` carries it.
    pub(crate) fn bytes(&self) -> [u8; MASTER_LEN] {
        let mut bytes = [0; MASTER_LEN];
        bytes[..KEY_LEN].copy_from_slice(&self.0.key[..KEY_LEN]);
        bytes[KEY_LEN..].copy_from_slice(&self.0.salt);
        bytes
    }

    /// RFC 3711 §4.3 with a key derivation rate of 0: the first bytes of a key stream per label. A key of
    /// 256 bits has AES-256 for it (RFC 6188 §2).
    pub(super) fn derive<const N: usize>(&self, label: u8) -> [u8; N] {
        match self.0.key_len {
            KEY_LEN_MAX => self.stream(&Aes256Enc::new(&self.0.key.into()), label),
            _ => self.stream(&Aes128Enc::new(self.0.key[..KEY_LEN].into()), label),
        }
    }

    fn stream<const N: usize, C>(&self, cipher: &C, label: u8) -> [u8; N]
    where
        C: BlockEncrypt + aes::cipher::BlockSizeUser<BlockSize = aes::cipher::consts::U16>,
    {
        let mut counter = [0; 16];
        counter[..SALT_LEN].copy_from_slice(&self.0.salt);
        counter[7] ^= label;
        let mut derived = [0; N];
        for (block, part) in derived.chunks_mut(16).enumerate() {
            counter[15] = block as u8;
            let mut stream: Block<C> = counter.into();
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
        self.0.key.zeroize();
        self.0.salt.zeroize();
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

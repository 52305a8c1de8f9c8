//! Unpredictable but reproducible values: SHA-256 in counter mode over the seed

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

/// Source of tags, branches, Call-IDs and nonces; the same seed gives the same values
pub(crate) struct Random {
    key: [u8; 32],
    counter: u64,
}

impl Random {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self { key: seed, counter: 0 }
    }

    fn block(&mut self) -> [u8; 32] {
        self.counter += 1;
        Sha256::new()
            .chain_update(b"random")
            .chain_update(self.key)
            .chain_update(self.counter.to_be_bytes())
            .finalize()
            .into()
    }

    /// 64 fresh bits
    pub(crate) fn next_u64(&mut self) -> u64 {
        let block = self.block();
        block[..8].iter().fold(0, |sum, b| sum << 8 | u64::from(*b))
    }

    /// A token of 16 hex digits, for tags and branches
    pub(crate) fn token(&mut self) -> String {
        format!("{:016x}", self.next_u64())
    }

    /// A keyed hash: what only this endpoint can compute
    pub(crate) fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        mac(&self.key, parts)
    }
}

/// HMAC-SHA-256 over length-prefixed parts
pub(crate) fn mac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    // A key of any length is valid for HMAC; the fallback keeps this total.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return [0; 32];
    };
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

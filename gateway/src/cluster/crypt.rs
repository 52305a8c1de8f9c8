//! Greeting and sealing of links. Both sides know one secret; from it and two fresh numbers come two keys for this
//! connection alone. Whoever sends a frame that opens knows the secret, and nobody else reads or changes one.

use chacha20poly1305::aead::{Aead, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// Another version's gateway is told from a wrong secret.
pub(super) const VERSION: u32 = 3;

/// Who greets, in plain text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    /// [`VERSION`].
    pub(super) version: u32,
    /// Gateway.
    pub(super) node: String,
    /// Its run.
    pub(super) boot: String,
    /// Fresh.
    pub(super) nonce: [u8; 32],
}

/// One direction of a connection; every use takes the next number.
pub(super) struct Seal {
    cipher: ChaCha20Poly1305,
    count: u64,
}

impl Seal {
    fn number(&mut self) -> Nonce {
        let mut bytes = [0; 12];
        bytes[4..].copy_from_slice(&self.count.to_be_bytes());
        // A link would need centuries to get through them.
        self.count = self.count.wrapping_add(1);
        Nonce::from(bytes)
    }

    pub(super) fn seal(&mut self, plain: &[u8]) -> Option<Vec<u8>> {
        let number = self.number();
        self.cipher.encrypt(&number, plain).ok()
    }

    /// `None`: of somebody without the secret, or not the next one.
    pub(super) fn open(&mut self, sealed: &[u8]) -> Option<Vec<u8>> {
        let number = self.number();
        self.cipher.decrypt(&number, sealed).ok()
    }
}

/// The keys of a connection: what the dialler seals with, then what the other does. The greetings go in as they were
/// on the wire, so both sides have read the same.
pub(super) fn keys(secret: &str, dialler: &[u8], acceptor: &[u8]) -> Option<(Seal, Seal)> {
    let key = |label: &[u8]| {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(secret.as_bytes()).ok()?;
        for part in [label, dialler, acceptor] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        let key: [u8; 32] = mac.finalize().into_bytes().into();
        Some(Seal { cipher: ChaCha20Poly1305::new(&Key::from(key)), count: 0 })
    };
    Some((key(b"hotline link, dialler")?, key(b"hotline link, acceptor")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_knows_the_secret_opens_and_each_frame_once() {
        let (mut ours, _) = keys("a long shared secret", b"d", b"a").unwrap();
        let (mut theirs, mut other_way) = keys("a long shared secret", b"d", b"a").unwrap();
        let (mut wrong, _) = keys("another shared secret", b"d", b"a").unwrap();
        let (mut shifted, _) = keys("a long shared secret", b"da", b"").unwrap();
        let sealed = ours.seal(b"one").unwrap();
        assert_eq!(wrong.open(&sealed), None);
        assert_eq!(shifted.open(&sealed), None);
        assert_eq!(other_way.open(&sealed), None);
        assert_eq!(theirs.open(&sealed).unwrap(), b"one");
        assert_eq!(theirs.open(&sealed), None, "a frame counts once");
    }
}

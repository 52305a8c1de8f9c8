//! The keys at work: encryption and tag of one direction of RTP or RTCP.

use aes::{Aes128Enc, cipher::KeyInit};
use aes_gcm::{AeadInPlace, Aes128Gcm, Aes256Gcm, Nonce, Tag};
use ctr::cipher::{InnerIvInit, StreamCipher, StreamCipherCoreWrapper};
use hmac::{Hmac, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use super::keys::{AUTH_KEY_LEN, MasterKey, SALT_LEN, Suite};

type KeyStream<'a> = StreamCipherCoreWrapper<ctr::CtrCore<&'a Aes128Enc, ctr::flavors::Ctr128BE>>;

/// Labels of RFC 3711 §4.3.2: key, authentication key, salt.
pub(super) const RTP: [u8; 3] = [0, 1, 2];
pub(super) const RTCP: [u8; 3] = [3, 4, 5];
/// What a tag may have at most.
const TAG_LEN_MAX: usize = 20;
const GCM_NONCE_LEN: usize = 12;

/// Cipher, salt and keyed hash of one direction.
#[derive(Clone)]
pub(super) struct Session {
    cipher: Cipher,
    salt: [u8; SALT_LEN],
    pub(super) tag_len: usize,
}

#[derive(Clone)]
enum Cipher {
    Counter {
        cipher: Aes128Enc,
        /// Keyed once; a packet clones the state of two blocks.
        hash: Hmac<Sha1>,
    },
    Gcm128(Aes128Gcm),
    Gcm256(Aes256Gcm),
}

/// A packet's number, and the 32 bits of it the tag covers although they aren't sent.
#[derive(Clone, Copy)]
pub(super) struct Number {
    pub(super) ssrc: u32,
    pub(super) index: u64,
}

impl Session {
    pub(super) fn new(suite: Suite, master: &MasterKey, labels: [u8; 3], tag_len: usize) -> Self {
        let salt = master.derive(labels[2]);
        match suite {
            Suite::Sha1Tag80 | Suite::Sha1Tag32 => {
                let mut key = master.derive::<16>(labels[0]);
                let mut auth = master.derive::<AUTH_KEY_LEN>(labels[1]);
                // An HMAC takes keys of any length, so the two constructors differ in their types only.
                let mut block = [0; 64];
                block[..AUTH_KEY_LEN].copy_from_slice(&auth);
                let (cipher, hash) = (Aes128Enc::new(&key.into()), <Hmac<Sha1> as Mac>::new(&block.into()));
                key.zeroize();
                auth.zeroize();
                block.zeroize();
                Self { cipher: Cipher::Counter { cipher, hash }, salt, tag_len }
            }
            Suite::Gcm128 => {
                let mut key = master.derive::<16>(labels[0]);
                let cipher = Cipher::Gcm128(Aes128Gcm::new(&key.into()));
                key.zeroize();
                Self { cipher, salt, tag_len }
            }
            Suite::Gcm256 => {
                let mut key = master.derive::<32>(labels[0]);
                let cipher = Cipher::Gcm256(Aes256Gcm::new(&key.into()));
                key.zeroize();
                Self { cipher, salt, tag_len }
            }
        }
    }

    /// The tag covers what is encrypted and its head alone: SRTCP's index stands behind it (RFC 7714 §9).
    pub(super) const fn is_aead(&self) -> bool {
        !matches!(self.cipher, Cipher::Counter { .. })
    }

    /// Encrypts `body` and gives the tag, of which the first `tag_len` bytes count. `head` stays readable,
    /// `unsent` is authenticated too: the roll-over counter of RTP (RFC 3711 §4.2), SRTCP's index.
    ///
    /// `None`: GCM has failed, which it does for gigabytes only.
    pub(super) fn seal(
        &self,
        number: Number,
        head: &[u8],
        body: &mut [u8],
        unsent: &[u8],
    ) -> Option<[u8; TAG_LEN_MAX]> {
        let mut tag = [0; TAG_LEN_MAX];
        let gcm = match &self.cipher {
            Cipher::Counter { .. } => {
                self.crypt(number, body);
                return Some(self.hash(&[head, body, unsent]));
            }
            Cipher::Gcm128(gcm) => gcm.encrypt_in_place_detached(&self.nonce(number), head, body),
            Cipher::Gcm256(gcm) => gcm.encrypt_in_place_detached(&self.nonce(number), head, body),
        };
        tag[..16].copy_from_slice(&gcm.ok()?);
        Some(tag)
    }

    /// Authenticates, then decrypts `body`; false leaves it as it was.
    pub(super) fn open(&self, number: Number, head: &[u8], body: &mut [u8], unsent: &[u8], tag: &[u8]) -> bool {
        if tag.len() != self.tag_len {
            return false;
        }
        match &self.cipher {
            Cipher::Counter { .. } => {
                let is_authentic = self.is_authentic(&[head, body, unsent], tag);
                if is_authentic {
                    self.crypt(number, body);
                }
                is_authentic
            }
            Cipher::Gcm128(gcm) => {
                gcm.decrypt_in_place_detached(&self.nonce(number), head, body, Tag::from_slice(tag)).is_ok()
            }
            Cipher::Gcm256(gcm) => {
                gcm.decrypt_in_place_detached(&self.nonce(number), head, body, Tag::from_slice(tag)).is_ok()
            }
        }
    }

    /// Encrypts or decrypts in place (RFC 3711 §4.1.1); nothing under GCM.
    fn crypt(&self, number: Number, bytes: &mut [u8]) {
        let Cipher::Counter { cipher, .. } = &self.cipher else {
            return;
        };
        let mut iv = [0; 16];
        iv[..SALT_LEN].copy_from_slice(&self.salt);
        for (byte, with) in iv[4..8].iter_mut().zip(number.ssrc.to_be_bytes()) {
            *byte ^= with;
        }
        for (byte, with) in iv[8..14].iter_mut().zip(&number.index.to_be_bytes()[2..]) {
            *byte ^= with;
        }
        let core = ctr::CtrCore::inner_iv_init(cipher, &iv.into());
        KeyStream::from_core(core).apply_keystream(bytes);
    }

    /// RFC 7714 §8.1 and §9.1: two zeros, the SSRC and the index, under the salt.
    fn nonce(&self, number: Number) -> Nonce<aes_gcm::aes::cipher::consts::U12> {
        let mut nonce = [0; GCM_NONCE_LEN];
        nonce[2..6].copy_from_slice(&number.ssrc.to_be_bytes());
        nonce[6..].copy_from_slice(&number.index.to_be_bytes()[2..]);
        for (byte, with) in nonce.iter_mut().zip(&self.salt) {
            *byte ^= with;
        }
        nonce.into()
    }

    fn hash(&self, parts: &[&[u8]]) -> [u8; TAG_LEN_MAX] {
        let Cipher::Counter { hash, .. } = &self.cipher else {
            return [0; TAG_LEN_MAX];
        };
        let mut hash = hash.clone();
        parts.iter().for_each(|part| hash.update(part));
        hash.finalize().into_bytes().into()
    }

    /// Compares in constant time; never under GCM.
    fn is_authentic(&self, parts: &[&[u8]], tag: &[u8]) -> bool {
        matches!(self.cipher, Cipher::Counter { .. }) && bool::from(self.hash(parts)[..self.tag_len].ct_eq(tag))
    }

    /// For SRTCP that isn't encrypted (RFC 3711 §3.4); GCM's is taken for forged.
    pub(super) fn is_authentic_in_clear(&self, message: &[u8], tag: &[u8]) -> bool {
        self.is_authentic(&[message], tag)
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Session(…)")
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The cipher and the hash wipe themselves as far as their crates can.
        self.salt.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 3711 Appendix B.2: the key stream, at its beginning and where the counter carries.
    #[test]
    fn the_key_stream_is_that_of_the_rfc() {
        let key = [0x2B, 0x7E, 0x15, 0x16, 0x28, 0xAE, 0xD2, 0xA6, 0xAB, 0xF7, 0x15, 0x88, 0x09, 0xCF, 0x4F, 0x3C];
        let salt = [0xF0, 0xF1, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xF8, 0xF9, 0xFA, 0xFB, 0xFC, 0xFD];
        let cipher =
            Cipher::Counter { cipher: Aes128Enc::new(&key.into()), hash: <Hmac<Sha1> as Mac>::new(&[0; 64].into()) };
        let session = Session { cipher, salt, tag_len: 10 };
        let mut stream = vec![0; 0xFF02 * 16];
        session.crypt(Number { ssrc: 0, index: 0 }, &mut stream);
        let first = [0xE0, 0x3E, 0xAD, 0x09, 0x35, 0xC9, 0x5E, 0x80, 0xE1, 0x66, 0xB1, 0x6D, 0xD9, 0x2B, 0x4E, 0xB4];
        let carried = [0x36, 0x2B, 0x7C, 0x3C, 0x67, 0x73, 0x51, 0x63, 0x18, 0xA0, 0x77, 0xD7, 0xFC, 0x50, 0x73, 0xAE];
        assert_eq!(stream[..16], first);
        assert_eq!(stream[0xFF00 * 16..0xFF01 * 16], carried);
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len() / 2).map(|n| u8::from_str_radix(&text[n * 2..n * 2 + 2], 16).unwrap()).collect()
    }

    // RFC 7714 §16.1.1 and §16.2.1: session keys 00, 01, … and the salt "Quid pro quo".
    #[test]
    fn gcm_is_that_of_the_rfc() {
        let mut salt = [0; SALT_LEN];
        salt[..12].copy_from_slice(b"Quid pro quo");
        let key: [u8; 32] = std::array::from_fn(|n| n as u8);
        let short: [u8; 16] = std::array::from_fn(|n| n as u8);
        let head = hex("8040f17b8041f8d35501a0b2");
        let plain = b"Gallia est omnis divisa in partes tres";
        let expected = [
            (
                Cipher::Gcm128(Aes128Gcm::new(&short.into())),
                "f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833",
                "899d7f27beb16a9152cf765ee4390cce",
            ),
            (
                Cipher::Gcm256(Aes256Gcm::new(&key.into())),
                "32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b",
                "7aa3db36dfffd6b0f9bb7878d7a76c13",
            ),
        ];
        let number = Number { ssrc: 0x5501_A0B2, index: 0xF17B };
        for (cipher, coded, tag) in expected {
            let session = Session { cipher, salt, tag_len: 16 };
            let mut body = plain.to_vec();
            let made = session.seal(number, &head, &mut body, &[]).unwrap();
            assert_eq!((body.as_slice(), &made[..16]), (hex(coded).as_slice(), hex(tag).as_slice()));
            assert!(!session.open(number, &head[..11], &mut body, &[], &made[..16]));
            assert_eq!(body, hex(coded), "left as it was");
            assert!(session.open(number, &head, &mut body, &[], &made[..16]));
            assert_eq!(body, plain);
        }
    }
}

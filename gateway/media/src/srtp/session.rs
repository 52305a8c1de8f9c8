//! The keys at work: key stream and tag of one direction of RTP or RTCP.

use aes::{Aes128Enc, cipher::KeyInit};
use ctr::cipher::{InnerIvInit, StreamCipher, StreamCipherCoreWrapper};
use hmac::{Hmac, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use super::keys::{AUTH_KEY_LEN, MasterKey, SALT_LEN};

type KeyStream<'a> = StreamCipherCoreWrapper<ctr::CtrCore<&'a Aes128Enc, ctr::flavors::Ctr128BE>>;

/// Labels of RFC 3711 §4.3.2: key, authentication key, salt.
pub(super) const RTP: [u8; 3] = [0, 1, 2];
pub(super) const RTCP: [u8; 3] = [3, 4, 5];

/// Cipher, salt and keyed hash of one direction.
#[derive(Clone)]
pub(super) struct Session {
    cipher: Aes128Enc,
    salt: [u8; SALT_LEN],
    /// Keyed once; a packet clones the state of two blocks.
    hash: Hmac<Sha1>,
    pub(super) tag_len: usize,
}

impl Session {
    pub(super) fn new(master: &MasterKey, labels: [u8; 3], tag_len: usize) -> Self {
        let mut key = master.derive::<16>(labels[0]);
        let mut auth = master.derive::<AUTH_KEY_LEN>(labels[1]);
        // An HMAC takes keys of any length, so the two constructors differ in their types only.
        let mut block = [0; 64];
        block[..AUTH_KEY_LEN].copy_from_slice(&auth);
        let session = Self {
            cipher: Aes128Enc::new(&key.into()),
            salt: master.derive(labels[2]),
            hash: <Hmac<Sha1> as Mac>::new(&block.into()),
            tag_len,
        };
        key.zeroize();
        auth.zeroize();
        block.zeroize();
        session
    }

    /// Encrypts or decrypts in place (RFC 3711 §4.1.1).
    pub(super) fn crypt(&self, ssrc: u32, index: u64, bytes: &mut [u8]) {
        let mut iv = [0; 16];
        iv[..SALT_LEN].copy_from_slice(&self.salt);
        for (byte, with) in iv[4..8].iter_mut().zip(ssrc.to_be_bytes()) {
            *byte ^= with;
        }
        for (byte, with) in iv[8..14].iter_mut().zip(&index.to_be_bytes()[2..]) {
            *byte ^= with;
        }
        let core = ctr::CtrCore::inner_iv_init(&self.cipher, &iv.into());
        KeyStream::from_core(core).apply_keystream(bytes);
    }

    /// The tag of a message and what is authenticated with it but not sent: the roll-over counter
    /// of RTP, nothing of RTCP (RFC 3711 §4.2). The first `tag_len` bytes count.
    pub(super) fn tag(&self, message: &[u8], unsent: &[u8]) -> [u8; 20] {
        let mut hash = self.hash.clone();
        hash.update(message);
        hash.update(unsent);
        hash.finalize().into_bytes().into()
    }

    /// Compares in constant time.
    pub(super) fn is_authentic(&self, message: &[u8], unsent: &[u8], tag: &[u8]) -> bool {
        self.tag(message, unsent)[..self.tag_len].ct_eq(tag).into()
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
        let session = Session {
            cipher: Aes128Enc::new(&key.into()),
            salt,
            hash: <Hmac<Sha1> as Mac>::new(&[0; 64].into()),
            tag_len: 10,
        };
        let mut stream = vec![0; 0xFF02 * 16];
        session.crypt(0, 0, &mut stream);
        let first = [0xE0, 0x3E, 0xAD, 0x09, 0x35, 0xC9, 0x5E, 0x80, 0xE1, 0x66, 0xB1, 0x6D, 0xD9, 0x2B, 0x4E, 0xB4];
        let carried = [0x36, 0x2B, 0x7C, 0x3C, 0x67, 0x73, 0x51, 0x63, 0x18, 0xA0, 0x77, 0xD7, 0xFC, 0x50, 0x73, 0xAE];
        assert_eq!(stream[..16], first);
        assert_eq!(stream[0xFF00 * 16..0xFF01 * 16], carried);
    }
}
